package controllers

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/term"
)

func TestPreviewOfAFullGroupRemovesNobody(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 3, 10)
	w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, FreeSeats: seats(4), Protect: &v1alpha1.AccountSelector{Accounts: []string{"i2"}}})
	before := w.members(fullGroup)
	w.run("one", v1alpha1.PruneTriggerGroupFull)

	run := w.finish(w.process(), "one")

	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Previewed")
	if diff := cmp.Diff([]string{"i1", "i10", "i3", "i4"}, planAccounts(run)); diff != "" {
		t.Errorf("plan (-want,+got)\n%s", diff)
	}
	wantGroup := &v1alpha1.PruneGroupRecord{Type: v1alpha1.GroupTypePublic, Members: 15, MaxMembers: 15}
	if diff := cmp.Diff(wantGroup, run.Status.Group); diff != "" {
		t.Errorf("group (-want,+got)\n%s", diff)
	}
	wantStay := v1alpha1.PlanStay{Protected: 1, Admin: 2, Active: 3}
	if diff := cmp.Diff(wantStay, run.Status.Plan.Stay); diff != "" || run.Status.Plan.Candidates != 9 {
		t.Errorf("stay (-want,+got), candidates %d, want 9\n%s", run.Status.Plan.Candidates, diff)
	}
	if p := run.Status.Policy; p == nil || p.Name != "lounge" || p.Mode != v1alpha1.PruneModePreview || p.Generation != 1 || p.UID == "" {
		t.Errorf("policy = %+v", p)
	}
	if diff := cmp.Diff(before, w.members(fullGroup)); diff != "" || w.happened(apiDelete) != 0 {
		t.Errorf("%d deletions, members (-want,+got)\n%s", w.happened(apiDelete), diff)
	}
	if diff := cmp.Diff([]string{"Planned", "Previewed"}, w.events.all()); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	if got := w.happened("patch"); got != 1 {
		t.Errorf("%d status patches, want the plan and the end in one", got)
	}
}

func TestRunEndsWithoutAPlan(t *testing.T) {
	tests := map[string]struct {
		set       func(w *world)
		trigger   v1alpha1.PruneTrigger
		want      []string
		wantCalls int // of the vendor's API
	}{
		"NotFull": {
			set: func(w *world) {
				w.group(fullGroup, 2, 5)
				_, err := w.emulator.Quit(w.t.Context(), fullGroup, "i1")
				must(w.t, err)
			},
			want: []string{"Planned=False/NotFull", "Complete=True/NotFull"}, wantCalls: 1,
		},
		"NotGoverned": {
			set: func(w *world) {
				w.group(fullGroup, 2, 5)
				change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
					p.Spec.GroupTypes = []v1alpha1.GroupType{v1alpha1.GroupTypeWork}
				})
				w.publish()
			},
			want: []string{"Planned=False/NotGoverned", "Complete=True/NotGoverned"}, wantCalls: 1,
		},
		"Suspended, Manual too": {
			set: func(w *world) {
				w.group(fullGroup, 2, 5)
				change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
			},
			trigger: v1alpha1.PruneTriggerManual,
			want:    []string{"Planned=False/Suspended", "Complete=True/Suspended"},
		},
		"AppNotFound": {
			set:  func(w *world) { remove(w, &v1alpha1.IMApp{}, pruneApp) },
			want: []string{"Planned=False/AppNotFound", "Complete=False/AppNotFound", "Failed=True/AppNotFound"},
		},
		"GroupNotFound": {
			set:  func(*world) {},
			want: []string{"Planned=False/GroupNotFound", "Complete=False/GroupNotFound", "Failed=True/GroupNotFound"}, wantCalls: 1,
		},
		"AVChatRoom": {
			set: func(w *world) {
				_, err := w.emulator.CreateGroup(w.t.Context(), emulator.GroupSpec{ID: fullGroup, Type: "AVChatRoom"})
				must(w.t, err)
			},
			want:      []string{"Planned=False/UnsupportedGroupType", "Complete=False/UnsupportedGroupType", "Failed=True/UnsupportedGroupType"},
			wantCalls: 1,
		},
		"wrong key": {
			set: func(w *world) {
				w.group(fullGroup, 2, 5)
				change(w, &corev1.Secret{}, "prod-im", func(s *corev1.Secret) {
					s.Data[v1alpha1.SecretKeySecretKey] = []byte("another key")
				})
			},
			want: []string{"Planned=False/VendorRefused", "Complete=False/VendorRefused", "Failed=True/VendorRefused"}, wantCalls: 1,
		},
		"revoked admin": {
			set: func(w *world) {
				w.group(fullGroup, 2, 5)
				w.fault(emulator.Fault{API: "*", Kind: emulator.FaultCode, Code: 60010, Info: "identifier is not an admin"})
			},
			want: []string{"Planned=False/VendorRefused", "Complete=False/VendorRefused", "Failed=True/VendorRefused"}, wantCalls: 1,
		},
		"ClockSkew": {
			set: func(w *world) {
				w.group(fullGroup, 2, 5)
				_, err := w.emulator.MoveClock(w.t.Context(), emulator.ClockChange{Forward: "6m"})
				must(w.t, err)
			},
			want: []string{"Planned=False/ClockSkew", "Complete=False/ClockSkew", "Failed=True/ClockSkew"}, wantCalls: 1,
		},
		"ActivityUnknown": {
			set:  func(w *world) { w.group(fullGroup, 0, 5); w.silence() },
			want: []string{"Planned=False/ActivityUnknown", "Complete=False/ActivityUnknown", "Failed=True/ActivityUnknown"}, wantCalls: 2,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policy("lounge", v1alpha1.PruneRule{})
			tc.set(w)
			trigger := tc.trigger
			if trigger == "" {
				trigger = v1alpha1.PruneTriggerGroupFull
			}
			w.run("one", trigger)

			run := w.finish(w.process(), "one")

			wantConditions(t, run, tc.want...)
			if got := len(w.calls) - w.happened("patch"); got != tc.wantCalls {
				t.Errorf("calls of the vendor = %v, want %d", w.calls, tc.wantCalls)
			}
			if run.Status.Plan != nil || run.Status.Removed != 0 {
				t.Errorf("plan %+v, removed %d, want neither", run.Status.Plan, run.Status.Removed)
			}
		})
	}
}

// silence makes the vendor tell of nobody when he last spoke.
func (w *world) silence() {
	w.t.Helper()
	_, err := w.emulator.ChangeGroup(w.t.Context(), fullGroup, emulator.GroupChange{Quirks: &emulator.Quirks{OmitLastSendMsgTime: true}})
	must(w.t, err)
}

func TestManualRunNeedsNoFullGroupAndNoCooldown(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(3)})
	r := w.process()
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", "Complete=True/Removed")

	w.run("two", v1alpha1.PruneTriggerManual)
	wantConditions(t, w.finish(r, "two"), "Planned=True/Planned", "Complete=True/NothingToRemove")
}

func TestCoolingDown(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "2h"})
	r := w.process()
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	w.finish(r, "one")

	w.clock.forward(2*time.Hour - time.Second)
	w.run("two", v1alpha1.PruneTriggerGroupFull)
	wantConditions(t, w.finish(r, "two"), "Planned=False/CoolingDown", "Complete=True/CoolingDown")

	w.clock.forward(2 * time.Second)
	w.run("three", v1alpha1.PruneTriggerSweep)
	wantConditions(t, w.finish(r, "three"), "Planned=True/Planned", "Complete=True/Previewed")
}

func TestRunWaitsForObjects(t *testing.T) {
	tests := map[string]struct {
		rule       v1alpha1.PruneRule
		spoil      func(w *world)
		repair     func(w *world)
		wantReason string
		wantCalls  int
	}{
		"SecretNotFound": {
			spoil: func(w *world) { remove(w, &corev1.Secret{}, "prod-im") },
			repair: func(w *world) {
				must(w.t, w.client.Create(w.t.Context(), &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "prod-im", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
					StringData: map[string]string{v1alpha1.SecretKeySecretKey: pruneSecretKey},
				}))
			},
			wantReason: "SecretNotFound",
		},
		"KeyMissing": {
			spoil: func(w *world) {
				change(w, &corev1.Secret{}, "prod-im", func(s *corev1.Secret) { s.Data = nil })
			},
			repair: func(w *world) {
				change(w, &corev1.Secret{}, "prod-im", func(s *corev1.Secret) {
					s.Data = map[string][]byte{v1alpha1.SecretKeySecretKey: []byte(pruneSecretKey)}
				})
			},
			wantReason: "KeyMissing",
		},
		"ProtectionUnresolved": {
			rule:  v1alpha1.PruneRule{Protect: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "vip"}}}},
			spoil: func(*world) {},
			repair: func(w *world) {
				must(w.t, w.client.Create(w.t.Context(), &v1alpha1.AccountList{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vip"}, Spec: v1alpha1.AccountListSpec{Accounts: []string{"i1"}},
				}))
			},
			wantReason: "ProtectionUnresolved", wantCalls: 1,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(fullGroup, 2, 5)
			tc.rule.FreeSeats = seats(2)
			w.policy("lounge", tc.rule)
			tc.spoil(w)
			w.publish()
			w.run("one", v1alpha1.PruneTriggerGroupFull)
			r := w.process()

			for range 3 { // however often it is looked at
				if _, err := w.reconcile(r, "one"); err != nil {
					t.Fatal(err)
				}
			}
			run := w.get("one")
			wantConditions(t, run, "Planned=False/"+tc.wantReason)
			if got := len(w.calls) - w.happened("patch"); got != tc.wantCalls {
				t.Errorf("calls of the vendor = %v, want %d", w.calls, tc.wantCalls)
			}
			if got := w.happened("patch"); got != 1 {
				t.Errorf("%d status patches, want one for one transition", got)
			}
			if got := r.waitingRuns(t.Context()); !requested(got, w.namespace, "one") {
				t.Errorf("requests on a new snapshot = %v, want run one", got)
			}

			tc.repair(w)
			w.publish()
			wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", "Complete=True/Removed")
		})
	}
}

func TestTransientTroubleIsShownAndWaitedOut(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.fault(emulator.Fault{API: apiGroup, Kind: emulator.FaultCode, Code: 10002, Info: "internal error, try again", Count: 5})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()

	if _, err := w.reconcile(r, "one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	run := w.get("one")
	wantConditions(t, run, "Planned=False/VendorUnavailable")
	if got, want := run.Status.Conditions[0].Message, "Could not read the group: get_group_info: code 10002: internal error, try again."; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	if reason, _, ok := r.Vendor.Reachability(w.appUID()); !ok || reason != v1alpha1.ReasonUnreachable {
		t.Errorf("reachability = %q, %v", reason, ok)
	}
	wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", "Complete=True/Removed")
	if reason, _, _ := r.Vendor.Reachability(w.appUID()); reason != v1alpha1.ReasonReachable {
		t.Errorf("reachability = %q", reason)
	}
}

func TestVerificationPauseIsNotHammered(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.fault(emulator.Fault{API: "*", Kind: emulator.FaultCode, Code: 70050, Count: 1})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()

	for range 3 {
		result, err := w.reconcile(r, "one")
		if err != nil || result.RequeueAfter < 50*time.Second {
			t.Errorf("result = %v, %v, want to be left alone for a minute", result, err)
		}
	}
	if got := w.happened(apiGroup); got != 1 {
		t.Errorf("%d calls during the pause, want 1", got)
	}
	w.clock.forward(time.Minute)
	w.finish(r, "one")
}

func TestMemberListThatFailsMidwayGivesNoPlan(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 20, 230)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(50)})
	w.fault(emulator.Fault{API: apiList, Kind: emulator.FaultHTTP, Status: 502, Skip: 1})
	before := w.members(fullGroup)
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()

	if _, err := w.reconcile(r, "one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	run := w.get("one")
	wantConditions(t, run, "Planned=False/VendorUnavailable")
	if run.Status.Plan != nil || w.happened(apiDelete) != 0 {
		t.Errorf("plan %v, %d deletions, want none", run.Status.Plan, w.happened(apiDelete))
	}
	if diff := cmp.Diff(before, w.members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
}

func TestPlanWaitsForASnapshotThatHoldsTheLivePolicy(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.FreeSeats = seats(3) })

	result, err := w.reconcile(r, "one")
	if err != nil || result.RequeueAfter == 0 || w.get("one").Status.Plan != nil {
		t.Errorf("planned by a rule that was edited: %v, %v", result, err)
	}
	w.publish()
	if got := w.finish(r, "one").Status.Removed; got != 3 {
		t.Errorf("removed = %d, want 3", got)
	}

	r.Snapshots = storeNever{}
	w.run("two", v1alpha1.PruneTriggerManual)
	if result, err := w.reconcile(r, "two"); err != nil || result.RequeueAfter == 0 || prunerun.Finished(w.get("two")) {
		t.Errorf("looked at before the first snapshot: %v, %v", result, err)
	}
}

func TestRunAppliedWithItsPolicyDoesNotEndNotGoverned(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policyFor("lounge", fullGroup, v1alpha1.PruneRule{FreeSeats: seats(2)}) // the snapshot does not have it yet
	w.run("one", v1alpha1.PruneTriggerManual)
	r := w.process()
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter == 0 || prunerun.Finished(w.get("one")) {
		t.Errorf("result = %v, %v, want to wait for the snapshot", result, err)
	}
	w.publish()
	wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", "Complete=True/Removed")
}

func TestOldestRunOfAGroupGoesFirst(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2), Protect: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "vip"}}}})
	r := w.process()
	w.run("a-first", v1alpha1.PruneTriggerManual)
	w.run("b-second", v1alpha1.PruneTriggerManual) // in the same second, so that the name decides
	for _, name := range []string{"b-second", "a-first", "b-second"} {
		if _, err := w.reconcile(r, name); err != nil {
			t.Fatal(err)
		}
	}
	wantConditions(t, w.get("b-second"), "Planned=False/Queued")
	wantConditions(t, w.get("a-first"), "Planned=False/ProtectionUnresolved")
	if got := r.siblings(t.Context(), w.get("a-first")); !requested(got, w.namespace, "b-second") {
		t.Errorf("siblings = %v, want b-second among them", got)
	}

	must(t, w.client.Create(t.Context(), &v1alpha1.AccountList{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vip"}, Spec: v1alpha1.AccountListSpec{Accounts: []string{"i1"}},
	}))
	w.publish()
	wantConditions(t, w.finish(r, "a-first"), "Planned=True/Planned", "Complete=True/Removed")
	wantConditions(t, w.finish(r, "b-second"), "Planned=True/Planned", "Complete=True/NothingToRemove")
}

func TestRunThatWasPlannedElsewhereMeanwhileQueuesThisOne(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.run("a-first", v1alpha1.PruneTriggerManual)
	w.run("b-second", v1alpha1.PruneTriggerManual)
	// A former holder of the term records a plan for the younger run while we list the members for the older one.
	w.once(apiList, 1, func() {
		other := w.get("b-second")
		other.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(w.clock.Now()), Removals: []v1alpha1.PlannedRemoval{
			{Account: "i1", LastActiveAt: metav1.NewTime(w.clock.Now()), Reason: v1alpha1.RemovalReasonNeverSpoke}}}
		must(t, w.client.Status().Update(t.Context(), other))
	})
	if _, err := w.reconcile(w.process(), "a-first"); err != nil {
		t.Fatal(err)
	}
	run := w.get("a-first")
	wantConditions(t, run, "Planned=False/Queued")
	if run.Status.Plan != nil {
		t.Error("two runs of the group are past planning")
	}
}

func TestOutsideATermNothingIsDone(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	r.Term = &term.Term{}
	w.forget()
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter != 0 || len(w.calls) != 0 {
		t.Errorf("result = %v, %v, calls %v, want nothing", result, err, w.calls)
	}
}

func TestFailedReadOfTheAppIsNoAbsence(t *testing.T) {
	w := newWorld(t)
	w.policy("lounge", v1alpha1.PruneRule{})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	r.Live = brokenReader{Reader: w.client, broken: func(o any) bool { _, ok := o.(*v1alpha1.IMApp); return ok }}
	if _, err := w.reconcile(r, "one"); !errors.Is(err, errBroken) {
		t.Errorf("err = %v, want %v", err, errBroken)
	}
	if prunerun.Finished(w.get("one")) {
		t.Error("an error was read as an app that is not there")
	}
}
