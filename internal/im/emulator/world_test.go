package emulator_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

const (
	testApp   = 1400000000
	testKey   = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	testToken = "s3cr3t-token"
)

// Short names of what nearly every test uses.
type (
	groupSpec  = emulator.GroupSpec
	memberSpec = emulator.MemberSpec
	fault      = emulator.Fault
	filter     = emulator.RecordFilter
)

var testNow = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

// world is an emulator over HTTP with an app backend. Its clock stands still unless a test moves it.
type world struct {
	emulator.Client
	t       *testing.T
	em      *emulator.Emulator
	backend *backend
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b := &backend{}
	gate := httptest.NewServer(b)
	t.Cleanup(gate.Close)
	w := serve(t, emulator.Config{
		Apps:        []emulator.App{{SDKAppID: testApp, SecretKey: testKey, CallbackToken: testToken}},
		CallbackURL: gate.URL + "/callback",
		Now:         func() time.Time { return testNow },
	})
	w.backend = b
	return w
}

// serve serves an emulator over HTTP.
func serve(t *testing.T, config emulator.Config) *world {
	t.Helper()
	em := emulator.New(config)
	srv := httptest.NewServer(em)
	t.Cleanup(func() {
		if err := em.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		srv.Close()
	})
	return &world{Client: emulator.Client{BaseURL: srv.URL}, t: t, em: em, backend: &backend{}}
}

// backend is an app backend: it records callbacks and sends the configured answer, by default OK and 0.
type backend struct {
	mu       sync.Mutex
	answer   http.HandlerFunc
	received []received
}

type received struct {
	Command string
	Query   url.Values
	Header  http.Header
	Body    string
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.received = append(b.received, received{r.URL.Query().Get("CallbackCommand"), r.URL.Query(), r.Header,
		string(raw)})
	answer := b.answer
	b.mu.Unlock()
	if answer == nil {
		answer = says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`)
	}
	answer(w, r)
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func (b *backend) willSay(answer http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func (b *backend) all() []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.received)
}

// commands waits until all callbacks are sent, and returns the commands received since its last call.
func (w *world) commands() []string {
	w.t.Helper()
	w.must(w.Settle(w.t.Context(), time.Minute))
	w.backend.mu.Lock()
	defer w.backend.mu.Unlock()
	var list []string
	for _, r := range w.backend.received {
		list = append(list, strings.TrimPrefix(r.Command, "Group.Callback"))
	}
	w.backend.received = nil
	return list
}

// same compares two values, and reports how what differs.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want,+got)\n%s", what, diff)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) group(spec groupSpec) emulator.Group {
	w.t.Helper()
	g, err := w.CreateGroup(w.t.Context(), spec)
	w.must(err)
	return g
}

// accounts lists the members of a group.
func (w *world) accounts(id string) []string {
	w.t.Helper()
	members, err := w.Members(w.t.Context(), id)
	w.must(err)
	list := []string{}
	for _, m := range members {
		list = append(list, m.Account)
	}
	return list
}

func (w *world) now() time.Time {
	w.t.Helper()
	c, err := w.Clock(w.t.Context())
	w.must(err)
	return c.Now
}

// query is a valid query of a REST call.
func (w *world) query() url.Values {
	w.t.Helper()
	sig, err := imrest.NewUserSig(testKey, testApp, "administrator", w.now(), time.Hour)
	w.must(err)
	return url.Values{
		"sdkappid": {strconv.Itoa(testApp)}, "identifier": {"administrator"}, "usersig": {sig},
		"random": {"4294967295"}, "contenttype": {"json"},
	}
}

// answer is an answer of the REST API.
type answer map[string]any

func (a answer) code() int {
	code, _ := a["ErrorCode"].(float64)
	return int(code)
}

// names returns one field of every object in a list.
func (a answer) names(list, name string) []string {
	names := []string{}
	items, _ := a[list].([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		s, _ := object[name].(string)
		names = append(names, s)
	}
	return names
}

// rest makes a valid REST call.
func (w *world) rest(api, body string) answer {
	w.t.Helper()
	a, _ := w.restAs("POST", "/v4/group_open_http_svc/"+api, w.query(), body)
	return a
}

// add makes an add_group_member call.
func (w *world) add(group string, accounts ...string) answer {
	w.t.Helper()
	return w.rest("add_group_member", `{"GroupId":"`+group+`","Silence":1,"MemberList":[`+memberList(accounts)+`]}`)
}

func memberList(accounts []string) string {
	var members []string
	for _, account := range accounts {
		members = append(members, `{"Member_Account":"`+account+`"}`)
	}
	return strings.Join(members, ",")
}

// restAs makes a REST call that need not be valid, and also returns the Date of the answer.
func (w *world) restAs(method, path string, query url.Values, body string) (a answer, date string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.BaseURL+path+"?"+query.Encode(),
		bytes.NewBufferString(body))
	w.must(err)
	response, err := http.DefaultClient.Do(request)
	w.must(err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	w.must(err)
	if err := json.Unmarshal(raw, &a); err != nil || response.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: HTTP status %d, %q; every answer has 200 and JSON", path, response.StatusCode, raw)
	}
	return a, response.Header.Get("Date")
}
