package pruning

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// runReads counts the runs that are read whole.
type runReads struct {
	client.Reader
	whole atomic.Int64
}

func (r *runReads) Get(
	ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption,
) error {
	if _, is := obj.(*v1alpha1.PruneRun); is {
		r.whole.Add(1)
	}
	return r.Reader.Get(ctx, key, obj, opts...)
}

func (r *runReads) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := r.Reader.List(ctx, list, opts...)
	if runs, is := list.(*v1alpha1.PruneRunList); is {
		r.whole.Add(int64(len(runs.Items)))
	}
	return err
}

func TestRecordsOfAGroupAreNotReadAgainForEachDecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 0, 20)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "1h"})
	const kept = identitiesPerPage + 5
	for i := range kept {
		w.Run(fmt.Sprintf("kept-%d", i), v1alpha1.PruneTriggerGroupFull)
		endAt(t, w, fmt.Sprintf("kept-%d", i), v1alpha1.ReasonNotFull)
	}
	w.Run("one", v1alpha1.PruneTriggerManual)
	r := w.replica()
	live := &runReads{Reader: w.Client}
	r.Live, r.Cache = live, w.Client
	wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Previewed")
	// The ledger reads the records of the app once in a term.
	if got := live.whole.Load(); got > kept+10 {
		t.Errorf("%d runs were read whole, with %d kept", got, kept)
	}
}

// TestCacheThatIsBehindDoesNotLetTwoRunsOfAGroupWork is about a cache that has not seen how far the other run got.
func TestCacheThatIsBehindDoesNotLetTwoRunsOfAGroupWork(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	r := w.replica()
	w.Run("two", v1alpha1.PruneTriggerManual)
	behind := w.Get("one")
	behind.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNotFull,
	}}
	behind.ResourceVersion = "1"
	r.Cache = oneRun{Reader: w.Client, run: behind}
	r.mustStep("two")
	wantConditions(t, w.Get("two"), "Planned=False/Queued")

	r.Cache = brokenReader{Reader: w.Client, broken: func(any) bool { return true }}
	r.mustStep("two") // a cache that cannot be read is done without
	wantConditions(t, w.Get("two"), "Planned=False/Queued")
}

// oneRun has its own idea of one run.
type oneRun struct {
	client.Reader
	run *v1alpha1.PruneRun
}

func (o oneRun) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if run, is := obj.(*v1alpha1.PruneRun); is && key == client.ObjectKeyFromObject(o.run) {
		o.run.DeepCopyInto(run)
		return nil
	}
	return o.Reader.Get(ctx, key, obj, opts...)
}

// endAt records the end of a run, now.
func endAt(t *testing.T, w *world, name, reason string) {
	t.Helper()
	run := w.Get(name)
	run.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: reason, Message: "Ended.",
		LastTransitionTime: metav1.NewTime(w.Clock.Now()), ObservedGeneration: run.Generation,
	}}
	must(t, w.Client.Status().Update(t.Context(), run))
}
