package controllers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// refusingRun is a run with the removal of the accounts under way.
func refusingRun(namespace, name string, until time.Time, accounts ...string) *v1alpha1.PruneRun {
	run := &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: "lounge",
			Trigger: v1alpha1.PruneTriggerManual},
	}
	recordRefusal(&run.Status, until, accounts...)
	return run
}

func recordRefusal(status *v1alpha1.PruneRunStatus, until time.Time, accounts ...string) {
	status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(until), Candidates: int32(len(accounts))}
	for _, account := range accounts {
		status.Plan.Removals = append(status.Plan.Removals,
			v1alpha1.PlannedRemoval{Account: account, LastActiveAt: metav1.NewTime(until),
				Reason: v1alpha1.RemovalReasonInactive})
	}
	status.Progress = &v1alpha1.PruneProgress{InFlight: int32(len(accounts))}
	status.Refuse = &v1alpha1.PruneRefusal{Until: metav1.NewTime(until), Code: 10120, Message: "Come back later"}
}

// applies is a check of what an account is told that applies to join the lounge at that time.
func applies(account string, at time.Time, want policy.Verdict) func(*policy.Snapshot) error {
	return func(snapshot *policy.Snapshot) error {
		app := snapshot.App(testSDKAppID)
		if app == nil {
			return errors.New("app unknown")
		}
		got := app.DecideJoin(policy.JoinQuery{Group: "lounge", Account: account, Now: at})
		got.Policy = nil
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("%s (-want,+got):\n%s", account, diff)
		}
		return nil
	}
}

var (
	toldLater = policy.Verdict{Reason: policy.ReasonPruned, Code: 10120, Message: "Come back later"}
	welcome   = policy.Verdict{Admit: true, Reason: policy.ReasonAllowed}
)

// writeStatus writes the status of a run as the leader does.
func writeStatus(t *testing.T, run *v1alpha1.PruneRun, change func(*v1alpha1.PruneRunStatus)) {
	t.Helper()
	c := labtest.Client(t)
	labtest.Eventually(t, func() error {
		labtest.Must(t, c.Get(t.Context(), client.ObjectKeyFromObject(run), run))
		change(&run.Status)
		return c.Status().Update(t.Context(), run)
	})
}

func TestRefusalHoldsOnEveryReplicaOnceRecorded(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	first, second := startReplica(t, namespace, replicaOptions{}), startReplica(t, namespace, replicaOptions{})
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID),
		newList(namespace, "vip", nil, "i1", "i2"),
		newPolicy(namespace, "lounge", "lounge", byName("vip")))
	run := refusingRun(namespace, "one", time.Time{})
	run.Status = v1alpha1.PruneRunStatus{}
	create(t, run)
	now := time.Now().Truncate(time.Second)
	until := now.Add(time.Hour)
	for _, r := range []*replica{first, second} {
		r.published(t, applies("i1", now, welcome))
	}
	hash, before := first.store.Load().Hash(), first.settledBuilds(t)

	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) {
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionComplete, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBudgetExhausted,
			LastTransitionTime: metav1.NewTime(now),
		})
	})
	if got := first.settledBuilds(t) - before; got != 0 {
		t.Errorf("%d builds for a run without a record", got)
	}

	// The batch is recorded, and nobody is removed yet.
	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) { recordRefusal(s, until, "i1") })
	refused := func(r *replica) {
		t.Helper()
		r.published(t, applies("i1", until.Add(-time.Second), toldLater))
		r.published(t, applies("i1", until, welcome))
		r.published(t, applies("i2", until.Add(-time.Second), welcome))
	}
	refused(first)
	refused(second)

	// It is removed, the run ends, and the processes do.
	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) {
		s.Progress, s.Removed = &v1alpha1.PruneProgress{Settled: 1}, 1
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonVendorRefused,
			LastTransitionTime: metav1.NewTime(now),
		})
	})
	if got := first.settledBuilds(t) - before; got != 1 {
		t.Errorf("%d builds, want 1: an end changes no record", got)
	}
	first.stop()
	again := startReplica(t, namespace, replicaOptions{})
	again.published(t, func(*policy.Snapshot) error { return nil })
	if err := applies("i1", until.Add(-time.Second), toldLater)(again.store.Load()); err != nil {
		t.Errorf("the very first snapshot after a restart: %v", err)
	}
	refused(again)
	refused(second)
	if a, b := again.store.Load().Hash(), second.store.Load().Hash(); a != b || a == hash {
		t.Errorf("hashes %x and %x, and %x without the record", a, b, hash)
	}

	// It is over everywhere without anybody's write.
	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) {
		s.Refuse.Until = metav1.NewTime(time.Now().Add(2 * time.Second))
	})
	for _, r := range []*replica{second, again} {
		r.published(t, func(snapshot *policy.Snapshot) error {
			if got := snapshot.Hash(); got != hash {
				return fmt.Errorf("hash %x, want %x, that of before the record", got, hash)
			}
			return nil
		})
		r.published(t, applies("i1", now, welcome))
	}
}

func TestDeletedRunRefusesNoAccount(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	run := refusingRun(namespace, "one", time.Time{})
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID), run)
	now := time.Now().Truncate(time.Second)
	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) { recordRefusal(s, now.Add(time.Hour), "i1") })
	r.published(t, applies("i1", now, toldLater))
	labtest.Must(t, labtest.Client(t).Delete(t.Context(), run))
	r.published(t, applies("i1", now, policy.Verdict{Admit: true, Reason: policy.ReasonUnmatched}))
}

func TestUndoReachesTheSnapshot(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	run := refusingRun(namespace, "one", time.Time{})
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID),
		newPolicy(namespace, "lounge", "lounge"), run)
	now := time.Now().Truncate(time.Second)
	added := func(want policy.Verdict) func(*policy.Snapshot) error {
		return func(snapshot *policy.Snapshot) error {
			app := snapshot.App(testSDKAppID)
			if app == nil {
				return errors.New("app unknown")
			}
			got := app.DecideJoin(policy.JoinQuery{Group: "lounge", Account: "i1", Trigger: policy.TriggerRESTAPI,
				Operator: "administrator", Now: now})
			got.Policy = nil
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.New(diff)
			}
			return nil
		}
	}
	gated := policy.Verdict{Reason: policy.ReasonNotListed, Code: 1}
	r.published(t, added(gated))
	undo := &v1alpha1.PruneUndo{
		StartedAt: metav1.NewTime(now),
		Accounts:  []v1alpha1.RestoredAccount{{Account: "i1", Result: v1alpha1.RestoreResultPending}},
	}
	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) {
		recordRefusal(s, now.Add(time.Hour), "i1")
		s.Undo = undo
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRemoved,
			LastTransitionTime: metav1.NewTime(now),
		})
	})
	r.published(t, added(policy.Verdict{Admit: true, Reason: policy.ReasonRestored}))
	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) { s.Undo.FinishedAt = metav1.NewTime(now) })
	r.published(t, added(gated))
}

func TestSnapshotIsBuiltAgainWhenARefusalEnds(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	clock := now
	r := &SnapshotReconciler{Store: &policy.Store{}, Now: func() time.Time { return clock }}
	feed(r, []v1alpha1.IMApp{*newApp("a", "prod", testSDKAppID)})
	build(t, r)
	empty := r.Store.Load().Hash()
	runs := []v1alpha1.PruneRun{
		*refusingRun("a", "later", now.Add(time.Hour), "i1"), *refusingRun("a", "soon", now.Add(time.Minute), "i2"),
		*refusingRun("a", "over", now, "i3"),
	}
	for i := range runs {
		runs[i].UID = types.UID(runs[i].Name)
	}
	feed(r, runs)
	var hashes []uint64
	for _, step := range []struct {
		at   time.Duration
		want time.Duration
	}{
		{0, time.Minute}, {time.Minute - time.Nanosecond, time.Millisecond}, {time.Minute, 59 * time.Minute},
		{time.Hour, 0},
	} {
		clock = now.Add(step.at)
		if result := build(t, r); result.RequeueAfter != step.want {
			t.Errorf("at %v: next build in %v, want %v", step.at, result.RequeueAfter, step.want)
		}
		hashes = append(hashes, r.Store.Load().Hash())
	}
	if hashes[0] != hashes[1] || hashes[1] == hashes[2] || hashes[2] == hashes[3] || hashes[3] != empty {
		t.Errorf("hashes %x, without runs %x", hashes, empty)
	}
}

func TestRunsThatRefuseNothingCauseNoBuild(t *testing.T) {
	silent := refusingRun("a", "one", time.Now().Add(time.Hour), "i1")
	silent.Status.Refuse = nil
	telling := refusingRun("a", "one", time.Now().Add(time.Hour), "i1")
	for run, want := range map[*v1alpha1.PruneRun]bool{silent: false, telling: true} {
		if got := refusalChanged.Create(event.CreateEvent{Object: run}); got != want {
			t.Errorf("builds %t, want %t", got, want)
		}
	}
}

func TestRefusalsDoNotWakeRunsThatWaitForARule(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	r := &SnapshotReconciler{Store: &policy.Store{}, Now: func() time.Time { return now }}
	run, lounge := refusingRun("a", "one", now.Add(time.Hour), "i1"), newPolicy("a", "lounge", "lounge")
	for _, step := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"the first snapshot", func() { r.changed.add(newApp("a", "prod", testSDKAppID), false) }, true},
		{"a record", func() { r.changed.add(run, false) }, false},
		{"a policy", func() { r.changed.add(lounge, false) }, true},
		{"a policy and a record", func() { r.changed.add(run, true); r.changed.add(lounge, true) }, true},
	} {
		step.change()
		published, ruled := r.published.Next(), r.rules.Next()
		build(t, r)
		if !fired(published) {
			t.Errorf("%s: nothing was published", step.name)
		}
		if got := fired(ruled); got != step.want {
			t.Errorf("%s wakes runs that wait: %t, want %t", step.name, got, step.want)
		}
	}
}

func fired(signal <-chan struct{}) bool {
	select {
	case <-signal:
		return true
	default:
		return false
	}
}
