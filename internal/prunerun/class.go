package prunerun

import "github.com/groupgate/groupgate/api/v1alpha1"

// Class is what a run of an app is about to do. Those of a higher class go first.
type Class int

// The classes, from the lowest on. A word of a person goes before what the vendor reported, and what has begun before
// what has not. Full groups go before evictions, of which a list that was edited may make hundreds.
const (
	ClassFinished Class = iota
	ClassPlanEviction
	ClassPlan
	ClassApproved
	ClassInFlight
	ClassUndo
	ClassDenied
)

// Urgent reports whether a person waits for the run. There are few such runs at a time.
func (c Class) Urgent() bool { return c >= ClassUndo }

// ClassOf returns the class of the run.
func ClassOf(run *v1alpha1.PruneRun) Class {
	switch {
	case WantsUndo(run):
		return ClassUndo
	case !Active(run):
		return ClassFinished
	case run.Spec.Approval == v1alpha1.ApprovalDenied:
		return ClassDenied
	case Progress(run).InFlight > 0:
		return ClassInFlight
	case HasPlan(run) && !AwaitsApproval(run):
		return ClassApproved
	case Evicts(run):
		return ClassPlanEviction
	}
	return ClassPlan
}
