package pruning

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// A virtual machine is paused while the vendor answers the last look at a batch. By the monotonic clock, which stands
// still meanwhile, the look is as fresh as before.
func TestLookFromBeforeASuspensionOfTheMachineRemovesNoMember(t *testing.T) {
	t.Parallel()
	t.Run("a member spoke", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		w.Once(apiNamed, 2, func() {
			w.Clock.Suspend(time.Hour)
			_, err := w.Emulator.Speak(t.Context(), fullGroup, "i1") // of the first half, which is answered
			must(t, err)
		})
		run := w.replica().finish("one")
		if diff := cmp.Diff(map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonActiveAgain},
			labtest.Kept(run)); diff != "" {
			t.Errorf("kept (-want,+got)\n%s", diff)
		}
	})
	t.Run("pruning was suspended", func(t *testing.T) {
		t.Parallel()
		for _, nth := range []int{1, 2} {
			w := enforcing(t)
			w.Once(apiNamed, nth, func() {
				w.Clock.Suspend(time.Hour)
				w.setPruning(v1alpha1.PruningSuspended)
			})
			run := w.replica().finish("one")
			wantConditions(t, run, "Planned=True/Planned", "Complete=True/Suspended")
			if run.Status.Removed != 0 || w.Happened(apiDelete) != 0 {
				t.Errorf("look %d: removed %d in %d deletions, want none", nth, run.Status.Removed,
					w.Happened(apiDelete))
			}
		}
	})
}

// The first half of a batch is answered, the second takes long: a member of the first half speaks meanwhile.
func TestNoHalfOfALookIsOlderThanFiveSecondsAtTheDeletion(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Once(apiNamed, 2, func() {
		_, err := w.Emulator.Speak(t.Context(), fullGroup, "i1")
		must(t, err)
		w.Clock.Forward(6 * time.Second)
	})
	run := w.replica().finish("one")
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonActiveAgain},
		labtest.Kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	if !slices.Contains(w.Members(fullGroup), "i1") {
		t.Error("i1 is gone")
	}
}

// Three runs share one call a second, as many as have a batch under way at once.
func TestOneCallASecondSufficesForThreeRunsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.REST.RequestsPerSecond = 1 })
	r := w.replica()
	groups := []string{"a", "b", "c"}
	for _, group := range groups {
		w.Group(group, 2, 130)
		w.PolicyFor(group, group, v1alpha1.PruneRule{FreeSeats: seats(120), MaxRemovals: 1000})
	}
	w.Publish()
	for _, group := range groups {
		w.RunFor(group, group, v1alpha1.PruneTriggerGroupFull)
	}
	answer := func() { w.Clock.Forward(200 * time.Millisecond) }
	for _, api := range []string{apiGroup, apiNamed, apiDelete} {
		w.Before(api, answer)
	}
	begun := w.Clock.Now()
	var all sync.WaitGroup
	for _, group := range groups {
		all.Go(func() { r.queue(group, time.Hour) })
	}
	all.Wait()
	for _, group := range groups {
		if run := w.Get(group); run.Status.Removed != 120 || !prunerun.Finished(run) {
			t.Errorf("%s: removed %d, %+v", group, run.Status.Removed, run.Status.Conditions)
		}
	}
	deletions, err := w.Emulator.Calls(t.Context(), emulator.RecordFilter{API: apiDelete})
	must(t, err)
	t.Logf("360 members in %s, %d calls, %d deletions", w.Clock.Now().Sub(begun), len(w.Calls()), len(deletions))
}
