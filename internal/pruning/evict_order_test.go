package pruning

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// full makes the group of inhabited full of idlers i1 to i10, whom the list admits, and lets the policy prune it.
func (w *world) full(rule v1alpha1.PruneRule) {
	w.t.Helper()
	idlers := numbered("i", 10)
	w.Put(fullGroup, emulator.MemberSpec{Accounts: idlers, InactiveFor: "60d"})
	w.admit(idlers...)
	w.Resize(fullGroup, len(w.Members(fullGroup)))
	rule.InactiveFor = "30d"
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
		p.Spec.WhenFull = &v1alpha1.WhenFullSection{Prune: &rule}
	})
	w.Publish()
}

func TestEvictionThatWaitsDoesNotLeaveAGroupFull(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit func(*v1alpha1.JoinSection)
		slip func(*world, *replica)
		want string
	}{
		"for approval":  {func(j *v1alpha1.JoinSection) { j.Evict.Mode = v1alpha1.PruneModeApprove }, nil, awaiting},
		"for its grace": {nil, nil, inGraceWait},
		"for a list": {nil, func(w *world, r *replica) {
			w.Clock.Forward(grace + time.Second)
			w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.Join.Allow.Lists = append(p.Spec.Join.Allow.Lists, v1alpha1.AccountListReference{Name: "guests"})
			})
			w.Publish()
			r.mustStep("evict")
		}, "Complete=False/ListUnresolved"},
		"for the budget": {func(j *v1alpha1.JoinSection) { j.Evict.MaxRemovalsPerDay = 1 }, func(w *world, r *replica) {
			w.Clock.Forward(grace + time.Second)
			r.mustStep("evict")
			w.evict("evict-too", v1alpha1.PruneTriggerRound)
			r.mustStep("evict-too")
		}, "Complete=True/Removed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := inhabited(t, 2, func(j *v1alpha1.JoinSection) {
				if tc.edit != nil {
					tc.edit(j)
				}
			})
			w.full(v1alpha1.PruneRule{Mode: v1alpha1.PruneModeEnforce, FreeSeats: seats(5), Cooldown: "1m"})
			r := w.replica()
			w.evict("evict", v1alpha1.PruneTriggerRound)
			r.mustStep("evict")
			if tc.slip != nil {
				tc.slip(w, r)
			}
			wantConditions(t, w.Get("evict"), "Planned=True/Planned", tc.want)
			w.Run("one", v1alpha1.PruneTriggerManual)
			run := r.finish("one")
			wantConditions(t, run, "Planned=True/Planned", removedCondition)
			if strings.HasPrefix(planOf(run)[0], "s") || run.Status.Removed == 0 {
				t.Errorf("removed %d: %v", run.Status.Removed, planOf(run))
			}
		})
	}
}

func TestFullGroupThatWaitsDoesNotHoldUpEvictions(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 2)
	w.full(v1alpha1.PruneRule{Mode: v1alpha1.PruneModeApprove, FreeSeats: seats(5)})
	r := w.replica()
	w.Run("one", v1alpha1.PruneTriggerManual)
	r.mustStep("one")
	wantConditions(t, w.Get("one"), "Planned=True/Planned", awaiting)
	if run := w.evicted(r, "evict"); run.Status.Removed != 2 {
		t.Errorf("removed %d, want 2", run.Status.Removed)
	}
	wantConditions(t, w.Get("one"), "Planned=True/Planned", awaiting)

	// From the approval on, the other goes first.
	w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{"s9"}, JoinedAgo: "1h"})
	w.Clock.Forward(time.Minute)
	w.evict("again", v1alpha1.PruneTriggerRound)
	r.mustStep("again")
	w.Clock.Forward(grace + time.Second)
	w.Decide("one", v1alpha1.ApprovalApproved)
	r.mustStep("again")
	wantConditions(t, w.Get("again"), "Planned=True/Planned", "Complete=False/Queued")
	wantConditions(t, r.finish("one"), "Planned=True/Planned", removedCondition)
	wantConditions(t, r.finish("again"), "Planned=True/Planned", evictedNow)
}

func TestBudgetsOfThePurposesAreApart(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 5, func(j *v1alpha1.JoinSection) { j.Evict.MaxRemovalsPerDay = 3 })
	w.full(v1alpha1.PruneRule{Mode: v1alpha1.PruneModeEnforce, FreeSeats: seats(9), MaxRemovalsPerDay: 4})
	first := w.replica()
	if run := w.evicted(first, "one"); run.Status.Removed != 3 || len(planOf(run)) != 3 {
		t.Fatalf("removed %d, planned %d, want 3", run.Status.Removed, len(planOf(run)))
	}
	w.Run("seats", v1alpha1.PruneTriggerManual)
	if run := first.finish("seats"); run.Status.Removed != 4 {
		t.Errorf("removed %d from a full group, want 4", run.Status.Removed)
	}
	// The next leader fills its ledgers from the records.
	second := w.replica()
	second.term = 2
	for name, want := range map[string]string{"two": "join.evict", "more": "whenFull.prune"} {
		if name == "two" {
			w.evict(name, v1alpha1.PruneTriggerRound)
		} else {
			w.Run(name, v1alpha1.PruneTriggerManual)
		}
		second.mustStep(name)
		run := w.Get(name)
		wantConditions(t, run, "Planned=False/BudgetExhausted")
		if message := run.Status.Conditions[0].Message; !strings.Contains(message, want+".maxRemovalsPerDay") {
			t.Errorf("message = %q", message)
		}
	}
}

func TestEvictionIsResumedAfterACrash(t *testing.T) {
	t.Parallel()
	for name, point := range map[string]struct {
		what string
		nth  int
	}{
		"at its last look": {apiNamed, 1}, "during its deletion": {apiDelete, 1}, "after its deletion": {apiNamed, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := inhabited(t, 5)
			before := w.Members(fullGroup)
			w.evict("one", v1alpha1.PruneTriggerRound)
			first := w.replica()
			first.mustStep("one")
			w.Clock.Forward(grace + time.Second)
			w.Once(point.what, point.nth, first.kill)
			_, err := first.step("one")
			must(t, err)
			if prunerun.Finished(w.Get("one")) {
				t.Fatal("the run has ended")
			}
			// In the meantime one is put on the list, which matters if nobody is gone yet.
			w.admit("s1")
			w.Publish()
			second := w.replica()
			second.term = 2
			run := second.finish("one")
			wantConditions(t, run, "Planned=True/Planned", evictedNow)
			gone := without(before, w.Members(fullGroup))
			if int(run.Status.Removed) != len(gone) || len(gone)+len(run.Status.Kept) != 5 {
				t.Errorf("removed %d, gone %v, kept %v", run.Status.Removed, gone, run.Status.Kept)
			}
			if stays := point.what == apiNamed && point.nth == 1; stays == slices.Contains(gone, "s1") {
				t.Errorf("gone %v", gone)
			}
		})
	}
}

func TestAccountsThatTheVendorRefusesToEvictAreLeftOut(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 2)
	w.evict("one", v1alpha1.PruneTriggerRound)
	w.editRecord("one", func(run *v1alpha1.PruneRun) {
		prunerun.SetCondition(run, w.Clock.Now(), v1alpha1.ConditionComplete, "True", "Removed", "Done.")
		run.Status.Kept = []v1alpha1.KeptAccount{{Account: "s1", Reason: v1alpha1.KeptReasonVendorRefused}}
	})
	w.evict("two", v1alpha1.PruneTriggerRound)
	w.replica().mustStep("two")
	run := w.Get("two")
	if diff := cmp.Diff([]string{"s2"}, planOf(run)); diff != "" || run.Status.Plan.Stay.Unknown != 1 {
		t.Errorf("stay %+v, plan (-want,+got)\n%s", run.Status.Plan.Stay, diff)
	}
}

func TestUndoOfAnEvictionAsksTheGate(t *testing.T) {
	t.Parallel()
	strangers := numbered("s", 3)
	all := func(result v1alpha1.RestoreResult) map[string]v1alpha1.RestoreResult {
		return allWith(strangers, result)
	}
	tests := map[string]struct {
		before  func(*world)
		want    map[string]v1alpha1.RestoreResult
		message string
	}{
		"that refuses them": {func(*world) {}, all("StillRefused"), "3 are still refused by the gate of the group"},
		"that admits one": {
			func(w *world) { w.admit("s2") },
			map[string]v1alpha1.RestoreResult{"s1": "StillRefused", "s2": "Added", "s3": "StillRefused"},
			"1 of 3 accounts is back; 2 are still refused",
		},
		"that admits all": {func(w *world) { w.admit(strangers...) }, all("Added"), "3 of 3 accounts are back"},
		"without a rule that evicts": {
			func(w *world) { w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.Join.Evict = nil }) },
			all("StillRefused"), "3 are still refused",
		},
		"that is gone": {
			func(w *world) { w.Remove(&v1alpha1.GroupPolicy{}, "lounge") }, all("Added"), "3 of 3 accounts are back",
		},
		"that admits them by one trigger": {
			func(w *world) {
				w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
					p.Spec.Join.Evict, p.Spec.Join.Triggers = nil, []v1alpha1.JoinTrigger{"Apply", "Invite"}
				})
			},
			all("Added"), "3 of 3 accounts are back",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := inhabited(t, len(strangers))
			r := w.replica()
			w.evicted(r, "one")
			before := w.Members(fullGroup)
			tc.before(w)
			w.RequestUndo("one")
			r.mustStep("one") // the snapshot is behind
			if name != "that refuses them" && prunerun.UndoEnded(w.Get("one")) {
				t.Fatalf("the undo has ended by a gate that the API server does not have: %v", restored(w.Get("one")))
			}
			w.Publish()
			run := r.finishUndo("one")
			wantRestored(t, run, tc.want)
			got := undoneCondition(run)
			if got.Reason != v1alpha1.ReasonUndone || !strings.Contains(got.Message, tc.message) {
				t.Errorf("condition = %+v", got)
			}
			var back []string
			for account, result := range tc.want {
				if result == v1alpha1.RestoreResultAdded {
					back = append(back, account)
				}
			}
			wantMembers(t, w, before, back)
		})
	}
}

func TestUndoOfAnEvictionWaitsForTheLists(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 1)
	r := w.replica()
	w.evicted(r, "one")
	w.Remove(&v1alpha1.AccountList{}, "members")
	w.Publish()
	w.RequestUndo("one")
	r.mustStep("one")
	if got := undoneCondition(w.Get("one")); got.Reason != v1alpha1.ReasonListUnresolved ||
		!strings.Contains(got.Message, "members") {
		t.Errorf("condition = %+v", got)
	}
	w.list("members", nil, "s1")
	w.Publish()
	wantRestored(t, r.finishUndo("one"), allWith([]string{"s1"}, "Added"))
}

func TestRunOfAnOlderVersionFreesSeats(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 2)
	w.full(v1alpha1.PruneRule{Mode: v1alpha1.PruneModeEnforce, FreeSeats: seats(2)})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	old := w.Get("one")
	old.Spec.Purpose = ""
	if prunerun.PurposeOf(old) != v1alpha1.PrunePurposeFreeSeats || prunerun.Evicts(old) {
		t.Errorf("purpose = %s", prunerun.PurposeOf(old))
	}
	run := w.replica().finish("one")
	if diff := cmp.Diff([]string{"i1", "i10"}, planOf(run)); diff != "" {
		t.Errorf("plan (-want,+got)\n%s", diff)
	}
	if got := labtest.Kept(run); len(got) != 0 {
		t.Errorf("kept %v", got)
	}
}
