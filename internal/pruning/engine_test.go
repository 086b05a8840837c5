package pruning

import (
	"errors"
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// TestRunThatIsBeingDeletedRemovesNobodyMore is about a deletion that takes its time: tools that delete in the foreground put a finalizer
// on what they delete.
func TestRunThatIsBeingDeletedRemovesNobodyMore(t *testing.T) {
	w := enforcing(t)
	run := w.Get("one")
	run.Finalizers = []string{"example.com/slow"}
	labtest.Must(t, w.Client.Update(t.Context(), run))
	w.OnPatch(3, func(_ *v1alpha1.PruneRun, send func() error) error { // the record of the first batch
		err := send()
		return errors.Join(err, w.Client.Delete(t.Context(), w.Get("one")))
	})
	r := w.replica()
	if next, err := r.step("one"); err != nil || next.After != 0 {
		t.Errorf("next = %v, %v, want nothing more", next, err)
	}
	if run := w.Get("one"); w.Happened(labtest.Delete) != 1 || run.Status.Removed != 100 || prunerun.Finished(run) {
		t.Errorf("%d deletions, removed %d, want 1, 100", w.Happened(labtest.Delete), run.Status.Removed)
	}

	// The next run of the group does not wait for the end of the deletion.
	w.Run("next", v1alpha1.PruneTriggerGroupFull)
	labtest.WantConditions(t, r.finish("next"), "Planned=False/NotFull", "Complete=True/NotFull")
}

func TestRunMadeAgainBetweenTwoBatchesStartsAnew(t *testing.T) {
	w := enforcing(t)
	w.OnPatch(3, func(_ *v1alpha1.PruneRun, send func() error) error { // the record of the first batch
		err := errors.Join(send(), w.Client.Delete(t.Context(), w.Get("one")))
		w.Run("one", v1alpha1.PruneTriggerGroupFull)
		return err
	})
	r := w.replica()
	if _, err := r.step("one"); err != nil {
		t.Fatal(err)
	}
	if run := w.Get("one"); w.Happened(labtest.Delete) != 1 || run.Status.Plan != nil {
		t.Errorf("%d deletions, plan %v, want 1 and none yet", w.Happened(labtest.Delete), run.Status.Plan)
	}
	labtest.WantConditions(t, r.finish("one"), "Planned=False/NotFull", "Complete=True/NotFull")
}

// TestOfTwoPlannedRunsTheOlderGoesFirst is about what a former holder of the term can leave behind.
func TestOfTwoPlannedRunsTheOlderGoesFirst(t *testing.T) {
	w := enforcing(t)
	r := w.replica()
	w.Once(labtest.NamedMembers, 1, func() { r.kill() })
	if _, err := r.step("one"); err != nil {
		t.Fatal(err)
	}
	w.Once(labtest.NamedMembers, 0, nil)
	w.Run("two", v1alpha1.PruneTriggerManual)
	two := w.Get("two")
	two.Status = w.Get("one").Status
	labtest.Must(t, w.Client.Status().Update(t.Context(), two))

	r = w.replica()
	if _, err := r.step("two"); err != nil {
		t.Fatal(err)
	}
	labtest.WantConditions(t, w.Get("two"), "Planned=True/Planned", "Complete=False/Queued")
	if got := w.Happened(labtest.Delete); got != 0 {
		t.Errorf("%d deletions by the younger of two planned runs", got)
	}
	r.finish("one")
	if got := r.finish("two").Status.Removed; got != 0 {
		t.Errorf("the younger one removed %d after the seats were free", got)
	}
}
