package pruning

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// The process lives, and holds its term for a while yet, but nothing it asks the API server is answered from some write
// on.
func TestAPIServerFailsInTheMiddleOfARun(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 4; n++ { // plan, fence, settlement, fence
		for _, took := range []bool{false, true} {
			t.Run(fmt.Sprintf("status patch %d, carried out %t", n, took), func(t *testing.T) {
				t.Parallel()
				w := enforcingOf(t, 103, 101) // two batches
				before := w.Members(fullGroup)
				var cut atomic.Bool
				r := w.replica()
				r.Live = brokenReader{w.Client, func(any) bool { return cut.Load() }}
				writes := 0
				w.EachPatch(func(_ *v1alpha1.PruneRun, send func() error) error {
					switch writes++; {
					case cut.Load():
						return errBroken
					case writes == n:
						cut.Store(true)
						if took {
							return errors.Join(send(), errBroken)
						}
						return errBroken
					}
					return send()
				})
				if _, err := r.step("one"); !errors.Is(err, errBroken) {
					t.Fatalf("err = %v, want %v, so that the queue comes back", err, errBroken)
				}
				w.Forget()
				for range 3 {
					if _, err := r.step("one"); !errors.Is(err, errBroken) {
						t.Errorf("err = %v, want %v", err, errBroken)
					}
				}
				if len(w.Calls()) != 0 {
					t.Errorf("%v, while the API server is away", w.Calls())
				}
				cut.Store(false)
				r.finish("one")
				wantRemoved(t, w, before)
			})
		}
	}
}

// The watches stand still without ending, while reads and writes go through: a protection that is added now is not in
// the snapshot.
func TestNoMemberIsRemovedWhileTheWatchesAreStale(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	before := w.Members(fullGroup)
	var stale atomic.Bool
	r := w.replica()
	r.Stale = stale.Load
	w.Once(apiDelete, 1, func() { stale.Store(true) })
	for range 3 {
		next, err := r.step("one")
		if err != nil || next.After != soon {
			t.Errorf("next = %v, %v, want another Step soon", next, err)
		}
	}
	if run := w.Get("one"); w.Happened(apiDelete) != 1 || run.Status.Removed != 100 || prunerun.Finished(run) {
		t.Errorf("%d deletions, removed %d, want 1, 100", w.Happened(apiDelete), run.Status.Removed)
	}
	stale.Store(false)
	r.finish("one")
	wantRemoved(t, w, before)
}

// ourClock moves our clock, and not the vendor's.
func (w *world) ourClock(by time.Duration) {
	w.t.Helper()
	w.Clock.Forward(by)
	_, err := w.Emulator.MoveClock(w.t.Context(), emulator.ClockChange{Forward: (-by).String()})
	must(w.t, err)
}

// A jump of almost five minutes, more of which is ClockSkew, moves the end of a budget's day, of a cooldown and of a
// plan by as much, and nothing else.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-290 * time.Second, 290 * time.Second} {
		// Before the end, and from there to after it, wherever the jump has put it.
		early, late := 6*time.Minute, 12*time.Minute
		t.Run(fmt.Sprintf("%s, budget", jump), func(t *testing.T) {
			t.Parallel()
			w := rationed(t, v1alpha1.PruneModeEnforce)
			w.Once(apiDelete, 1, func() { w.ourClock(jump) })
			r := w.replica()
			if got := r.finish("of-a").Status.Removed; got != 150 {
				t.Fatalf("removed %d, want 150", got)
			}
			r.mustStep("of-b")
			w.Clock.Forward(24*time.Hour - early)
			other := w.replica() // whose ledger is that of the records
			for _, r := range []*replica{r, other} {
				r.mustStep("of-b")
				wantConditions(t, w.Get("of-b"), exhausted)
			}
			w.Clock.Forward(late)
			if got := other.finish("of-b").Status.Removed; got != 150 {
				t.Errorf("a day later removed %d, want 150", got)
			}
		})
		t.Run(fmt.Sprintf("%s, cooldown", jump), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Group(fullGroup, 2, 5)
			w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "7h"})
			w.Run("one", v1alpha1.PruneTriggerGroupFull)
			r := w.replica()
			r.finish("one")
			w.ourClock(jump)
			w.Clock.Forward(7*time.Hour - early)
			w.Run("two", v1alpha1.PruneTriggerGroupFull)
			wantConditions(t, r.finish("two"), "Planned=False/CoolingDown", "Complete=True/CoolingDown")
			w.Clock.Forward(late)
			w.Run("three", v1alpha1.PruneTriggerGroupFull)
			wantConditions(t, r.finish("three"), "Planned=True/Planned", "Complete=True/Previewed")
		})
		for after, want := range map[time.Duration]string{24*time.Hour - early: "Removed",
			24*time.Hour - early + late: "Expired"} {
			t.Run(fmt.Sprintf("%s, plan approved after %s", jump, after), func(t *testing.T) {
				t.Parallel()
				w, r := approving(t)
				w.ourClock(jump)
				w.Clock.Forward(after)
				w.Decide("one", v1alpha1.ApprovalApproved)
				if end, _ := prunerun.Completion(r.finish("one")); end.Reason != want {
					t.Errorf("ended %s, want %s", end.Reason, want)
				}
			})
		}
	}
}

func TestRecreatedPolicyKeepsItsBudget(t *testing.T) {
	t.Parallel()
	again := func(w *world) {
		w.Remove(&v1alpha1.GroupPolicy{}, "lounge")
		w.rationing(v1alpha1.PruneModeEnforce)
	}
	w := rationed(t, v1alpha1.PruneModeEnforce)
	r := w.replica()
	w.Once(apiDelete, 1, func() { again(w) })
	run := r.finish("of-a")
	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
	if run.Status.Removed != 100 {
		t.Fatalf("removed %d, want only the batch that was under way", run.Status.Removed)
	}
	// The new app has the name of the old one, and so the rest of its budget.
	if got := r.finish("of-b"); got.Status.Removed != 50 || len(planOf(got)) != 50 {
		t.Errorf("planned %d, removed %d, want 50", len(planOf(got)), got.Status.Removed)
	}
	again(w)
	for _, r := range []*replica{r, w.replica()} {
		if !w.Exists("more") {
			w.RunFor("more", "a", v1alpha1.PruneTriggerManual)
		}
		r.mustStep("more")
		wantConditions(t, w.Get("more"), exhausted)
	}
}

func TestTenMinutesOfVendorFailures(t *testing.T) {
	t.Parallel()
	troubles := map[string]struct {
		fault emulator.Fault
		says  string
		want  string
	}{
		"60007": {emulator.Fault{Kind: emulator.FaultCode, Code: 60007, Info: "too often"},
			"code 60007: too often", "Throttled"},
		"502": {emulator.Fault{Kind: emulator.FaultHTTP, Status: 502}, "HTTP status 502",
			"Unreachable"},
		"502, and it took place": {emulator.Fault{Kind: emulator.FaultHTTP, Status: 502, AfterEffect: true},
			"HTTP status 502", "Unreachable"},
		"truncated answers": {emulator.Fault{Kind: emulator.FaultTruncate}, "unexpected EOF", "Unreachable"},
	}
	points := map[string]func(w *world, begin func()){
		"from the beginning":     func(_ *world, begin func()) { begin() },
		"within the list":        func(w *world, begin func()) { w.Once(apiList, 2, begin) },
		"at the second deletion": func(w *world, begin func()) { w.Once(apiDelete, 2, begin) },
	}
	for trouble, tc := range troubles {
		for point, at := range points {
			t.Run(trouble+" "+point, func(t *testing.T) {
				t.Parallel()
				w := enforcingOf(t, 103, 101) // two pages, two batches
				before := w.Members(fullGroup)
				begun := 0
				at(w, func() {
					tc.fault.API = "*"
					w.Fault(tc.fault)
					begun = len(w.Calls())
				})
				r := w.replica()
				r.queue("one", 10*time.Minute)

				run := w.Get("one")
				if prunerun.Finished(run) {
					t.Fatalf("ended by what passes: %v", labtest.Conditions(run))
				}
				waits := run.Status.Conditions[len(run.Status.Conditions)-1]
				if waits.Reason != v1alpha1.ReasonVendorUnavailable || !strings.Contains(waits.Message, tc.says) {
					t.Errorf("waits %s: %q, want VendorUnavailable with %q", waits.Reason, waits.Message, tc.says)
				}
				if got, _, _ := r.Clients.Reachability(w.AppUID()); got != tc.want {
					t.Errorf("VendorReachable is %s, want %s", got, tc.want)
				}
				// 5 attempts a try; tries after 1, 2, 4, ... 32 s and then every minute: 16 in all.
				if got := len(w.Calls()) - begun; got < 20 || got > 100 {
					t.Errorf("%d calls and records in 10 minutes", got)
				}

				must(t, w.Emulator.ClearFaults(t.Context()))
				r.queue("one", 10*time.Minute)
				wantRemoved(t, w, before)
			})
		}
	}
	t.Run("3 s for every answer", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		before := w.Members(fullGroup)
		for _, api := range []string{apiGroup, apiList, apiNamed, apiDelete} {
			w.Before(api, func() { w.Clock.Forward(3 * time.Second) })
		}
		w.replica().queue("one", 10*time.Minute)
		wantRemoved(t, w, before)
	})
}

// The list is read while members join, leave and speak: no member that spoke or joined is removed, and none is planned
// twice.
func TestMemberListChangesWhileItIsPaged(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"Public", "Community"} { // paged by Offset, and by Next
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := "hall"
			if kind == "Community" {
				id = "@TGS#_hall"
			}
			_, err := w.Emulator.CreateGroup(t.Context(), emulator.GroupSpec{
				ID: id, Type: kind, Owner: "owner", MaxMembers: 501, CreatedAgo: "400d",
				Members: []emulator.MemberSpec{{Prefix: "i", Count: 250, InactiveFor: "40d"},
					{Prefix: "t", Count: 250, JoinedAgo: "100d", SpokeAgo: "2h"}},
			})
			must(t, err)
			w.PolicyFor("lounge", id, v1alpha1.PruneRule{FreeSeats: seats(200), MaxRemovals: 1000})
			w.Publish()
			w.RunFor("one", id, v1alpha1.PruneTriggerManual)

			// Before every page some of the pages before leave, one of them comes back, others join and others speak.
			var gone, safe []string
			page := 0
			w.Before(apiList, func() {
				if page++; page == 1 || page > 5 {
					return
				}
				ctx, left := t.Context(), fmt.Sprintf("i%d", page)
				_, err := w.Emulator.Quit(ctx, id, left, fmt.Sprintf("i%d", page+10), fmt.Sprintf("t%d", page))
				_, err2 := w.Emulator.PutMembers(ctx, id,
					emulator.MemberSpec{Accounts: []string{left, fmt.Sprintf("new%d", page)}, JoinedAgo: "0s"})
				_, err3 := w.Emulator.Speak(ctx, id, fmt.Sprintf("i%d", page+20), fmt.Sprintf("i%d", page+240))
				must(t, errors.Join(err, err2, err3))
				gone = append(gone, fmt.Sprintf("i%d", page+10))
				safe = append(safe, left, fmt.Sprintf("new%d", page), fmt.Sprintf("i%d", page+20),
					fmt.Sprintf("i%d", page+240))
			})
			r := w.replica()
			r.queue("one", 10*time.Minute)

			run := w.Get("one")
			wantConditions(t, run, "Planned=True/Planned", removedCondition)
			planned := planOf(run)
			if sorted := slices.Sorted(slices.Values(planned)); len(slices.Compact(sorted)) != len(planned) {
				t.Errorf("an account is planned twice: %v", planned)
			}
			members := w.Members(id)
			for _, account := range safe {
				if !slices.Contains(members, account) {
					t.Errorf("%s joined or spoke while the list was read, and is gone", account)
				}
			}
			left := 0
			for _, account := range planned {
				if account[0] != 'i' {
					t.Errorf("%s is planned", account)
				}
				if !slices.Contains(members, account) && !slices.Contains(gone, account) {
					left++
				}
			}
			if page < 5 || int(run.Status.Removed) != left || left < 150 {
				t.Errorf("after %d pages removed %d, and %d of the plan are gone", page, run.Status.Removed, left)
			}
		})
	}
}

// A record that the API server keeps refusing is retried ever more rarely, and removes no member.
func TestRecordThatTheAPIServerKeepsRefusing(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Group: "groupgate.io", Resource: "pruneruns"}
	refusals := map[string]error{
		"413":  apierrors.NewRequestEntityTooLargeError("limit is 3145728"),
		"422":  apierrors.NewInvalid(schema.GroupKind{Group: "groupgate.io", Kind: "PruneRun"}, "one", nil),
		"etcd": apierrors.NewInternalError(errors.New("etcdserver: request is too large")),
		"403":  apierrors.NewForbidden(resource, "one", errBroken),
	}
	for name, refusal := range refusals {
		for nth, wantDeletions := range map[int]int{1: 0, 2: 0, 3: 1} { // the plan, the first fence, its settlement
			t.Run(fmt.Sprintf("%s for patch %d", name, nth), func(t *testing.T) {
				t.Parallel()
				w := enforcingOf(t, 7, 5)
				before := w.Members(fullGroup)
				writes := 0
				w.EachPatch(func(_ *v1alpha1.PruneRun, send func() error) error {
					if writes++; writes >= nth {
						return refusal
					}
					return send()
				})
				r := w.replica()
				r.queue("one", 10*time.Minute)
				if got := w.Happened(apiDelete); got != wantDeletions {
					t.Errorf("%d deletions, want %d", got, wantDeletions)
				}
				if writes < nth+10 || writes > nth+20 {
					t.Errorf("%d tries in 10 minutes", writes-nth)
				}
				w.EachPatch(nil)
				r.queue("one", 10*time.Minute)
				wantRemoved(t, w, before)
			})
		}
	}
}

// While the snapshot is behind nothing happens, and the record has to say so, or no alert would.
func TestRunSaysThatTheSnapshotHasBeenBehindForLong(t *testing.T) {
	t.Parallel()
	for name, behind := range map[string]func(w *world, r *replica) (caughtUp func()){
		"watches are silent": func(_ *world, r *replica) func() {
			var stale atomic.Bool
			stale.Store(true)
			r.Stale = stale.Load
			return func() { stale.Store(false) }
		},
		"policy is not in the snapshot": func(w *world, _ *replica) func() {
			w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.Join = &v1alpha1.JoinSection{
					Deny: &v1alpha1.AccountSelector{Accounts: []string{"eve"}}}
			})
			return w.Publish
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			r := w.replica()
			var caughtUp func()
			w.OnPatch(1, func(_ *v1alpha1.PruneRun, send func() error) error {
				caughtUp = behind(w, r)
				return send()
			})
			for range 11 { // seconds
				if next, err := r.step("one"); err != nil || next.After != soon {
					t.Errorf("next = %v, %v, want another Step soon", next, err)
				}
				wantConditions(t, w.Get("one"), "Planned=True/Planned")
				w.Clock.Forward(soon)
			}
			r.mustStep("one")
			wantConditions(t, w.Get("one"), "Planned=True/Planned", "Complete=False/SnapshotBehind")
			if !Wakes(w.Store.Load(), w.Get("one")) {
				t.Error("a new snapshot does not wake it")
			}
			caughtUp()
			if got := r.finish("one").Status.Removed; got != plannedRemovals {
				t.Errorf("removed %d, want %d", got, plannedRemovals)
			}
		})
	}
}
