package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// The outage is longer than the lease and than the minute after which client-go's own back-off would be at its longest.
func TestTheGateStandsThroughAnOutageOfTheAPIServer(t *testing.T) {
	w := newWorld(t, &switchboard{})
	w.app()
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}\nwhenFull: {prune: {mode: Preview, inactiveFor: 30d}}")
	wire, err := lab.NewWire(t.Context(), plane.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	gates := []*gate{w.startReady(gateOptions{server: wire.Address()}), w.startReady(gateOptions{server: wire.Address()})}
	w.ready("imapp/prod", "grouppolicy/gate")
	oneTerm := func() bool { return gates[0].holdsTerm() != gates[1].holdsTerm() }
	eventually(t, "one of the two to hold the term", oneTerm)

	check := func(admitted, refused string) {
		t.Helper()
		for i, g := range gates {
			if !g.Running() || !g.Ready(t.Context()) {
				t.Fatalf("manager %d: running %v, ready %v", i, g.Running(), g.Ready(t.Context()))
			}
			if got := g.asked("club", admitted); got.Status != http.StatusOK || got.ErrorCode != 0 {
				t.Fatalf("manager %d: %s: %+v, want to be admitted", i, admitted, got)
			}
			if got := g.asked("club", refused); got.Status != http.StatusOK || got.ErrorCode != 1 {
				t.Fatalf("manager %d: %s: %+v, want to be refused", i, refused, got)
			}
		}
	}
	check("jared", "mallory")

	wire.Cut()
	cut := time.Now()
	// The edit reaches the API server, but not the managers.
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [tommy]}}\nwhenFull: {prune: {mode: Preview, inactiveFor: 30d}}")
	if got := gates[1].reportFull("full-in-the-outage"); got.Status != http.StatusOK || got.ErrorCode != 0 {
		t.Fatalf("a full group in the outage: %+v", got)
	}
	const outage = 65 * time.Second
	within(t, outage+patience, "the end of the outage", func() bool {
		check("jared", "mallory")
		return time.Since(cut) > outage
	})
	for i, g := range gates {
		if g.holdsTerm() {
			t.Errorf("manager %d still holds a term that it cannot renew", i)
		}
	}

	wire.Mend()
	within(t, 5*time.Second, "the edit made in the outage to be in force on both", func() bool {
		for _, g := range gates {
			if g.asked("club", "tommy").ErrorCode != 0 || g.asked("club", "jared").ErrorCode != 1 {
				return false
			}
		}
		return true
	})
	t.Logf("the edit was in force on both %s after the outage at the latest", time.Since(cut)-outage)
	check("tommy", "jared")
	eventually(t, "the full group of the outage to have a PruneRun", func() bool {
		return w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].spec.groupID}") == "full-in-the-outage"
	})
	eventually(t, "one of the two to hold the term again", oneTerm)
}

func TestTheOtherFinishesWhatAKilledManagerBegan(t *testing.T) {
	const (
		members  = 2000
		inactive = 900
		seats    = 600
	)
	board := &switchboard{}
	w := newWorld(t, board)
	w.app("rest: {requestsPerSecond: 20}")
	w.policy("gate", fmt.Sprintf(`
groups: [{value: club}]
join: {allow: {accounts: [jared]}}
whenFull:
  prune: {mode: Enforce, inactiveFor: 30d, freeSeats: %d, maxRemovals: %[1]d, notification: Silent}
`, seats))
	gates := []*gate{w.startReady(gateOptions{}), w.startReady(gateOptions{})}
	board.set(gates...)
	w.ready("imapp/prod", "grouppolicy/gate")
	fillClub(t, w, members, inactive)

	eventually(t, "one of the two to hold the term", func() bool { return gates[0].holdsTerm() != gates[1].holdsTerm() })
	first, second := gates[0], gates[1]
	if second.holdsTerm() {
		first, second = second, first
	}
	if got := second.reportFull("club"); got.ErrorCode != 0 {
		t.Fatalf("report: %+v", got)
	}
	removedSoFar := func() int { return members - groupSize(t, w, "club") }
	eventually(t, "the second batch to be removed", func() bool { return removedSoFar() >= 200 })
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	atKill := removedSoFar()
	if atKill >= seats {
		t.Fatalf("%d were gone before the kill: it was not in the middle", atKill)
	}
	for _, account := range []string{"jared", "mallory"} {
		if got := second.asked("club", account); (got.ErrorCode == 0) != (account == "jared") {
			t.Errorf("%s, while nobody holds the term: %+v", account, got)
		}
	}

	status := func(path string) string {
		return w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].status."+path+"}")
	}
	eventually(t, "the other to finish the run", func() bool { return status(`conditions[?(@.type=="Complete")].reason`) == "Removed" })
	if got := status("removed"); got != fmt.Sprint(seats) {
		t.Errorf("status.removed is %s, want %d", got, seats)
	}
	planned := strings.Fields(status("plan.removals[*].account"))
	if len(planned) != seats {
		t.Fatalf("%d planned, want %d", len(planned), seats)
	}
	left := memberSet(t, w, "club")
	for _, account := range planned {
		if left[account] {
			t.Errorf("%s was planned and is still there", account)
		}
	}
	if got, want := len(left), members-seats; got != want {
		t.Errorf("%d members left, want %d: somebody went who was not planned", got, want)
	}
	t.Logf("killed after %d of %d removals", atKill, seats)
}
