package pruning

import (
	"context"
	"encoding/json"
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
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	toRestore = 45 // three batches
	undone    = "Undone=True/Undone"
)

// pruned is a world with a group of which the run "one" has removed 45 of 60 idlers, so that as many seats are free. It
// returns the removed accounts, in the order in which they are restored, and the others.
func pruned(t *testing.T) (w *world, removed, left []string) {
	t.Helper()
	w = newWorld(t)
	w.Group(fullGroup, 5, 60)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(toRestore)})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	run := w.replica().finish("one")
	removed = planOf(run)
	slices.Reverse(removed)
	if len(removed) != toRestore || run.Status.Removed != toRestore {
		t.Fatalf("%d planned, %d removed", len(removed), run.Status.Removed)
	}
	w.Forget()
	return w, removed, w.Members(fullGroup)
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
	if run.Status.Undo == nil {
		t.Fatal("there is no undo")
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
	if diff := cmp.Diff(all, w.Members(fullGroup)); diff != "" {
		t.Errorf("members (-want,+got)\n%s", diff)
	}
}

func undoneCondition(run *v1alpha1.PruneRun) metav1.Condition {
	if c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionUndone); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// backend answers the vendor's callbacks as a gate with a deny section does, and checks that no account is invited that
// is not on record.
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
		must(w.t, w.Emulator.Settle(context.WithoutCancel(w.t.Context()), time.Minute))
		server.Close()
		for _, wrong := range b.wrong {
			w.t.Error(wrong)
		}
	})
	_, err := w.Emulator.Configure(w.t.Context(), func(s *emulator.Settings) { s.CallbackURL = server.URL })
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

// onRecord checks that every account that is being added is recorded as being added.
func (b *backend) onRecord(ctx context.Context, accounts []string) {
	var list v1alpha1.PruneRunList
	if err := b.w.Client.List(ctx, &list, client.InNamespace(b.w.Namespace)); err != nil {
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
	t.Parallel()
	w, removed, left := pruned(t)
	w.backend()
	w.RequestUndo("one")
	r := w.replica()
	r.Metrics = NewMetrics(prometheus.NewRegistry())

	run := r.finishUndo("one")

	if diff := cmp.Diff([]string{"Planned=True/Planned", removedCondition, undone},
		labtest.Conditions(run)); diff != "" {
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
	if diff := cmp.Diff([]string{"Undone"}, w.Events.Reasons()); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	if got := testutil.ToFloat64(r.Metrics.restored.WithLabelValues("FreeSeats")); got != toRestore {
		t.Errorf("prune_members_restored_total = %v", got)
	}

	// Last active first, in batches, silently, each between its record and the record of what became of it.
	calls, err := w.Emulator.Calls(t.Context(), emulator.RecordFilter{API: apiAdd})
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
	writes := slices.DeleteFunc(slices.Clone(w.Calls()),
		func(call string) bool { return call != statusPatch && call != apiAdd })
	want := []string{
		statusPatch, // who requested it
		statusPatch, // the accounts
		statusPatch, apiAdd, statusPatch,
		statusPatch, apiAdd, statusPatch,
		statusPatch, apiAdd, statusPatch,
		statusPatch, // the end
	}
	if diff := cmp.Diff(want, writes); diff != "" {
		t.Errorf("writes (-want,+got)\n%s", diff)
	}

	w.Forget()
	if next, err := r.step("one"); err != nil || len(w.Calls()) != 0 || next.After != maxRequeue {
		t.Errorf("after its end: %v, %v, %v: want nothing but another Step in %s", w.Calls(), next, err, maxRequeue)
	}
}

// TestUndoRecordsWhatBecameOfEachAccount has accounts that the gate denies, that no longer exist, that are asked first,
// that are in too many groups and that have come back by themselves, in every batch.
func TestUndoRecordsWhatBecameOfEachAccount(t *testing.T) {
	t.Parallel()
	for name, allOrNothing := range map[string]bool{"each account by itself": false,
		"a call fails for one account": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
			_, err := w.Emulator.Configure(t.Context(), func(s *emulator.Settings) {
				s.MissingAccounts, s.AskedAccounts, s.CrowdedAccounts = missing, asked, crowded
			})
			must(t, err)
			_, err = w.Emulator.ChangeGroup(t.Context(), fullGroup,
				emulator.GroupChange{Quirks: &emulator.Quirks{AddAllOrNothing: allOrNothing}})
			must(t, err)
			_, err = w.Emulator.PutMembers(t.Context(), fullGroup, emulator.MemberSpec{Accounts: early})
			must(t, err)
			w.RequestUndo("one")
			began := w.Clock.Now()

			run := w.replica().finishUndo("one")

			want := allWith(removed, v1alpha1.RestoreResultAdded)
			maps.Copy(want, allWith(denied, v1alpha1.RestoreResultRefused))
			maps.Copy(want, allWith(missing, v1alpha1.RestoreResultNotFound))
			maps.Copy(want, allWith(early, v1alpha1.RestoreResultAlreadyMember))
			maps.Copy(want, allWith(asked, v1alpha1.RestoreResultAwaitingConfirmation))
			maps.Copy(want, allWith(crowded, v1alpha1.RestoreResultGroupLimit))
			wantRestored(t, run, want)
			wantMembers(t, w, left, without(removed, slices.Concat(denied, missing, asked, crowded)))
			message := "35 of 45 accounts are back; 3 of them came back by themselves, 2 have yet to confirm, 4 " +
				"were refused, 2 no longer exist, " +
				"2 are in too many groups."
			if got := undoneCondition(run); got.Message != message || got.Status != metav1.ConditionTrue {
				t.Errorf("Undone = %s, %q", got.Status, got.Message)
			}
			if took := w.Clock.Now().Sub(began); took < 3*7*time.Second || took > 40*time.Second {
				t.Errorf("it took %s, want 1, 2 and 4 seconds of patience for each of three batches", took)
			}
		})
	}
}

// TestRefusedAdditionIsTriedAgain has the gate admit from the third attempt on; only the refused accounts are tried
// again.
func TestRefusedAdditionIsTriedAgain(t *testing.T) {
	t.Parallel()
	w, removed, left := pruned(t)
	late := removed[:3]
	b := w.backend(late...)
	w.RequestUndo("one")
	w.Once(apiAdd, 3, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.denied = nil
	})
	run := w.replica().finishUndo("one")
	wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
	wantMembers(t, w, left, removed)
	calls, err := w.Emulator.Calls(t.Context(), emulator.RecordFilter{API: apiAdd})
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
	t.Parallel()
	tests := map[string]struct {
		meanwhile func(t *testing.T, w *world, removed []string)
		added     int
		early     []int // positions of accounts that came back by themselves
		message   string
	}{
		"27 seats were taken": {
			meanwhile: func(t *testing.T, w *world, _ []string) { guests(t, w, 27) },
			added:     18, message: "18 of 45 accounts are back; for 27 no seat was free.",
		},
		"all seats were taken, some of them by removed accounts": {
			meanwhile: func(t *testing.T, w *world, removed []string) {
				guests(t, w, 43)
				w.Put(fullGroup, emulator.MemberSpec{Accounts: []string{removed[3], removed[44]}})
			},
			early: []int{3, 44}, message: "2 of 45 accounts are back; 2 of them came back by themselves, for 43 no " +
				"seat was free.",
		},
		"one left after guests took the seats of the first batch": {
			meanwhile: func(t *testing.T, w *world, _ []string) {
				w.Once(apiAdd, 1, func() { guests(t, w, 44) })
			},
			added: 1, message: "1 of 45 accounts is back; for 44 no seat was free.",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, removed, _ := pruned(t)
			w.RequestUndo("one")
			tc.meanwhile(t, w, removed)
			run := w.replica().finishUndo("one")
			want := allWith(removed, v1alpha1.RestoreResultNoSeat)
			maps.Copy(want, allWith(removed[:tc.added], v1alpha1.RestoreResultAdded))
			for _, i := range tc.early {
				want[removed[i]] = v1alpha1.RestoreResultAlreadyMember
			}
			wantRestored(t, run, want)
			if got := undoneCondition(run); got.Message != tc.message || got.Status != metav1.ConditionTrue {
				t.Errorf("Undone = %s, %q, want %q", got.Status, got.Message, tc.message)
			}
			if got := len(w.Members(fullGroup)); got != 2+5+60 {
				t.Errorf("%d members, want the group full with %d", got, 2+5+60)
			}
		})
	}
}

// guests take seats.
func guests(t *testing.T, w *world, n int) {
	t.Helper()
	w.Put(fullGroup, emulator.MemberSpec{Prefix: "guest", Count: n})
}

func TestNothingToUndo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 5, 5)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	r.finish("one")
	w.RequestUndo("one")
	w.Forget()
	run := r.finishUndo("one")
	if diff := cmp.Diff([]string{"Planned=True/Planned", "Complete=True/Previewed", "Undone=True/NothingToUndo"},
		labtest.Conditions(run)); diff != "" {
		t.Errorf("conditions (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{statusPatch, statusPatch}, w.Calls()); diff != "" {
		t.Errorf("calls (-want,+got)\n%s", diff)
	}
}

// TestUndoDoesNotDependOnPruning suspends first and undoes then, as people do.
func TestUndoDoesNotDependOnPruning(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"suspended": func(w *world) {
			w.Suspend(v1alpha1.PruningSuspended)
		},
		"no policy": func(w *world) {
			w.Remove(&v1alpha1.GroupPolicy{}, "lounge")
			w.Publish()
		},
		"protection unresolved": func(w *world) {
			w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.WhenFull.Prune.Protect = &v1alpha1.AccountSelector{Lists: listNamed("missing")}
			})
			w.Publish()
		},
		"clock skew": func(w *world) {
			_, err := w.Emulator.MoveClock(w.t.Context(), emulator.ClockChange{Forward: "-10m"})
			must(w.t, err)
		},
	}
	for name, meanwhile := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, removed, left := pruned(t)
			meanwhile(w)
			w.RequestUndo("one")
			run := w.replica().finishUndo("one")
			wantRestored(t, run, allWith(removed, v1alpha1.RestoreResultAdded))
			wantMembers(t, w, left, removed)
		})
	}
}
