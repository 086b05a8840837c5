package pruning

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const awaiting = "Complete=False/AwaitingApproval"

// approving is enforcing with mode Approve, planned and waiting.
func approving(t *testing.T) (*world, *replica) {
	t.Helper()
	w := newWorld(t)
	w.Group(fullGroup, 5, 250)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModeApprove, FreeSeats: seats(plannedRemovals),
		MaxRemovals: 1000, RejoinAfter: "7d"})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	r.mustStep("one")
	return w, r
}

func TestPlanAwaitsApproval(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	run := w.Get("one")
	wantConditions(t, run, "Planned=True/Planned", awaiting)
	if got := len(planOf(run)); got != plannedRemovals || run.Status.Policy.Mode != v1alpha1.PruneModeApprove {
		t.Errorf("%d are planned in mode %s, want %d", got, run.Status.Policy.Mode, plannedRemovals)
	}
	w.Forget()
	// With thousands of waiting runs, a list of those of its group for each of them would be most of the load.
	r.Live = brokenReader{Reader: w.Client, broken: func(object any) bool {
		_, isList := object.(client.ObjectList)
		return isList
	}}
	for range 3 {
		r.mustStep("one")
	}
	if len(w.Calls()) != 0 {
		t.Errorf("Steps of a waiting run: %v, want no call and no patch", w.Calls())
	}
	if got := w.Happened(apiDelete); got != 0 {
		t.Errorf("%d deletions without approval", got)
	}
}

// waiting are the names of the runs that wait for a person, as the API server selects them.
func (w *world) waiting() []string {
	w.t.Helper()
	list, err := manifests.WaitingRuns(w.t.Context(), w.Client, w.Namespace)
	must(w.t, err)
	names := []string{}
	for i := range list {
		names = append(names, list[i].Name)
	}
	return names
}

func (w *world) wantWaiting(when string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), w.waiting()); diff != "" {
		w.t.Errorf("%s, the runs that wait are (-want,+got)\n%s", when, diff)
	}
}

func TestPlanThatAwaitsApprovalIsFoundByAFieldSelector(t *testing.T) {
	t.Parallel()
	t.Run("to free seats", func(t *testing.T) {
		t.Parallel()
		w, r := approving(t)
		w.RunFor("unplanned", "@elsewhere", v1alpha1.PruneTriggerGroupFull)
		w.wantWaiting("once it is planned", "one")
		w.Decide("one", v1alpha1.ApprovalApproved)
		w.wantWaiting("once it is approved, before the leader acts")
		w.Before(apiDelete, func() {
			if w.Get("one").Status.AwaitsApproval {
				t.Error("members are removed by a plan that awaits approval")
			}
		})
		r.finish("one")
		w.wantWaiting("once it has ended")
	})
	t.Run("to evict", func(t *testing.T) {
		t.Parallel()
		w := inhabited(t, 1, func(j *v1alpha1.JoinSection) { j.Evict.Mode = v1alpha1.PruneModeApprove })
		w.evict("one", v1alpha1.PruneTriggerRound)
		r := w.replica()
		r.mustStep("one")
		w.wantWaiting("once it is planned", "one")
		w.Decide("one", v1alpha1.ApprovalApproved)
		r.mustStep("one")
		if run := w.Get("one"); run.Status.AwaitsApproval {
			t.Error("an approved plan in its grace still awaits approval")
		}
	})
	t.Run("that is denied", func(t *testing.T) {
		t.Parallel()
		w, r := approving(t)
		w.Decide("one", v1alpha1.ApprovalDenied)
		w.wantWaiting("before the leader acts")
		if run := r.finish("one"); run.Status.AwaitsApproval {
			t.Error("a denied plan still awaits approval")
		}
	})
	t.Run("that becomes void", func(t *testing.T) {
		t.Parallel()
		w, r := approving(t)
		w.Clock.Forward(prunerun.PlanLife + time.Minute)
		r.finish("one")
		w.wantWaiting("once it is void")
	})
	t.Run("in mode Preview", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.Group(fullGroup, 5, 250)
		w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, FreeSeats: seats(plannedRemovals)})
		w.Run("one", v1alpha1.PruneTriggerGroupFull)
		w.EachPatch(func(run *v1alpha1.PruneRun, send func() error) error {
			if run.Status.AwaitsApproval {
				t.Error("a preview awaits approval")
			}
			return send()
		})
		w.replica().finish("one")
		w.wantWaiting("after a preview")
	})
	t.Run("unless the definition lacks the field", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		err := w.Client.List(t.Context(), &v1alpha1.PruneRunList{}, client.MatchingFields{"status.later": "true"})
		if !apierrors.IsBadRequest(err) {
			t.Errorf("an unknown field gives %v, want what WaitingRuns takes for one", err)
		}
	})
	t.Run("recorded by an older version", func(t *testing.T) {
		t.Parallel()
		w, r := approving(t)
		w.editRecord("one", func(run *v1alpha1.PruneRun) { run.Status.AwaitsApproval = false })
		w.wantWaiting("as the older version left it")
		r.mustStep("one")
		w.wantWaiting("after the next Step", "one")
		w.Decide("one", v1alpha1.ApprovalDenied)
		r.finish("one")
		w.editRecord("one", func(run *v1alpha1.PruneRun) { run.Status.AwaitsApproval = true })
		r.mustStep("one")
		if run := w.Get("one"); run.Status.AwaitsApproval {
			t.Error("a run that has ended awaits approval")
		}
	})
}

func TestApprovedPlanIsCarriedOutAsRecorded(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	planned := planOf(w.Get("one"))
	before := w.Members(fullGroup)
	// Two of the plan are not to go any more, and another member would by now.
	_, err := w.Emulator.Speak(t.Context(), fullGroup, planned[0])
	must(t, err)
	_, err = w.Emulator.Quit(t.Context(), fullGroup, planned[1])
	must(t, err)
	_, err = w.Emulator.PutMembers(t.Context(), fullGroup,
		emulator.MemberSpec{Accounts: []string{"older"}, InactiveFor: "400d", JoinedAgo: "500d"})
	must(t, err)
	w.Decide("one", v1alpha1.ApprovalApproved)

	run := r.finish("one")
	wantConditions(t, run, "Planned=True/Planned", removedCondition)
	if diff := cmp.Diff(planned, planOf(run)); diff != "" {
		t.Errorf("the plan changed (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{planned[0]: "ActiveAgain", planned[1]: "Left"},
		labtest.Kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	want := without(append(before, "older"), planned[1:])
	if diff := cmp.Diff(want, w.Members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if run.Status.Removed != plannedRemovals-2 {
		t.Errorf("removed %d, want %d", run.Status.Removed, plannedRemovals-2)
	}
}

func TestDeniedStopsARun(t *testing.T) {
	t.Parallel()
	t.Run("that awaits approval", func(t *testing.T) {
		t.Parallel()
		w, r := approving(t)
		w.Decide("one", v1alpha1.ApprovalDenied)
		wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Denied")
		if got := w.Happened(apiDelete); got != 0 {
			t.Errorf("%d deletions", got)
		}
	})
	t.Run("without a plan", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		w.Decide("one", v1alpha1.ApprovalDenied)
		wantConditions(t, w.replica().finish("one"), "Planned=False/Denied", "Complete=True/Denied")
		if len(w.Calls()) != 1 {
			t.Errorf("%v, want the end recorded and nothing else", w.Calls())
		}
	})
	for name, point := range map[string]struct{ what, then string }{
		"during the recheck":  {apiNamed, "the fence fails"},
		"during the deletion": {apiDelete, "the batch is settled"},
		"while it plans":      {apiList, "the plan is not recorded"},
		"before it records":   {statusPatch, "the fence or the plan fails"},
	} {
		t.Run("in mode Enforce "+name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			w.Once(point.what, 1, func() { w.Decide("one", v1alpha1.ApprovalDenied) })
			before := len(w.Members(fullGroup))
			run := w.replica().finish("one")
			end, _ := prunerun.Completion(run)
			gone := before - len(w.Members(fullGroup))
			if end.Reason != v1alpha1.ReasonDenied || int(run.Status.Removed) != gone ||
				prunerun.Progress(run).InFlight != 0 {
				t.Errorf("%s, removed %d, gone %d: %+v", end.Reason, run.Status.Removed, gone, run.Status.Progress)
			}
			if want := map[bool]int{true: 100}[point.what == apiDelete]; gone != want {
				t.Errorf("%d are gone, want %d", gone, want)
			}
		})
	}
	t.Run("that was approved, between batches", func(t *testing.T) {
		t.Parallel()
		w, r := approving(t)
		w.Decide("one", v1alpha1.ApprovalApproved)
		w.Once(apiDelete, 2, func() { w.Decide("one", v1alpha1.ApprovalDenied) })
		run := r.finish("one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=True/Denied")
		if run.Status.Removed != 200 {
			t.Errorf("removed %d, want 200", run.Status.Removed)
		}
	})
}

func TestPlanThatAwaitsApprovalEndsWhenItIsVoid(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		meanwhile func(w *world)
		want      string
	}{
		"a day": {func(w *world) { w.Clock.Forward(24*time.Hour + time.Second) }, "Expired"},
		"its policy": {func(w *world) {
			change(w, &v1alpha1.GroupPolicy{}, "lounge",
				func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.MaxRemovals = 7 })
		}, "Superseded"},
		"the governing one": {func(w *world) { w.Remove(&v1alpha1.GroupPolicy{}, "lounge") }, "NotGoverned"},
		"suspension": {func(w *world) {
			w.setPruning(v1alpha1.PruningSuspended)
		}, "Suspended"},
		"its app": {func(w *world) { w.Remove(&v1alpha1.IMApp{}, labtest.App) }, "AppNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := approving(t)
			if Wakes(w.Store.Load(), w.Get("one")) {
				t.Error("a valid plan is examined with every snapshot")
			}
			tc.meanwhile(w)
			w.Publish()
			if name != "a day" && !Wakes(w.Store.Load(), w.Get("one")) {
				t.Error("the run is not woken")
			}
			w.Forget()
			run := r.finish("one")
			if end, _ := prunerun.Completion(run); end.Reason != tc.want {
				t.Errorf("%s, want %s", end.Reason, tc.want)
			}
			if got := len(w.Calls()); got != 1 {
				t.Errorf("%v, want the end recorded without a call", w.Calls())
			}
		})
	}
}

// A plan is void if the rule that made it was edited, not if the policy was: the new message of a gate is no reason to
// have members reviewed again. Records of older versions, without a hash, go by the generation.
func TestEditOutsideThePruneRuleLeavesAWaitingPlanAlone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit     func(*v1alpha1.GroupPolicy)
		unhashed bool
		want     string
	}{
		"join.reject": {edit: func(p *v1alpha1.GroupPolicy) {
			p.Spec.Join = &v1alpha1.JoinSection{
				Deny:   &v1alpha1.AccountSelector{Accounts: []string{"mallory"}},
				Reject: &v1alpha1.Rejection{Code: new(int32(10110)), Message: "Members only"},
			}
		}, want: "Removed"},
		"another matcher": {edit: func(p *v1alpha1.GroupPolicy) {
			p.Spec.Groups = append(p.Spec.Groups, v1alpha1.GroupMatcher{Value: "another"})
		}, want: "Removed"},
		"the same rule, written otherwise": {edit: func(p *v1alpha1.GroupPolicy) {
			p.Spec.WhenFull.Prune.InactiveFor = "720h"
		}, want: "Removed"},
		"the rule": {edit: func(p *v1alpha1.GroupPolicy) {
			p.Spec.WhenFull.Prune.InactiveFor = "31d"
		}, want: "Superseded"},
		"whom the rule protects": {edit: func(p *v1alpha1.GroupPolicy) {
			p.Spec.WhenFull.Prune.Protect = &v1alpha1.AccountSelector{Accounts: []string{"founder"}}
		}, want: "Superseded"},
		"a record without a hash": {unhashed: true, edit: func(p *v1alpha1.GroupPolicy) {
			p.Spec.Join = &v1alpha1.JoinSection{}
		}, want: "Superseded"},
		"a record without a hash, nothing edited": {unhashed: true, edit: func(p *v1alpha1.GroupPolicy) {
			p.Labels = map[string]string{"a": "b"}
		}, want: "Removed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := approving(t)
			if tc.unhashed {
				run := w.Get("one")
				run.Status.Policy.RuleHash = ""
				must(t, w.Client.Status().Update(t.Context(), run))
			}
			w.editPolicy("lounge", tc.edit)
			w.Publish()
			if wakes := Wakes(w.Store.Load(), w.Get("one")); wakes != (tc.want == "Superseded") {
				t.Errorf("the edit wakes the run: %t", wakes)
			}
			if tc.want != "Superseded" {
				w.Decide("one", v1alpha1.ApprovalApproved)
			}
			run := r.finish("one")
			if end, _ := prunerun.Completion(run); end.Reason != tc.want {
				t.Errorf("%s (%s), want %s", end.Reason, end.Message, tc.want)
			}
		})
	}
}

func TestApprovalAfterADayIsTooLate(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	w.Decide("one", v1alpha1.ApprovalApproved)
	w.Clock.Forward(24*time.Hour + time.Second)
	wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Expired")
	if got := w.Happened(apiDelete); got != 0 {
		t.Errorf("%d deletions by a plan that is void", got)
	}
}

func TestEditsOfOtherPoliciesDoNotDelayARun(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Once(apiGroup, 1, func() {
		w.PolicyFor("elsewhere", "another group", v1alpha1.PruneRule{})
		w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Labels = map[string]string{"a": "b"} })
	})
	w.replica().mustStep("one") // the snapshot never learns of it
	wantConditions(t, w.Get("one"), "Planned=True/Planned", removedCondition)
}

func TestRefusalIsRecordedWithTheBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 5, 250)
	code := int32(10123)
	w.PolicyFor("lounge", fullGroup, v1alpha1.PruneRule{FreeSeats: seats(plannedRemovals), MaxRemovals: 1000,
		RejoinAfter: "1h"})
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
		p.Spec.Join = &v1alpha1.JoinSection{Reject: &v1alpha1.Rejection{Code: &code, Message: "come back later"}}
	})
	w.Publish()
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	w.Once(apiDelete, 1, func() {
		run := w.Get("one")
		want := w.Clock.Now().Add(time.Hour)
		if refuse := run.Status.Refuse; refuse == nil || refuse.Code != 10123 || refuse.Message != "come back later" ||
			refuse.Until.Time.Before(want) {
			t.Errorf("at the first deletion refuse is %+v, want it until %s", refuse, want)
		}
	})
	w.Once(statusPatch, 4, func() { w.Clock.Forward(10 * time.Second) })
	run := w.replica().finish("one")
	wantConditions(t, run, "Planned=True/Planned", removedCondition)
	if last := run.Status.Progress.LastBatchAt.Add(time.Hour); run.Status.Refuse.Until.Time.Before(last) {
		t.Errorf("refused until %s, want an hour after the last batch: %s", run.Status.Refuse.Until, last)
	}
}

func TestPlainRefusalHasCodeOne(t *testing.T) {
	t.Parallel()
	w, _ := approving(t)
	if refuse := w.Get("one").Status.Refuse; refuse == nil || refuse.Code != 1 || refuse.Message != "" {
		t.Errorf("refuse = %+v, want code 1 without a message", refuse)
	}
}

func TestDecisionAfterTheEndIsObserved(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	r := w.replica()
	r.finish("one")
	w.Decide("one", v1alpha1.ApprovalDenied)
	// The queue keeps one time for each run: a Step that names none would be the last one, and the record stay for
	// ever.
	if next, err := r.step("one"); err != nil || next.After <= 0 {
		t.Errorf("%v, next Step in %s, want one that leads to retention", err, next.After)
	}
	wantConditions(t, w.Get("one"), "Planned=True/Planned",
		removedCondition) // kubectl wait believes no condition of an earlier generation
	w.Forget()
	r.mustStep("one")
	if len(w.Calls()) != 0 {
		t.Errorf("%v, want nothing more", w.Calls())
	}
}

func TestPlanThatExpiresWhileItWaitsForASlotIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	w.Decide("one", v1alpha1.ApprovalApproved)
	w.Clock.Forward(24*time.Hour - time.Second)
	// What a batch reads first, it reads once it has a slot.
	r.Live = brokenReader{w.Client, func(object any) bool {
		if _, isApp := object.(*v1alpha1.IMApp); isApp {
			w.Clock.Forward(3 * time.Second)
		}
		return false
	}}
	r.mustStep("one")
	wantConditions(t, w.Get("one"), "Planned=True/Planned", "Complete=True/Expired")
	if got := w.Happened(apiDelete); got != 0 {
		t.Errorf("%d deletions by a plan that is void", got)
	}
}
