package prunerun

import (
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// refusalMemory is for how long plans leave out accounts that the vendor refused to remove.
const refusalMemory = 7 * 24 * time.Hour

// Progress is how far the plan is carried out; zero before the first batch.
func Progress(run *v1alpha1.PruneRun) v1alpha1.PruneProgress {
	if run.Status.Progress == nil {
		return v1alpha1.PruneProgress{}
	}
	return *run.Status.Progress
}

// OpenPositions is how many positions of the plan are not settled, those of the batch in flight among them.
func OpenPositions(run *v1alpha1.PruneRun) int { return len(openRemovals(run)) }

// InFlight is the batch in flight, less the accounts that are recorded as kept.
func InFlight(run *v1alpha1.PruneRun) []v1alpha1.PlannedRemoval {
	return NextBatch(run, int(Progress(run).InFlight))
}

// NextBatch is the first n open positions, less the accounts that are recorded as kept: a batch that was given up
// before anything of it happened leaves such accounts behind, and they must neither be removed after all nor be
// recorded twice.
func NextBatch(run *v1alpha1.PruneRun, n int) []v1alpha1.PlannedRemoval {
	open := openRemovals(run)
	return withoutKept(run, open[:min(max(n, 0), len(open))])
}

// RemovedAccounts are the accounts that are removed or in flight, in the order of the plan.
func RemovedAccounts(run *v1alpha1.PruneRun) []string {
	if run.Status.Plan == nil || run.Status.Progress == nil {
		return nil
	}
	begun := int(run.Status.Progress.Settled) + int(run.Status.Progress.InFlight)
	removals := withoutKept(run, run.Status.Plan.Removals[:min(max(begun, 0), len(run.Status.Plan.Removals))])
	accounts := make([]string, len(removals))
	for i := range removals {
		accounts[i] = removals[i].Account
	}
	return accounts
}

func openRemovals(run *v1alpha1.PruneRun) []v1alpha1.PlannedRemoval {
	if run.Status.Plan == nil {
		return nil
	}
	removals := run.Status.Plan.Removals
	return removals[min(max(int(Progress(run).Settled), 0), len(removals)):]
}

func withoutKept(run *v1alpha1.PruneRun, removals []v1alpha1.PlannedRemoval) []v1alpha1.PlannedRemoval {
	if len(removals) == 0 {
		return nil
	}
	kept := make(map[string]struct{}, len(run.Status.Kept))
	for i := range run.Status.Kept {
		kept[run.Status.Kept[i].Account] = struct{}{}
	}
	rest := make([]v1alpha1.PlannedRemoval, 0, len(removals))
	for i := range removals {
		if _, stays := kept[removals[i].Account]; !stays {
			rest = append(rest, removals[i])
		}
	}
	return rest
}

// RefusedByVendor are the accounts that finished runs of a group kept because the vendor refused to remove them, of the
// last 7 days, and as far as there are records.
func RefusedByVendor(runs []v1alpha1.PruneRun, now time.Time) map[string]struct{} {
	refused := map[string]struct{}{}
	for i := range runs {
		run := &runs[i]
		end, ended := Completion(run)
		if !ended || now.Sub(Happened(run, end.LastTransitionTime.Time, now)) >= refusalMemory {
			continue
		}
		for _, kept := range run.Status.Kept {
			if kept.Reason == v1alpha1.KeptReasonVendorRefused {
				refused[kept.Account] = struct{}{}
			}
		}
	}
	return refused
}
