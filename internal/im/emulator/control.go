package emulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/imrest"
)

const (
	controlPrefix  = "/emulator"
	maxControlBody = 64 << 20
	defaultPage    = 100
)

// endpoint is one endpoint of the control API. Routes and help are made from the same list, so that they cannot differ.
type endpoint struct {
	method, path string // below controlPrefix
	about        string
	body         string // an example; empty: the endpoint has no body
	serve        func(r *http.Request) (any, error)
}

func (e *Emulator) endpoints() []endpoint {
	return []endpoint{
		{"GET", "/groups", "list the groups", "", e.listGroups},
		{"POST", "/groups", "create a group with members",
			`{"id":"vip","type":"Public","owner":"alice","maxMembers":200,"applyJoinOption":"FreeAccess",` +
				`"members":[{"count":150,"prefix":"u","inactiveFor":"40d"}]}`, e.makeGroup},
		{"GET", "/groups/{group}", "show a group and a page of its members (?offset=0&limit=100)", "", e.showGroup},
		{"PATCH", "/groups/{group}", "change a group", `{"maxMembers":500}`, e.changeGroup},
		{"DELETE", "/groups/{group}", "disband a group, callback included", "", e.disbandGroup},
		{"POST", "/groups/{group}/members", "add members, or change existing ones, without callbacks",
			`{"accounts":["bob"],"role":"Admin","joinedAgo":"90d","spokeAgo":"1h"}`, e.putMembers},
		{"POST", "/groups/{group}/apply", "apply to join, as a client", `{"account":"jared"}`, e.actApply},
		{"POST", "/groups/{group}/applications", "approve or decline an application, as an admin of the group",
			`{"account":"jared","decision":"Approve"}`, e.decide},
		{"POST", "/groups/{group}/invite", "invite others, as a member",
			`{"account":"u1","accounts":["mallory","jared"]}`, e.actInvite},
		{"POST", "/groups/{group}/speak", "send a message", `{"accounts":["u1","u2"]}`, e.actSpeak},
		{"POST", "/groups/{group}/quit", "leave", `{"account":"u1"}`, e.actQuit},
		{"GET", "/groups/{group}/messages", "list the messages that send_group_msg sent", "", e.listMessages},
		{"GET", "/clock", "show the clock", "", e.readClock},
		{"POST", "/clock", "move the clock: forward, set or reset", `{"forward":"40d"}`, e.moveClock},
		{"GET", "/faults", "list the faults in force", "", e.listFaults},
		{"POST", "/faults", "add a fault: latency, http, code, truncate, hang, drop or repeat",
			`{"api":"delete_group_member","kind":"http","status":502,"count":2}`, e.addFault},
		{"DELETE", "/faults", "remove all faults", "", e.clearFaults},
		{"DELETE", "/faults/{id}", "remove one fault", "", e.removeFault},
		{"GET", "/callbacks", "list callbacks with their answers (?command=&group=&outcome=&since=&limit=100, " +
			"?settle=5s waits until none is under way)", "", e.listCallbacks},
		{"DELETE", "/callbacks", "delete the records of callbacks", "", e.clearCallbacks},
		{"GET", "/calls", "count and list calls of the REST API (?api=&group=&since=&limit=100)", "", e.listCalls},
		{"DELETE", "/calls", "delete the counts and records of calls", "", e.clearCalls},
		{"GET", "/settings", "show the app's settings in the vendor's console", "", e.readSettings},
		{"PATCH", "/settings", "change settings: callbackURL, callbackToken, secretKey, adminAccounts, eventTime, " +
			"onCallbackFailure, callbackCapacity, ...", `{"callbackURL":"http://127.0.0.1:8443/callback"}`,
			e.changeSettings},
		{"GET", "/usersig", "sign a REST call (?identifier=administrator, ?format=query prints only the query)", "",
			e.signFor},
		{"POST", "/reset", "delete groups, faults and records, and reset the clock; settings stay", "", e.reset},
	}
}

// text is an answer in plain text.
type text string

// controlError is an error with an HTTP status other than 400.
type controlError struct {
	status  int
	message string
}

func (c *controlError) Error() string { return c.message }

func refuse(status int, format string, args ...any) error {
	return &controlError{status, fmt.Sprintf(format, args...)}
}

func (e *Emulator) controlMux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, p := range e.endpoints() {
		mux.HandleFunc(p.method+" "+controlPrefix+p.path, handler(p.serve))
	}
	mux.HandleFunc("GET "+controlPrefix+"/{$}", handler(e.help))
	mux.HandleFunc("/", handler(func(r *http.Request) (any, error) {
		return nil, refuse(http.StatusNotFound, "there is no %s %s: GET /emulator/ lists the endpoints", r.Method,
			r.URL.Path)
	}))
	return mux
}

func (e *Emulator) serveControl(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", e.clock.now().UTC().Format(http.TimeFormat))
	e.mux.ServeHTTP(w, r)
}

func handler(serve func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
		result, err := serve(r)
		status := http.StatusOK
		if err != nil {
			status = http.StatusBadRequest
			if c := (*controlError)(nil); errors.As(err, &c) {
				status = c.status
			}
			result = map[string]string{"error": err.Error()}
		}
		if plain, ok := result.(text); ok {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(w, string(plain))
			return
		}
		var answer bytes.Buffer
		encoder := json.NewEncoder(&answer)
		encoder.SetEscapeHTML(false) // for readability in a terminal
		if err := encoder.Encode(result); err != nil {
			status = http.StatusInternalServerError
			answer.Reset()
			answer.WriteString(`{"error":"the answer cannot be written as JSON"}` + "\n")
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(answer.Bytes())
	}
}

// decode reads the JSON body of a control request. A misspelt member is an error: a test that sets nothing by mistake
// would prove nothing.
func decode(r *http.Request, into any) error { return decodeJSON(r.Body, into) }

func decodeJSON(from io.Reader, into any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	switch err := d.Decode(into); {
	case errors.Is(err, io.EOF):
		return errors.New("the body is empty: send a JSON object, GET /emulator/ has examples")
	case err != nil:
		return fmt.Errorf("the body cannot be read: %s; GET /emulator/ has examples",
			strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object in the body: send one object")
	}
	return nil
}

func (e *Emulator) help(r *http.Request) (any, error) {
	var b strings.Builder
	b.WriteString("IM emulator: the group REST API of Tencent Cloud Chat under " + restPrefix +
		", and this control API.\n\n")
	for _, a := range e.sortedApps() {
		s, _, _ := a.config()
		to := "nowhere: set callbackURL in the settings"
		if s.CallbackURL != "" {
			to = s.CallbackURL
		}
		fmt.Fprintf(&b, "App %d, admins %s, callbacks to %s\n", a.id, strings.Join(s.AdminAccounts, ", "), to)
	}
	b.WriteString("With several apps, add ?app=SDKAPPID. In a path, encode @ # / and % as %40 %23 %2F %25.\n\n")
	base := "http://" + r.Host + controlPrefix
	for _, p := range e.endpoints() {
		fmt.Fprintf(&b, "%s %s%s\n    %s\n", p.method, controlPrefix, p.path, p.about)
		example := "curl " + base + strings.NewReplacer("{group}", "vip", "{id}", "1").Replace(p.path)
		if p.method != "GET" {
			example = strings.Replace(example, "curl ", "curl -X "+p.method+" ", 1)
		}
		if p.body != "" {
			example += " -d '" + p.body + "'"
		}
		b.WriteString("    " + example + "\n")
	}
	return text(b.String()), nil
}

func (e *Emulator) sortedApps() []*app {
	return slices.SortedFunc(maps.Values(e.apps), func(a, b *app) int { return cmp.Compare(a.id, b.id) })
}

// appOf returns the app that a control request selects.
func (e *Emulator) appOf(r *http.Request) (*app, error) {
	given := r.URL.Query().Get("app")
	if given == "" {
		if len(e.apps) != 1 {
			return nil, fmt.Errorf("%d apps are served: choose one with ?app=SDKAPPID", len(e.apps))
		}
		return e.first, nil
	}
	id, err := strconv.ParseUint(given, 10, 64)
	if err != nil || e.apps[id] == nil {
		return nil, refuse(http.StatusNotFound, "there is no app %q: use one given with --app", given)
	}
	return e.apps[id], nil
}

// groupOf returns the group in the path, locked; the caller unlocks it.
func (e *Emulator) groupOf(r *http.Request) (*group, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	id := r.PathValue("group")
	g := a.group(id)
	if g != nil {
		g.mu.Lock()
		if !g.dissolved {
			return g, nil
		}
		g.mu.Unlock()
	}
	return nil, refuse(http.StatusNotFound,
		"there is no group %q: GET /emulator/groups lists them; encode @ # / and %% as %%40 %%23 %%2F %%25", id)
}

// numberParam reads a query parameter that is a number.
func numberParam(r *http.Request, name string, absent int) (int, error) {
	given := r.URL.Query().Get(name)
	if given == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s must be a number, 0 or more", name)
	}
	return n, nil
}

func (e *Emulator) readClock(*http.Request) (any, error) {
	return ClockReading{Now: e.clock.now().UTC(), Offset: e.clock.shifted().String()}, nil
}

var errClockRange = errors.New("the clock covers 1970 to 2106: move it less far")

func (e *Emulator) moveClock(r *http.Request) (any, error) {
	var change ClockChange
	if err := decode(r, &change); err != nil {
		return nil, err
	}
	set := 0
	for _, given := range []bool{change.Forward != "", change.Set != nil, change.Reset} {
		if given {
			set++
		}
	}
	if set != 1 {
		return nil, errors.New(`send one of {"forward":"40d"}, {"set":"2030-01-01T00:00:00Z"} and {"reset":true}`)
	}
	switch {
	case change.Set != nil:
		if !recordable(*change.Set) {
			return nil, errClockRange
		}
		e.clock.set(*change.Set)
	case change.Reset:
		e.clock.reset()
	default:
		d, err := parseDuration(change.Forward)
		if err != nil {
			return nil, err
		}
		if !recordable(e.clock.now().Add(d)) {
			return nil, errClockRange
		}
		e.clock.forward(d)
	}
	return e.readClock(r)
}

func (e *Emulator) listFaults(*http.Request) (any, error) {
	return map[string][]Fault{"faults": e.faults.list()}, nil
}

func (e *Emulator) addFault(r *http.Request) (any, error) {
	var f Fault
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	return e.faults.add(f)
}

func (e *Emulator) clearFaults(r *http.Request) (any, error) {
	e.faults.clear()
	return e.listFaults(r)
}

func (e *Emulator) removeFault(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || !e.faults.remove(id) {
		return nil, refuse(http.StatusNotFound, "there is no such fault: GET /emulator/faults lists them")
	}
	return e.listFaults(r)
}

func (e *Emulator) listCallbacks(r *http.Request) (any, error) {
	q := r.URL.Query()
	if given := q.Get("settle"); given != "" {
		d, err := time.ParseDuration(given)
		if err != nil || d <= 0 {
			return nil, errors.New("settle must be a duration such as 5s")
		}
		if err := e.settle(r, d); err != nil {
			return nil, err
		}
	}
	since, limit, err := sinceAndLimit(r)
	if err != nil {
		return nil, err
	}
	found := e.callbacks.newest(limit, func(c *CallbackRecord) bool {
		return c.ID > since && appPasses(q, c.SDKAppID) && passes(q, "command", c.Command) &&
			passes(q, "group", c.Group) && passes(q, "outcome", c.Outcome)
	})
	return map[string][]CallbackRecord{"callbacks": found}, nil
}

func sinceAndLimit(r *http.Request) (since, limit int, err error) {
	if since, err = numberParam(r, "since", 0); err != nil {
		return 0, 0, err
	}
	limit, err = numberParam(r, "limit", defaultPage)
	return since, limit, err
}

// passes reports whether a value passes the filter of that name in the query.
func passes(q url.Values, name, value string) bool { return !q.Has(name) || q.Get(name) == value }

func appPasses(q url.Values, id uint64) bool { return passes(q, "app", strconv.FormatUint(id, 10)) }

func (e *Emulator) clearCallbacks(*http.Request) (any, error) {
	e.callbacks.clear()
	return map[string][]CallbackRecord{"callbacks": {}}, nil
}

// callList is the answer of GET /emulator/calls.
type callList struct {
	Counts []CallCount  `json:"counts"`
	Calls  []CallRecord `json:"calls"`
}

func (e *Emulator) listCalls(r *http.Request) (any, error) {
	since, limit, err := sinceAndLimit(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return callList{e.tally.list(), e.calls.newest(limit, func(c *CallRecord) bool {
		return c.ID > since && appPasses(q, c.SDKAppID) && passes(q, "api", c.API) && passes(q, "group", c.Group)
	})}, nil
}

func (e *Emulator) clearCalls(*http.Request) (any, error) {
	e.tally.clear()
	e.calls.clear()
	return callList{Counts: []CallCount{}, Calls: []CallRecord{}}, nil
}

func (e *Emulator) readSettings(r *http.Request) (any, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	s, _, _ := a.config()
	return s, nil
}

func (e *Emulator) changeSettings(r *http.Request) (any, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	// Read the body before configure locks the settings: a slow client would block all other readers.
	var patch json.RawMessage
	if err := decode(r, &patch); err != nil {
		return nil, err
	}
	if err := a.configure(func(s *Settings) error { return decodeJSON(bytes.NewReader(patch), s) }); err != nil {
		return nil, err
	}
	return e.readSettings(r)
}

// Signature is the answer of GET /emulator/usersig.
type Signature struct {
	Identifier string    `json:"identifier"`
	UserSig    string    `json:"userSig"`
	ExpiresAt  time.Time `json:"expiresAt"`
	// Query is the whole query of a REST call.
	Query string `json:"query"`
}

// signFor computes a UserSig, so that a shell can call the REST API.
func (e *Emulator) signFor(r *http.Request) (any, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	identifier := r.URL.Query().Get("identifier")
	if identifier == "" {
		identifier = "administrator"
	}
	const life = 24 * time.Hour
	_, key, _ := a.config()
	now := e.clock.now()
	sig, err := imrest.NewUserSig(key, a.id, identifier, now, life)
	if err != nil {
		return nil, err
	}
	query := url.Values{
		"sdkappid": {strconv.FormatUint(a.id, 10)}, "identifier": {identifier}, "usersig": {sig},
		"random": {strconv.FormatInt(now.UnixNano()&math.MaxUint32, 10)}, "contenttype": {"json"},
	}.Encode()
	if r.URL.Query().Get("format") == "query" {
		return text(query + "\n"), nil
	}
	return Signature{Identifier: identifier, UserSig: sig, ExpiresAt: now.Add(life).UTC(), Query: query}, nil
}

func (e *Emulator) reset(*http.Request) (any, error) {
	for _, a := range e.apps {
		for _, g := range a.allGroups() {
			g.mu.Lock()
			g.dissolved = true
			g.mu.Unlock()
			a.forget(g)
		}
	}
	e.faults.clear()
	e.callbacks.clear()
	e.calls.clear()
	e.tally.clear()
	e.clock.reset()
	return map[string]string{"result": "Reset"}, nil
}
