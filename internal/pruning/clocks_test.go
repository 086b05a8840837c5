package pruning

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// Activity is judged by our clock, so that one that cannot be compared with the vendor's is as bad as a wrong one.
func TestNoMemberIsRemovedByAClockThatTheVendorDoesNotConfirm(t *testing.T) {
	t.Parallel()
	wrong := map[string]func(w *world) (right func()){
		"ahead":             func(w *world) func() { w.ourClock(6 * time.Minute); return func() { w.vendorsClock() } },
		"a month ahead":     func(w *world) func() { w.ourClock(720 * time.Hour); return func() { w.vendorsClock() } },
		"behind":            func(w *world) func() { w.ourClock(-6 * time.Minute); return func() { w.vendorsClock() } },
		"a cooldown behind": func(w *world) func() { w.ourClock(-time.Hour); return func() { w.vendorsClock() } },
		"answers without Date": func(w *world) func() {
			var dated atomic.Bool
			w.proxied(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
				if dated.Load() {
					next.ServeHTTP(rw, r)
					return
				}
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				rw.Header()["Date"] = nil // or the server sets it
				_, _ = rw.Write(answer.Body.Bytes())
			})
			return func() { dated.Store(true) }
		},
	}
	for name, set := range wrong {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			right := set(w)
			r := w.replica()
			for range 5 { // callbacks, of which each makes a run unless there is one that has not ended
				if _, err := r.step("one"); err == nil {
					t.Error("no error: the queue would not come back")
				}
				w.Clock.Forward(time.Second)
			}
			run := w.Get("one")
			wantConditions(t, run, "Planned=False/ClockSkew")
			if got := len(w.Members(fullGroup)); got != 257 || prunerun.HasPlan(run) {
				t.Errorf("%d members are left, plan %v", got, run.Status.Plan)
			}
			right()
			if got := r.finish("one").Status.Removed; got != plannedRemovals {
				t.Errorf("removed %d, want %d", got, plannedRemovals)
			}
		})
	}
}

// vendorsClock sets the vendor's clock to ours.
func (w *world) vendorsClock() {
	w.t.Helper()
	_, err := w.Emulator.MoveClock(w.t.Context(), emulator.ClockChange{Reset: true})
	must(w.t, err)
}

// A batch that was recorded by a clock that was a month ahead takes of the budget for a day.
func TestBatchRecordedAheadOfNowTakesBudgetForADayOnly(t *testing.T) {
	t.Parallel()
	w := rationed(t, v1alpha1.PruneModeEnforce)
	w.replica().finish("of-a")
	w.editRecord("of-a", func(run *v1alpha1.PruneRun) {
		run.Status.Progress.LastBatchAt.Time = w.Clock.Now().Add(720 * time.Hour)
	})
	r := w.replica()
	r.mustStep("of-b")
	wantConditions(t, w.Get("of-b"), exhausted)
	w.Clock.Forward(budgetWindow + time.Second)
	if got := r.finish("of-b").Status.Removed; got != 150 {
		t.Errorf("removed %d a day later, want 150", got)
	}
}
