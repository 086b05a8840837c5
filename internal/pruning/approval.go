package pruning

import (
	"context"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// approvalChain is what people have to say before a batch. The run is as the API server returned it last; an approval
// or denial that comes later makes the fence fail.
var approvalChain = []check{notDenied, planNotExpired, modeRemoves, approvalRecorded, mayBegin}

func notDenied(ctx context.Context, j *job, _ *facts) error {
	if j.run.Spec.Approval != v1alpha1.ApprovalDenied {
		return nil
	}
	decision, err := j.decision(ctx)
	if err != nil {
		return err
	}
	return &endError{
		condition: v1alpha1.ConditionComplete, reason: v1alpha1.ReasonDenied, denied: decision,
		message: "The run was stopped: spec.approval is Denied. " +
			prunerun.DecisionMessage(&decision.PruneDecision, "denied"),
	}
}

func planNotExpired(_ context.Context, j *job, _ *facts) error {
	if prunerun.PlanExpired(j.run, j.Now()) {
		return complete(v1alpha1.ReasonExpired, "The plan is older than 24 hours and void.")
	}
	return nil
}

func modeRemoves(_ context.Context, j *job, _ *facts) error {
	if policy := j.run.Status.Policy; policy == nil || policy.Mode == v1alpha1.PruneModePreview {
		return complete(v1alpha1.ReasonPreviewed, "The mode of the plan removes nobody.")
	}
	return nil
}

// mayBegin waits for the approval, and for the end of the grace, unless nothing would come of it: a plan whose policy
// no longer governs the group need not be reviewed.
func mayBegin(ctx context.Context, j *job, _ *facts) error {
	wait := j.waitToBegin()
	if wait == nil {
		return nil
	}
	f, err := j.gather(ctx, facts{}, pruneChain)
	if err != nil {
		return err
	}
	if j.run.Status.Group == nil {
		return complete(v1alpha1.ReasonSuperseded, "The plan has no record of the group.")
	}
	if !governedAsPlanned(f.compiled, j.run) {
		// The snapshot says that the plan is void; before the run ends, the API server has to say so, too.
		if _, err := j.gather(ctx, f, []check{rulePlannedBy, ruleUsable}); err != nil {
			return err
		}
	}
	return wait
}

// approvalMessage is what a run whose plan awaits approval asks for, in at most limit bytes.
func (e *Engine) approvalMessage(run *v1alpha1.PruneRun, limit int) string {
	return prunerun.ApprovalMessage(run, e.PageURL, limit)
}

// waitToBegin is what the plan waits for before its first batch, nil if for nothing.
func (j *job) waitToBegin() *waitError {
	now := j.Now()
	until := func(at time.Time) time.Duration { return max(at.Sub(now), 0) + time.Second }
	if prunerun.AwaitsApproval(j.run) {
		return &waitError{
			reason: v1alpha1.ReasonAwaitingApproval, message: j.approvalMessage(j.run, prunerun.MaxMessage),
			after: until(prunerun.PlanEnd(j.run, now)),
		}
	}
	if j.run.Status.Plan.NotBefore.IsZero() || j.run.Status.Progress != nil {
		return nil
	}
	if begin := prunerun.PlanBegin(j.run, now); now.Before(begin) {
		return &waitError{
			reason: v1alpha1.ReasonInGrace, message: prunerun.GraceMessage(begin), after: until(begin),
		}
	}
	return nil
}
