package pruning

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// decisionsPolicy is the name of the MutatingAdmissionPolicy in config/admission/decisions, and of its binding.
const decisionsPolicy = "groupgate-decisions"

// decision is what is known about the latest change of spec.approval or spec.undo, to be recorded now.
func (j *journal) decision(ctx context.Context) (*v1alpha1.RecordedDecision, error) {
	decision := v1alpha1.RecordedDecision{
		PruneDecision: prunerun.LatestDecision(j.run), RecordedAt: metav1.NewTime(j.Now()),
	}
	if decision.By == "" {
		return &decision, nil
	}
	believed, err := j.usersRecorded(ctx)
	if err != nil {
		return nil, err
	}
	if !believed {
		decision.By = ""
	}
	return &decision, nil
}

// usersRecorded reports whether the API server itself wrote spec.decision.by. It does at every change of approval or
// undo, once the policy and its binding exist; before, the field holds what a user wrote. Both must be older than the
// run, which is older than the decision.
func (j *journal) usersRecorded(ctx context.Context) (bool, error) {
	for _, kind := range []string{"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(schema.GroupVersionKind{
			Group: "admissionregistration.k8s.io", Version: "v1", Kind: kind,
		})
		err := j.Live.Get(ctx, client.ObjectKey{Name: decisionsPolicy}, object)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apimeta.IsNoMatchError(err):
			// Not installed: the right to read it comes with it, and clusters before Kubernetes 1.36 lack the kind.
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read the %s of decisions: %w", kind, err)
		case j.run.CreationTimestamp.Before(&object.CreationTimestamp):
			return false, nil
		}
	}
	return true, nil
}

// approvalRecorded records, once, who approved the plan. It does so before the run waits for anything else, since the
// time of the record stands for that of the approval.
func approvalRecorded(ctx context.Context, j *job, _ *facts) error {
	decisions := prunerun.Decisions(j.run)
	if !prunerun.NeedsApproval(j.run) || prunerun.AwaitsApproval(j.run) || decisions.Approved != nil {
		return nil
	}
	decision, err := j.decision(ctx)
	if err != nil {
		return err
	}
	words := prunerun.DecisionMessage(&decision.PruneDecision, "approved")
	decisions.Approved = decision
	err = j.Patch(ctx, func(run *v1alpha1.PruneRun) {
		run.Status.Decisions = &decisions
		if j.waitToBegin() == nil {
			j.set(run, v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonRemoving,
				"The plan is about to be carried out. "+words)
		}
	})
	if err != nil {
		return err
	}
	j.announce(corev1.EventTypeNormal, v1alpha1.ReasonApproved, eventActionApprove, words)
	log.FromContext(ctx).Info("Prune run approved", "group", j.run.Spec.GroupID, "decision", words)
	return nil
}

// recordRequest records, once, who requested the undo, also before it waits for anything.
func (r restoration) recordRequest(ctx context.Context) error {
	decisions := prunerun.Decisions(r.run)
	if decisions.Undo != nil {
		return nil
	}
	decision, err := r.decision(ctx)
	if err != nil {
		return err
	}
	decisions.Undo = decision
	return r.Patch(ctx, func(run *v1alpha1.PruneRun) { run.Status.Decisions = &decisions })
}

// request is who requested the undo, as it is recorded.
func (r restoration) request() v1alpha1.PruneDecision {
	if recorded := prunerun.Decisions(r.run).Undo; recorded != nil {
		return recorded.PruneDecision
	}
	return v1alpha1.PruneDecision{}
}
