package prunerun

import (
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// recentEvictions is for how long evictions without approval count: many slips that are small each empty a group as
// well as a large one does.
const recentEvictions = 7 * 24 * time.Hour

// RecentEvictions is how many members the runs of a group evicted without approval in the last 7 days, or may have, as
// far as there are records.
func RecentEvictions(runs []v1alpha1.PruneRun, now time.Time) int {
	recent := 0
	for i := range runs {
		if run := &runs[i]; now.Sub(Happened(run, lastRemovalAt(run), now)) < recentEvictions {
			recent += evictedUnapproved(run)
		}
	}
	return recent
}

// evictedUnapproved is how many members the run evicted, or may have, without the approval of a person.
func evictedUnapproved(run *v1alpha1.PruneRun) int {
	if !Evicts(run) || Decisions(run).Approved != nil {
		return 0
	}
	return int(run.Status.Removed) + int(Progress(run).InFlight)
}

// lastRemovalAt is when the run removed members last, as recorded; zero if it never did.
func lastRemovalAt(run *v1alpha1.PruneRun) time.Time {
	end, ended := Completion(run)
	if at := Progress(run).LastBatchAt.Time; !at.IsZero() || !ended {
		return at
	}
	return end.LastTransitionTime.Time
}
