package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// cutReader reads nothing while it is cut.
type cutReader struct {
	client.Reader
	cut *atomic.Bool
}

func (c cutReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if c.cut.Load() {
		return errBroken
	}
	return c.Reader.Get(ctx, key, obj, opts...)
}

func (c cutReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if c.cut.Load() {
		return errBroken
	}
	return c.Reader.List(ctx, list, opts...)
}

// The process lives, and holds its term for a while yet, but nothing it asks the API server is answered from some write on.
func TestAPIServerGoesAwayInTheMiddleOfARun(t *testing.T) {
	for n := 1; n <= 4; n++ { // plan, fence, settlement, fence
		for _, took := range []bool{false, true} {
			t.Run(fmt.Sprintf("status patch %d, carried out %t", n, took), func(t *testing.T) {
				w := enforcing(t)
				before := w.members(fullGroup)
				var cut atomic.Bool
				r := w.process()
				r.Live = cutReader{w.client, &cut}
				writes := 0
				w.patch = func(_ *v1alpha1.PruneRun, send func() error) error {
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
				}
				if _, err := w.reconcile(r, "one"); !errors.Is(err, errBroken) {
					t.Fatalf("err = %v, want %v, so that the queue comes back", err, errBroken)
				}
				w.forget()
				for range 3 {
					if _, err := w.reconcile(r, "one"); !errors.Is(err, errBroken) {
						t.Errorf("err = %v, want %v", err, errBroken)
					}
				}
				if len(w.calls) != 0 {
					t.Errorf("%v, while the API server is away", w.calls)
				}
				cut.Store(false)
				w.finish(r, "one")
				wantRemoved(t, w, before)
			})
		}
	}
}

// quiet is a WatchAge.
type quiet struct{ atomic.Bool }

func (q *quiet) Silent() bool { return q.Load() }

// The watches stand still without ending, while reads and writes go through: a protection that is added now is not in the snapshot.
func TestNobodyIsRemovedWhileTheWatchesAreSilent(t *testing.T) {
	w := enforcing(t)
	before := w.members(fullGroup)
	watches := &quiet{}
	r := w.process()
	r.Watches = watches
	w.once(apiDelete, 1, func() { watches.Store(true) })
	for range 3 {
		result, err := w.reconcile(r, "one")
		if err != nil || result.RequeueAfter != soon {
			t.Errorf("result = %v, %v, want to look again soon", result, err)
		}
	}
	if run := w.get("one"); w.happened(apiDelete) != 1 || run.Status.Removed != 100 || prunerun.Finished(run) {
		t.Errorf("%d deletions, removed %d, want 1, 100", w.happened(apiDelete), run.Status.Removed)
	}
	watches.Store(false)
	w.finish(r, "one")
	wantRemoved(t, w, before)
}

// ourClock moves our clock, and not the vendor's.
func (w *world) ourClock(by time.Duration) {
	w.t.Helper()
	w.clock.forward(by)
	_, err := w.emulator.MoveClock(w.t.Context(), emulator.ClockChange{Forward: (-by).String()})
	must(w.t, err)
}

// A jump of almost five minutes, more of which is ClockSkew, moves the end of a budget's day, of a cooldown and of a plan by as much, and
// nothing else.
func TestOurClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-290 * time.Second, 290 * time.Second} {
		early, late := 6*time.Minute, 12*time.Minute // before the end, and from there to after it, wherever the jump has put it
		t.Run(fmt.Sprintf("%s, budget", jump), func(t *testing.T) {
			w := rationed(t, v1alpha1.PruneModeEnforce)
			w.once(apiDelete, 1, func() { w.ourClock(jump) })
			r := w.process()
			if got := w.finish(r, "of-a").Status.Removed; got != 150 {
				t.Fatalf("removed %d, want 150", got)
			}
			w.look(r, "of-b")
			w.clock.forward(24*time.Hour - early)
			other := w.process() // whose ledger is that of the records
			for _, r := range []*PruneRunReconciler{r, other} {
				w.look(r, "of-b")
				wantConditions(t, w.get("of-b"), exhausted)
			}
			w.clock.forward(late)
			if got := w.finish(other, "of-b").Status.Removed; got != 150 {
				t.Errorf("a day later removed %d, want 150", got)
			}
		})
		t.Run(fmt.Sprintf("%s, cooldown", jump), func(t *testing.T) {
			w := newWorld(t)
			w.group(fullGroup, 2, 5)
			w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "2h"})
			w.run("one", v1alpha1.PruneTriggerGroupFull)
			r := w.process()
			w.finish(r, "one")
			w.ourClock(jump)
			w.clock.forward(2*time.Hour - early)
			w.run("two", v1alpha1.PruneTriggerGroupFull)
			wantConditions(t, w.finish(r, "two"), "Planned=False/CoolingDown", "Complete=True/CoolingDown")
			w.clock.forward(late)
			w.run("three", v1alpha1.PruneTriggerGroupFull)
			wantConditions(t, w.finish(r, "three"), "Planned=True/Planned", "Complete=True/Previewed")
		})
		for after, want := range map[time.Duration]string{24*time.Hour - early: "Removed", 24*time.Hour - early + late: "Expired"} {
			t.Run(fmt.Sprintf("%s, plan approved after %s", jump, after), func(t *testing.T) {
				w, r := approving(t)
				w.ourClock(jump)
				w.clock.forward(after)
				w.say("one", v1alpha1.ApprovalApproved)
				if end, _ := prunerun.Completion(w.finish(r, "one")); end.Reason != want {
					t.Errorf("ended %s, want %s", end.Reason, want)
				}
			})
		}
	}
}

func TestPolicyMadeAgainUnderItsName(t *testing.T) {
	again := func(w *world) {
		remove(w, &v1alpha1.GroupPolicy{}, "lounge")
		w.rationing(v1alpha1.PruneModeEnforce)
	}
	w := rationed(t, v1alpha1.PruneModeEnforce)
	r := w.process()
	w.once(apiDelete, 1, func() { again(w) })
	run := w.finish(r, "of-a")
	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
	if run.Status.Removed != 100 {
		t.Fatalf("removed %d, want no more than the batch that was under way", run.Status.Removed)
	}
	// The new one has the name of the old one, and so what is left of its budget.
	if got := w.finish(r, "of-b"); got.Status.Removed != 50 || len(planAccounts(got)) != 50 {
		t.Errorf("planned %d, removed %d, want 50", len(planAccounts(got)), got.Status.Removed)
	}
	again(w)
	for _, r := range []*PruneRunReconciler{r, w.process()} {
		if !w.exists("more") {
			w.runFor("more", "a", v1alpha1.PruneTriggerManual)
		}
		w.look(r, "more")
		wantConditions(t, w.get("more"), exhausted)
	}
}

// queued looks at a run as the queue of the controller does, by the clock of the world, for as long as that time lasts.
func (w *world) queued(r *PruneRunReconciler, name string, during time.Duration) {
	w.t.Helper()
	backoff := firstRetry
	for end := w.clock.Now().Add(during); w.clock.Now().Before(end); {
		result, err := w.reconcile(r, name)
		switch {
		case err != nil:
			w.clock.forward(backoff)
			backoff = min(2*backoff, lastRetry)
		case result.RequeueAfter > 0:
			backoff = firstRetry
			w.clock.forward(result.RequeueAfter)
		default:
			return
		}
	}
}

func TestTenMinutesOfVendorTrouble(t *testing.T) {
	troubles := map[string]struct {
		fault emulator.Fault
		says  string
		want  string
	}{
		"60007":                  {emulator.Fault{Kind: emulator.FaultCode, Code: 60007, Info: "too often"}, "code 60007: too often", "Throttled"},
		"502":                    {emulator.Fault{Kind: emulator.FaultHTTP, Status: 502}, "HTTP status 502", "Unreachable"},
		"502, and it took place": {emulator.Fault{Kind: emulator.FaultHTTP, Status: 502, AfterEffect: true}, "HTTP status 502", "Unreachable"},
		"truncated answers":      {emulator.Fault{Kind: emulator.FaultTruncate}, "unexpected EOF", "Unreachable"},
	}
	places := map[string]func(w *world, begin func()){
		"from the beginning":     func(_ *world, begin func()) { begin() },
		"within the list":        func(w *world, begin func()) { w.once(apiList, 2, begin) },
		"at the second deletion": func(w *world, begin func()) { w.once(apiDelete, 2, begin) },
	}
	for trouble, tc := range troubles {
		for place, at := range places {
			t.Run(trouble+" "+place, func(t *testing.T) {
				w := enforcing(t)
				before := w.members(fullGroup)
				begun := 0
				at(w, func() {
					tc.fault.API = "*"
					w.fault(tc.fault)
					w.mu.Lock()
					defer w.mu.Unlock()
					begun = len(w.calls)
				})
				r := w.process()
				w.queued(r, "one", 10*time.Minute)

				run := w.get("one")
				if prunerun.Finished(run) {
					t.Fatalf("ended by what passes: %v", conditions(run))
				}
				waits := run.Status.Conditions[len(run.Status.Conditions)-1]
				if waits.Reason != v1alpha1.ReasonVendorUnavailable || !strings.Contains(waits.Message, tc.says) {
					t.Errorf("waits %s: %q, want VendorUnavailable with %q", waits.Reason, waits.Message, tc.says)
				}
				if got, _, _ := r.Vendor.Reachability(w.appUID()); got != tc.want {
					t.Errorf("VendorReachable is %s, want %s", got, tc.want)
				}
				// 5 attempts a try; tries after 1, 2, 4, ... 32 s and then every minute: 16 in all.
				if got := len(w.calls) - begun; got < 20 || got > 100 {
					t.Errorf("%d calls and records in 10 minutes", got)
				}

				must(t, w.emulator.ClearFaults(t.Context()))
				w.queued(r, "one", 10*time.Minute)
				wantRemoved(t, w, before)
			})
		}
	}
	t.Run("3 s for every answer", func(t *testing.T) {
		w := enforcing(t)
		before := w.members(fullGroup)
		for _, api := range []string{apiGroup, apiList, apiLook, apiDelete} {
			w.before[api] = func() { w.clock.forward(3 * time.Second) }
		}
		w.queued(w.process(), "one", 10*time.Minute)
		wantRemoved(t, w, before)
	})
}

// Whoever is read while others come, go and speak: nobody goes who has spoken or joined meanwhile, nobody is planned twice.
func TestMemberListChangesWhileItIsPaged(t *testing.T) {
	for _, kind := range []string{"Public", "Community"} { // paged by Offset, and by Next
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			id := "hall"
			if kind == "Community" {
				id = "@TGS#_hall"
			}
			_, err := w.emulator.CreateGroup(t.Context(), emulator.GroupSpec{
				ID: id, Type: kind, Owner: "owner", MaxMembers: 501, CreatedAgo: "400d",
				Members: []emulator.MemberSpec{{Prefix: "i", Count: 250, InactiveFor: "40d"}, {Prefix: "t", Count: 250, JoinedAgo: "100d", SpokeAgo: "2h"}},
			})
			must(t, err)
			w.policyFor("lounge", id, v1alpha1.PruneRule{FreeSeats: seats(200), MaxRemovals: 1000})
			w.publish()
			w.runFor("one", id, v1alpha1.PruneTriggerManual)

			// Before every page some of the pages before leave, one of whom comes back, others come and others speak.
			var gone, safe []string
			page := 0
			w.before[apiList] = func() {
				if page++; page == 1 || page > 5 {
					return
				}
				ctx, left := t.Context(), fmt.Sprintf("i%d", page)
				_, err := w.emulator.Quit(ctx, id, left, fmt.Sprintf("i%d", page+10), fmt.Sprintf("t%d", page))
				_, err2 := w.emulator.PutMembers(ctx, id, emulator.MemberSpec{Accounts: []string{left, fmt.Sprintf("new%d", page)}, JoinedAgo: "0s"})
				_, err3 := w.emulator.Speak(ctx, id, fmt.Sprintf("i%d", page+20), fmt.Sprintf("i%d", page+240))
				must(t, errors.Join(err, err2, err3))
				gone = append(gone, fmt.Sprintf("i%d", page+10))
				safe = append(safe, left, fmt.Sprintf("new%d", page), fmt.Sprintf("i%d", page+20), fmt.Sprintf("i%d", page+240))
			}
			r := w.process()
			w.queued(r, "one", 10*time.Minute)

			run := w.get("one")
			wantConditions(t, run, "Planned=True/Planned", removedWord)
			planned := planAccounts(run)
			if sorted := slices.Sorted(slices.Values(planned)); len(slices.Compact(sorted)) != len(planned) {
				t.Errorf("somebody is planned twice: %v", planned)
			}
			members := w.members(id)
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

// What is larger than the store takes is refused for good, whoever says so.
func TestRecordThatIsRefusedForGood(t *testing.T) {
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
				w := enforcing(t)
				before := w.members(fullGroup)
				writes := 0
				w.patch = func(_ *v1alpha1.PruneRun, send func() error) error {
					if writes++; writes >= nth {
						return refusal
					}
					return send()
				}
				r := w.process()
				w.queued(r, "one", 10*time.Minute)
				if got := w.happened(apiDelete); got != wantDeletions {
					t.Errorf("%d deletions, want %d", got, wantDeletions)
				}
				if writes < nth+10 || writes > nth+20 {
					t.Errorf("%d tries in 10 minutes", writes-nth)
				}
				w.onPatch(0, nil)
				w.queued(r, "one", 10*time.Minute)
				wantRemoved(t, w, before)
			})
		}
	}
}

// forbid makes the API server refuse with 422 what the expression is false for, in the namespace of the world, until lift is called.
// attempt is something that is refused once the API server knows.
func (w *world) forbid(resource string, operation admissionv1.OperationType, expression, message string, attempt func() error) (lift func()) {
	w.t.Helper()
	name := metav1.ObjectMeta{Name: "drill-" + w.namespace}
	refusal := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}},
			ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{operation},
				Rule:       admissionv1.Rule{APIGroups: []string{"groupgate.io"}, APIVersions: []string{"*"}, Resources: []string{resource}},
			}}},
		},
		Validations: []admissionv1.Validation{{Expression: expression, Message: message}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	must(w.t, w.client.Create(w.t.Context(), refusal))
	must(w.t, w.client.Create(w.t.Context(), binding))
	lifted := false
	lift = func() {
		if lifted {
			return
		}
		lifted = true
		ctx := context.WithoutCancel(w.t.Context()) // it has ended when this is called for the clean-up
		must(w.t, errors.Join(w.client.Delete(ctx, binding), w.client.Delete(ctx, refusal)))
	}
	w.t.Cleanup(lift)
	eventually(w.t, func() error { // the API server reads its policies from a cache
		if err := attempt(); !apierrors.IsInvalid(err) {
			return fmt.Errorf("err = %w, want 422 Invalid", err)
		}
		return nil
	})
	return lift
}

// The same with everything that main starts and an API server that means it: the queue tries ever more rarely.
func TestPlanThatTheAPIServerRefusesIsNotHammered(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	before := w.members(fullGroup)
	w.runFor("other", "another", v1alpha1.PruneTriggerManual)
	lift := w.forbid("pruneruns/status", admissionv1.Update, "!has(object.status.plan)", "no plans this week", func() error {
		run := w.get("other")
		run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.Now()}
		return testClient(t).Status().Update(t.Context(), run, client.DryRunAll)
	})
	w.run("one", v1alpha1.PruneTriggerManual)
	w.startManager()
	eventually(t, func() error {
		if got := w.happened(apiList); got < 2 {
			return fmt.Errorf("tried %d times", got)
		}
		return nil
	})
	pause(t, 6*time.Second) // tries after 1, 2, 4 and 8 s
	if got := w.happened(apiList); got > 5 {
		t.Errorf("%d tries within seconds", got)
	}
	if got := w.happened(apiDelete); got != 0 {
		t.Errorf("%d deletions without a plan on record", got)
	}
	lift()
	run := w.reaches("one", v1alpha1.ReasonRemoved)
	if diff := cmp.Diff(without(before, planAccounts(run)), w.members(fullGroup)); diff != "" || run.Status.Removed != 2 {
		t.Errorf("removed %d, members (-want,+got)\n%s", run.Status.Removed, diff)
	}
}

// A key that was corrected in place counts from the next callback after the cooldown on, or at once for a person who asks.
func TestCorrectedKeyCounts(t *testing.T) {
	key := func(w *world, value string) {
		change(w, &corev1.Secret{}, "prod-im", func(s *corev1.Secret) { s.Data[v1alpha1.SecretKeySecretKey] = []byte(value) })
	}
	w := newWorld(t)
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(2)})
	key(w, "another key")
	group := prunerun.Key{Namespace: w.namespace, App: pruneApp, Group: fullGroup}
	intake, r := w.intake(), w.process()
	callback := func(want intakeResult) {
		t.Helper()
		if got := intake.decide(t.Context(), group, w.clock.Now()); got.result != want || got.failed != nil {
			t.Errorf("a callback is %s, %v, want %s", got.result, got.failed, want)
		}
	}
	callback(intakeCreated)
	if end, _ := prunerun.Completion(w.finish(r, group.Name(1))); end.Reason != v1alpha1.ReasonVendorRefused {
		t.Fatalf("ended %s", end.Reason)
	}
	for range 5 {
		callback(intakeCooling)
	}
	key(w, pruneSecretKey)
	callback(intakeCooling)
	if got := w.happened(apiGroup); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
	w.clock.forward(prunerun.DefaultCooldown)
	callback(intakeCreated)
	wantConditions(t, w.finish(r, group.Name(2)), "Planned=True/Planned", removedWord)
}
