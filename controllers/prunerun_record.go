package controllers

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
	eventActionPlan  = "Plan"
	eventActionPrune = "Prune"
	maxEventNote     = 1000 // the API server takes 1,024 bytes
)

// recordTries is how often a record is written where somebody keeps writing labels, annotations or conditions of their own in between.
const recordTries = 10

// record writes the status that change makes, under optimistic lock, and only then makes it the run's. The lock is the fence: whoever
// has written the run since it was read, a next holder of the term above all, makes this fail. What others may write all the time and what
// says nothing about the run is no reason to fail, since everything would be done again, and the vendor asked again, for as long as they go
// on; so change must do the same if it is called again.
func (p *pass) record(ctx context.Context, change func(*v1alpha1.PruneRunStatus)) error {
	for tries := 1; ; tries++ {
		err := p.recordOnce(ctx, change)
		if tries == recordTries || !apierrors.IsConflict(err) {
			return err
		}
		now := &v1alpha1.PruneRun{}
		if readErr := p.Live.Get(ctx, client.ObjectKeyFromObject(p.run), now); readErr != nil || !prunerun.SameRecord(p.run, now) {
			return err
		}
		p.run = now
	}
}

func (p *pass) recordOnce(ctx context.Context, change func(*v1alpha1.PruneRunStatus)) error {
	next := p.run.DeepCopy()
	change(&next.Status)
	prunerun.RefreshConditions(next)
	patch := client.MergeFromWithOptions(p.run, client.MergeFromWithOptimisticLock{})
	if err := p.Client.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("record the prune run: %w", err)
	}
	p.run = next
	p.enterRecord()
	return nil
}

// set puts a condition into status.
func (p *pass) set(status *v1alpha1.PruneRunStatus, conditionType string, value metav1.ConditionStatus, reason, message string) {
	run := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Generation: p.run.Generation}, Status: *status}
	prunerun.SetCondition(run, p.Now(), conditionType, value, reason, message)
	status.Conditions = run.Status.Conditions
}

// seen puts the group into status as it was read, as long as there is no plan that was made from an earlier look.
func (p *pass) seen(status *v1alpha1.PruneRunStatus) {
	if p.group != nil && status.Plan == nil {
		status.Group = p.group
	}
}

// wait records what the run waits for.
func (p *pass) wait(ctx context.Context, wait *waitError) error {
	conditionType := prunerun.NextCondition(p.run)
	change := func(status *v1alpha1.PruneRunStatus) {
		p.seen(status)
		p.set(status, conditionType, metav1.ConditionFalse, wait.reason, wait.message)
	}
	waiting := p.run.Status.DeepCopy()
	change(waiting)
	if equality.Semantic.DeepEqual(&p.run.Status, waiting) {
		return nil
	}
	before := apimeta.FindStatusCondition(p.run.Status.Conditions, conditionType)
	if before == nil || before.Reason != wait.reason {
		log.FromContext(ctx).Info("prune run waits", "groupID", p.key.Group, "reason", wait.reason, "message", wait.message)
	}
	return p.record(ctx, change)
}

// end records the end of the run, or of its undo.
func (p *pass) end(ctx context.Context, ends *endError) error {
	if prunerun.WantsUndo(p.run) {
		return p.endUndo(ctx, ends)
	}
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		p.seen(status)
		p.setEnd(status, ends)
	})
	if err != nil {
		return err
	}
	p.announceEnd(ctx, ends)
	return nil
}

// setEnd puts the conditions of an end into status. Every condition that has not come true says why, so that each can be waited for.
func (p *pass) setEnd(status *v1alpha1.PruneRunStatus, ends *endError) {
	if status.Plan == nil {
		p.set(status, v1alpha1.ConditionPlanned, metav1.ConditionFalse, ends.reason, ends.message)
	}
	if ends.condition == v1alpha1.ConditionFailed {
		p.set(status, v1alpha1.ConditionComplete, metav1.ConditionFalse, ends.reason, ends.message)
	}
	p.set(status, ends.condition, metav1.ConditionTrue, ends.reason, ends.message)
}

// announceEnd tells of an end that is recorded.
func (p *pass) announceEnd(ctx context.Context, ends *endError) {
	eventType := corev1.EventTypeNormal
	if ends.condition == v1alpha1.ConditionFailed {
		eventType = corev1.EventTypeWarning
	}
	p.announce(eventType, ends.reason, eventActionPrune, ends.message)
	p.Metrics.runEnded(p.run, ends.reason)
	log.FromContext(ctx).Info("prune run ended", "groupID", p.key.Group, "reason", ends.reason, "removed", p.run.Status.Removed, "message", ends.message)
}

// announcePlan tells of a plan that is recorded.
func (p *pass) announcePlan(ctx context.Context, message string) {
	p.announce(corev1.EventTypeNormal, v1alpha1.ReasonPlanned, eventActionPlan, message)
	log.FromContext(ctx).Info("prune run planned", "groupID", p.key.Group, "policy", p.run.Status.Policy.Name, "mode", p.run.Status.Policy.Mode,
		"candidates", p.run.Status.Plan.Candidates, "removals", len(p.run.Status.Plan.Removals))
}

func (p *pass) announce(eventType, reason, action, message string) {
	p.Events.Eventf(p.run, nil, eventType, reason, action, "%s", prunerun.Clip(message, maxEventNote))
}
