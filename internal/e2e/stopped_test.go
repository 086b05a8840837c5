package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// A leader that is stopped for longer than its lease (a suspended machine, a node without CPU time) resumes where it
// was. Here it is stopped during the recheck of its second batch; the other replica finishes the run; then members of
// that batch come back, as inactive as before, and the former leader resumes with a recheck that found them removable.
func TestAStoppedLeaderRemovesNobodyWhenItResumes(t *testing.T) {
	t.Parallel()
	const (
		members  = 2000
		inactive = 900
		seats    = 400
	)
	w := newWorld(t)
	w.app("rest: {requestsPerSecond: 100}")
	w.policy("gate", fmt.Sprintf(`
groups: [{value: club}]
join: {allow: {accounts: [jared]}}
whenFull:
  prune:
    {mode: Enforce, inactiveFor: 30d, freeSeats: %d, maxRemovals: %[1]d, maxRemovalsPerDay: %[1]d, notification: Silent}
`, seats))
	former, next := w.startTwo(nil)
	t.Cleanup(func() { _ = former.Signal(syscall.SIGCONT) }) // before it is asked to end
	w.ready("imapp/prod", "grouppolicy/gate")
	fillClub(t, w, members, inactive)

	// A batch is rechecked by two calls for 50 accounts each: the slow one is the last of the second batch.
	slow, err := w.im.AddFault(t.Context(), emulator.Fault{
		API: "get_specified_group_member_info", Kind: emulator.FaultLatency, Latency: "1500ms", Skip: 3, Count: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	next.reportFull("club")
	eventually(t, "the recheck of the second batch", func() bool {
		faults, err := w.im.Faults(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(faults, func(f emulator.Fault) bool { return f.ID == slow.ID && f.Fired == 1 })
	})
	if err := former.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	status := func(path string) string {
		return w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].status."+path+"}")
	}
	eventually(t, "the other to lead", next.leads)
	eventually(t, "the other to finish the run", func() bool {
		return status(`conditions[?(@.type=="Complete")].reason`) == "Removed"
	})
	if got := status("removed"); got != fmt.Sprint(seats) {
		t.Errorf("status.removed is %s, want %d", got, seats)
	}
	planned := strings.Fields(status("plan.removals[*].account"))
	if len(planned) != seats {
		t.Fatalf("%d planned, want %d", len(planned), seats)
	}
	back := planned[100:200]
	returned := emulator.MemberSpec{Accounts: back, InactiveFor: "60d"}
	if _, err := w.im.PutMembers(t.Context(), "club", returned); err != nil {
		t.Fatal(err)
	}
	deletions := func() int {
		count, err := w.im.CallCount(t.Context(), "delete_group_member")
		if err != nil {
			t.Fatal(err)
		}
		return count.Calls
	}
	version := func() string {
		return w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
	}
	before, recorded := deletions(), version()
	if before != seats/100 {
		t.Errorf("%d deletions of 100, want %d: none is removed twice", before, seats/100)
	}

	if err := former.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to notice that its term is over", func() bool { return !former.leads() })
	throughout(t, 8*time.Second, func() error { // longer than a recheck is valid
		if got := deletions(); got != before {
			return fmt.Errorf("%d deletions after it resumed, want none", got-before)
		}
		return nil
	})
	left := memberSet(t, w, "club")
	for _, account := range back {
		if !left[account] {
			t.Errorf("%s came back, and is gone", account)
		}
	}
	if got, want := len(left), members-seats+len(back); got != want {
		t.Errorf("%d members, want %d", got, want)
	}
	if got := version(); got != recorded {
		t.Errorf("the run was written after its end: version %s, want %s", got, recorded)
	}
	if running, ready := former.Running(), former.Ready(t.Context()); !running || !ready || !next.leads() {
		t.Errorf("former leader: running %v, ready %v; the other leads: %v", running, ready, next.leads())
	}
	for _, r := range []*replica{former, next} {
		if got := r.apply("club", "mallory"); got.ErrorCode != 1 {
			t.Errorf("mallory: %+v", got)
		}
	}
}
