package prunerun_test

import (
	"strings"
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
		if first := prunerun.First(runs, freeSeats); first == nil || first.Name != want {
			t.Fatalf("first of %d is %v, want %s", len(runs), first, want)
		}
		runs = runs[:len(runs)-1]
	}
	if first := prunerun.First(runs, freeSeats); first != nil {
		t.Errorf("%s has nothing left to do", first.Name)
	}
	runs = []v1alpha1.PruneRun{named("b", 1), named("a", 1), named("c", 0)}
	if first := prunerun.First(runs, freeSeats); first.Name != "c" {
		t.Errorf("first = %s, want the oldest", first.Name)
	}
	if first := prunerun.First(runs[:2], freeSeats); first.Name != "a" {
		t.Errorf("first = %s, want the one whose name sorts first", first.Name)
	}
}

func TestFirstRunOfAGroupByPurpose(t *testing.T) {
	reason := func(reason string) func(*v1alpha1.PruneRun) {
		return func(run *v1alpha1.PruneRun) {
			run.Status.Conditions = []metav1.Condition{{
				Type: v1alpha1.ConditionComplete, Status: metav1.ConditionFalse, Reason: reason,
			}}
		}
	}
	breaker := func(run *v1alpha1.PruneRun) { run.Status.Plan.Breaker = "would remove 340 of 400 members" }
	seats := named("seats", 1)
	enforced := with(seats, plan(v1alpha1.PruneModeEnforce))
	begun := with(enforced, progress(1, 0))
	awaiting := with(seats, plan(v1alpha1.PruneModeApprove), reason("AwaitingApproval"))
	evict := with(named("evict", 0), evicts)
	planned := with(evict, plan(v1alpha1.PruneModeEnforce))
	undone := func(run v1alpha1.PruneRun) v1alpha1.PruneRun {
		return with(run, completed("Removed", 1), undoRequested)
	}
	tests := map[string]struct {
		seats, evict v1alpha1.PruneRun
		want         string // for a run that frees seats, and for one that evicts
	}{
		"neither has a plan":         {seats, evict, "seats evict"},
		"both have one":              {enforced, planned, "seats seats"},
		"both have begun":            {begun, with(planned, progress(1, 0)), "seats seats"},
		"the eviction has begun":     {enforced, with(planned, progress(1, 0)), "seats seats"},
		"the other has not":          {seats, with(planned, progress(1, 0)), "seats evict"},
		"a batch of the eviction":    {begun, with(planned, progress(0, 1)), "evict evict"},
		"a batch of the other":       {with(enforced, progress(0, 1)), planned, "seats seats"},
		"an undo of the eviction":    {begun, undone(planned), "evict evict"},
		"an undo of the other":       {undone(enforced), planned, "seats seats"},
		"a batch before an undo":     {with(enforced, progress(0, 1)), undone(planned), "seats seats"},
		"a removal":                  {with(enforced, reason("Removing")), planned, "seats seats"},
		"one that waits its turn":    {with(enforced, reason("Queued")), planned, "seats seats"},
		"an outage of the vendor":    {with(enforced, reason("VendorUnavailable")), planned, "seats seats"},
		"the budget is exhausted":    {with(begun, reason("BudgetExhausted")), planned, "seats evict"},
		"the protection is missing":  {with(enforced, reason("ProtectionUnresolved")), planned, "seats evict"},
		"a person is to approve":     {awaiting, planned, "seats evict"},
		"a person has approved":      {with(awaiting, approved), planned, "seats seats"},
		"the eviction is no routine": {enforced, with(planned, breaker), "seats seats"},
		"an ended run":               {with(enforced, completed("Removed", 1)), planned, "none evict"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			runs, got := []v1alpha1.PruneRun{tc.seats, tc.evict}, []string{}
			for _, purpose := range []v1alpha1.PrunePurpose{freeSeats, v1alpha1.PrunePurposeEvict} {
				name := "none"
				if first := prunerun.First(runs, purpose); first != nil {
					name = first.Name
				}
				got = append(got, name)
			}
			if got := strings.Join(got, " "); got != tc.want {
				t.Errorf("first are %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPlanOfAnEviction(t *testing.T) {
	run := with(named("run", 0), evicts, plan(v1alpha1.PruneModeEnforce), func(run *v1alpha1.PruneRun) {
		run.Status.Plan.NotBefore = metav1.NewTime(minutes(10))
	})
	if prunerun.AwaitsApproval(&run) || prunerun.NeedsApproval(&run) {
		t.Error("a routine awaits approval")
	}
	if got := prunerun.PlanBegin(&run, minutes(5)); !got.Equal(minutes(10)) {
		t.Errorf("begins at %s, want ten minutes later", got)
	}
	end := minutes(10).Add(prunerun.PlanLife)
	if prunerun.PlanExpired(&run, end) || !prunerun.PlanExpired(&run, end.Add(time.Second)) {
		t.Error("the plan is not void a day after it might have begun")
	}
	ahead := with(run, func(run *v1alpha1.PruneRun) { // by a clock that was a month ahead for a moment
		run.Status.Plan.CreatedAt.Time = run.Status.Plan.CreatedAt.AddDate(0, 1, 0)
		run.Status.Plan.NotBefore.Time = run.Status.Plan.NotBefore.AddDate(0, 1, 0)
	})
	if got := prunerun.PlanBegin(&ahead, minutes(5)); !got.Equal(minutes(10)) {
		t.Errorf("begins at %s, want ten minutes after the run was created", got)
	}
	breaker := with(run, func(run *v1alpha1.PruneRun) { run.Status.Plan.Breaker = "would remove all" })
	if !prunerun.AwaitsApproval(&breaker) {
		t.Error("what is no routine does not await approval in mode Enforce")
	}
	if breaker.Spec.Approval = v1alpha1.ApprovalApproved; prunerun.AwaitsApproval(&breaker) {
		t.Error("a plan awaits an approval that it has")
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
		prunerun.SetNotice(run, v1alpha1.NoticeReceiverGroup, v1alpha1.NoticeResultSent, "", minutes(1))
	}
	tests := map[string]struct {
		edit func(*v1alpha1.PruneRun)
		want bool
	}{
		"what others write":       {foreign, true},
		"spec":                    {func(run *v1alpha1.PruneRun) { run.Generation++ }, false},
		"another run of the name": {func(run *v1alpha1.PruneRun) { run.UID = "other" }, false},
		"deletion":                {deleted, false},
		"progress":                {progress(1, 0), false},
		"one of our conditions":   {completed("Superseded", 1), false},
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

func TestRunSaysWhetherItWaitsForAPerson(t *testing.T) {
	breaker := func(run *v1alpha1.PruneRun) { run.Status.Plan.Breaker = "would remove 340 of 400 members" }
	denied := func(run *v1alpha1.PruneRun) { run.Spec.Approval = v1alpha1.ApprovalDenied }
	planned := func(mode v1alpha1.PruneMode, edits ...func(*v1alpha1.PruneRun)) v1alpha1.PruneRun {
		return with(named("run", 0), append([]func(*v1alpha1.PruneRun){plan(mode, "a")}, edits...)...)
	}
	for name, tc := range map[string]struct {
		run  v1alpha1.PruneRun
		want bool
	}{
		"no plan":                {named("run", 0), false},
		"mode Approve":           {planned(v1alpha1.PruneModeApprove), true},
		"mode Enforce":           {planned(v1alpha1.PruneModeEnforce), false},
		"a breaker":              {planned(v1alpha1.PruneModeEnforce, breaker), true},
		"an eviction":            {planned(v1alpha1.PruneModeApprove, evicts), true},
		"mode Preview":           {planned(v1alpha1.PruneModePreview), false},
		"approved":               {planned(v1alpha1.PruneModeApprove, approved), false},
		"approved, of a breaker": {planned(v1alpha1.PruneModeEnforce, breaker, approved), false},
		"denied":                 {planned(v1alpha1.PruneModeApprove, denied), false},
		"ended":                  {planned(v1alpha1.PruneModeApprove, completed("Expired", 1)), false},
		"being deleted":          {planned(v1alpha1.PruneModeApprove, deleted), false},
	} {
		t.Run(name, func(t *testing.T) {
			run := tc.run
			prunerun.Refresh(&run)
			if run.Status.AwaitsApproval != tc.want || prunerun.Lags(&run) {
				t.Errorf("awaitsApproval is %t, want %t; lags %t", run.Status.AwaitsApproval, tc.want,
					prunerun.Lags(&run))
			}
			if run.Status.AwaitsApproval = !tc.want; !prunerun.Lags(&run) {
				t.Error("a value that an older version left behind goes unnoticed")
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
	prunerun.Refresh(&run)
	var types []string
	for _, c := range run.Status.Conditions {
		types = append(types, c.Type)
	}
	if diff := cmp.Diff([]string{"Planned", "Complete", "Undone"}, types); diff != "" || prunerun.Lags(&run) {
		t.Errorf("lags %t, order (-want,+got)\n%s", prunerun.Lags(&run), diff)
	}
}
