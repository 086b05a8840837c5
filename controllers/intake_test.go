package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func (w *world) intake() *Intake {
	return &Intake{
		Client: w.Client, Live: w.Client, Snapshots: w.Store, Now: w.Clock.Now,
		Metrics: NewIntakeMetrics(prometheus.NewRegistry()), Log: logr.Discard(),
	}
}

func (w *world) object() policy.Object {
	return policy.Object{Namespace: w.Namespace, Name: labtest.App}
}

func (i *Intake) empty() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.pending) > 0 {
		return fmt.Errorf("%d groups are pending", len(i.pending))
	}
	return nil
}

func (i *Intake) count(result intakeResult) float64 {
	return testutil.ToFloat64(i.Metrics.results.WithLabelValues(string(result)))
}

// counted polls until a result was counted.
func counted(t *testing.T, i *Intake, result intakeResult, want float64) {
	t.Helper()
	labtest.Eventually(t, func() error {
		if got := i.count(result); got < want {
			return fmt.Errorf("%s = %v, want %v", result, got, want)
		}
		return nil
	})
}

func TestThousandCallbacksAreOneRun(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	one, two := w.intake(), w.intake() // two replicas
	buffer := []byte(labtest.FullGroup)
	for range 500 {
		one.GroupFull(w.object(), string(buffer))
		two.GroupFull(w.object(), labtest.FullGroup)
	}
	if got := testutil.ToFloat64(one.Metrics.pending); got != 1 {
		t.Errorf("prune_intake_pending = %v, want 1", got)
	}
	start(t, one.Start)
	start(t, two.Start)
	labtest.Eventually(t, func() error {
		if one.count(intakeCreated)+two.count(intakeCreated) == 0 {
			return errors.New("no run yet")
		}
		return nil
	})
	for range 100 {
		one.GroupFull(w.object(), labtest.FullGroup)
		two.GroupFull(w.object(), labtest.FullGroup)
	}
	want := prunerun.Key{App: labtest.App, Group: labtest.FullGroup}.Name(1)
	finish := w.Get(want)
	finish.Status = endedRun(v1alpha1.ConditionComplete, "Previewed", 0, true).Status
	finish.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
	labtest.Must(t, w.Client.Status().Update(t.Context(), finish))
	for _, intake := range []*Intake{one, two} {
		labtest.Eventually(t, intake.empty)
	}
	if got := w.RunNames(); !slices.Equal(got, []string{want}) {
		t.Errorf("runs = %v, want %s", got, want)
	}
	if got := one.count(intakeCreated) + two.count(intakeCreated); got != 1 {
		t.Errorf("%v runs created, want 1", got)
	}
	if got := testutil.ToFloat64(one.Metrics.pending); got != 0 {
		t.Errorf("prune_intake_pending = %v, want 0", got)
	}
}

// refusing fails to create runs of some groups.
type refusing struct {
	client.Client
	refuse func(group string) bool
	tries  atomic.Int32
}

func (r *refusing) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if run, ok := obj.(*v1alpha1.PruneRun); ok && r.refuse(run.Spec.GroupID) {
		r.tries.Add(1)
		return errBroken
	}
	return r.Client.Create(ctx, obj, opts...)
}

func TestIntakeRetriesAGroupWithoutDelayingOthers(t *testing.T) {
	w := newWorld(t)
	w.PolicyFor("a", "a", v1alpha1.PruneRule{})
	w.PolicyFor("b", "b", v1alpha1.PruneRule{})
	w.Publish()
	var down atomic.Bool
	down.Store(true)
	intake := w.intake()
	api := &refusing{Client: w.Client, refuse: func(group string) bool { return group == "a" && down.Load() }}
	intake.Client = api
	start(t, intake.Start)
	intake.GroupFull(w.object(), "a")
	labtest.Eventually(t, func() error {
		if api.tries.Load() < 2 {
			return errors.New("not tried again yet")
		}
		return nil
	})
	intake.GroupFull(w.object(), "b")
	labtest.Eventually(t, func() error {
		if !w.Exists(prunerun.Key{App: labtest.App, Group: "b"}.Name(1)) {
			return errors.New("a group waits for another one's backoff")
		}
		return nil
	})
	down.Store(false)
	labtest.Eventually(t, func() error {
		if !w.Exists(prunerun.Key{App: labtest.App, Group: "a"}.Name(1)) {
			return errors.New("the callback was lost")
		}
		return nil
	})
}

func TestIntakeDropsWhatIsNoLongerGoverned(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	intake := w.intake()
	start(t, intake.Start)

	intake.GroupFull(w.object(), "another group")
	counted(t, intake, intakeNotGoverned, 1)
	change(w, &v1alpha1.IMApp{}, labtest.App,
		func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
	w.Publish()
	intake.GroupFull(w.object(), labtest.FullGroup)
	counted(t, intake, intakeSuspended, 1)
	labtest.Eventually(t, intake.empty)
	if got := w.RunNames(); len(got) != 0 {
		t.Errorf("runs = %v, want none", got)
	}
}

func TestCallbackAfterNotFullStaysPendingForAMinute(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	intake := w.intake()
	intake.init()
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	w.Run(key.Name(1), v1alpha1.PruneTriggerGroupFull)
	// The run is looking at the group right now; whatever it saw, this callback is newer.
	if got := intake.decide(t.Context(), key, w.Clock.Now()); got.after <= 0 {
		t.Errorf("next = %+v, want to stay pending", got)
	}
	run := w.Get(key.Name(1))
	run.Status = endedRun(v1alpha1.ConditionComplete, "NotFull", 0, false).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))

	w.Clock.Forward(time.Minute - time.Second)
	if got := intake.decide(t.Context(), key, w.Clock.Now()); got.after != time.Second {
		t.Errorf("next = %+v, want to stay pending for a second", got)
	}
	w.Clock.Forward(time.Second)
	if got := intake.decide(t.Context(), key, w.Clock.Now()); got.result != intakeCreated || !w.Exists(key.Name(2)) {
		t.Errorf("next = %+v, runs %v", got, w.RunNames())
	}
}

func TestPendingGroupIsDroppedOnceARunCoversIt(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{Cooldown: "1h"})
	intake := w.intake()
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	w.Run(key.Name(1), v1alpha1.PruneTriggerGroupFull)
	if got := intake.decide(t.Context(), key, w.Clock.Now().Add(-unplannedRunTimeout)); got.result != intakeUnfinished {
		t.Errorf("of a run that has waited for long: %+v", got)
	}
	run := w.Get(key.Name(1))
	run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(w.Clock.Now())}
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	if got := intake.decide(t.Context(), key, w.Clock.Now()); got.result != intakeUnfinished {
		t.Errorf("of a run with a plan: %+v", got)
	}
	run = w.Get(key.Name(1))
	run.Status = endedRun(v1alpha1.ConditionComplete, "Removed", 0, true).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	if got := intake.decide(t.Context(), key, w.Clock.Now()); got.result != intakeCooling {
		t.Errorf("in the cooldown: %+v", got)
	}
	w.Clock.Forward(time.Hour + time.Second)
	if got := intake.decide(t.Context(), key, w.Clock.Now()); got.result != intakeCreated {
		t.Errorf("after the cooldown: %+v", got)
	}
}

func TestCallbackDuringACreationIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	intake := w.intake()
	// The callback comes while the worker is about to let the group go: the run that it saw may have read the group
	// before.
	first := true
	intake.Client = &refusing{Client: w.Client, refuse: func(string) bool {
		if first {
			first = false
			w.Clock.Forward(time.Second)
			intake.GroupFull(w.object(), labtest.FullGroup)
		}
		return false
	}}
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	intake.GroupFull(w.object(), labtest.FullGroup)
	got, _ := intake.queue.Get()
	intake.process(t.Context(), got)
	intake.queue.Done(got)
	if !w.Exists(key.Name(1)) {
		t.Error("no run was created")
	}
	if err := intake.empty(); err == nil {
		t.Error("the second callback was forgotten")
	}
	if again, _ := intake.queue.Get(); again != key {
		t.Errorf("next = %v, want %v", again, key)
	}
}

func TestIntakeIsBounded(t *testing.T) {
	w := newWorld(t)
	intake := w.intake()
	for n := range maxPendingGroups + 5 {
		intake.GroupFull(w.object(), fmt.Sprint(n))
	}
	if got := testutil.ToFloat64(intake.Metrics.pending); got != maxPendingGroups {
		t.Errorf("prune_intake_pending = %v, want %d", got, maxPendingGroups)
	}
	if got := intake.count(intakeOverflow); got != 5 {
		t.Errorf("overflow = %v, want 5", got)
	}
	if intake.NeedLeaderElection() {
		t.Error("only one replica would take callbacks in")
	}
}

// troubled stands between an intake and the API server whenever a run is created.
type troubled struct {
	client.Client
	create func(ctx context.Context, run *v1alpha1.PruneRun, send func() error) error
}

func (c *troubled) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	run, ok := obj.(*v1alpha1.PruneRun)
	if !ok {
		return fmt.Errorf("created a %T", obj)
	}
	return c.create(ctx, run, func() error { return c.Client.Create(ctx, obj, opts...) })
}

func TestIntakeRetriesUntilTheAPIServerCreatesTheRun(t *testing.T) {
	resource := schema.GroupResource{Group: "groupgate.io", Resource: "pruneruns"}
	tests := map[string]func(w *world, ctx context.Context, run *v1alpha1.PruneRun, send func() error) error{
		"down": func(*world, context.Context, *v1alpha1.PruneRun, func() error) error { return errBroken },
		"hangs": func(w *world, ctx context.Context, _ *v1alpha1.PruneRun, _ func() error) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > intakeTimeout {
				w.t.Error("a request that hangs is waited for without end")
			}
			return context.DeadlineExceeded
		},
		"took it, and its answer was lost": func(_ *world, _ context.Context, _ *v1alpha1.PruneRun,
			send func() error) error {
			return errors.Join(send(), errBroken)
		},
		"others are first, and done already": func(w *world, ctx context.Context, run *v1alpha1.PruneRun,
			send func() error) error {
			other := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name},
				Spec: run.Spec}
			labtest.Must(w.t, w.Client.Create(ctx, other))
			other.Status = endedRun(v1alpha1.ConditionComplete, v1alpha1.ReasonSuspended, 0, false).Status
			labtest.Must(w.t, w.Client.Status().Update(ctx, other))
			return send()
		},
		"others are first, and gone again": func(_ *world, _ context.Context, run *v1alpha1.PruneRun,
			_ func() error) error {
			return apierrors.NewAlreadyExists(resource, run.Name)
		},
		"conflicts": func(_ *world, _ context.Context, run *v1alpha1.PruneRun, _ func() error) error {
			return apierrors.NewConflict(resource, run.Name, errBroken)
		},
		"refuses": func(_ *world, _ context.Context, run *v1alpha1.PruneRun, _ func() error) error {
			return apierrors.NewForbidden(resource, run.Name, errBroken)
		},
		"has too much to do": func(*world, context.Context, *v1alpha1.PruneRun, func() error) error {
			return apierrors.NewTooManyRequests("later", 1)
		},
		"has no such kind": func(_ *world, _ context.Context, run *v1alpha1.PruneRun, _ func() error) error {
			return apierrors.NewNotFound(resource, run.Name)
		},
	}
	for name, trouble := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Policy("lounge", v1alpha1.PruneRule{})
			var over atomic.Bool
			intake := w.intake()
			intake.Client = &troubled{Client: w.Client,
				create: func(ctx context.Context, run *v1alpha1.PruneRun, send func() error) error {
					if over.Load() {
						return send()
					}
					return trouble(w, ctx, run, send)
				}}
			start(t, intake.Start)
			intake.GroupFull(w.object(), labtest.FullGroup)
			counted(t, intake, intakeRetried, 1)
			if err := intake.empty(); err == nil {
				t.Fatal("the callback was let go")
			}
			over.Store(true)
			labtest.Eventually(t, func() error {
				var list v1alpha1.PruneRunList
				labtest.Must(t,
					w.Client.List(t.Context(), &list, client.InNamespace(w.Namespace),
						client.MatchingFields{"spec.groupID": labtest.FullGroup}))
				if open := slices.DeleteFunc(list.Items,
					func(run v1alpha1.PruneRun) bool { return prunerun.Finished(&run) }); len(open) != 1 {
					return fmt.Errorf("%d runs to do, want one", len(open))
				}
				return nil
			})
		})
	}
}

func TestHangingCreationDelaysNoOtherGroup(t *testing.T) {
	w := newWorld(t)
	w.PolicyFor("hangs", "hangs", v1alpha1.PruneRule{})
	w.PolicyFor("other", "other", v1alpha1.PruneRule{})
	w.Publish()
	var hanging atomic.Bool
	intake := w.intake()
	intake.Client = &troubled{Client: w.Client,
		create: func(ctx context.Context, run *v1alpha1.PruneRun, send func() error) error {
			if run.Spec.GroupID != "hangs" {
				return send()
			}
			hanging.Store(true)
			<-ctx.Done()
			return ctx.Err()
		}}
	stop := start(t, intake.Start)
	intake.GroupFull(w.object(), "hangs")
	labtest.Eventually(t, func() error {
		if !hanging.Load() {
			return errors.New("not tried yet")
		}
		return nil
	})
	intake.GroupFull(w.object(), "other")
	counted(t, intake, intakeCreated, 1)
	stop() // which waits for no answer
	w.hasRuns("other")
}

// A real admission policy answers 422, as a CRD does that is older than the operator.
func TestIntakeRetriesWhileAnAdmissionPolicyRefuses(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	lift := w.forbid("pruneruns", admissionv1.Create, "false", "no runs this week", func() error {
		run := &v1alpha1.PruneRun{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "attempt"},
			Spec: v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: labtest.App},
				GroupID: labtest.FullGroup},
		}
		return w.Client.Create(t.Context(), run, client.DryRunAll)
	})

	var lines logLines
	intake := w.intake()
	intake.Log = funcr.New(func(_, line string) { lines.add(line) }, funcr.Options{})
	start(t, intake.Start)
	intake.GroupFull(w.object(), labtest.FullGroup)
	counted(t, intake, intakeRetried, 3)
	if got := lines.all(); len(got) != 1 || !strings.Contains(got[0], "no runs this week") ||
		!strings.Contains(got[0], "see which admission policy refuses PruneRuns") {
		t.Errorf("logged %q, want one error that says what refuses the run", got)
	}
	lift()
	labtest.Eventually(t, func() error {
		if !w.Exists(prunerun.Key{App: labtest.App, Group: labtest.FullGroup}.Name(1)) {
			return errors.New("the callback was lost")
		}
		return nil
	})
}

// logLines are those of a logger, in order.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func TestStaleCallbacksDoNotDelayAFullGroup(t *testing.T) {
	w := newWorld(t)
	w.Clock.UseRealTime()
	w.Policy("lounge", v1alpha1.PruneRule{Cooldown: "1h"})
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	w.Run(key.Name(1), v1alpha1.PruneTriggerGroupFull) // that of a callback which came late, or was made up
	intake := w.intake()
	start(t, intake.Start)
	// The group fills up while that run looks at it, and callbacks of before keep coming.
	for range 100 {
		intake.GroupFull(w.object(), labtest.FullGroup)
	}
	run := w.Get(key.Name(1))
	run.Status = endedRun(v1alpha1.ConditionComplete, v1alpha1.ReasonNotFull, 0, false).Status
	ended := time.Now().Add(2*time.Second - prunerun.NotFullDelay).Truncate(time.Second)
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(ended)
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	labtest.Eventually(t, func() error {
		if !w.Exists(key.Name(2)) {
			return errors.New("the real callback was lost")
		}
		return nil
	})
	if got := w.Get(key.Name(2)).CreationTimestamp; got.Time.Before(ended.Add(prunerun.NotFullDelay)) {
		t.Errorf("created %v after a run that ended NotFull, want at least %v", got.Sub(ended), prunerun.NotFullDelay)
	}
	w.hasRuns(labtest.FullGroup, labtest.FullGroup)
}

func TestSweepFindsGroupsThatOverflowedTheIntake(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 1, 1)
	w.pattern("all", "")
	intake := w.intake()
	for n := range maxPendingGroups {
		intake.GroupFull(w.object(), fmt.Sprint(n))
	}
	intake.GroupFull(w.object(), labtest.FullGroup)
	if got := intake.count(intakeOverflow); got != 1 {
		t.Fatalf("overflow = %v, want 1", got)
	}
	w.sweep(w.sweeper(w.process())).inTerm(t.Context())
	w.hasRuns(labtest.FullGroup)
}

func TestIntakeMemoryIsBounded(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{}) // which governs none of the groups below
	intake := w.intake()
	heap := func() int {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int(stats.HeapAlloc)
	}
	before := heap()
	for n := range 2 * maxPendingGroups {
		// The id is a part of the request that it came in.
		request := strings.Repeat("x", 240) + fmt.Sprintf("%015d", n) + strings.Repeat("y", 4<<10)
		intake.GroupFull(w.object(), request[:255])
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d groups take %d MiB, want less than 16", maxPendingGroups, grown>>20)
	}
	start(t, intake.Start)
	labtest.Eventually(t, intake.empty)
	if got := intake.count(intakeNotGoverned); got != maxPendingGroups {
		t.Errorf("not_governed = %v, want %d", got, maxPendingGroups)
	}
	runtime.KeepAlive(intake)
}

// What comes in as a callback must fit into a PruneRun, and be found again.
func TestEveryGroupIDOfACallbackFitsIntoARun(t *testing.T) {
	controls := ""
	for c := rune(1); c < 0x20; c++ {
		controls += string(c)
	}
	ids := map[string]string{
		"ordinary":                     "@TGS#2J4SZEAEL",
		"one byte":                     "x",
		"as long as can be":            strings.Repeat("x", 255),
		"of the widest characters":     strings.Repeat("\U0010ffff", 63) + "abc",
		"control characters":           controls + "\u007f\u0080\u009f",
		"selector syntax":              `a=b,c!=d\,\=\\,spec.groupID==x`,
		"quotes and markup":            `"'<script>&amp;`,
		"paths and queries":            "../%2F?a=b&c=d+e#f;g",
		"blanks":                       " \t\r\n ",
		"line ends of other alphabets": "\u0085\u2028\u2029",
		"marks and non-characters":     "\ufeff\ufffe\uffff\ufffd\u202e",
		"not normalised":               "e\u0301 \u00e9",
		"YAML":                         "- {a: &b !!binary |\n  ~}: null",
		"a number":                     "007",
	}
	w := newWorld(t)
	creator := runCreator{Client: w.Client, Live: w.Client, Now: w.Clock.Now}
	for name, id := range ids {
		t.Run(name, func(t *testing.T) {
			quoted, err := json.Marshal(id)
			labtest.Must(t, err)
			got, err := callback.Parse(fmt.Appendf(nil, `{"CallbackCommand":%q,"GroupId":%s}`,
				callback.CommandAfterGroupFull, quoted))
			if err != nil || got.GroupID != id {
				t.Fatalf("read as %q, %v", got.GroupID, err)
			}
			key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: got.GroupID}
			full := freeSeats(key, v1alpha1.PruneTriggerGroupFull)
			if got, err := creator.ensure(t.Context(), full, nil); err != nil ||
				got.outcome != runCreated {
				t.Fatalf("outcome = %d, %v, want a run", got.outcome, err)
			}
			runs, err := cachedRuns(t.Context(), w.Client, key) // which reads live here
			if err != nil || len(runs) != 1 || runs[0].Spec.GroupID != id {
				t.Errorf("found %d runs, %v, want the one of %q", len(runs), err, id)
			}
		})
	}
	for name, quoted := range map[string]string{
		"empty": `""`, "NUL": `"a\u0000"`, "too long": `"` + strings.Repeat("x", 256) + `"`,
		"too many bytes": `"` + strings.Repeat("é", 128) + `"`,
		"not UTF-8":      "\"\xff\"", "half a surrogate pair": `"\ud800"`, "an overlong form": "\"\xc0\xaf\"",
		"an encoded surrogate": "\"\xed\xa0\x80\"",
	} {
		if got, err := callback.Parse(fmt.Appendf(nil, `{"CallbackCommand":%q,"GroupId":%s}`,
			callback.CommandAfterGroupFull, quoted)); err == nil {
			t.Errorf("%s: read as %q, which is no id of a PruneRun", name, got.GroupID)
		}
	}
}
