package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	apiAdd        = "add_group_member"
	toRestore     = 45 // three batches
	undoneWord    = "Undone=True/Undone"
	undoTestGroup = 2 + 5 + 60
)

// pruned is a world with a group of which the run "one" has removed 45 of 60 idlers, and whom it holds then; the seats are free.
func pruned(t *testing.T) (w *world, removed, left []string) {
	t.Helper()
	w = newWorld(t)
	w.group(fullGroup, 5, 60)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(toRestore)})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	run := w.finish(w.process(), "one")
	removed = planAccounts(run)
	slices.Reverse(removed)
	if len(removed) != toRestore || run.Status.Removed != toRestore {
		t.Fatalf("%d planned, %d removed", len(removed), run.Status.Removed)
	}
	w.forget()
	w.events.reasons = nil
	return w, removed, w.members(fullGroup)
}

func (w *world) requestUndo(name string) {
	w.t.Helper()
	change(w, &v1alpha1.PruneRun{}, name, func(run *v1alpha1.PruneRun) { run.Spec.Undo = v1alpha1.UndoRequested })
}

// undoOf reconciles until the undo has ended.
func (w *world) undoOf(r *PruneRunReconciler, name string) *v1alpha1.PruneRun {
	w.t.Helper()
	var last error
	for range 20 {
		_, last = w.reconcile(r, name)
		if run := w.get(name); prunerun.UndoEnded(run) {
			return run
		}
	}
	w.t.Fatalf("the undo of %s does not end: %v\n%+v", name, last, w.get(name).Status.Conditions)
	return nil
}

// restored is what became of each account.
func restored(run *v1alpha1.PruneRun) map[string]v1alpha1.RestoreResult {
	all := map[string]v1alpha1.RestoreResult{}
	if run.Status.Undo == nil {
		return all
	}
	for _, account := range run.Status.Undo.Accounts {
		all[account.Account] = account.Result
	}
	return all
}

func allWith(accounts []string, result v1alpha1.RestoreResult) map[string]v1alpha1.RestoreResult {
	all := map[string]v1alpha1.RestoreResult{}
	for _, account := range accounts {
		all[account] = result
	}
	return all
}

func wantRestored(t *testing.T, run *v1alpha1.PruneRun, want map[string]v1alpha1.RestoreResult) {
	t.Helper()
	if diff := cmp.Diff(want, restored(run)); diff != "" {
		t.Errorf("accounts (-want,+got)\n%s", diff)
	}
	added := 0
	for _, result := range want {
		if result == v1alpha1.RestoreResultAdded {
			added++
		}
	}
	if got := int(run.Status.Undo.Added); got != added {
		t.Errorf("added = %d, want %d", got, added)
	}
}

func wantMembers(t *testing.T, w *world, want ...[]string) {
	t.Helper()
	all := slices.Concat(want...)
	slices.Sort(all)
	if diff := cmp.Diff(all, w.members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
}

func undoneCondition(run *v1alpha1.PruneRun) metav1.Condition {
	if c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionUndone); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// backend answers the vendor's callbacks as a gate with a deny section does, and sees to it that nobody is invited who is not on record.
type backend struct {
	w      *world
	mu     sync.Mutex
	denied []string
	wrong  []string
	full   func()
	fulls  int
}

func (w *world) backend(denied ...string) *backend {
	w.t.Helper()
	b := &backend{w: w, denied: denied}
	server := httptest.NewServer(b)
	w.t.Cleanup(func() {
		must(w.t, w.emulator.Settle(context.WithoutCancel(w.t.Context()), time.Minute))
		server.Close()
		for _, wrong := range b.wrong {
			w.t.Error(wrong)
		}
	})
	_, err := w.emulator.Configure(w.t.Context(), func(s *emulator.Settings) { s.CallbackURL = server.URL })
	must(w.t, err)
	return b
}

func (b *backend) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	got, parseErr := callback.Parse(body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil || parseErr != nil {
		b.wrong = append(b.wrong, fmt.Sprintf("%v, %v", err, parseErr))
		return
	}
	answer := struct {
		ActionStatus string
		ErrorInfo    string
		ErrorCode    int
		Refused      []string `json:"RefusedMembers_Account,omitempty"`
	}{ActionStatus: "OK"}
	switch got.Command {
	case callback.CommandBeforeInviteJoin:
		b.onRecord(context.WithoutCancel(r.Context()), got.Members)
		for _, account := range got.Members {
			if slices.Contains(b.denied, account) {
				answer.Refused = append(answer.Refused, account)
			}
		}
		if len(answer.Refused) == len(got.Members) {
			answer.ErrorCode, answer.Refused = 1, nil
		}
	case callback.CommandAfterGroupFull:
		b.fulls++
		if b.full != nil {
			b.full()
		}
	}
	_ = json.NewEncoder(rw).Encode(answer)
}

// onRecord wants everybody who is being added to stand in the record of an undo as being added.
func (b *backend) onRecord(ctx context.Context, accounts []string) {
	var list v1alpha1.PruneRunList
	if err := b.w.client.List(ctx, &list, client.InNamespace(b.w.namespace)); err != nil {
		b.wrong = append(b.wrong, err.Error())
	}
	adding := map[string]bool{}
	for i := range list.Items {
		for account, result := range restored(&list.Items[i]) {
			if prunerun.Undoing(&list.Items[i]) && result == v1alpha1.RestoreResultAdding {
				adding[account] = true
			}
		}
	}
	for _, account := range accounts {
		if !adding[account] {
			b.wrong = append(b.wrong, account+" is added without being on record")
		}
	}
}

func TestUndoBringsEverybodyBack(t *testing.T) {
	w, removed, left := pruned(t)
	w.backend()
	w.requestUndo("one")
	r := w.process()
	r.Metrics = NewPruneMetrics(prometheus.NewRegistry())

	run := w.undoOf(r, "one")

	if diff := cmp.Diff([]string{"Planned=True/Planned", removedWord, undoneWord}, conditions(run)); diff != "" {
		t.Errorf("conditions (-want,+got)\n%s", diff)
	}
	if got, want := undoneCondition(run).Message, "45 of 45 accounts are back."; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	if got := undoneCondition(run).ObservedGeneration; got != run.Generation {
		t.Errorf("Undone is about generation %d, want %d", got, run.Generation)
	}
	wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
	wantMembers(t, w, left, removed)
	if diff := cmp.Diff([]string{"Undone"}, w.events.all()); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	if got := testutil.ToFloat64(r.Metrics.restored); got != toRestore {
		t.Errorf("prune_members_restored_total = %v", got)
	}

	// Last active first, in batches, silently, each between its record and the record of what became of it.
	calls, err := w.emulator.Calls(t.Context(), emulator.RecordFilter{API: apiAdd})
	must(t, err)
	var order []string
	var sizes []int
	for _, call := range calls {
		var body struct {
			Silence int
			Members []struct {
				Account string `json:"Member_Account"`
			} `json:"MemberList"`
		}
		must(t, json.Unmarshal(call.Body, &body))
		sizes = append(sizes, len(body.Members))
		for _, member := range body.Members {
			order = append(order, member.Account)
		}
		if body.Silence != 1 {
			t.Error("an addition is not silent")
		}
	}
	if diff := cmp.Diff([]int{20, 20, 5}, sizes); diff != "" {
		t.Errorf("batches (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff(removed, order); diff != "" {
		t.Errorf("order (-want,+got)\n%s", diff)
	}
	writes := slices.DeleteFunc(slices.Clone(w.calls), func(call string) bool { return call != "patch" && call != apiAdd })
	want := []string{
		"patch", // whom it is about
		"patch", apiAdd, "patch",
		"patch", apiAdd, "patch",
		"patch", apiAdd, "patch",
		"patch", // the end
	}
	if diff := cmp.Diff(want, writes); diff != "" {
		t.Errorf("writes (-want,+got)\n%s", diff)
	}

	w.forget()
	if result, err := w.reconcile(r, "one"); err != nil || len(w.calls) != 0 || result.RequeueAfter < r.TTL-time.Minute {
		t.Errorf("after its end: %v, %v, %v: it is kept for its TTL and nothing else", w.calls, result, err)
	}
}

// TestUndoOfUnequals has accounts that the gate denies, that no longer exist, that are asked first, that are in too many groups and that have come
// back by themselves, in every batch.
func TestUndoOfUnequals(t *testing.T) {
	for name, allOrNothing := range map[string]bool{"each account by itself": false, "a call fails for one account": true} {
		t.Run(name, func(t *testing.T) {
			w, removed, left := pruned(t)
			pick := func(positions ...int) (accounts []string) {
				for _, i := range positions {
					accounts = append(accounts, removed[i])
				}
				return accounts
			}
			denied, missing, early := pick(0, 7, 25, 44), pick(1, 30), pick(2, 26, 41)
			asked, crowded := pick(3, 31), pick(8, 42)
			w.backend(denied...)
			_, err := w.emulator.Configure(t.Context(), func(s *emulator.Settings) {
				s.MissingAccounts, s.AskedAccounts, s.CrowdedAccounts = missing, asked, crowded
			})
			must(t, err)
			_, err = w.emulator.ChangeGroup(t.Context(), fullGroup, emulator.GroupChange{Quirks: &emulator.Quirks{AddAllOrNothing: allOrNothing}})
			must(t, err)
			_, err = w.emulator.PutMembers(t.Context(), fullGroup, emulator.MemberSpec{Accounts: early})
			must(t, err)
			w.requestUndo("one")
			began := w.clock.Now()

			run := w.undoOf(w.process(), "one")

			want := allWith(removed, v1alpha1.RestoreResultAdded)
			maps.Copy(want, allWith(denied, v1alpha1.RestoreResultRefused))
			maps.Copy(want, allWith(missing, v1alpha1.RestoreResultNotFound))
			maps.Copy(want, allWith(early, v1alpha1.RestoreResultAlreadyMember))
			maps.Copy(want, allWith(asked, v1alpha1.RestoreResultAwaitingConfirmation))
			maps.Copy(want, allWith(crowded, v1alpha1.RestoreResultGroupLimit))
			wantRestored(t, run, want)
			wantMembers(t, w, left, without(removed, slices.Concat(denied, missing, asked, crowded)))
			message := "35 of 45 accounts are back; 3 of them came back by themselves, 2 have yet to confirm, 4 were refused, 2 no longer exist, " +
				"2 are in too many groups."
			if got := undoneCondition(run); got.Message != message || got.Status != metav1.ConditionTrue {
				t.Errorf("Undone = %s, %q", got.Status, got.Message)
			}
			if took := w.clock.Now().Sub(began); took < 3*7*time.Second || took > 40*time.Second {
				t.Errorf("it took %s, want 1, 2 and 4 seconds of patience for each of three batches", took)
			}
		})
	}
}

// TestRefusalMayBeThatOfAReplicaThatIsBehind has the gate admit from the third attempt on; only who was refused is tried again.
func TestRefusalMayBeThatOfAReplicaThatIsBehind(t *testing.T) {
	w, removed, left := pruned(t)
	late := removed[:3]
	b := w.backend(late...)
	w.requestUndo("one")
	w.once(apiAdd, 3, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.denied = nil
	})
	run := w.undoOf(w.process(), "one")
	wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
	wantMembers(t, w, left, removed)
	calls, err := w.emulator.Calls(t.Context(), emulator.RecordFilter{API: apiAdd})
	must(t, err)
	var sizes []int
	for _, call := range calls {
		sizes = append(sizes, strings.Count(string(call.Body), "Member_Account"))
	}
	if diff := cmp.Diff([]int{20, 3, 3, 20, 5}, sizes); diff != "" {
		t.Errorf("sizes of additions (-want,+got)\n%s", diff)
	}
}

func TestUndoEndsWithTheSeats(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(t *testing.T, w *world, removed []string)
		added     int
		early     []int // positions of those who came back by themselves
		message   string
	}{
		"27 seats were taken": {
			meanwhile: func(t *testing.T, w *world, _ []string) { guests(t, w, 27) },
			added:     18, message: "18 of 45 accounts are back; for 27 no seat was free.",
		},
		"all seats were taken, some of them by those who are to come back": {
			meanwhile: func(t *testing.T, w *world, removed []string) {
				guests(t, w, 43)
				_, err := w.emulator.PutMembers(t.Context(), fullGroup, emulator.MemberSpec{Accounts: []string{removed[3], removed[44]}})
				must(t, err)
			},
			early: []int{3, 44}, message: "2 of 45 accounts are back; 2 of them came back by themselves, for 43 no seat was free.",
		},
		"one left after somebody took the seats of the first batch": {
			meanwhile: func(t *testing.T, w *world, _ []string) {
				w.once(apiAdd, 1, func() { guests(t, w, 44) })
			},
			added: 1, message: "1 of 45 accounts is back; for 44 no seat was free.",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w, removed, _ := pruned(t)
			w.requestUndo("one")
			tc.meanwhile(t, w, removed)
			run := w.undoOf(w.process(), "one")
			want := allWith(removed, v1alpha1.RestoreResultNoSeat)
			maps.Copy(want, allWith(removed[:tc.added], v1alpha1.RestoreResultAdded))
			for _, i := range tc.early {
				want[removed[i]] = v1alpha1.RestoreResultAlreadyMember
			}
			wantRestored(t, run, want)
			if got := undoneCondition(run); got.Message != tc.message || got.Status != metav1.ConditionTrue {
				t.Errorf("Undone = %s, %q, want %q", got.Status, got.Message, tc.message)
			}
			if got := len(w.members(fullGroup)); got != undoTestGroup {
				t.Errorf("%d members, want the group full with %d", got, undoTestGroup)
			}
		})
	}
}

// guests take seats.
func guests(t *testing.T, w *world, n int) {
	t.Helper()
	_, err := w.emulator.PutMembers(t.Context(), fullGroup, emulator.MemberSpec{Prefix: "guest", Count: n})
	must(t, err)
}

func TestNothingToUndo(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 5, 5)
	w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.process()
	w.finish(r, "one")
	w.requestUndo("one")
	w.forget()
	run := w.undoOf(r, "one")
	if diff := cmp.Diff([]string{"Planned=True/Planned", "Complete=True/Previewed", "Undone=True/NothingToUndo"}, conditions(run)); diff != "" {
		t.Errorf("conditions (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"patch"}, w.calls); diff != "" {
		t.Errorf("calls (-want,+got)\n%s", diff)
	}
}

// TestUndoCrash ends the process at every place where it has just written or is about to, lets somebody come back by himself, and goes on with
// another process.
func TestUndoCrash(t *testing.T) {
	type place struct {
		name string
		set  func(w *world, die func())
	}
	var places []place
	for n := 1; n <= 8; n++ { // 1 whom, 2 to 7 the batches, 8 the end
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
	for n := 1; n <= 9; n++ { // 4 of the first batch, of which one is refused, 1 of the second, 4 of the third
		places = append(places, place{fmt.Sprintf("before the answer to addition %d", n), func(w *world, die func()) { w.once(apiAdd, n, die) }})
	}
	for n := 1; n <= 3; n++ {
		places = append(places, place{fmt.Sprintf("in look %d", n), func(w *world, die func()) { w.once(apiLook, n, die) }})
	}
	for _, place := range places {
		t.Run(place.name, func(t *testing.T) {
			w, removed, left := pruned(t)
			denied := []string{removed[5], removed[43]}
			w.backend(denied...)
			w.requestUndo("one")
			first := w.process()
			first.Metrics = NewPruneMetrics(prometheus.NewRegistry())
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
			w.once(apiAdd, 0, nil)
			w.once(apiLook, 0, nil)

			want := allWith(removed, v1alpha1.RestoreResultAdded)
			maps.Copy(want, allWith(denied, v1alpha1.RestoreResultRefused))
			early := removed[44]
			if result, recorded := restored(w.get("one"))[early]; !recorded || result == v1alpha1.RestoreResultPending {
				_, err := w.emulator.PutMembers(t.Context(), fullGroup, emulator.MemberSpec{Accounts: []string{early}})
				must(t, err)
				want[early] = v1alpha1.RestoreResultAlreadyMember
			}
			second := w.process()
			second.Metrics = NewPruneMetrics(prometheus.NewRegistry())
			run := w.undoOf(second, "one")

			wantRestored(t, run, want)
			wantMembers(t, w, left, without(removed, denied))
			if diff := cmp.Diff([]string{"Planned=True/Planned", removedWord, undoneWord}, conditions(run)); diff != "" {
				t.Errorf("conditions (-want,+got)\n%s", diff)
			}
			if got := testutil.ToFloat64(first.Metrics.restored) + testutil.ToFloat64(second.Metrics.restored); got > float64(run.Status.Undo.Added) {
				t.Errorf("prune_members_restored_total = %v, more than the %d on record", got, run.Status.Undo.Added)
			}
		})
	}
}

func TestFormerHolderOfTheTermDoesNotUndo(t *testing.T) {
	w, removed, left := pruned(t)
	w.backend()
	w.requestUndo("one")
	former, next := w.process(), w.process()
	// It stops right before its first fence, for long enough that another one does all the work.
	w.onPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
		w.onPatch(0, nil)
		w.undoOf(next, "one")
		w.forget()
		return send()
	})
	if result, err := w.reconcile(former, "one"); err != nil || result.RequeueAfter == 0 {
		t.Errorf("result = %v, %v, want to look again", result, err)
	}
	if got := w.happened(apiAdd); got != 0 {
		t.Errorf("%d additions after losing the fence", got)
	}
	wantRestored(t, w.get("one"), allWith(removed, v1alpha1.RestoreResultAdded))
	wantMembers(t, w, left, removed)
}

func TestNothingIsUndoneAfterTheTerm(t *testing.T) {
	for _, place := range []struct {
		what string
		nth  int
	}{{"patch", 1}, {apiGroup, 1}, {apiLook, 1}, {"patch", 2}, {apiAdd, 1}, {apiAdd, 2}, {"patch", 3}, {apiGroup, 2}} {
		t.Run(fmt.Sprintf("%s %d", place.what, place.nth), func(t *testing.T) {
			w, removed, _ := pruned(t)
			w.backend(removed[0]) // so that there is a pause between the first addition and the second
			w.requestUndo("one")
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

// TestLostAnswerToAnAdditionIsCounted has the vendor carry out an addition whose answer is lost: its repetition says "already a member".
func TestLostAnswerToAnAdditionIsCounted(t *testing.T) {
	for name, count := range map[string]int{"tried again by the call": 1, "tried again by the queue": 5} {
		for name, afterEffect := range map[string]bool{name: true, name + ", without effect": false} {
			t.Run(name, func(t *testing.T) {
				w, removed, left := pruned(t)
				w.requestUndo("one")
				w.fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultHTTP, Status: 504, Skip: 1, Count: count, AfterEffect: afterEffect})
				r := w.process()
				_, err := w.reconcile(r, "one")
				if run := w.get("one"); count == 5 && (err == nil || undoneCondition(run).Reason != v1alpha1.ReasonVendorUnavailable ||
					len(prunerun.AccountsWith(run.Status.Undo, v1alpha1.RestoreResultAdding)) != 20) {
					t.Errorf("err = %v, %+v, want the batch on record and to come back", err, undoneCondition(run))
				}
				run := w.undoOf(r, "one")
				wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
				wantMembers(t, w, left, removed)
			})
		}
	}
}

// TestUndoGoesOnWhateverBecameOfPruning suspends first and undoes then, as people do.
func TestUndoGoesOnWhateverBecameOfPruning(t *testing.T) {
	tests := map[string]func(w *world){
		"suspended": func(w *world) {
			change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
			w.publish()
		},
		"no policy": func(w *world) {
			remove(w, &v1alpha1.GroupPolicy{}, "lounge")
			w.publish()
		},
		"protection unresolved": func(w *world) {
			change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.WhenFull.Prune.Protect = &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "missing"}}}
			})
			w.publish()
		},
		"clock skew": func(w *world) {
			_, err := w.emulator.MoveClock(w.t.Context(), emulator.ClockChange{Forward: "-10m"})
			must(w.t, err)
		},
	}
	for name, meanwhile := range tests {
		t.Run(name, func(t *testing.T) {
			w, removed, left := pruned(t)
			meanwhile(w)
			w.requestUndo("one")
			run := w.undoOf(w.process(), "one")
			wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
			wantMembers(t, w, left, removed)
		})
	}
}

func TestUndoEndsEarly(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(w *world)
		reason    string
		added     int
		unknown   int // of which it is not known whether they are back
		says      []string
	}{
		"group gone": {
			meanwhile: func(w *world) { must(w.t, w.emulator.DestroyGroup(w.t.Context(), fullGroup)) },
			reason:    v1alpha1.ReasonGroupNotFound, says: []string{"10010", "0 of 45 accounts are back; 45 were not added"},
		},
		"group gone in the middle": {
			meanwhile: func(w *world) {
				w.once(apiAdd, 2, func() { must(w.t, w.emulator.DestroyGroup(w.t.Context(), fullGroup)) })
			},
			reason: v1alpha1.ReasonGroupNotFound, added: 20, says: []string{"10010", "20 of 45 accounts are back; 25 were not added"},
		},
		"not for groups of this type": {
			meanwhile: func(w *world) {
				w.fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultCode, Code: 10007, Info: "no permission"})
			},
			reason: v1alpha1.ReasonUnsupportedGroupType, says: []string{"10007", "no permission"},
		},
		"refused for good in the middle": {
			meanwhile: func(w *world) {
				w.fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultCode, Code: 10026, Info: "switched off", Skip: 1})
			},
			reason: v1alpha1.ReasonVendorRefused, added: 20, says: []string{"10026", "switched off", "20 of 45"},
		},
		"refused for good after an answer was lost": {
			meanwhile: func(w *world) {
				w.fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultHTTP, Status: 504, Count: 1, AfterEffect: true})
				w.fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultCode, Code: 10026})
			},
			reason: v1alpha1.ReasonVendorRefused, added: 20, says: []string{"10026", "20 of 45"},
		},
		"refused for good, and so is the look": {
			meanwhile: func(w *world) {
				w.fault(emulator.Fault{API: apiAdd, Kind: emulator.FaultCode, Code: 10026})
				w.fault(emulator.Fault{API: apiLook, Kind: emulator.FaultCode, Code: 10004, Skip: 1})
			},
			reason: v1alpha1.ReasonVendorRefused, unknown: 20, says: []string{"25 were not added, of 20 it is not known"},
		},
		"app deleted": {
			meanwhile: func(w *world) { remove(w, &v1alpha1.IMApp{}, pruneApp) },
			reason:    v1alpha1.ReasonAppNotFound, says: []string{pruneApp},
		},
		"app deleted in the middle": {
			meanwhile: func(w *world) {
				w.once(apiAdd, 1, func() { remove(w, &v1alpha1.IMApp{}, pruneApp) })
			},
			reason: v1alpha1.ReasonAppNotFound, added: 20, says: []string{pruneApp},
		},
		"another app of that name": {
			meanwhile: func(w *world) {
				app := &v1alpha1.IMApp{}
				must(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: pruneApp}, app))
				remove(w, &v1alpha1.IMApp{}, pruneApp)
				eventually(w.t, func() error { // creation times have whole seconds
					again := &v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: pruneApp}, Spec: app.Spec}
					must(w.t, w.client.Create(w.t.Context(), again))
					if again.CreationTimestamp.After(w.get("one").CreationTimestamp.Time) {
						return nil
					}
					remove(w, &v1alpha1.IMApp{}, pruneApp)
					return errors.New("as old as the run")
				})
				w.publish()
			},
			reason: v1alpha1.ReasonSuperseded, says: []string{"younger"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w, removed, _ := pruned(t)
			w.requestUndo("one")
			tc.meanwhile(w)
			r := w.process()
			r.Metrics = NewPruneMetrics(prometheus.NewRegistry())
			run := w.undoOf(r, "one")
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
			if diff := cmp.Diff([]string{tc.reason}, w.events.all()); diff != "" {
				t.Errorf("events (-want,+got)\n%s", diff)
			}
			if got := testutil.ToFloat64(r.Metrics.restored); got != float64(tc.added) {
				t.Errorf("prune_members_restored_total = %v, want %d", got, tc.added)
			}
			w.forget()
			if _, err := w.reconcile(r, "one"); err != nil || len(w.calls) != 0 {
				t.Errorf("after its end: %v, %v", w.calls, err)
			}
		})
	}
}

func TestUndoWaits(t *testing.T) {
	secret := func(w *world, edit func(*corev1.Secret)) {
		change(w, &corev1.Secret{}, "prod-im", edit)
		w.publish()
	}
	tests := map[string]struct {
		begin, end func(w *world)
		reason     string
		woken      bool // by a new snapshot
	}{
		"Secret without the key": {
			begin: func(w *world) { secret(w, func(s *corev1.Secret) { s.Data = nil }) },
			end: func(w *world) {
				secret(w, func(s *corev1.Secret) { s.Data = map[string][]byte{"secretKey": []byte(pruneSecretKey)} })
			},
			reason: v1alpha1.ReasonKeyMissing, woken: true,
		},
		"Secret missing": {
			begin: func(w *world) {
				change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.CredentialsSecretRef.Name = "other" })
				w.publish()
			},
			end: func(w *world) {
				change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.CredentialsSecretRef.Name = "prod-im" })
				w.publish()
			},
			reason: v1alpha1.ReasonSecretNotFound, woken: true,
		},
		"wrong key": {
			begin: func(w *world) {
				secret(w, func(s *corev1.Secret) { s.Data = map[string][]byte{"secretKey": []byte("wrong")} })
			},
			end: func(w *world) {
				secret(w, func(s *corev1.Secret) { s.Data = map[string][]byte{"secretKey": []byte(pruneSecretKey)} })
			},
			reason: v1alpha1.ReasonVendorUnavailable,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w, removed, left := pruned(t)
			w.requestUndo("one")
			tc.begin(w)
			r := w.process()
			if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter != waitingNet {
				t.Errorf("result = %v, %v, want to look again in %s", result, err, waitingNet)
			}
			run := w.get("one")
			if got := undoneCondition(run); got.Status != metav1.ConditionFalse || got.Reason != tc.reason || got.Message == "" || prunerun.UndoEnded(run) {
				t.Errorf("Undone = %+v, want %s", got, tc.reason)
			}
			if got := requested(r.waitingRuns(t.Context()), w.namespace, "one"); got != tc.woken {
				t.Errorf("woken by a snapshot: %v, want %v", got, tc.woken)
			}
			if got := w.happened(apiGroup); got > 1 {
				t.Errorf("%d calls with a key that the vendor does not accept", got)
			}
			w.forget()
			if _, err := w.reconcile(r, "one"); err != nil || w.happened("patch") != 0 {
				t.Errorf("a wait that goes on is written again: %v, %v", w.calls, err)
			}
			tc.end(w)
			wantRestored(t, w.undoOf(r, "one"), allWith(removed, v1alpha1.RestoreResultAdded))
			wantMembers(t, w, left, removed)
		})
	}
}

func TestUndoWaitsForTheRunAtWork(t *testing.T) {
	w, removed, _ := pruned(t)
	r := w.process()
	guests(t, w, toRestore) // so that there is somebody to go
	w.clock.forward(time.Hour)
	w.run("two", v1alpha1.PruneTriggerManual)
	w.once(apiLook, 1, func() { w.kill(r) })
	if _, err := w.reconcile(r, "two"); err != nil {
		t.Fatal(err)
	}
	w.once(apiLook, 0, nil)
	w.requestUndo("one")
	r = w.process()
	w.forget()
	if _, err := w.reconcile(r, "one"); err != nil {
		t.Fatal(err)
	}
	if got := undoneCondition(w.get("one")); got.Reason != v1alpha1.ReasonQueued || w.happened(apiAdd) != 0 {
		t.Errorf("Undone = %+v, want Queued", got)
	}
	two := w.finish(r, "two")
	if got := r.siblings(t.Context(), two); !requested(got, w.namespace, "one") {
		t.Error("the end of the run does not wake the undo")
	}
	run := w.undoOf(r, "one")
	if got := run.Status.Undo.Added; int(got) != min(toRestore, int(two.Status.Removed)) || got == 0 {
		t.Errorf("added = %d, %d seats were made free", got, two.Status.Removed)
	}
	if len(removed) != toRestore {
		t.Error("another plan")
	}
}

func TestRunsWaitForTheUndo(t *testing.T) {
	w, _, _ := pruned(t)
	r := w.process()
	w.run("a-older", v1alpha1.PruneTriggerManual) // not planned: an undo does not wait for it
	w.requestUndo("one")
	w.once(apiAdd, 2, func() { w.kill(r) })
	if _, err := w.reconcile(r, "one"); err != nil {
		t.Fatal(err)
	}
	w.serving.Wait()
	w.once(apiAdd, 0, nil)
	r = w.process()
	w.forget()
	if _, err := w.reconcile(r, "a-older"); err != nil {
		t.Fatal(err)
	}
	wantConditions(t, w.get("a-older"), "Planned=False/Queued")
	if got := w.happened(apiList); got != 0 {
		t.Errorf("%d lists while members come back", got)
	}
	before := w.get("one")
	run := w.undoOf(r, "one")
	update := event.UpdateEvent{ObjectOld: before, ObjectNew: run}
	if !runEndings.Update(update) || !runEvents.Update(update) || !requested(r.siblings(t.Context(), run), w.namespace, "a-older") {
		t.Error("the end of the undo wakes nobody")
	}
	w.finish(r, "a-older")
}

func TestTwoUndosOfOneGroup(t *testing.T) {
	w, removed, left := pruned(t)
	r := w.process()
	// A second run removes the rest of the idlers.
	change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.FreeSeats = seats(60) })
	w.publish()
	w.run("two", v1alpha1.PruneTriggerManual)
	if got := w.finish(r, "two").Status.Removed; got != 15 {
		t.Fatalf("removed = %d", got)
	}
	w.backend()
	w.requestUndo("one")
	w.requestUndo("two")
	w.once(apiAdd, 1, func() { w.kill(r) })
	if _, err := w.reconcile(r, "one"); err != nil {
		t.Fatal(err)
	}
	w.serving.Wait()
	w.once(apiAdd, 0, nil)
	r = w.process()
	if _, err := w.reconcile(r, "two"); err != nil {
		t.Fatal(err)
	}
	if got := undoneCondition(w.get("two")); got.Reason != v1alpha1.ReasonQueued || !strings.Contains(got.Message, "one") {
		t.Errorf("Undone = %+v, want Queued behind one", got)
	}
	one := w.undoOf(r, "one")
	if !requested(r.siblings(t.Context(), one), w.namespace, "two") {
		t.Error("the end of the undo does not wake the other one")
	}
	two := w.undoOf(r, "two")
	wantRestored(t, one, allWith(removed, v1alpha1.RestoreResultAdded))
	if got := two.Status.Undo.Added; got != 15 {
		t.Errorf("added = %d, want 15", got)
	}
	wantMembers(t, w, left, removed)
}

func TestRunIsKeptForItsUndo(t *testing.T) {
	w, _, _ := pruned(t)
	r := w.process()
	stale := w.get("one")
	w.requestUndo("one")
	w.clock.forward(r.TTL + time.Hour)
	// The cache has not heard of the request yet.
	if _, err := r.keep(t.Context(), stale); err == nil || !w.exists("one") {
		t.Fatalf("err = %v: the run whose undo was requested is gone", err)
	}
	secret := &corev1.Secret{}
	change(w, secret, "prod-im", func(s *corev1.Secret) { s.Labels = nil; s.Data = nil })
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter != waitingNet || !w.exists("one") {
		t.Fatalf("result = %v, %v: it waits, however old it is", result, err)
	}
	change(w, secret, "prod-im", func(s *corev1.Secret) { s.Data = map[string][]byte{"secretKey": []byte(pruneSecretKey)} })
	w.undoOf(r, "one")
	if result, err := w.reconcile(r, "one"); err != nil || result.RequeueAfter < r.TTL-time.Minute || !w.exists("one") {
		t.Fatalf("result = %v, %v: who asked for the undo wants to see what came of it", result, err)
	}
	w.clock.forward(r.TTL)
	if _, err := w.reconcile(r, "one"); err != nil || w.exists("one") {
		t.Errorf("err = %v: it is never collected", err)
	}
}

func TestUndoHoldsOffRuns(t *testing.T) {
	run := endedRun(v1alpha1.ConditionComplete, "Removed", 1, true)
	run.Spec.Undo = v1alpha1.UndoRequested
	run.Status.Undo = &v1alpha1.PruneUndo{StartedAt: metav1.NewTime(minutes(20)), FinishedAt: metav1.NewTime(minutes(21))}
	key := prunerun.KeyOf(&run)
	creator := runCreator{Now: func() time.Time { return minutes(25) }}
	if got, wait := creator.waits(key, []v1alpha1.PruneRun{run}, nil); !wait || got.outcome != runCooling {
		t.Errorf("creation = %+v, %v", got, wait)
	}
	run.Status.Undo.FinishedAt = metav1.Time{}
	creator.Now = func() time.Time { return minutes(59) }
	if got, wait := creator.waits(key, []v1alpha1.PruneRun{run}, nil); !wait || got.outcome != runCooling {
		t.Errorf("creation = %+v, %v", got, wait)
	}
}

// TestGroupThatAnUndoFillsIsNotPruned goes from the request to the callback that our last addition causes, on caches and by the real clock.
func TestGroupThatAnUndoFillsIsNotPruned(t *testing.T) {
	w, removed, left := pruned(t)
	endedLongAgo(t, w, "one") // so that its own cooldown is over
	b := w.backend()
	intake := w.startManager()
	b.full = func() { intake.GroupFull(w.object(), fullGroup) }

	w.requestUndo("one")
	run := w.reaches("one", v1alpha1.ReasonUndone)
	must(t, w.emulator.Settle(t.Context(), time.Minute))
	eventually(t, intake.empty)
	intake.GroupFull(w.object(), fullGroup) // one that comes late
	eventually(t, intake.empty)

	wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
	wantMembers(t, w, left, removed)
	b.mu.Lock()
	fulls := b.fulls
	b.mu.Unlock()
	if fulls == 0 {
		t.Error("the vendor reported no full group")
	}
	if diff := cmp.Diff([]string{"one"}, w.runNames()); diff != "" {
		t.Errorf("runs (-want,+got)\n%s", diff)
	}
	// A person who wants a run gets it all the same; those who have just come back are not inactive.
	w.run("two", v1alpha1.PruneTriggerManual)
	two := w.reaches("two", v1alpha1.ReasonRemoved)
	for _, account := range planAccounts(two) {
		if slices.Contains(removed, account) {
			t.Errorf("%s goes again", account)
		}
	}
}

func endedLongAgo(t *testing.T, w *world, name string) {
	t.Helper()
	run := w.get(name)
	for i := range run.Status.Conditions {
		run.Status.Conditions[i].LastTransitionTime = metav1.NewTime(w.clock.Now().Add(-time.Hour))
	}
	must(t, w.client.Status().Update(t.Context(), run))
}
