package controllers

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// brokenSnapshots panic once.
type brokenSnapshots struct {
	*policy.Store
	panicked atomic.Bool
}

func (b *brokenSnapshots) Load() *policy.Snapshot {
	if !b.panicked.Swap(true) {
		panic("load")
	}
	return b.Store.Load()
}

func hasRun(w *world) func() error {
	return func() error {
		if len(w.RunNames()) != 1 {
			return errors.New("no run")
		}
		return nil
	}
}

func TestFullGroupGetsItsRunAfterAPanicOfTheIntake(t *testing.T) {
	w := newWorld(t)
	w.Policy("lounge", v1alpha1.PruneRule{})
	intake := w.intake()
	intake.Guard = guard.New(prometheus.NewRegistry(), logr.Discard())
	intake.Snapshots = &brokenSnapshots{Store: w.Store}
	start(t, intake.Start)
	intake.GroupFull(w.object(), labtest.FullGroup)
	labtest.Eventually(t, hasRun(w))
}

func TestSweepsGoOnAfterAPanic(t *testing.T) {
	for name, loads := range map[string]int32{"OfTheSchedule": 1, "OfASweep": 2} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fullGroups("solo")
			w.PolicyFor("solo", "solo", v1alpha1.PruneRule{})
			w.Publish()
			s := w.sweeper(w.process())
			s.Snapshots = &laterBroken{Store: w.Store, at: loads}
			guarded := s.Guard.Runnable(guard.Sweeper, s)
			start(t, guarded.Start)
			labtest.Eventually(t, hasRun(w))
		})
	}
}

// laterBroken panics when it is loaded for the nth time.
type laterBroken struct {
	*policy.Store
	at    int32
	loads atomic.Int32
}

func (b *laterBroken) Load() *policy.Snapshot {
	if b.loads.Add(1) == b.at {
		panic("load")
	}
	return b.Store.Load()
}

// What is not known not to matter is built: otherwise a revocation could be missed.
func TestChangeOnWhichAPredicatePanicsIsBuilt(t *testing.T) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	broken := predicate.NewPredicateFuncs(func(client.Object) bool {
		panic("predicate")
	})
	var changed changedObjects
	handler := changed.handler(broken)
	one, two := newList("a", "one", nil), newList("a", "two", nil)
	handler.Create(t.Context(), event.CreateEvent{Object: one}, queue)
	handler.Update(t.Context(), event.UpdateEvent{ObjectOld: two, ObjectNew: two}, queue)
	taken, _ := changed.take()
	if got := len(taken); got != 2 || queue.Len() != 1 {
		t.Errorf("%d changes, %d requests", got, queue.Len())
	}
}
