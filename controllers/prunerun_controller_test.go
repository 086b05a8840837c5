package controllers

import (
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/term"
)

// TestRunMadeAgainUnderItsNameIsLookedAt is about a list after an outage, which tells of a deletion and a creation as
// of one update.
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

func TestOutsideATermNothingIsDone(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: labtest.Seats(2)})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	r.Term = &term.Term{}
	w.Forget()
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter != 0 || len(w.Calls()) != 0 {
		t.Errorf("result = %v, %v, calls %v, want nothing", result, err, w.Calls())
	}
}

// The end of a run, or of its undo, is an event for the runs of its group that need work.
func TestEndOfARunWakesItsSiblings(t *testing.T) {
	w := newWorld(t)
	r := w.process()
	for _, name := range []string{"one", "waiting", "finished"} {
		w.Run(name, v1alpha1.PruneTriggerManual)
	}
	w.RunFor("elsewhere", "another group", v1alpha1.PruneTriggerManual)
	before := w.Get("one")
	w.end("one", "Removed", 1)
	w.end("finished", "Previewed", 0)
	after := w.Get("one")
	undone := after.DeepCopy()
	undone.Status.Undo = &v1alpha1.PruneUndo{FinishedAt: metav1.Now()}
	for _, update := range []event.UpdateEvent{{ObjectOld: before, ObjectNew: after},
		{ObjectOld: after, ObjectNew: undone}} {
		if !runEndings.Update(update) || !runEvents.Update(update) {
			t.Error("an end is no event")
		}
	}
	want := []reconcile.Request{{NamespacedName: w.Key("waiting")}}
	if diff := cmp.Diff(want, r.siblings(t.Context(), after)); diff != "" {
		t.Errorf("siblings (-want,+got)\n%s", diff)
	}
}

// An undo that found a batch in flight would be examined again only five minutes later, while the run with more batches
// waits for it.
func TestUndoDoesNotSleepThroughTheEndOfABatch(t *testing.T) {
	w := newWorld(t)
	r := w.process()
	for _, name := range []string{"at-work", "waiting", "undone"} {
		w.Run(name, v1alpha1.PruneTriggerManual)
	}
	w.end("undone", "Removed", 1)
	w.RequestUndo("undone")
	before := w.Get("at-work")
	before.Status.Progress = &v1alpha1.PruneProgress{InFlight: 100}
	after := before.DeepCopy()
	after.Status.Progress = &v1alpha1.PruneProgress{Settled: 100}
	settled, fenced := event.UpdateEvent{ObjectOld: before, ObjectNew: after},
		event.UpdateEvent{ObjectOld: after, ObjectNew: before}
	if !batchEndings.Update(settled) || batchEndings.Update(fenced) {
		t.Error("the end of a batch is an event, its beginning is none")
	}
	want := []reconcile.Request{{NamespacedName: w.Key("undone")}}
	if diff := cmp.Diff(want, r.precedents(t.Context(), after)); diff != "" {
		t.Errorf("precedents (-want,+got)\n%s", diff)
	}
	// A full group does not wait for all of an eviction.
	eviction := after.DeepCopy()
	eviction.Spec.Purpose = v1alpha1.PrunePurposeEvict
	want = []reconcile.Request{
		{NamespacedName: w.Key("at-work")}, {NamespacedName: w.Key("undone")}, {NamespacedName: w.Key("waiting")},
	}
	if diff := cmp.Diff(want, r.precedents(t.Context(), eviction)); diff != "" {
		t.Errorf("precedents of an eviction (-want,+got)\n%s", diff)
	}
}

// A plan for a full group that has to wait for the budget of the day lets the evictions of the group go on.
func TestWaitOfARunWakesItsSiblings(t *testing.T) {
	going := &v1alpha1.PruneRun{Status: v1alpha1.PruneRunStatus{
		Policy: &v1alpha1.PrunePolicyRecord{Mode: v1alpha1.PruneModeEnforce}, Plan: &v1alpha1.PrunePlan{},
	}}
	waiting := going.DeepCopy()
	prunerun.SetCondition(waiting, minutes(0), v1alpha1.ConditionComplete, metav1.ConditionFalse,
		v1alpha1.ReasonBudgetExhausted, "It is exhausted.")
	if !runEndings.Update(event.UpdateEvent{ObjectOld: going, ObjectNew: waiting}) {
		t.Error("the beginning of a wait is no event")
	}
	for _, update := range []event.UpdateEvent{
		{ObjectOld: going, ObjectNew: going}, {ObjectOld: waiting, ObjectNew: going},
		{ObjectOld: waiting, ObjectNew: waiting},
	} {
		if runEndings.Update(update) || runEvents.Update(update) {
			t.Error("what makes way for no other run is an event")
		}
	}
}

func TestKeeping(t *testing.T) {
	w := newWorld(t)
	r := w.process()
	end := func(name, reason string, removed int32) {
		t.Helper()
		w.Run(name, v1alpha1.PruneTriggerGroupFull)
		w.end(name, reason, removed)
		w.Clock.Forward(time.Minute)
	}
	end("removed", "Removed", 7)
	for i := range 5 {
		end(fmt.Sprintf("run-%d", i), "NothingToRemove", 0)
	}
	w.Run("unfinished", v1alpha1.PruneTriggerGroupFull)
	w.RunFor("elsewhere", "another group", v1alpha1.PruneTriggerGroupFull)

	if _, err := w.reconcile(r, "run-4"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"elsewhere", "removed", "run-2", "run-3", "run-4", "unfinished"},
		w.RunNames()); diff != "" {
		t.Errorf("the last 3 that removed nobody stay (-want,+got)\n%s", diff)
	}

	result, err := w.reconcile(r, "removed")
	if want := 7*24*time.Hour - 6*time.Minute; err != nil || result.RequeueAfter != want {
		t.Errorf("looked at again in %v, %v, want %v", result.RequeueAfter, err, want)
	}
	w.Clock.Forward(result.RequeueAfter)
	if _, err := w.reconcile(r, "removed"); err != nil || w.Exists("removed") {
		t.Errorf("still there after its TTL: %v", err)
	}

	// The runs of a group without callbacks end as well.
	for _, name := range []string{"run-2", "run-3", "run-4"} {
		result, err := w.reconcile(r, name)
		labtest.Must(t, err)
		w.Clock.Forward(result.RequeueAfter)
		if _, err := w.reconcile(r, name); err != nil || w.Exists(name) {
			t.Errorf("%s is still there after its TTL: %v", name, err)
		}
	}

	r.TTL = time.Minute // less than 24 hours is 24 hours
	end("short", "Removed", 1)
	w.Clock.Forward(23 * time.Hour)
	if _, err := w.reconcile(r, "short"); err != nil || !w.Exists("short") {
		t.Errorf("a record of removals was deleted within 24 hours: %v", err)
	}
}

func TestKeepingDeletesTheVersionItMeant(t *testing.T) {
	w := newWorld(t)
	w.Run("one", v1alpha1.PruneTriggerManual)
	before := w.Get("one")
	w.Remove(&v1alpha1.PruneRun{}, "one")
	w.Run("one", v1alpha1.PruneTriggerManual)
	if err := discard(t.Context(), w.Client, before); !apierrors.IsConflict(err) || !w.Exists("one") {
		t.Errorf("err = %v, want a conflict with the run that has the name by now", err)
	}
}

func TestRecordOutlivesItsTTLWhileACooldownIsCountedFromIt(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 5, 250)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "10d"})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	w.finish(r, "one")
	result, err := w.reconcile(r, "one")
	labtest.Must(t, err)
	if want := 10 * 24 * time.Hour; result.RequeueAfter < want-time.Minute || result.RequeueAfter > want {
		t.Errorf("kept for %s, want %s", result.RequeueAfter, want)
	}
}

// A new leader deletes no record before it knows the cooldown that is counted from it.
func TestRecordIsKeptUntilTheRulesAreKnown(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{Cooldown: "1d"})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	w.end("one", v1alpha1.ReasonActivityUnknown, 0)
	w.Clock.Forward(time.Hour)
	r := w.process()
	r.Engine.Snapshots = &policy.Store{}
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter == 0 || !w.Exists("one") {
		t.Errorf("result = %v, %v, exists: %t", result, err, w.Exists("one"))
	}
}

func TestRunIsKeptForItsUndo(t *testing.T) {
	w := newWorld(t)
	r := w.process()
	w.Run("one", v1alpha1.PruneTriggerManual)
	w.end("one", "Removed", 1)
	stale := w.Get("one")
	w.RequestUndo("one")
	w.Clock.Forward(r.TTL + time.Hour)
	// The cache does not show the request yet.
	if _, err := r.retain(t.Context(), stale); err == nil || !w.Exists("one") {
		t.Fatalf("err = %v: the run whose undo was requested is gone", err)
	}
	change(w, &v1alpha1.IMApp{}, labtest.App,
		func(app *v1alpha1.IMApp) { app.Spec.CredentialsSecretRef.Name = "other" })
	if _, err := w.reconcile(r, "one"); err != nil || !w.Exists("one") {
		t.Fatalf("err = %v: the undo waits, however old the run is", err)
	}
	run := w.Get("one")
	run.Status.Undo = &v1alpha1.PruneUndo{StartedAt: metav1.NewTime(w.Clock.Now()),
		FinishedAt: metav1.NewTime(w.Clock.Now())}
	prunerun.Refresh(run)
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	result, err := w.reconcile(r, "one")
	if err != nil || result.RequeueAfter != r.TTL || !w.Exists("one") {
		t.Fatalf("result = %v, %v: want the record of the undo kept for its TTL", result, err)
	}
	w.Clock.Forward(r.TTL)
	if _, err := w.reconcile(r, "one"); err != nil || w.Exists("one") {
		t.Errorf("err = %v: it is never deleted", err)
	}
}
