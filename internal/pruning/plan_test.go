package pruning

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestPreviewRemovesNoMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 3, 10)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, FreeSeats: seats(4),
		Protect: &v1alpha1.AccountSelector{Accounts: []string{"i2"}}})
	before := w.Members(fullGroup)
	w.Run("one", v1alpha1.PruneTriggerGroupFull)

	run := w.replica().finish("one")

	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Previewed")
	if diff := cmp.Diff([]string{"i1", "i10", "i3", "i4"}, planOf(run)); diff != "" {
		t.Errorf("plan (-want,+got)\n%s", diff)
	}
	wantGroup := &v1alpha1.PruneGroupRecord{
		Type: v1alpha1.GroupTypePublic, Members: 15, MaxMembers: 15, SDKAppID: lab.SDKAppID,
		CreatedAt: metav1.NewTime(w.Clock.Now().Add(-400 * 24 * time.Hour).Truncate(time.Second)),
	}
	if diff := cmp.Diff(wantGroup, run.Status.Group); diff != "" {
		t.Errorf("group (-want,+got)\n%s", diff)
	}
	wantStay := v1alpha1.PlanStay{Protected: 1, Admin: 2, Active: 3}
	if diff := cmp.Diff(wantStay, run.Status.Plan.Stay); diff != "" || run.Status.Plan.Candidates != 9 {
		t.Errorf("stay (-want,+got), candidates %d, want 9\n%s", run.Status.Plan.Candidates, diff)
	}
	if p := run.Status.Policy; p == nil || p.Name != "lounge" || p.Mode != v1alpha1.PruneModePreview ||
		p.Generation != 1 || p.UID == "" {
		t.Errorf("policy = %+v", p)
	}
	if diff := cmp.Diff(before, w.Members(fullGroup)); diff != "" || w.Happened(apiDelete) != 0 {
		t.Errorf("%d deletions, members (-want,+got)\n%s", w.Happened(apiDelete), diff)
	}
	if diff := cmp.Diff([]string{"Planned", "Previewed"}, w.Events.Reasons()); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	if got := w.Happened(statusPatch); got != 1 {
		t.Errorf("%d status patches, want the plan and the end in one", got)
	}
}

func TestRunEndsWithoutAPlan(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		set       func(w *world)
		trigger   v1alpha1.PruneTrigger
		want      []string
		wantCalls int // of the vendor's API
	}{
		"NotFull": {
			set: func(w *world) {
				w.Group(fullGroup, 2, 5)
				_, err := w.Emulator.Quit(w.t.Context(), fullGroup, "i1")
				must(w.t, err)
			},
			want: []string{"Planned=False/NotFull", "Complete=True/NotFull"}, wantCalls: 1,
		},
		"NotGoverned": {
			set: func(w *world) {
				w.Group(fullGroup, 2, 5)
				w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
					p.Spec.GroupTypes = []v1alpha1.GroupType{v1alpha1.GroupTypeWork}
				})
				w.Publish()
			},
			want: []string{"Planned=False/NotGoverned", "Complete=True/NotGoverned"}, wantCalls: 1,
		},
		"Suspended, Manual too": {
			set: func(w *world) {
				w.Group(fullGroup, 2, 5)
				w.setPruning(v1alpha1.PruningSuspended)
			},
			trigger: v1alpha1.PruneTriggerManual,
			want:    []string{"Planned=False/Suspended", "Complete=True/Suspended"},
		},
		"AppNotFound": {
			set:  func(w *world) { w.Remove(&v1alpha1.IMApp{}, labtest.App) },
			want: []string{"Planned=False/AppNotFound", "Complete=False/AppNotFound", "Failed=True/AppNotFound"},
		},
		"GroupNotFound": {
			set: func(*world) {},
			want: []string{"Planned=False/GroupNotFound", "Complete=False/GroupNotFound",
				"Failed=True/GroupNotFound"}, wantCalls: 1,
		},
		"AVChatRoom": {
			set: func(w *world) {
				_, err := w.Emulator.CreateGroup(w.t.Context(), emulator.GroupSpec{ID: fullGroup, Type: "AVChatRoom"})
				must(w.t, err)
			},
			want: []string{"Planned=False/UnsupportedGroupType", "Complete=False/UnsupportedGroupType",
				"Failed=True/UnsupportedGroupType"},
			wantCalls: 1,
		},
		"wrong key": {
			set: func(w *world) {
				w.Group(fullGroup, 2, 5)
				change(w, &corev1.Secret{}, labtest.Secret, func(s *corev1.Secret) {
					s.Data[v1alpha1.SecretKeySecretKey] = []byte("another key")
				})
			},
			want: []string{"Planned=False/VendorRefused", "Complete=False/VendorRefused",
				"Failed=True/VendorRefused"}, wantCalls: 1,
		},
		"revoked admin": {
			set: func(w *world) {
				w.Group(fullGroup, 2, 5)
				w.Fault(emulator.Fault{API: "*", Kind: emulator.FaultCode, Code: 60010,
					Info: "identifier is not an admin"})
			},
			want: []string{"Planned=False/VendorRefused", "Complete=False/VendorRefused",
				"Failed=True/VendorRefused"}, wantCalls: 1,
		},
		"ActivityUnknown": {
			set: func(w *world) { w.Group(fullGroup, 0, 5); w.silence() },
			want: []string{"Planned=False/ActivityUnknown", "Complete=False/ActivityUnknown",
				"Failed=True/ActivityUnknown"}, wantCalls: 2,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Policy("lounge", v1alpha1.PruneRule{})
			tc.set(w)
			trigger := tc.trigger
			if trigger == "" {
				trigger = v1alpha1.PruneTriggerGroupFull
			}
			w.Run("one", trigger)

			run := w.replica().finish("one")

			wantConditions(t, run, tc.want...)
			if got := len(w.Calls()) - w.Happened(statusPatch); got != tc.wantCalls {
				t.Errorf("calls of the vendor = %v, want %d", w.Calls(), tc.wantCalls)
			}
			if run.Status.Plan != nil || run.Status.Removed != 0 {
				t.Errorf("plan %+v, removed %d, want neither", run.Status.Plan, run.Status.Removed)
			}
		})
	}
}

// silence makes the vendor report for no member when it last spoke.
func (w *world) silence() {
	w.t.Helper()
	_, err := w.Emulator.ChangeGroup(w.t.Context(), fullGroup,
		emulator.GroupChange{Quirks: &emulator.Quirks{OmitLastSendMsgTime: true}})
	must(w.t, err)
}

func TestManualRunNeedsNoFullGroupAndNoCooldown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(3)})
	r := w.replica()
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Removed")

	w.Run("two", v1alpha1.PruneTriggerManual)
	wantConditions(t, r.finish("two"), "Planned=True/Planned", "Complete=True/NothingToRemove")
}

func TestCoolingDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "8h"})
	r := w.replica()
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r.finish("one")

	w.Clock.Forward(8*time.Hour - time.Second)
	w.Run("two", v1alpha1.PruneTriggerGroupFull)
	wantConditions(t, r.finish("two"), "Planned=False/CoolingDown", "Complete=True/CoolingDown")

	w.Clock.Forward(2 * time.Second)
	w.Run("three", v1alpha1.PruneTriggerSweep)
	wantConditions(t, r.finish("three"), "Planned=True/Planned", "Complete=True/Previewed")
}

func TestRunWaitsForObjects(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rule       v1alpha1.PruneRule
		spoil      func(w *world)
		repair     func(w *world)
		wantReason string
		wantCalls  int
	}{
		"SecretNotFound": {
			spoil: func(w *world) { w.Remove(&corev1.Secret{}, labtest.Secret) },
			repair: func(w *world) {
				must(w.t, w.Client.Create(w.t.Context(), &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: labtest.Secret,
						Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
					StringData: map[string]string{v1alpha1.SecretKeySecretKey: lab.SecretKey},
				}))
			},
			wantReason: "SecretNotFound",
		},
		"KeyMissing": {
			spoil: func(w *world) {
				change(w, &corev1.Secret{}, labtest.Secret, func(s *corev1.Secret) { s.Data = nil })
			},
			repair: func(w *world) {
				change(w, &corev1.Secret{}, labtest.Secret, func(s *corev1.Secret) {
					s.Data = map[string][]byte{v1alpha1.SecretKeySecretKey: []byte(lab.SecretKey)}
				})
			},
			wantReason: "KeyMissing",
		},
		"ProtectionUnresolved": {
			rule:  v1alpha1.PruneRule{Protect: &v1alpha1.AccountSelector{Lists: listNamed("vip")}},
			spoil: func(*world) {},
			repair: func(w *world) {
				must(w.t, w.Client.Create(w.t.Context(), &v1alpha1.AccountList{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace,
						Name: "vip"}, Spec: v1alpha1.AccountListSpec{Accounts: []string{"i1"}},
				}))
			},
			wantReason: "ProtectionUnresolved", wantCalls: 1,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Group(fullGroup, 2, 5)
			tc.rule.FreeSeats = seats(2)
			w.Policy("lounge", tc.rule)
			tc.spoil(w)
			w.Publish()
			w.Run("one", v1alpha1.PruneTriggerGroupFull)
			r := w.replica()

			for range 3 { // however many Steps are taken
				if _, err := r.step("one"); err != nil {
					t.Fatal(err)
				}
			}
			run := w.Get("one")
			wantConditions(t, run, "Planned=False/"+tc.wantReason)
			if got := len(w.Calls()) - w.Happened(statusPatch); got != tc.wantCalls {
				t.Errorf("calls of the vendor = %v, want %d", w.Calls(), tc.wantCalls)
			}
			if got := w.Happened(statusPatch); got != 1 {
				t.Errorf("%d status patches, want one for one transition", got)
			}
			if !Wakes(w.Store.Load(), w.Get("one")) {
				t.Error("a new snapshot would not wake it")
			}

			tc.repair(w)
			w.Publish()
			wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Removed")
		})
	}
}

func TestTransientFailureIsRecordedAndWaitedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.Fault(emulator.Fault{API: apiGroup, Kind: emulator.FaultCode, Code: 10002, Info: "internal error, try again",
		Count: 5})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()

	if _, err := r.step("one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	run := w.Get("one")
	wantConditions(t, run, "Planned=False/VendorUnavailable")
	if got, want := run.Status.Conditions[0].Message, "Could not read the group: get_group_info: code 10002: "+
		"internal error, try again."; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	if reason, _, ok := r.Clients.Reachability(w.AppUID()); !ok || reason != v1alpha1.ReasonUnreachable {
		t.Errorf("reachability = %q, %v", reason, ok)
	}
	wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Removed")
	if reason, _, _ := r.Clients.Reachability(w.AppUID()); reason != v1alpha1.ReasonReachable {
		t.Errorf("reachability = %q", reason)
	}
}

func TestVerificationPauseIsRespected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.Fault(emulator.Fault{API: "*", Kind: emulator.FaultCode, Code: 70050, Count: 1})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()

	live := &runReads{Reader: w.Client}
	r.Live = live
	for range 3 {
		next, err := r.step("one")
		if err != nil || next.After < 50*time.Second {
			t.Errorf("next = %v, %v, want to be left alone for a minute", next, err)
		}
	}
	if got := live.whole.Load(); got != 1 {
		t.Errorf("the run was read %d times during the pause, want once", got)
	}
	if got := w.Happened(apiGroup); got != 1 {
		t.Errorf("%d calls during the pause, want 1", got)
	}
	w.Clock.Forward(time.Minute)
	r.finish("one")
}

func TestMemberListThatFailsMidwayGivesNoPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 20, 230)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(50)})
	w.Fault(emulator.Fault{API: apiList, Kind: emulator.FaultHTTP, Status: 502, Skip: 1})
	before := w.Members(fullGroup)
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()

	if _, err := r.step("one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	run := w.Get("one")
	wantConditions(t, run, "Planned=False/VendorUnavailable")
	if run.Status.Plan != nil || w.Happened(apiDelete) != 0 {
		t.Errorf("plan %v, %d deletions, want none", run.Status.Plan, w.Happened(apiDelete))
	}
	if diff := cmp.Diff(before, w.Members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
}

func TestPlanWaitsForASnapshotThatHoldsTheLivePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.FreeSeats = seats(3) })

	next, err := r.step("one")
	if err != nil || next.After == 0 || w.Get("one").Status.Plan != nil {
		t.Errorf("planned by a rule that was edited: %v, %v", next, err)
	}
	w.Publish()
	if got := r.finish("one").Status.Removed; got != 3 {
		t.Errorf("removed = %d, want 3", got)
	}

	r.Snapshots = storeNever{}
	w.Run("two", v1alpha1.PruneTriggerManual)
	if next, err := r.step("two"); err != nil || next.After == 0 || prunerun.Finished(w.Get("two")) {
		t.Errorf("a Step before the first snapshot: %v, %v", next, err)
	}
}

func TestRunAppliedTogetherWithItsPolicyIsGoverned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.PolicyFor("lounge", fullGroup, v1alpha1.PruneRule{FreeSeats: seats(2)}) // the snapshot does not have it yet
	w.Run("one", v1alpha1.PruneTriggerManual)
	r := w.replica()
	if next, err := r.step("one"); err != nil || next.After == 0 || prunerun.Finished(w.Get("one")) {
		t.Errorf("next = %v, %v, want to wait for the snapshot", next, err)
	}
	w.Publish()
	wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Removed")
}

func TestOldestRunOfAGroupGoesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2),
		Protect: &v1alpha1.AccountSelector{Lists: listNamed("vip")}})
	r := w.replica()
	w.Run("a-first", v1alpha1.PruneTriggerManual)
	w.Run("b-second", v1alpha1.PruneTriggerManual) // in the same second, so that the name decides
	for _, name := range []string{"b-second", "a-first", "b-second"} {
		if _, err := r.step(name); err != nil {
			t.Fatal(err)
		}
	}
	wantConditions(t, w.Get("b-second"), "Planned=False/Queued")
	wantConditions(t, w.Get("a-first"), "Planned=False/ProtectionUnresolved")

	must(t, w.Client.Create(t.Context(), &v1alpha1.AccountList{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace,
			Name: "vip"}, Spec: v1alpha1.AccountListSpec{Accounts: []string{"i1"}},
	}))
	w.Publish()
	wantConditions(t, r.finish("a-first"), "Planned=True/Planned", "Complete=True/Removed")
	wantConditions(t, r.finish("b-second"), "Planned=True/Planned", "Complete=True/NothingToRemove")
}

func TestRunThatWasPlannedElsewhereMeanwhileQueuesThisOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	w.Run("a-first", v1alpha1.PruneTriggerManual)
	w.Run("b-second", v1alpha1.PruneTriggerManual)
	// A former leader records a plan for the younger run while we list the members for the older one.
	w.Once(apiList, 1, func() {
		other := w.Get("b-second")
		other.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(w.Clock.Now()),
			Removals: []v1alpha1.PlannedRemoval{
				{Account: "i1", LastActiveAt: metav1.NewTime(w.Clock.Now()), Reason: v1alpha1.RemovalReasonNeverSpoke}}}
		must(t, w.Client.Status().Update(t.Context(), other))
	})
	if _, err := w.replica().step("a-first"); err != nil {
		t.Fatal(err)
	}
	run := w.Get("a-first")
	wantConditions(t, run, "Planned=False/Queued")
	if run.Status.Plan != nil {
		t.Error("two runs of the group are past planning")
	}
}

func TestFailedReadOfTheAppDoesNotEndTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	r.Live = brokenReader{Reader: w.Client, broken: func(o any) bool { _, ok := o.(*v1alpha1.IMApp); return ok }}
	if _, err := r.step("one"); !errors.Is(err, errBroken) {
		t.Errorf("err = %v, want %v", err, errBroken)
	}
	if prunerun.Finished(w.Get("one")) {
		t.Error("an error was read as an app that is not there")
	}
}

func TestCooldownOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	read := func(groupType v1alpha1.GroupType) *v1alpha1.PruneRun {
		return &v1alpha1.PruneRun{Status: v1alpha1.PruneRunStatus{
			Group: &v1alpha1.PruneGroupRecord{Type: groupType},
		}}
	}
	if got := CooldownOf(nil, fullGroup)(read("")); got != 10*time.Minute {
		t.Errorf("without an app: %v", got)
	}
	if got := CooldownOf(w.Store.Load().AppNamed(w.Namespace, labtest.App),
		fullGroup)(read("Public")); got != 10*time.Minute {
		t.Errorf("without a policy: %v", got)
	}
	w.Policy("lounge", v1alpha1.PruneRule{Cooldown: "3h"})
	app := w.Store.Load().AppNamed(w.Namespace, labtest.App)
	if got := CooldownOf(app, fullGroup)(read("Public")); got != 3*time.Hour {
		t.Errorf("of a type that is governed: %v", got)
	}
	if got := CooldownOf(app, fullGroup)(read("")); got != 10*time.Minute {
		t.Errorf("of a type that is not known: %v", got)
	}
}
