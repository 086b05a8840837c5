package emulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

func TestCallbackFormat(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting"})
	got, err := w.Act(t.Context(), "g", "apply", emulator.Act{Account: "jared", Platform: "Android",
		ClientIP: "192.0.2.7", Message: "let me in"})
	w.must(err)
	if got.Result != emulator.ResultJoined {
		t.Fatalf("%+v", got)
	}
	sent := w.backend.all()[0]
	requestTime := sent.Query.Get("RequestTime")
	if requestTime != "1793880000" || !callback.VerifySign(testToken, requestTime, sent.Query.Get("Sign")) {
		t.Errorf("RequestTime %q with Sign %q does not verify", requestTime, sent.Query.Get("Sign"))
	}
	sent.Query.Del("Sign")
	sent.Query.Del("RequestTime")
	want := "CallbackCommand=Group.CallbackBeforeApplyJoinGroup&ClientIP=192.0.2.7&OptPlatform=Android" +
		"&SdkAppid=1400000000&contenttype=json"
	if got := sent.Query.Encode(); got != want {
		t.Errorf("query %s\nwant  %s", got, want)
	}
	wantBody := `{"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup","GroupId":"g","Type":"Meeting",` +
		`"Requestor_Account":"jared","ApplyMsg":"let me in","EventTime":1793880000000}`
	if sent.Body != wantBody {
		t.Errorf("body %s\nwant %s", sent.Body, wantBody)
	}
	if given, ok := sent.Header["Content-Type"]; ok {
		t.Errorf("Content-Type %v, the vendor documents none", given)
	}
	records, err := w.Callbacks(t.Context(), filter{Command: "Group.CallbackBeforeApplyJoinGroup"})
	w.must(err)
	if len(records) != 1 || strings.Contains(records[0].Query, callback.Sign(testToken, requestTime)) {
		t.Errorf("the record holds the signature: %+v", records)
	}
}

func TestEventTimeForms(t *testing.T) {
	for form, want := range map[string]string{
		emulator.EventTimeNumber: `,"EventTime":1793880000000}`,
		emulator.EventTimeString: `,"EventTime":"1793880000000"}`,
		emulator.EventTimeNone:   `"jared"}`,
	} {
		t.Run(form, func(t *testing.T) {
			w := newWorld(t)
			w.group(groupSpec{ID: "g", Type: "Meeting"})
			_, err := w.Configure(t.Context(), func(s *emulator.Settings) { s.EventTime = form })
			w.must(err)
			_, err = w.Apply(t.Context(), "g", "jared")
			w.must(err)
			if body := w.backend.all()[0].Body; !strings.HasSuffix(body, want) {
				t.Errorf("body %s", body)
			}
		})
	}
}

// TestVerdicts pins the result of each kind of answer for the client, and that failed callbacks admit.
func TestVerdicts(t *testing.T) {
	const ok = `{"ActionStatus":"OK","ErrorInfo":"members only","ErrorCode":%d}`
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	refused := fmt.Sprintf(ok, 1)
	type verdict struct {
		answer  http.HandlerFunc
		result  string
		code    int
		info    string
		outcome string
	}
	admits := func(answer http.HandlerFunc) verdict {
		return verdict{answer, emulator.ResultJoined, 0, "", emulator.OutcomeAllowed}
	}
	failsOpen := func(answer http.HandlerFunc) verdict {
		return verdict{answer, emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen}
	}
	refuses := func(answer http.HandlerFunc, code int, info string) verdict {
		return verdict{answer, emulator.ResultRefused, code, info, emulator.OutcomeRefused}
	}
	cases := map[string]verdict{
		"0":                 admits(says(fmt.Sprintf(ok, 0))),
		"1":                 refuses(says(refused), 10016, "refused by the app backend"),
		"10100":             refuses(says(fmt.Sprintf(ok, 10100)), 10100, "members only"),
		"10200":             refuses(says(fmt.Sprintf(ok, 10200)), 10200, "members only"),
		"10099":             admits(says(fmt.Sprintf(ok, 10099))),
		"10201":             admits(says(fmt.Sprintf(ok, 10201))),
		"FAIL with 0":       admits(says(`{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":0}`)),
		"204":               failsOpen(status(204, "")),
		"302":               failsOpen(status(302, refused)),
		"403":               failsOpen(status(403, refused)),
		"500":               failsOpen(status(500, refused)),
		"HTML":              failsOpen(says("<html>")),
		"empty":             failsOpen(says("")),
		"no ErrorInfo":      failsOpen(says(`{"ActionStatus":"OK","ErrorCode":1}`)),
		"code as a string":  failsOpen(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":"1"}`)),
		"wrong case":        failsOpen(says(`{"actionStatus":"OK","errorInfo":"","errorCode":1}`)),
		"trailing data":     failsOpen(says(refused + "x")),
		"connection broken": failsOpen(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(groupSpec{ID: "g", Type: "Meeting"})
			w.backend.willSay(tc.answer)
			got, err := w.Apply(t.Context(), "g", "jared")
			w.must(err)
			same(t, "the client sees", emulator.Outcome{Result: tc.result, Code: tc.code, Info: tc.info}, got)
			records, err := w.Callbacks(t.Context(), filter{Command: "Group.CallbackBeforeApplyJoinGroup"})
			w.must(err)
			if len(records) != 1 || records[0].Outcome != tc.outcome ||
				(records[0].Failure != "") != (tc.outcome == emulator.OutcomeFailedOpen) {
				t.Errorf("recorded %+v, want one with outcome %s", records, tc.outcome)
			}
			if joined := len(w.accounts("g")) == 1; joined != (tc.result == emulator.ResultJoined) {
				t.Errorf("a member: %v", joined)
			}
		})
	}
}

func TestNoAnswerInTime(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting"})
	w.backend.willSay(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	start := time.Now()
	got, err := w.Apply(t.Context(), "g", "jared")
	w.must(err)
	if took := time.Since(start); got.Result != emulator.ResultJoined || took < 1900*time.Millisecond {
		t.Errorf("%s after %s, want Joined after 2s", got.Result, took)
	}
	records, err := w.Callbacks(t.Context(), filter{Outcome: emulator.OutcomeFailedOpen})
	w.must(err)
	if len(records) == 0 || records[0].Failure != "no answer within 2s" || records[0].DurationMillis < 1900 {
		t.Errorf("recorded %+v", records)
	}
	// OnCallbackFailure can refuse instead. A refused connection fails at once, without the 2 seconds.
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err = w.Configure(t.Context(), func(s *emulator.Settings) {
		s.CallbackURL, s.OnCallbackFailure = gone.URL, emulator.OnFailureRefuse
	})
	w.must(err)
	if got, err = w.Apply(t.Context(), "g", "mallory"); err != nil || got.Result != emulator.ResultRefused {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestInvite(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Work", Owner: "alice", MaxMembers: 3})
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,` +
		`"RefusedMembers_Account":["mallory","unknown"]}`))
	got, err := w.Invite(t.Context(), "g", "alice", "jared", "mallory", "alice", "jared")
	w.must(err)
	want := emulator.Outcome{Result: emulator.ResultJoined, Members: []emulator.MemberOutcome{
		{Account: "jared", Result: emulator.ResultJoined},
		{Account: "mallory", Result: emulator.ResultRefused},
		{Account: "alice", Result: emulator.ResultAlreadyMember},
	}}
	same(t, "in part", want, got)
	wantBody := `{"CallbackCommand":"Group.CallbackBeforeInviteJoinGroup","GroupId":"g","Type":"Work",` +
		`"Operator_Account":"alice","DestinationMembers":[{"Member_Account":"jared"},{"Member_Account":"mallory"},` +
		`{"Member_Account":"alice"}],"EventTime":1793880000000}`
	if body := w.backend.all()[0].Body; body != wantBody {
		t.Errorf("body %s\nwant %s", body, wantBody)
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"members only","ErrorCode":10123}`))
	if got, err = w.Invite(t.Context(), "g", "alice", "carol"); err != nil || got.Code != 10123 ||
		got.Info != "members only" {
		t.Errorf("as a whole: %+v, %v", got, err)
	}
	if got, err = w.Invite(t.Context(), "g", "stranger", "carol"); err != nil || got.Code != 10007 {
		t.Errorf("by a stranger: %+v, %v", got, err)
	}
	for _, kind := range []string{"Public", "Meeting", "AVChatRoom"} {
		w.group(groupSpec{ID: kind, Type: kind, Owner: "alice"})
		if got, err = w.Invite(t.Context(), kind, "alice", "carol"); err != nil ||
			got.Result != emulator.ResultNotPermitted {
			t.Errorf("into %s: %+v, %v", kind, got, err)
		}
	}
}

func TestAddOverREST(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Owner: "alice", MaxMembers: 3})
	_, err := w.Configure(t.Context(), func(s *emulator.Settings) { s.MissingAccounts = []string{"ghost"} })
	w.must(err)
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"RefusedMembers_Account":["mallory"]}`))
	got := w.add("g", "mallory", "alice", "ghost", "bob", "carol", "dave")
	result := func(account string, code float64) any {
		return map[string]any{"Member_Account": account, "Result": code}
	}
	want := answer{"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0.0, "MemberList": []any{
		result("mallory", 0), result("alice", 2), result("ghost", 0),
		result("bob", 1), result("carol", 1), result("dave", 0),
	}}
	same(t, "answer", want, got)
	if first := w.backend.all()[0]; first.Query.Get("OptPlatform") != "RESTAPI" ||
		!strings.Contains(first.Body, `"Operator_Account":"administrator"`) {
		t.Errorf("asked with %v %s", first.Query, first.Body)
	}
	same(t, "callbacks", []string{"BeforeInviteJoinGroup", "AfterNewMemberJoin", "AfterGroupFull"}, w.commands())
	if got := w.add("g", "dave"); got.code() != 10014 {
		t.Errorf("into a full group: %v", got)
	}
	same(t, "callbacks", []string{"BeforeInviteJoinGroup", "AfterGroupFull"}, w.commands())
	if got := w.add("g", "ghost"); got.code() != 10019 {
		t.Errorf("an account that does not exist: %v", got)
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`))
	if got := w.add("g", "dave"); got.code() != 10016 {
		t.Errorf("refused: %v", got)
	}
}

func TestResultsOfAdding(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"each", "all"} {
		w.group(groupSpec{ID: id, Type: "Public", Owner: "alice", MaxMembers: 3,
			Quirks: emulator.Quirks{AddAllOrNothing: id == "all"}})
	}
	_, err := w.Configure(t.Context(), func(s *emulator.Settings) {
		s.MissingAccounts, s.AskedAccounts, s.CrowdedAccounts = []string{"ghost"}, []string{"shy"}, []string{"busy"}
	})
	w.must(err)
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"RefusedMembers_Account":["mallory"]}`))
	cases := []struct {
		group, accounts string
		code            int
		results         string // of each account
		callbacks       int
	}{
		// Accounts that cannot be added take no seat from the others.
		{"each", "mallory alice ghost shy busy bob", 0, "0 2 0 3 4 1", 2},
		{"each", "busy", 10037, "", 1},
		{"each", "ghost busy", 0, "0 4", 1},
		{"each", "shy", 0, "3", 1},
		{"each", "carol dave", 0, "1 0", 3}, // one joined, and the group is full
		{"each", "dave erin", 10014, "", 2},
		// With AddAllOrNothing, one such account fails the whole call.
		{"all", "bob ghost", 10019, "", 1},
		{"all", "bob busy", 10037, "", 1},
		{"all", "bob carol dave", 10014, "", 2},
		{"all", "mallory alice shy bob carol", 0, "0 2 3 1 1", 3},
	}
	for _, tc := range cases {
		got := w.add(tc.group, strings.Fields(tc.accounts)...)
		var results []string
		items, _ := got["MemberList"].([]any)
		for _, item := range items {
			results = append(results, fmt.Sprint(item.(map[string]any)["Result"]))
		}
		if got.code() != tc.code || strings.Join(results, " ") != tc.results {
			t.Errorf("%s into %q: %v, want code %d, results %s", tc.accounts, tc.group, got, tc.code, tc.results)
		}
		if commands := w.commands(); len(commands) != tc.callbacks {
			t.Errorf("%s into %q: callbacks %v, want %d", tc.accounts, tc.group, commands, tc.callbacks)
		}
	}
	for _, id := range []string{"each", "all"} {
		if got := w.accounts(id); !cmp.Equal(got, []string{"alice", "bob", "carol"}) {
			t.Errorf("%s: members %v", id, got)
		}
	}
	// An invitation by a member needs confirmation, too.
	w.group(groupSpec{ID: "team", Type: "Work", Owner: "alice"})
	if got, err := w.Invite(t.Context(), "team", "alice", "shy"); err != nil ||
		got.Members[0].Result != emulator.ResultPending {
		t.Errorf("invited: %+v, %v", got, err)
	}
}

// The callback is sent when the last seat is taken, and again for every account that finds none, but not for refused
// ones.
func TestGroupFull(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting", MaxMembers: 2, Members: []memberSpec{{Accounts: []string{"alice"}}}})
	steps := []struct {
		account, result string
		want            []string
	}{
		{"bob", emulator.ResultJoined, []string{"BeforeApplyJoinGroup", "AfterNewMemberJoin", "AfterGroupFull"}},
		{"carol", emulator.ResultFull, []string{"BeforeApplyJoinGroup", "AfterGroupFull"}},
		{"carol", emulator.ResultFull, []string{"BeforeApplyJoinGroup", "AfterGroupFull"}},
		{"bob", emulator.ResultAlreadyMember, nil},
	}
	for i, step := range steps {
		got, err := w.Apply(t.Context(), "g", step.account)
		w.must(err)
		if got.Result != step.result {
			t.Errorf("step %d: %+v, want %s", i, got, step.result)
		}
		if diff := cmp.Diff(step.want, w.commands()); diff != "" {
			t.Errorf("step %d: callbacks (-want,+got)\n%s", i, diff)
		}
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`))
	if _, err := w.Apply(t.Context(), "g", "mallory"); err != nil {
		t.Fatal(err)
	}
	same(t, "refused: callbacks", []string{"BeforeApplyJoinGroup"}, w.commands())
	// A seat becomes free.
	w.backend.willSay(nil)
	w.rest("delete_group_member", `{"GroupId":"g","MemberToDel_Account":["alice"]}`)
	if got, err := w.Apply(t.Context(), "g", "carol"); err != nil || got.Result != emulator.ResultJoined {
		t.Errorf("after a removal: %+v, %v", got, err)
	}
	w.commands()
	w.must(errOf(w.ChangeGroup(t.Context(), "g", emulator.GroupChange{MaxMembers: new(9)})))
	records, err := w.Callbacks(t.Context(), filter{Command: string(callback.CommandAfterGroupFull)})
	w.must(err)
	want := `{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"g","EventTime":1793880000000}`
	if string(records[0].Body) != want {
		t.Errorf("body %s\nwant %s", records[0].Body, want)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestApprovalAndTypes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group(groupSpec{ID: "public", Type: "Public", Owner: "alice", MaxMembers: 2})
	w.group(groupSpec{ID: "work", Type: "Work", Owner: "alice"})
	w.group(groupSpec{ID: "live", Type: "AVChatRoom", Owner: "alice"})
	for _, account := range []string{"jared", "mallory", "dave"} {
		if got, err := w.Apply(ctx, "public", account); err != nil || got.Result != emulator.ResultPending {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if g, err := w.Group(ctx, "public"); err != nil ||
		!cmp.Equal(g.Applications, []string{"jared", "mallory", "dave"}) || g.Members != 1 {
		t.Errorf("%+v, %v", g, err)
	}
	for _, step := range []struct {
		do   func() (emulator.Outcome, error)
		want string
	}{
		{func() (emulator.Outcome, error) { return w.Decline(ctx, "public", "mallory") }, emulator.ResultDeclined},
		{func() (emulator.Outcome, error) { return w.Approve(ctx, "public", "jared") }, emulator.ResultJoined},
		{func() (emulator.Outcome, error) { return w.Approve(ctx, "public", "dave") }, emulator.ResultFull},
		{func() (emulator.Outcome, error) { return w.Apply(ctx, "work", "jared") }, emulator.ResultNotPermitted},
		{func() (emulator.Outcome, error) { return w.Apply(ctx, "live", "jared") }, emulator.ResultJoined},
		{func() (emulator.Outcome, error) { return w.Quit(ctx, "public", "alice") }, emulator.ResultNotPermitted},
		{func() (emulator.Outcome, error) { return w.Quit(ctx, "work", "alice") }, emulator.ResultLeft},
		{func() (emulator.Outcome, error) { return w.Quit(ctx, "public", "jared") }, emulator.ResultLeft},
		{func() (emulator.Outcome, error) { return w.Speak(ctx, "public", "jared") }, emulator.ResultNotPermitted},
	} {
		if got, err := step.do(); err != nil || got.Result != step.want {
			t.Errorf("%+v, %v, want %s", got, err, step.want)
		}
	}
	if _, err := w.Approve(ctx, "public", "mallory"); err == nil {
		t.Error("a declined application was approved")
	}
	if got := w.accounts("public"); !cmp.Equal(got, []string{"alice"}) {
		t.Errorf("members %v", got)
	}
}

// After-callbacks of one group are sent in the order of the events.
func TestAfterCallbacksInOrder(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting"})
	var want []string
	for i := range 50 {
		if _, err := w.Apply(t.Context(), "g", fmt.Sprintf("u%02d", i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("u%02d", i))
	}
	w.must(w.Settle(t.Context(), time.Minute))
	var got []string
	for _, r := range w.backend.all() {
		if strings.HasSuffix(r.Command, "AfterNewMemberJoin") {
			_, account, _ := strings.Cut(r.Body, `"NewMemberList":[{"Member_Account":"`)
			got = append(got, account[:3])
		}
	}
	same(t, "accounts", want, got)
}

func TestConsoleSwitches(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting"})
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`))
	s, err := w.Configure(t.Context(), func(s *emulator.Settings) {
		s.DisabledCallbacks = []string{"Group.CallbackBeforeApplyJoinGroup"}
		s.CallbackToken = new("")
	})
	w.must(err)
	if s.SignedCallbacks {
		t.Error("signed without a token")
	}
	if got, err := w.Apply(t.Context(), "g", "mallory"); err != nil || got.Result != emulator.ResultJoined {
		t.Errorf("with the callback off: %+v, %v", got, err)
	}
	if got := w.commands(); !cmp.Equal(got, []string{"AfterNewMemberJoin"}) {
		t.Errorf("callbacks %v", got)
	}
	_, err = w.Configure(t.Context(), func(s *emulator.Settings) { s.DisabledCallbacks = nil })
	w.must(err)
	if got, err := w.Apply(t.Context(), "g", "eve"); err != nil || got.Result != emulator.ResultRefused {
		t.Errorf("with the callback on again: %+v, %v", got, err)
	}
	if sent := w.backend.all()[0]; sent.Query.Has("Sign") || sent.Query.Has("RequestTime") {
		t.Errorf("signed without a token: %v", sent.Query)
	}
}

func TestCallbackOverTLS(t *testing.T) {
	b := &backend{}
	gate := httptest.NewTLSServer(b)
	t.Cleanup(gate.Close)
	trust := x509.NewCertPool()
	trust.AddCert(gate.Certificate())
	for name, tc := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"trusted":   {&tls.Config{RootCAs: trust}, emulator.OutcomeAllowed},
		"untrusted": {nil, emulator.OutcomeFailedOpen},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, emulator.Config{
				Apps: []emulator.App{{SDKAppID: testApp, SecretKey: testKey}}, CallbackURL: gate.URL,
				CallbackTLS: tc.config,
			})
			w.group(groupSpec{ID: "g", Type: "Meeting"})
			_, err := w.Apply(t.Context(), "g", "jared")
			w.must(err)
			records, err := w.Callbacks(t.Context(), filter{Command: string(callback.CommandBeforeApplyJoin)})
			w.must(err)
			if len(records) != 1 || records[0].Outcome != tc.want {
				t.Errorf("%+v, want %s", records, tc.want)
			}
		})
	}
}

// Close waits for the callback being sent, and drops the queued ones.
func TestCloseWaits(t *testing.T) {
	w := newWorld(t)
	entered, release := make(chan struct{}), make(chan struct{})
	w.group(groupSpec{ID: "g", Type: "Meeting", Members: []memberSpec{{Count: 5, Prefix: "u"}}})
	w.backend.willSay(func(rw http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`)(rw, r)
	})
	_, err := w.Quit(t.Context(), "g", "u1", "u2", "u3")
	w.must(err)
	<-entered
	closed := make(chan struct{})
	go func() { // ends when Close does
		_ = w.em.Close()
		close(closed)
	}()
	// Close cannot be observed to wait, only not to have returned.
	select {
	case <-closed:
		t.Fatal("Close did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	<-closed
	records, err := w.Callbacks(t.Context(), filter{})
	w.must(err)
	if len(records) != 1 || records[0].Outcome != emulator.OutcomeDelivered {
		t.Errorf("%+v", records)
	}
}
