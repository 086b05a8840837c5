package convert

import (
	"strings"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// refusedAccounts is the annotation in which a packed run holds the accounts of its Refusal. The API accepts no
	// space in the name of an annotation: no run comes from the API with it, and a packed run that refuses accounts
	// cannot be written to the API.
	refusedAccounts = "refused accounts"
	// accountSeparator is not UTF-8, and so in no account.
	accountSeparator = "\xff"
)

// PackRun drops the accounts from a run that is to be cached: the removals of the plan, the kept accounts less those
// that the vendor refused to remove, which the next plans leave out, and those of a finished undo. Only the record in
// the API has them then. A plan that awaits approval would take up to a hundred kilobytes on every replica, for a day.
// Of the accounts that a finished run was asked to look at, the first remains, which tells it from one that read the
// whole list.
//
// The accounts that the run refuses at the time now, or has added back shortly before, stay readable through Refusal.
// Packing a packed run drops them if that is over by then.
func PackRun(run *v1alpha1.PruneRun, now time.Time) {
	refusal, ok := Refusal(run)
	delete(run.Annotations, refusedAccounts)
	if ok && now.Before(refusal.Until) {
		if run.Annotations == nil {
			run.Annotations = map[string]string{}
		}
		run.Annotations[refusedAccounts] = strings.Join(refusal.Accounts, accountSeparator)
	}
	var refusedByVendor []v1alpha1.KeptAccount // without the memory of the others
	for _, kept := range run.Status.Kept {
		if kept.Reason == v1alpha1.KeptReasonVendorRefused {
			refusedByVendor = append(refusedByVendor, kept)
		}
	}
	run.Status.Kept = refusedByVendor
	if plan := run.Status.Plan; plan != nil {
		plan.Removals = nil
	}
	if named := run.Spec.Accounts; len(named) > 1 && prunerun.Finished(run) {
		run.Spec.Accounts = []string{named[0]} // without the memory of the others
	}
	if undo := run.Status.Undo; undo != nil && !undo.FinishedAt.IsZero() {
		undo.Accounts = nil
	}
}

// removedAccounts are those that the run has removed or is removing.
func removedAccounts(run *v1alpha1.PruneRun) []string {
	if packed, ok := accountsOfPacked(run); ok {
		return packed
	}
	return prunerun.RemovedAccounts(run)
}

// accountsOfPacked are those that a packed run holds.
func accountsOfPacked(run *v1alpha1.PruneRun) ([]string, bool) {
	packed, ok := run.Annotations[refusedAccounts]
	return strings.Split(packed, accountSeparator), ok
}
