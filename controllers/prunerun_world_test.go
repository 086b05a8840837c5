package controllers

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/pruning"
)

// world is a namespace with an emulated vendor, in which runs are created and reconciled.
type world struct {
	*labtest.World
	t    *testing.T
	ends map[*PruneRunReconciler]func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{labtest.NewWorld(t), t, map[*PruneRunReconciler]func(){}}
}

// change edits an object of the world.
func change[T client.Object](w *world, object T, name string, edit func(T)) {
	w.t.Helper()
	labtest.Edit(w.World, object, name, edit)
}

// process is one replica: a reconciler in a term of its own.
func (w *world) process() *PruneRunReconciler {
	w.t.Helper()
	held, end := heldTerm(w.t)
	r := &PruneRunReconciler{
		Client: w.Client, Term: held, TTL: 7 * 24 * time.Hour,
		Engine: &pruning.Engine{
			Client: w.Client, Live: w.Client, Snapshots: w.Store, Events: w.Events, Now: w.Clock.Now,
			Clients: &imclients.Pool{Reader: w.Client, Endpoint: w.URL, Now: w.Clock.Now, Sleep: w.Clock.Sleep},
		},
	}
	w.ends[r] = end
	return r
}

// endTerm ends the term of a process for good.
func (w *world) endTerm(r *PruneRunReconciler) { w.ends[r]() }

func (w *world) reconcile(r *PruneRunReconciler, name string) (reconcile.Result, error) {
	return r.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: w.Key(name)})
}

// finish reconciles a run until it has ended. A run that needs more than 20 times never ends.
func (w *world) finish(r *PruneRunReconciler, name string) *v1alpha1.PruneRun {
	w.t.Helper()
	var last error
	for range 20 {
		_, last = w.reconcile(r, name)
		if run := w.Get(name); prunerun.Finished(run) {
			return run
		}
	}
	w.t.Fatalf("run %s does not end: %v\n%+v", name, last, w.Get(name).Status.Conditions)
	return nil
}

// end writes the status of a run that found the group full and ended now.
func (w *world) end(name, reason string, removed int32) {
	w.t.Helper()
	run := w.Get(name)
	run.Status = endedRun(v1alpha1.ConditionComplete, reason, 0, true).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
	run.Status.Removed = removed
	labtest.Must(w.t, w.Client.Status().Update(w.t.Context(), run))
}

// storeNever has never seen a snapshot.
type storeNever struct{}

func (storeNever) Load() *policy.Snapshot { return nil }

var errBroken = errors.New("the API server is out of reach")
