package e2e

import (
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// The vendor does not ask about everybody: what the gate did not decide, it is told afterwards.
func TestStrangerWhomTheVendorAdmittedWithoutAskingIsToldOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.policy("members", "groups: [{value: lounge}]\njoin: {allow: {accounts: [jared]}}")
	r := w.startReady(nil)
	w.routeTo(r)
	w.ready("imapp/prod", "grouppolicy/members")
	lounge := emulator.GroupSpec{ID: "lounge", Type: "Public", Owner: "olivia", ApplyJoinOption: "FreeAccess"}
	if _, err := w.im.CreateGroup(t.Context(), lounge); err != nil {
		t.Fatal(err)
	}
	leaks := func() float64 { return r.metric("groupgate_leaks_total", `app="`+w.Namespace+`/prod"`) }
	applies := func(account, want string) {
		t.Helper()
		got, err := w.im.Apply(t.Context(), "lounge", account)
		if err != nil || got.Result != want {
			t.Fatalf("%s: %+v, %v, want %s", account, got, err, want)
		}
	}

	applies("jared", emulator.ResultJoined)
	applies("mallory", emulator.ResultRefused)
	_, err := w.im.Configure(t.Context(), func(s *emulator.Settings) {
		s.DisabledCallbacks = []string{"Group.CallbackBeforeApplyJoinGroup"} // switched off in the console
	})
	if err != nil {
		t.Fatal(err)
	}
	applies("mallory", emulator.ResultJoined)
	eventually(t, "the leak of mallory", func() bool { return leaks() == 1 })
	a, err := r.postSigned("Group.CallbackAfterCreateGroup", map[string]any{
		"GroupId": "lounge", "Type": "Public", "Owner_Account": "olivia",
		"MemberList": []map[string]string{{"Member_Account": "olivia"}, {"Member_Account": "eve"}},
	})
	if err != nil || a.ErrorCode != 0 || leaks() != 2 {
		t.Errorf("a new group with eve: %+v, %v, %v leaks", a, err, leaks())
	}

	event := ""
	eventually(t, "the event on the policy", func() bool {
		event = w.kubectl("get", "events.events.k8s.io", "--field-selector=reason=Leaked", "-o",
			`jsonpath={range .items[*]}{.type} {.regarding.kind}/{.regarding.name} {.note}{"\n"}{end}`)
		return event != ""
	})
	if want := `Warning GroupPolicy/members Account "mallory" is in group "lounge" of IMApp prod, and this policy ` +
		"refuses it (NotListed)."; !strings.HasPrefix(event, want) || strings.Count(event, "\n") != 1 {
		t.Errorf("events on the policy:\n%s", event)
	}
}
