package controllers

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
)

var errCrash = errors.New("the process died")

// enforcing is a world with a full group of 257, of which 230 are to go: three batches.
func enforcing(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.group(fullGroup, 5, 250)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(230), MaxRemovals: 1000, Notification: v1alpha1.NotificationSilent, Reason: "idle"})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	return w
}

const (
	plannedRemovals = 230
	removedWord     = "Complete=True/Removed"
)

// onPatch stands between the nth status patch from now on and the API server.
func (w *world) onPatch(nth int, hook func(run *v1alpha1.PruneRun, send func() error) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patch = func(run *v1alpha1.PruneRun, send func() error) error {
		if nth--; nth == 0 {
			return hook(run, send)
		}
		return send()
	}
}

// positions are the progress of a run, without its time.
func positions(run *v1alpha1.PruneRun) v1alpha1.PruneProgress {
	progress := prunerun.Progress(run)
	progress.LastBatchAt = metav1.Time{}
	return progress
}

func TestEnforceRemovesExactlyThePlanned(t *testing.T) {
	w := enforcing(t)
	before := w.members(fullGroup)
	r := w.process()
	r.Metrics = NewPruneMetrics(prometheus.NewRegistry())

	run := w.finish(r, "one")

	wantConditions(t, run, "Planned=True/Planned", removedWord)
	if got := len(planAccounts(run)); got != plannedRemovals {
		t.Fatalf("%d are planned, want %d", got, plannedRemovals)
	}
	if diff := cmp.Diff(without(before, planAccounts(run)), w.members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if run.Status.Removed != plannedRemovals || len(run.Status.Kept) != 0 {
		t.Errorf("removed %d, kept %v", run.Status.Removed, run.Status.Kept)
	}
	if diff := cmp.Diff(v1alpha1.PruneProgress{Settled: plannedRemovals}, positions(run)); diff != "" {
		t.Errorf("progress (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Planned", "Removed"}, w.events.all()); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	if got := testutil.ToFloat64(r.Metrics.removed); got != plannedRemovals {
		t.Errorf("prune_members_removed_total = %v", got)
	}
	if got := testutil.ToFloat64(r.Metrics.runs.WithLabelValues("Enforce", "Removed")); got != 1 {
		t.Errorf("prune_runs_total = %v", got)
	}

	calls, err := w.emulator.Calls(t.Context(), emulator.RecordFilter{API: apiDelete})
	must(t, err)
	var sizes []int
	for _, call := range calls {
		var body struct {
			Accounts []string `json:"MemberToDel_Account"`
			Silence  int      `json:"Silence"`
			Reason   string   `json:"Reason"`
		}
		must(t, json.Unmarshal(call.Body, &body))
		sizes = append(sizes, len(body.Accounts))
		if body.Silence != 1 || body.Reason != "idle" {
			t.Errorf("silence %d, reason %q", body.Silence, body.Reason)
		}
	}
	if diff := cmp.Diff([]int{100, 100, 30}, sizes); diff != "" {
		t.Errorf("batches (-want,+got)\n%s", diff)
	}
}

func TestEveryDeletionFollowsItsFence(t *testing.T) {
	w := enforcing(t)
	w.finish(w.process(), "one")
	writes := slices.DeleteFunc(slices.Clone(w.calls), func(call string) bool { return call != "patch" && call != apiDelete })
	want := []string{
		"patch",                     // the plan
		"patch", apiDelete, "patch", // fence, deletion, settlement
		"patch", apiDelete, "patch",
		"patch", apiDelete, "patch",
		"patch", // the end
	}
	if diff := cmp.Diff(want, writes); diff != "" {
		t.Errorf("writes (-want,+got)\n%s", diff)
	}
	for i, call := range w.calls {
		if call != apiDelete {
			continue
		}
		if diff := cmp.Diff([]string{apiGroup, apiLook}, lastBefore(w.calls[:i], apiGroup, apiLook)); diff != "" {
			t.Errorf("before deletion %d (-want,+got)\n%s", i, diff)
		}
	}
}

// lastBefore returns the order in which the last of each of these happened.
func lastBefore(calls []string, of ...string) []string {
	slices.SortFunc(of, func(a, b string) int { return lastIndex(calls, a) - lastIndex(calls, b) })
	return of
}

func lastIndex(calls []string, call string) int {
	for i := len(calls) - 1; i >= 0; i-- {
		if calls[i] == call {
			return i
		}
	}
	return -1
}

// TestCrash ends the process at every place where it has just written or is about to, lets somebody who is planned to go speak, and goes on
// with another process.
func TestCrash(t *testing.T) {
	type place struct {
		name string
		set  func(w *world, die func())
	}
	var places []place
	for n := 1; n <= 8; n++ {
		places = append(places,
			place{fmt.Sprintf("before status patch %d", n), func(w *world, die func()) {
				w.onPatch(n, func(*v1alpha1.PruneRun, func() error) error { die(); return errCrash })
			}},
			place{fmt.Sprintf("after status patch %d", n), func(w *world, die func()) {
				w.onPatch(n, func(_ *v1alpha1.PruneRun, send func() error) error {
					err := send()
					die()
					return errors.Join(err, errCrash)
				})
			}})
	}
	for n := 1; n <= 3; n++ {
		places = append(places,
			place{fmt.Sprintf("before the answer to deletion %d", n), func(w *world, die func()) { w.once(apiDelete, n, die) }},
			place{fmt.Sprintf("in look %d", n), func(w *world, die func()) { w.once(apiLook, n, die) }})
	}
	for _, place := range places {
		t.Run(place.name, func(t *testing.T) {
			w := enforcing(t)
			before := w.members(fullGroup)
			first := w.process()
			died := false
			place.set(w, func() { died = true; w.kill(first) })
			for range 3 {
				if _, err := w.reconcile(first, "one"); err != nil {
					t.Fatalf("a process that has lost its term reports %v", err)
				}
			}
			if !died {
				t.Fatal("the place was never reached")
			}
			w.serving.Wait()
			w.onPatch(0, nil)
			w.once(apiDelete, 0, nil)
			w.once(apiLook, 0, nil)

			// The last one of the plan has not been removed yet, unless everybody has.
			speaker := "i250"
			if planned := planAccounts(w.get("one")); len(planned) > 0 {
				speaker = planned[len(planned)-1]
			}
			spoke := slices.Contains(w.members(fullGroup), speaker)
			if spoke {
				_, err := w.emulator.Speak(t.Context(), fullGroup, speaker)
				must(t, err)
			}
			run := w.finish(w.process(), "one")

			wantConditions(t, run, "Planned=True/Planned", removedWord)
			gone := planAccounts(run)
			if spoke && slices.Contains(gone, speaker) {
				gone = without(gone, []string{speaker})
				if diff := cmp.Diff(map[string]v1alpha1.KeptReason{speaker: v1alpha1.KeptReasonActiveAgain}, kept(run)); diff != "" {
					t.Errorf("kept (-want,+got)\n%s", diff)
				}
			}
			if diff := cmp.Diff(without(before, gone), w.members(fullGroup)); diff != "" {
				t.Errorf("members (-want,+got)\n%s", diff)
			}
			if got, want := int(run.Status.Removed), len(gone); got != want {
				t.Errorf("removed = %d, want %d", got, want)
			}
			if got := run.Status.Progress; got.Settled != plannedRemovals || got.InFlight != 0 {
				t.Errorf("progress = %+v", got)
			}
		})
	}
}

func TestFormerHolderOfTheTermIsFenced(t *testing.T) {
	t.Run("before its fence", func(t *testing.T) {
		w := enforcing(t)
		before := w.members(fullGroup)
		former, next := w.process(), w.process()
		// It stops right before its first fence, for long enough that another one does all the work.
		w.onPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
			w.onPatch(0, nil)
			w.finish(next, "one")
			w.forget()
			return send()
		})
		if result, err := w.reconcile(former, "one"); err != nil || result.RequeueAfter == 0 {
			t.Errorf("result = %v, %v, want to look again", result, err)
		}
		if got := w.happened(apiDelete); got != 0 {
			t.Errorf("%d deletions after losing the fence", got)
		}
		wantRemoved(t, w, before)
	})
	t.Run("between its fence and its deletion", func(t *testing.T) {
		w := enforcing(t)
		before := w.members(fullGroup)
		former, next := w.process(), w.process()
		w.onPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
			err := send()
			w.onPatch(0, nil)
			w.clock.forward(20 * time.Second)
			w.finish(next, "one")
			w.forget()
			return err
		})
		if _, err := w.reconcile(former, "one"); err != nil {
			t.Error(err)
		}
		if got := w.happened(apiDelete) + w.happened("patch"); got != 0 {
			t.Errorf("%d deletions and patches by a look of 20 seconds ago: %v", got, w.calls)
		}
		wantRemoved(t, w, before)
	})
	t.Run("a resumed batch makes its copy stale", func(t *testing.T) {
		w := enforcing(t)
		before := w.members(fullGroup)
		former, next := w.process(), w.process()
		// The next one has only just fenced the same batch when the former one wakes up before its settlement.
		w.onPatch(3, func(_ *v1alpha1.PruneRun, send func() error) error {
			w.onPatch(0, nil)
			_, err := w.emulator.PutMembers(t.Context(), fullGroup, emulator.MemberSpec{Accounts: []string{"i1"}, InactiveFor: "40d"})
			must(t, err)
			version := w.get("one").ResourceVersion
			w.once(apiDelete, 1, func() {
				if w.get("one").ResourceVersion == version {
					t.Error("the second fence wrote nothing")
				}
				if err := send(); err == nil {
					t.Error("a stale copy was written over the fence")
				}
			})
			w.finish(next, "one")
			return errCrash
		})
		_, _ = w.reconcile(former, "one")
		wantRemoved(t, w, before)
	})
}

func wantRemoved(t *testing.T, w *world, before []string) {
	t.Helper()
	run := w.get("one")
	wantConditions(t, run, "Planned=True/Planned", removedWord)
	if diff := cmp.Diff(without(before, planAccounts(run)), w.members(fullGroup)); diff != "" || run.Status.Removed != plannedRemovals {
		t.Errorf("removed %d, members (-want,+got)\n%s", run.Status.Removed, diff)
	}
}

func TestNothingIsWrittenOrCalledAfterTheTerm(t *testing.T) {
	for _, place := range []struct {
		what string
		nth  int
	}{{apiGroup, 1}, {apiList, 2}, {"patch", 1}, {apiGroup, 2}, {apiLook, 1}, {"patch", 2}, {apiDelete, 1}, {"patch", 3}, {apiLook, 4}, {apiDelete, 2}} {
		t.Run(fmt.Sprintf("%s %d", place.what, place.nth), func(t *testing.T) {
			w := enforcing(t)
			r := w.process()
			calls := 0
			w.once(place.what, place.nth, func() {
				w.mu.Lock()
				calls = len(w.calls)
				w.mu.Unlock()
				w.kill(r)
			})
			for range 3 {
				if _, err := w.reconcile(r, "one"); err != nil {
					t.Errorf("err = %v", err)
				}
			}
			w.serving.Wait()
			if calls == 0 || len(w.calls) != calls {
				t.Errorf("after the end of the term, at %d: %v", calls, w.calls)
			}
		})
	}
}

func TestRunIsOvertakenByEvents(t *testing.T) {
	tests := map[string]struct {
		rule func(*v1alpha1.PruneRule)
		// meanwhile happens while the first batch is deleted.
		meanwhile func(w *world)
		want      []string
		removed   int32
	}{
		"policy edited: Superseded": {
			meanwhile: func(w *world) {
				change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.MaxRemovals = 999 })
				w.publish()
			},
			want: []string{"Planned=True/Planned", "Complete=True/Superseded"}, removed: 100,
		},
		"another policy outranks it: Superseded": {
			meanwhile: func(w *world) {
				change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Labels = map[string]string{"a": "b"} })
				w.policyFor("b-exact", fullGroup, v1alpha1.PruneRule{})
				w.publish()
			},
			want: []string{"Planned=True/Planned", "Complete=True/Superseded"}, removed: 100,
			rule: func(*v1alpha1.PruneRule) {},
		},
		"policy deleted: NotGoverned": {
			meanwhile: func(w *world) {
				remove(w, &v1alpha1.GroupPolicy{}, "lounge")
				w.publish()
			},
			want: []string{"Planned=True/Planned", "Complete=True/NotGoverned"}, removed: 100,
		},
		"pruning suspended": {
			meanwhile: func(w *world) {
				change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
			},
			want: []string{"Planned=True/Planned", "Complete=True/Suspended"}, removed: 100,
		},
		"app deleted": {
			meanwhile: func(w *world) { remove(w, &v1alpha1.IMApp{}, pruneApp) },
			want:      []string{"Planned=True/Planned", "Complete=False/AppNotFound", "Failed=True/AppNotFound"}, removed: 100,
		},
		"group disbanded": {
			meanwhile: func(w *world) {
				w.once(apiGroup, 1, func() { must(w.t, w.emulator.DestroyGroup(w.t.Context(), fullGroup)) })
			},
			want: []string{"Planned=True/Planned", "Complete=False/GroupNotFound", "Failed=True/GroupNotFound"}, removed: 100,
		},
		"admin revoked": {
			meanwhile: func(w *world) { w.fault(emulator.Fault{API: apiGroup, Kind: emulator.FaultCode, Code: 60010}) },
			want:      []string{"Planned=True/Planned", "Complete=False/VendorRefused", "Failed=True/VendorRefused"}, removed: 100,
		},
		"enough seats are free": {
			meanwhile: func(w *world) {
				w.once(apiGroup, 1, func() {
					_, err := w.emulator.ChangeGroup(w.t.Context(), fullGroup, emulator.GroupChange{MaxMembers: new(1000)})
					must(w.t, err)
				})
			},
			want: []string{"Planned=True/Planned", removedWord}, removed: 100,
		},
		"a few seats are missing": {
			meanwhile: func(w *world) {
				w.once(apiGroup, 1, func() {
					_, err := w.emulator.ChangeGroup(w.t.Context(), fullGroup, emulator.GroupChange{MaxMembers: new(257 + 123)})
					must(w.t, err)
				})
			},
			want: []string{"Planned=True/Planned", removedWord}, removed: 107,
		},
		"plan too old": {
			meanwhile: func(w *world) {
				w.onPatch(1, func(_ *v1alpha1.PruneRun, send func() error) error {
					w.clock.forward(24*time.Hour + time.Second)
					return send()
				})
			},
			want: []string{"Planned=True/Planned", "Complete=True/Expired"}, removed: 100,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			if tc.rule != nil { // the policy of all other groups of a prefix gives way to an exact one
				change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
					p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
				})
				w.publish()
			}
			w.once(apiDelete, 1, func() { tc.meanwhile(w) })
			r := w.process()
			run := w.finish(r, "one")
			wantConditions(t, run, tc.want...)
			if run.Status.Removed != tc.removed || run.Status.Progress.InFlight != 0 {
				t.Errorf("removed = %d, want %d; progress %+v", run.Status.Removed, tc.removed, run.Status.Progress)
			}
			w.forget()
			if _, err := w.reconcile(r, "one"); err != nil || len(w.calls) != 0 {
				t.Errorf("after its end: %v, %v", w.calls, err)
			}
		})
	}
}

func TestSuspendedRunDoesNotResume(t *testing.T) {
	w := enforcing(t)
	suspend := func(state v1alpha1.PruningState) {
		change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = state })
		w.publish()
	}
	w.once(apiDelete, 1, func() { suspend(v1alpha1.PruningSuspended) })
	r := w.process()
	w.finish(r, "one")
	suspend(v1alpha1.PruningEnabled)
	if _, err := w.reconcile(r, "one"); err != nil || w.get("one").Status.Removed != 100 {
		t.Errorf("removed = %d, %v, want 100 for good", w.get("one").Status.Removed, err)
	}
}

func TestLastLookKeeps(t *testing.T) {
	w := enforcing(t)
	ctx := t.Context()
	w.once(apiLook, 1, func() {
		_, err := w.emulator.Speak(ctx, fullGroup, "i1")
		_, err2 := w.emulator.Quit(ctx, fullGroup, "i10", "i100")
		_, err3 := w.emulator.PutMembers(ctx, fullGroup, emulator.MemberSpec{Accounts: []string{"i10"}, SpokeAgo: "39d", JoinedAgo: "1m"}) // he has rejoined
		_, err4 := w.emulator.PutMembers(ctx, fullGroup, emulator.MemberSpec{Accounts: []string{"i101"}, Role: "Admin"})
		must(t, errors.Join(err, err2, err3, err4))
	})
	before := w.members(fullGroup)

	run := w.finish(w.process(), "one")

	want := map[string]v1alpha1.KeptReason{
		"i1": v1alpha1.KeptReasonActiveAgain, "i10": v1alpha1.KeptReasonActiveAgain,
		"i100": v1alpha1.KeptReasonLeft, "i101": v1alpha1.KeptReasonRoleChanged,
	}
	if diff := cmp.Diff(want, kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	// One seat less was needed, since one has left; those who were kept are not replaced.
	wantConditions(t, run, "Planned=True/Planned", removedWord)
	if got := run.Status.Removed; got != plannedRemovals-4 {
		t.Errorf("removed = %d, want %d", got, plannedRemovals-4)
	}
	gone := append(without(planAccounts(run), []string{"i1", "i10", "i101"}), "i100")
	if diff := cmp.Diff(without(before, gone), w.members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
}

func TestProtectionIsTheCurrentOne(t *testing.T) {
	vip := &v1alpha1.AccountList{Spec: v1alpha1.AccountListSpec{Accounts: []string{"t1"}}}
	begin := func(t *testing.T) *world {
		w := newWorld(t)
		w.group(fullGroup, 5, 250)
		list := vip.DeepCopy()
		list.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "vip"}
		must(t, w.client.Create(t.Context(), list))
		w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(plannedRemovals), MaxRemovals: 1000,
			Protect: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "vip"}}}})
		w.run("one", v1alpha1.PruneTriggerGroupFull)
		return w
	}
	t.Run("added in the middle: kept", func(t *testing.T) {
		w := begin(t)
		var late []string
		w.once(apiDelete, 1, func() {
			late = planAccounts(w.get("one"))[150:153]
			change(w, &v1alpha1.AccountList{}, "vip", func(l *v1alpha1.AccountList) { l.Spec.Accounts = append(l.Spec.Accounts, late...) })
			w.publish()
		})
		run := w.finish(w.process(), "one")
		want := map[string]v1alpha1.KeptReason{}
		for _, account := range late {
			want[account] = v1alpha1.KeptReasonProtected
		}
		if diff := cmp.Diff(want, kept(run)); diff != "" || run.Status.Removed != plannedRemovals-3 {
			t.Errorf("removed %d, kept (-want,+got)\n%s", run.Status.Removed, diff)
		}
		for _, account := range late {
			if !slices.Contains(w.members(fullGroup), account) {
				t.Errorf("%s is gone", account)
			}
		}
	})
	t.Run("list deleted in the middle: waits", func(t *testing.T) {
		w := begin(t)
		w.once(apiDelete, 1, func() {
			remove(w, &v1alpha1.AccountList{}, "vip")
			w.publish()
		})
		r := w.process()
		for range 3 {
			if _, err := w.reconcile(r, "one"); err != nil {
				t.Fatal(err)
			}
		}
		run := w.get("one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=False/ProtectionUnresolved")
		if run.Status.Removed != 100 || w.happened(apiDelete) != 1 {
			t.Errorf("removed = %d in %d deletions, want 100 in 1", run.Status.Removed, w.happened(apiDelete))
		}
		if got := r.waitingRuns(t.Context()); !requested(got, w.namespace, "one") {
			t.Error("a new snapshot would not wake it")
		}
		list := vip.DeepCopy()
		list.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "vip"}
		must(t, w.client.Create(t.Context(), list))
		w.publish()
		if got := w.finish(r, "one").Status.Removed; got != plannedRemovals {
			t.Errorf("removed = %d, want %d", got, plannedRemovals)
		}
	})
}

func TestFailedDeletionIsTakenUp(t *testing.T) {
	for name, afterEffect := range map[string]bool{"it had no effect": false, "it had been carried out": true} {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			before := w.members(fullGroup)
			w.fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultHTTP, Status: 504, Skip: 1, Count: 5, AfterEffect: afterEffect})
			r := w.process()
			if _, err := w.reconcile(r, "one"); err == nil {
				t.Error("no error: the queue would not come back")
			}
			run := w.get("one")
			wantConditions(t, run, "Planned=True/Planned", "Complete=False/VendorUnavailable")
			if diff := cmp.Diff(v1alpha1.PruneProgress{Settled: 100, InFlight: 100}, positions(run)); diff != "" {
				t.Errorf("progress (-want,+got)\n%s", diff)
			}
			w.finish(r, "one")
			wantRemoved(t, w, before)
		})
	}
}

// comesBack makes an account a member anew.
func (w *world) comesBack(account string) {
	w.t.Helper()
	w.clock.forward(time.Second)
	_, err := w.emulator.PutMembers(w.t.Context(), fullGroup, emulator.MemberSpec{Accounts: []string{account}})
	must(w.t, err)
}

func TestWhoCameBackBeforeTheBatchWasTakenUpWasRemoved(t *testing.T) {
	w := enforcing(t)
	w.fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultHTTP, Status: 504, Count: 5, AfterEffect: true})
	r := w.process()
	_, _ = w.reconcile(r, "one")
	w.comesBack("i1")
	run := w.finish(r, "one")
	if run.Status.Removed != plannedRemovals || len(run.Status.Kept) != 0 {
		t.Errorf("removed %d, kept %v; want %d removed, one of whom came back", run.Status.Removed, run.Status.Kept, plannedRemovals)
	}
	if !slices.Contains(w.members(fullGroup), "i1") {
		t.Error("who came back was removed again")
	}
}

func TestRefusedDeletionFailsTheRun(t *testing.T) {
	w := enforcing(t)
	w.fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultCode, Code: 10007, Info: "no permission", Skip: 1})
	run := w.finish(w.process(), "one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=False/UnsupportedGroupType", "Failed=True/UnsupportedGroupType")
	if diff := cmp.Diff(v1alpha1.PruneProgress{Settled: 100}, positions(run)); diff != "" || run.Status.Removed != 100 {
		t.Errorf("removed %d, progress (-want,+got)\n%s", run.Status.Removed, diff)
	}
	if got := w.happened(apiDelete); got != 2 {
		t.Errorf("%d deletions, want no repetition of one that was refused", got)
	}
}

func TestClockThatGoesWrongInTheMiddleRemovesNobody(t *testing.T) {
	w := enforcing(t)
	w.once(apiDelete, 1, func() {
		_, err := w.emulator.MoveClock(t.Context(), emulator.ClockChange{Forward: "-10m"})
		must(t, err)
	})
	r := w.process()
	if _, err := w.reconcile(r, "one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	wantConditions(t, w.get("one"), "Planned=True/Planned", "Complete=False/ClockSkew")
	if got := w.happened(apiDelete); got != 1 {
		t.Errorf("%d deletions, want 1", got)
	}
	_, err := w.emulator.MoveClock(t.Context(), emulator.ClockChange{Reset: true})
	must(t, err)
	wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", removedWord)
}

// TestRunEndsWithABatchInFlight ends a run whose process died around the first deletion.
func TestRunEndsWithABatchInFlight(t *testing.T) {
	suspend := func(w *world) {
		change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
	}
	tests := map[string]struct {
		deleted      bool
		meanwhile    func(w *world)
		wantReason   string
		wantProgress v1alpha1.PruneProgress
		wantRemoved  int32
		wantKept     int
	}{
		"suspended, it was carried out": {
			deleted: true, meanwhile: suspend, wantReason: "Suspended",
			wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 100,
		},
		"suspended, it was not carried out": {
			meanwhile: suspend, wantReason: "Suspended",
		},
		"suspended, somebody left": {
			meanwhile: func(w *world) {
				_, err := w.emulator.Quit(w.t.Context(), fullGroup, "i1")
				must(w.t, err)
				suspend(w)
			},
			wantReason: "Suspended", wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 1, wantKept: 99,
		},
		"suspended, the vendor is out of reach": {
			deleted: true,
			meanwhile: func(w *world) {
				w.fault(emulator.Fault{API: "*", Kind: emulator.FaultHTTP, Status: 502})
				suspend(w)
			},
			wantReason: "Suspended", wantProgress: v1alpha1.PruneProgress{InFlight: 100},
		},
		"suspended, it was carried out and one came back": {
			deleted: true,
			meanwhile: func(w *world) {
				w.comesBack("i1")
				suspend(w)
			},
			wantReason: "Suspended", wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 100,
		},
		"expired, it was carried out": {
			deleted: true, meanwhile: func(w *world) { w.clock.forward(25 * time.Hour) }, wantReason: "Expired",
			wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 100,
		},
		"superseded, it was carried out": {
			deleted: true,
			meanwhile: func(w *world) {
				change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.Reason = "other" })
				w.publish()
			},
			wantReason:   "Superseded",
			wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 100,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			first := w.process()
			if tc.deleted {
				w.once(apiDelete, 1, func() { w.kill(first) })
			} else {
				w.onPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
					err := send()
					w.kill(first)
					return err
				})
			}
			_, err := w.reconcile(first, "one")
			must(t, err)
			w.serving.Wait()
			w.onPatch(0, nil)
			w.once(apiDelete, 0, nil)
			tc.meanwhile(w)
			w.forget()

			run := w.finish(w.process(), "one")

			wantConditions(t, run, "Planned=True/Planned", "Complete=True/"+tc.wantReason)
			if diff := cmp.Diff(tc.wantProgress, positions(run)); diff != "" || run.Status.Removed != tc.wantRemoved {
				t.Errorf("removed %d, want %d; progress (-want,+got)\n%s", run.Status.Removed, tc.wantRemoved, diff)
			}
			if len(run.Status.Kept) != tc.wantKept || (tc.wantKept > 0 && run.Status.Kept[0].Reason != v1alpha1.KeptReasonRunEnded) {
				t.Errorf("kept = %v, want %d", run.Status.Kept, tc.wantKept)
			}
			if got := w.happened(apiDelete); got != 0 {
				t.Errorf("%d deletions by a run that ends", got)
			}
		})
	}
}

func TestOldLookIsRepeatedBeforeTheDeletion(t *testing.T) {
	w := enforcing(t)
	before := w.members(fullGroup)
	w.onPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
		w.clock.forward(6 * time.Second) // the first fence takes long, and somebody speaks meanwhile
		_, err := w.emulator.Speak(t.Context(), fullGroup, "i1")
		return errors.Join(err, send())
	})
	run := w.finish(w.process(), "one")
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonActiveAgain}, kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff(without(before, without(planAccounts(run), []string{"i1"})), w.members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if got := run.Status.Removed; got != plannedRemovals-1 {
		t.Errorf("removed = %d, want %d", got, plannedRemovals-1)
	}
}

func TestLookThatTookTooLongIsNone(t *testing.T) {
	w := enforcing(t)
	w.once(apiLook, 2, func() { // the second half of the first batch
		w.clock.forward(16 * time.Second)
		_, err := w.emulator.Speak(t.Context(), fullGroup, "i1") // who is in the first half
		must(t, err)
	})
	run := w.finish(w.process(), "one")
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonActiveAgain}, kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
}

func TestLooksThatAreAlwaysTooLateGiveWay(t *testing.T) {
	w := enforcing(t)
	w.mu.Lock()
	w.before[apiLook] = func() { w.clock.forward(16 * time.Second) }
	w.mu.Unlock()
	r := w.process()
	if _, err := w.reconcile(r, "one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	wantConditions(t, w.get("one"), "Planned=True/Planned", "Complete=False/VendorUnavailable")
	if got := w.happened(apiDelete); got != 0 {
		t.Errorf("%d deletions, want none", got)
	}
	w.once(apiLook, 0, nil)
	if got := w.finish(r, "one").Status.Removed; got != plannedRemovals {
		t.Errorf("removed = %d, want %d", got, plannedRemovals)
	}
}

// Others have left while the batch was interrupted, so that fewer seats are needed than it was made for.
func TestInterruptedBatchRemovesNoMoreThanTheSeatsNeeded(t *testing.T) {
	for name, goneOfBatch := range map[string]int{"nobody of the batch is gone": 0, "some of the batch are gone": 10} {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			first := w.process()
			w.once(apiLook, 1, func() {
				_, err := w.emulator.Speak(t.Context(), fullGroup, planAccounts(w.get("one"))[0])
				must(t, err)
			})
			w.onPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
				err := send()
				w.kill(first)
				return err
			})
			_, _ = w.reconcile(first, "one")
			w.onPatch(0, nil)
			batch := planAccounts(w.get("one"))[:100]
			for _, account := range append(without(w.members(fullGroup), append(batch, "owner", "boss", "t1", "t2", "t3", "t4", "t5")), batch[1:1+goneOfBatch]...) {
				_, err := w.emulator.Quit(t.Context(), fullGroup, account)
				must(t, err)
			}

			run := w.finish(w.process(), "one")
			wantConditions(t, run, "Planned=True/Planned", removedWord)
			if got, want := len(w.members(fullGroup)), 257-plannedRemovals; got != want {
				t.Errorf("%d members are left, want %d: as many as leave %d seats free", got, want, plannedRemovals)
			}
			if run.Status.Removed != 80 {
				t.Errorf("removed %d, want 80: 150 others left by themselves", run.Status.Removed)
			}
			stay := kept(run)
			if len(stay) != len(run.Status.Kept) {
				t.Errorf("somebody is on record twice: %v", run.Status.Kept)
			}
			for account, reason := range stay {
				want := v1alpha1.KeptReasonRunEnded
				if account == batch[0] {
					want = v1alpha1.KeptReasonActiveAgain
				}
				if reason != want || account != batch[0] && goneOfBatch == 0 {
					t.Errorf("%s was kept because %s", account, reason)
				}
			}
		})
	}
}

func TestWhoComesBackAtOnceIsNotRemovedAgainByARepetition(t *testing.T) {
	w := enforcing(t)
	// The first answer is lost; before anything else reaches the vendor, one of those who went has come back.
	w.fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultCode, Code: 60008, Info: "timeout", Count: 1, AfterEffect: true})
	r := w.process()
	if _, err := w.reconcile(r, "one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	if got := w.happened(apiDelete); got != 1 {
		t.Errorf("%d deletions without another look", got)
	}
	w.comesBack("i1")
	run := w.finish(r, "one")
	if run.Status.Removed != plannedRemovals || !slices.Contains(w.members(fullGroup), "i1") {
		t.Errorf("removed %d, want %d, and i1 to be a member again", run.Status.Removed, plannedRemovals)
	}
}
