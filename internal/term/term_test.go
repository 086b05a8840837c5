package term

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// newTerm makes a Term on a Lease of the server, with times short enough for a test.
func newTerm(t *testing.T, server *leaseServer, identity string) *Term {
	t.Helper()
	term := &Term{
		LeaseDuration: 3 * time.Second,
		RenewDeadline: time.Second,
		RetryPeriod:   100 * time.Millisecond,
		Log:           logr.Discard(),
	}
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	lock, err := NewLeaseLock(config, "groupgate-system", "term", identity, term.RenewDeadline)
	if err != nil {
		t.Fatal(err)
	}
	term.Lock = lock
	return term
}

// start runs a Term until the test calls stop, or ends; stop returns when Start has.
func start(t *testing.T, term *Term) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx, which the cleanup waits for
		defer close(done)
		if err := term.Start(ctx); err != nil {
			t.Errorf("ended with %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// await polls until the term is held, or not held.
func await(t *testing.T, term *Term, want bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for term.Held() != want {
		select {
		case <-ctx.Done():
			t.Fatalf("after a minute the term is held: %t, want %t", !want, want)
		case <-tick.C:
		}
	}
}

func TestTermNeedsNoLeaderElection(t *testing.T) {
	if (&Term{}).NeedLeaderElection() {
		t.Fatal("a Term that waits for the manager's election is never started, or ends the process")
	}
}

func TestTermWithoutElectionIsAlwaysHeld(t *testing.T) {
	var changes []bool
	term := &Term{OnChange: func(held bool) { changes = append(changes, held) }}
	if ctx, leave, ok := term.Join(t.Context()); ok || ctx.Err() == nil {
		leave()
		t.Error("joined a term before it began")
	}
	stop := start(t, term)
	await(t, term, true)
	ctx, leave, ok := term.Join(t.Context())
	if !ok || ctx.Err() != nil {
		t.Errorf("Join: ok %t, context %v", ok, ctx.Err())
	}
	leave()
	stop()
	if term.Held() {
		t.Error("held after the process ended it")
	}
	if len(changes) != 2 || !changes[0] || changes[1] {
		t.Errorf("OnChange was called with %v, want true and false", changes)
	}
}

func TestTermIsHandedOverOnACleanStop(t *testing.T) {
	t.Parallel()
	server := newLeaseServer(t, nil)
	first, second := newTerm(t, server, "first"), newTerm(t, server, "second")
	// Long enough that only a release explains a quick take-over.
	first.LeaseDuration, second.LeaseDuration = time.Hour, time.Hour

	stopFirst := start(t, first)
	await(t, first, true)
	start(t, second)

	joined, leave, ok := first.Join(t.Context())
	if !ok {
		t.Fatal("the leader cannot join its own term")
	}
	if _, _, ok := second.Join(t.Context()); ok {
		t.Error("joined a term that another replica holds")
	}
	stopped := make(chan struct{})
	go func() { // ends below
		defer close(stopped)
		stopFirst()
	}()
	<-joined.Done()
	if cause := context.Cause(joined); !errors.Is(cause, ErrEnded) && !errors.Is(cause, context.Canceled) {
		t.Errorf("cause = %v", cause)
	}
	// Work of the old term has not left it yet, so the Lease must not be released.
	for range 10 {
		if second.Held() {
			t.Fatal("two replicas hold a term at once")
		}
		select {
		case <-t.Context().Done():
		case <-time.After(first.RetryPeriod):
		}
	}
	leave()
	<-stopped
	await(t, second, true)
}

func TestTermIsTakenOverFromAnUnreachableLeader(t *testing.T) {
	for name, failure := range map[string]failure{"Cut": cut, "Silent": silent} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newLeaseServer(t, nil)
			link := newLeaseServer(t, server.leases)
			first, second := newTerm(t, link, "first"), newTerm(t, server, "second")
			start(t, first)
			await(t, first, true)
			joined, leave, ok := first.Join(t.Context())
			if !ok {
				t.Fatal("the leader cannot join its own term")
			}
			defer leave()
			start(t, second)
			link.fail(failure)

			<-joined.Done()
			if second.Held() {
				t.Error("the second term began before the first ended")
			}
			if !errors.Is(context.Cause(joined), ErrEnded) {
				t.Errorf("cause = %v, want %v", context.Cause(joined), ErrEnded)
			}
			await(t, second, true)
			if first.Held() {
				t.Error("two replicas hold a term at once")
			}
		})
	}
}

// standing is a Lease whose renewals do not come back while the process stands still.
type standing struct {
	resourcelock.Interface
	mu sync.Mutex
}

func (s *standing) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Interface.Update(context.WithoutCancel(ctx), record)
}

// A process that stands still for longer than the Lease, and is not replaced meanwhile, refuses the work that is due
// when it goes on. That work is examined again.
func TestTermBeginsAgainAfterTheProcessStoodStill(t *testing.T) {
	t.Parallel()
	term := newTerm(t, newLeaseServer(t, nil), "only")
	lock := &standing{Interface: term.Lock}
	term.Lock, term.LeaseDuration = lock, 1100*time.Millisecond
	start(t, term)
	await(t, term, true)
	began, number := term.Began(), term.Number()

	lock.mu.Lock()
	await(t, term, false)
	if _, _, ok := term.Join(t.Context()); ok {
		t.Fatal("joined a term whose Lease has expired")
	}
	lock.mu.Unlock()
	await(t, term, true)
	select {
	case <-began:
	case <-time.After(10 * time.Second):
		t.Error("what was refused is not examined again")
	}
	if got := term.Number(); got == number {
		t.Errorf("the number of the term is still %d", got)
	}
}

func TestTermBeginsAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	server := newLeaseServer(t, nil)
	term := newTerm(t, server, "only")

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	want := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "everything", Name: "again"}}
	source := term.Source(func(context.Context) []reconcile.Request { return []reconcile.Request{want} })
	if err := source.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	take := func() {
		t.Helper()
		got, _ := queue.Get()
		queue.Done(got)
		if got != want {
			t.Errorf("enqueued %v, want %v", got, want)
		}
	}

	start(t, term)
	await(t, term, true)
	take()
	for range 2 {
		server.fail(cut)
		await(t, term, false)
		if queue.Len() != 0 {
			t.Error("enqueued without a term")
		}
		server.fail(none)
		await(t, term, true)
		take()
	}
	if got := term.Number(); got != 3 {
		t.Errorf("the number of the term is %d, want 3", got)
	}
}
