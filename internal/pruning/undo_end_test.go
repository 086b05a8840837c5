package pruning

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestUndoEndsEarly(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		meanwhile func(w *world)
		reason    string
		added     int
		unknown   int // of which it is not known whether they are back
		says      []string
	}{
		"group gone": {
			meanwhile: func(w *world) { must(w.t, w.Emulator.DestroyGroup(w.t.Context(), fullGroup)) },
			reason:    v1alpha1.ReasonGroupNotFound, says: []string{"10010",
				"0 of 45 accounts are back; 45 were not added"},
		},
		"group gone in the middle": {
			meanwhile: func(w *world) {
				w.Once(apiAdd, 2, func() { must(w.t, w.Emulator.DestroyGroup(w.t.Context(), fullGroup)) })
			},
			reason: v1alpha1.ReasonGroupNotFound, added: 20, says: []string{"10010",
				"20 of 45 accounts are back; 25 were not added"},
		},
		"refused for good in the middle": {
			meanwhile: func(w *world) {
				w.Fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultCode, Code: 10026, Info: "switched off",
					Skip: 1})
			},
			reason: v1alpha1.ReasonVendorRefused, added: 20, says: []string{"10026", "switched off", "20 of 45"},
		},
		"refused for good after an answer was lost": {
			meanwhile: func(w *world) {
				w.Fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultHTTP, Status: 504, Count: 1, AfterEffect: true})
				w.Fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultCode, Code: 10026})
			},
			reason: v1alpha1.ReasonVendorRefused, added: 20, says: []string{"10026", "20 of 45"},
		},
		"refused for good, and so is the recheck": {
			meanwhile: func(w *world) {
				w.Fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultCode, Code: 10026})
				w.Fault(emulator.Fault{API: apiNamed, Kind: emulator.FaultCode, Code: 10004, Skip: 1})
			},
			reason: v1alpha1.ReasonVendorRefused, unknown: 20,
			says: []string{"25 were not added, for 20 the result is not known"},
		},
		"another app of that name": {
			meanwhile: func(w *world) {
				w.makeAppAnew(w.deleteApp(), func(app *v1alpha1.IMApp) { app.Spec.SDKAppID++ })
			},
			reason: v1alpha1.ReasonSuperseded, says: []string{"recreated"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, removed, _ := pruned(t)
			w.RequestUndo("one")
			tc.meanwhile(w)
			r := w.replica()
			r.Metrics = NewMetrics(prometheus.NewRegistry())
			run := r.finishUndo("one")
			want := allWith(removed, v1alpha1.RestoreResultFailed)
			maps.Copy(want, allWith(removed[:tc.added], v1alpha1.RestoreResultAdded))
			maps.Copy(want, allWith(removed[tc.added:tc.added+tc.unknown], v1alpha1.RestoreResultAdding))
			wantRestored(t, run, want)
			undone := undoneCondition(run)
			if undone.Status != metav1.ConditionFalse || undone.Reason != tc.reason {
				t.Errorf("Undone = %s/%s, want False/%s", undone.Status, undone.Reason, tc.reason)
			}
			for _, words := range tc.says {
				if !strings.Contains(undone.Message, words) {
					t.Errorf("message %q does not say %q", undone.Message, words)
				}
			}
			if diff := cmp.Diff([]string{tc.reason}, w.Events.Reasons()); diff != "" {
				t.Errorf("events (-want,+got)\n%s", diff)
			}
			if got := testutil.ToFloat64(r.Metrics.restored.WithLabelValues("FreeSeats")); got != float64(tc.added) {
				t.Errorf("prune_members_restored_total = %v, want %d", got, tc.added)
			}
			w.Forget()
			if _, err := r.step("one"); err != nil || len(w.Calls()) != 0 {
				t.Errorf("after its end: %v, %v", w.Calls(), err)
			}
		})
	}
}

// deleteApp deletes the IMApp, and returns what it was. Only the API server knows before the next Publish.
func (w *world) deleteApp() *v1alpha1.IMApp {
	w.t.Helper()
	app := &v1alpha1.IMApp{}
	must(w.t, w.Client.Get(w.t.Context(), w.Key(labtest.App), app))
	w.Remove(&v1alpha1.IMApp{}, labtest.App)
	return app
}

// makeAppAnew creates the IMApp as it was, but for edit, and later than the run one.
func (w *world) makeAppAnew(was *v1alpha1.IMApp, edit func(*v1alpha1.IMApp)) {
	w.t.Helper()
	eventually(w.t, func() error { // creation times have whole seconds
		again := &v1alpha1.IMApp{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: labtest.App}, Spec: was.Spec,
		}
		edit(again)
		must(w.t, w.Client.Create(w.t.Context(), again))
		if again.CreationTimestamp.After(w.Get("one").CreationTimestamp.Time) {
			return nil
		}
		w.Remove(&v1alpha1.IMApp{}, labtest.App)
		return errors.New("as old as the run")
	})
	w.Publish()
}

func TestUndoWaits(t *testing.T) {
	t.Parallel()
	secret := func(w *world, edit func(*corev1.Secret)) {
		change(w, &corev1.Secret{}, labtest.Secret, edit)
		w.Publish()
	}
	var deleted *v1alpha1.IMApp // by the test of that name
	tests := map[string]struct {
		begin, end func(w *world)
		reason     string
		woken      bool // by a new snapshot
	}{
		"Secret without the key": {
			begin: func(w *world) { secret(w, func(s *corev1.Secret) { s.Data = nil }) },
			end: func(w *world) {
				secret(w, func(s *corev1.Secret) { s.Data = map[string][]byte{"secretKey": []byte(lab.SecretKey)} })
			},
			reason: v1alpha1.ReasonKeyMissing, woken: true,
		},
		"Secret missing": {
			begin: func(w *world) {
				change(w, &v1alpha1.IMApp{}, labtest.App,
					func(app *v1alpha1.IMApp) { app.Spec.CredentialsSecretRef.Name = "other" })
				w.Publish()
			},
			end: func(w *world) {
				change(w, &v1alpha1.IMApp{}, labtest.App,
					func(app *v1alpha1.IMApp) { app.Spec.CredentialsSecretRef.Name = labtest.Secret })
				w.Publish()
			},
			reason: v1alpha1.ReasonSecretNotFound, woken: true,
		},
		"app deleted": {
			begin:  func(w *world) { deleted = w.deleteApp() },
			end:    func(w *world) { w.makeAppAnew(deleted, func(*v1alpha1.IMApp) {}) },
			reason: v1alpha1.ReasonAppNotFound, woken: true,
		},
		"wrong key": {
			begin: func(w *world) {
				secret(w, func(s *corev1.Secret) { s.Data = map[string][]byte{"secretKey": []byte("wrong")} })
			},
			end: func(w *world) {
				secret(w, func(s *corev1.Secret) { s.Data = map[string][]byte{"secretKey": []byte(lab.SecretKey)} })
			},
			reason: v1alpha1.ReasonVendorUnavailable,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, removed, left := pruned(t)
			w.RequestUndo("one")
			tc.begin(w)
			r := w.replica()
			if next, err := r.step("one"); err != nil || next.After != maxRequeue {
				t.Errorf("next = %v, %v, want another Step in %s", next, err, maxRequeue)
			}
			run := w.Get("one")
			if got := undoneCondition(run); got.Status != metav1.ConditionFalse || got.Reason != tc.reason ||
				got.Message == "" || prunerun.UndoEnded(run) {
				t.Errorf("Undone = %+v, want %s", got, tc.reason)
			}
			if got := Wakes(w.Store.Load(), w.Get("one")); got != tc.woken {
				t.Errorf("woken by a snapshot: %v, want %v", got, tc.woken)
			}
			if got := w.Happened(apiGroup); got > 1 {
				t.Errorf("%d calls with a key that the vendor does not accept", got)
			}
			w.Forget()
			if _, err := r.step("one"); err != nil || w.Happened(statusPatch) != 0 {
				t.Errorf("a wait that goes on is written again: %v, %v", w.Calls(), err)
			}
			tc.end(w)
			wantRestored(t, r.finishUndo("one"), allWith(removed, v1alpha1.RestoreResultAdded))
			wantMembers(t, w, left, removed)
		})
	}
}

func TestUndoWaitsForABatchInFlight(t *testing.T) {
	t.Parallel()
	w, removed, _ := pruned(t)
	r := w.replica()
	guests(t, w, toRestore) // so that there are members to remove
	w.Clock.Forward(time.Hour)
	w.Run("two", v1alpha1.PruneTriggerManual)
	w.Once(apiDelete, 1, func() { r.kill() })
	if _, err := r.step("two"); err != nil {
		t.Fatal(err)
	}
	w.Serving.Wait()
	w.Once(apiDelete, 0, nil)
	w.RequestUndo("one")
	r = w.replica()
	w.Forget()
	if _, err := r.step("one"); err != nil {
		t.Fatal(err)
	}
	if got := undoneCondition(w.Get("one")); got.Reason != v1alpha1.ReasonQueued || w.Happened(apiAdd) != 0 {
		t.Errorf("Undone = %+v, want Queued", got)
	}
	two := r.stepUntil("two", func(run *v1alpha1.PruneRun) bool { return prunerun.Progress(run).InFlight == 0 })
	run := r.finishUndo("one")
	if got := run.Status.Undo.Added; int(got) != min(toRestore, int(two.Status.Removed)) || got == 0 {
		t.Errorf("added = %d, %d seats were made free", got, two.Status.Removed)
	}
	r.finish("two")
	if len(removed) != toRestore {
		t.Error("another plan")
	}
}

// A run that has removed members, and waits until it may remove more, is no reason to keep them out for a day.
func TestUndoGoesBeforeARunThatWaitsForItsBudget(t *testing.T) {
	t.Parallel()
	w, removed, left := pruned(t)
	r := w.replica()
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
		rule := p.Spec.WhenFull.Prune
		rule.Mode, rule.FreeSeats, rule.MaxRemovalsPerDay = v1alpha1.PruneModeApprove, seats(60), toRestore+5
	})
	w.Publish()
	w.Clock.Forward(time.Hour)
	w.Run("two", v1alpha1.PruneTriggerManual)
	r.mustStep("two")
	w.Decide("two", v1alpha1.ApprovalApproved)
	r.mustStep("two")
	two := w.Get("two")
	wantConditions(t, two, "Planned=True/Planned", "Complete=False/BudgetExhausted")
	if got := two.Status.Removed; got != 5 {
		t.Fatalf("removed %d", got)
	}
	w.RequestUndo("one")
	r.mustStep("one")
	run := w.Get("one")
	wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
	wantMembers(t, w, removed, without(left, prunerun.RemovedAccounts(w.Get("two"))))
}

// An undo does not wait for all batches of a run, but for the one in flight.
func TestUndoGoesBetweenTwoBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 5, 250)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(5), MaxRemovals: 1000})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	removed := prunerun.RemovedAccounts(r.finish("one"))
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.FreeSeats = seats(240) })
	w.Publish()
	w.Run("two", v1alpha1.PruneTriggerManual)
	w.Once(apiDelete, 1, func() { w.RequestUndo("one") })
	r.mustStep("two")
	two := w.Get("two")
	wantConditions(t, two, "Planned=True/Planned", "Complete=False/Queued")
	if got := two.Status.Removed; got != 100 {
		t.Errorf("removed %d before the undo, want one batch", got)
	}
	r.mustStep("one")
	wantRestored(t, w.Get("one"), allWith(removed, v1alpha1.RestoreResultAdded))
	wantConditions(t, r.finish("two"), "Planned=True/Planned", removedCondition)
}

func TestUndoDoesNotTouchAGroupMadeAnew(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]bool{"before it begins": false, "in the middle": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, removed, _ := pruned(t)
			again := func() {
				must(t, w.Emulator.DestroyGroup(t.Context(), fullGroup))
				w.Clock.Forward(time.Hour)
				_, err := w.Emulator.CreateGroup(t.Context(), emulator.GroupSpec{
					ID: fullGroup, Type: "Public", Owner: "stranger", MaxMembers: 200,
				})
				must(t, err)
			}
			want := allWith(removed, v1alpha1.RestoreResultFailed)
			w.RequestUndo("one")
			r := w.replica()
			if begun {
				w.Once(apiAdd, 1, r.kill)
				r.mustStep("one")
				w.Serving.Wait()
				r = w.replica()
			}
			again()
			run := r.finishUndo("one")
			wantRestored(t, run, want)
			wantMembers(t, w, []string{"stranger"})
			if got := undoneCondition(run); got.Reason != v1alpha1.ReasonGroupNotFound ||
				!strings.Contains(got.Message, "the present one of this id was created at ") {
				t.Errorf("Undone = %s: %q", got.Reason, got.Message)
			}
		})
	}
}

func TestUndoLeavesOutAccountsThatALaterRunRemoved(t *testing.T) {
	t.Parallel()
	w, removed, left := pruned(t)
	r := w.replica()
	back := removed[:10]
	w.Put(fullGroup, emulator.MemberSpec{Accounts: back, InactiveFor: "400d", JoinedAgo: "500d"})
	w.Clock.Forward(time.Hour)
	w.Run("two", v1alpha1.PruneTriggerManual)
	if diff := cmp.Diff(slices.Sorted(slices.Values(back)),
		slices.Sorted(slices.Values(prunerun.RemovedAccounts(r.finish("two"))))); diff != "" {
		t.Fatalf("removed again (-want,+got)\n%s", diff)
	}
	w.RequestUndo("one")
	run := r.finishUndo("one")
	want := allWith(removed, v1alpha1.RestoreResultAdded)
	maps.Copy(want, allWith(back, v1alpha1.RestoreResultRemovedAgain))
	wantRestored(t, run, want)
	if got := undoneCondition(run).Message; !strings.Contains(got, "10 were removed again by later runs") {
		t.Errorf("Undone says %q", got)
	}
	wantMembers(t, w, left, removed[10:])
	// Undone as well, the later run brings them back.
	w.RequestUndo("two")
	r.finishUndo("two")
	wantMembers(t, w, left, removed)
}

// Once the later run is undone, too, the accounts are wanted in the group.
func TestUndoOfTwoRunsThatRemovedTheSameAccounts(t *testing.T) {
	t.Parallel()
	w, removed, left := pruned(t)
	r := w.replica()
	w.Put(fullGroup, emulator.MemberSpec{Accounts: removed[:10], InactiveFor: "400d", JoinedAgo: "500d"})
	w.Clock.Forward(time.Hour)
	w.Run("two", v1alpha1.PruneTriggerManual)
	r.finish("two")
	w.RequestUndo("one")
	w.RequestUndo("two")
	wantRestored(t, r.finishUndo("one"), allWith(removed, v1alpha1.RestoreResultAdded))
	if diff := cmp.Diff("AlreadyMember", string(restored(r.finishUndo("two"))[removed[0]])); diff != "" {
		t.Errorf("the second undo (-want,+got)\n%s", diff)
	}
	wantMembers(t, w, left, removed)
}

func TestRunsWaitForTheUndo(t *testing.T) {
	t.Parallel()
	w, _, _ := pruned(t)
	r := w.replica()
	w.Run("a-older", v1alpha1.PruneTriggerManual) // not planned: an undo does not wait for it
	w.RequestUndo("one")
	w.Once(apiAdd, 2, func() { r.kill() })
	if _, err := r.step("one"); err != nil {
		t.Fatal(err)
	}
	w.Serving.Wait()
	w.Once(apiAdd, 0, nil)
	r = w.replica()
	w.Forget()
	if _, err := r.step("a-older"); err != nil {
		t.Fatal(err)
	}
	wantConditions(t, w.Get("a-older"), "Planned=False/Queued")
	if got := w.Happened(apiList); got != 0 {
		t.Errorf("%d lists while members come back", got)
	}
	r.finishUndo("one")
	r.finish("a-older")
}

func TestTwoUndosOfOneGroup(t *testing.T) {
	t.Parallel()
	w, removed, left := pruned(t)
	r := w.replica()
	// A second run removes the rest of the idlers.
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.FreeSeats = seats(60) })
	w.Publish()
	w.Run("two", v1alpha1.PruneTriggerManual)
	if got := r.finish("two").Status.Removed; got != 15 {
		t.Fatalf("removed = %d", got)
	}
	w.backend()
	w.RequestUndo("one")
	w.RequestUndo("two")
	w.Once(apiAdd, 1, func() { r.kill() })
	if _, err := r.step("one"); err != nil {
		t.Fatal(err)
	}
	w.Serving.Wait()
	w.Once(apiAdd, 0, nil)
	r = w.replica()
	if _, err := r.step("two"); err != nil {
		t.Fatal(err)
	}
	if got := undoneCondition(w.Get("two")); got.Reason != v1alpha1.ReasonQueued ||
		!strings.Contains(got.Message, "one") {
		t.Errorf("Undone = %+v, want Queued behind one", got)
	}
	one := r.finishUndo("one")
	two := r.finishUndo("two")
	wantRestored(t, one, allWith(removed, v1alpha1.RestoreResultAdded))
	if got := two.Status.Undo.Added; got != 15 {
		t.Errorf("added = %d, want 15", got)
	}
	wantMembers(t, w, left, removed)
}

// A denial asks nothing of the group, so that it need not wait for an undo, which may wait for its IMApp.
func TestDeniedRunEndsWhileAnUndoOfItsGroupWaits(t *testing.T) {
	t.Parallel()
	w, _, _ := pruned(t)
	r := w.replica()
	guests(t, w, toRestore)
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.Mode = v1alpha1.PruneModeApprove })
	w.Publish()
	w.Clock.Forward(time.Hour)
	w.Run("two", v1alpha1.PruneTriggerManual)
	r.mustStep("two")
	wantConditions(t, w.Get("two"), "Planned=True/Planned", "Complete=False/AwaitingApproval")
	w.Remove(&v1alpha1.IMApp{}, labtest.App)
	w.Publish()
	w.RequestUndo("one")
	r.mustStep("one")
	w.Decide("two", v1alpha1.ApprovalDenied)
	r.mustStep("two")
	wantConditions(t, w.Get("two"), "Planned=True/Planned", "Complete=True/Denied")
}
