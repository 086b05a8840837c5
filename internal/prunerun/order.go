package prunerun

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// First returns the run of one group that those with the purpose wait for, unless it is one of them; nil if none needs
// work. So at most one run of a group removes members or adds them back.
//
// A batch in flight and an undo go before all others. Runs that evict wait for those that free seats, but only while
// these go on: a plan that waits for a person, or for the budget of the day, holds up its own purpose alone.
func First(runs []v1alpha1.PruneRun, purpose v1alpha1.PrunePurpose) *v1alpha1.PruneRun {
	first := firstOf(runs)
	if first == nil || precedence(first) <= undoWanted {
		return first
	}
	seats := firstOf(WithPurpose(v1alpha1.PrunePurposeFreeSeats, runs))
	if purpose == v1alpha1.PrunePurposeFreeSeats || seats != nil && GoesOn(seats) {
		return seats
	}
	return firstOf(WithPurpose(purpose, runs))
}

// GoesOn reports whether the plan of the run is being carried out, or is about to be: it waits neither for a person nor
// for an object.
func GoesOn(run *v1alpha1.PruneRun) bool {
	if !Active(run) || !HasPlan(run) || AwaitsApproval(run) {
		return false
	}
	condition := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionComplete)
	return condition == nil || !WaitsForObjects(condition.Reason) ||
		condition.Reason == v1alpha1.ReasonAwaitingApproval // which it has got
}

func firstOf(runs []v1alpha1.PruneRun) *v1alpha1.PruneRun {
	var first *v1alpha1.PruneRun
	for i := range runs {
		run := &runs[i]
		if NeedsWork(run) && (first == nil || goesBefore(run, first)) {
			first = run
		}
	}
	return first
}

func goesBefore(a, b *v1alpha1.PruneRun) bool {
	switch {
	case precedence(a) != precedence(b):
		return precedence(a) < precedence(b)
	case !a.CreationTimestamp.Equal(&b.CreationTimestamp):
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// Values of precedence.
const (
	batchInFlight = iota
	undoBegun
	undoWanted
	planBegun
	planToBegin
	planAwaiting
	unplanned
)

// precedence orders the work on one group. A batch in flight is finished first, since nobody knows what came of it.
// Nothing else goes before an undo, whose members wait to return: not even a run that has removed members already, and
// would remove more.
func precedence(run *v1alpha1.PruneRun) int {
	switch {
	case Active(run) && Progress(run).InFlight > 0:
		return batchInFlight
	case Undoing(run):
		return undoBegun
	case WantsUndo(run):
		return undoWanted
	case Active(run) && run.Status.Progress != nil:
		return planBegun
	case HasPlan(run) && !AwaitsApproval(run):
		return planToBegin
	case HasPlan(run):
		return planAwaiting
	}
	return unplanned
}
