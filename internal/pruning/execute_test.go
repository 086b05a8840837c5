package pruning

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
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

var errCrash = errors.New("the process died")

// enforcing is a world with a full group of 257, of which 230 are to go: three batches.
func enforcing(t *testing.T) *world {
	t.Helper()
	return enforcingOf(t, 250, plannedRemovals)
}

// enforcingOf is a world with a full group of some idlers, and that many members to remove.
func enforcingOf(t *testing.T, idlers, removals int) *world {
	t.Helper()
	w := newWorld(t)
	w.Group(fullGroup, 5, idlers)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(removals), MaxRemovals: 1000,
		Notification: v1alpha1.NotificationSilent, Reason: "idle"})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	return w
}

const (
	plannedRemovals  = 230
	removedCondition = "Complete=True/Removed"
)

// positions are the progress of a run, without its time.
func positions(run *v1alpha1.PruneRun) v1alpha1.PruneProgress {
	progress := prunerun.Progress(run)
	progress.LastBatchAt = metav1.Time{}
	return progress
}

func TestEnforceRemovesExactlyThePlanned(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	before := w.Members(fullGroup)
	r := w.replica()
	r.Metrics = NewMetrics(prometheus.NewRegistry())

	run := r.finish("one")

	wantConditions(t, run, "Planned=True/Planned", removedCondition)
	if got := len(planOf(run)); got != plannedRemovals {
		t.Fatalf("%d are planned, want %d", got, plannedRemovals)
	}
	if diff := cmp.Diff(without(before, planOf(run)), w.Members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if run.Status.Removed != plannedRemovals || len(run.Status.Kept) != 0 {
		t.Errorf("removed %d, kept %v", run.Status.Removed, run.Status.Kept)
	}
	if diff := cmp.Diff(v1alpha1.PruneProgress{Settled: plannedRemovals}, positions(run)); diff != "" {
		t.Errorf("progress (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Planned", "Removed"}, w.Events.Reasons()); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	if got := testutil.ToFloat64(r.Metrics.removed.WithLabelValues("FreeSeats")); got != plannedRemovals {
		t.Errorf("prune_members_removed_total = %v", got)
	}
	if got := testutil.ToFloat64(r.Metrics.runs.WithLabelValues("FreeSeats", "Enforce", "Removed")); got != 1 {
		t.Errorf("prune_runs_total = %v", got)
	}

	calls, err := w.Emulator.Calls(t.Context(), emulator.RecordFilter{API: apiDelete})
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
	t.Parallel()
	w := enforcing(t)
	w.replica().finish("one")
	writes := slices.DeleteFunc(slices.Clone(w.Calls()),
		func(call string) bool { return call != statusPatch && call != apiDelete })
	want := []string{
		statusPatch,                         // the plan
		statusPatch, apiDelete, statusPatch, // fence, deletion, settlement
		statusPatch, apiDelete, statusPatch,
		statusPatch, apiDelete, statusPatch,
		statusPatch, // the end
	}
	if diff := cmp.Diff(want, writes); diff != "" {
		t.Errorf("writes (-want,+got)\n%s", diff)
	}
	for i, call := range w.Calls() {
		if call != apiDelete {
			continue
		}
		if diff := cmp.Diff([]string{apiGroup, apiNamed}, lastBefore(w.Calls()[:i], apiGroup, apiNamed)); diff != "" {
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

// TestCrash ends the process at every point where it has just written or is about to, lets a member that is planned to
// go speak, and goes on with another process.
func TestCrash(t *testing.T) {
	t.Parallel()
	type point struct {
		name string
		set  func(w *world, die func())
	}
	var points []point
	for n := 1; n <= 8; n++ {
		points = append(points,
			point{fmt.Sprintf("before status patch %d", n), func(w *world, die func()) {
				w.OnPatch(n, func(*v1alpha1.PruneRun, func() error) error { die(); return errCrash })
			}},
			point{fmt.Sprintf("after status patch %d", n), func(w *world, die func()) {
				w.OnPatch(n, func(_ *v1alpha1.PruneRun, send func() error) error {
					err := send()
					die()
					return errors.Join(err, errCrash)
				})
			}})
	}
	for n := 1; n <= 3; n++ {
		points = append(points,
			point{fmt.Sprintf("before the answer to deletion %d", n),
				func(w *world, die func()) { w.Once(apiDelete, n, die) }},
			point{fmt.Sprintf("during recheck %d", n), func(w *world, die func()) { w.Once(apiNamed, n, die) }})
	}
	for _, point := range points {
		t.Run(point.name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			before := w.Members(fullGroup)
			first := w.replica()
			died := false
			point.set(w, func() { died = true; first.kill() })
			for range 3 {
				if _, err := first.step("one"); err != nil {
					t.Fatalf("a process that has lost its term reports %v", err)
				}
			}
			if !died {
				t.Fatal("the point was never reached")
			}
			w.Serving.Wait()
			w.EachPatch(nil)
			w.Once(apiDelete, 0, nil)
			w.Once(apiNamed, 0, nil)

			// The last one of the plan has not been removed yet, unless everybody has.
			speaker := "i250"
			if planned := planOf(w.Get("one")); len(planned) > 0 {
				speaker = planned[len(planned)-1]
			}
			spoke := slices.Contains(w.Members(fullGroup), speaker)
			if spoke {
				_, err := w.Emulator.Speak(t.Context(), fullGroup, speaker)
				must(t, err)
			}
			run := w.replica().finish("one")

			wantConditions(t, run, "Planned=True/Planned", removedCondition)
			gone := planOf(run)
			if spoke && slices.Contains(gone, speaker) {
				gone = without(gone, []string{speaker})
				if diff := cmp.Diff(map[string]v1alpha1.KeptReason{speaker: v1alpha1.KeptReasonActiveAgain},
					labtest.Kept(run)); diff != "" {
					t.Errorf("kept (-want,+got)\n%s", diff)
				}
			}
			if diff := cmp.Diff(without(before, gone), w.Members(fullGroup)); diff != "" {
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

func TestFormerLeaderIsFenced(t *testing.T) {
	t.Parallel()
	t.Run("before its fence", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		before := w.Members(fullGroup)
		former, next := w.replica(), w.replica()
		// It stops right before its first fence, for long enough that another one does all the work.
		w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
			w.EachPatch(nil)
			next.finish("one")
			w.Forget()
			return send()
		})
		if next, err := former.step("one"); err != nil || next.After == 0 {
			t.Errorf("next = %v, %v, want another Step", next, err)
		}
		if got := w.Happened(apiDelete); got != 0 {
			t.Errorf("%d deletions after losing the fence", got)
		}
		wantRemoved(t, w, before)
	})
	t.Run("between its fence and its deletion", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		before := w.Members(fullGroup)
		former, next := w.replica(), w.replica()
		w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
			err := send()
			w.EachPatch(nil)
			w.Clock.Forward(20 * time.Second)
			next.finish("one")
			w.Forget()
			return err
		})
		if _, err := former.step("one"); err != nil {
			t.Error(err)
		}
		if got := w.Happened(apiDelete) + w.Happened(statusPatch); got != 0 {
			t.Errorf("%d deletions and patches by a recheck of 20 seconds ago: %v", got, w.Calls())
		}
		wantRemoved(t, w, before)
	})
	t.Run("a resumed batch makes its copy stale", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		before := w.Members(fullGroup)
		former, next := w.replica(), w.replica()
		// The next one has only just fenced the same batch when the former one wakes up before its settlement.
		w.OnPatch(3, func(_ *v1alpha1.PruneRun, send func() error) error {
			w.EachPatch(nil)
			_, err := w.Emulator.PutMembers(t.Context(), fullGroup,
				emulator.MemberSpec{Accounts: []string{"i1"}, InactiveFor: "40d"})
			must(t, err)
			version := w.Get("one").ResourceVersion
			w.Once(apiDelete, 1, func() {
				if w.Get("one").ResourceVersion == version {
					t.Error("the second fence wrote nothing")
				}
				if err := send(); err == nil {
					t.Error("a stale copy was written over the fence")
				}
			})
			next.finish("one")
			return errCrash
		})
		_, _ = former.step("one")
		wantRemoved(t, w, before)
	})
}

func wantRemoved(t *testing.T, w *world, before []string) {
	t.Helper()
	run := w.Get("one")
	planned := planOf(run)
	wantConditions(t, run, "Planned=True/Planned", removedCondition)
	if diff := cmp.Diff(without(before, planned), w.Members(fullGroup)); diff != "" ||
		len(planned) == 0 || int(run.Status.Removed) != len(planned) {
		t.Errorf("removed %d, members (-want,+got)\n%s", run.Status.Removed, diff)
	}
}

func TestNothingIsWrittenOrCalledAfterTheTerm(t *testing.T) {
	t.Parallel()
	for _, point := range []struct {
		what string
		nth  int
	}{{apiGroup, 1}, {apiList, 2}, {statusPatch, 1}, {apiGroup, 2}, {apiNamed, 1}, {statusPatch, 2}, {apiDelete,
		1}, {statusPatch, 3}, {apiNamed, 4}, {apiDelete, 2}} {
		t.Run(fmt.Sprintf("%s %d", point.what, point.nth), func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			r := w.replica()
			calls := 0
			w.Once(point.what, point.nth, func() {
				calls = len(w.Calls())
				r.kill()
			})
			for range 3 {
				if _, err := r.step("one"); err != nil {
					t.Errorf("err = %v", err)
				}
			}
			w.Serving.Wait()
			if calls == 0 || len(w.Calls()) != calls {
				t.Errorf("after the end of the term, at %d: %v", calls, w.Calls())
			}
		})
	}
}

func TestRunEndsWhenWhatItRestsOnChanges(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rule func(*v1alpha1.PruneRule)
		// meanwhile happens while the first batch is deleted.
		meanwhile func(w *world)
		want      []string
		removed   int32
	}{
		"policy edited: Superseded": {
			meanwhile: func(w *world) {
				change(w, &v1alpha1.GroupPolicy{}, "lounge",
					func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.MaxRemovals = 999 })
				w.Publish()
			},
			want: []string{"Planned=True/Planned", "Complete=True/Superseded"}, removed: 100,
		},
		"another policy outranks it: Superseded": {
			meanwhile: func(w *world) {
				change(w, &v1alpha1.GroupPolicy{}, "lounge",
					func(p *v1alpha1.GroupPolicy) { p.Labels = map[string]string{"a": "b"} })
				w.PolicyFor("b-exact", fullGroup, v1alpha1.PruneRule{})
				w.Publish()
			},
			want: []string{"Planned=True/Planned", "Complete=True/Superseded"}, removed: 100,
			rule: func(*v1alpha1.PruneRule) {},
		},
		"policy deleted: NotGoverned": {
			meanwhile: func(w *world) {
				w.Remove(&v1alpha1.GroupPolicy{}, "lounge")
				w.Publish()
			},
			want: []string{"Planned=True/Planned", "Complete=True/NotGoverned"}, removed: 100,
		},
		"pruning suspended": {
			meanwhile: func(w *world) {
				w.setPruning(v1alpha1.PruningSuspended)
			},
			want: []string{"Planned=True/Planned", "Complete=True/Suspended"}, removed: 100,
		},
		"app deleted": {
			meanwhile: func(w *world) { w.Remove(&v1alpha1.IMApp{}, labtest.App) },
			want: []string{"Planned=True/Planned", "Complete=False/AppNotFound",
				"Failed=True/AppNotFound"}, removed: 100,
		},
		"group disbanded": {
			meanwhile: func(w *world) {
				w.Once(apiGroup, 1, func() { must(w.t, w.Emulator.DestroyGroup(w.t.Context(), fullGroup)) })
			},
			want: []string{"Planned=True/Planned", "Complete=False/GroupNotFound",
				"Failed=True/GroupNotFound"}, removed: 100,
		},
		"admin revoked": {
			meanwhile: func(w *world) { w.Fault(emulator.Fault{API: apiGroup, Kind: emulator.FaultCode, Code: 60010}) },
			want: []string{"Planned=True/Planned", "Complete=False/VendorRefused",
				"Failed=True/VendorRefused"}, removed: 100,
		},
		"enough seats are free": {
			meanwhile: func(w *world) {
				w.Once(apiGroup, 1, func() {
					_, err := w.Emulator.ChangeGroup(w.t.Context(), fullGroup,
						emulator.GroupChange{MaxMembers: new(1000)})
					must(w.t, err)
				})
			},
			want: []string{"Planned=True/Planned", removedCondition}, removed: 100,
		},
		"a few seats are missing": {
			meanwhile: func(w *world) {
				w.Once(apiGroup, 1, func() {
					_, err := w.Emulator.ChangeGroup(w.t.Context(), fullGroup,
						emulator.GroupChange{MaxMembers: new(257 + 123)})
					must(w.t, err)
				})
			},
			want: []string{"Planned=True/Planned", removedCondition}, removed: 107,
		},
		"plan too old": {
			meanwhile: func(w *world) {
				w.OnPatch(1, func(_ *v1alpha1.PruneRun, send func() error) error {
					w.Clock.Forward(24*time.Hour + time.Second)
					return send()
				})
			},
			want: []string{"Planned=True/Planned", "Complete=True/Expired"}, removed: 100,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			if tc.rule != nil { // the policy of all other groups of a prefix gives way to an exact one
				w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
					p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
				})
				w.Publish()
			}
			w.Once(apiDelete, 1, func() { tc.meanwhile(w) })
			r := w.replica()
			run := r.finish("one")
			wantConditions(t, run, tc.want...)
			if run.Status.Removed != tc.removed || run.Status.Progress.InFlight != 0 {
				t.Errorf("removed = %d, want %d; progress %+v", run.Status.Removed, tc.removed, run.Status.Progress)
			}
			w.Forget()
			if _, err := r.step("one"); err != nil || len(w.Calls()) != 0 {
				t.Errorf("after its end: %v, %v", w.Calls(), err)
			}
		})
	}
}

func TestSuspendedRunDoesNotResume(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	suspend := func(state v1alpha1.PruningState) {
		w.setPruning(state)
		w.Publish()
	}
	w.Once(apiDelete, 1, func() { suspend(v1alpha1.PruningSuspended) })
	r := w.replica()
	r.finish("one")
	suspend(v1alpha1.PruningEnabled)
	if _, err := r.step("one"); err != nil || w.Get("one").Status.Removed != 100 {
		t.Errorf("removed = %d, %v, want 100 for good", w.Get("one").Status.Removed, err)
	}
}

func TestRecheckSparesMembers(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	ctx := t.Context()
	w.Once(apiNamed, 1, func() {
		_, err := w.Emulator.Speak(ctx, fullGroup, "i1")
		_, err2 := w.Emulator.Quit(ctx, fullGroup, "i10", "i100")
		_, err3 := w.Emulator.PutMembers(ctx, fullGroup,
			emulator.MemberSpec{Accounts: []string{"i10"}, SpokeAgo: "39d", JoinedAgo: "1m"}) // has rejoined
		_, err4 := w.Emulator.PutMembers(ctx, fullGroup, emulator.MemberSpec{Accounts: []string{"i101"}, Role: "Admin"})
		must(t, errors.Join(err, err2, err3, err4))
	})
	before := w.Members(fullGroup)

	run := w.replica().finish("one")

	want := map[string]v1alpha1.KeptReason{
		"i1": v1alpha1.KeptReasonActiveAgain, "i10": v1alpha1.KeptReasonActiveAgain,
		"i100": v1alpha1.KeptReasonLeft, "i101": v1alpha1.KeptReasonRoleChanged,
	}
	if diff := cmp.Diff(want, labtest.Kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	// One seat less was needed, since one has left; the spared members are not replaced.
	wantConditions(t, run, "Planned=True/Planned", removedCondition)
	if got := run.Status.Removed; got != plannedRemovals-4 {
		t.Errorf("removed = %d, want %d", got, plannedRemovals-4)
	}
	gone := append(without(planOf(run), []string{"i1", "i10", "i101"}), "i100")
	if diff := cmp.Diff(without(before, gone), w.Members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
}

func TestProtectionIsTheCurrentOne(t *testing.T) {
	t.Parallel()
	vip := &v1alpha1.AccountList{Spec: v1alpha1.AccountListSpec{Accounts: []string{"t1"}}}
	begin := func(t *testing.T) *world {
		w := newWorld(t)
		w.Group(fullGroup, 5, 250)
		list := vip.DeepCopy()
		list.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: "vip"}
		must(t, w.Client.Create(t.Context(), list))
		w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(plannedRemovals), MaxRemovals: 1000,
			Protect: &v1alpha1.AccountSelector{Lists: listNamed("vip")}})
		w.Run("one", v1alpha1.PruneTriggerGroupFull)
		return w
	}
	t.Run("added in the middle: kept", func(t *testing.T) {
		t.Parallel()
		w := begin(t)
		var late []string
		w.Once(apiDelete, 1, func() {
			late = planOf(w.Get("one"))[150:153]
			change(w, &v1alpha1.AccountList{}, "vip", func(l *v1alpha1.AccountList) {
				l.Spec.Accounts = append(l.Spec.Accounts, late...)
			})
			w.Publish()
		})
		run := w.replica().finish("one")
		want := map[string]v1alpha1.KeptReason{}
		for _, account := range late {
			want[account] = v1alpha1.KeptReasonProtected
		}
		if diff := cmp.Diff(want, labtest.Kept(run)); diff != "" || run.Status.Removed != plannedRemovals-3 {
			t.Errorf("removed %d, kept (-want,+got)\n%s", run.Status.Removed, diff)
		}
		for _, account := range late {
			if !slices.Contains(w.Members(fullGroup), account) {
				t.Errorf("%s is gone", account)
			}
		}
	})
	t.Run("list deleted in the middle: waits", func(t *testing.T) {
		t.Parallel()
		w := begin(t)
		w.Once(apiDelete, 1, func() {
			w.Remove(&v1alpha1.AccountList{}, "vip")
			w.Publish()
		})
		r := w.replica()
		for range 3 {
			if _, err := r.step("one"); err != nil {
				t.Fatal(err)
			}
		}
		run := w.Get("one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=False/ProtectionUnresolved")
		if run.Status.Removed != 100 || w.Happened(apiDelete) != 1 {
			t.Errorf("removed = %d in %d deletions, want 100 in 1", run.Status.Removed, w.Happened(apiDelete))
		}
		if !Wakes(w.Store.Load(), w.Get("one")) {
			t.Error("a new snapshot would not wake it")
		}
		list := vip.DeepCopy()
		list.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: "vip"}
		must(t, w.Client.Create(t.Context(), list))
		w.Publish()
		if got := r.finish("one").Status.Removed; got != plannedRemovals {
			t.Errorf("removed = %d, want %d", got, plannedRemovals)
		}
	})
}

func TestFailedDeletionIsResumed(t *testing.T) {
	t.Parallel()
	for name, afterEffect := range map[string]bool{"it had no effect": false, "it had been carried out": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			before := w.Members(fullGroup)
			w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultHTTP, Status: 504, Skip: 1, Count: 5,
				AfterEffect: afterEffect})
			r := w.replica()
			if _, err := r.step("one"); err == nil {
				t.Error("no error: the queue would not come back")
			}
			run := w.Get("one")
			wantConditions(t, run, "Planned=True/Planned", "Complete=False/VendorUnavailable")
			if diff := cmp.Diff(v1alpha1.PruneProgress{Settled: 100, InFlight: 100}, positions(run)); diff != "" {
				t.Errorf("progress (-want,+got)\n%s", diff)
			}
			r.finish("one")
			wantRemoved(t, w, before)
		})
	}
}

// comesBack makes an account a member anew.
func (w *world) comesBack(account string) {
	w.t.Helper()
	w.Clock.Forward(time.Second)
	_, err := w.Emulator.PutMembers(w.t.Context(), fullGroup, emulator.MemberSpec{Accounts: []string{account}})
	must(w.t, err)
}

func TestMemberThatReturnedBeforeTheBatchWasResumedCountsAsRemoved(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultHTTP, Status: 504, Count: 5, AfterEffect: true})
	r := w.replica()
	_, _ = r.step("one")
	w.comesBack("i1")
	run := r.finish("one")
	if run.Status.Removed != plannedRemovals || len(run.Status.Kept) != 0 {
		t.Errorf("removed %d, kept %v; want %d removed, one of which came back", run.Status.Removed, run.Status.Kept,
			plannedRemovals)
	}
	if !slices.Contains(w.Members(fullGroup), "i1") {
		t.Error("a member that came back was removed again")
	}
}

func TestRefusedDeletionFailsTheRun(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultCode, Code: 10007, Info: "no permission", Skip: 1})
	run := w.replica().finish("one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=False/VendorRefused", "Failed=True/VendorRefused")
	if diff := cmp.Diff(v1alpha1.PruneProgress{Settled: 100}, positions(run)); diff != "" || run.Status.Removed != 100 {
		t.Errorf("removed %d, progress (-want,+got)\n%s", run.Status.Removed, diff)
	}
	if got := w.Happened(apiDelete); got != 2 {
		t.Errorf("%d deletions, want no repetition of one that was refused", got)
	}
}

func TestClockSkewInTheMiddleStopsRemovals(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Once(apiDelete, 1, func() {
		_, err := w.Emulator.MoveClock(t.Context(), emulator.ClockChange{Forward: "-10m"})
		must(t, err)
	})
	r := w.replica()
	if _, err := r.step("one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	wantConditions(t, w.Get("one"), "Planned=True/Planned", "Complete=False/ClockSkew")
	if got := w.Happened(apiDelete); got != 1 {
		t.Errorf("%d deletions, want 1", got)
	}
	_, err := w.Emulator.MoveClock(t.Context(), emulator.ClockChange{Reset: true})
	must(t, err)
	wantConditions(t, r.finish("one"), "Planned=True/Planned", removedCondition)
}

// TestRunEndsWithABatchInFlight ends a run whose process died around the first deletion.
func TestRunEndsWithABatchInFlight(t *testing.T) {
	t.Parallel()
	suspend := func(w *world) {
		w.setPruning(v1alpha1.PruningSuspended)
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
		"suspended, a member left": {
			meanwhile: func(w *world) {
				_, err := w.Emulator.Quit(w.t.Context(), fullGroup, "i1")
				must(w.t, err)
				suspend(w)
			},
			wantReason: "Suspended", wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 1, wantKept: 99,
		},
		"suspended, the vendor is out of reach": {
			deleted: true,
			meanwhile: func(w *world) {
				w.Fault(emulator.Fault{API: "*", Kind: emulator.FaultHTTP, Status: 502})
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
			deleted: true, meanwhile: func(w *world) { w.Clock.Forward(25 * time.Hour) }, wantReason: "Expired",
			wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 100,
		},
		"superseded, it was carried out": {
			deleted: true,
			meanwhile: func(w *world) {
				change(w, &v1alpha1.GroupPolicy{}, "lounge",
					func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.Reason = "other" })
				w.Publish()
			},
			wantReason:   "Superseded",
			wantProgress: v1alpha1.PruneProgress{Settled: 100}, wantRemoved: 100,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			first := w.replica()
			if tc.deleted {
				w.Once(apiDelete, 1, func() { first.kill() })
			} else {
				w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
					err := send()
					first.kill()
					return err
				})
			}
			_, err := first.step("one")
			must(t, err)
			w.Serving.Wait()
			w.EachPatch(nil)
			w.Once(apiDelete, 0, nil)
			tc.meanwhile(w)
			w.Forget()

			run := w.replica().finish("one")

			wantConditions(t, run, "Planned=True/Planned", "Complete=True/"+tc.wantReason)
			if diff := cmp.Diff(tc.wantProgress, positions(run)); diff != "" || run.Status.Removed != tc.wantRemoved {
				t.Errorf("removed %d, want %d; progress (-want,+got)\n%s", run.Status.Removed, tc.wantRemoved, diff)
			}
			if len(run.Status.Kept) != tc.wantKept || (tc.wantKept > 0 &&
				run.Status.Kept[0].Reason != v1alpha1.KeptReasonRunEnded) {
				t.Errorf("kept = %v, want %d", run.Status.Kept, tc.wantKept)
			}
			if got := w.Happened(apiDelete); got != 0 {
				t.Errorf("%d deletions by a run that ends", got)
			}
		})
	}
}

// The deletion starts too late, and is not sent; before it is repeated, the app is gone.
func TestBatchIsSettledAlthoughItsAppWasDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error { // the record of the first batch
		w.Clock.Forward(6 * time.Second)
		w.Remove(&v1alpha1.IMApp{}, "prod")
		return send()
	})
	run := w.replica().finish("one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=False/AppNotFound", "Failed=True/AppNotFound")
	if diff := cmp.Diff(v1alpha1.PruneProgress{}, positions(run)); diff != "" {
		t.Errorf("progress (-want,+got)\n%s", diff)
	}
}

func TestOldRecheckIsRepeatedBeforeTheDeletion(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	before := w.Members(fullGroup)
	w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
		w.Clock.Forward(6 * time.Second) // the first fence takes long, and a member speaks meanwhile
		_, err := w.Emulator.Speak(t.Context(), fullGroup, "i1")
		return errors.Join(err, send())
	})
	run := w.replica().finish("one")
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonActiveAgain},
		labtest.Kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff(without(before, without(planOf(run), []string{"i1"})), w.Members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
	if got := run.Status.Removed; got != plannedRemovals-1 {
		t.Errorf("removed = %d, want %d", got, plannedRemovals-1)
	}
}

func TestRecheckThatTookTooLongIsVoid(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Once(apiNamed, 2, func() { // the second half of the first batch
		w.Clock.Forward(16 * time.Second)
		_, err := w.Emulator.Speak(t.Context(), fullGroup, "i1") // of the first half
		must(t, err)
	})
	run := w.replica().finish("one")
	if diff := cmp.Diff(map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonActiveAgain},
		labtest.Kept(run)); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
}

func TestRechecksThatAreAlwaysTooLateMakeTheRunWait(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Before(apiNamed, func() { w.Clock.Forward(16 * time.Second) })
	r := w.replica()
	if _, err := r.step("one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	wantConditions(t, w.Get("one"), "Planned=True/Planned", "Complete=False/VendorUnavailable")
	if got := w.Happened(apiDelete); got != 0 {
		t.Errorf("%d deletions, want none", got)
	}
	w.Once(apiNamed, 0, nil)
	if got := r.finish("one").Status.Removed; got != plannedRemovals {
		t.Errorf("removed = %d, want %d", got, plannedRemovals)
	}
}

// Others have left while the batch was interrupted, so that fewer seats are needed than it was made for.
func TestResumedBatchRemovesNoMoreThanNeeded(t *testing.T) {
	t.Parallel()
	for name, goneOfBatch := range map[string]int{"none of the batch is gone": 0, "some of the batch are gone": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			first := w.replica()
			w.Once(apiNamed, 1, func() {
				_, err := w.Emulator.Speak(t.Context(), fullGroup, planOf(w.Get("one"))[0])
				must(t, err)
			})
			w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
				err := send()
				first.kill()
				return err
			})
			_, _ = first.step("one")
			w.EachPatch(nil)
			batch := planOf(w.Get("one"))[:100]
			for _, account := range append(without(w.Members(fullGroup),
				append(batch, "owner", "boss", "t1", "t2", "t3", "t4", "t5")), batch[1:1+goneOfBatch]...) {
				_, err := w.Emulator.Quit(t.Context(), fullGroup, account)
				must(t, err)
			}

			run := w.replica().finish("one")
			wantConditions(t, run, "Planned=True/Planned", removedCondition)
			if got, want := len(w.Members(fullGroup)), 257-plannedRemovals; got != want {
				t.Errorf("%d members are left, want %d: as many as leave %d seats free", got, want, plannedRemovals)
			}
			if run.Status.Removed != 80 {
				t.Errorf("removed %d, want 80: 150 others left by themselves", run.Status.Removed)
			}
			stay := labtest.Kept(run)
			if len(stay) != len(run.Status.Kept) {
				t.Errorf("an account is recorded twice: %v", run.Status.Kept)
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

func TestMemberThatReturnsAtOnceIsNotRemovedByARetry(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	// The first answer is lost; before anything else reaches the vendor, one of the removed members has come back.
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultCode, Code: 60008, Info: "timeout", Count: 1,
		AfterEffect: true})
	r := w.replica()
	if _, err := r.step("one"); err == nil {
		t.Error("no error: the queue would not come back")
	}
	if got := w.Happened(apiDelete); got != 1 {
		t.Errorf("%d deletions without another recheck", got)
	}
	w.comesBack("i1")
	run := r.finish("one")
	if run.Status.Removed != plannedRemovals || !slices.Contains(w.Members(fullGroup), "i1") {
		t.Errorf("removed %d, want %d, and i1 to be a member again", run.Status.Removed, plannedRemovals)
	}
}
