package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

var outage = flag.Duration("e2e.outage", 5*time.Second,
	"how long no replica answers in TestStrangersOfAnOutageArePlannedSoonAfterIt")

// soonAfter is how long it may take from the end of an outage, or from a leak, until all strangers are planned, besides
// the grace of the rule.
const soonAfter = 30 * time.Second

// halls makes groups of 50 members, whom the gate admits, and a policy that evicts others.
func halls(w *world, groups int) {
	w.t.Helper()
	w.app("rest: {requestsPerSecond: 50}")
	w.policy("halls", `
groups: [{type: Prefix, value: hall-}]
join:
  allow: {accountPrefixes: [m]}
  evict: {mode: Approve, grace: 0m, notification: Silent}
`)
	for i := range groups {
		_, err := w.im.CreateGroup(w.t.Context(), emulator.GroupSpec{
			ID: fmt.Sprintf("hall-%d", i), Type: "Meeting", Owner: "olivia", CreatedAgo: "400d",
			Members: []emulator.MemberSpec{{Prefix: "m", Count: 50, JoinedAgo: "100d"}},
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// No callback reports the accounts that joined while no replica answered. The round that such a gap starts finds them.
func TestStrangersOfAnOutageArePlannedSoonAfterIt(t *testing.T) {
	t.Parallel()
	const groups, strangers = 5, 100
	w := newWorld(t)
	halls(w, groups)
	one, two := w.startTwo(nil)
	w.routeTo(one, two)
	w.ready("imapp/prod", "grouppolicy/halls")
	eventually(t, "the first round to end", func() bool { return w.round("finishedAt") != "" })

	var stop sync.WaitGroup
	for _, r := range []*replica{one, two} {
		stop.Go(func() { _ = r.Kill() })
	}
	stop.Wait()
	begun := time.Now()
	for i := range strangers {
		group := fmt.Sprintf("hall-%d", i%groups)
		got, err := w.im.Apply(t.Context(), group, fmt.Sprintf("x%d", i))
		if err != nil || got.Result != emulator.ResultJoined {
			t.Fatalf("x%d applies in the outage: %+v, %v", i, got, err)
		}
	}
	if err := w.im.Settle(t.Context(), patience); err != nil { // their after-callbacks are lost
		t.Fatal(err)
	}
	within(t, *outage+patience, "the outage to pass", func() bool { return time.Since(begun) > *outage })
	three, four := w.start(nil), w.start(nil)
	restarted := time.Now()
	eventually(t, "one of the new replicas to answer",
		func() bool { return three.Ready(t.Context()) || four.Ready(t.Context()) })
	over := time.Now()
	w.routeTo(three, four)
	within(t, soonAfter, "all strangers to be planned", func() bool { return w.planned("x") == strangers })
	t.Logf("after an outage of %s, %d strangers in %d groups were planned %s after the first replica was ready, which "+
		"took %s; why: %s", over.Sub(begun).Round(time.Second), strangers, groups,
		time.Since(over).Round(100*time.Millisecond), over.Sub(restarted).Round(100*time.Millisecond), w.round("why"))
	if leaks := three.metric("groupgate_leaks_total") + four.metric("groupgate_leaks_total"); leaks != 0 {
		t.Errorf("%v leaks were reported: the callbacks were not lost", leaks)
	}
}

// round is a field of status.round of the app.
func (w *world) round(field string) string {
	w.t.Helper()
	return w.kubectl("get", "imapp", "prod", "-o", "jsonpath={.status.round."+field+"}")
}

// planned counts the accounts with that prefix in the plans of all runs, each once.
func (w *world) planned(prefix string) int {
	accounts := map[string]bool{}
	for _, run := range w.evictions() {
		if run.Status.Plan == nil {
			continue
		}
		for _, r := range run.Status.Plan.Removals {
			if strings.HasPrefix(r.Account, prefix) {
				accounts[r.Account] = true
			}
		}
	}
	return len(accounts)
}

// The gate would have refused the account, but its answer came too late. The vendor's report of the join finds it.
func TestAStrangerWhomASlowAnswerLetInIsPlanned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	halls(w, 1)
	r := w.startReady(nil)
	w.routeTo(r)
	w.ready("imapp/prod", "grouppolicy/halls")
	eventually(t, "the first round to end", func() bool { return w.round("finishedAt") != "" })
	if a := r.apply("hall-0", "xmallory"); a.Status != http.StatusOK || a.ErrorCode == 0 {
		t.Fatalf("the gate admits the stranger: %+v", a)
	}
	_, err := w.im.AddFault(t.Context(), emulator.Fault{
		Callback: string(callback.CommandBeforeApplyJoin), Kind: emulator.FaultLatency, Latency: "3s",
		Accounts: []string{"xmallory"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.im.Apply(t.Context(), "hall-0", "xmallory")
	if err != nil || got.Result != emulator.ResultJoined {
		t.Fatalf("xmallory: %+v, %v", got, err)
	}
	joined := time.Now()
	within(t, soonAfter, "the stranger to be planned", func() bool { return w.planned("x") == 1 })
	t.Logf("planned %s after the join", time.Since(joined).Round(100*time.Millisecond))
	if run := w.evictions()[0]; run.Spec.Trigger != "Leak" || len(run.Spec.Accounts) != 1 {
		t.Errorf("found by %+v, want a run for the leak", run.Spec)
	}
}
