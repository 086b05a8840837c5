package controllers

import (
	"context"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// denied ends a run that a person does not want, in any mode and at any time.
func (p *pass) denied() error {
	if p.run.Spec.Approval == v1alpha1.ApprovalDenied {
		return completes(v1alpha1.ReasonDenied, "Somebody set spec.approval to Denied.")
	}
	return nil
}

// planExpired ends a run whose plan is too old to be carried out.
func (p *pass) planExpired() error {
	if prunerun.PlanExpired(p.run, p.Now()) {
		return completes(v1alpha1.ReasonExpired, "The plan is older than 24 hours and void.")
	}
	return nil
}

// approved returns nil once the plan may be carried out, as far as people have to say so. run is what the API server returned last, and a word
// that was said after that makes the fence fail.
func (p *pass) approved(ctx context.Context) error {
	if err := p.denied(); err != nil {
		return err
	}
	if err := p.planExpired(); err != nil {
		return err
	}
	switch {
	case p.run.Status.Policy == nil, p.run.Status.Policy.Mode == v1alpha1.PruneModePreview:
		return completes(v1alpha1.ReasonPreviewed, "The mode of the plan removes nobody.")
	case prunerun.AwaitsApproval(p.run):
		return p.awaitApproval(ctx)
	}
	return nil
}

// awaitApproval waits for a word, unless nothing would come of it: a plan that no policy stands behind any more need not be looked at.
func (p *pass) awaitApproval(ctx context.Context) error {
	if err := p.readApp(ctx); err != nil {
		return err
	}
	if p.run.Status.Group == nil {
		return completes(v1alpha1.ReasonSuperseded, "The plan has no record of the group.")
	}
	if !governedAsPlanned(p.compiled, p.run) {
		// The snapshot says that the plan is void; before the run ends, the API server has to say so, too.
		if _, err := p.governingNow(ctx, policy.ParseGroupType(string(p.run.Status.Group.Type))); err != nil {
			return err
		}
	}
	void := p.run.Status.Plan.CreatedAt.Add(prunerun.PlanLife)
	return &waitError{
		reason: v1alpha1.ReasonAwaitingApproval, message: prunerun.ApprovalMessage(p.run.Status.Plan),
		after: max(void.Sub(p.Now()), 0) + time.Second,
	}
}

// governedAsPlanned says whether app still prunes the group by the policy that the plan of run was made by.
func governedAsPlanned(app *policy.CompiledApp, run *v1alpha1.PruneRun) bool {
	if run.Status.Group == nil || run.Status.Policy == nil {
		return false
	}
	governing, ok := app.GoverningRule(run.Spec.GroupID, policy.ParseGroupType(string(run.Status.Group.Type)))
	return ok && plannedBy(run.Status.Policy, governing.Policy)
}

// standsIn says whether a plan that waits is as good as before by the snapshot.
func standsIn(snapshot *policy.Snapshot, run *v1alpha1.PruneRun) bool {
	app := snapshot.AppNamed(run.Namespace, run.Spec.AppRef.Name)
	return app != nil && !app.PruningSuspended() && governedAsPlanned(app, run)
}
