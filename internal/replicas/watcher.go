package replicas

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Watcher keeps Members current. It is a manager.Runnable on every replica.
type Watcher struct {
	// Cache has the Leases of the replicas and no others.
	Cache   cache.Cache
	Members *Members
	// Changed is called after every change.
	Changed func()
}

// NeedLeaderElection is false: any replica may become the leader.
func (*Watcher) NeedLeaderElection() bool { return false }

// Start watches the Leases until ctx ends. A watch that cannot be set up is retried.
func (w *Watcher) Start(ctx context.Context) error {
	for {
		handler, err := w.watch(ctx)
		if err == nil {
			// A watch that is refused counts as synced after a while: a replica that may not read Leases answers
			// callbacks as well as any other.
			if toolscache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
				w.Members.allListed()
				w.Changed()
			}
			<-ctx.Done()
			return nil
		}
		log.FromContext(ctx).Info("The Leases of the replicas cannot be watched yet", "reason", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(time.Second, 1)):
		}
	}
}

func (w *Watcher) watch(ctx context.Context) (toolscache.ResourceEventHandlerRegistration, error) {
	informer, err := w.Cache.GetInformer(ctx, &coordinationv1.Lease{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("make the informer: %w", err)
	}
	handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    w.put,
		UpdateFunc: func(_, lease any) { w.put(lease) },
		DeleteFunc: w.remove,
	})
	if err != nil {
		return nil, fmt.Errorf("add a handler to the informer: %w", err)
	}
	return handler, nil
}

func (w *Watcher) put(object any) {
	if lease, ok := object.(*coordinationv1.Lease); ok {
		w.Members.put(lease.Name, readLease(lease))
		w.Changed()
	}
}

func (w *Watcher) remove(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	if lease, ok := object.(*coordinationv1.Lease); ok {
		w.Members.remove(lease.Name)
		w.Changed()
	}
}
