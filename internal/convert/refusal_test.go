package convert_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

func TestRefusal(t *testing.T) {
	until := created.Add(7 * 24 * time.Hour)
	planned := func(accounts ...string) *v1alpha1.PrunePlan {
		plan := &v1alpha1.PrunePlan{}
		for _, account := range accounts {
			plan.Removals = append(plan.Removals, v1alpha1.PlannedRemoval{Account: account})
		}
		return plan
	}
	refusing := func(accounts ...string) *policy.Refusal {
		return &policy.Refusal{
			Namespace: "chat", App: "prod", Group: "lounge", UID: "uid", Run: "run",
			Accounts: accounts, Until: until, Reject: policy.Rejection{Code: 10110, Message: "Come back next week"},
		}
	}
	restoring := func(accounts ...string) *policy.Refusal {
		return &policy.Refusal{
			Namespace: "chat", App: "prod", Group: "lounge", UID: "uid", Run: "run",
			Accounts: accounts, Restoring: true,
		}
	}
	restored := func(accounts ...string) *policy.Refusal {
		return &policy.Refusal{
			Namespace: "chat", App: "prod", Group: "lounge", UID: "uid", Run: "run",
			Accounts: accounts, Restored: true, Until: created.Add(10 * time.Minute),
		}
	}
	undo := func(finished time.Time, accounts ...string) *v1alpha1.PruneUndo {
		u := &v1alpha1.PruneUndo{StartedAt: metav1.Time{Time: created}, FinishedAt: metav1.Time{Time: finished}}
		for _, account := range accounts {
			u.Accounts = append(u.Accounts, v1alpha1.RestoredAccount{
				Account: account, Result: v1alpha1.RestoreResultPending,
			})
		}
		return u
	}
	cases := map[string]struct {
		change func(*v1alpha1.PruneRun)
		want   *policy.Refusal // nil: joins are not concerned
	}{
		"Settled":        {func(r *v1alpha1.PruneRun) { r.Status.Progress.InFlight = 0 }, refusing("a", "c")},
		"InFlightCounts": {func(*v1alpha1.PruneRun) {}, refusing("a", "c", "d")},
		"NothingBegun":   {func(r *v1alpha1.PruneRun) { r.Status.Progress = &v1alpha1.PruneProgress{} }, nil},
		"NoProgress":     {func(r *v1alpha1.PruneRun) { r.Status.Progress = nil }, nil},
		"NoPlan":         {func(r *v1alpha1.PruneRun) { r.Status.Plan = nil }, nil},
		"AllKept":        {func(r *v1alpha1.PruneRun) { r.Status.Plan = planned("b", "b", "b", "b") }, nil},
		"NoRefusal":      {func(r *v1alpha1.PruneRun) { r.Status.Refuse = nil }, nil},
		"UndoRequested":  {func(r *v1alpha1.PruneRun) { r.Spec.Undo = v1alpha1.UndoRequested }, nil},
		"PlanCutToWhatWasRemoved": {
			func(r *v1alpha1.PruneRun) { r.Status.Plan, r.Status.Kept = planned("a", "c"), nil }, refusing("a", "c"),
		},
		"NonsenseProgress": {func(r *v1alpha1.PruneRun) { r.Status.Progress.Settled = -9 }, nil},
		"Restoring": {func(r *v1alpha1.PruneRun) {
			r.Spec.Undo, r.Status.Undo = v1alpha1.UndoRequested, undo(time.Time{}, "c", "a")
		}, restoring("c", "a")},
		"RestoringWithoutARefusal": {func(r *v1alpha1.PruneRun) {
			r.Status.Refuse, r.Spec.Undo, r.Status.Undo = nil, v1alpha1.UndoRequested, undo(time.Time{}, "c")
		}, restoring("c")},
		"NobodyToRestore": {func(r *v1alpha1.PruneRun) { r.Status.Undo = undo(time.Time{}) }, nil},
		"Restored":        {func(r *v1alpha1.PruneRun) { r.Status.Undo = undo(created, "c", "a") }, restored("c", "a")},
		"NobodyRestored":  {func(r *v1alpha1.PruneRun) { r.Status.Undo = undo(created) }, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := &v1alpha1.PruneRun{
				ObjectMeta: meta("run"),
				Spec:       v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: "lounge"},
				Status: v1alpha1.PruneRunStatus{
					Plan:     planned("a", "b", "c", "d", "e"),
					Progress: &v1alpha1.PruneProgress{Settled: 3, InFlight: 1},
					Kept:     []v1alpha1.KeptAccount{{Account: "b"}, {Account: "z"}},
					Refuse: &v1alpha1.PruneRefusal{
						Until: metav1.Time{Time: until}, Code: 10110, Message: "Come back next week",
					},
				},
			}
			run.ResourceVersion = "12"
			tc.change(run)
			record, ok := convert.Refusal(run)
			if ok != (tc.want != nil) {
				t.Fatalf("Record = %+v, %t", record, ok)
			}
			if !ok {
				return
			}
			if diff := cmp.Diff(*tc.want, record); diff != "" {
				t.Errorf("Record (-want,+got):\n%s", diff)
			}
		})
	}
}
