package pruning

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const awaiting = "Complete=False/AwaitingApproval"

// approving is enforcing with mode Approve, planned and waiting.
func approving(t *testing.T) (*world, *replica) {
	t.Helper()
	w := newWorld(t)
	w.Group(labtest.FullGroup, 5, 250)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModeApprove, FreeSeats: labtest.Seats(plannedRemovals), MaxRemovals: 1000, RejoinAfter: "7d"})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	r.mustStep("one")
	return w, r
}

func TestPlanAwaitsApproval(t *testing.T) {
	w, r := approving(t)
	run := w.Get("one")
	labtest.WantConditions(t, run, "Planned=True/Planned", awaiting)
	if got := len(labtest.Planned(run)); got != plannedRemovals || run.Status.Policy.Mode != v1alpha1.PruneModeApprove {
		t.Errorf("%d are planned in mode %s, want %d", got, run.Status.Policy.Mode, plannedRemovals)
	}
	w.Forget()
	for range 3 {
		r.mustStep("one")
	}
	if len(w.Calls()) != 0 {
		t.Errorf("looks at a waiting run: %v, want no call and no patch", w.Calls())
	}
	if got := w.Happened(labtest.Delete); got != 0 {
		t.Errorf("%d deletions without approval", got)
	}
}

func TestApprovedPlanIsCarriedOutAsRecorded(t *testing.T) {
	w, r := approving(t)
	planned := labtest.Planned(w.Get("one"))
	before := w.Members(labtest.FullGroup)
	// Two of the plan are not to go any more, and somebody else would by now.
	_, err := w.Emulator.Speak(t.Context(), labtest.FullGroup, planned[0])
	labtest.Must(t, err)
	_, err = w.Emulator.Quit(t.Context(), labtest.FullGroup, planned[1])
	labtest.Must(t, err)
	_, err = w.Emulator.PutMembers(t.Context(), labtest.FullGroup, emulator.MemberSpec{Accounts: []string{"older"}, InactiveFor: "400d", JoinedAgo: "500d"})
	labtest.Must(t, err)
	w.Decide("one", v1alpha1.ApprovalApproved)

	run := r.finish("one")
	labtest.WantConditions(t, run, "Planned=True/Planned", removedWord)
	if diff := cmp.Diff(planned, labtest.Planned(run)); diff != "" {
		t.Errorf("the plan changed (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{planned[0]: "ActiveAgain", planned[1]: "Left"}, labtest.Kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	want := labtest.Without(append(before, "older"), planned[1:])
	if diff := cmp.Diff(want, w.Members(labtest.FullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if run.Status.Removed != plannedRemovals-2 {
		t.Errorf("removed %d, want %d", run.Status.Removed, plannedRemovals-2)
	}
}

func TestDeniedStopsARun(t *testing.T) {
	t.Run("that awaits approval", func(t *testing.T) {
		w, r := approving(t)
		w.Decide("one", v1alpha1.ApprovalDenied)
		labtest.WantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Denied")
		if got := w.Happened(labtest.Delete); got != 0 {
			t.Errorf("%d deletions", got)
		}
	})
	t.Run("without a plan", func(t *testing.T) {
		w := enforcing(t)
		w.Decide("one", v1alpha1.ApprovalDenied)
		labtest.WantConditions(t, w.replica().finish("one"), "Planned=False/Denied", "Complete=True/Denied")
		if len(w.Calls()) != 1 {
			t.Errorf("%v, want the end recorded and nothing else", w.Calls())
		}
	})
	for name, place := range map[string]struct{ what, then string }{
		"while it looks":    {labtest.NamedMembers, "the fence fails"},
		"while it deletes":  {labtest.Delete, "the batch is settled"},
		"while it plans":    {labtest.ListMembers, "the plan is not recorded"},
		"before it records": {labtest.StatusPatch, "the fence or the plan fails"},
	} {
		t.Run("in mode Enforce "+name, func(t *testing.T) {
			w := enforcing(t)
			w.Once(place.what, 1, func() { w.Decide("one", v1alpha1.ApprovalDenied) })
			before := len(w.Members(labtest.FullGroup))
			run := w.replica().finish("one")
			end, _ := prunerun.Completion(run)
			gone := before - len(w.Members(labtest.FullGroup))
			if end.Reason != v1alpha1.ReasonDenied || int(run.Status.Removed) != gone || prunerun.Progress(run).InFlight != 0 {
				t.Errorf("%s, removed %d, gone %d: %+v", end.Reason, run.Status.Removed, gone, run.Status.Progress)
			}
			if want := map[bool]int{true: 100}[place.what == labtest.Delete]; gone != want {
				t.Errorf("%d are gone, want %d", gone, want)
			}
		})
	}
	t.Run("that was approved, between batches", func(t *testing.T) {
		w, r := approving(t)
		w.Decide("one", v1alpha1.ApprovalApproved)
		w.Once(labtest.Delete, 2, func() { w.Decide("one", v1alpha1.ApprovalDenied) })
		run := r.finish("one")
		labtest.WantConditions(t, run, "Planned=True/Planned", "Complete=True/Denied")
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
		"a day": {func(w *world) { w.Clock.Forward(24*time.Hour + time.Second) }, "Expired"},
		"its policy": {func(w *world) {
			change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.MaxRemovals = 7 })
		}, "Superseded"},
		"the governing one": {func(w *world) { w.Remove(&v1alpha1.GroupPolicy{}, "lounge") }, "NotGoverned"},
		"suspension": {func(w *world) {
			change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
		}, "Suspended"},
		"its app": {func(w *world) { w.Remove(&v1alpha1.IMApp{}, labtest.App) }, "AppNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := approving(t)
			if Wakes(w.Store.Load(), w.Get("one")) {
				t.Error("a plan that stands is looked at with every snapshot")
			}
			tc.meanwhile(w)
			w.Publish()
			if name != "a day" && !Wakes(w.Store.Load(), w.Get("one")) {
				t.Error("nobody looks at the run")
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

func TestApprovalAfterADayIsTooLate(t *testing.T) {
	w, r := approving(t)
	w.Decide("one", v1alpha1.ApprovalApproved)
	w.Clock.Forward(24*time.Hour + time.Second)
	labtest.WantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Expired")
	if got := w.Happened(labtest.Delete); got != 0 {
		t.Errorf("%d deletions by a plan that is void", got)
	}
}

func TestEditsElsewhereDoNotHoldUpARun(t *testing.T) {
	w := enforcing(t)
	w.Once(labtest.GetGroup, 1, func() {
		w.PolicyFor("elsewhere", "another group", v1alpha1.PruneRule{})
		change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Labels = map[string]string{"a": "b"} })
	})
	w.replica().mustStep("one") // the snapshot never learns of it
	labtest.WantConditions(t, w.Get("one"), "Planned=True/Planned", removedWord)
}

func TestRefusalIsRecordedWithTheBatch(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 5, 250)
	code := int32(10123)
	w.PolicyFor("lounge", labtest.FullGroup, v1alpha1.PruneRule{FreeSeats: labtest.Seats(plannedRemovals), MaxRemovals: 1000, RejoinAfter: "1h"})
	change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
		p.Spec.Join = &v1alpha1.JoinSection{Reject: &v1alpha1.Rejection{Code: &code, Message: "come back later"}}
	})
	w.Publish()
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	w.Once(labtest.Delete, 1, func() {
		run := w.Get("one")
		want := w.Clock.Now().Add(time.Hour)
		if refuse := run.Status.Refuse; refuse == nil || refuse.Code != 10123 || refuse.Message != "come back later" || refuse.Until.Time.Before(want) {
			t.Errorf("at the first deletion refuse is %+v, want it until %s", refuse, want)
		}
	})
	w.Once(labtest.StatusPatch, 4, func() { w.Clock.Forward(10 * time.Second) })
	run := w.replica().finish("one")
	labtest.WantConditions(t, run, "Planned=True/Planned", removedWord)
	if last := run.Status.Progress.LastBatchAt.Add(time.Hour); run.Status.Refuse.Until.Time.Before(last) {
		t.Errorf("refused until %s, want an hour after the last batch: %s", run.Status.Refuse.Until, last)
	}
}

func TestPlainRefusalHasCodeOne(t *testing.T) {
	w, _ := approving(t)
	if refuse := w.Get("one").Status.Refuse; refuse == nil || refuse.Code != 1 || refuse.Message != "" {
		t.Errorf("refuse = %+v, want code 1 without a message", refuse)
	}
}

func TestWordAfterTheEndIsHeard(t *testing.T) {
	w := enforcing(t)
	r := w.replica()
	r.finish("one")
	w.Decide("one", v1alpha1.ApprovalDenied)
	// The queue keeps one time for each run: a look that names none would be the last one, and the record stay for ever.
	if next, err := r.step("one"); err != nil || next.After <= 0 {
		t.Errorf("%v, looked at again in %s, want to when its time is over", err, next.After)
	}
	labtest.WantConditions(t, w.Get("one"), "Planned=True/Planned", removedWord) // kubectl wait believes no condition of an earlier generation
	w.Forget()
	r.mustStep("one")
	if len(w.Calls()) != 0 {
		t.Errorf("%v, want nothing more", w.Calls())
	}
}

func TestPlanThatBecomesVoidWhileItWaitsForItsTurnIsNotCarriedOut(t *testing.T) {
	w, r := approving(t)
	w.Decide("one", v1alpha1.ApprovalApproved)
	w.Clock.Forward(24*time.Hour - time.Second)
	// What a batch reads first, it reads once its turn has come.
	r.Live = brokenReader{w.Client, func(object any) bool {
		if _, isApp := object.(*v1alpha1.IMApp); isApp {
			w.Clock.Forward(3 * time.Second)
		}
		return false
	}}
	r.mustStep("one")
	labtest.WantConditions(t, w.Get("one"), "Planned=True/Planned", "Complete=True/Expired")
	if got := w.Happened(labtest.Delete); got != 0 {
		t.Errorf("%d deletions by a plan that is void", got)
	}
}
