package term

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/internal/guard"
)

// brokenLock panics once, when the Lease is renewed.
type brokenLock struct {
	resourcelock.Interface
	broken atomic.Bool
}

func (l *brokenLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.broken.Swap(false) {
		panic("update")
	}
	return l.Interface.Update(ctx, record)
}

func TestTermBeginsAgainAfterAPanic(t *testing.T) {
	t.Parallel()
	server := newLeaseServer(t, nil)
	term := newTerm(t, server, "only")
	lock := &brokenLock{Interface: term.Lock}
	term.Lock = lock
	term.OnChange = func(bool) { panic("change") }
	var g *guard.Guard
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Runnable(guard.Term, term).Start(ctx) }() // received below
	await(t, term, true)
	lock.broken.Store(true)
	await(t, term, false)
	await(t, term, true)
	if got := term.Number(); got != 2 {
		t.Errorf("the number of the term is %d, want 2", got)
	}
	cancel()
	if err := <-done; err != nil || term.Held() {
		t.Errorf("ended with %v; held: %t", err, term.Held())
	}
}

func TestNotificationIsDeliveredAfterAPanic(t *testing.T) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	var (
		n     Notifier
		calls int
	)
	want := reconcile.Request{NamespacedName: types.NamespacedName{Name: "x"}}
	source := n.Source(func() bool { return false }, func(context.Context) []reconcile.Request {
		if calls++; calls%2 == 1 {
			panic("requests")
		}
		return []reconcile.Request{want}
	})
	if err := source.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		began := time.Now()
		n.Notify()
		got, _ := queue.Get()
		queue.Done(got)
		if got != want {
			t.Errorf("enqueued %v after %s, want %v", got, time.Since(began), want)
		}
	}
}
