package convert

import (
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// lateReports is how long after an undo the vendor may report its additions.
const lateReports = 10 * time.Minute

// Refusal converts what a PruneRun, packed or not, has written down that matters to joins; false where nothing does. It
// goes by what is recorded, and by no clock: a refusal that is over is a record still.
//
// Accounts are refused from the moment that their batch is recorded, which is before the deletion is sent. Those that
// the run kept are not. An undo ends the refusal as soon as it is requested, and restores the accounts that it recorded
// until it is finished. Then it has restored them, for as long as that may be reported.
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
		record.Accounts = restoredAccounts(run)
		if finished := status.Undo.FinishedAt; finished.IsZero() {
			record.Restoring = true
		} else {
			record.Restored, record.Until = true, finished.Add(lateReports)
		}
	case run.Spec.Undo != "", status.Refuse == nil:
		return policy.Refusal{}, false
	default:
		record.Until = status.Refuse.Until.Time
		record.Reject = policy.Rejection{Code: status.Refuse.Code, Message: status.Refuse.Message}
		record.Accounts = removedAccounts(run)
	}
	return record, len(record.Accounts) > 0
}

func restoredAccounts(run *v1alpha1.PruneRun) []string {
	if packed, ok := accountsOfPacked(run); ok {
		return packed
	}
	undo := run.Status.Undo
	accounts := make([]string, len(undo.Accounts))
	for i := range undo.Accounts {
		accounts[i] = undo.Accounts[i].Account
	}
	return accounts
}
