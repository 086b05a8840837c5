package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

func (w *world) intake() *Intake {
	return &Intake{
		Client: w.client, Live: w.client, Snapshots: w.store, Now: w.clock.Now,
		Metrics: NewPruneMetrics(prometheus.NewRegistry()), Log: logr.Discard(),
	}
}

func (w *world) object() policy.Object { return policy.Object{Namespace: w.namespace, Name: pruneApp} }

func (i *Intake) empty() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.pending) > 0 {
		return fmt.Errorf("%d groups are pending", len(i.pending))
	}
	return nil
}

func (i *Intake) count(result intakeResult) float64 {
	return testutil.ToFloat64(i.Metrics.intake.WithLabelValues(string(result)))
}

// counted polls until a result was counted.
func counted(t *testing.T, i *Intake, result intakeResult, want float64) {
	t.Helper()
	eventually(t, func() error {
		if got := i.count(result); got < want {
			return fmt.Errorf("%s = %v, want %v", result, got, want)
		}
		return nil
	})
}

func TestThousandCallbacksAreOneRun(t *testing.T) {
	w := newWorld(t)
	w.policy("lounge", v1alpha1.PruneRule{})
	one, two := w.intake(), w.intake() // two replicas
	buffer := []byte(fullGroup)
	for range 500 {
		one.GroupFull(w.object(), string(buffer))
		two.GroupFull(w.object(), fullGroup)
	}
	if got := testutil.ToFloat64(one.Metrics.pending); got != 1 {
		t.Errorf("prune_intake_pending = %v, want 1", got)
	}
	start(t, one.Start)
	start(t, two.Start)
	eventually(t, func() error {
		if one.count(intakeCreated)+two.count(intakeCreated) == 0 {
			return errors.New("no run yet")
		}
		return nil
	})
	for range 100 {
		one.GroupFull(w.object(), fullGroup)
		two.GroupFull(w.object(), fullGroup)
	}
	want := groupKey{app: pruneApp, group: fullGroup}.runName(1)
	finish := w.get(want)
	finish.Status = endedRun(v1alpha1.ConditionComplete, "Previewed", 0, true).Status
	finish.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.clock.Now())
	must(t, w.client.Status().Update(t.Context(), finish))
	for _, intake := range []*Intake{one, two} {
		eventually(t, intake.empty)
	}
	if got := w.runNames(); !slices.Equal(got, []string{want}) {
		t.Errorf("runs = %v, want %s", got, want)
	}
	if got := one.count(intakeCreated) + two.count(intakeCreated); got != 1 {
		t.Errorf("%v runs created, want 1", got)
	}
	if got := testutil.ToFloat64(one.Metrics.pending); got != 0 {
		t.Errorf("prune_intake_pending = %v, want 0", got)
	}
}

// refusing fails to create runs of some groups.
type refusing struct {
	client.Client
	refuse func(group string) bool
	tries  atomic.Int32
}

func (r *refusing) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if run, ok := obj.(*v1alpha1.PruneRun); ok && r.refuse(run.Spec.GroupID) {
		r.tries.Add(1)
		return errBroken
	}
	return r.Client.Create(ctx, obj, opts...)
}

func TestIntakeTriesUntilItSucceedsAndHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	w.policyFor("a", "a", v1alpha1.PruneRule{})
	w.policyFor("b", "b", v1alpha1.PruneRule{})
	w.publish()
	var down atomic.Bool
	down.Store(true)
	intake := w.intake()
	api := &refusing{Client: w.client, refuse: func(group string) bool { return group == "a" && down.Load() }}
	intake.Client = api
	start(t, intake.Start)
	intake.GroupFull(w.object(), "a")
	eventually(t, func() error {
		if api.tries.Load() < 2 {
			return errors.New("not tried again yet")
		}
		return nil
	})
	intake.GroupFull(w.object(), "b")
	eventually(t, func() error {
		if !w.exists(groupKey{app: pruneApp, group: "b"}.runName(1)) {
			return errors.New("a group waits for another one's backoff")
		}
		return nil
	})
	down.Store(false)
	eventually(t, func() error {
		if !w.exists(groupKey{app: pruneApp, group: "a"}.runName(1)) {
			return errors.New("the callback was lost")
		}
		return nil
	})
}

func TestIntakeDropsWhatIsNoLongerGoverned(t *testing.T) {
	w := newWorld(t)
	w.policy("lounge", v1alpha1.PruneRule{})
	intake := w.intake()
	start(t, intake.Start)

	intake.GroupFull(w.object(), "another group")
	counted(t, intake, intakeNotGoverned, 1)
	change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
	w.publish()
	intake.GroupFull(w.object(), fullGroup)
	counted(t, intake, intakeSuspended, 1)
	eventually(t, intake.empty)
	if got := w.runNames(); len(got) != 0 {
		t.Errorf("runs = %v, want none", got)
	}
}

func TestCallbackAfterNotFullStaysPendingForAMinute(t *testing.T) {
	w := newWorld(t)
	w.policy("lounge", v1alpha1.PruneRule{})
	intake := w.intake()
	intake.init()
	key := groupKey{namespace: w.namespace, app: pruneApp, group: fullGroup}
	w.run(key.runName(1), v1alpha1.PruneTriggerGroupFull)
	// The run is looking at the group right now; whatever it saw, this callback is newer.
	if got := intake.decide(t.Context(), key, w.clock.Now()); got.after <= 0 {
		t.Errorf("next = %+v, want to stay pending", got)
	}
	run := w.get(key.runName(1))
	run.Status = endedRun(v1alpha1.ConditionComplete, "NotFull", 0, false).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.clock.Now())
	must(t, w.client.Status().Update(t.Context(), run))

	w.clock.forward(time.Minute - time.Second)
	if got := intake.decide(t.Context(), key, w.clock.Now()); got.after != time.Second {
		t.Errorf("next = %+v, want to stay pending for a second", got)
	}
	w.clock.forward(time.Second)
	if got := intake.decide(t.Context(), key, w.clock.Now()); got.result != intakeCreated || !w.exists(key.runName(2)) {
		t.Errorf("next = %+v, runs %v", got, w.runNames())
	}
}

func TestCallbackIsLetGoWhereARunAnswersIt(t *testing.T) {
	w := newWorld(t)
	w.policy("lounge", v1alpha1.PruneRule{Cooldown: "1h"})
	intake := w.intake()
	key := groupKey{namespace: w.namespace, app: pruneApp, group: fullGroup}
	w.run(key.runName(1), v1alpha1.PruneTriggerGroupFull)
	if got := intake.decide(t.Context(), key, w.clock.Now().Add(-pendingRunPatience)); got.result != intakeUnfinished {
		t.Errorf("of a run that has waited for long: %+v", got)
	}
	run := w.get(key.runName(1))
	run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(w.clock.Now())}
	must(t, w.client.Status().Update(t.Context(), run))
	if got := intake.decide(t.Context(), key, w.clock.Now()); got.result != intakeUnfinished {
		t.Errorf("of a run with a plan: %+v", got)
	}
	run = w.get(key.runName(1))
	run.Status = endedRun(v1alpha1.ConditionComplete, "Removed", 0, true).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.clock.Now())
	must(t, w.client.Status().Update(t.Context(), run))
	if got := intake.decide(t.Context(), key, w.clock.Now()); got.result != intakeCooling {
		t.Errorf("in the cooldown: %+v", got)
	}
	w.clock.forward(time.Hour + time.Second)
	if got := intake.decide(t.Context(), key, w.clock.Now()); got.result != intakeCreated {
		t.Errorf("after the cooldown: %+v", got)
	}
}

func TestCallbackDuringACreationIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.policy("lounge", v1alpha1.PruneRule{})
	intake := w.intake()
	// The callback comes while the worker is about to let the group go: the run that it saw may have read the group before.
	first := true
	intake.Client = &refusing{Client: w.client, refuse: func(string) bool {
		if first {
			first = false
			w.clock.forward(time.Second)
			intake.GroupFull(w.object(), fullGroup)
		}
		return false
	}}
	key := groupKey{namespace: w.namespace, app: pruneApp, group: fullGroup}
	intake.GroupFull(w.object(), fullGroup)
	got, _ := intake.queue.Get()
	intake.dealWith(t.Context(), got)
	intake.queue.Done(got)
	if !w.exists(key.runName(1)) {
		t.Error("no run was created")
	}
	if err := intake.empty(); err == nil {
		t.Error("the second callback was forgotten")
	}
	if again, _ := intake.queue.Get(); again != key {
		t.Errorf("next = %v, want %v", again, key)
	}
}

func TestIntakeIsBounded(t *testing.T) {
	w := newWorld(t)
	intake := w.intake()
	for n := range maxPendingGroups + 5 {
		intake.GroupFull(w.object(), fmt.Sprint(n))
	}
	if got := testutil.ToFloat64(intake.Metrics.pending); got != maxPendingGroups {
		t.Errorf("prune_intake_pending = %v, want %d", got, maxPendingGroups)
	}
	if got := intake.count(intakeOverflow); got != 5 {
		t.Errorf("overflow = %v, want 5", got)
	}
	if intake.NeedLeaderElection() {
		t.Error("only one replica would take callbacks in")
	}
}
