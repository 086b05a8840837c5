package pruning

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// TestUndoCrash ends the process at every point where it has just written or is about to, lets a member come back by
// himself, and goes on with another process.
func TestUndoCrash(t *testing.T) {
	t.Parallel()
	type point struct {
		name string
		set  func(w *world, die func())
	}
	var points []point
	for n := 1; n <= 8; n++ { // 1 the accounts, 2 to 7 the batches, 8 the end
		points = append(points,
			point{fmt.Sprintf("before status patch %d", n), func(w *world, die func()) {
				w.OnPatch(n, func(*v1alpha1.PruneRun, func() error) error { die(); return errCrash })
			}},
			point{fmt.Sprintf("after status patch %d", n), func(w *world, die func()) {
				w.OnPatch(n, func(_ *v1alpha1.PruneRun, send func() error) error {
					err := send()
					die()
					return errors.Join(err, errCrash)
				})
			}})
	}
	for n := 1; n <= 9; n++ { // 4 of the first batch, of which one is refused, 1 of the second, 4 of the third
		points = append(points, point{fmt.Sprintf("before the answer to addition %d", n),
			func(w *world, die func()) { w.Once(apiAdd, n, die) }})
	}
	for n := 1; n <= 3; n++ {
		points = append(points, point{fmt.Sprintf("during recheck %d", n),
			func(w *world, die func()) { w.Once(apiNamed, n, die) }})
	}
	for _, point := range points {
		t.Run(point.name, func(t *testing.T) {
			t.Parallel()
			w, removed, left := pruned(t)
			denied := []string{removed[5], removed[43]}
			w.backend(denied...)
			w.RequestUndo("one")
			first := w.replica()
			first.Metrics = NewMetrics(prometheus.NewRegistry())
			died := false
			point.set(w, func() { died = true; first.kill() })
			for range 3 {
				if _, err := first.step("one"); err != nil {
					t.Fatalf("a process that has lost its term reports %v", err)
				}
			}
			if !died {
				t.Fatal("the point was never reached")
			}
			w.Serving.Wait()
			w.EachPatch(nil)
			w.Once(apiAdd, 0, nil)
			w.Once(apiNamed, 0, nil)

			want := allWith(removed, v1alpha1.RestoreResultAdded)
			maps.Copy(want, allWith(denied, v1alpha1.RestoreResultRefused))
			early := removed[44]
			if result, recorded := restored(w.Get("one"))[early]; !recorded || result == v1alpha1.RestoreResultPending {
				w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{early}})
				want[early] = v1alpha1.RestoreResultAlreadyMember
			}
			second := w.replica()
			second.Metrics = NewMetrics(prometheus.NewRegistry())
			run := second.finishUndo("one")

			wantRestored(t, run, want)
			wantMembers(t, w, left, without(removed, denied))
			if diff := cmp.Diff([]string{"Planned=True/Planned", removedCondition, undone},
				labtest.Conditions(run)); diff != "" {
				t.Errorf("conditions (-want,+got)\n%s", diff)
			}
			got := testutil.ToFloat64(first.Metrics.restored.WithLabelValues("FreeSeats")) +
				testutil.ToFloat64(second.Metrics.restored.WithLabelValues("FreeSeats"))
			if got > float64(run.Status.Undo.Added) {
				t.Errorf("prune_members_restored_total = %v, more than the %d on record", got, run.Status.Undo.Added)
			}
		})
	}
}

func TestFormerLeaderDoesNotUndo(t *testing.T) {
	t.Parallel()
	w, removed, left := pruned(t)
	w.backend()
	w.RequestUndo("one")
	former, next := w.replica(), w.replica()
	// It stops right before its first fence, for long enough that another one does all the work.
	w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
		w.EachPatch(nil)
		next.finishUndo("one")
		w.Forget()
		return send()
	})
	if next, err := former.step("one"); err != nil || next.After == 0 {
		t.Errorf("next = %v, %v, want another Step", next, err)
	}
	if got := w.Happened(apiAdd); got != 0 {
		t.Errorf("%d additions after losing the fence", got)
	}
	wantRestored(t, w.Get("one"), allWith(removed, v1alpha1.RestoreResultAdded))
	wantMembers(t, w, left, removed)
}

func TestNothingIsAddedAfterTheTerm(t *testing.T) {
	t.Parallel()
	for _, point := range []struct {
		what string
		nth  int
	}{{statusPatch, 1}, {apiGroup, 1}, {apiNamed, 1}, {statusPatch, 2}, {apiAdd, 1}, {apiAdd, 2}, {statusPatch,
		3}, {apiGroup, 2}} {
		t.Run(fmt.Sprintf("%s %d", point.what, point.nth), func(t *testing.T) {
			t.Parallel()
			w, removed, _ := pruned(t)
			w.backend(removed[0]) // so that there is a pause between the first addition and the second
			w.RequestUndo("one")
			r := w.replica()
			calls := 0
			w.Once(point.what, point.nth, func() {
				calls = len(w.Calls())
				r.kill()
			})
			for range 3 {
				if _, err := r.step("one"); err != nil {
					t.Errorf("err = %v", err)
				}
			}
			w.Serving.Wait()
			if calls == 0 || len(w.Calls()) != calls {
				t.Errorf("after the end of the term, at %d: %v", calls, w.Calls())
			}
		})
	}
}

// TestLostAnswerToAnAdditionIsCounted has the vendor carry out an addition whose answer is lost: its repetition says
// "already a member".
func TestLostAnswerToAnAdditionIsCounted(t *testing.T) {
	t.Parallel()
	for name, count := range map[string]int{"tried again by the call": 1, "tried again by the queue": 5} {
		for name, afterEffect := range map[string]bool{name: true, name + ", without effect": false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w, removed, left := pruned(t)
				w.RequestUndo("one")
				w.Fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultHTTP, Status: 504, Skip: 1, Count: count,
					AfterEffect: afterEffect})
				r := w.replica()
				_, err := r.step("one")
				if run := w.Get("one"); count == 5 && (err == nil ||
					undoneCondition(run).Reason != v1alpha1.ReasonVendorUnavailable ||
					len(prunerun.AccountsWith(run.Status.Undo, v1alpha1.RestoreResultAdding)) != 20) {
					t.Errorf("err = %v, %+v, want the batch on record and to come back", err, undoneCondition(run))
				}
				run := r.finishUndo("one")
				wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
				wantMembers(t, w, left, removed)
			})
		}
	}
}
