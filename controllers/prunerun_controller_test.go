package controllers

import (
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// TestRunMadeAgainUnderItsNameIsLookedAt is about a list after an outage, which tells of a deletion and a creation as of one update.
func TestRunMadeAgainUnderItsNameIsLookedAt(t *testing.T) {
	run := func(uid types.UID) *v1alpha1.PruneRun {
		return &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Name: "one", UID: uid, Generation: 1}}
	}
	if !runEvents.Update(event.UpdateEvent{ObjectOld: run("a"), ObjectNew: run("b")}) {
		t.Error("another run of the same name is taken for the one before")
	}
	if runEvents.Update(event.UpdateEvent{ObjectOld: run("a"), ObjectNew: run("a")}) {
		t.Error("the echo of a status asks for a look")
	}
}

func TestOneAppLeavesWorkersToOthers(t *testing.T) {
	var e exclusion
	entered := 0
	for group := range concurrentRuns {
		if e.enter(prunerun.Key{Namespace: "ns", App: "slow", Group: fmt.Sprint(group)}) {
			entered++
		}
	}
	if entered != runsPerApp || entered > concurrentRuns/2 {
		t.Errorf("%d of %d workers are occupied by one app, want %d", entered, concurrentRuns, runsPerApp)
	}
	if e.enter(prunerun.Key{Namespace: "ns", App: "slow", Group: "k"}) || !e.enter(prunerun.Key{Namespace: "other", App: "slow", Group: "a"}) {
		t.Error("an app of the same name in another namespace is another app")
	}
	e.leave(prunerun.Key{Namespace: "ns", App: "slow", Group: "0"})
	if !e.enter(prunerun.Key{Namespace: "ns", App: "slow", Group: "k"}) || e.enter(prunerun.Key{Namespace: "ns", App: "slow", Group: "l"}) {
		t.Error("who leaves makes room for one")
	}
}

// TestRunThatIsBeingDeletedRemovesNobodyMore is about a deletion that takes its time: tools that delete in the foreground put a finalizer
// on what they delete.
func TestRunThatIsBeingDeletedRemovesNobodyMore(t *testing.T) {
	w := enforcing(t)
	run := w.get("one")
	run.Finalizers = []string{"example.com/slow"}
	must(t, w.client.Update(t.Context(), run))
	w.onPatch(3, func(_ *v1alpha1.PruneRun, send func() error) error { // the record of the first batch
		err := send()
		return errors.Join(err, w.client.Delete(t.Context(), w.get("one")))
	})
	r := w.process()
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter != 0 {
		t.Errorf("result = %v, %v, want nothing more", result, err)
	}
	if run := w.get("one"); w.happened(apiDelete) != 1 || run.Status.Removed != 100 || prunerun.Finished(run) {
		t.Errorf("%d deletions, removed %d, want 1, 100", w.happened(apiDelete), run.Status.Removed)
	}

	creator := runCreator{Client: w.client, Live: w.client, Now: w.clock.Now}
	got, err := creator.ensure(t.Context(), prunerun.KeyOf(run), v1alpha1.PruneTriggerGroupFull, nil)
	if err != nil || got.outcome != runCreated {
		t.Errorf("creation = %+v, %v: the group gets no run for as long as the deletion takes", got, err)
	}
	wantConditions(t, w.finish(r, prunerun.KeyOf(run).Name(1)), "Planned=False/NotFull", "Complete=True/NotFull")
}

func TestRunMadeAgainBetweenTwoBatchesStartsAnew(t *testing.T) {
	w := enforcing(t)
	w.onPatch(3, func(_ *v1alpha1.PruneRun, send func() error) error { // the record of the first batch
		err := errors.Join(send(), w.client.Delete(t.Context(), w.get("one")))
		w.run("one", v1alpha1.PruneTriggerGroupFull)
		return err
	})
	r := w.process()
	if _, err := w.reconcile(r, "one"); err != nil {
		t.Fatal(err)
	}
	if run := w.get("one"); w.happened(apiDelete) != 1 || run.Status.Plan != nil {
		t.Errorf("%d deletions, plan %v, want 1 and none yet", w.happened(apiDelete), run.Status.Plan)
	}
	wantConditions(t, w.finish(r, "one"), "Planned=False/NotFull", "Complete=True/NotFull")
}

// TestOfTwoPlannedRunsTheOlderGoesFirst is about what a former holder of the term can leave behind.
func TestOfTwoPlannedRunsTheOlderGoesFirst(t *testing.T) {
	w := enforcing(t)
	r := w.process()
	w.once(apiLook, 1, func() { w.kill(r) })
	if _, err := w.reconcile(r, "one"); err != nil {
		t.Fatal(err)
	}
	w.once(apiLook, 0, nil)
	w.run("two", v1alpha1.PruneTriggerManual)
	two := w.get("two")
	two.Status = w.get("one").Status
	must(t, w.client.Status().Update(t.Context(), two))

	r = w.process()
	if _, err := w.reconcile(r, "two"); err != nil {
		t.Fatal(err)
	}
	wantConditions(t, w.get("two"), "Planned=True/Planned", "Complete=False/Queued")
	if got := w.happened(apiDelete); got != 0 {
		t.Errorf("%d deletions by the younger of two planned runs", got)
	}
	w.finish(r, "one")
	if got := w.finish(r, "two").Status.Removed; got != 0 {
		t.Errorf("the younger one removed %d after the seats were free", got)
	}
}
