package prunerun

import (
	"cmp"
	"slices"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	// retainedPerGroup is how many finished runs of a group that removed no member are kept: enough to see what
	// happens, and bounded where a group stays full for weeks.
	retainedPerGroup = 3
	minTTL           = 24 * time.Hour
)

// KeepUntil is when a finished run may be deleted: ttl (at least 24 hours) after its end, or ten minutes if it holds
// nothing, but not while its accounts are refused, nor within the cooldown that is counted from it.
func KeepUntil(run *v1alpha1.PruneRun, ttl time.Duration, cooldown Cooldown, now time.Time) time.Time {
	end, _ := Completion(run)
	ended := Happened(run, end.LastTransitionTime.Time, now)
	if UndoEnded(run) {
		ended = later(ended, Happened(run, run.Status.Undo.FinishedAt.Time, now))
	}
	until := ended.Add(max(ttl, minTTL))
	if HoldsNothing(run) {
		until = ended.Add(emptyLife)
	}
	if refuse := run.Status.Refuse; refuse != nil {
		until = later(until, refuse.Until.Time)
	}
	return later(until, HoldOffAfter([]v1alpha1.PruneRun{*run}, cooldown, now).CoolingUntil)
}

// Surplus are the finished runs of a group that removed no member, less the latest ones. Of previews only the latest is
// left: its plan, which may take 100 KB, says all that the ones before it said. A run whose cooldown lasts longer than
// those of the runs that are left is not surplus.
func Surplus(runs []v1alpha1.PruneRun, cooldown Cooldown, now time.Time) []v1alpha1.PruneRun {
	var left []v1alpha1.PruneRun
	runs = slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool {
		stays := !Finished(&run) || RemovedMembers(&run) || WantsUndo(&run)
		if stays {
			left = append(left, run)
		}
		return stays
	})
	slices.SortFunc(runs, latestFirst)
	var surplus []v1alpha1.PruneRun
	kept, preview := 0, false
	for i := range runs {
		end, _ := Completion(&runs[i])
		previewed := end.Reason == v1alpha1.ReasonPreviewed
		if kept == retainedPerGroup || previewed && preview {
			surplus = append(surplus, runs[i])
			continue
		}
		kept++
		preview = preview || previewed
		left = append(left, runs[i])
	}
	cooling := later(now, HoldOffAfter(left, cooldown, now).CoolingUntil)
	return slices.DeleteFunc(surplus, func(run v1alpha1.PruneRun) bool {
		until := HoldOffAfter([]v1alpha1.PruneRun{run}, cooldown, now).CoolingUntil
		cools := until.After(cooling)
		cooling = later(cooling, until)
		return cools
	})
}

func latestFirst(a, b v1alpha1.PruneRun) int {
	endA, _ := Completion(&a)
	endB, _ := Completion(&b)
	// Times have whole seconds. Of two numbered names of one group, the longer one has the higher number.
	return cmp.Or(
		endB.LastTransitionTime.Compare(endA.LastTransitionTime.Time),
		b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
		cmp.Compare(len(b.Name), len(a.Name)),
		cmp.Compare(b.Name, a.Name),
	)
}
