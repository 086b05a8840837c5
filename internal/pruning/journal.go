package pruning

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	eventActionPlan    = "Plan"
	eventActionApprove = "Approve"
	eventActionPrune   = "Prune"
	eventActionUndo    = "Undo"

	// maxPatches is how often a record is tried while other writers keep changing labels, annotations or conditions of
	// their own in between.
	maxPatches = 10
)

// journal is the record of one run and its only writer. Events, metrics and log lines about a record follow it.
type journal struct {
	*Engine
	ledger *ledger
	// run is the run as the API server returned it last.
	run *v1alpha1.PruneRun
}

// Patch writes what change makes of the run, under optimistic lock, and enters it into the ledger. The lock is the
// fence: it makes Patch fail if the run was written since it was read, above all by a later leader. Changes that are no
// part of the record are no reason to fail, since the whole Step would be repeated, and the vendor asked again, for as
// long as they keep coming: Patch reads the run again and calls change again.
func (j *journal) Patch(ctx context.Context, change func(*v1alpha1.PruneRun)) error {
	for tries := 1; ; tries++ {
		err := j.patchOnce(ctx, change)
		if tries == maxPatches || !apierrors.IsConflict(err) {
			return err
		}
		live := &v1alpha1.PruneRun{}
		readErr := j.Live.Get(ctx, client.ObjectKeyFromObject(j.run), live)
		if readErr != nil || !prunerun.SameRecord(j.run, live) {
			return err
		}
		j.run = live
	}
}

func (j *journal) patchOnce(ctx context.Context, change func(*v1alpha1.PruneRun)) error {
	next := j.run.DeepCopy()
	change(next)
	prunerun.Refresh(next)
	patch := client.MergeFromWithOptions(j.run, client.MergeFromWithOptimisticLock{})
	if err := j.Client.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("record the prune run: %w", err)
	}
	j.run = next
	j.ledger.Release(next)
	return nil
}

// reload reads the run again, so that the next batch begins with what is recorded. It returns errDone once goesOn is
// false of the run, or if the run has been replaced by another of its name.
func (j *journal) reload(ctx context.Context, goesOn func(*v1alpha1.PruneRun) bool) error {
	run := &v1alpha1.PruneRun{}
	if err := j.Live.Get(ctx, client.ObjectKeyFromObject(j.run), run); err != nil {
		return fmt.Errorf("read the prune run live: %w", err)
	}
	if !goesOn(run) || run.UID != j.run.UID {
		return errDone
	}
	j.run = run
	return nil
}

func (j *journal) set(
	run *v1alpha1.PruneRun, conditionType string, status metav1.ConditionStatus, reason, message string,
) {
	prunerun.SetCondition(run, j.Now(), conditionType, status, reason, message)
}

// setGroup records the group as it was read, until there is a plan: that was made from what is recorded already.
func setGroup(run *v1alpha1.PruneRun, group *v1alpha1.PruneGroupRecord) {
	if group != nil && run.Status.Plan == nil {
		run.Status.Group = group
	}
}

// recordWait records what the run waits for, unless that is recorded already.
func (j *journal) recordWait(ctx context.Context, group *v1alpha1.PruneGroupRecord, wait *waitError) error {
	conditionType := prunerun.NextCondition(j.run)
	change := func(run *v1alpha1.PruneRun) {
		setGroup(run, group)
		j.set(run, conditionType, metav1.ConditionFalse, wait.reason, wait.message)
	}
	waiting := j.run.DeepCopy()
	change(waiting)
	waiting.Status.AwaitsApproval = prunerun.WaitsForPerson(waiting) // as Patch does, for records without it
	if equality.Semantic.DeepEqual(&j.run.Status, &waiting.Status) {
		return nil
	}
	before := apimeta.FindStatusCondition(j.run.Status.Conditions, conditionType)
	if before == nil || before.Reason != wait.reason {
		log.FromContext(ctx).Info("Prune run waits",
			"group", j.run.Spec.GroupID, "reason", wait.reason, "message", wait.message)
	}
	return j.Patch(ctx, change)
}

// recordEnd records the end of the run.
func (j *journal) recordEnd(ctx context.Context, group *v1alpha1.PruneGroupRecord, end *endError) error {
	err := j.Patch(ctx, func(run *v1alpha1.PruneRun) {
		setGroup(run, group)
		if end.denied != nil {
			decisions := prunerun.Decisions(run)
			decisions.Denied = end.denied
			run.Status.Decisions = &decisions
		}
		j.setEnd(run, end)
	})
	if err != nil {
		return err
	}
	j.announceEnd(ctx, end)
	return nil
}

// setEnd sets the conditions of an end. Each condition that will not become True says why, so that none is waited for
// in vain.
func (j *journal) setEnd(run *v1alpha1.PruneRun, end *endError) {
	if run.Status.Plan == nil {
		j.set(run, v1alpha1.ConditionPlanned, metav1.ConditionFalse, end.reason, end.message)
	}
	if end.condition == v1alpha1.ConditionFailed {
		j.set(run, v1alpha1.ConditionComplete, metav1.ConditionFalse, end.reason, end.message)
	}
	j.set(run, end.condition, metav1.ConditionTrue, end.reason, end.message)
}

func (j *journal) announceEnd(ctx context.Context, end *endError) {
	eventType := corev1.EventTypeNormal
	if end.condition == v1alpha1.ConditionFailed {
		eventType = corev1.EventTypeWarning
	}
	j.announce(eventType, end.reason, eventActionPrune, end.message)
	j.Metrics.runEnded(j.run, end.reason)
	log.FromContext(ctx).Info("Prune run ended", "group", j.run.Spec.GroupID, "reason", end.reason,
		"removed", j.run.Status.Removed, "message", end.message)
}

func (j *journal) announcePlan(ctx context.Context, message string) {
	j.announce(corev1.EventTypeNormal, v1alpha1.ReasonPlanned, eventActionPlan, message)
	status := &j.run.Status
	log.FromContext(ctx).Info("Prune run planned", "group", j.run.Spec.GroupID, "policy", status.Policy.Name,
		"mode", status.Policy.Mode, "candidates", status.Plan.Candidates, "removals", len(status.Plan.Removals))
}

func (j *journal) announce(eventType, reason, action, message string) {
	j.Events.Eventf(j.run, nil, eventType, reason, action, "%s", prunerun.Clip(message, prunerun.MaxEventNote))
}
