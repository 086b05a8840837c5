package emulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	maxControlBody = 64 << 20
	defaultPage    = 100
)

// endpoint is one line of the control API. The list of them is both the routes and the help, so they cannot drift apart.
type endpoint struct {
	method, path string
	about        string
	body         string // an example, "" if there is none
	serve        func(r *http.Request) (any, error)
}

func (e *Emulator) endpoints() []endpoint {
	return []endpoint{
		{"GET", "/emulator/groups", "list the groups", "", e.listGroups},
		{"POST", "/emulator/groups", "make a group, with members", `{"id":"vip","type":"Public","owner":"alice","maxMembers":200,"applyJoinOption":"FreeAccess","members":[{"count":150,"prefix":"u","inactiveFor":"40d"}]}`, e.makeGroup},
		{"GET", "/emulator/groups/{group}", "show a group and a page of its members (?offset=0&limit=100)", "", e.showGroup},
		{"PATCH", "/emulator/groups/{group}", "change a group", `{"maxMembers":500}`, e.changeGroup},
		{"DELETE", "/emulator/groups/{group}", "disband a group, callback included", "", e.disbandGroup},
		{"POST", "/emulator/groups/{group}/members", "put members in, or change those who are in; nobody is asked or told", `{"accounts":["bob"],"role":"Admin","joinedAgo":"90d","spokeAgo":"1h"}`, e.putMembers},
		{"POST", "/emulator/groups/{group}/apply", "apply to join, as a client", `{"account":"jared"}`, e.actApply},
		{"POST", "/emulator/groups/{group}/applications", "approve or decline an application, as an admin of the group", `{"account":"jared","decision":"Approve"}`, e.decide},
		{"POST", "/emulator/groups/{group}/invite", "invite others, as a member", `{"account":"u1","accounts":["mallory","jared"]}`, e.actInvite},
		{"POST", "/emulator/groups/{group}/speak", "send a message", `{"accounts":["u1","u2"]}`, e.actSpeak},
		{"POST", "/emulator/groups/{group}/quit", "leave", `{"account":"u1"}`, e.actQuit},
		{"GET", "/emulator/clock", "tell the time", "", e.readClock},
		{"POST", "/emulator/clock", "move the clock: forward, set or reset", `{"forward":"40d"}`, e.moveClock},
		{"GET", "/emulator/faults", "list the faults in force", "", e.listFaults},
		{"POST", "/emulator/faults", "add a fault: latency, http, code, truncate, hang, drop or repeat", `{"api":"delete_group_member","kind":"http","status":502,"count":2}`, e.addFault},
		{"DELETE", "/emulator/faults", "remove all faults", "", e.clearFaults},
		{"DELETE", "/emulator/faults/{id}", "remove one fault", "", e.removeFault},
		{"GET", "/emulator/callbacks", "what was sent and answered (?command=&group=&outcome=&since=&limit=100, ?settle=5s waits for those under way)", "", e.listCallbacks},
		{"DELETE", "/emulator/callbacks", "forget them", "", e.clearCallbacks},
		{"GET", "/emulator/calls", "calls of the REST API, counted and listed (?api=&group=&since=&limit=100)", "", e.listCalls},
		{"DELETE", "/emulator/calls", "forget them", "", e.clearCalls},
		{"GET", "/emulator/settings", "the app's settings in the vendor's console", "", e.readSettings},
		{"PATCH", "/emulator/settings", "change settings: callbackURL, callbackToken, secretKey, adminAccounts, eventTime, onCallbackFailure, ...", `{"callbackURL":"http://127.0.0.1:8443/callback"}`, e.changeSettings},
		{"GET", "/emulator/usersig", "sign for the REST API (?identifier=administrator, ?format=query prints what to paste behind the ?)", "", e.signFor},
		{"POST", "/emulator/reset", "forget groups, faults and records, and reset the clock; settings stay", "", e.reset},
	}
}

// text is an answer that is no JSON.
type text string

// controlError is a refusal of the control API.
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
		mux.HandleFunc(p.method+" "+p.path, func(w http.ResponseWriter, r *http.Request) { respond(w, r, p.serve) })
	}
	mux.HandleFunc("GET /emulator/{$}", func(w http.ResponseWriter, r *http.Request) { respond(w, r, e.help) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		respond(w, r, func(r *http.Request) (any, error) {
			return nil, refuse(http.StatusNotFound, "there is no %s %s: GET /emulator/ lists what there is", r.Method, r.URL.Path)
		})
	})
	return mux
}

func (e *Emulator) serveControl(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", e.clock.now().UTC().Format(http.TimeFormat))
	e.mux.ServeHTTP(w, r)
}

func respond(w http.ResponseWriter, r *http.Request, serve func(*http.Request) (any, error)) {
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
	encoder.SetEscapeHTML(false) // read by people
	if err := encoder.Encode(result); err != nil {
		status = http.StatusInternalServerError
		answer.Reset()
		answer.WriteString(`{"error":"the answer cannot be written as JSON"}` + "\n")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(answer.Bytes())
}

// decode reads the JSON body of a control request. A misspelt member is an error: a test that sets nothing by mistake proves nothing.
func decode(r *http.Request, into any) error { return decodeJSON(r.Body, into) }

func decodeJSON(from io.Reader, into any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	switch err := d.Decode(into); {
	case errors.Is(err, io.EOF):
		return errors.New("the body is empty: send a JSON object, GET /emulator/ has examples")
	case err != nil:
		return fmt.Errorf("the body cannot be read: %s; GET /emulator/ has examples", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object in the body: send one object")
	}
	return nil
}

func (e *Emulator) help(r *http.Request) (any, error) {
	var b strings.Builder
	b.WriteString("IM emulator: Tencent Cloud Chat's group REST API under " + restPrefix + ", and this control API.\n\n")
	for _, a := range e.sortedApps() {
		s, _, _ := a.console()
		to := "nowhere: set callbackURL in the settings"
		if s.CallbackURL != "" {
			to = s.CallbackURL
		}
		fmt.Fprintf(&b, "App %d, admins %s, callbacks to %s\n", a.id, strings.Join(s.AdminAccounts, ", "), to)
	}
	b.WriteString("With several apps, add ?app=SDKAPPID. In a path, write @ # / and % of a group id as %40 %23 %2F %25.\n\n")
	base := "http://" + r.Host
	for _, p := range e.endpoints() {
		fmt.Fprintf(&b, "%s %s\n    %s\n", p.method, p.path, p.about)
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
	var apps []*app
	for _, a := range e.apps {
		apps = append(apps, a)
	}
	slices.SortFunc(apps, func(a, b *app) int { return cmp.Compare(a.id, b.id) })
	return apps
}

// appOf finds the app that a control request is about.
func (e *Emulator) appOf(r *http.Request) (*app, error) {
	given := r.URL.Query().Get("app")
	if given == "" {
		if len(e.apps) != 1 {
			return nil, refuse(http.StatusBadRequest, "%d apps are served: say which with ?app=SDKAPPID", len(e.apps))
		}
		return e.first, nil
	}
	id, err := strconv.ParseUint(given, 10, 64)
	if err != nil || e.apps[id] == nil {
		return nil, refuse(http.StatusNotFound, "there is no app %q: use one that was given with --app", given)
	}
	return e.apps[id], nil
}

// groupOf finds the group in the path and locks it; the caller unlocks it.
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
	return nil, refuse(http.StatusNotFound, "there is no group %q: GET /emulator/groups lists them; write @ # / and %% of an id as %%40 %%23 %%2F %%25", id)
}

// numberParam reads a query parameter that is a number.
func numberParam(r *http.Request, name string, absent int) (int, error) {
	given := r.URL.Query().Get(name)
	if given == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 0 {
		return 0, refuse(http.StatusBadRequest, "%s must be a number, 0 or more", name)
	}
	return n, nil
}

func (e *Emulator) readClock(*http.Request) (any, error) {
	return ClockReading{Now: e.clock.now().UTC(), Offset: e.clock.shifted().String()}, nil
}

var errClockRange = errors.New("the clock goes from 1970 to 2106: move it less far")

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
		return nil, errors.New(`say one of {"forward":"40d"}, {"set":"2030-01-01T00:00:00Z"} and {"reset":true}`)
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
		return nil, refuse(http.StatusNotFound, "there is no fault %q: GET /emulator/faults lists them", r.PathValue("id"))
	}
	return e.listFaults(r)
}

func (e *Emulator) listCallbacks(r *http.Request) (any, error) {
	q := r.URL.Query()
	if given := q.Get("settle"); given != "" {
		d, err := time.ParseDuration(given)
		if err != nil || d <= 0 {
			return nil, refuse(http.StatusBadRequest, "settle must be a duration such as 5s")
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
		return c.ID > since && appIs(q, c.SDKAppID) && is(q, "command", c.Command) && is(q, "group", c.Group) && is(q, "outcome", c.Outcome)
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

// is reports whether a filter in the query lets a value pass.
func is(q url.Values, name, value string) bool { return !q.Has(name) || q.Get(name) == value }

func appIs(q url.Values, id uint64) bool { return is(q, "app", strconv.FormatUint(id, 10)) }

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
		return c.ID > since && appIs(q, c.SDKAppID) && is(q, "api", c.API) && is(q, "group", c.Group)
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
	s, _, _ := a.console()
	return s, nil
}

func (e *Emulator) changeSettings(r *http.Request) (any, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	// Read first: nobody should wait for a slow client while the settings are locked.
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

// signFor saves people at a shell from computing a UserSig.
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
	_, key, _ := a.console()
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
		groups, _ := a.groupsAfter(0, int(^uint(0)>>1), func(*group) bool { return true })
		for _, g := range groups {
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
