package emulator_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

func (w *world) restClient() *imrest.Client {
	w.t.Helper()
	client, err := imrest.NewClient(imrest.Config{
		Endpoint: w.BaseURL, SDKAppID: testApp, AdminAccount: "administrator", SecretKey: testKey,
		Now: func() time.Time { return testNow },
	})
	w.must(err)
	return client
}

func threeMembers(w *world) {
	w.group(groupSpec{ID: "g", Type: "Public", Members: []memberSpec{{Count: 3, Prefix: "u"}}})
}

func TestRemovalIsCarriedOutAfterItsAnswer(t *testing.T) {
	const body = `{"GroupId":"g","MemberToDel_Account":["u1"]}`
	for name, tc := range map[string]struct {
		fault  fault
		answer string
		broken bool
	}{
		"after OK":                    {fault{Kind: "ok"}, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`, false},
		"after an error":              {fault{Kind: "code", Code: 60008, Info: "timeout"}, `60008`, false},
		"after the status of a proxy": {fault{Kind: "http"}, `502`, false},
		"after the connection broke":  {fault{Kind: "drop"}, ``, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			threeMembers(w)
			tc.fault.API, tc.fault.EffectAfter, tc.fault.Count = "delete_group_member", "500ms", 1
			w.must(errOf(w.AddFault(t.Context(), tc.fault)))
			_, answer, err := w.call("delete_group_member", body, time.Minute)
			if !strings.Contains(answer, tc.answer) || (err != nil) != tc.broken {
				t.Errorf("answer %q, %v", answer, err)
			}
			if len(w.accounts("g")) != 3 {
				t.Skip("the machine is too slow to see the moment between the answer and the removal")
			}
			deadline := time.Now().Add(10 * time.Second)
			for len(w.accounts("g")) != 2 && time.Now().Before(deadline) {
				_, _, _ = w.call("get_appid_group_list", "{}", time.Minute)
			}
			if got := w.accounts("g"); !slices.Equal(got, []string{"u2", "u3"}) {
				t.Errorf("members %v, want u1 removed in the end", got)
			}
		})
	}
}

func TestAccountThatCannotBeRemovedFailsTheWholeCall(t *testing.T) {
	w := newWorld(t)
	threeMembers(w)
	w.must(errOf(w.AddFault(t.Context(), fault{API: "delete_group_member", Kind: "code", Code: 10004, Info: "no",
		Accounts: []string{"u2"}})))
	if got := w.rest("delete_group_member", `{"GroupId":"g","MemberToDel_Account":["u1","u2"]}`).code(); got != 10004 {
		t.Errorf("code %d, want 10004", got)
	}
	got, err := w.restClient().DeleteMembers(t.Context(), "g", []string{"u1", "u2", "u3"}, imrest.DeleteOptions{})
	w.must(err)
	if len(got.Refused) != 1 || got.Refused[0].Account != "u2" {
		t.Errorf("refused %v, want u2", got.Refused)
	}
	same(t, "members", []string{"u2"}, w.accounts("g"))
}

func TestAccountsThatARemovalPassesOver(t *testing.T) {
	w := newWorld(t)
	threeMembers(w)
	w.must(errOf(w.AddFault(t.Context(), fault{API: "delete_group_member", Kind: "skip", Accounts: []string{"u2"}})))
	got, err := w.restClient().DeleteMembers(t.Context(), "g", []string{"u1", "u2"}, imrest.DeleteOptions{})
	w.must(err)
	same(t, "reported as removed", []string{"u1", "u2"}, got.Removed)
	same(t, "members", []string{"u2", "u3"}, w.accounts("g"))
}

func TestAnswersThatSayNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  fault
		answer string
	}{
		"OK without the list":  {fault{Kind: "ok"}, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`},
		"HTML with status 200": {fault{Kind: "http", Status: 200}, "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			threeMembers(w)
			tc.fault.API, tc.fault.Count = "get_specified_group_member_info", 1
			w.must(errOf(w.AddFault(t.Context(), tc.fault)))
			status, answer, err := w.call("get_specified_group_member_info",
				`{"GroupId":"g","Member_List_Account":["u1"]}`, time.Minute)
			if status != http.StatusOK || !strings.Contains(answer, tc.answer) ||
				strings.Contains(answer, "MemberList") {
				t.Errorf("HTTP %d, %q, %v", status, answer, err)
			}
		})
	}
}

func TestAnswerWithoutADate(t *testing.T) {
	w := newWorld(t)
	threeMembers(w)
	w.must(errOf(w.AddFault(t.Context(), fault{API: "get_group_info", Kind: "noDate", Count: 1})))
	client := w.restClient()
	for _, want := range []time.Time{{}, testNow} {
		g, err := client.Group(t.Context(), "g", time.Time{})
		w.must(err)
		if !g.ServerTime.Equal(want) || g.Members != 3 {
			t.Errorf("%d members at %s, want 3 at %s", g.Members, g.ServerTime, want)
		}
	}
}

func TestMutesAndTopics(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "@TGS#_g", Type: "Community", MuteAllMember: true, SupportTopic: true, Members: []memberSpec{
		{Accounts: []string{"u1"}, MutedFor: "2d"}, {Accounts: []string{"u2"}, MutedFor: "0s"},
		{Accounts: []string{"u3"}},
	}})
	client := w.restClient()
	g, err := client.Group(t.Context(), "@TGS#_g", time.Time{})
	w.must(err)
	if !g.MuteAllMember || !g.SupportTopic || g.Type != im.TypeCommunity {
		t.Errorf("group %+v, want it muted and with topics", g)
	}
	members, _, err := client.MembersNamed(t.Context(), "@TGS#_g", []string{"u1", "u2", "u3"}, time.Time{})
	w.must(err)
	for account, want := range map[string]time.Time{"u1": testNow.AddDate(0, 0, 2), "u2": testNow, "u3": {}} {
		if got := members[account]; !got.MuteUntil.Equal(want) || !got.ActivityKnown {
			t.Errorf("%s: %+v, want muted until %s", account, got, want)
		}
	}
	off := false
	w.must(errOf(w.ChangeGroup(t.Context(), "@TGS#_g", emulator.GroupChange{MuteAllMember: &off, SupportTopic: &off})))
	if g, err = client.Group(t.Context(), "@TGS#_g", time.Time{}); err != nil || g.MuteAllMember || g.SupportTopic {
		t.Errorf("group %+v, %v, want neither", g, err)
	}
}

func TestGroupMadeAnewHasAnotherCreateTime(t *testing.T) {
	w := newWorld(t)
	client := w.restClient()
	seen := map[time.Time]bool{}
	for range 3 {
		threeMembers(w)
		g, err := client.Group(t.Context(), "g", time.Time{})
		w.must(err)
		seen[g.CreateTime] = true
		w.must(w.DestroyGroup(t.Context(), "g"))
	}
	if len(seen) != 3 {
		t.Errorf("CreateTimes %v, want 3", seen)
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	w := newWorld(t)
	for name, f := range map[string]fault{
		"a skip of nobody":              {API: "delete_group_member", Kind: "skip"},
		"a skip of another call":        {API: "add_group_member", Kind: "skip", Accounts: []string{"a"}},
		"OK for a callback":             {Callback: "*", Kind: "ok"},
		"an effect after no time":       {API: "*", Kind: "ok", EffectAfter: "soon"},
		"an effect before and after":    {API: "*", Kind: "drop", EffectAfter: "1s", AfterEffect: true},
		"half of the answer of no call": {API: "*", Kind: "truncate", EffectAfter: "1s"},
		"a latency that delays effects": {API: "*", Kind: "latency", Latency: "1s", EffectAfter: "1s"},
		"a status that is no error":     {API: "*", Kind: "http", Status: 301},
	} {
		if _, err := w.AddFault(t.Context(), f); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
