package convert

import (
	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// Refusal converts what a PruneRun, packed or not, has written down that matters to joins; false where nothing does. It
// goes by what is recorded, and by no clock: a refusal that is over is a record still.
//
// Accounts are refused from the moment that their batch is recorded, which is before the deletion is sent. Those that
// the run kept are not. An undo ends the refusal as soon as it is requested, and restores the accounts that it recorded
// until it is finished.
func Refusal(run *v1alpha1.PruneRun) (policy.Refusal, bool) {
	record := policy.Refusal{
		Namespace: run.Namespace,
		App:       run.Spec.AppRef.Name,
		Group:     run.Spec.GroupID,
		UID:       string(run.UID),
		Run:       run.Name,
	}
	status := &run.Status
	if group := status.Group; group != nil {
		record.SDKAppID = uint64(max(0, group.SDKAppID))
	}
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
		record.Accounts = removedAccounts(run)
	}
	return record, len(record.Accounts) > 0
}

func restoredAccounts(undo *v1alpha1.PruneUndo) []string {
	accounts := make([]string, len(undo.Accounts))
	for i := range undo.Accounts {
		accounts[i] = undo.Accounts[i].Account
	}
	return accounts
}
