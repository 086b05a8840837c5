package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"

	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// groupQueue holds groups that workers examine, each of them one at a time. A group whose examination failed is
// examined again after a backoff of its own.
type groupQueue struct {
	workqueue.TypedRateLimitingInterface[prunerun.Key]
}

func newGroupQueue() groupQueue {
	return groupQueue{workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[prunerun.Key](intakeFirstBackoff, intakeMaxBackoff))}
}

// serve passes the groups to examine until ctx ends.
func (q groupQueue) serve(ctx context.Context, g *guard.Guard, part guard.Part, examine func(prunerun.Key)) {
	var workers sync.WaitGroup
	for range intakeWorkers {
		workers.Go(func() { // ends with the queue
			for {
				key, shutdown := q.Get()
				if shutdown {
					return
				}
				if g.Run(part, func() { examine(key) }) {
					q.AddRateLimited(key)
				}
				q.Done(key)
			}
		})
	}
	<-ctx.Done()
	q.ShutDown()
	workers.Wait()
}

// after has a group examined again after d, without a failure.
func (q groupQueue) after(key prunerun.Key, d time.Duration) {
	q.Forget(key)
	q.AddAfter(key, d)
}

// failed has a group examined again. It logs the first failure of the group as an error, and its repetitions at V(1).
func (q groupQueue) failed(log logr.Logger, key prunerun.Key, err error, message string) {
	log = log.WithValues("app", key.AppName().String(), "group", key.Group)
	if q.NumRequeues(key) == 0 && !errors.Is(err, context.Canceled) {
		log.Error(err, message, "remedy", remedy(err))
	} else {
		log.V(1).Info(message, "error", err.Error())
	}
	q.AddRateLimited(key)
}
