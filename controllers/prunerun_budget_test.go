package controllers

import (
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const exhausted = "Planned=False/BudgetExhausted"

// rationed is a world with two full groups of 257 under one policy, each with 230 to go, of whom 150 a day may.
func rationed(t *testing.T, mode v1alpha1.PruneMode) *world {
	t.Helper()
	w := newWorld(t)
	for _, group := range []string{"a", "b"} {
		w.group(group, 5, 250)
	}
	w.rationing(mode)
	w.runFor("of-a", "a", v1alpha1.PruneTriggerGroupFull)
	w.runFor("of-b", "b", v1alpha1.PruneTriggerGroupFull)
	return w
}

func (w *world) rationing(mode v1alpha1.PruneMode) {
	w.t.Helper()
	w.policyFor("lounge", "x", v1alpha1.PruneRule{Mode: mode, FreeSeats: seats(plannedRemovals), MaxRemovals: 1000, MaxRemovalsPerDay: 150})
	change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
		p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
	})
	w.publish()
}

func TestManyRunsKeepToTheBudgetOfADay(t *testing.T) {
	w := rationed(t, v1alpha1.PruneModeEnforce)
	r := w.process()
	first := w.finish(r, "of-a")
	if got := len(planAccounts(first)); got != 150 || first.Status.Removed != 150 {
		t.Fatalf("planned %d, removed %d, want 150", got, first.Status.Removed)
	}
	w.forget()
	w.look(r, "of-b")
	wantConditions(t, w.get("of-b"), exhausted)
	w.look(r, "of-b")
	if got := w.happened(apiGroup); w.happened(apiList) != 0 || got != 1 {
		t.Errorf("%v: want the group read once, and no list, while nothing is left", w.calls)
	}

	// Neither another process nor a policy that is made again starts anew.
	remove(w, &v1alpha1.GroupPolicy{}, "lounge")
	w.rationing(v1alpha1.PruneModeEnforce)
	other := w.process()
	w.clock.forward(24*time.Hour - 10*time.Second)
	w.look(other, "of-b")
	wantConditions(t, w.get("of-b"), exhausted)

	w.clock.forward(11 * time.Second)
	if second := w.finish(other, "of-b"); second.Status.Removed != 150 {
		t.Errorf("a day later removed %d, want 150", second.Status.Removed)
	}
}

func TestBudgetIsThatOfThePolicysName(t *testing.T) {
	w := rationed(t, v1alpha1.PruneModeEnforce)
	w.policy("only-b", v1alpha1.PruneRule{FreeSeats: seats(plannedRemovals), MaxRemovals: 1000, MaxRemovalsPerDay: 20})
	change(w, &v1alpha1.GroupPolicy{}, "only-b", func(p *v1alpha1.GroupPolicy) { p.Spec.Groups[0].Value = "b" })
	w.publish()
	r := w.process()
	if a, b := w.finish(r, "of-a").Status.Removed, w.finish(r, "of-b").Status.Removed; a != 150 || b != 20 {
		t.Errorf("removed %d and %d, want 150 and 20", a, b)
	}
}

func TestApprovedPlansShareTheBudget(t *testing.T) {
	w := rationed(t, v1alpha1.PruneModeApprove)
	r := w.process()
	for _, name := range []string{"of-a", "of-b"} {
		w.look(r, name)
		w.say(name, v1alpha1.ApprovalApproved)
	}
	if got := w.finish(r, "of-a").Status.Removed; got != 150 {
		t.Fatalf("removed %d, want 150", got)
	}
	w.look(r, "of-b")
	wantConditions(t, w.get("of-b"), "Planned=True/Planned", "Complete=False/BudgetExhausted")
	if requested(r.waitingRuns(t.Context()), w.namespace, "of-b") {
		t.Error("an edit that does not concern the plan has the vendor called for it")
	}
	if got := w.get("of-b").Status.Removed; got != 0 {
		t.Errorf("removed %d", got)
	}
}

// crashedBetween makes the process die right before or after the deletion of a run's second batch, which is on record by then.
func TestBudgetIsExactAfterACrash(t *testing.T) {
	for name, carriedOut := range map[string]bool{"before the deletion": false, "after the deletion": true} {
		t.Run(name, func(t *testing.T) {
			w := rationed(t, v1alpha1.PruneModeEnforce)
			r := w.process()
			if carriedOut {
				w.onPatch(5, func(*v1alpha1.PruneRun, func() error) error { w.kill(r); return errCrash }) // plan, fence, settle, fence, settle
			} else {
				w.onPatch(4, func(_ *v1alpha1.PruneRun, send func() error) error {
					err := send()
					w.kill(r)
					return err
				})
			}
			for range 3 {
				_, _ = w.reconcile(r, "of-a")
			}
			w.mu.Lock()
			w.patch = nil
			w.mu.Unlock()
			if got := prunerun.Progress(w.get("of-a")).InFlight; got != 50 {
				t.Fatalf("%d in flight, want the test to crash with 50", got)
			}
			other := w.process()
			w.look(other, "of-b") // sees the batch in flight of the other run
			wantConditions(t, w.get("of-b"), exhausted)
			if got := w.finish(other, "of-a").Status.Removed; got != 150 {
				t.Errorf("removed %d, want 150", got)
			}
			w.look(other, "of-b")
			wantConditions(t, w.get("of-b"), exhausted)
			if got := 2*257 - len(w.members("a")) - len(w.members("b")); got != 150 {
				t.Errorf("%d are gone, want 150", got)
			}
		})
	}
}

// A former holder of the term may have recorded a batch so late that its successor had already given away what was left.
func TestBatchThatWasRecordedTooLateGivesWay(t *testing.T) {
	for name, tc := range map[string]struct {
		left        int // members of the late batch who went by themselves
		wantRemoved int32
		wantKept    int
		want        string
	}{
		"nobody is gone":     {left: 0, want: "Complete=False/BudgetExhausted"},
		"somebody went away": {left: 3, wantRemoved: 3, wantKept: 47, want: "Complete=False/BudgetExhausted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := rationed(t, v1alpha1.PruneModeApprove)
			r := w.process()
			for _, run := range []string{"of-a", "of-b"} {
				w.look(r, run)
				w.say(run, v1alpha1.ApprovalApproved)
			}
			w.finish(r, "of-a")
			late := w.get("of-b")
			for _, account := range planAccounts(late)[:tc.left] {
				_, err := w.emulator.Quit(t.Context(), "b", account)
				must(t, err)
			}
			late.Status.Progress = &v1alpha1.PruneProgress{InFlight: 50, LastBatchAt: metav1.NewTime(w.clock.Now())}
			must(t, w.client.Status().Update(t.Context(), late))
			w.forget()

			w.look(r, "of-b")
			run := w.get("of-b")
			wantConditions(t, run, "Planned=True/Planned", tc.want)
			if run.Status.Removed != tc.wantRemoved || len(run.Status.Kept) != tc.wantKept || prunerun.Progress(run).InFlight != 0 {
				t.Errorf("removed %d, kept %d, %+v", run.Status.Removed, len(run.Status.Kept), run.Status.Progress)
			}
			for account, reason := range kept(run) {
				if reason != v1alpha1.KeptReasonBudgetExhausted {
					t.Errorf("%s was kept because %s", account, reason)
				}
			}
			if got := w.happened(apiDelete); got != 0 {
				t.Errorf("%d deletions beyond the budget", got)
			}
		})
	}
}

func TestConcurrentBatchesNeverExceedTheBudget(t *testing.T) {
	l, now := newLedger(), time.Now()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		sum int
	)
	for i := range 50 {
		wg.Go(func() {
			l.mu.Lock()
			granted, _ := l.reserve("p", types.UID(fmt.Sprint(i)), 30, 1000, now)
			l.mu.Unlock()
			mu.Lock()
			defer mu.Unlock()
			sum += granted
		})
	}
	wg.Wait()
	if sum != 1000 {
		t.Errorf("%d were granted, want 1000", sum)
	}
}

func TestLedgerOfAnEarlierTermIsNobodys(t *testing.T) {
	var l ledgers
	app := appKey{"ns", "app"}
	now := l.of(2, app)
	if l.of(1, app) == now || l.of(2, app) != now {
		t.Error("a straggler of an earlier term reaches the ledger of this one, or throws it away")
	}
	if l.of(3, app) == now {
		t.Error("a ledger outlives its term")
	}
}

func TestRunsOfOtherTimesDoNotCount(t *testing.T) {
	now := time.Now()
	run := func(uid string, removed int32, at time.Time) *v1alpha1.PruneRun {
		return &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}, Status: v1alpha1.PruneRunStatus{
			Policy: &v1alpha1.PrunePolicyRecord{Name: "p"}, Removed: removed,
			Progress: &v1alpha1.PruneProgress{Settled: removed, LastBatchAt: metav1.NewTime(at)},
		}}
	}
	l := newLedger()
	l.enter(run("old", 5, now.Add(-budgetWindow)))
	l.enter(run("new", 7, now.Add(-budgetWindow+time.Second)))
	l.enter(run("ahead", 11, now.Add(time.Hour))) // by another clock
	left, more := l.left("p", 100, now, "")
	if left != 82 || !more.Equal(now.Add(time.Second)) {
		t.Errorf("left %d until %s, want 82 until a second from now", left, more.Sub(now))
	}
	if left, _ := l.left("other", 100, now, ""); left != 100 {
		t.Errorf("another policy has %d left", left)
	}
}

func TestPreviewShowsADayAtMost(t *testing.T) {
	w := rationed(t, v1alpha1.PruneModePreview)
	r := w.process()
	for _, name := range []string{"of-a", "of-b"} {
		if run := w.finish(r, name); len(planAccounts(run)) != 150 || run.Status.Refuse != nil {
			t.Errorf("%s: %d planned, refuse %v; want 150, and nobody refused", name, len(planAccounts(run)), run.Status.Refuse)
		}
	}
}

// A batch whose run ended, or was deleted, while the vendor was out of reach is never settled.
func TestBatchThatIsNeverSettledCountsForADay(t *testing.T) {
	now := time.Now()
	run := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{UID: "one"}, Status: v1alpha1.PruneRunStatus{
		Policy: &v1alpha1.PrunePolicyRecord{Name: "p"}, Removed: 1,
		Plan:     &v1alpha1.PrunePlan{Removals: make([]v1alpha1.PlannedRemoval, 3)},
		Progress: &v1alpha1.PruneProgress{Settled: 1, InFlight: 2, LastBatchAt: metav1.NewTime(now)},
	}}
	l := newLedger()
	l.enter(run)
	if left, _ := l.left("p", 3, now.Add(budgetWindow-time.Second), ""); left != 0 {
		t.Errorf("%d are left within a day, want none", left)
	}
	if left, more := l.left("p", 3, now.Add(budgetWindow), ""); left != 3 {
		t.Errorf("%d are left a day later, want 3; more at %s", left, more)
	}
}

// A waiting run that is looked at while the clock is ahead, before the vendor's time shows it, must not make the removals of today forgotten.
func TestClockThatJumpsAheadAndBackMakesNoRoom(t *testing.T) {
	w := rationed(t, v1alpha1.PruneModeEnforce)
	r := w.process()
	w.finish(r, "of-a")
	w.look(r, "of-b")
	wantConditions(t, w.get("of-b"), exhausted)

	right := w.clock.Now
	r.Now = func() time.Time { return right().Add(25 * time.Hour) }
	w.look(r, "of-b")
	wantConditions(t, w.get("of-b"), "Planned=False/ClockSkew", "Complete=False/ClockSkew", "Failed=True/ClockSkew")

	r.Now = right
	w.runFor("again", "b", v1alpha1.PruneTriggerManual)
	w.look(r, "again")
	if got := w.get("again").Status.Removed; got != 0 {
		t.Errorf("removed %d more within a day", got)
	}
	wantConditions(t, w.get("again"), exhausted)
}
