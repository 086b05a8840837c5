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

// KeepUntil is when a finished run may be deleted: ttl (at least 24 hours) after its end, but not while its accounts
// are refused, nor within the cooldown that starts with its end. cooldown is nil where the rules are not known.
func KeepUntil(run *v1alpha1.PruneRun, ttl time.Duration, cooldown Cooldown, now time.Time) time.Time {
	end, _ := Completion(run)
	ended := Happened(run, end.LastTransitionTime.Time, now)
	if UndoEnded(run) {
		ended = later(ended, Happened(run, run.Status.Undo.FinishedAt.Time, now))
	}
	until := ended.Add(max(ttl, minTTL))
	if refuse := run.Status.Refuse; refuse != nil {
		until = later(until, refuse.Until.Time)
	}
	if cooldown != nil {
		until = later(until, ended.Add(cooldown(GroupType(run))))
	}
	return until
}

// Surplus are the finished runs of a group that removed no member, less the latest ones, and less those whose cooldown
// is not over. cooldown is nil where the rules are not known: no run is surplus then.
func Surplus(runs []v1alpha1.PruneRun, cooldown Cooldown, now time.Time) []v1alpha1.PruneRun {
	if cooldown == nil {
		return nil
	}
	runs = slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool {
		return !Finished(&run) || RemovedMembers(&run) || WantsUndo(&run)
	})
	slices.SortFunc(runs, latestFirst)
	return slices.DeleteFunc(runs[min(len(runs), retainedPerGroup):], func(run v1alpha1.PruneRun) bool {
		return HoldOffAfter([]v1alpha1.PruneRun{run}, cooldown, now).CoolingUntil.After(now)
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
