package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// TestUndo prunes a full group whose members may not come straight back, and undoes that through a gate that lists nobody.
func TestUndo(t *testing.T) {
	board := &switchboard{}
	w := newWorld(t, board)
	w.app("rest: {requestsPerSecond: 200}")
	fillClub(t, w, 40, 10)
	everybody := memberSet(t, w, "club")
	const whenFull = `
whenFull:
  prune: {mode: Enforce, inactiveFor: 30d, freeSeats: 10, rejoinAfter: 1h}
`
	w.policy("club", `
groups: [{value: club}]
join: {deny: {accounts: [idle3]}, reject: {code: 10110, message: Come back later}}
`+whenFull)
	one := w.startReady(gateOptions{flags: []string{"--sweep-interval=1s"}})
	two := w.startReady(gateOptions{flags: []string{"--sweep-interval=1s"}})
	gates := []*gate{one, two}
	board.set(one, two)
	w.ready("imapp/prod", "grouppolicy/club")

	one.reportFull("club")
	run := firstRun(w)
	w.kubectl("wait", run, "--for=condition=Complete", "--timeout="+patience.String())
	if got := groupSize(t, w, "club"); got != 30 {
		t.Fatalf("%d members after the run, want 30", got)
	}

	// Who was removed is refused on every replica, others are not; one of those takes a seat.
	for i, g := range gates {
		eventually(t, fmt.Sprintf("replica %d to refuse who was removed", i), func() bool { return g.asked("club", "quiet1").ErrorCode == 10110 })
		if got := g.asked("club", "newcomer"); got.ErrorCode != 0 {
			t.Errorf("newcomer: %+v", got)
		}
	}
	apply(t, w, "quiet1", 10110)
	apply(t, w, "newcomer", 0)

	w.policy("club", `
groups: [{value: club}]
join: {allow: {}, deny: {accounts: [idle3]}, reject: {code: 10110, message: Come back later}}
`+whenFull)
	for i, g := range gates {
		eventually(t, fmt.Sprintf("replica %d to list nobody", i), func() bool { return g.asked("club", "mallory").ErrorCode == 10110 })
	}
	longAgo(w, run) // so that not its own cooldown keeps the next run away

	// The replica that answers callbacks is not the one that writes: it learns of the record by its watch.
	if one.holdsTerm() {
		board.set(two, one)
	}
	w.kubectl("patch", run, "--type=merge", "-p", `{"spec":{"undo":"Requested"}}`)
	w.kubectl("wait", run, "--for=condition=Undone", "--timeout="+patience.String())

	everybody["newcomer"] = true
	delete(everybody, "idle3")
	if diff := cmp.Diff(everybody, memberSet(t, w, "club")); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if got, want := w.kubectl("get", run, "-o", `jsonpath={.status.conditions[-1:].message}`), "9 of 10 accounts are back; 1 was refused."; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	if got := restoredBy(t, w, run); got["Added"] != 9 || got["Refused"] != 1 {
		t.Errorf("results = %v", got)
	}
	if got := one.metric("groupgate_prune_members_restored_total") + two.metric("groupgate_prune_members_restored_total"); got != 9 {
		t.Errorf("prune_members_restored_total = %v, want 9", got)
	}
	for i, g := range gates {
		eventually(t, fmt.Sprintf("replica %d to be as before", i), func() bool { return g.invited("administrator", "quiet1").ErrorCode == 10110 })
	}

	// The last one who came back filled the group, which was reported; neither that nor a sweep makes a run.
	callbacks, err := w.im.Callbacks(t.Context(), emulator.RecordFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(callbacks, func(c emulator.CallbackRecord) bool { return c.Command == "Group.CallbackAfterGroupFull" }) {
		t.Error("the vendor reported no full group")
	}
	before, err := w.im.CallCount(t.Context(), "get_group_info")
	if err != nil {
		t.Fatal(err)
	}
	sweeps := time.Now()
	within(t, patience, "a few sweeps", func() bool { return time.Since(sweeps) > 5*time.Second })
	if after, err := w.im.CallCount(t.Context(), "get_group_info"); err != nil || after.Calls != before.Calls {
		t.Errorf("%d looks at a group that has just been filled by an undo, %v", after.Calls-before.Calls, err)
	}
	if got := strings.Fields(w.kubectl("get", "pruneruns", "-o", "name")); len(got) != 1 {
		t.Errorf("runs = %v, want the one that was undone", got)
	}

	// Nobody is refused any more for having been removed once.
	w.policy("club", "groups: [{value: club}]\njoin: {deny: {accounts: [idle3]}, reject: {code: 10110, message: Come back later}}"+whenFull)
	for i, g := range gates {
		eventually(t, fmt.Sprintf("replica %d to admit quiet1", i), func() bool { return g.asked("club", "quiet1").ErrorCode == 0 })
	}
}

// firstRun waits for a run and returns it as kubectl names it.
func firstRun(w *world) string {
	w.t.Helper()
	var name string
	eventually(w.t, "a run", func() bool {
		name = strings.TrimSpace(w.kubectl("get", "pruneruns", "-o", "name"))
		return name != ""
	})
	return name
}

// apply is an application from a client, through the vendor and its callback.
func apply(t *testing.T, w *world, account string, wantCode int) {
	t.Helper()
	got, err := w.im.Apply(t.Context(), "club", account)
	if err != nil || got.Code != wantCode {
		t.Errorf("%s applies: %+v, %v, want code %d", account, got, err, wantCode)
	}
}

// invited sends a signed invitation over REST.
func (g *gate) invited(operator string, account string) answer {
	g.t.Helper()
	body, err := json.Marshal(map[string]any{
		"CallbackCommand": "Group.CallbackBeforeInviteJoinGroup", "GroupId": "club", "Type": "Public",
		"Operator_Account": operator, "DestinationMembers": []map[string]string{{"Member_Account": account}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	query := "SdkAppid=1400000000&CallbackCommand=Group.CallbackBeforeInviteJoinGroup&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI"
	a, err := post(g.t.Context(), g.CallbackURL, sign(query, token, time.Now()), string(body))
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// longAgo makes a run look as if it had ended an hour ago.
func longAgo(w *world, run string) {
	w.t.Helper()
	conditions := strings.Fields(w.kubectl("get", run, "-o", "jsonpath={.status.conditions[*].type}"))
	var patch []string
	for i := range conditions {
		patch = append(patch, fmt.Sprintf(`{"op":"replace","path":"/status/conditions/%d/lastTransitionTime","value":%q}`,
			i, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)))
	}
	w.kubectl("patch", run, "--subresource=status", "--type=json", "-p", "["+strings.Join(patch, ",")+"]")
}

// restoredBy counts the results of an undo.
func restoredBy(t *testing.T, w *world, run string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, result := range strings.Fields(w.kubectl("get", run, "-o", "jsonpath={.status.undo.accounts[*].result}")) {
		count[result]++
	}
	return count
}
