package prunerun

import (
	"slices"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// emptyLife is how long a finished run is kept that holds nothing: long enough to be seen.
const emptyLife = 10 * time.Minute

// HoldsNothing reports whether the run has ended without a plan: there was no such group, it was not full, or no rule
// governed it. Reports of groups can be forged, so that there may be any number of such runs.
func HoldsNothing(run *v1alpha1.PruneRun) bool {
	return Finished(run) && !HasPlan(run) && !RemovedMembers(run) && run.Status.Undo == nil && !WantsUndo(run)
}

// InTheWay returns those of runs that are to be deleted so that at most limit are left: runs that hold nothing, the
// oldest ends first. Those that found their group full come last: the group is no forgery, and its cooldown is counted
// from the run. ok is false if there are too few of them.
func InTheWay(runs []v1alpha1.PruneRun, limit int) (surplus []v1alpha1.PruneRun, ok bool) {
	excess := len(runs) - limit
	if excess <= 0 {
		return nil, true
	}
	empty := slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool { return !HoldsNothing(&run) })
	slices.SortFunc(empty, func(a, b v1alpha1.PruneRun) int {
		switch {
		case FoundFull(&a) == FoundFull(&b):
			return latestFirst(b, a)
		case FoundFull(&a):
			return 1
		}
		return -1
	})
	return empty[:min(excess, len(empty))], len(empty) >= excess
}
