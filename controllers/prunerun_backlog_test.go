package controllers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestDenialAndUndoDoNotWaitForABacklog(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	w.Before(labtest.GetGroup, func() { <-over }) // the vendor accepts calls and does not answer
	const backlog = 60
	for i := range backlog {
		w.RunFor(fmt.Sprintf("run-%02d", i), fmt.Sprintf("group-%d", i), v1alpha1.PruneTriggerManual)
	}
	w.endedRun("done", "another")
	w.startManager()
	labtest.Eventually(t, func() error {
		if calls := w.Happened(labtest.GetGroup); calls < 16 {
			return fmt.Errorf("%d runs ask the vendor", calls)
		}
		return nil
	})

	// It comes last, and so is none of those that ask: a run whose own call is under way is denied once that has ended.
	w.RunFor("late", "late", v1alpha1.PruneTriggerManual)
	begun := time.Now()
	w.RequestUndo("done")
	w.Decide("late", v1alpha1.ApprovalDenied)
	labtest.Eventually(t, func() error {
		if denied := w.Get("late"); !prunerun.Finished(denied) {
			return fmt.Errorf("denied, and %v", labtest.Conditions(denied))
		}
		if w.Get("done").Status.Undo == nil { // what it needs of the vendor comes after
			return errors.New("the undo has not begun")
		}
		return nil
	})
	// A read that the vendor does not answer is given up after 43 s, and only then would a run make way.
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("a denial and an undo took %s", took)
	}
}

func TestUndoGoesBeforeTheCallsOfABacklog(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	labtest.Edit(w.World, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) {
		app.Spec.REST.RequestsPerSecond = 1
	})
	for i := range 60 {
		w.RunFor(fmt.Sprintf("run-%02d", i), fmt.Sprintf("group-%d", i), v1alpha1.PruneTriggerManual)
	}
	w.endedRun("done", "another")
	w.startManager()
	labtest.Eventually(t, func() error {
		if w.Happened(labtest.GetGroup) == 0 {
			return errors.New("no run asks the vendor")
		}
		return nil
	})

	begun := time.Now()
	w.RequestUndo("done")
	labtest.Eventually(t, func() error {
		if undone := w.Get("done"); !prunerun.UndoEnded(undone) {
			return fmt.Errorf("an undo is requested, and %v", labtest.Conditions(undone))
		}
		return nil
	})
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("an undo of one call took %s at one call a second", took)
	}
}

// endedRun makes a run that has removed a member.
func (w *world) endedRun(name, group string) {
	w.t.Helper()
	w.RunFor(name, group, v1alpha1.PruneTriggerManual)
	w.end(name, v1alpha1.ReasonRemoved, 1)
	done := w.Get(name)
	done.Status.Plan = &v1alpha1.PrunePlan{
		CreatedAt: metav1.NewTime(w.Clock.Now()), Removals: []v1alpha1.PlannedRemoval{{
			Account: "i1", LastActiveAt: metav1.NewTime(w.Clock.Now()), Reason: v1alpha1.RemovalReasonInactive,
		}},
	}
	done.Status.Progress = &v1alpha1.PruneProgress{Settled: 1}
	labtest.Must(w.t, w.Client.Status().Update(w.t.Context(), done))
}
