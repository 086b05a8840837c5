package runs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/runs"
)

const slip = "would remove 3 of 12 members: is the list complete?"

// evicting has a plan that evicts three members of a group of 12, made an hour ago, and waits for a person.
func evicting(name, group string, changes ...func(*v1alpha1.PruneRun)) v1alpha1.PruneRun {
	return run(name, group, append([]func(*v1alpha1.PruneRun){since(1), func(r *v1alpha1.PruneRun) {
		r.Spec.Purpose, r.Spec.Trigger = v1alpha1.PrunePurposeEvict, v1alpha1.PruneTriggerRound
		r.Status.Policy = &v1alpha1.PrunePolicyRecord{Name: "vip", Generation: 1, Mode: v1alpha1.PruneModeEnforce}
		r.Status.Group = &v1alpha1.PruneGroupRecord{Members: 12, MaxMembers: 60}
		r.Status.Plan = &v1alpha1.PrunePlan{
			CreatedAt: r.CreationTimestamp, NotBefore: metav1.NewTime(now.Add(-50 * time.Minute)), Candidates: 3,
			Stay: v1alpha1.PlanStay{Admitted: 6, Admin: 2, InGrace: 1}, Breaker: slip,
			Removals: []v1alpha1.PlannedRemoval{
				{
					Account: "mallory", LastActiveAt: day(time.November, 20), Reason: v1alpha1.RemovalReasonDenied,
					Policy: "banned", List: "banned-0",
				},
				{
					Account: "oscar", LastActiveAt: day(time.November, 19), Reason: v1alpha1.RemovalReasonDenied,
					Policy: "banned",
				},
				{
					Account: "trudy\x1b[2J", LastActiveAt: day(time.April, 24),
					Reason: v1alpha1.RemovalReasonNotListed, Policy: "vip",
				},
			},
		}
		condition(v1alpha1.ConditionPlanned, metav1.ConditionTrue, v1alpha1.ReasonPlanned)(r)
		condition(v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)(r)
	}}, changes...)...)
}

// inGrace is a routine whose plan has not stood for its grace.
func inGrace(r *v1alpha1.PruneRun) {
	r.Status.Plan.Breaker, r.Status.Plan.NotBefore = "", metav1.NewTime(now.Add(7*time.Minute))
	condition(v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonInGrace)(r)
}

func TestListSaysWhatRunsAreFor(t *testing.T) {
	all := []v1alpha1.PruneRun{
		waiting("w1", "club-oslo"), evicting("e1", "vip-rome"), evicting("e2", "vip-bern", inGrace),
	}
	list := runs.NewList(all, "chat", false, now)
	want := `
GROUP       PURPOSE     STATE              TO GO     REMOVED   LAST ACTIVE        VOID IN   POLICY   RUN
club-oslo   FreeSeats   AwaitingApproval   3 of 60   0         Jan 25 to Jul 24   21h       club     w1
vip-rome    Evict       AwaitingApproval   3 of 12   0         Apr 24 to Nov 20   23h       vip      e1
vip-bern    Evict       InGrace            3 of 12   0         Apr 24 to Nov 20   24h       vip      e2
`
	if diff := cmp.Diff(want, text(t, list)); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"run e1 " + slip}, list.Advice()); diff != "" {
		t.Errorf("advice (-want,+got)\n%s", diff)
	}
	if r := list.Runs[2]; r.NotBefore == nil || !r.NotBefore.Equal(now.Add(7*time.Minute)) || r.AwaitsApproval ||
		!r.VoidAt.Equal(now.Add(24*time.Hour+7*time.Minute)) {
		t.Errorf("%+v", r)
	}
	for purpose, want := range map[v1alpha1.PrunePurpose]int{
		"": 3, v1alpha1.PrunePurposeFreeSeats: 1, v1alpha1.PrunePurposeEvict: 2,
	} {
		if got := len(runs.WithPurpose(all, purpose)); got != want {
			t.Errorf("%d runs for %q, want %d", got, purpose, want)
		}
	}
}

func TestReviewOfAnEviction(t *testing.T) {
	r := evicting("e1", "vip-rome")
	want := `
Run e1 of app prod would remove 3 of 12 members of vip-rome, by policy vip.
Stay: 6 admitted, 2 owner and admins, 1 in grace, 0 whose role or time of joining is not known, 0 for a later run.
It is no routine: the plan would remove 3 of 12 members: is the list complete?
Once approved, the leader removes those whom the gate still refuses.
The plan is void in 23h.
ACCOUNT          LAST ACTIVE                   WHY
mallory          Nov 20, 2026 (26 hours ago)   policy banned denies it, by AccountList banned-0
oscar            Nov 19, 2026 (2 days ago)     policy banned denies it
"trudy\x1b[2J"   Apr 24, 2026 (211 days ago)   policy vip does not list it
`
	review := runs.NewReview(&r, runs.Approve, false, nil, now)
	if diff := cmp.Diff(want, text(t, review)); diff != "" {
		t.Errorf("approve (-want,+got)\n%s", diff)
	}
	if got := review.Done(); !strings.Contains(got, "whom the gate still refuses") {
		t.Error(got)
	}
	r = evicting("e1", "vip-rome", inGrace)
	if _, _, err := runs.Find([]v1alpha1.PruneRun{r}, "e1", runs.Approve, now); err == nil {
		t.Error("a routine awaits approval")
	}
	got := runs.NewReview(&r, runs.Deny, false, nil, now).Sentence()
	if !strings.Contains(got, "still refuses, in 7m at the earliest, unless the run is denied.\n") ||
		strings.Contains(got, "routine") {
		t.Error(got)
	}
}

func TestReviewSaysWhoApprovedAndWhen(t *testing.T) {
	removed := func(r *v1alpha1.PruneRun) {
		r.Status.Removed, r.Status.Progress = 3, &v1alpha1.PruneProgress{Settled: 3}
	}
	approved := &v1alpha1.RecordedDecision{
		PruneDecision: v1alpha1.PruneDecision{By: "maria", Reason: "spring\x1b[2J"},
		RecordedAt:    metav1.NewTime(time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)),
	}
	tests := map[string]struct {
		verb runs.Verb
		run  v1alpha1.PruneRun
	}{
		"undo": {runs.Undo, evicting("e1", "vip-rome", ended(v1alpha1.ReasonRemoved), removed)},
		"deny": {runs.Deny, evicting("e1", "vip-rome", inGrace)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := tc.run
			sentence := func() string { return runs.NewReview(&r, tc.verb, false, nil, now).Sentence() }
			if got := sentence(); strings.Contains(got, "approved") {
				t.Errorf("without an approval: %q", got)
			}
			r.Status.Decisions = &v1alpha1.PruneDecisions{Approved: approved}
			const want = "\nmaria approved it on Nov 21, 2026, 09:30 UTC: spring [2J.\n"
			if got := sentence(); !strings.Contains(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			older := *approved
			older.RecordedAt = metav1.Time{}
			r.Status.Decisions.Approved = &older
			if got, want := sentence(), "\nmaria approved it: spring [2J.\n"; !strings.Contains(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestUndoOfAnEvictionAsksTheGate(t *testing.T) {
	r := evicting("e1", "vip-rome", ended(v1alpha1.ReasonRemoved), says(v1alpha1.ApprovalApproved))
	r.Status.Removed, r.Status.Progress = 3, &v1alpha1.PruneProgress{Settled: 3}
	review := runs.NewReview(&r, runs.Undo, false, nil, now)
	for got, want := range map[string]string{
		review.Sentence(): "The gate of the group decides who comes back: accounts that it still refuses stay out.",
		review.Question(): "Of 3 members, those whom the gate admits will be added back to vip-rome. Undo?",
		review.Done():     "adds the members back to vip-rome whom the gate admits now",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	r.Spec.Undo = v1alpha1.UndoRequested
	r.Status.Undo = &v1alpha1.PruneUndo{FinishedAt: metav1.NewTime(now), Accounts: []v1alpha1.RestoredAccount{
		{Account: "mallory", Result: v1alpha1.RestoreResultStillRefused},
		{Account: "trudy\x1b[2J", Result: v1alpha1.RestoreResultStillRefused},
		{Account: "oscar", Result: v1alpha1.RestoreResultAdded},
	}}
	_, _, err := runs.Find([]v1alpha1.PruneRun{r}, "e1", runs.Undo, now)
	const want = `undone once. It left out mallory, "trudy\x1b[2J", since the gate of the group still refused them`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if got := runs.NewList([]v1alpha1.PruneRun{r}, "chat", false, now).Runs[0].StillRefused; got != 2 {
		t.Errorf("%d still refused, want 2", got)
	}
}

func TestVoidPlanOfAnEviction(t *testing.T) {
	r := evicting("e1", "vip-rome", since(30))
	r.Status.Plan.CreatedAt = r.CreationTimestamp
	r.Status.Plan.NotBefore = metav1.NewTime(r.CreationTimestamp.Add(time.Hour))
	_, _, err := runs.Find([]v1alpha1.PruneRun{r}, "e1", runs.Approve, now)
	const want = "void since 2026-11-21T07:00:00Z: the next round, leak or edit of a list makes another run"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
