package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// ErrTermEnded is the cause of a context that ended because the term did.
var ErrTermEnded = errors.New("the term of this replica has ended")

// Term is the right to write statuses and to remove members, held by at most one replica at a time.
//
// It is a manager.Runnable that runs on every replica and holds a client-go LeaderElector in a loop. A lease that could not be
// renewed ends the term and nothing else: the process, its caches and the callback server go on, and the next term may be its own
// again. controller-runtime's own election would end the process instead, which turns an outage of the API server into one of the gate.
//
// A Term must not be copied and is started once. Fields are not changed after Start.
type Term struct {
	// Lock is the lease that is competed for. Nil: there is no election, and the term lasts as long as the process.
	Lock resourcelock.Interface
	// LeaseDuration is how long the others wait after the last renewal they saw; more than RenewDeadline. Zero means 15 s.
	LeaseDuration time.Duration
	// RenewDeadline is how long renewals may fail before the holder gives up; more than 1.2 times RetryPeriod. Zero means 10 s.
	RenewDeadline time.Duration
	// RetryPeriod is the time between two attempts to get or renew the lease. Zero means 2 s.
	RetryPeriod time.Duration
	// Metrics, if set, shows groupgate_term.
	Metrics *Metrics
	// Log gets one line per beginning and end of a term.
	Log logr.Logger

	mu      sync.Mutex
	current *tenure // nil outside a term
	number  uint64  // of terms begun
	began   signal
	joined  sync.WaitGroup
}

// tenure is one term: from one acquisition of the lease to its loss.
type tenure struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	elector *leaderelection.LeaderElector // nil without an election
}

func (t *tenure) alive() bool {
	// The elector's clock is the second opinion: a process that was stopped for longer than the lease
	// wakes up with timers that have not fired yet.
	return t != nil && t.ctx.Err() == nil && (t.elector == nil || t.elector.Check(0) == nil)
}

// NewLeaseLock returns the lock of the Lease namespace/name for a Term. identity must be unique to the process.
// A request on it never lasts longer than half of renewDeadline, so that one lost packet does not cost the term.
func NewLeaseLock(config *rest.Config, namespace, name, identity string, renewDeadline time.Duration) (resourcelock.Interface, error) {
	config = rest.CopyConfig(config)
	config.Timeout = max(time.Second, renewDeadline/2)
	client, err := coordinationclient.NewForConfig(rest.AddUserAgent(config, "term"))
	if err != nil {
		return nil, fmt.Errorf("create a client for the lease: %w", err)
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}, nil
}

// NeedLeaderElection is false: every replica competes.
func (*Term) NeedLeaderElection() bool { return false }

// Start competes for the lease until ctx ends. On a clean stop it ends the term, waits for everybody who joined it to leave,
// and only then releases the lease, so that the next replica takes over at once and never beside us.
// It returns an error only for settings that cannot work.
func (t *Term) Start(ctx context.Context) error {
	if t.Lock == nil {
		t.begin(ctx, ctx, nil)
		<-ctx.Done()
		t.end()
		t.joined.Wait()
		return nil
	}
	for {
		if err := t.campaign(ctx); err != nil {
			return err
		}
		// The jitter keeps replicas that lost the API server together from coming back together.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(t.retryPeriod()/2, 1)):
		}
	}
}

// campaign competes for the lease, holds it once, and returns when it is lost or ctx has ended.
func (t *Term) campaign(ctx context.Context) error {
	// The election outlives ctx until everybody has left the term: until then the lease goes on being renewed.
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	var elector *leaderelection.LeaderElector
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          t.Lock,
		LeaseDuration: cmp.Or(t.LeaseDuration, 15*time.Second),
		RenewDeadline: cmp.Or(t.RenewDeadline, 10*time.Second),
		RetryPeriod:   t.retryPeriod(),
		// Not ReleaseOnCancel: after a failed renewal the elector would talk to the API server for up to another
		// RenewDeadline before it says that the lease is lost, and the term would outlast the lease.
		ReleaseOnCancel: false,
		Name:            "groupgate",
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { t.begin(ctx, leading, elector) },
			OnStoppedLeading: t.end,
		},
	})
	if err != nil {
		return fmt.Errorf("configure the election: %w", err)
	}
	left := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(left)
		t.end()
		t.joined.Wait()
		stop()
	})
	elector.Run(electing)
	if unhook() {
		return nil
	}
	<-left
	t.release(context.WithoutCancel(ctx), elector)
	return nil
}

// begin starts a term that lasts no longer than leading, unless the process is stopping already.
func (t *Term) begin(running, leading context.Context, elector *leaderelection.LeaderElector) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if running.Err() != nil || leading.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(leading)
	t.current = &tenure{ctx: ctx, cancel: cancel, elector: elector}
	t.number++
	t.began.fire()
	t.Metrics.termHeld(true)
	t.Log.Info("Term began")
}

func (t *Term) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return
	}
	t.current.cancel(ErrTermEnded)
	t.current = nil
	t.Metrics.termHeld(false)
	t.Log.Info("Term ended")
}

// release gives the lease back, as client-go's ReleaseOnCancel does. A failure costs the others a wait of LeaseDuration, nothing else.
func (t *Term) release(ctx context.Context, elector *leaderelection.LeaderElector) {
	if !elector.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.RenewDeadline, 10*time.Second)/2)
	defer cancel()
	record, _, err := t.Lock.Get(ctx)
	if err != nil {
		t.Log.Info("The lease could not be released, it will expire", "reason", err.Error())
		return
	}
	if record.HolderIdentity != t.Lock.Identity() {
		return
	}
	now := metav1.Now()
	err = t.Lock.Update(ctx, resourcelock.LeaderElectionRecord{
		LeaderTransitions:    record.LeaderTransitions,
		LeaseDurationSeconds: 1,
		RenewTime:            now,
		AcquireTime:          now,
	})
	if err != nil {
		t.Log.Info("The lease could not be released, it will expire", "reason", err.Error())
	}
}

// Held says whether this replica holds the term now. What is done on the strength of it goes through Join.
func (t *Term) Held() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current.alive()
}

// Number is that of the present term, or of the last one, counted from 1: what was learnt in one term may be wrong in the next.
func (t *Term) Number() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.number
}

// Join returns a context that ends with ctx or with the term, whichever is first; context.Cause is ErrTermEnded in the latter case.
// Every write and every REST call of what runs "in a term" is done under it. The caller must call leave when it has stopped writing:
// a clean stop keeps the lease until then. Outside a term ok is false, the context has ended already, and leave does nothing.
func (t *Term) Join(ctx context.Context) (_ context.Context, leave context.CancelFunc, ok bool) {
	joint, cancel := context.WithCancelCause(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.current.alive() {
		cancel(ErrTermEnded)
		return joint, func() {}, false
	}
	t.joined.Add(1)
	unhook := context.AfterFunc(t.current.ctx, func() { cancel(ErrTermEnded) })
	return joint, sync.OnceFunc(func() {
		unhook()
		cancel(context.Canceled)
		t.joined.Done()
	}), true
}

// Source enqueues what requests returns at the beginning of every term, and at once if a term is held when it starts:
// whatever was skipped or lost by the term before is looked at again. requests may block (on a cache that syncs), under its ctx.
func (t *Term) Source(requests func(context.Context) []reconcile.Request) source.Source {
	return t.began.source(t.Held, requests)
}

func (t *Term) retryPeriod() time.Duration { return cmp.Or(t.RetryPeriod, 2*time.Second) }
