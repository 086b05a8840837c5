package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const awaiting = "Complete=False/AwaitingApproval"

// approving is enforcing with mode Approve, planned and waiting.
func approving(t *testing.T) (*world, *PruneRunReconciler) {
	t.Helper()
	w := newWorld(t)
	w.group(fullGroup, 5, 250)
	w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModeApprove, FreeSeats: seats(plannedRemovals), MaxRemovals: 1000, RejoinAfter: "7d"})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	w.look(r, "one")
	return w, r
}

// look is one reconciliation that must go well.
func (w *world) look(r *PruneRunReconciler, name string) {
	w.t.Helper()
	_, err := w.reconcile(r, name)
	must(w.t, err)
}

// say sets what a person says of a run.
func (w *world) say(name string, word v1alpha1.Approval) {
	w.t.Helper()
	change(w, &v1alpha1.PruneRun{}, name, func(run *v1alpha1.PruneRun) { run.Spec.Approval = word })
}

func TestPlanAwaitsApproval(t *testing.T) {
	w, r := approving(t)
	run := w.get("one")
	wantConditions(t, run, "Planned=True/Planned", awaiting)
	if got := len(planAccounts(run)); got != plannedRemovals || run.Status.Policy.Mode != v1alpha1.PruneModeApprove {
		t.Errorf("%d are planned in mode %s, want %d", got, run.Status.Policy.Mode, plannedRemovals)
	}
	w.forget()
	for range 3 {
		w.look(r, "one")
	}
	if len(w.calls) != 0 {
		t.Errorf("looks at a waiting run: %v, want no call and no patch", w.calls)
	}
	if got := w.happened(apiDelete); got != 0 {
		t.Errorf("%d deletions without approval", got)
	}
}

func TestApprovedPlanIsCarriedOutAsRecorded(t *testing.T) {
	w, r := approving(t)
	planned := planAccounts(w.get("one"))
	before := w.members(fullGroup)
	// Two of the plan are not to go any more, and somebody else would by now.
	_, err := w.emulator.Speak(t.Context(), fullGroup, planned[0])
	must(t, err)
	_, err = w.emulator.Quit(t.Context(), fullGroup, planned[1])
	must(t, err)
	_, err = w.emulator.PutMembers(t.Context(), fullGroup, emulator.MemberSpec{Accounts: []string{"older"}, InactiveFor: "400d", JoinedAgo: "500d"})
	must(t, err)
	w.say("one", v1alpha1.ApprovalApproved)

	run := w.finish(r, "one")
	wantConditions(t, run, "Planned=True/Planned", removedWord)
	if diff := cmp.Diff(planned, planAccounts(run)); diff != "" {
		t.Errorf("the plan changed (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{planned[0]: "ActiveAgain", planned[1]: "Left"}, kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	want := without(append(before, "older"), planned[1:])
	if diff := cmp.Diff(want, w.members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if run.Status.Removed != plannedRemovals-2 {
		t.Errorf("removed %d, want %d", run.Status.Removed, plannedRemovals-2)
	}
}

func TestDeniedStopsARun(t *testing.T) {
	t.Run("that awaits approval", func(t *testing.T) {
		w, r := approving(t)
		w.say("one", v1alpha1.ApprovalDenied)
		wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", "Complete=True/Denied")
		if got := w.happened(apiDelete); got != 0 {
			t.Errorf("%d deletions", got)
		}
	})
	t.Run("without a plan", func(t *testing.T) {
		w := enforcing(t)
		w.say("one", v1alpha1.ApprovalDenied)
		wantConditions(t, w.finish(w.process(), "one"), "Planned=False/Denied", "Complete=True/Denied")
		if len(w.calls) != 1 {
			t.Errorf("%v, want the end recorded and nothing else", w.calls)
		}
	})
	for name, place := range map[string]struct{ what, then string }{
		"while it looks":    {apiLook, "the fence fails"},
		"while it deletes":  {apiDelete, "the batch is settled"},
		"while it plans":    {apiList, "the plan is not recorded"},
		"before it records": {"patch", "the fence or the plan fails"},
	} {
		t.Run("in mode Enforce "+name, func(t *testing.T) {
			w := enforcing(t)
			w.once(place.what, 1, func() { w.say("one", v1alpha1.ApprovalDenied) })
			before := len(w.members(fullGroup))
			run := w.finish(w.process(), "one")
			end, _ := prunerun.Completion(run)
			gone := before - len(w.members(fullGroup))
			if end.Reason != v1alpha1.ReasonDenied || int(run.Status.Removed) != gone || prunerun.Progress(run).InFlight != 0 {
				t.Errorf("%s, removed %d, gone %d: %+v", end.Reason, run.Status.Removed, gone, run.Status.Progress)
			}
			if want := map[bool]int{true: 100}[place.what == apiDelete]; gone != want {
				t.Errorf("%d are gone, want %d", gone, want)
			}
		})
	}
	t.Run("that was approved, between batches", func(t *testing.T) {
		w, r := approving(t)
		w.say("one", v1alpha1.ApprovalApproved)
		w.once(apiDelete, 2, func() { w.say("one", v1alpha1.ApprovalDenied) })
		run := w.finish(r, "one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=True/Denied")
		if run.Status.Removed != 200 {
			t.Errorf("removed %d, want 200", run.Status.Removed)
		}
	})
}

func TestPlanThatAwaitsApprovalDoesNotOutliveWhatItStandsOn(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile func(w *world)
		want      string
	}{
		"a day": {func(w *world) { w.clock.forward(24*time.Hour + time.Second) }, "Expired"},
		"its policy": {func(w *world) {
			change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.MaxRemovals = 7 })
		}, "Superseded"},
		"the governing one": {func(w *world) { remove(w, &v1alpha1.GroupPolicy{}, "lounge") }, "NotGoverned"},
		"suspension": {func(w *world) {
			change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
		}, "Suspended"},
		"its app": {func(w *world) { remove(w, &v1alpha1.IMApp{}, pruneApp) }, "AppNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := approving(t)
			if requested(r.waitingRuns(t.Context()), w.namespace, "one") {
				t.Error("a plan that stands is looked at with every snapshot")
			}
			tc.meanwhile(w)
			w.publish()
			if name != "a day" && !requested(r.waitingRuns(t.Context()), w.namespace, "one") {
				t.Error("nobody looks at the run")
			}
			w.forget()
			run := w.finish(r, "one")
			if end, _ := prunerun.Completion(run); end.Reason != tc.want {
				t.Errorf("%s, want %s", end.Reason, tc.want)
			}
			if got := len(w.calls); got != 1 {
				t.Errorf("%v, want the end recorded without a call", w.calls)
			}
		})
	}
}

func TestApprovalAfterADayIsTooLate(t *testing.T) {
	w, r := approving(t)
	w.say("one", v1alpha1.ApprovalApproved)
	w.clock.forward(24*time.Hour + time.Second)
	wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", "Complete=True/Expired")
	if got := w.happened(apiDelete); got != 0 {
		t.Errorf("%d deletions by a plan that is void", got)
	}
	// The next callback need not wait for a cooldown.
	got, wait := (&runCreator{Now: w.clock.Now}).waits(prunerun.KeyOf(w.get("one")), []v1alpha1.PruneRun{*w.get("one")}, w.store.Load().AppNamed(w.namespace, pruneApp))
	if wait {
		t.Errorf("the next run waits: %+v", got)
	}
}

func TestEditsElsewhereDoNotHoldUpARun(t *testing.T) {
	w := enforcing(t)
	w.once(apiGroup, 1, func() {
		w.policyFor("elsewhere", "another group", v1alpha1.PruneRule{})
		change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Labels = map[string]string{"a": "b"} })
	})
	w.look(w.process(), "one") // the snapshot never learns of it
	wantConditions(t, w.get("one"), "Planned=True/Planned", removedWord)
}

func TestRefusalIsRecordedWithTheBatch(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 5, 250)
	code := int32(10123)
	w.policyFor("lounge", fullGroup, v1alpha1.PruneRule{FreeSeats: seats(plannedRemovals), MaxRemovals: 1000, RejoinAfter: "1h"})
	change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
		p.Spec.Join = &v1alpha1.JoinSection{Reject: &v1alpha1.Rejection{Code: &code, Message: "come back later"}}
	})
	w.publish()
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	w.once(apiDelete, 1, func() {
		run := w.get("one")
		want := w.clock.Now().Add(time.Hour)
		if refuse := run.Status.Refuse; refuse == nil || refuse.Code != 10123 || refuse.Message != "come back later" || refuse.Until.Time.Before(want) {
			t.Errorf("at the first deletion refuse is %+v, want it until %s", refuse, want)
		}
	})
	w.once("patch", 4, func() { w.clock.forward(10 * time.Second) })
	run := w.finish(w.process(), "one")
	wantConditions(t, run, "Planned=True/Planned", removedWord)
	if last := run.Status.Progress.LastBatchAt.Add(time.Hour); run.Status.Refuse.Until.Time.Before(last) {
		t.Errorf("refused until %s, want an hour after the last batch: %s", run.Status.Refuse.Until, last)
	}
}

func TestPlainRefusalHasCodeOne(t *testing.T) {
	w, _ := approving(t)
	if refuse := w.get("one").Status.Refuse; refuse == nil || refuse.Code != 1 || refuse.Message != "" {
		t.Errorf("refuse = %+v, want code 1 without a message", refuse)
	}
}

func TestRecordOutlivesItsTTLWhileItRefuses(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 5, 250)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(10), RejoinAfter: "30d"})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	w.finish(r, "one")
	w.clock.forward(29 * 24 * time.Hour)
	result, err := w.reconcile(r, "one")
	must(t, err)
	if !w.exists("one") || result.RequeueAfter <= 0 {
		t.Fatalf("exists %t, looked at again in %s", w.exists("one"), result.RequeueAfter)
	}
	w.clock.forward(result.RequeueAfter + time.Second)
	w.look(r, "one")
	if w.exists("one") {
		t.Error("kept for ever")
	}
}

func TestWordAfterTheEndIsHeard(t *testing.T) {
	w := enforcing(t)
	r := w.process()
	w.finish(r, "one")
	w.say("one", v1alpha1.ApprovalDenied)
	// The queue keeps one time for each run: a look that names none would be the last one, and the record stay for ever.
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter <= 0 {
		t.Errorf("%v, looked at again in %s, want to when its time is over", err, result.RequeueAfter)
	}
	wantConditions(t, w.get("one"), "Planned=True/Planned", removedWord) // kubectl wait believes no condition of an earlier generation
	w.forget()
	w.look(r, "one")
	if len(w.calls) != 0 {
		t.Errorf("%v, want nothing more", w.calls)
	}
}

func TestPlanThatBecomesVoidWhileItWaitsForItsTurnIsNotCarriedOut(t *testing.T) {
	w, r := approving(t)
	w.say("one", v1alpha1.ApprovalApproved)
	w.clock.forward(24*time.Hour - time.Second)
	// What a batch reads first, it reads once its turn has come.
	r.Live = brokenReader{w.client, func(object any) bool {
		if _, isApp := object.(*v1alpha1.IMApp); isApp {
			w.clock.forward(3 * time.Second)
		}
		return false
	}}
	w.look(r, "one")
	wantConditions(t, w.get("one"), "Planned=True/Planned", "Complete=True/Expired")
	if got := w.happened(apiDelete); got != 0 {
		t.Errorf("%d deletions by a plan that is void", got)
	}
}
