package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// endedRun is a finished run: at minute of the hour, full or not.
func endedRun(condition, reason string, minute int, full bool) v1alpha1.PruneRun {
	run := v1alpha1.PruneRun{Status: v1alpha1.PruneRunStatus{Conditions: []metav1.Condition{
		{Type: condition, Status: metav1.ConditionTrue, Reason: reason, LastTransitionTime: metav1.NewTime(minutes(minute)), ObservedGeneration: 1},
	}}}
	if full {
		run.Status.Group = &v1alpha1.PruneGroupRecord{Type: v1alpha1.GroupTypePublic, Members: 20, MaxMembers: 20}
	}
	return run
}

func minutes(n int) time.Time { return time.Date(2026, 11, 20, 12, n, 0, 0, time.UTC) }

func TestCooldownIsThatOfTheRuleThatGovernsNow(t *testing.T) {
	w := newWorld(t)
	if got := cooldownNow(nil, fullGroup)("Public"); got != 10*time.Minute {
		t.Errorf("without an app: %v", got)
	}
	if got := cooldownNow(w.store.Load().AppNamed(w.namespace, pruneApp), fullGroup)("Public"); got != 10*time.Minute {
		t.Errorf("without a policy: %v", got)
	}
	w.policy("lounge", v1alpha1.PruneRule{Cooldown: "3h"})
	app := w.store.Load().AppNamed(w.namespace, pruneApp)
	if got := cooldownNow(app, fullGroup)("Public"); got != 3*time.Hour {
		t.Errorf("of a type that is governed: %v", got)
	}
	if got := cooldownNow(app, fullGroup)(""); got != 10*time.Minute {
		t.Errorf("of a type that is not known: %v", got)
	}
}

// staleCache sees no runs at all: a cache that is far behind.
type staleCache struct{ client.Client }

func (staleCache) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func TestCreatorsCollideOnPurpose(t *testing.T) {
	w := newWorld(t)
	w.policy("lounge", v1alpha1.PruneRule{Cooldown: "1h"})
	app := w.store.Load().AppNamed(w.namespace, pruneApp)
	key := prunerun.Key{Namespace: w.namespace, App: pruneApp, Group: fullGroup}
	blind := runCreator{Client: staleCache{w.client}, Live: w.client, Now: w.clock.Now}
	ensure := func(want creationOutcome) {
		t.Helper()
		got, err := blind.ensure(t.Context(), key, v1alpha1.PruneTriggerGroupFull, app)
		if err != nil || got.outcome != want {
			t.Errorf("outcome = %d, %v, want %d", got.outcome, err, want)
		}
	}
	first, second := key.Name(1), key.Name(2)

	ensure(runCreated)
	ensure(runPending) // AlreadyExists on an unfinished run is success
	run := w.get(first)
	want := map[string]string{"groupgate.io/app": pruneApp, "groupgate.io/group-hash": key.GroupHash()}
	if diff := cmp.Diff(want, run.Labels); diff != "" {
		t.Errorf("labels (-want,+got)\n%s", diff)
	}
	if run.Spec.Trigger != v1alpha1.PruneTriggerGroupFull || run.Spec.GroupID != fullGroup || run.Spec.AppRef.Name != pruneApp {
		t.Errorf("spec = %+v", run.Spec)
	}

	run.Status = endedRun(v1alpha1.ConditionComplete, "Previewed", 0, true).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.clock.Now())
	must(t, w.client.Status().Update(t.Context(), run))
	ensure(runCooling) // on a finished one, its cooldown holds

	w.clock.forward(time.Hour + time.Second)
	ensure(runCreated) // and then the next number is taken
	if got := w.runNames(); !slices.Equal(got, []string{first, second}) {
		t.Errorf("runs = %v, want %v", got, []string{first, second})
	}

	run = w.get(second)
	run.Status = endedRun(v1alpha1.ConditionComplete, "NotFull", 0, false).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.clock.Now())
	must(t, w.client.Status().Update(t.Context(), run))
	ensure(runNotYet)
}

func TestNameThatSomebodyTookForAnotherGroupIsPassedOver(t *testing.T) {
	w := newWorld(t)
	key := prunerun.Key{Namespace: w.namespace, App: pruneApp, Group: fullGroup}
	w.runFor(key.Name(1), "another group", v1alpha1.PruneTriggerManual)
	creator := runCreator{Client: w.client, Live: w.client, Now: w.clock.Now}
	got, err := creator.ensure(t.Context(), key, v1alpha1.PruneTriggerSweep, nil)
	if err != nil || got.outcome != runCreated || !w.exists(key.Name(2)) {
		t.Errorf("outcome = %d, %v, runs %v", got.outcome, err, w.runNames())
	}
}

func TestKeeping(t *testing.T) {
	w := newWorld(t)
	r := w.process()
	end := func(name, reason string, removed int32) {
		t.Helper()
		w.run(name, v1alpha1.PruneTriggerGroupFull)
		run := w.get(name)
		run.Status = endedRun(v1alpha1.ConditionComplete, reason, 0, true).Status
		run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.clock.Now())
		run.Status.Removed = removed
		must(t, w.client.Status().Update(t.Context(), run))
		w.clock.forward(time.Minute)
	}
	end("removed", "Removed", 7)
	for i := range 5 {
		end(fmt.Sprintf("run-%d", i), "Previewed", 0)
	}
	w.run("unfinished", v1alpha1.PruneTriggerGroupFull)
	w.runFor("elsewhere", "another group", v1alpha1.PruneTriggerGroupFull)

	if _, err := w.reconcile(r, "run-4"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"elsewhere", "removed", "run-2", "run-3", "run-4", "unfinished"}, w.runNames()); diff != "" {
		t.Errorf("the last 3 that removed nobody stay (-want,+got)\n%s", diff)
	}

	result, err := w.reconcile(r, "removed")
	if want := 7*24*time.Hour - 6*time.Minute; err != nil || result.RequeueAfter != want {
		t.Errorf("looked at again in %v, %v, want %v", result.RequeueAfter, err, want)
	}
	w.clock.forward(result.RequeueAfter)
	if _, err := w.reconcile(r, "removed"); err != nil || w.exists("removed") {
		t.Errorf("still there after its TTL: %v", err)
	}

	// A group that nobody asks about any more keeps nothing for ever.
	for _, name := range []string{"run-2", "run-3", "run-4"} {
		result, err := w.reconcile(r, name)
		must(t, err)
		w.clock.forward(result.RequeueAfter)
		if _, err := w.reconcile(r, name); err != nil || w.exists(name) {
			t.Errorf("%s is still there after its TTL: %v", name, err)
		}
	}

	r.TTL = time.Minute // less than 24 hours is 24 hours
	end("short", "Removed", 1)
	w.clock.forward(23 * time.Hour)
	if _, err := w.reconcile(r, "short"); err != nil || !w.exists("short") {
		t.Errorf("a record of removals was deleted within 24 hours: %v", err)
	}
}

func TestKeepingDeletesTheVersionItMeant(t *testing.T) {
	w := newWorld(t)
	w.run("one", v1alpha1.PruneTriggerManual)
	before := w.get("one")
	remove(w, &v1alpha1.PruneRun{}, "one")
	w.run("one", v1alpha1.PruneTriggerManual)
	if err := w.process().discard(t.Context(), before); !apierrors.IsConflict(err) || !w.exists("one") {
		t.Errorf("err = %v, want a conflict with the run that has the name by now", err)
	}
}

func TestRecordOutlivesItsTTLWhileACooldownIsCountedFromIt(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 5, 250)
	w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "10d"})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	w.finish(r, "one")
	result, err := w.reconcile(r, "one")
	must(t, err)
	if want := 10 * 24 * time.Hour; result.RequeueAfter < want-time.Minute || result.RequeueAfter > want {
		t.Errorf("kept for %s, want %s", result.RequeueAfter, want)
	}
}
