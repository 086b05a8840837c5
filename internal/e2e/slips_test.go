package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// A slip in a list must not empty a group. Each test makes one in the same world: the group "lounge" has an owner and
// 40 ordinary members. Two lists that a label selects have 28 of them, and the prefix staff- admits the other 12.

const (
	listedMembers = 28
	staffMembers  = 12
)

// lounge makes the world, with one replica that has nothing to evict.
func lounge(t *testing.T, evict string) *world {
	t.Helper()
	w := newWorld(t)
	w.app("rest: {requestsPerSecond: 200}")
	w.lists(listedMembers)
	w.gate("staff-", evict)
	_, err := w.im.CreateGroup(t.Context(), emulator.GroupSpec{
		ID: "lounge", Type: "Public", Owner: "olivia", CreatedAgo: "400d", ApplyJoinOption: "FreeAccess",
		Members: []emulator.MemberSpec{
			{Prefix: "m", Count: listedMembers, JoinedAgo: "100d"},
			{Prefix: "staff-", Count: staffMembers, JoinedAgo: "200d"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.routeTo(w.startReady(nil))
	w.ready("imapp/prod", "grouppolicy/lounge")
	return w
}

// gate applies the policy. evict is added to join.evict.
func (w *world) gate(prefix, evict string) {
	w.t.Helper()
	w.policy("lounge", fmt.Sprintf(`
groups: [{value: lounge}]
join:
  allow: {accountPrefixes: [%q], lists: [{selector: {matchLabels: {list: members}}}]}
  evict: {mode: Enforce, grace: 0m, notification: Silent%s}
`, prefix, evict))
}

// lists applies two lists that have the first n of the members.
func (w *world) lists(n int) {
	w.t.Helper()
	for i := range 2 {
		w.shard(i, "members", i, n)
	}
}

// shard applies one list, which has every other of the first n members.
func (w *world) shard(number int, label string, first, n int) {
	w.t.Helper()
	listed := []string{}
	for i := first; i < n; i += 2 {
		listed = append(listed, fmt.Sprintf("m%d", i+1))
	}
	w.apply(fmt.Sprintf(`apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: members-%d, labels: {list: %s}}
spec: {accounts: [%s]}
`, number, label, strings.Join(listed, ", ")))
}

// evict makes a run by hand, and returns it as kubectl names it.
func (w *world) evict(name string) string {
	w.t.Helper()
	w.apply(fmt.Sprintf(`apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: %s}
spec: {appRef: {name: prod}, groupID: lounge, trigger: Manual, purpose: Evict}
`, name))
	return "prunerun/" + name
}

// evictions are the runs of the world, oldest first.
func (w *world) evictions() []v1alpha1.PruneRun {
	w.t.Helper()
	var list v1alpha1.PruneRunList
	if err := json.Unmarshal([]byte(w.kubectl("get", "pruneruns", "-o", "json")), &list); err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.PruneRun) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return list.Items
}

// reasonOf is the reason of the condition that says what a run waits for, or how it ended.
func reasonOf(run *v1alpha1.PruneRun) string {
	reason := ""
	for _, c := range run.Status.Conditions {
		if c.Type == v1alpha1.ConditionFailed && c.Status == "True" || c.Type == v1alpha1.ConditionComplete ||
			c.Type == v1alpha1.ConditionPlanned && c.Status == "False" {
			reason = c.Reason
		}
	}
	return reason
}

// waits waits until a run of the group waits for that reason, and returns it.
func (w *world) waits(reason string) (waiting v1alpha1.PruneRun) {
	w.t.Helper()
	eventually(w.t, "a run that waits with the reason "+reason, func() bool {
		for _, run := range w.evictions() {
			if reasonOf(&run) == reason {
				waiting = run
				return true
			}
		}
		return false
	})
	return waiting
}

// waitsForLists waits until a run of the group waits for the lists, and returns it. It denies the plan that may have
// been made while one of two shards was gone and the other was not yet: other runs would wait for its approval.
func (w *world) waitsForLists() (waiting v1alpha1.PruneRun) {
	w.t.Helper()
	eventually(w.t, "a run that waits for the lists", func() bool {
		found := false
		for _, run := range w.evictions() {
			switch reason := reasonOf(&run); {
			case reason == v1alpha1.ReasonAwaitingApproval && run.Spec.Approval != v1alpha1.ApprovalDenied:
				w.kubectl("patch", "prunerun", run.Name, "--type=merge", `--patch={"spec":{"approval":"Denied"}}`)
			case reason == v1alpha1.ReasonListUnresolved:
				waiting, found = run, true
			}
		}
		return found
	})
	return waiting
}

// keeps checks for some time that the group has that many members.
func (w *world) keeps(members int) {
	w.t.Helper()
	throughout(w.t, 3*time.Second, func() error {
		if got := groupSize(w.t, w, "lounge"); got != members {
			return fmt.Errorf("%d members, want %d: %+v", got, members, w.evictions())
		}
		return nil
	})
}

const wholeLounge = 1 + listedMembers + staffMembers

func TestNoMemberIsEvictedWhileAListIsUnresolved(t *testing.T) {
	t.Parallel()
	for name, slip := range map[string]func(w *world){
		"list deleted": func(w *world) { w.kubectl("delete", "accountlist", "members-0", "members-1") },
		"list emptied": func(w *world) {
			for i := range 2 {
				w.shard(i, "members", 0, 0)
			}
		},
		"list relabelled": func(w *world) {
			for i := range 2 {
				w.shard(i, "member", i, listedMembers)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := lounge(t, "")
			slip(w)
			w.evict("by-hand")
			waiting := w.waitsForLists()
			w.keeps(wholeLounge)
			if waiting.Status.Plan != nil {
				t.Errorf("a run has a plan: %+v", waiting.Status.Plan)
			}
			// The first run of the queue goes on once the lists are back. They come one after the other, so that it may
			// find one of them alone.
			w.lists(listedMembers)
			eventually(t, "a run with a plan", func() bool {
				return slices.ContainsFunc(w.evictions(), func(run v1alpha1.PruneRun) bool {
					return run.Status.Plan != nil && run.Spec.Approval != v1alpha1.ApprovalDenied
				})
			})
			w.keeps(wholeLounge)
		})
	}
}

// Beyond the breaker a person says whether the lists are complete.
func TestSlipBeyondTheBreaker(t *testing.T) {
	t.Parallel()
	halfLost := func(w *world) { w.kubectl("delete", "accountlist", "members-1") }
	for name, tc := range map[string]struct {
		slip, correct func(w *world)
		refused       int
		approve       bool
	}{
		"half of the shards lost": {halfLost, func(w *world) { w.lists(listedMembers) }, listedMembers / 2, false},
		"typo in a prefix": {
			func(w *world) { w.gate("stafff-", "") }, func(w *world) { w.gate("staff-", "") }, staffMembers, false,
		},
		"cluster restored from an old backup":   {oldBackup, func(w *world) { w.lists(listedMembers) }, 18, false},
		"half of the shards removed on purpose": {halfLost, nil, listedMembers / 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := lounge(t, "")
			tc.slip(w)
			run := w.waits("AwaitingApproval")
			if run.Status.Plan.Breaker == "" || run.Status.Policy.Mode != v1alpha1.PruneModeEnforce ||
				int(run.Status.Plan.Candidates) != tc.refused && len(run.Spec.Accounts) == 0 {
				t.Errorf("policy %+v, plan %+v, want %d candidates and a breaker", run.Status.Policy, run.Status.Plan,
					tc.refused)
			}
			w.keeps(wholeLounge)
			if tc.correct != nil {
				tc.correct(w)
			}
			w.kubectl("patch", "prunerun", run.Name, "--type=merge", "-p", `{"spec":{"approval":"Approved"}}`)
			w.kubectl("wait", "prunerun/"+run.Name, "--for=condition=Complete", "--timeout="+patience.String())
			if tc.approve {
				eventually(t, "the approved removals", func() bool {
					return groupSize(t, w, "lounge") == wholeLounge-tc.refused
				})
				return
			}
			w.keeps(wholeLounge) // the lists were corrected, and the approval came too late to matter
		})
	}
}

// oldBackup makes the API server what it was when the lists had ten members, before there was any record.
func oldBackup(w *world) {
	w.kubectl("delete", "pruneruns", "--all")
	w.kubectl("delete", "grouppolicy", "lounge")
	w.kubectl("delete", "accountlist", "--all")
	w.lists(10)
	w.gate("staff-", "")
}

func TestSlipBelowTheBreakerIsBoundedAndUndone(t *testing.T) {
	t.Parallel()
	w := lounge(t, ", maxRemovalsPerDay: 2")
	before := memberSet(t, w, "lounge")
	w.shard(0, "members", 0, listedMembers-8)       // four of forty are taken off
	longAgo(w, "prunerun/"+w.waits("Removed").Name) // no run follows another one within a minute
	run := w.waits("BudgetExhausted")
	w.keeps(wholeLounge - 2)
	w.lists(listedMembers)
	w.keeps(wholeLounge - 2)
	for _, run := range w.evictions() {
		if run.Status.Removed > 0 {
			w.kubectl("patch", "prunerun", run.Name, "--type=merge", "-p", `{"spec":{"undo":"Requested"}}`)
			w.kubectl("wait", "prunerun/"+run.Name, "--for=condition=Undone", "--timeout="+patience.String())
		}
	}
	if diff := cmp.Diff(before, memberSet(t, w, "lounge")); diff != "" {
		t.Errorf("members after the undo of %s (-want,+got)\n%s", run.Name, diff)
	}
}

// Each of ten slips is a routine. All of them together are none.
func TestTenSmallSlipsInAWeekAreNoRoutine(t *testing.T) {
	t.Parallel()
	w := lounge(t, "")
	var stopped *v1alpha1.PruneRun
	slips := 0
	for slips = 1; slips <= 10 && stopped == nil; slips++ {
		w.shard(0, "members", 0, listedMembers-4*slips) // two more are taken off
		eventually(t, "a run that has removed the two members, or awaits approval", func() bool {
			for _, run := range w.evictions() {
				if reasonOf(&run) == "AwaitingApproval" {
					stopped = &run
					return true
				}
			}
			return groupSize(t, w, "lounge") == wholeLounge-2*slips
		})
		eventually(t, "the run to be finished", func() bool {
			return stopped != nil || !slices.ContainsFunc(w.evictions(), func(run v1alpha1.PruneRun) bool {
				return reasonOf(&run) != "Removed" && reasonOf(&run) != "NothingToRemove"
			})
		})
		for _, run := range w.evictions() { // a day passes, for the operator's pause after a run
			longAgo(w, "prunerun/"+run.Name)
		}
	}
	if stopped == nil {
		t.Fatal("ten slips, and no run awaits approval")
	}
	gone := wholeLounge - groupSize(t, w, "lounge")
	t.Logf("%d members were gone when slip %d awaited approval: %s", gone, slips-1, stopped.Status.Plan.Breaker)
	if gone == 0 || 5*gone > listedMembers+staffMembers {
		t.Errorf("%d of %d ordinary members are gone without approval", gone, listedMembers+staffMembers)
	}
	w.keeps(wholeLounge - gone)
}
