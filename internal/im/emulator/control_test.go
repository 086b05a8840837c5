package emulator_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

func (w *world) raw(method, path, body string) (int, string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.BaseURL+path, strings.NewReader(body))
	w.must(err)
	response, err := http.DefaultClient.Do(request)
	w.must(err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	w.must(err)
	return response.StatusCode, string(raw)
}

// Every example in the help works when it is pasted, in the order of the help.
func TestExamplesInHelpWork(t *testing.T) {
	w := newWorld(t)
	_, help := w.raw("GET", "/emulator/", "")
	example := regexp.MustCompile(`(?m)^    curl (?:-X (\w+) )?http://[^/]+(/\S+)(?: -d '(.*)')?$`)
	found := example.FindAllStringSubmatch(help, -1)
	if len(found) != 26 {
		t.Errorf("%d examples in\n%s", len(found), help)
	}
	disbands := false
	for _, m := range found {
		method, path, body := m[1], m[2], m[3]
		if method == "" {
			method = "GET"
		}
		if method == "DELETE" && path == "/emulator/groups/vip" {
			disbands = true
			continue // would remove the group that the next examples use
		}
		if strings.HasSuffix(path, "/applications") { // needs an application, and this group admits at once
			body = strings.Replace(body, "jared", "somebody", 1)
			if status, answer := w.raw(method, path, body); status != 404 ||
				!strings.Contains(answer, "has not applied") {
				t.Errorf("%s %s: %d %s", method, path, status, answer)
			}
			continue
		}
		if path == "/emulator/faults/1" { // the example before has removed all faults
			if f, err := w.AddFault(t.Context(), fault{API: "*", Kind: "drop"}); err != nil {
				t.Fatal(err)
			} else if f.ID != 1 {
				path = strings.Replace(path, "1", "2", 1)
			}
		}
		if status, answer := w.raw(method, path, body); status != 200 {
			t.Errorf("%s %s %s: %d %s", method, path, body, status, answer)
		}
	}
	if !disbands {
		t.Error("no example disbands a group")
	}
}

func TestControlErrorsSayWhatToChange(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Owner: "alice", MaxMembers: 3})
	cases := []struct {
		request, body string
		status        int
		want          string
	}{
		{"GET /group", "", 404, "GET /emulator/ lists"},
		{"PUT /groups", "", 404, "GET /emulator/ lists"},
		{"GET /groups/x", "", 404, "GET /emulator/groups lists them"},
		{"GET /groups?app=7", "", 404, "--app"},
		{"POST /groups", "", 400, "GET /emulator/ has examples"},
		{"POST /groups", `{"typ":"Public"}`, 400, `unknown field "typ"`},
		{"POST /groups", `{"type":"Public"}{}`, 400, "send one object"},
		{"POST /groups", `{"type":"Club"}`, 400, "use Work"},
		{"POST /groups", `{"id":"g","type":"Public"}`, 409, "use another id"},
		{"POST /groups", `{"id":"@TGS#1","type":"Public"}`, 400, "must not begin with @TGS#"},
		{"POST /groups", `{"type":"Work","applyJoinOption":"FreeAccess"}`, 400, "always DisableApply"},
		{"POST /groups/g/members", `{}`, 400, `set either "accounts"`},
		{"POST /groups/g/members", `{"count":3,"prefix":"u"}`, 400, "add at most 2 or raise maxMembers"},
		{"POST /groups/g/members", `{"accounts":["a","b"],"role":"Owner"}`, 400, "one owner"},
		{"POST /groups/g/members", `{"accounts":["a"],"role":"King"}`, 400, "use Owner, Admin or Member"},
		{"POST /groups/g/members", `{"accounts":["a"],"inactiveFor":"40 days"}`, 400, "for example 40d"},
		{"POST /groups/g/members", `{"accounts":["a"],"joinedAgo":"60000d"}`, 400, "smaller duration"},
		{"POST /groups/g/apply", `{"account":"` + strings.Repeat("x", 33) + `"}`, 400, "1 to 32 bytes"},
		{"POST /groups/g/apply", `{"accounts":["a","b"]}`, 400, "one account at a time"},
		{"POST /groups/g/speak", `{}`, 400, "name the accounts"},
		{"POST /groups/g/applications", `{"account":"a","decision":"Maybe"}`, 400, "use Approve or Decline"},
		{"POST /clock", `{}`, 400, "send one of"},
		{"POST /clock", `{"forward":"40000d"}`, 400, "1970 to 2106"},
		{"POST /clock", `{"forward":"1d","reset":true}`, 400, "send one of"},
		{"POST /faults", `{"kind":"drop"}`, 400, `set either "api"`},
		{"POST /faults", `{"api":"*"}`, 400, "use latency, http"},
		{"POST /faults", `{"api":"*","kind":"latency"}`, 400, "300ms"},
		{"POST /faults", `{"api":"*","kind":"code"}`, 400, "60007"},
		{"POST /faults", `{"api":"*","kind":"drop","probability":50}`, 400, "between 0 and 1"},
		{"DELETE /faults/9", "", 404, "lists them"},
		{"PATCH /settings", `{"callbackURL":"127.0.0.1:8443"}`, 400, "must be absolute"},
		{"PATCH /settings", `{"callbackURL":"http://127.0.0.1/?a=1"}`, 400, "no query"},
		{"PATCH /settings", `{"eventTime":"ISO"}`, 400, "use Number, String or None"},
		{"PATCH /settings", `{"callbackCapacity":-1}`, 400, "use 0 for any number"},
		{"GET /groups/g?limit=many", "", 400, "limit must be a number"},
	}
	for _, tc := range cases {
		t.Run(tc.request+tc.body, func(t *testing.T) {
			method, path, _ := strings.Cut(tc.request, " ")
			status, answer := w.raw(method, "/emulator"+path, tc.body)
			text, isError := strings.CutPrefix(strings.ReplaceAll(answer, `\"`, `"`), `{"error":"`)
			if status != tc.status || !isError || !strings.Contains(text, tc.want) {
				t.Errorf("%d %s\nwant %d and %q", status, answer, tc.status, tc.want)
			}
		})
	}
	if status, answer := w.raw("GET", "/", ""); status != 404 || !strings.Contains(answer, "GET /emulator/ lists") {
		t.Errorf("GET /: %d %s", status, answer)
	}
}

func TestPreparingAGroup(t *testing.T) {
	w := newWorld(t)
	g := w.group(groupSpec{ID: "g", Type: "Work", Owner: "alice", MaxMembers: 10, CreatedAgo: "100d",
		Members: []memberSpec{
			{Count: 2, Prefix: "u", Start: 9, InactiveFor: "40d"},
			{Accounts: []string{"bob"}, JoinedAgo: "200d", SpokeAgo: "1h"},
		}})
	if g.Members != 4 || !g.CreatedAt.Equal(testNow.AddDate(0, 0, -200)) {
		t.Errorf("%+v, want a group as old as its oldest member", g)
	}
	p, err := w.PutMembers(t.Context(), "g", memberSpec{Accounts: []string{"u9", "carol"}, Role: "Owner"})
	if err == nil {
		t.Error("two owners:", p)
	}
	p, err = w.PutMembers(t.Context(), "g", memberSpec{Accounts: []string{"u9"}, Role: "Owner"})
	if w.must(err); p.Added != 0 || p.Updated != 1 || p.Group.Owner != "u9" {
		t.Errorf("%+v", p)
	}
	p, err = w.PutMembers(t.Context(), "g", memberSpec{Accounts: []string{"u10", "carol"}, SpokeAgo: "5m"})
	if w.must(err); p.Added != 1 || p.Updated != 1 {
		t.Errorf("%+v", p)
	}
	day := 24 * time.Hour
	want := []emulator.Member{
		{Account: "alice", Role: "Member", JoinedAt: testNow.Add(-100 * day)},
		{Account: "u9", Role: "Owner", JoinedAt: testNow.Add(-40 * day), LastSpokeAt: testNow.Add(-40 * day)},
		{Account: "u10", Role: "Member", JoinedAt: testNow.Add(-40 * day), LastSpokeAt: testNow.Add(-5 * time.Minute)},
		{Account: "bob", Role: "Member", JoinedAt: testNow.Add(-200 * day), LastSpokeAt: testNow.Add(-time.Hour)},
		{Account: "carol", Role: "Member", JoinedAt: testNow, LastSpokeAt: testNow.Add(-5 * time.Minute)},
	}
	got, err := w.Members(t.Context(), "g")
	w.must(err)
	same(t, "members", want, got)
	if sent := w.commands(); len(sent) != 0 {
		t.Errorf("callbacks %v", sent)
	}
}

// Recorded times, RequestTime, the Date header and the expiry of signatures move together.
func TestClock(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting", Members: []memberSpec{{Accounts: []string{"alice"}}}})
	old := w.query()
	if _, err := w.MoveClock(t.Context(), emulator.ClockChange{Forward: "40d"}); err != nil {
		t.Fatal(err)
	}
	later := testNow.AddDate(0, 0, 40)
	if got := w.now(); !got.Equal(later) {
		t.Errorf("now %s, want %s", got, later)
	}
	got, date := w.restAs("POST", "/v4/group_open_http_svc/get_appid_group_list", old, "{}")
	if got.code() != 70001 || date != later.Format(http.TimeFormat) {
		t.Errorf("an old signature: %v with Date %s", got, date)
	}
	if got := w.rest("get_appid_group_list", "{}"); got.code() != 0 {
		t.Errorf("a fresh signature: %v", got)
	}
	w.must(errOf(w.Apply(t.Context(), "g", "jared")))
	w.must(errOf(w.Speak(t.Context(), "g", "alice")))
	if sent := w.backend.all()[0].Query.Get("RequestTime"); sent != "1797336000" {
		t.Errorf("RequestTime %s, want %d", sent, later.Unix())
	}
	want := []emulator.Member{
		{Account: "alice", Role: "Member", JoinedAt: testNow, LastSpokeAt: later},
		{Account: "jared", Role: "Member", JoinedAt: later},
	}
	members, err := w.Members(t.Context(), "g")
	w.must(err)
	same(t, "members", want, members)
	set := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w.must(errOf(w.MoveClock(t.Context(), emulator.ClockChange{Set: &set})))
	if got := w.now(); !got.Equal(set) {
		t.Errorf("now %s, want %s", got, set)
	}
	w.must(errOf(w.MoveClock(t.Context(), emulator.ClockChange{Forward: "-1d12h"})))
	w.must(errOf(w.MoveClock(t.Context(), emulator.ClockChange{Reset: true})))
	if got := w.now(); !got.Equal(testNow) {
		t.Errorf("now %s, want %s", got, testNow)
	}
}

func TestCallRecords(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Members: []memberSpec{{Count: 3, Prefix: "u"}}})
	w.rest("delete_group_member", `{"GroupId":"g","MemberToDel_Account":["u1","u2"]}`)
	w.rest("delete_group_member", `{"GroupId":"gone","MemberToDel_Account":["u3"]}`)
	w.rest("no_such_api", `{}`)
	calls, err := w.Calls(t.Context(), filter{API: "delete_group_member", Group: "g"})
	w.must(err)
	want := []emulator.CallRecord{{
		ID: 1, SDKAppID: testApp, API: "delete_group_member", Identifier: "administrator", Group: "g",
		ReceivedAt: testNow,
		Body:       []byte(`{"GroupId":"g","MemberToDel_Account":["u1","u2"]}`),
	}}
	for i := range calls {
		calls[i].DurationMillis = 0
	}
	same(t, "calls", want, calls)
	count, err := w.CallCount(t.Context(), "delete_group_member")
	if w.must(err); count.Calls != 2 || count.Failed != 1 {
		t.Errorf("%+v", count)
	}
	if count, err = w.CallCount(t.Context(), "other"); err != nil || count.Calls != 1 {
		t.Errorf("unknown: %+v, %v", count, err)
	}
	w.must(w.ClearCalls(t.Context()))
	if count, err = w.CallCount(t.Context(), "delete_group_member"); err != nil || count.Calls != 0 {
		t.Errorf("cleared: %+v, %v", count, err)
	}
}

func TestRecordsAreBounded(t *testing.T) {
	w := newWorld(t)
	for range 4500 {
		w.em.ServeHTTP(discard{}, mustRequest(t, w.BaseURL+"/v4/x"))
	}
	calls, err := w.Calls(t.Context(), filter{Limit: 100000})
	if w.must(err); len(calls) != 2000 || calls[0].ID != 2501 || calls[1999].ID != 4500 {
		t.Errorf("%d records", len(calls))
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A group id may contain any printable ASCII, and is part of the path in the control API.
func TestGroupIDsInPaths(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"@TGS#_x", "a/b", "a%2Fb", "..", ".", `q"\ ?&=#`, "a b+c", "//"} {
		w.group(groupSpec{ID: id, Type: "Community"})
		if g, err := w.Group(t.Context(), id); err != nil || g.ID != id {
			t.Errorf("%q: %+v, %v", id, g, err)
		}
		w.must(w.DestroyGroup(t.Context(), id))
	}
	if g := w.group(groupSpec{Type: "Public"}); !strings.HasPrefix(g.ID, "@TGS#") {
		t.Errorf("generated %q", g.ID)
	}
}

func TestReset(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting"})
	w.must(errOf(w.Apply(t.Context(), "g", "jared")))
	w.must(errOf(w.AddFault(t.Context(), fault{API: "*", Kind: "drop"})))
	w.must(errOf(w.MoveClock(t.Context(), emulator.ClockChange{Forward: "1d"})))
	w.must(w.Settle(t.Context(), time.Minute))
	w.must(w.Reset(t.Context()))
	groups, err := w.Groups(t.Context())
	w.must(err)
	faults, err := w.Faults(t.Context())
	w.must(err)
	callbacks, err := w.Callbacks(t.Context(), filter{})
	w.must(err)
	if len(groups)+len(faults)+len(callbacks) != 0 || !w.now().Equal(testNow) {
		t.Errorf("not deleted: %v %v %v, now %s", groups, faults, callbacks, w.now())
	}
}

func TestSecretKeyRotation(t *testing.T) {
	w := newWorld(t)
	old := w.query()
	s, err := w.Configure(t.Context(), func(s *emulator.Settings) {
		s.SecretKey = new("another")
		s.AdminAccounts = []string{"root"}
	})
	if w.must(err); s.SecretKey != nil {
		t.Error("the key is reported")
	}
	if got, _ := w.restAs("POST", "/v4/group_open_http_svc/get_appid_group_list", old, "{}"); got.code() != 70009 {
		t.Errorf("signed with the old key: %v", got)
	}
}
