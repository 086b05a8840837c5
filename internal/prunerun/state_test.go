package prunerun_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestFirstRunOfAGroup(t *testing.T) {
	removed := with(named("wanted", 1), plan(v1alpha1.PruneModeEnforce), completed("Removed", 1), undoRequested)
	begun := named("begun", 9)
	// From the last to the first: every run but those that need no work goes before those to the left of it.
	runs := []v1alpha1.PruneRun{
		with(removed, undoEnded(3)), with(removed, undoBegun, deleted), // nothing left to do
		named("waiting", 0),
		with(named("awaiting", 9), plan(v1alpha1.PruneModeApprove)),
		with(named("approved", 9), plan(v1alpha1.PruneModeApprove), approved),
		with(named("planned", 8), plan(v1alpha1.PruneModeEnforce)),
		with(begun, plan(v1alpha1.PruneModeEnforce), progress(1, 0)),
		removed,
		with(removed, undoBegun, func(run *v1alpha1.PruneRun) { run.Name = "undoing" }),
		with(named("removing", 9), plan(v1alpha1.PruneModeEnforce), progress(0, 1)),
	}
	for _, want := range []string{
		"removing", "undoing", "wanted", "begun", "planned", "approved", "awaiting", "waiting",
	} {
		if first := prunerun.First(runs); first == nil || first.Name != want {
			t.Fatalf("first of %d is %v, want %s", len(runs), first, want)
		}
		runs = runs[:len(runs)-1]
	}
	if first := prunerun.First(runs); first != nil {
		t.Errorf("%s has nothing left to do", first.Name)
	}
	if first := prunerun.First([]v1alpha1.PruneRun{named("b", 1), named("a", 1), named("c", 0)}); first.Name != "c" {
		t.Errorf("first = %s, want the oldest", first.Name)
	}
	if first := prunerun.First([]v1alpha1.PruneRun{named("b", 1), named("a", 1)}); first.Name != "a" {
		t.Errorf("first = %s, want the one whose name sorts first", first.Name)
	}
}

func TestWaitState(t *testing.T) {
	condition := func(conditionType, status, reason string, since int) func(*v1alpha1.PruneRun) {
		return func(run *v1alpha1.PruneRun) {
			run.Status.Conditions = append(run.Status.Conditions, metav1.Condition{
				Type: conditionType, Status: metav1.ConditionStatus(status), Reason: reason,
				LastTransitionTime: metav1.NewTime(minutes(since)),
			})
		}
	}
	pending := func(run *v1alpha1.PruneRun) { // as the schema has it
		run.Status.Conditions = []metav1.Condition{
			{Type: "Planned", Status: "Unknown", Reason: "Pending", LastTransitionTime: metav1.Unix(0, 0)},
		}
	}
	unplanned := named("run", 10)
	planned := with(unplanned, plan(v1alpha1.PruneModeApprove), condition("Planned", "True", "Planned", 11))
	undoing := with(planned, completed("Removed", 12), undoRequested)
	type wait struct {
		Reason string
		Since  time.Time
	}
	tests := map[string]struct {
		run  v1alpha1.PruneRun
		want wait
	}{
		"no condition yet":           {unplanned, wait{"Pending", minutes(10)}},
		"the condition of a new run": {with(unplanned, pending), wait{"Pending", minutes(10)}},
		"without a plan": {
			with(unplanned, condition("Planned", "False", "PolicyInvalid", 12)), wait{"PolicyInvalid", minutes(12)},
		},
		"with a plan": {
			with(planned, condition("Complete", "False", "AwaitingApproval", 12)),
			wait{"AwaitingApproval", minutes(12)},
		},
		"finished":      {with(planned, completed("Removed", 12)), wait{}},
		"being deleted": {with(planned, deleted), wait{}},
		"an undo waits for the vendor": {
			with(undoing, condition("Undone", "False", "VendorUnavailable", 30)),
			wait{"VendorUnavailable", minutes(30)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got wait
			var waits bool
			got.Reason, got.Since, waits = prunerun.WaitState(&tc.run)
			if diff := cmp.Diff(tc.want, got); diff != "" || waits != (tc.want != wait{}) {
				t.Errorf("waits %t (-want,+got)\n%s", waits, diff)
			}
		})
	}
}

func TestBatches(t *testing.T) {
	run := with(
		named("run", 0), plan(v1alpha1.PruneModeEnforce, "a", "b", "c", "d", "e"), progress(2, 2), keeping("b", "d"),
	)
	accounts := func(removals []v1alpha1.PlannedRemoval) (accounts []string) {
		for _, removal := range removals {
			accounts = append(accounts, removal.Account)
		}
		return accounts
	}
	if diff := cmp.Diff([]string{"c"}, accounts(prunerun.InFlight(&run))); diff != "" {
		t.Errorf("in flight (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"c", "e"}, accounts(prunerun.NextBatch(&run, 100))); diff != "" {
		t.Errorf("next batch (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "c"}, prunerun.RemovedAccounts(&run)); diff != "" {
		t.Errorf("removed (-want,+got)\n%s", diff)
	}
	if got := prunerun.OpenPositions(&run); got != 3 {
		t.Errorf("%d positions are open, want 3", got)
	}
	for name, broken := range map[string]v1alpha1.PruneRun{
		"no plan":                      named("run", 0),
		"more settled than planned":    with(run, progress(9, 1)),
		"fewer than none":              with(run, progress(-9, -1)),
		"a plan cut down by the cache": with(run, plan(v1alpha1.PruneModeEnforce), progress(5, 0)),
		"no batch yet":                 with(named("run", 0), plan(v1alpha1.PruneModeEnforce, "a")),
		"an empty plan":                with(named("run", 0), plan(v1alpha1.PruneModeEnforce)),
	} {
		if got := prunerun.InFlight(&broken); len(got) != 0 {
			t.Errorf("%s: in flight %v", name, got)
		}
	}
}

func TestUndoRecord(t *testing.T) {
	// The removal of the batch in flight is not certain, so that it is undone as well. Kept accounts are not.
	run := with(named("run", 0), plan(v1alpha1.PruneModeEnforce, "a", "b", "c", "d", "e"), progress(2, 2), keeping("b"))
	undo := prunerun.NewUndo(&run, minutes(5))
	pending := prunerun.AccountsWith(undo, v1alpha1.RestoreResultPending)
	if diff := cmp.Diff([]string{"d", "c", "a"}, pending); diff != "" {
		t.Errorf("accounts (-want,+got)\n%s", diff)
	}
	prunerun.ApplyResults(undo, map[string]v1alpha1.RestoreResult{"a": "Added", "d": "Refused", "x": "Added"})
	prunerun.ApplyResults(undo, map[string]v1alpha1.RestoreResult{"c": "Added"})
	want := []v1alpha1.RestoredAccount{
		{Account: "d", Result: "Refused"}, {Account: "c", Result: "Added"}, {Account: "a", Result: "Added"},
	}
	if diff := cmp.Diff(want, undo.Accounts); diff != "" || undo.Added != 2 {
		t.Errorf("added %d, accounts (-want,+got)\n%s", undo.Added, diff)
	}
}

func TestSameRecord(t *testing.T) {
	run := with(named("run", 0), plan(v1alpha1.PruneModeEnforce, "a"), completed("Removed", 1))
	foreign := func(run *v1alpha1.PruneRun) {
		run.ResourceVersion, run.Labels = "2", map[string]string{"team": "chat"}
		run.Status.Conditions = append(run.Status.Conditions, metav1.Condition{Type: "Seen", Status: "True"})
	}
	tests := map[string]struct {
		edit func(*v1alpha1.PruneRun)
		want bool
	}{
		"labels and foreign conditions": {foreign, true},
		"spec":                          {func(run *v1alpha1.PruneRun) { run.Generation++ }, false},
		"another run of the name":       {func(run *v1alpha1.PruneRun) { run.UID = "other" }, false},
		"deletion":                      {deleted, false},
		"progress":                      {progress(1, 0), false},
		"one of our conditions":         {completed("Superseded", 1), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			other := with(run, tc.edit)
			if got := prunerun.SameRecord(&run, &other); got != tc.want {
				t.Errorf("same = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestConditionsAreSortedAndObserveTheGeneration(t *testing.T) {
	run := with(named("run", 0), completed("Removed", 1))
	run.Generation = 3
	prunerun.SetCondition(&run, minutes(2), v1alpha1.ConditionUndone, metav1.ConditionFalse, "Undoing", "Adding.")
	prunerun.SetCondition(&run, minutes(2), v1alpha1.ConditionPlanned, metav1.ConditionTrue, "Planned", "Planned.")
	if !prunerun.Lags(&run) {
		t.Error("a condition about an earlier generation goes unnoticed")
	}
	prunerun.RefreshConditions(&run)
	var types []string
	for _, c := range run.Status.Conditions {
		types = append(types, c.Type)
	}
	if diff := cmp.Diff([]string{"Planned", "Complete", "Undone"}, types); diff != "" || prunerun.Lags(&run) {
		t.Errorf("lags %t, order (-want,+got)\n%s", prunerun.Lags(&run), diff)
	}
}
