package prunerun

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// WantsUndo reports whether an undo of the run was requested and has not ended. Such a run is kept, whatever its age.
func WantsUndo(run *v1alpha1.PruneRun) bool {
	return run.Spec.Undo == v1alpha1.UndoRequested && Finished(run) && !UndoEnded(run) && run.DeletionTimestamp.IsZero()
}

// Undoing reports whether an undo is recorded and has not ended: from there on accounts may be coming back.
func Undoing(run *v1alpha1.PruneRun) bool { return WantsUndo(run) && run.Status.Undo != nil }

// UndoEnded reports whether an undo is recorded and has ended.
func UndoEnded(run *v1alpha1.PruneRun) bool {
	return run.Status.Undo != nil && !run.Status.Undo.FinishedAt.IsZero()
}

// NewUndo is the record of an undo that begins: of the accounts that the run removed or may have removed, those that
// were active last come first, since the free seats may not suffice for all.
func NewUndo(run *v1alpha1.PruneRun, now time.Time) *v1alpha1.PruneUndo {
	accounts := RemovedAccounts(run)
	slices.Reverse(accounts)
	undo := &v1alpha1.PruneUndo{
		StartedAt: metav1.NewTime(now),
		Accounts:  make([]v1alpha1.RestoredAccount, len(accounts)),
	}
	for i, account := range accounts {
		undo.Accounts[i] = v1alpha1.RestoredAccount{Account: account, Result: v1alpha1.RestoreResultPending}
	}
	return undo
}

// MayHaveRemovedAgain reports whether accounts that run removed may have come back and been removed by later, whose
// undo was not requested. The order of the plans is that of the removals: a member that comes back after a plan was
// made is not removed by it.
func MayHaveRemovedAgain(later, run *v1alpha1.PruneRun) bool {
	return HasPlan(run) && HasPlan(later) && later.Spec.Undo == "" && RemovedMembers(later) &&
		later.Status.Plan.CreatedAt.After(run.Status.Plan.CreatedAt.Time)
}

// AccountsWith are the accounts of an undo that have this result, in order.
func AccountsWith(undo *v1alpha1.PruneUndo, result v1alpha1.RestoreResult) []string {
	var accounts []string
	for _, restored := range undo.Accounts {
		if restored.Result == result {
			accounts = append(accounts, restored.Account)
		}
	}
	return accounts
}

// ApplyResults puts results, by account, into the record of an undo.
func ApplyResults(undo *v1alpha1.PruneUndo, results map[string]v1alpha1.RestoreResult) {
	undo.Added = 0
	for i := range undo.Accounts {
		restored := &undo.Accounts[i]
		if result, ok := results[restored.Account]; ok {
			restored.Result = result
		}
		if restored.Result == v1alpha1.RestoreResultAdded {
			undo.Added++
		}
	}
}

// FinishUndo ends the record of an undo. Accounts that are still pending were not added.
func FinishUndo(undo *v1alpha1.PruneUndo, now time.Time) {
	for i := range undo.Accounts {
		if restored := &undo.Accounts[i]; restored.Result == v1alpha1.RestoreResultPending {
			restored.Result = v1alpha1.RestoreResultFailed
		}
	}
	undo.FinishedAt = metav1.NewTime(now)
}
