package prunerun

import "github.com/groupgate/groupgate/api/v1alpha1"

// First returns the run that goes first among the runs of one group, nil if none needs work. The others wait for it, so
// that at most one run of a group removes members or adds them back.
func First(runs []v1alpha1.PruneRun) *v1alpha1.PruneRun {
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

// precedence orders the work on one group. A batch in flight is finished first, since nobody knows what came of it.
// Nothing else goes before an undo, whose members wait to return: not even a run that has removed members already, and
// would remove more.
func precedence(run *v1alpha1.PruneRun) int {
	switch {
	case Active(run) && Progress(run).InFlight > 0:
		return 0
	case Undoing(run):
		return 1
	case WantsUndo(run):
		return 2
	case Active(run) && run.Status.Progress != nil:
		return 3
	case HasPlan(run) && !AwaitsApproval(run):
		return 4
	case HasPlan(run):
		return 5
	}
	return 6
}
