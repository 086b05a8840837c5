package pruning

import (
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const exhausted = "Planned=False/BudgetExhausted"

// rationed is a world with two full groups of 257 under one policy, each with 230 members to remove, 150 a day.
func rationed(t *testing.T, mode v1alpha1.PruneMode) *world {
	t.Helper()
	w := newWorld(t)
	for _, group := range []string{"a", "b"} {
		w.Group(group, 5, 250)
	}
	w.rationing(mode)
	w.RunFor("of-a", "a", v1alpha1.PruneTriggerGroupFull)
	w.RunFor("of-b", "b", v1alpha1.PruneTriggerGroupFull)
	return w
}

func (w *world) rationing(mode v1alpha1.PruneMode) {
	w.t.Helper()
	w.PolicyFor("lounge", "x", v1alpha1.PruneRule{Mode: mode, FreeSeats: seats(plannedRemovals), MaxRemovals: 1000,
		MaxRemovalsPerDay: 150})
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
		p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
	})
	w.Publish()
}

func TestManyRunsKeepToTheBudgetOfADay(t *testing.T) {
	t.Parallel()
	w := rationed(t, v1alpha1.PruneModeEnforce)
	r := w.replica()
	first := r.finish("of-a")
	if got := len(planOf(first)); got != 150 || first.Status.Removed != 150 {
		t.Fatalf("planned %d, removed %d, want 150", got, first.Status.Removed)
	}
	w.Forget()
	r.mustStep("of-b")
	wantConditions(t, w.Get("of-b"), exhausted)
	r.mustStep("of-b")
	if got := w.Happened(apiGroup); w.Happened(apiList) != 0 || got != 1 {
		t.Errorf("%v: want the group read once, and no list, while nothing is left", w.Calls())
	}

	// Neither another process nor a policy that is made again starts anew.
	w.Remove(&v1alpha1.GroupPolicy{}, "lounge")
	w.rationing(v1alpha1.PruneModeEnforce)
	other := w.replica()
	w.Clock.Forward(24*time.Hour - 10*time.Second)
	other.mustStep("of-b")
	wantConditions(t, w.Get("of-b"), exhausted)

	w.Clock.Forward(11 * time.Second)
	if second := other.finish("of-b"); second.Status.Removed != 150 {
		t.Errorf("a day later removed %d, want 150", second.Status.Removed)
	}
}

func TestBudgetIsThatOfThePolicysName(t *testing.T) {
	t.Parallel()
	w := rationed(t, v1alpha1.PruneModeEnforce)
	w.Policy("only-b", v1alpha1.PruneRule{FreeSeats: seats(plannedRemovals), MaxRemovals: 1000, MaxRemovalsPerDay: 20})
	change(w, &v1alpha1.GroupPolicy{}, "only-b", func(p *v1alpha1.GroupPolicy) { p.Spec.Groups[0].Value = "b" })
	w.Publish()
	r := w.replica()
	if a, b := r.finish("of-a").Status.Removed, r.finish("of-b").Status.Removed; a != 150 || b != 20 {
		t.Errorf("removed %d and %d, want 150 and 20", a, b)
	}
}

func TestApprovedPlansShareTheBudget(t *testing.T) {
	t.Parallel()
	w := rationed(t, v1alpha1.PruneModeApprove)
	r := w.replica()
	for _, name := range []string{"of-a", "of-b"} {
		r.mustStep(name)
		w.Decide(name, v1alpha1.ApprovalApproved)
	}
	if got := r.finish("of-a").Status.Removed; got != 150 {
		t.Fatalf("removed %d, want 150", got)
	}
	r.mustStep("of-b")
	wantConditions(t, w.Get("of-b"), "Planned=True/Planned", "Complete=False/BudgetExhausted")
	if Wakes(w.Store.Load(), w.Get("of-b")) {
		t.Error("an edit that does not concern the plan has the vendor called for it")
	}
	if got := w.Get("of-b").Status.Removed; got != 0 {
		t.Errorf("removed %d", got)
	}
}

// crashedBetween makes the process die right before or after the deletion of a run's second batch, which is on record
// by then.
func TestBudgetIsExactAfterACrash(t *testing.T) {
	t.Parallel()
	for name, carriedOut := range map[string]bool{"before the deletion": false, "after the deletion": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rationed(t, v1alpha1.PruneModeEnforce)
			r := w.replica()
			if carriedOut {
				// 1 plan, 2 batch, 3 settled, 4 batch, 5 settled
				w.OnPatch(5, func(*v1alpha1.PruneRun, func() error) error { r.kill(); return errCrash })
			} else {
				w.OnPatch(4, func(_ *v1alpha1.PruneRun, send func() error) error {
					err := send()
					r.kill()
					return err
				})
			}
			for range 3 {
				_, _ = r.step("of-a")
			}
			w.EachPatch(nil)
			if got := prunerun.Progress(w.Get("of-a")).InFlight; got != 50 {
				t.Fatalf("%d in flight, want the test to crash with 50", got)
			}
			other := w.replica()
			other.mustStep("of-b") // sees the batch in flight of the other run
			wantConditions(t, w.Get("of-b"), exhausted)
			if got := other.finish("of-a").Status.Removed; got != 150 {
				t.Errorf("removed %d, want 150", got)
			}
			other.mustStep("of-b")
			wantConditions(t, w.Get("of-b"), exhausted)
			if got := 2*257 - len(w.Members("a")) - len(w.Members("b")); got != 150 {
				t.Errorf("%d are gone, want 150", got)
			}
		})
	}
}

// A former leader may have recorded a batch so late that its successor had already given away what was left.
func TestBatchRecordedTooLateKeepsToTheBudget(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		left        int // members of the late batch that left by themselves
		wantRemoved int32
		wantKept    int
		want        string
	}{
		"none is gone":   {left: 0, want: "Complete=False/BudgetExhausted"},
		"some have left": {left: 3, wantRemoved: 3, wantKept: 47, want: "Complete=False/BudgetExhausted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rationed(t, v1alpha1.PruneModeApprove)
			r := w.replica()
			for _, run := range []string{"of-a", "of-b"} {
				r.mustStep(run)
				w.Decide(run, v1alpha1.ApprovalApproved)
			}
			r.finish("of-a")
			late := w.Get("of-b")
			for _, account := range planOf(late)[:tc.left] {
				_, err := w.Emulator.Quit(t.Context(), "b", account)
				must(t, err)
			}
			late.Status.Progress = &v1alpha1.PruneProgress{InFlight: 50, LastBatchAt: metav1.NewTime(w.Clock.Now())}
			must(t, w.Client.Status().Update(t.Context(), late))
			w.Forget()

			r.mustStep("of-b")
			w.Clock.Forward(answerDelay)
			r.mustStep("of-b")
			run := w.Get("of-b")
			wantConditions(t, run, "Planned=True/Planned", tc.want)
			if run.Status.Removed != tc.wantRemoved || len(run.Status.Kept) != tc.wantKept ||
				prunerun.Progress(run).InFlight != 0 {
				t.Errorf("removed %d, kept %d, %+v", run.Status.Removed, len(run.Status.Kept), run.Status.Progress)
			}
			for account, reason := range labtest.Kept(run) {
				if reason != v1alpha1.KeptReasonBudgetExhausted {
					t.Errorf("%s was kept because %s", account, reason)
				}
			}
			if got := w.Happened(apiDelete); got != 0 {
				t.Errorf("%d deletions beyond the budget", got)
			}
		})
	}
}

// filledLedger is a ledger that has read the records of its app: none.
func filledLedger() *ledger {
	l := newLedger(types.NamespacedName{}, nil, time.Now)
	l.filled = true
	return l
}

func TestConcurrentBatchesNeverExceedTheBudget(t *testing.T) {
	t.Parallel()
	l, now := filledLedger(), time.Now()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		sum int
	)
	for i := range 50 {
		wg.Go(func() {
			b := budget{account: seatsOf("p"), limit: 1000, run: types.UID(fmt.Sprint(i)), now: now}
			granted, _, _ := l.Reserve(t.Context(), b, 30)
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

func TestLedgerOfAnEarlierTermIsPrivate(t *testing.T) {
	t.Parallel()
	var l ledgers
	app := types.NamespacedName{Namespace: "ns", Name: "app"}
	now := l.of(2, app, nil, time.Now)
	if l.of(1, app, nil, time.Now) == now || l.of(2, app, nil, time.Now) != now {
		t.Error("a straggler of an earlier term reaches the ledger of this one, or throws it away")
	}
	if l.of(3, app, nil, time.Now) == now {
		t.Error("a ledger outlives its term")
	}
}

// seatsOf is what removals from full groups by a policy of that name are counted by.
func seatsOf(policy string) account { return account{v1alpha1.PrunePurposeFreeSeats, policy} }

func TestRemovalsOfOtherDaysDoNotCount(t *testing.T) {
	t.Parallel()
	now := time.Now()
	run := func(uid string, removed int32, at time.Time) *v1alpha1.PruneRun {
		return &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}, Status: v1alpha1.PruneRunStatus{
			Policy: &v1alpha1.PrunePolicyRecord{Name: "p"}, Removed: removed,
			Progress: &v1alpha1.PruneProgress{Settled: removed, LastBatchAt: metav1.NewTime(at)},
		}}
	}
	l := filledLedger()
	l.Release(run("old", 5, now.Add(-budgetWindow)))
	l.Release(run("new", 7, now.Add(-budgetWindow+time.Second)))
	l.Release(run("ahead", 11, now.Add(time.Hour))) // by another clock
	left, more := l.left(budget{account: seatsOf("p"), limit: 100, now: now})
	if left != 82 || !more.Equal(now.Add(time.Second)) {
		t.Errorf("left %d until %s, want 82 until a second from now", left, more.Sub(now))
	}
	if left, _ := l.left(budget{account: seatsOf("other"), limit: 100, now: now}); left != 100 {
		t.Errorf("another policy has %d left", left)
	}
	evictions := budget{account: account{v1alpha1.PrunePurposeEvict, "p"}, limit: 100, now: now}
	if left, _ := l.left(evictions); left != 100 {
		t.Errorf("the evictions of the policy have %d left", left)
	}
	evicted := run("evicted", 20, now)
	evicted.Spec.Purpose = v1alpha1.PrunePurposeEvict
	l.Release(evicted)
	if left, _ := l.left(evictions); left != 80 {
		t.Errorf("after an eviction of 20, %d are left", left)
	}
	if left, _ := l.left(budget{account: seatsOf("p"), limit: 100, now: now}); left != 82 {
		t.Errorf("after an eviction, full groups have %d left", left)
	}
}

func TestPreviewShowsADayAtMost(t *testing.T) {
	t.Parallel()
	w := rationed(t, v1alpha1.PruneModePreview)
	r := w.replica()
	for _, name := range []string{"of-a", "of-b"} {
		if run := r.finish(name); len(planOf(run)) != 150 || run.Status.Refuse != nil {
			t.Errorf("%s: %d planned, refuse %v; want 150, and no account refused", name, len(planOf(run)),
				run.Status.Refuse)
		}
	}
}

// A batch whose run ended, or was deleted, while the vendor was out of reach is never settled.
func TestBatchThatIsNeverSettledCountsForADay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	run := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{UID: "one"}, Status: v1alpha1.PruneRunStatus{
		Policy: &v1alpha1.PrunePolicyRecord{Name: "p"}, Removed: 1,
		Plan:     &v1alpha1.PrunePlan{Removals: make([]v1alpha1.PlannedRemoval, 3)},
		Progress: &v1alpha1.PruneProgress{Settled: 1, InFlight: 2, LastBatchAt: metav1.NewTime(now)},
	}}
	l := filledLedger()
	l.Release(run)
	if left, _ := l.left(budget{account: seatsOf("p"), limit: 3, now: now.Add(budgetWindow - time.Second)}); left != 0 {
		t.Errorf("%d are left within a day, want none", left)
	}
	if left, more := l.left(budget{account: seatsOf("p"), limit: 3, now: now.Add(budgetWindow)}); left != 3 {
		t.Errorf("%d are left a day later, want 3; more at %s", left, more)
	}
}

// A waiting run that takes a Step while the clock is ahead, before the vendor's time shows it, must not make the
// removals of today forgotten.
func TestClockThatJumpsAheadAndBackFreesNoBudget(t *testing.T) {
	t.Parallel()
	w := rationed(t, v1alpha1.PruneModeEnforce)
	r := w.replica()
	r.finish("of-a")
	r.mustStep("of-b")
	wantConditions(t, w.Get("of-b"), exhausted)

	right := w.Clock.Now
	r.Now = func() time.Time { return right().Add(25 * time.Hour) }
	_, _ = r.step("of-b")
	wantConditions(t, w.Get("of-b"), "Planned=False/ClockSkew")

	r.Now = right
	r.mustStep("of-b")
	if got := w.Get("of-b").Status.Removed; got != 0 {
		t.Errorf("removed %d more within a day", got)
	}
	wantConditions(t, w.Get("of-b"), exhausted)
}
