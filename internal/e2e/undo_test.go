package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const commandJoined = "Group.CallbackAfterNewMemberJoin"

// TestUndo prunes a full group under rejoinAfter, and undoes that although the policy admits no account by then.
func TestUndo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app("rest: {requestsPerSecond: 200}")
	fillClub(t, w, 40, 10)
	members := memberSet(t, w, "club")
	const whenFull = `
whenFull:
  prune: {mode: Enforce, inactiveFor: 30d, freeSeats: 10, rejoinAfter: 1h}
`
	const gate = `
groups: [{value: club}]
join: {deny: {accounts: [idle3]}, reject: {code: 10110, message: Come back later}}
` + whenFull
	w.policy("club", gate)
	leader, follower := w.startTwo(nil, "--sweep-interval=1s")
	replicas := []*replica{leader, follower}
	w.routeTo(leader, follower)
	w.ready("imapp/prod", "grouppolicy/club")

	leader.reportFull("club")
	run := firstRun(w)
	w.kubectl("wait", run, "--for=condition=Complete", "--timeout="+patience.String())
	if got := groupSize(t, w, "club"); got != 30 {
		t.Fatalf("%d members after the run, want 30", got)
	}

	// Every replica refuses a removed account, and no other; a newcomer takes a seat.
	onBoth := func(what string, holds func(*replica) bool) {
		t.Helper()
		for i, r := range replicas {
			eventually(t, fmt.Sprintf("replica %d to %s", i, what), func() bool { return holds(r) })
		}
	}
	onBoth("refuse a removed account", func(r *replica) bool { return r.apply("club", "quiet1").ErrorCode == 10110 })
	for _, r := range replicas {
		if got := r.apply("club", "newcomer"); got.ErrorCode != 0 {
			t.Errorf("newcomer: %+v", got)
		}
	}
	apply(t, w, "quiet1", 10110)
	apply(t, w, "newcomer", 0)

	w.policy("club", `
groups: [{value: club}]
join: {allow: {}, deny: {accounts: [idle3]}, reject: {code: 10110, message: Come back later}}
`+whenFull)
	onBoth("admit no account", func(r *replica) bool { return r.apply("club", "mallory").ErrorCode == 10110 })
	longAgo(w, run) // otherwise its cooldown would prevent the next run

	// Callbacks go to the replica that does not write: it learns of the undo by its watch.
	w.routeTo(follower, leader)
	w.kubectl("patch", run, "--type=merge", "-p", `{"spec":{"undo":"Requested"}}`)
	w.kubectl("wait", run, "--for=condition=Undone", "--timeout="+patience.String())

	members["newcomer"] = true
	delete(members, "idle3")
	if diff := cmp.Diff(members, memberSet(t, w, "club")); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	const want = "9 of 10 accounts are back; 1 was refused."
	if got := w.kubectl("get", run, "-o", `jsonpath={.status.conditions[-1:].message}`); got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	if got := restoredBy(t, w, run); got["Added"] != 9 || got["Refused"] != 1 {
		t.Errorf("results = %v", got)
	}
	const restored = "groupgate_prune_members_restored_total"
	if got := leader.metric(restored) + follower.metric(restored); got != 9 {
		t.Errorf("%s = %v, want 9", restored, got)
	}
	// Reports of the additions may come after the end: they are no leaks, as that of another account is.
	for _, r := range replicas {
		leaks := r.metric("groupgate_leaks_total")
		for _, account := range []string{"quiet1", "mallory"} {
			if err := r.joined("administrator", account); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.metric("groupgate_leaks_total") - leaks; got != 1 {
			t.Errorf("%v leaks of quiet1, who was added back, and mallory, who was not; want 1", got)
		}
	}
	if got := w.kubectl("get", "events.events.k8s.io", "--field-selector=reason=Leaked", "-o",
		"jsonpath={.items[*].note}"); strings.Contains(got, "quiet") {
		t.Errorf("told of members who were added back: %s", got)
	}
	onBoth("refuse invitations again",
		func(r *replica) bool { return r.invite("administrator", "quiet1").ErrorCode == 10110 })

	// The undo filled the group, which was reported; neither that nor a sweep creates a run.
	callbacks, err := w.im.Callbacks(t.Context(), emulator.RecordFilter{})
	if err != nil {
		t.Fatal(err)
	}
	reports := func(c emulator.CallbackRecord) bool { return c.Command == lab.CommandGroupFull }
	if !slices.ContainsFunc(callbacks, reports) {
		t.Error("the vendor reported no full group")
	}
	before, err := w.im.CallCount(t.Context(), "get_group_info")
	if err != nil {
		t.Fatal(err)
	}
	throughout(t, 5*time.Second, func() error { // several sweeps
		after, err := w.im.CallCount(t.Context(), "get_group_info")
		if err == nil && after.Calls != before.Calls {
			err = errors.New("the group that the undo has filled was read")
		}
		return err
	})
	if got := strings.Fields(w.kubectl("get", "pruneruns", "-o", "name")); len(got) != 1 {
		t.Errorf("runs = %v, want the one that was undone", got)
	}

	// No account is refused any more for having been removed.
	w.policy("club", gate)
	onBoth("admit quiet1", func(r *replica) bool { return r.apply("club", "quiet1").ErrorCode == 0 })
}

// firstRun waits for a run and returns its name as kubectl prints it.
func firstRun(w *world) string {
	w.t.Helper()
	var name string
	eventually(w.t, "a run", func() bool {
		name = strings.TrimSpace(w.kubectl("get", "pruneruns", "-o", "name"))
		return name != ""
	})
	return name
}

// apply sends an application of a client, through the backend and its callback.
func apply(t *testing.T, w *world, account string, wantCode int) {
	t.Helper()
	got, err := w.im.Apply(t.Context(), "club", account)
	if err != nil || got.Code != wantCode {
		t.Errorf("%s applies: %+v, %v, want code %d", account, got, err, wantCode)
	}
}

// invite sends an invitation over REST.
func (r *replica) invite(operator string, account string) lab.Answer {
	r.t.Helper()
	body := fmt.Appendf(nil, `{"CallbackCommand":%q,"GroupId":"club","Type":"Public","Operator_Account":%q,
		"DestinationMembers":[{"Member_Account":%q}]}`, lab.CommandInvite, operator, account)
	query := strings.ReplaceAll(lab.Query(lab.SDKAppID, lab.CommandInvite), "iOS", "RESTAPI")
	a, err := lab.Post(r.t.Context(), r.CallbackURL, lab.Sign(query, lab.CallbackToken, time.Now()), body)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// joined reports an addition over REST.
func (r *replica) joined(operator string, account string) error {
	body := fmt.Appendf(nil, `{"CallbackCommand":%q,"GroupId":"club","Type":"Public","Operator_Account":%q,
		"JoinType":"Invited","NewMemberList":[{"Member_Account":%q}]}`, commandJoined, operator, account)
	query := strings.ReplaceAll(lab.Query(lab.SDKAppID, commandJoined), "iOS", "RESTAPI")
	a, err := lab.Post(r.t.Context(), r.CallbackURL, lab.Sign(query, lab.CallbackToken, time.Now()), body)
	if err == nil && (a.Status != http.StatusOK || a.ErrorCode != 0) {
		err = fmt.Errorf("answered %+v", a)
	}
	return err
}

// longAgo moves the conditions of a run an hour into the past.
func longAgo(w *world, run string) {
	w.t.Helper()
	conditions := strings.Fields(w.kubectl("get", run, "-o", "jsonpath={.status.conditions[*].type}"))
	var patch []string
	for i := range conditions {
		const replace = `{"op":"replace","path":"/status/conditions/%d/lastTransitionTime","value":%q}`
		patch = append(patch, fmt.Sprintf(replace, i, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)))
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
