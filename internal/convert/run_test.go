package convert

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// removingRun is a run that has recorded the removal of all of its plan.
func removingRun(until time.Time, accounts ...string) *v1alpha1.PruneRun {
	run := &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "one"},
		Spec:       v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: "lounge"},
		Status: v1alpha1.PruneRunStatus{
			Plan:     &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(until), Candidates: int32(len(accounts))},
			Progress: &v1alpha1.PruneProgress{InFlight: int32(len(accounts))},
			Refuse:   &v1alpha1.PruneRefusal{Until: metav1.NewTime(until), Code: 10120, Message: "Come back later"},
		},
	}
	for _, account := range accounts {
		run.Status.Plan.Removals = append(run.Status.Plan.Removals, v1alpha1.PlannedRemoval{
			Account: account, LastActiveAt: metav1.NewTime(until), Reason: v1alpha1.RemovalReasonInactive,
		})
	}
	return run
}

func TestPackedRunHasNoAccountsButThoseThatMatterToJoins(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	undo := func(end time.Time, accounts ...v1alpha1.RestoredAccount) *v1alpha1.PruneUndo {
		return &v1alpha1.PruneUndo{FinishedAt: metav1.NewTime(end), Added: 1, Accounts: accounts}
	}
	restored := v1alpha1.RestoredAccount{Account: "i1"}
	cases := map[string]struct {
		change func(*v1alpha1.PruneRun)
		want   []string // refused or restored
		undo   *v1alpha1.PruneUndo
	}{
		"Refusing":      {change: func(*v1alpha1.PruneRun) {}, want: []string{"i1", "i3"}},
		"NotBegun":      {change: func(r *v1alpha1.PruneRun) { r.Status.Progress, r.Status.Kept = nil, nil }},
		"NothingToSay":  {change: func(r *v1alpha1.PruneRun) { r.Status.Refuse = nil }},
		"NoPlan":        {change: func(r *v1alpha1.PruneRun) { r.Status.Plan = nil }},
		"RefusalOver":   {change: func(r *v1alpha1.PruneRun) { r.Status.Refuse.Until = metav1.NewTime(now) }},
		"UndoRequested": {change: func(r *v1alpha1.PruneRun) { r.Spec.Undo = v1alpha1.UndoRequested }},
		"UndoUnderWay": {
			change: func(r *v1alpha1.PruneRun) { r.Status.Undo = undo(time.Time{}, restored) },
			want:   []string{"i1"}, undo: undo(time.Time{}, restored),
		},
		"Undone": {
			change: func(r *v1alpha1.PruneRun) { r.Status.Undo = undo(now, restored) },
			want:   []string{"i1"}, undo: undo(now),
		},
		"UndoneLongAgo": {
			change: func(r *v1alpha1.PruneRun) { r.Status.Undo = undo(now.Add(-lateReports), restored) },
			undo:   undo(now.Add(-lateReports)),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := removingRun(now.Add(time.Hour), "i1", "i2", "i3", "i4")
			run.Status.Progress = &v1alpha1.PruneProgress{Settled: 2, InFlight: 1}
			run.Status.Kept = []v1alpha1.KeptAccount{{Account: "i2", Reason: v1alpha1.KeptReasonActiveAgain}}
			run.Status.Removed = 1
			tc.change(run)
			want := run.DeepCopy()
			want.Status.Kept, want.Status.Undo = nil, tc.undo
			if want.Status.Plan != nil {
				want.Status.Plan.Removals = nil
			}
			for range 2 { // as informers do
				PackRun(run, now)
				var got []string
				if refusal, ok := Refusal(run); ok {
					got = refusal.Accounts
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("refused or restored (-want,+got):\n%s", diff)
				}
				if diff := cmp.Diff(want.Status, run.Status); diff != "" {
					t.Errorf("status of the packed run (-want,+got):\n%s", diff)
				}
			}
		})
	}
}

func TestPackedRunSaysWhetherItNamedAccounts(t *testing.T) {
	finished := []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}}
	for name, tc := range map[string]struct {
		accounts   []string
		conditions []metav1.Condition
		want       []string
	}{
		"finished":            {[]string{"a", "b", "c"}, finished, []string{"a"}},
		"finished, of one":    {[]string{"a"}, finished, []string{"a"}},
		"finished, of all":    {nil, finished, nil},
		"still to be planned": {[]string{"a", "b"}, nil, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			run := &v1alpha1.PruneRun{}
			run.Spec.Accounts, run.Status.Conditions = tc.accounts, tc.conditions
			for range 2 {
				PackRun(run, time.Now())
				if diff := cmp.Diff(tc.want, run.Spec.Accounts); diff != "" {
					t.Errorf("accounts (-want,+got):\n%s", diff)
				}
			}
		})
	}
}

// Whatever a run has recorded, and however often the cache stores it, the packed run decides joins as the run itself
// does.
func TestPackedRunsDecideJoinsAsTheRunsDo(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	accounts := []string{"i1", "i2", "i3", "i4", "i5", "i\u00fc"}
	rapid.Check(t, func(t *rapid.T) {
		n := func(label string, most int) int { return rapid.IntRange(0, most).Draw(t, label) }
		until := now.Add(time.Duration(n("until", 4)) * time.Minute)
		run := removingRun(until, accounts[:n("planned", len(accounts))]...)
		run.Status.Progress = &v1alpha1.PruneProgress{
			Settled: int32(n("settled", 7)), InFlight: int32(n("inFlight", 7)),
		}
		for _, account := range rapid.SliceOfDistinct(rapid.SampledFrom(accounts), rapid.ID).Draw(t, "kept") {
			run.Status.Kept = append(run.Status.Kept, v1alpha1.KeptAccount{Account: account})
		}
		switch n("odd", 9) {
		case 0:
			run.Status.Refuse = nil
		case 1:
			run.Status.Plan = nil
		case 2:
			run.Status.Progress = nil
		}
		if n("finished", 4) > 0 {
			run.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}
		}
		undo := n("undo", 6)
		if undo < 3 {
			run.Spec.Undo = v1alpha1.UndoRequested
		}
		if undo < 2 {
			run.Status.Undo = &v1alpha1.PruneUndo{StartedAt: metav1.NewTime(now)}
			for _, account := range accounts[:n("undone", len(accounts))] {
				run.Status.Undo.Accounts = append(run.Status.Undo.Accounts, v1alpha1.RestoredAccount{Account: account})
			}
		}
		if undo < 1 {
			run.Status.Undo.FinishedAt = metav1.NewTime(now)
		}
		packed := run.DeepCopy()
		for at := now; n("stored", 2) > 0; at = at.Add(time.Duration(n("later", 6)) * time.Minute) {
			PackRun(packed, at)
			if diff := cmp.Diff(refusalAt(run, at), refusalAt(packed, at)); diff != "" {
				t.Fatalf("refusal (-run,+packed):\n%s", diff)
			}
			for name, state := range map[string]func(*v1alpha1.PruneRun) bool{
				"WantsUndo": prunerun.WantsUndo, "Undoing": prunerun.Undoing, "HasPlan": prunerun.HasPlan,
			} {
				if state(run) != state(packed) {
					t.Fatalf("%s: %t for the run, %t packed", name, state(run), state(packed))
				}
			}
		}
	})
}

// refusalAt is what the run says to joins, nil if that is nothing at the time.
func refusalAt(run *v1alpha1.PruneRun, now time.Time) *policy.Refusal {
	refusal, ok := Refusal(run)
	if !ok || !refusal.Restoring && !now.Before(refusal.Until) {
		return nil
	}
	return &refusal
}
