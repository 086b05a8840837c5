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

func TestCallbackOnTheWire(t *testing.T) {
	w := newWorld(t)
	w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
	got, err := w.Act(t.Context(), "g", "apply", emulator.Act{Account: "jared", Platform: "Android", ClientIP: "192.0.2.7", Message: "let me in"})
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
	want := "CallbackCommand=Group.CallbackBeforeApplyJoinGroup&ClientIP=192.0.2.7&OptPlatform=Android&SdkAppid=1400000000&contenttype=json"
	if got := sent.Query.Encode(); got != want {
		t.Errorf("query %s\nwant  %s", got, want)
	}
	wantBody := `{"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup","GroupId":"g","Type":"Meeting","Requestor_Account":"jared","ApplyMsg":"let me in","EventTime":1793880000000}`
	if sent.Body != wantBody {
		t.Errorf("body %s\nwant %s", sent.Body, wantBody)
	}
	if given, ok := sent.Header["Content-Type"]; ok {
		t.Errorf("Content-Type %v, the vendor documents none", given)
	}
	records, err := w.Callbacks(t.Context(), emulator.RecordFilter{Command: "Group.CallbackBeforeApplyJoinGroup"})
	w.must(err)
	if len(records) != 1 || strings.Contains(records[0].Query, callback.Sign(testToken, requestTime)) {
		t.Errorf("the record holds the signature: %+v", records)
	}
}

func TestEventTimeForms(t *testing.T) {
	for form, want := range map[string]string{
		emulator.EventTimeNumber: `,"EventTime":1793880000000}`, emulator.EventTimeString: `,"EventTime":"1793880000000"}`, emulator.EventTimeNone: `"jared"}`,
	} {
		t.Run(form, func(t *testing.T) {
			w := newWorld(t)
			w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
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

// TestVerdicts holds what a client sees of every answer, and which failures let him in.
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
	cases := map[string]struct {
		answer  http.HandlerFunc
		result  string
		code    int
		info    string
		outcome string
	}{
		"0":                 {says(fmt.Sprintf(ok, 0)), emulator.ResultJoined, 0, "", emulator.OutcomeAllowed},
		"1":                 {says(refused), emulator.ResultRefused, 10016, "refused by the app backend", emulator.OutcomeRefused},
		"10100":             {says(fmt.Sprintf(ok, 10100)), emulator.ResultRefused, 10100, "members only", emulator.OutcomeRefused},
		"10200":             {says(fmt.Sprintf(ok, 10200)), emulator.ResultRefused, 10200, "members only", emulator.OutcomeRefused},
		"10099":             {says(fmt.Sprintf(ok, 10099)), emulator.ResultJoined, 0, "", emulator.OutcomeAllowed},
		"10201":             {says(fmt.Sprintf(ok, 10201)), emulator.ResultJoined, 0, "", emulator.OutcomeAllowed},
		"FAIL with 0":       {says(`{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":0}`), emulator.ResultJoined, 0, "", emulator.OutcomeAllowed},
		"204":               {status(204, ""), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"302":               {status(302, refused), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"403":               {status(403, refused), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"500":               {status(500, refused), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"HTML":              {says("<html>"), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"nothing":           {says(""), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"no ErrorInfo":      {says(`{"ActionStatus":"OK","ErrorCode":1}`), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"code as a string":  {says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":"1"}`), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"wrong case":        {says(`{"actionStatus":"OK","errorInfo":"","errorCode":1}`), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"data after it":     {says(refused + "x"), emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
		"connection broken": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, emulator.ResultJoined, 0, "", emulator.OutcomeFailedOpen},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
			w.backend.willSay(tc.answer)
			got, err := w.Apply(t.Context(), "g", "jared")
			w.must(err)
			if diff := cmp.Diff(emulator.Outcome{Result: tc.result, Code: tc.code, Info: tc.info}, got); diff != "" {
				t.Errorf("the client sees (-want,+got)\n%s", diff)
			}
			records, err := w.Callbacks(t.Context(), emulator.RecordFilter{Command: "Group.CallbackBeforeApplyJoinGroup"})
			w.must(err)
			if len(records) != 1 || records[0].Outcome != tc.outcome || (records[0].Failure != "") != (tc.outcome == emulator.OutcomeFailedOpen) {
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
	w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
	w.backend.willSay(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	start := time.Now()
	got, err := w.Apply(t.Context(), "g", "jared")
	w.must(err)
	if took := time.Since(start); got.Result != emulator.ResultJoined || took < 1900*time.Millisecond {
		t.Errorf("%s after %s, want Joined after 2s", got.Result, took)
	}
	records, err := w.Callbacks(t.Context(), emulator.RecordFilter{Outcome: emulator.OutcomeFailedOpen})
	w.must(err)
	if len(records) == 0 || records[0].Failure != "no answer within 2s" || records[0].DurationMillis < 1900 {
		t.Errorf("recorded %+v", records)
	}
	// The console can be set to refuse instead. A connection that is refused at once needs no 2 seconds.
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
	w.group(emulator.GroupSpec{ID: "g", Type: "Work", Owner: "alice", MaxMembers: 3})
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"RefusedMembers_Account":["mallory","unknown"]}`))
	got, err := w.Invite(t.Context(), "g", "alice", "jared", "mallory", "alice", "jared")
	w.must(err)
	want := emulator.Outcome{Result: emulator.ResultJoined, Members: []emulator.MemberOutcome{
		{Account: "jared", Result: emulator.ResultJoined}, {Account: "mallory", Result: emulator.ResultRefused}, {Account: "alice", Result: emulator.ResultAlreadyMember},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in part (-want,+got)\n%s", diff)
	}
	wantBody := `{"CallbackCommand":"Group.CallbackBeforeInviteJoinGroup","GroupId":"g","Type":"Work","Operator_Account":"alice",` +
		`"DestinationMembers":[{"Member_Account":"jared"},{"Member_Account":"mallory"},{"Member_Account":"alice"}],"EventTime":1793880000000}`
	if body := w.backend.all()[0].Body; body != wantBody {
		t.Errorf("body %s\nwant %s", body, wantBody)
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"members only","ErrorCode":10123}`))
	if got, err = w.Invite(t.Context(), "g", "alice", "carol"); err != nil || got.Code != 10123 || got.Info != "members only" {
		t.Errorf("as a whole: %+v, %v", got, err)
	}
	if got, err = w.Invite(t.Context(), "g", "stranger", "carol"); err != nil || got.Code != 10007 {
		t.Errorf("by a stranger: %+v, %v", got, err)
	}
	for _, kind := range []string{"Public", "Meeting", "AVChatRoom"} {
		w.group(emulator.GroupSpec{ID: kind, Type: kind, Owner: "alice"})
		if got, err = w.Invite(t.Context(), kind, "alice", "carol"); err != nil || got.Result != emulator.ResultNotPermitted {
			t.Errorf("into %s: %+v, %v", kind, got, err)
		}
	}
}

func TestAddOverREST(t *testing.T) {
	w := newWorld(t)
	w.group(emulator.GroupSpec{ID: "g", Type: "Public", Owner: "alice", MaxMembers: 3})
	_, err := w.Configure(t.Context(), func(s *emulator.Settings) { s.MissingAccounts = []string{"ghost"} })
	w.must(err)
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"RefusedMembers_Account":["mallory"]}`))
	got := w.rest("add_group_member", `{"GroupId":"g","Silence":1,"MemberList":[{"Member_Account":"mallory"},{"Member_Account":"alice"},{"Member_Account":"ghost"},{"Member_Account":"bob"},{"Member_Account":"carol"},{"Member_Account":"dave"}]}`)
	want := answer{"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0.0, "MemberList": []any{
		map[string]any{"Member_Account": "mallory", "Result": 0.0}, map[string]any{"Member_Account": "alice", "Result": 2.0}, map[string]any{"Member_Account": "ghost", "Result": 0.0},
		map[string]any{"Member_Account": "bob", "Result": 1.0}, map[string]any{"Member_Account": "carol", "Result": 1.0}, map[string]any{"Member_Account": "dave", "Result": 0.0},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	if first := w.backend.all()[0]; first.Query.Get("OptPlatform") != "RESTAPI" || !strings.Contains(first.Body, `"Operator_Account":"administrator"`) {
		t.Errorf("asked with %v %s", first.Query, first.Body)
	}
	if diff := cmp.Diff([]string{"BeforeInviteJoinGroup", "AfterNewMemberJoin", "AfterGroupFull"}, w.commands()); diff != "" {
		t.Errorf("callbacks (-want,+got)\n%s", diff)
	}
	if got := w.rest("add_group_member", `{"GroupId":"g","MemberList":[{"Member_Account":"dave"}]}`); got.code() != 10014 {
		t.Errorf("into a full group: %v", got)
	}
	if diff := cmp.Diff([]string{"BeforeInviteJoinGroup", "AfterGroupFull"}, w.commands()); diff != "" {
		t.Errorf("callbacks (-want,+got)\n%s", diff)
	}
	if got := w.rest("add_group_member", `{"GroupId":"g","MemberList":[{"Member_Account":"ghost"}]}`); got.code() != 10019 {
		t.Errorf("who does not exist: %v", got)
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`))
	if got := w.rest("add_group_member", `{"GroupId":"g","MemberList":[{"Member_Account":"dave"}]}`); got.code() != 10016 {
		t.Errorf("refused: %v", got)
	}
}

func TestAddResults(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"each", "all"} {
		w.group(emulator.GroupSpec{ID: id, Type: "Public", Owner: "alice", MaxMembers: 3, Quirks: emulator.Quirks{AddAllOrNothing: id == "all"}})
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
		// Whom a call names along costs nobody a seat.
		{"each", "mallory alice ghost shy busy bob", 0, "0 2 0 3 4 1", 2},
		{"each", "busy", 10037, "", 1},
		{"each", "ghost busy", 0, "0 4", 1},
		{"each", "shy", 0, "3", 1},
		{"each", "carol dave", 0, "1 0", 3}, // somebody joined, and the group is full
		{"each", "dave erin", 10014, "", 2},
		// Or nobody is added because of one.
		{"all", "bob ghost", 10019, "", 1},
		{"all", "bob busy", 10037, "", 1},
		{"all", "bob carol dave", 10014, "", 2},
		{"all", "mallory alice shy bob carol", 0, "0 2 3 1 1", 3},
	}
	for _, tc := range cases {
		var members []string
		for account := range strings.FieldsSeq(tc.accounts) {
			members = append(members, `{"Member_Account":"`+account+`"}`)
		}
		body := `{"GroupId":"` + tc.group + `","Silence":1,"MemberList":[` + strings.Join(members, ",") + `]}`
		got := w.rest("add_group_member", body)
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
	// Who is invited by a member is asked as well.
	w.group(emulator.GroupSpec{ID: "team", Type: "Work", Owner: "alice"})
	if got, err := w.Invite(t.Context(), "team", "alice", "shy"); err != nil || got.Members[0].Result != emulator.ResultPending {
		t.Errorf("invited: %+v, %v", got, err)
	}
}

// The event is sent when the last seat is taken, and again for everybody who finds none; not for who is refused before.
func TestGroupFull(t *testing.T) {
	w := newWorld(t)
	w.group(emulator.GroupSpec{ID: "g", Type: "Meeting", MaxMembers: 2, Members: []emulator.MemberSpec{{Accounts: []string{"alice"}}}})
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
	if diff := cmp.Diff([]string{"BeforeApplyJoinGroup"}, w.commands()); diff != "" {
		t.Errorf("refused: callbacks (-want,+got)\n%s", diff)
	}
	// A seat becomes free.
	w.backend.willSay(nil)
	w.rest("delete_group_member", `{"GroupId":"g","MemberToDel_Account":["alice"]}`)
	if got, err := w.Apply(t.Context(), "g", "carol"); err != nil || got.Result != emulator.ResultJoined {
		t.Errorf("after a removal: %+v, %v", got, err)
	}
	w.commands()
	w.must(errOf(w.ChangeGroup(t.Context(), "g", emulator.GroupChange{MaxMembers: new(9)})))
	records, err := w.Callbacks(t.Context(), emulator.RecordFilter{Command: string(callback.CommandAfterGroupFull)})
	w.must(err)
	if want := `{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"g","EventTime":1793880000000}`; string(records[0].Body) != want {
		t.Errorf("body %s\nwant %s", records[0].Body, want)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestApprovalAndTypes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group(emulator.GroupSpec{ID: "public", Type: "Public", Owner: "alice", MaxMembers: 2})
	w.group(emulator.GroupSpec{ID: "work", Type: "Work", Owner: "alice"})
	w.group(emulator.GroupSpec{ID: "live", Type: "AVChatRoom", Owner: "alice"})
	for _, account := range []string{"jared", "mallory", "dave"} {
		if got, err := w.Apply(ctx, "public", account); err != nil || got.Result != emulator.ResultPending {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if g, err := w.Group(ctx, "public"); err != nil || !cmp.Equal(g.Applications, []string{"jared", "mallory", "dave"}) || g.Members != 1 {
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
		t.Error("approved who was declined")
	}
	if got := w.accounts("public"); !cmp.Equal(got, []string{"alice"}) {
		t.Errorf("members %v", got)
	}
}

// After-callbacks of one group keep the order in which things happened, although nobody waits for them.
func TestAfterCallbacksInOrder(t *testing.T) {
	w := newWorld(t)
	w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
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
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestConsoleSwitches(t *testing.T) {
	w := newWorld(t)
	w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
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
			w := serve(t, emulator.New(emulator.Config{
				Apps: []emulator.App{{SDKAppID: testApp, SecretKey: testKey}}, CallbackURL: gate.URL, CallbackTLS: tc.config,
			}))
			w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
			_, err := w.Apply(t.Context(), "g", "jared")
			w.must(err)
			records, err := w.Callbacks(t.Context(), emulator.RecordFilter{Command: string(callback.CommandBeforeApplyJoin)})
			w.must(err)
			if len(records) != 1 || records[0].Outcome != tc.want {
				t.Errorf("%+v, want %s", records, tc.want)
			}
		})
	}
}

// Close waits for the callback under way, and drops those behind it.
func TestCloseWaits(t *testing.T) {
	w := newWorld(t)
	entered, release := make(chan struct{}), make(chan struct{})
	w.group(emulator.GroupSpec{ID: "g", Type: "Meeting", Members: []emulator.MemberSpec{{Count: 5, Prefix: "u"}}})
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
	// Answers only after Close has been asked for, as far as that can be seen from here.
	select {
	case <-closed:
		t.Fatal("Close did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	<-closed
	records, err := w.Callbacks(t.Context(), emulator.RecordFilter{})
	w.must(err)
	if len(records) != 1 || records[0].Outcome != emulator.OutcomeDelivered {
		t.Errorf("%+v", records)
	}
}
