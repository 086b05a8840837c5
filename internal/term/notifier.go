package term

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/internal/guard"
)

// Notifier signals to any number of listeners that something happened. It carries no value, so events coalesce: a slow
// listener sees several of them as one. Its zero value is ready.
type Notifier struct {
	// Guard, if set, logs and counts panics of what a Source calls.
	Guard *guard.Guard

	mu   sync.Mutex
	next chan struct{}
}

// Notify wakes every listener. It never blocks.
func (n *Notifier) Notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

// Next returns a channel that is closed by the next Notify.
func (n *Notifier) Next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

// Source enqueues what requests returns after every Notify, and at once if it happened already when the source starts.
func (n *Notifier) Source(happened func() bool, requests func(context.Context) []reconcile.Request) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		next := n.Next()
		// Until it succeeds: the listener would not be told again.
		enqueue := func() {
			n.Guard.Repeat(ctx, guard.Notifier, func() {
				for _, request := range requests(ctx) {
					queue.Add(request)
				}
			})
		}
		go func() { // ends with the controller's ctx
			n.Guard.Repeat(ctx, guard.Notifier, func() {
				if happened() {
					enqueue()
				}
			})
			for {
				select {
				case <-ctx.Done():
					return
				case <-next:
				}
				next = n.Next() // before requests is called: an event during the call is another one
				enqueue()
			}
		}()
		return nil
	})
}
