package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The outage is longer than the lease, and long enough for client-go's own back-off to reach its maximum.
func TestTheGateStandsThroughAnOutageOfTheAPIServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	policy := func(listed string) {
		w.policy("gate", fmt.Sprintf(`
groups: [{type: All}]
join: {allow: {accounts: [%s]}}
whenFull: {prune: {mode: Preview, inactiveFor: 30d}}
`, listed))
	}
	w.app()
	policy("jared")
	wire := newWire(t)
	one, two := w.startTwo(wire)
	w.ready("imapp/prod", "grouppolicy/gate")

	check := func(admitted, refused string) error {
		for i, r := range []*replica{one, two} {
			if running, ready := r.Running(), r.Ready(t.Context()); !running || !ready {
				return fmt.Errorf("replica %d: running %v, ready %v", i, running, ready)
			}
			for account, code := range map[string]int{admitted: 0, refused: 1} {
				if got := r.apply("club", account); got.Status != http.StatusOK || got.ErrorCode != code {
					return fmt.Errorf("replica %d: %s: %+v, want code %d", i, account, got, code)
				}
			}
		}
		return nil
	}

	wire.Cut()
	policy("tommy") // reaches the API server, but not the replicas
	two.reportFull("full-in-the-outage")
	throughout(t, 65*time.Second, func() error { return check("jared", "mallory") })
	if one.leads() || two.leads() {
		t.Error("a replica leads by a lease that it cannot renew")
	}

	wire.Mend()
	mended := time.Now()
	within(t, 5*time.Second, "the edit made in the outage to be in force on both", func() bool {
		return check("tommy", "jared") == nil
	})
	t.Logf("the edit was in force on both %s after the outage", time.Since(mended))
	eventually(t, "the full group of the outage to have a PruneRun", func() bool {
		return w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].spec.groupID}") == "full-in-the-outage"
	})
	eventually(t, "one of the two to lead again", func() bool { return one.leads() != two.leads() })
}

func TestARunOfAKilledLeaderIsFinished(t *testing.T) {
	t.Parallel()
	const (
		members  = 2000
		inactive = 900
		seats    = 600
	)
	w := newWorld(t)
	w.app("rest: {requestsPerSecond: 20}")
	w.policy("gate", fmt.Sprintf(`
groups: [{value: club}]
join: {allow: {accounts: [jared]}}
whenFull:
  prune: {mode: Enforce, inactiveFor: 30d, freeSeats: %d, maxRemovals: %[1]d, notification: Silent}
`, seats))
	first, second := w.startTwo(nil)
	w.routeTo(first, second)
	w.ready("imapp/prod", "grouppolicy/gate")
	fillClub(t, w, members, inactive)

	second.reportFull("club")
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
		if got := second.apply("club", account); (got.ErrorCode == 0) != (account == "jared") {
			t.Errorf("%s, while no replica leads: %+v", account, got)
		}
	}

	status := func(path string) string {
		return w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].status."+path+"}")
	}
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
	left := memberSet(t, w, "club")
	for _, account := range planned {
		if left[account] {
			t.Errorf("%s was planned and is still there", account)
		}
	}
	if got, want := len(left), members-seats; got != want {
		t.Errorf("%d members left, want %d: a member was removed that was not planned", got, want)
	}
	t.Logf("killed after %d of %d removals", atKill, seats)
}
