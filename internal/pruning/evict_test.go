package pruning

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestStrangersAreEvictedAfterTheGrace(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 4, func(j *v1alpha1.JoinSection) {
		j.Deny = &v1alpha1.AccountSelector{Accounts: []string{"t1"}, Lists: listNamed("banned")}
	})
	w.list("banned", nil, "t2")
	w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{"late"}, JoinedAgo: "9m"})
	w.Publish()
	before := w.Members(fullGroup)
	r := w.replica()
	r.Metrics = NewMetrics(prometheus.NewRegistry())
	w.evict("one", v1alpha1.PruneTriggerRound)
	w.Forget()
	next, err := r.step("one")
	must(t, err)
	if next.After < grace || next.After > grace+2*time.Second {
		t.Errorf("the next Step is in %s, want the end of the grace", next.After)
	}
	run := w.Get("one")
	wantConditions(t, run, "Planned=True/Planned", inGraceWait)
	plan := run.Status.Plan
	if got := plan.NotBefore.Sub(plan.CreatedAt.Time); got < grace || got > grace+time.Second {
		t.Errorf("the plan stands for %s, want %s", got, grace)
	}
	if diff := cmp.Diff(v1alpha1.PlanStay{Admin: 2, Admitted: listed - 2, InGrace: 1}, plan.Stay); diff != "" {
		t.Errorf("stay (-want,+got)\n%s", diff)
	}
	type removal struct {
		Account      string
		Reason       v1alpha1.RemovalReason
		Policy, List string
	}
	var got []removal
	for _, r := range plan.Removals {
		got = append(got, removal{r.Account, r.Reason, r.Policy, r.List})
	}
	want := []removal{
		{"s1", "NotListed", "lounge", ""}, {"s2", "NotListed", "lounge", ""}, {"s3", "NotListed", "lounge", ""},
		{"s4", "NotListed", "lounge", ""}, {"t1", "Denied", "lounge", ""}, {"t2", "Denied", "lounge", "banned"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("removals (-want,+got)\n%s", diff)
	}
	if record := run.Status.Policy; record.Name != "lounge" || record.Mode != "Enforce" || len(record.RuleHash) != 16 {
		t.Errorf("policy = %+v", record)
	}
	w.Clock.Forward(grace - 5*time.Second)
	r.mustStep("one")
	if w.Happened(apiDelete) != 0 {
		t.Fatal("members are evicted before the plan has stood for its grace")
	}
	w.Clock.Forward(10 * time.Second)
	run = r.finish("one")
	wantConditions(t, run, "Planned=True/Planned", evictedNow)
	gone := []string{"s1", "s2", "s3", "s4", "t1", "t2"}
	if diff := cmp.Diff(without(before, gone), w.Members(fullGroup)); diff != "" || run.Status.Removed != 6 {
		t.Errorf("removed %d, members (-want,+got)\n%s", run.Status.Removed, diff)
	}
	if run.Status.Refuse != nil {
		t.Errorf("an eviction keeps accounts out by itself: %+v", run.Status.Refuse)
	}
	for _, text := range append(w.Events.Notes(), fmt.Sprint(run.Status.Conditions)) {
		if strings.Contains(text, "inactive") || strings.Contains(text, "was removed") {
			t.Errorf("words of another purpose: %s", text)
		}
	}
	if got := testutil.ToFloat64(r.Metrics.removed.WithLabelValues("Evict")); got != 6 {
		t.Errorf("%v evictions are counted", got)
	}
	if got := testutil.ToFloat64(r.Metrics.runs.WithLabelValues("Evict", "Enforce", "Removed")); got != 1 {
		t.Errorf("%v runs are counted", got)
	}
}

func TestNothingIsEvicted(t *testing.T) {
	t.Parallel()
	evict := func(edit func(*v1alpha1.EvictRule)) func(*v1alpha1.JoinSection) {
		return func(j *v1alpha1.JoinSection) { edit(j.Evict) }
	}
	tests := map[string]struct {
		strangers int
		edit      func(*v1alpha1.JoinSection)
		meanwhile func(*world)
		accounts  []string
		want      []string
		message   string
	}{
		"in a group of listed members": {want: []string{"Planned=True/Planned", "Complete=True/NothingToRemove"}},
		"in mode Preview": {
			strangers: 1, edit: evict(func(r *v1alpha1.EvictRule) { r.Mode = v1alpha1.PruneModePreview }),
			want:    []string{"Planned=True/Planned", "Complete=True/Previewed"},
			message: "1 of 1 member refused by the gate",
		},
		"in mode Preview, beyond the breaker": {
			strangers: 20, edit: evict(func(r *v1alpha1.EvictRule) { r.Mode = v1alpha1.PruneModePreview }),
			want:    []string{"Planned=True/Planned", "Complete=True/Previewed"},
			message: "This plan would remove 20 of 62 members",
		},
		"without a rule": {
			strangers: 1, edit: func(j *v1alpha1.JoinSection) { j.Evict = nil },
			want: []string{"Planned=False/NotGoverned", "Complete=True/NotGoverned"}, message: "join.evict",
		},
		"while pruning is suspended": {
			strangers: 1, meanwhile: func(w *world) { w.Suspend(v1alpha1.PruningSuspended) },
			want: []string{"Planned=False/Suspended", "Complete=True/Suspended"},
		},
		"of accounts that left": {
			strangers: 1, accounts: []string{"gone"},
			want: []string{"Planned=True/Planned", "Complete=True/NothingToRemove"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var edits []func(*v1alpha1.JoinSection)
			if tc.edit != nil {
				edits = append(edits, tc.edit)
			}
			w := inhabited(t, tc.strangers, edits...)
			if tc.meanwhile != nil {
				tc.meanwhile(w)
			}
			w.evict("one", v1alpha1.PruneTriggerRound, tc.accounts...)
			run := w.replica().finish("one")
			wantConditions(t, run, tc.want...)
			if end, _ := prunerun.Completion(run); !strings.Contains(end.Message, tc.message) {
				t.Errorf("message = %q, want %q in it", end.Message, tc.message)
			}
			if w.Happened(apiDelete) != 0 {
				t.Error("members are evicted")
			}
		})
	}
}

func TestNamedAccountsAreAskedForAndWaitForTheirGrace(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 3, func(j *v1alpha1.JoinSection) { j.Allow.AccountPrefixes = []string{"m"} })
	w.Resize(fullGroup, 1000)
	w.Put(fullGroup, emulator.MemberSpec{Prefix: "m", Count: listedThough, JoinedAgo: "2h"})
	w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{"late"}, JoinedAgo: "4m"})
	w.evict("one", v1alpha1.PruneTriggerLeak, "late", "t1", "gone")
	r := w.replica()
	next, err := r.step("one")
	must(t, err)
	wantConditions(t, w.Get("one"), "Planned=False/InGrace")
	if next.After < 6*time.Minute || next.After > 6*time.Minute+2*time.Second {
		t.Errorf("the next Step is in %s, want 6m", next.After)
	}
	if run := w.Get("one"); run.Status.Plan != nil || Wakes(w.Store.Load(), run) {
		t.Error("a run that waits for a time has a plan, or is woken by edits")
	}
	w.Clock.Forward(next.After)
	r.mustStep("one")
	run := w.Get("one")
	wantConditions(t, run, "Planned=True/Planned", inGraceWait)
	if diff := cmp.Diff([]string{"late"}, planOf(run)); diff != "" || run.Status.Plan.Stay.Admitted != 1 {
		t.Errorf("stay %+v, plan (-want,+got)\n%s", run.Status.Plan.Stay, diff)
	}
	if Wakes(w.Store.Load(), run) {
		t.Error("a plan that stands is woken by edits that leave it as it is")
	}
	w.Clock.Forward(grace + time.Second)
	if run = r.finish("one"); run.Status.Removed != 1 {
		t.Errorf("removed %d, want 1", run.Status.Removed)
	}
	if got := w.Happened(apiList); got != 0 {
		t.Errorf("the list of members was read %d times", got)
	}
}

// An exact count of the ordinary members keeps a single stranger in a small group from being more than a routine.
func TestStrangerInASmallGroupIsARoutine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 12, 0)
	w.Resize(fullGroup, 100)
	w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{"s1", "s2"}, JoinedAgo: "2h"})
	w.list("members", nil, numbered("t", 12)...)
	w.joinPolicy("lounge", &v1alpha1.JoinSection{
		Allow: &v1alpha1.AccountSelector{Lists: listNamed("members")},
		Evict: &v1alpha1.EvictRule{Mode: v1alpha1.PruneModeEnforce},
	})
	w.Publish()
	w.evict("one", v1alpha1.PruneTriggerLeak, "s1")
	w.replica().mustStep("one")
	run := w.Get("one")
	wantConditions(t, run, "Planned=True/Planned", inGraceWait)
	if diff := cmp.Diff([]string{"s1"}, planOf(run)); diff != "" || run.Status.Plan.Breaker != "" {
		t.Errorf("breaker %q, plan (-want,+got)\n%s", run.Status.Plan.Breaker, diff)
	}
}

func TestRunWaitsForTheGraceOfAllItsAccounts(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 1)
	w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{"late"}, JoinedAgo: "4m"})
	w.evict("one", v1alpha1.PruneTriggerLeak, "s1", "late")
	r := w.replica()
	r.mustStep("one")
	wantConditions(t, w.Get("one"), "Planned=False/InGrace")
	w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{"s1"}, JoinedAgo: "1m"}) // joined again
	w.Clock.Forward(grace + time.Second)
	w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{"late"}, JoinedAgo: "1m"})
	r.mustStep("one")
	run := w.Get("one")
	wantConditions(t, run, "Planned=True/Planned", inGraceWait)
	if diff := cmp.Diff([]string{"s1"}, planOf(run)); diff != "" || run.Status.Plan.Stay.InGrace != 1 {
		t.Errorf("stay %+v, plan (-want,+got)\n%s", run.Status.Plan.Stay, diff)
	}
}

func TestEndOfAGraceThatNothingWaitsFor(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 1, func(j *v1alpha1.JoinSection) { j.Evict.Grace = "0m" })
	w.evict("one", v1alpha1.PruneTriggerManual)
	run := w.replica().finish("one")
	wantConditions(t, run, "Planned=True/Planned", evictedNow)
	if !run.Status.Plan.NotBefore.IsZero() {
		t.Errorf("not before %s", run.Status.Plan.NotBefore)
	}
}

func TestPlanOfAnEvictionThatIsVoidDoesNotWait(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*v1alpha1.GroupPolicy){
		"Superseded":  func(p *v1alpha1.GroupPolicy) { p.Spec.Join.Evict.MaxRemovals = 7 },
		"NotGoverned": func(p *v1alpha1.GroupPolicy) { p.Spec.Join.Evict = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := inhabited(t, 1)
			w.evict("one", v1alpha1.PruneTriggerRound)
			r := w.replica()
			r.mustStep("one")
			w.editPolicy("lounge", edit)
			w.Publish()
			if !Wakes(w.Store.Load(), w.Get("one")) {
				t.Error("the edit does not wake the run")
			}
			r.mustStep("one")
			wantConditions(t, w.Get("one"), "Planned=True/Planned", "Complete=True/"+name)
		})
	}
}

func TestBreakers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		strangers int
		most      int32  // maxRemovals
		want      string // in the breaker; "" for a routine
		removed   int32
	}{
		"a fifth":                  {strangers: 10, most: 100},
		"more than a fifth":        {11, 100, "would remove 11 of 53 members: is the list complete?", 11},
		"no more than maxRemovals": {strangers: 3, most: 3},
		"more than maxRemovals":    {4, 3, "would remove 4 of 46 members", 3},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := inhabited(t, tc.strangers, func(j *v1alpha1.JoinSection) { j.Evict.MaxRemovals = tc.most })
			w.evict("one", v1alpha1.PruneTriggerRound)
			r := w.replica()
			r.mustStep("one")
			run := w.Get("one")
			breaker := run.Status.Plan.Breaker
			if !strings.Contains(breaker, tc.want) || (tc.want == "") != (breaker == "") {
				t.Fatalf("breaker = %q, want %q", breaker, tc.want)
			}
			if tc.want == "" {
				wantConditions(t, run, "Planned=True/Planned", inGraceWait)
				return
			}
			wantConditions(t, run, "Planned=True/Planned", awaiting)
			if message := run.Status.Conditions[1].Message; !strings.Contains(message, tc.want) {
				t.Errorf("message = %q", message)
			}
			if !slices.ContainsFunc(w.Events.Notes(), func(note string) bool {
				return strings.HasPrefix(note, "AwaitingApproval: This plan "+tc.want)
			}) {
				t.Errorf("events = %q", w.Events.Notes())
			}
			w.Clock.Forward(23 * time.Hour)
			r.mustStep("one")
			if w.Happened(apiDelete) != 0 {
				t.Fatal("members are evicted without approval")
			}
			w.Decide("one", v1alpha1.ApprovalApproved)
			run = r.finish("one")
			wantConditions(t, run, "Planned=True/Planned", evictedNow)
			if run.Status.Removed != tc.removed {
				t.Errorf("removed %d, want %d", run.Status.Removed, tc.removed)
			}
			if run.Status.Decisions == nil || run.Status.Decisions.Approved == nil {
				t.Error("there is no record of the approval")
			}
		})
	}
}

func TestApprovedPlanOfAnEvictionStandsForItsGrace(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 1, func(j *v1alpha1.JoinSection) { j.Evict.Mode = v1alpha1.PruneModeApprove })
	w.evict("one", v1alpha1.PruneTriggerRound)
	r := w.replica()
	r.mustStep("one")
	wantConditions(t, w.Get("one"), "Planned=True/Planned", awaiting)
	w.Decide("one", v1alpha1.ApprovalApproved)
	r.mustStep("one")
	wantConditions(t, w.Get("one"), "Planned=True/Planned", inGraceWait)
	w.Clock.Forward(grace + time.Second)
	wantConditions(t, r.finish("one"), "Planned=True/Planned", evictedNow)
}

func TestApprovalOfAnEvictionExpiresADayAfterTheGrace(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 1, func(j *v1alpha1.JoinSection) {
		j.Evict.Mode, j.Evict.Grace = v1alpha1.PruneModeApprove, "1h"
	})
	w.evict("one", v1alpha1.PruneTriggerRound)
	r := w.replica()
	r.mustStep("one")
	w.Clock.Forward(25*time.Hour - time.Second)
	r.mustStep("one")
	wantConditions(t, w.Get("one"), "Planned=True/Planned", awaiting)
	w.Clock.Forward(3 * time.Second)
	r.mustStep("one")
	wantConditions(t, w.Get("one"), "Planned=True/Planned", "Complete=True/Expired")
}

// One account after the other is taken off the list by mistake, of 40. After six evictions, the seventh is more than a
// fifth of the 34 ordinary members that are left.
func TestTenSmallSlipsInAWeek(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 0)
	r := w.replica()
	slip := func(n int) {
		w.editList("members", func(l *v1alpha1.AccountList) {
			l.Spec.Accounts = slices.DeleteFunc(l.Spec.Accounts,
				func(account string) bool { return account == fmt.Sprint("t", n) })
		})
		w.Publish()
		w.evict(fmt.Sprint("slip-", n), v1alpha1.PruneTriggerVerdictChange)
		r.mustStep(fmt.Sprint("slip-", n))
	}
	n := 1
	for ; n <= 6; n++ {
		slip(n)
		wantConditions(t, w.Get(fmt.Sprint("slip-", n)), "Planned=True/Planned", inGraceWait)
		w.Clock.Forward(16 * time.Hour)
		if run := r.finish(fmt.Sprint("slip-", n)); run.Status.Removed != 1 {
			t.Fatalf("slip %d: removed %d", n, run.Status.Removed)
		}
	}
	for ; n <= 10; n++ {
		slip(n)
		name := fmt.Sprint("slip-", n)
		run := w.Get(name)
		wantConditions(t, run, "Planned=True/Planned", awaiting)
		if !strings.Contains(run.Status.Plan.Breaker, "without approval in the last 7 days") {
			t.Errorf("breaker = %q", run.Status.Plan.Breaker)
		}
		w.Clock.Forward(time.Hour)
		if n == 7 { // approved ones do not count
			w.Decide(name, v1alpha1.ApprovalApproved)
			r.finish(name)
			continue
		}
		w.Decide(name, v1alpha1.ApprovalDenied)
		r.finish(name)
	}
	w.admit("t8", "t9", "t10")
	w.Clock.Forward(7 * 24 * time.Hour)
	slip(11)
	wantConditions(t, w.Get("slip-11"), "Planned=True/Planned", inGraceWait)
}

func TestUncertainGateEvictsNobody(t *testing.T) {
	t.Parallel()
	home := map[string]string{"group": "lounge"}
	bySelector := func(j *v1alpha1.JoinSection) {
		j.Allow.Lists = []v1alpha1.AccountListReference{{Selector: &metav1.LabelSelector{MatchLabels: home}}}
	}
	byName := func(*v1alpha1.JoinSection) {}
	relabel := func(labels map[string]string) func(*world) {
		return func(w *world) { w.editList("members", func(l *v1alpha1.AccountList) { l.Labels = labels }) }
	}
	accounts := func(accounts ...string) func(*world) {
		return func(w *world) {
			w.editList("members", func(l *v1alpha1.AccountList) { l.Spec.Accounts = append([]string{}, accounts...) })
		}
	}
	tests := map[string]struct {
		edit       func(*v1alpha1.JoinSection)
		slip, mend func(*world)
		named      string
	}{
		"emptied": {byName, accounts(), accounts(numbered("t", listed)...), "members"},
		"deleted": {
			byName, func(w *world) { w.Remove(&v1alpha1.AccountList{}, "members") },
			func(w *world) { w.list("members", nil, numbered("t", listed)...) }, "members",
		},
		"relabelled": {bySelector, relabel(nil), relabel(home), "group"},
		"invalid": {
			byName,
			func(w *world) {
				w.joinPolicy("broken", &v1alpha1.JoinSection{Allow: &v1alpha1.AccountSelector{
					Lists: []v1alpha1.AccountListReference{{Selector: &metav1.LabelSelector{
						MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}},
					}}},
				}})
			},
			func(w *world) { w.Remove(&v1alpha1.GroupPolicy{}, "broken") }, "broken",
		},
	}
	for name, tc := range tests {
		begin := func(t *testing.T) (*world, *replica) {
			w := inhabited(t, 2, tc.edit)
			relabel(home)(w)
			w.Publish()
			w.evict("one", v1alpha1.PruneTriggerRound)
			return w, w.replica()
		}
		wantWait := func(t *testing.T, w *world, conditions ...string) {
			t.Helper()
			run := w.Get("one")
			wantConditions(t, run, conditions...)
			last := run.Status.Conditions[len(run.Status.Conditions)-1]
			if !strings.Contains(last.Message, tc.named) || !Wakes(w.Store.Load(), run) {
				t.Errorf("message = %q, want %q in it; woken by edits: %t", last.Message, tc.named,
					Wakes(w.Store.Load(), run))
			}
			if w.Happened(apiDelete) != 0 {
				t.Fatal("members are evicted")
			}
		}
		finish := func(t *testing.T, w *world, r *replica) {
			t.Helper()
			tc.mend(w)
			w.Publish()
			r.mustStep("one")
			w.Clock.Forward(grace + time.Second)
			run := r.finish("one")
			wantConditions(t, run, "Planned=True/Planned", evictedNow)
			if run.Status.Removed != 2 || len(run.Status.Kept) != 0 {
				t.Errorf("removed %d, kept %v, want the two strangers", run.Status.Removed, run.Status.Kept)
			}
		}
		t.Run(name+" before the plan", func(t *testing.T) {
			t.Parallel()
			w, r := begin(t)
			tc.slip(w)
			w.Publish()
			r.mustStep("one")
			wantWait(t, w, "Planned=False/ListUnresolved")
			finish(t, w, r)
		})
		t.Run(name+" before the plan, unseen by the snapshot", func(t *testing.T) {
			t.Parallel()
			w, r := begin(t)
			tc.slip(w)
			r.mustStep("one")
			if run := w.Get("one"); run.Status.Plan != nil {
				t.Fatalf("a plan was made: %+v", run.Status.Plan)
			}
			w.Publish()
			r.mustStep("one")
			wantWait(t, w, "Planned=False/ListUnresolved")
		})
		t.Run(name+" after the plan", func(t *testing.T) {
			t.Parallel()
			w, r := begin(t)
			r.mustStep("one")
			w.Clock.Forward(grace + time.Second)
			tc.slip(w)
			r.mustStep("one") // unseen by the snapshot
			if w.Happened(apiDelete) != 0 {
				t.Fatal("members are evicted by a gate that the API server does not have")
			}
			w.Publish()
			r.mustStep("one")
			wantWait(t, w, "Planned=True/Planned", "Complete=False/ListUnresolved")
			finish(t, w, r)
		})
	}
}

func TestListThatShrinksBetweenPlanAndBatchKeepsThePlan(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 2)
	w.evict("one", v1alpha1.PruneTriggerRound)
	r := w.replica()
	r.mustStep("one")
	w.editList("members", func(l *v1alpha1.AccountList) { l.Spec.Accounts = []string{"t1", "s1"} })
	w.Publish()
	w.Clock.Forward(grace + time.Second)
	run := r.finish("one")
	wantConditions(t, run, "Planned=True/Planned", evictedNow)
	want := map[string]v1alpha1.KeptReason{"s1": v1alpha1.KeptReasonAdmitted}
	if diff := cmp.Diff(want, labtest.Kept(run)); diff != "" || run.Status.Removed != 1 {
		t.Errorf("removed %d, kept (-want,+got)\n%s", run.Status.Removed, diff)
	}
}

// A policy that refused members is deleted, which the snapshot does not show yet.
func TestGateThatIsDeletedEvictsNobody(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 0)
	w.joinPolicy("other", &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{Accounts: []string{"t1"}}})
	w.Publish()
	w.evict("one", v1alpha1.PruneTriggerRound)
	r := w.replica()
	w.Remove(&v1alpha1.GroupPolicy{}, "other")
	r.mustStep("one")
	if run := w.Get("one"); run.Status.Plan != nil {
		t.Fatalf("planned %v", planOf(run))
	}
	w.joinPolicy("other", &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{Accounts: []string{"t1"}}})
	w.Publish()
	r.mustStep("one")
	w.Remove(&v1alpha1.GroupPolicy{}, "other")
	w.Clock.Forward(grace + time.Second)
	r.mustStep("one")
	if w.Happened(apiDelete) != 0 {
		t.Fatal("t1 is evicted")
	}
	w.Publish()
	run := r.finish("one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=True/NothingToRemove")
}
