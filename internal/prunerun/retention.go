package prunerun

import (
	"cmp"
	"slices"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	// retainedPerGroup is how many finished runs of a group and purpose that removed no member are kept: enough to see
	// what happens, and bounded where a group stays full for weeks.
	retainedPerGroup = 3
	minTTL           = 24 * time.Hour
)

// KeepUntil is when a finished run may be deleted: ttl (at least 24 hours) after its end, or ten minutes if it holds
// nothing, but not while its accounts are refused, nor while evictions without approval are counted, nor within the
// cooldown that is counted from it.
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
	if evictedUnapproved(run) > 0 {
		until = later(until, ended.Add(recentEvictions))
	}
	for _, cooling := range coolingUntil([]v1alpha1.PruneRun{*run}, cooldown, now) {
		until = later(until, cooling)
	}
	return until
}

// Surplus are the finished runs of a group that removed no member, less the latest ones of each purpose. Of previews
// only the latest is left: its plan, which may take 100 KB, says all that the ones before it said. A preview of named
// accounts and one of all members say nothing of each other, and evictions of single accounts, which may be many, take
// the place of neither. A run whose cooldown lasts longer than those of the runs
// that are left is not surplus.
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
	type previewOf struct {
		purpose v1alpha1.PrunePurpose
		named   bool
	}
	var surplus []v1alpha1.PruneRun
	kept, previews := map[v1alpha1.PrunePurpose]int{}, map[previewOf]bool{}
	for i := range runs {
		run, purpose := &runs[i], PurposeOf(&runs[i])
		end, _ := Completion(run)
		previewed := end.Reason == v1alpha1.ReasonPreviewed
		of := previewOf{purpose, len(run.Spec.Accounts) > 0}
		room := kept[purpose] < retainedPerGroup || previewed && Evicts(run)
		if previewed && previews[of] || !room {
			surplus = append(surplus, *run)
			continue
		}
		kept[purpose]++
		previews[of] = previews[of] || previewed
		left = append(left, *run)
	}
	cooling := coolingUntil(left, cooldown, now)
	return slices.DeleteFunc(surplus, func(run v1alpha1.PruneRun) bool {
		cools := false
		for purpose, until := range coolingUntil([]v1alpha1.PruneRun{run}, cooldown, now) {
			cools = cools || until.After(later(now, cooling[purpose]))
			cooling[purpose] = later(cooling[purpose], until)
		}
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
