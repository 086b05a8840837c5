package convert

import (
	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// Refusal converts what a PruneRun has written down that matters to joins; false where nothing does. It goes by what is recorded, and by
// no clock: a refusal that is over is a record still.
//
// Accounts are refused from the moment that their batch is recorded, which is before the deletion is sent. Those that the run kept are
// not. An undo ends the refusal as soon as it is requested, and restores the accounts that it recorded until it is finished.
func Refusal(run *v1alpha1.PruneRun) (policy.Refusal, bool) {
	record := policy.Refusal{
		Namespace: run.Namespace,
		App:       run.Spec.AppRef.Name,
		Group:     run.Spec.GroupID,
		UID:       string(run.UID),
	}
	status := &run.Status
	switch {
	case status.Undo != nil:
		if !status.Undo.FinishedAt.IsZero() {
			return policy.Refusal{}, false
		}
		record.Restoring = true
		record.Accounts = restoredAccounts(status.Undo)
	case run.Spec.Undo != "", status.Refuse == nil:
		return policy.Refusal{}, false
	default:
		record.Until = status.Refuse.Until.Time
		record.Reject = policy.Rejection{Code: status.Refuse.Code, Message: status.Refuse.Message}
		record.Accounts = RemovedAccounts(run)
	}
	return record, len(record.Accounts) > 0
}

// RemovedAccounts returns the planned removals of a run that are done or under way, less those that it kept, in the order of the plan.
func RemovedAccounts(run *v1alpha1.PruneRun) []string {
	plan, progress := run.Status.Plan, run.Status.Progress
	if plan == nil || progress == nil {
		return nil
	}
	// What the cache keeps of a plan may be shorter than the progress: only those that went.
	begun := plan.Removals[:min(max(0, int(progress.Settled)+int(progress.InFlight)), len(plan.Removals))]
	kept := make(map[string]struct{}, len(run.Status.Kept))
	for i := range run.Status.Kept {
		kept[run.Status.Kept[i].Account] = struct{}{}
	}
	accounts := make([]string, 0, len(begun))
	for i := range begun {
		if _, stays := kept[begun[i].Account]; !stays {
			accounts = append(accounts, begun[i].Account)
		}
	}
	return accounts
}

func restoredAccounts(undo *v1alpha1.PruneUndo) []string {
	accounts := make([]string, len(undo.Accounts))
	for i := range undo.Accounts {
		accounts[i] = undo.Accounts[i].Account
	}
	return accounts
}
