package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// newTerm makes a Term on the lease "term" of namespace, with times short enough to watch.
func newTerm(t *testing.T, config *rest.Config, namespace, identity string) *Term {
	t.Helper()
	term := &Term{
		LeaseDuration: 4 * time.Second,
		RenewDeadline: 2 * time.Second,
		RetryPeriod:   200 * time.Millisecond,
		Metrics:       NewMetrics(prometheus.NewRegistry()),
		Log:           logr.Discard(),
	}
	lock, err := NewLeaseLock(config, namespace, "term", identity, term.RenewDeadline)
	must(t, err)
	term.Lock = lock
	return term
}

// start runs what the test stops with stop, or the end of the test does; stop returns when it has.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func held(term *Term, want bool) func() error {
	return func() error {
		if term.Held() != want {
			return errors.New("term not as wanted")
		}
		return nil
	}
}

func TestTermNeedsNoLeaderElection(t *testing.T) {
	if (&Term{}).NeedLeaderElection() {
		t.Fatal("a Term behind the manager's election would never be started, or end the process")
	}
}

func TestTermWithoutElectionIsAlwaysHeld(t *testing.T) {
	term := &Term{Metrics: NewMetrics(prometheus.NewRegistry())}
	if ctx, leave, ok := term.Join(t.Context()); ok || ctx.Err() == nil {
		leave()
		t.Error("joined a term before it began")
	}
	stop := start(t, term.Start)
	eventually(t, held(term, true))
	ctx, leave, ok := term.Join(t.Context())
	if !ok || ctx.Err() != nil {
		t.Errorf("Join: ok %t, context %v", ok, ctx.Err())
	}
	leave()
	stop()
	if term.Held() {
		t.Error("held after the process ended it")
	}
}

func TestTermIsHandedOverOnACleanStop(t *testing.T) {
	namespace := newNamespace(t)
	first, second := newTerm(t, apiServer, namespace, "first"), newTerm(t, apiServer, namespace, "second")
	// Long enough that only a release explains a quick take-over.
	first.LeaseDuration, second.LeaseDuration = time.Hour, time.Hour

	stopFirst := start(t, first.Start)
	eventually(t, held(first, true))
	start(t, second.Start)

	joined, leave, ok := first.Join(t.Context())
	if !ok {
		t.Fatal("the holder cannot join its own term")
	}
	if _, _, ok := second.Join(t.Context()); ok {
		t.Error("joined a term that another replica holds")
	}
	if got := testutil.ToFloat64(first.Metrics.term); got != 1 {
		t.Errorf("groupgate_term of the holder = %v, want 1", got)
	}

	stopped := make(chan struct{})
	go func() { defer close(stopped); stopFirst() }() // ends below
	<-joined.Done()
	if cause := context.Cause(joined); !errors.Is(cause, ErrTermEnded) && !errors.Is(cause, context.Canceled) {
		t.Errorf("cause = %v", cause)
	}
	// Somebody still works under the old term, so the lease must not be given away.
	for range 10 {
		if second.Held() {
			t.Fatal("two replicas in a term at once")
		}
		pause(t, first.RetryPeriod)
	}
	leave()
	<-stopped
	eventually(t, held(second, true))
	if got := testutil.ToFloat64(first.Metrics.term); got != 0 {
		t.Errorf("groupgate_term of the former holder = %v, want 0", got)
	}
}

func TestTermIsTakenOverFromTheDead(t *testing.T) {
	for name, die := range map[string]func(*proxy){"Cut": (*proxy).Cut, "Silent": (*proxy).Freeze} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			cut, config := newProxy(t, apiServer)
			first, second := newTerm(t, ConnectionConfig(config), namespace, "first"), newTerm(t, apiServer, namespace, "second")
			start(t, first.Start)
			eventually(t, held(first, true))
			joined, leave, ok := first.Join(t.Context())
			if !ok {
				t.Fatal("the holder cannot join its own term")
			}
			defer leave()
			start(t, second.Start)
			die(cut)

			<-joined.Done()
			if second.Held() {
				t.Error("the second term began before the first ended")
			}
			if !errors.Is(context.Cause(joined), ErrTermEnded) {
				t.Errorf("cause = %v, want %v", context.Cause(joined), ErrTermEnded)
			}
			eventually(t, func() error {
				if first.Held() && second.Held() {
					t.Fatal("two replicas in a term at once")
				}
				return held(second, true)()
			})
		})
	}
}

func TestTermComesBackAfterAnOutage(t *testing.T) {
	namespace := newNamespace(t)
	cut, config := newProxy(t, apiServer)
	term := newTerm(t, config, namespace, "only")

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	want := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "everything", Name: "again"}}
	source := term.Source(func(context.Context) []reconcile.Request { return []reconcile.Request{want} })
	must(t, source.Start(t.Context(), queue))
	take := func() {
		t.Helper()
		got, _ := queue.Get()
		queue.Done(got)
		if got != want {
			t.Errorf("enqueued %v, want %v", got, want)
		}
	}

	start(t, term.Start)
	take()
	for range 2 {
		cut.Cut()
		eventually(t, held(term, false))
		if queue.Len() != 0 {
			t.Error("enqueued without a term")
		}
		cut.Restore()
		take()
		eventually(t, held(term, true))
	}
}

// pause lets real time pass where the absence of an event is what is tested.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}
