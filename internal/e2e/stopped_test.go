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

// A holder of the term that is stopped for longer than its lease (a suspended machine, a node without CPU time) does not know it when it wakes.
// It is stopped while it looks at its second batch for the last time; the other finishes the run; then members of that very batch come back,
// as inactive as they were, and it wakes with a look that says they may go.
func TestAStoppedHolderOfTheTermRemovesNobodyWhenItWakes(t *testing.T) {
	const (
		members  = 2000
		inactive = 900
		seats    = 400
	)
	w := newWorld(t, &switchboard{})
	w.app("rest: {requestsPerSecond: 100}")
	w.policy("gate", fmt.Sprintf(`
groups: [{value: club}]
join: {allow: {accounts: [jared]}}
whenFull:
  prune: {mode: Enforce, inactiveFor: 30d, freeSeats: %d, maxRemovals: %[1]d, maxRemovalsPerDay: %[1]d, notification: Silent}
`, seats))
	gates := []*gate{w.startReady(gateOptions{}), w.startReady(gateOptions{})}
	for _, g := range gates {
		t.Cleanup(func() { _ = g.Signal(syscall.SIGCONT) }) // before it is asked to end
	}
	w.ready("imapp/prod", "grouppolicy/gate")
	fillClub(t, w, members, inactive)
	eventually(t, "one of the two to hold the term", func() bool { return gates[0].holdsTerm() != gates[1].holdsTerm() })
	former, next := gates[0], gates[1]
	if next.holdsTerm() {
		former, next = next, former
	}

	// Two looks of 50 accounts are one batch: the slow one is the last of the second batch.
	slow, err := w.im.AddFault(t.Context(), emulator.Fault{API: "get_specified_group_member_info", Kind: emulator.FaultLatency, Latency: "1500ms", Skip: 3, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := next.reportFull("club"); got.ErrorCode != 0 {
		t.Fatalf("report: %+v", got)
	}
	eventually(t, "the last look at the second batch", func() bool {
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
	eventually(t, "the other to hold the term", next.holdsTerm)
	eventually(t, "the other to finish the run", func() bool { return status(`conditions[?(@.type=="Complete")].reason`) == "Removed" })
	if got := status("removed"); got != fmt.Sprint(seats) {
		t.Errorf("status.removed is %s, want %d", got, seats)
	}
	planned := strings.Fields(status("plan.removals[*].account"))
	if len(planned) != seats {
		t.Fatalf("%d planned, want %d", len(planned), seats)
	}
	back := planned[100:200]
	if _, err := w.im.PutMembers(t.Context(), "club", emulator.MemberSpec{Accounts: back, InactiveFor: "60d"}); err != nil {
		t.Fatal(err)
	}
	deletions := func() int {
		count, err := w.im.CallCount(t.Context(), "delete_group_member")
		if err != nil {
			t.Fatal(err)
		}
		return count.Calls
	}
	before, version := deletions(), w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
	if before != seats/100 {
		t.Errorf("%d deletions of 100, want %d: nobody is removed twice", before, seats/100)
	}

	if err := former.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	woken := time.Now()
	eventually(t, "it to know that its term is over", func() bool { return !former.holdsTerm() })
	within(t, patience, "some seconds to pass", func() bool { // more than a look at a batch is good for
		if got := deletions(); got != before {
			t.Fatalf("it removed members %s after it woke", time.Since(woken))
		}
		return time.Since(woken) > 8*time.Second
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
	if got := w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].metadata.resourceVersion}"); got != version {
		t.Errorf("the record was written after its end: version %s, want %s", got, version)
	}
	if !former.Running() || !former.Ready(t.Context()) || !next.holdsTerm() {
		t.Errorf("the one that was stopped: running %v, ready %v; the other holds the term: %v", former.Running(), former.Ready(t.Context()), next.holdsTerm())
	}
	for _, g := range gates {
		if got := g.asked("club", "mallory"); got.ErrorCode != 1 {
			t.Errorf("mallory: %+v", got)
		}
	}
}
