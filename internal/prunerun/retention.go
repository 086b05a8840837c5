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
// nothing, but not while its accounts are refused, nor within the cooldown that starts with its end. cooldown is nil
// where the rules are not known.
func KeepUntil(run *v1alpha1.PruneRun, ttl time.Duration, cooldown Cooldown) time.Time {
	end, _ := Completion(run)
	ended := end.LastTransitionTime.Time
	if UndoEnded(run) {
		ended = later(ended, run.Status.Undo.FinishedAt.Time)
	}
	until := ended.Add(max(ttl, minTTL))
	if HoldsNothing(run) {
		until = ended.Add(emptyLife)
	}
	if refuse := run.Status.Refuse; refuse != nil {
		until = later(until, refuse.Until.Time)
	}
	if cooldown != nil {
		until = later(until, ended.Add(cooldown(run)))
	}
	return until
}

// Surplus are the finished runs of a group that removed no member, less the latest ones. Of previews only the latest is
// left: its plan, which may take 100 KB, says all that the ones before it said.
func Surplus(runs []v1alpha1.PruneRun) []v1alpha1.PruneRun {
	runs = slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool {
		return !Finished(&run) || RemovedMembers(&run) || WantsUndo(&run)
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
	}
	return surplus
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
