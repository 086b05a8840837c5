package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// endedRun is a finished run: at minute of the hour, full or not.
func endedRun(condition, reason string, minute int, full bool) v1alpha1.PruneRun {
	run := v1alpha1.PruneRun{Status: v1alpha1.PruneRunStatus{Conditions: []metav1.Condition{
		{Type: condition, Status: metav1.ConditionTrue, Reason: reason,
			LastTransitionTime: metav1.NewTime(minutes(minute)), ObservedGeneration: 1},
	}}}
	if full {
		run.Status.Group = &v1alpha1.PruneGroupRecord{Type: v1alpha1.GroupTypePublic, Members: 20, MaxMembers: 20}
	}
	return run
}

func minutes(n int) time.Time { return time.Date(2026, 11, 20, 12, n, 0, 0, time.UTC) }

// staleCache sees no runs at all: a cache that is far behind.
type staleCache struct{ client.Client }

func (staleCache) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func TestConcurrentCreatorsCreateOneRun(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{Cooldown: "1h"})
	app := w.Store.Load().AppNamed(w.Namespace, labtest.App)
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	blind := runCreator{Client: staleCache{w.Client}, Live: w.Client, Now: w.Clock.Now}
	ensure := func(want creationOutcome) {
		t.Helper()
		got, err := blind.ensure(t.Context(), freeSeats(key, v1alpha1.PruneTriggerGroupFull), app)
		if err != nil || got.outcome != want {
			t.Errorf("outcome = %d, %v, want %d", got.outcome, err, want)
		}
	}
	first, second := key.Name(1), key.Name(2)

	ensure(runCreated)
	ensure(runPending) // AlreadyExists on an unfinished run is success
	run := w.Get(first)
	want := map[string]string{"groupgate.io/app": labtest.App, "groupgate.io/group-hash": key.GroupHash()}
	if diff := cmp.Diff(want, run.Labels); diff != "" {
		t.Errorf("labels (-want,+got)\n%s", diff)
	}
	if run.Spec.Trigger != v1alpha1.PruneTriggerGroupFull || run.Spec.GroupID != labtest.FullGroup ||
		run.Spec.AppRef.Name != labtest.App {
		t.Errorf("spec = %+v", run.Spec)
	}

	run.Status = endedRun(v1alpha1.ConditionComplete, "Previewed", 0, true).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	ensure(runCooling) // on a finished one, its cooldown holds

	w.Clock.Forward(time.Hour + time.Second)
	ensure(runCreated) // and then the next number is taken
	if got := w.RunNames(); !slices.Equal(got, []string{first, second}) {
		t.Errorf("runs = %v, want %v", got, []string{first, second})
	}

	run = w.Get(second)
	run.Status = endedRun(v1alpha1.ConditionComplete, "NotFull", 0, false).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	ensure(runNotYet)
}

func TestNameTakenByARunOfAnotherGroupIsSkipped(t *testing.T) {
	w := newWorld(t)
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	w.RunFor(key.Name(1), "another group", v1alpha1.PruneTriggerManual)
	creator := runCreator{Client: w.Client, Live: w.Client, Now: w.Clock.Now}
	got, err := creator.ensure(t.Context(), freeSeats(key, v1alpha1.PruneTriggerSweep), nil)
	if err != nil || got.outcome != runCreated || !w.Exists(key.Name(2)) {
		t.Errorf("outcome = %d, %v, runs %v", got.outcome, err, w.RunNames())
	}
}

func TestRunsOfTwoPurposesAreMadeApart(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	app := w.Store.Load().AppNamed(w.Namespace, labtest.App)
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	full := freeSeats(key, v1alpha1.PruneTriggerGroupFull)
	leak := order{
		key: key, purpose: v1alpha1.PrunePurposeEvict, trigger: v1alpha1.PruneTriggerLeak,
		accounts: []string{"mallory"},
	}
	blind := runCreator{Client: staleCache{w.Client}, Live: w.Client, Now: w.Clock.Now}
	ensure := func(o order, want creationOutcome) {
		t.Helper()
		got, err := blind.ensure(t.Context(), o, app)
		if err != nil || got.outcome != want {
			t.Errorf("outcome = %d, %v, want %d", got.outcome, err, want)
		}
	}
	end := func(name, reason string) {
		t.Helper()
		run := w.Get(name)
		run.Status = endedRun(v1alpha1.ConditionComplete, reason, 0, true).Status
		run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
		labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	}
	ensure(leak, runCreated)
	ensure(leak, runPending)
	ensure(full, runCreated) // an eviction that waits holds up no full group
	ensure(full, runPending)
	if diff := cmp.Diff([]string{key.Name(1), key.EvictName(1)}, w.RunNames()); diff != "" {
		t.Fatalf("runs (-want,+got)\n%s", diff)
	}
	spec := w.Get(key.EvictName(1)).Spec
	if spec.Purpose != v1alpha1.PrunePurposeEvict || spec.Trigger != v1alpha1.PruneTriggerLeak ||
		!slices.Equal(spec.Accounts, leak.accounts) {
		t.Errorf("spec = %+v", spec)
	}
	if got := w.Get(key.Name(1)).Spec.Purpose; got != v1alpha1.PrunePurposeFreeSeats {
		t.Errorf("purpose = %s", got)
	}

	end(key.EvictName(1), v1alpha1.ReasonRemoved)
	ensure(leak, runCooling)
	w.Clock.Forward(time.Minute)
	ensure(leak, runCreated) // the number 2
	end(key.EvictName(2), v1alpha1.ReasonRemoved)
	end(key.Name(1), v1alpha1.ReasonRemoved)
	w.Clock.Forward(time.Minute)
	ensure(leak, runCreated) // the cooldown of full groups is not that of evictions
	ensure(full, runCooling)
}

func TestUndoHoldsOffRuns(t *testing.T) {
	run := endedRun(v1alpha1.ConditionComplete, "Removed", 1, true)
	run.Spec.Undo = v1alpha1.UndoRequested
	run.Status.Undo = &v1alpha1.PruneUndo{StartedAt: metav1.NewTime(minutes(20)),
		FinishedAt: metav1.NewTime(minutes(21))}
	full := freeSeats(prunerun.KeyOf(&run), v1alpha1.PruneTriggerSweep)
	creator := runCreator{Now: func() time.Time { return minutes(25) }}
	if got, wait := creator.heldOff(full, []v1alpha1.PruneRun{run}, nil); !wait || got.outcome != runCooling {
		t.Errorf("creation = %+v, %v", got, wait)
	}
	run.Status.Undo.FinishedAt = metav1.Time{}
	creator.Now = func() time.Time { return minutes(59) }
	if got, wait := creator.heldOff(full, []v1alpha1.PruneRun{run}, nil); !wait || got.outcome != runCooling {
		t.Errorf("creation = %+v, %v", got, wait)
	}
}

// A key that was corrected in place counts from the next callback after the cooldown on, or at once for a person who
// asks.
func TestCorrectedKeyCounts(t *testing.T) {
	key := func(w *world, value string) {
		change(w, &corev1.Secret{}, labtest.Secret,
			func(s *corev1.Secret) { s.Data[v1alpha1.SecretKeySecretKey] = []byte(value) })
	}
	w := newWorld(t)
	w.Group(labtest.FullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: labtest.Seats(2)})
	key(w, "another key")
	group := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	intake, r := w.intake(), w.process()
	callback := func(want intakeResult) {
		t.Helper()
		if got := intake.decide(t.Context(), group, w.Clock.Now()); got.result != want || got.failed != nil {
			t.Errorf("a callback is %s, %v, want %s", got.result, got.failed, want)
		}
	}
	callback(intakeCreated)
	if end, _ := prunerun.Completion(w.finish(r, group.Name(1))); end.Reason != v1alpha1.ReasonVendorRefused {
		t.Fatalf("ended %s", end.Reason)
	}
	for range 5 {
		callback(intakeCooling)
	}
	key(w, lab.SecretKey)
	callback(intakeCooling)
	if got := w.Happened(labtest.GetGroup); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
	w.Clock.Forward(prunerun.DefaultCooldown)
	callback(intakeCreated)
	labtest.WantConditions(t, w.finish(r, group.Name(2)), "Planned=True/Planned", "Complete=True/Removed")
}

// TestApprovalByUIDMissesASuccessor is about the name of a run that was deleted, which the next run of the group takes.
func TestApprovalByUIDMissesASuccessor(t *testing.T) {
	w := newWorld(t)
	w.Run("one", v1alpha1.PruneTriggerManual)
	seen := w.Get("one")
	w.Remove(&v1alpha1.PruneRun{}, "one")
	w.Run("one", v1alpha1.PruneTriggerManual)
	deny := func(uid types.UID) error {
		patch := fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"approval":"Denied"}}`, uid)
		return w.Client.Patch(t.Context(), w.Get("one"), client.RawPatch(types.MergePatchType, patch))
	}
	if err := deny(seen.UID); err == nil || w.Get("one").Spec.Approval == v1alpha1.ApprovalDenied {
		t.Errorf("the decision on a deleted run reached its successor: %v", err)
	}
	labtest.Must(t, deny(w.Get("one").UID))
}

func TestRunsWithoutAPlanAreBounded(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	app := w.Store.Load().AppNamed(w.Namespace, labtest.App)
	creator := runCreator{Client: w.Client, Live: w.Client, Now: w.Clock.Now}
	ensure := func(group string, want creationOutcome) {
		t.Helper()
		key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: group}
		got, err := creator.ensure(t.Context(), freeSeats(key, v1alpha1.PruneTriggerGroupFull), app)
		if err != nil || got.outcome != want {
			t.Fatalf("%s: outcome = %d, %v, want %d", group, got.outcome, err, want)
		}
	}
	const empty = 3
	for i := range maxWithoutPlan {
		w.RunFor(fmt.Sprintf("forged-%d", i), fmt.Sprintf("forged-%d", i), v1alpha1.PruneTriggerGroupFull)
		if i >= empty {
			continue
		}
		w.end(fmt.Sprintf("forged-%d", i), v1alpha1.ReasonNotGoverned, 0)
		w.Clock.Forward(time.Second)
	}
	w.RunFor("planned", "planned", v1alpha1.PruneTriggerManual)
	planned := w.Get("planned")
	planned.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(w.Clock.Now())}
	labtest.Must(t, w.Client.Status().Update(t.Context(), planned))

	for i := range empty {
		ensure(fmt.Sprintf("real-%d", i), runCreated)
		if oldest := fmt.Sprintf("forged-%d", i); w.Exists(oldest) {
			t.Errorf("%s, the oldest that holds nothing, is in the way", oldest)
		}
	}
	ensure("one-more", runNoRoom)
	leak := order{
		key:     prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: "one-more"},
		purpose: v1alpha1.PrunePurposeEvict, trigger: v1alpha1.PruneTriggerLeak,
	}
	if room, err := creator.makeRoom(t.Context(), leak); err != nil || !room {
		t.Errorf("runs for full groups leave evictions no room: %v", err)
	}
	if got := len(w.RunNames()); got != maxWithoutPlan+1 {
		t.Errorf("%d runs, want %d and one with a plan", got, maxWithoutPlan)
	}
}
