package prunerun_test

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const freeSeats = v1alpha1.PrunePurposeFreeSeats

// minutes is a time within the hour of all tests.
func minutes(n int) time.Time { return time.Date(2026, 11, 20, 12, n, 0, 0, time.UTC) }

// named is a run that nothing was done for yet.
func named(name string, created int) v1alpha1.PruneRun {
	return v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(minutes(created)),
	}}
}

// with edits a copy of run.
func with(run v1alpha1.PruneRun, edits ...func(*v1alpha1.PruneRun)) v1alpha1.PruneRun {
	run = *run.DeepCopy()
	for _, edit := range edits {
		edit(&run)
	}
	return run
}

// ended ends a run at minute of the hour.
func ended(condition, reason string, minute int) func(*v1alpha1.PruneRun) {
	return func(run *v1alpha1.PruneRun) {
		run.Status.Conditions = append(run.Status.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionTrue, Reason: reason,
			LastTransitionTime: metav1.NewTime(minutes(minute)),
		})
	}
}

func completed(reason string, minute int) func(*v1alpha1.PruneRun) {
	return ended(v1alpha1.ConditionComplete, reason, minute)
}

func foundFull(run *v1alpha1.PruneRun) {
	run.Status.Group = &v1alpha1.PruneGroupRecord{Type: v1alpha1.GroupTypePublic, Members: 20, MaxMembers: 20}
}

// plan gives a run a plan of these accounts.
func plan(mode v1alpha1.PruneMode, accounts ...string) func(*v1alpha1.PruneRun) {
	return func(run *v1alpha1.PruneRun) {
		run.Status.Policy = &v1alpha1.PrunePolicyRecord{Mode: mode}
		run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(minutes(0))}
		for _, account := range accounts {
			run.Status.Plan.Removals = append(run.Status.Plan.Removals, v1alpha1.PlannedRemoval{Account: account})
		}
	}
}

func progress(settled, inFlight int32) func(*v1alpha1.PruneRun) {
	return func(run *v1alpha1.PruneRun) {
		run.Status.Progress = &v1alpha1.PruneProgress{Settled: settled, InFlight: inFlight}
	}
}

func keeping(accounts ...string) func(*v1alpha1.PruneRun) {
	return func(run *v1alpha1.PruneRun) {
		for _, account := range accounts {
			run.Status.Kept = append(run.Status.Kept, v1alpha1.KeptAccount{Account: account})
		}
	}
}

func evicts(run *v1alpha1.PruneRun)        { run.Spec.Purpose = v1alpha1.PrunePurposeEvict }
func approved(run *v1alpha1.PruneRun)      { run.Spec.Approval = v1alpha1.ApprovalApproved }
func undoRequested(run *v1alpha1.PruneRun) { run.Spec.Undo = v1alpha1.UndoRequested }
func undoBegun(run *v1alpha1.PruneRun)     { run.Status.Undo = &v1alpha1.PruneUndo{} }
func deleted(run *v1alpha1.PruneRun)       { run.DeletionTimestamp = &metav1.Time{Time: minutes(4)} }

func undoEnded(minute int) func(*v1alpha1.PruneRun) {
	return func(run *v1alpha1.PruneRun) {
		run.Status.Undo = &v1alpha1.PruneUndo{FinishedAt: metav1.NewTime(minutes(minute))}
	}
}
