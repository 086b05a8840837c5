package prunerun

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// PlanLife is for how long a plan may be carried out: what it says about members is out of date by then.
const PlanLife = 24 * time.Hour

// Completion returns the condition that ended the run.
func Completion(run *v1alpha1.PruneRun) (metav1.Condition, bool) {
	for _, conditionType := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
		condition := apimeta.FindStatusCondition(run.Status.Conditions, conditionType)
		if condition != nil && condition.Status == metav1.ConditionTrue {
			return *condition, true
		}
	}
	return metav1.Condition{}, false
}

// Finished reports whether the run has ended: Complete or Failed is True.
func Finished(run *v1alpha1.PruneRun) bool {
	_, finished := Completion(run)
	return finished
}

// Active reports whether the run has not ended and may go on. A run that is being deleted does nothing more, however
// long that takes.
func Active(run *v1alpha1.PruneRun) bool { return !Finished(run) && run.DeletionTimestamp.IsZero() }

// NeedsWork reports whether something is left to do for the run, or for its undo.
func NeedsWork(run *v1alpha1.PruneRun) bool { return Active(run) || WantsUndo(run) }

// HasPlan reports whether a plan is recorded, so that the run may have removed members.
func HasPlan(run *v1alpha1.PruneRun) bool { return run.Status.Plan != nil }

// PlanExpired reports whether the plan is too old to be carried out.
func PlanExpired(run *v1alpha1.PruneRun, now time.Time) bool { return now.After(PlanEnd(run, now)) }

// PlanEnd is when the plan becomes void: 24 hours after it may be carried out, whether it was or not.
func PlanEnd(run *v1alpha1.PruneRun, now time.Time) time.Time {
	return PlanBegin(run, now).Add(PlanLife)
}

// PlanBegin is when the plan may be carried out, or could be from: when it was made, or a grace later.
func PlanBegin(run *v1alpha1.PruneRun, now time.Time) time.Time {
	plan := run.Status.Plan
	made := Happened(run, plan.CreatedAt.Time, now)
	if plan.NotBefore.IsZero() {
		return made
	}
	return made.Add(plan.NotBefore.Sub(plan.CreatedAt.Time))
}

// NeedsApproval reports whether the plan is one for a person to approve: in every mode but Enforce, and in that as well
// if it is no routine.
func NeedsApproval(run *v1alpha1.PruneRun) bool {
	policy, plan := run.Status.Policy, run.Status.Plan
	return policy == nil || policy.Mode != v1alpha1.PruneModeEnforce || plan != nil && plan.Breaker != ""
}

// AwaitsApproval reports whether the plan must not be carried out before a person approves it.
func AwaitsApproval(run *v1alpha1.PruneRun) bool {
	return run.Status.Policy == nil || NeedsApproval(run) && run.Spec.Approval != v1alpha1.ApprovalApproved
}

// WaitsForPerson reports whether the run has a plan that is carried out once a person approves it, and that nobody has
// decided about. Such a plan may be void already.
func WaitsForPerson(run *v1alpha1.PruneRun) bool {
	return Active(run) && HasPlan(run) && AwaitsApproval(run) && run.Status.Policy != nil &&
		run.Status.Policy.Mode != v1alpha1.PruneModePreview && run.Spec.Approval != v1alpha1.ApprovalDenied
}

// FoundFull reports whether the run read the group and found no free seat.
func FoundFull(run *v1alpha1.PruneRun) bool {
	group := run.Status.Group
	return group != nil && group.MaxMembers > 0 && group.Members >= group.MaxMembers
}

// GroupType is the type of the group as the run recorded it, "" if it never read the group.
func GroupType(run *v1alpha1.PruneRun) v1alpha1.GroupType {
	if run.Status.Group == nil {
		return ""
	}
	return run.Status.Group.Type
}

// RemovedMembers reports whether the run is the record of a removal, or of one that may have happened.
func RemovedMembers(run *v1alpha1.PruneRun) bool {
	return run.Status.Removed > 0 || Progress(run).InFlight > 0
}

// NextCondition is the type of the condition that the run has yet to reach.
func NextCondition(run *v1alpha1.PruneRun) string {
	switch {
	case WantsUndo(run):
		return v1alpha1.ConditionUndone
	case HasPlan(run):
		return v1alpha1.ConditionComplete
	}
	return v1alpha1.ConditionPlanned
}

// WaitState returns the reason of the next condition of a run that needs work, and since when that condition has not
// been True. A change of the reason does not restart the wait.
func WaitState(run *v1alpha1.PruneRun) (reason string, since time.Time, ok bool) {
	if !NeedsWork(run) {
		return "", time.Time{}, false
	}
	condition := apimeta.FindStatusCondition(run.Status.Conditions, NextCondition(run))
	if condition == nil {
		return v1alpha1.ReasonPending, run.CreationTimestamp.Time, true
	}
	// The condition that the schema gives every new run has 1970 as its time.
	return condition.Reason, later(condition.LastTransitionTime.Time, run.CreationTimestamp.Time), true
}

// WaitsForObjects reports whether a wait with this reason ends when an object changes. The other waits end by
// themselves.
func WaitsForObjects(reason string) bool {
	switch reason {
	case v1alpha1.ReasonVendorUnavailable, v1alpha1.ReasonClockSkew, v1alpha1.ReasonQueued, v1alpha1.ReasonInGrace,
		v1alpha1.ReasonRemoving, v1alpha1.ReasonUndoing:
		return false
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
