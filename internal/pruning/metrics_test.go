package pruning

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// runList is a cache with these runs, or one that is not filled.
type runList struct {
	client.Reader
	runs []v1alpha1.PruneRun
	err  error
}

func (r *runList) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if runs, ok := list.(*v1alpha1.PruneRunList); ok {
		runs.Items = r.runs
	}
	return r.err
}

func TestLongestWaits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	run := func(created time.Duration, conditions ...metav1.Condition) v1alpha1.PruneRun {
		return v1alpha1.PruneRun{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: ago(created)},
			Status:     v1alpha1.PruneRunStatus{Conditions: conditions},
		}
	}
	condition := func(conditionType string, status metav1.ConditionStatus, reason string,
		since time.Duration) metav1.Condition {
		return metav1.Condition{Type: conditionType, Status: status, Reason: reason, LastTransitionTime: ago(since)}
	}
	withPlan := func(run v1alpha1.PruneRun) v1alpha1.PruneRun {
		run.Status.Plan = &v1alpha1.PrunePlan{}
		return run
	}
	undo := func(run v1alpha1.PruneRun) v1alpha1.PruneRun {
		run.Spec.Undo = v1alpha1.UndoRequested
		return run
	}
	withBreaker := func(run v1alpha1.PruneRun) v1alpha1.PruneRun {
		run.Status.Plan.Breaker = "would remove 340 of 400 members: is the list complete?"
		return run
	}
	gone := run(time.Hour, condition("Planned", "False", "PolicyInvalid", time.Hour))
	gone.DeletionTimestamp = &metav1.Time{Time: now}
	planned := condition("Planned", "True", "Planned", 5*time.Hour)
	cache := &runList{runs: []v1alpha1.PruneRun{
		withPlan(run(5*time.Hour, planned, condition("Complete", "False", "AwaitingApproval", 4*time.Hour))),
		withPlan(run(9*time.Hour, planned, condition("Complete", "False", "AwaitingApproval", time.Hour))),
		withBreaker(withPlan(
			run(9*time.Hour, planned, condition("Complete", "False", "AwaitingApproval", 2*time.Hour)))),
		withBreaker(withPlan(run(9*time.Hour, planned, condition("Complete", "False", "Removing", 9*time.Hour)))),
		withPlan(run(time.Hour, planned, condition("Complete", "False", "Removing", time.Hour))),
		withPlan(run(time.Hour, planned, condition("Complete", "True", "Removed", time.Hour))),
		undo(withPlan(run(8*time.Hour, planned, condition("Complete", "True", "Removed", 7*time.Hour),
			condition("Undone", "False", "VendorUnavailable", time.Minute)))),
		run(30*time.Second, metav1.Condition{Type: "Planned", Status: "Unknown", Reason: "Pending",
			LastTransitionTime: metav1.Unix(0, 0)}),
		gone,
	}}
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewWaitCollector(t.Context(), cache, func() time.Time { return now }))

	want := `
# HELP groupgate_evict_breaker_wait_seconds For how long the eviction has been waiting for approval, because it is no routine, that waits longest; 0 if none does.
# TYPE groupgate_evict_breaker_wait_seconds gauge
groupgate_evict_breaker_wait_seconds 7200
# HELP groupgate_prune_wait_seconds For how long the prune run, or undo, has been waiting that waits longest with this reason; 0 if none does.
# TYPE groupgate_prune_wait_seconds gauge
groupgate_prune_wait_seconds{reason="AppNotFound"} 0
groupgate_prune_wait_seconds{reason="AwaitingApproval"} 14400
groupgate_prune_wait_seconds{reason="BudgetExhausted"} 0
groupgate_prune_wait_seconds{reason="ClockSkew"} 0
groupgate_prune_wait_seconds{reason="Conflicted"} 0
groupgate_prune_wait_seconds{reason="InGrace"} 0
groupgate_prune_wait_seconds{reason="KeyMissing"} 0
groupgate_prune_wait_seconds{reason="ListUnresolved"} 0
groupgate_prune_wait_seconds{reason="Pending"} 30
groupgate_prune_wait_seconds{reason="PolicyInvalid"} 0
groupgate_prune_wait_seconds{reason="ProtectionUnresolved"} 0
groupgate_prune_wait_seconds{reason="Queued"} 0
groupgate_prune_wait_seconds{reason="SecretNotFound"} 0
groupgate_prune_wait_seconds{reason="SnapshotBehind"} 0
groupgate_prune_wait_seconds{reason="VendorUnavailable"} 60
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}

	cache.err = errors.New("the cache is not started")
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("%v, %v, want nothing before the cache is filled", families, err)
	}
}
