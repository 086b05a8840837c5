package term

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
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/internal/guard"
)

// ErrEnded is the cause of a context that ended because the term did.
var ErrEnded = errors.New("the term of this replica has ended")

// Term is the right to write statuses and to remove members, held by at most one replica at a time.
//
// It is a manager.Runnable that runs on every replica and runs a client-go LeaderElector in a loop. A Lease that could
// not be renewed ends the term and nothing else: the process, its caches and the callback server go on, and it may win
// the next term. The election of controller-runtime would end the process instead, which turns an outage of the API
// server into an outage of the callbacks.
//
// A Term must not be copied and is started once. Fields are not changed after Start.
type Term struct {
	// Lock is the Lease that is competed for. Nil: there is no election, and the term lasts as long as the process.
	Lock resourcelock.Interface
	// LeaseDuration is how long the others wait after the last renewal they saw; more than RenewDeadline. Zero means 15
	// s.
	LeaseDuration time.Duration
	// RenewDeadline is how long renewals may fail before the leader gives up; more than 1.2 times RetryPeriod. Zero
	// means 10 s.
	RenewDeadline time.Duration
	// RetryPeriod is the time between two attempts to get or renew the Lease. Zero means 2 s.
	RetryPeriod time.Duration
	// OnChange, if set, is called at the beginning (true) and at the end (false) of every term. It must not call the
	// Term.
	OnChange func(held bool)
	// Guard, if set, logs and counts panics of OnChange.
	Guard *guard.Guard
	// Log gets one line per beginning and end of a term.
	Log logr.Logger

	mu      sync.Mutex
	current *tenure // nil outside a term
	number  uint64  // of terms begun
	began   Notifier
	joined  sync.WaitGroup
}

// tenure is one term: from one acquisition of the Lease to its loss.
type tenure struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	elector *leaderelection.LeaderElector // nil without an election
	giveUp  context.CancelFunc            // ends the election
}

func (t *tenure) alive() bool {
	// ctx alone is not enough: a process that was suspended for longer than the Lease wakes up with timers that have
	// not fired yet. Check compares the clock with the last renewal.
	return t != nil && t.ctx.Err() == nil && (t.elector == nil || t.elector.Check(0) == nil)
}

// NeedLeaderElection is false: every replica competes.
func (*Term) NeedLeaderElection() bool { return false }

// Start competes for the Lease until ctx ends. On a clean stop it ends the term, waits until everything that joined it
// has left, and only then releases the Lease: the next leader takes over at once, and never while this process still
// writes. It returns an error only for settings that cannot work.
func (t *Term) Start(ctx context.Context) error {
	if t.Lock == nil {
		t.begin(ctx, ctx, nil, nil)
		<-ctx.Done()
		t.end()
		t.joined.Wait()
		return nil
	}
	for {
		if err := t.campaign(ctx); err != nil {
			return err
		}
		// Jitter, so that replicas that lost the API server at the same time do not all compete at the same time.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(t.retryPeriod()/2, 1)):
		}
	}
}

// campaign competes for the Lease, holds it once, and returns when it is lost or ctx has ended.
func (t *Term) campaign(ctx context.Context) error {
	// The election outlives ctx until all work has left the term: until then the Lease goes on being renewed.
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	var elector *leaderelection.LeaderElector
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          t.Lock,
		LeaseDuration: cmp.Or(t.LeaseDuration, 15*time.Second),
		RenewDeadline: cmp.Or(t.RenewDeadline, 10*time.Second),
		RetryPeriod:   t.retryPeriod(),
		// Not ReleaseOnCancel: after a failed renewal the elector would talk to the API server for up to another
		// RenewDeadline before it reports that the Lease is lost, and the term would outlast the Lease.
		ReleaseOnCancel: false,
		Name:            "groupgate",
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { t.begin(ctx, leading, elector, stop) },
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
func (t *Term) begin(
	running, leading context.Context, elector *leaderelection.LeaderElector, giveUp context.CancelFunc,
) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if running.Err() != nil || leading.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(leading)
	t.current = &tenure{ctx: ctx, cancel: cancel, elector: elector, giveUp: giveUp}
	t.number++
	t.began.Notify()
	t.changed(true)
	t.Log.Info("This replica is the leader now")
}

func (t *Term) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return
	}
	t.current.cancel(ErrEnded)
	t.current = nil
	t.changed(false)
	t.Log.Info("This replica is no longer the leader")
}

func (t *Term) changed(held bool) {
	if t.OnChange != nil {
		t.Guard.Run(guard.Term, func() { t.OnChange(held) })
	}
}

// release gives the Lease back, as client-go's ReleaseOnCancel does. If it fails, the other replicas wait for
// LeaseDuration, no worse.
func (t *Term) release(ctx context.Context, elector *leaderelection.LeaderElector) {
	if !elector.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.RenewDeadline, 10*time.Second)/2)
	defer cancel()
	record, _, err := t.Lock.Get(ctx)
	if err == nil && record.HolderIdentity != t.Lock.Identity() {
		return
	}
	if err == nil {
		now := metav1.Now()
		err = t.Lock.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaderTransitions:    record.LeaderTransitions,
			LeaseDurationSeconds: 1,
			RenewTime:            now,
			AcquireTime:          now,
		})
	}
	if err != nil {
		t.Log.Info("The Lease could not be released, it will expire", "reason", err.Error())
	}
}

// Held reports whether this replica holds the term now. Work that depends on it goes through Join.
func (t *Term) Held() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current.alive()
}

// Number is that of the current term, or of the last one, counted from 1: what was learnt in one term may be wrong in
// the next.
func (t *Term) Number() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.number
}

// Join returns a context that ends with ctx or with the term, whichever is first; context.Cause is ErrEnded in the
// latter case. Every write and every REST call that needs the term is made under it. The caller must call leave when it
// has stopped writing: a clean stop keeps the Lease until then. Outside a term ok is false, the context has ended
// already, and leave does nothing.
func (t *Term) Join(ctx context.Context) (_ context.Context, leave context.CancelFunc, ok bool) {
	joint, cancel := context.WithCancelCause(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.current.alive() {
		cancel(ErrEnded)
		if t.current != nil && t.current.ctx.Err() == nil {
			// The process stood still, and the elector may renew the Lease yet. The term must not go on then: nobody
			// would examine again what is refused now.
			t.current.giveUp()
		}
		return joint, func() {}, false
	}
	t.joined.Add(1)
	unhook := context.AfterFunc(t.current.ctx, func() { cancel(ErrEnded) })
	return joint, sync.OnceFunc(func() {
		unhook()
		cancel(context.Canceled)
		t.joined.Done()
	}), true
}

// Began returns a channel that is closed when the next term begins.
func (t *Term) Began() <-chan struct{} { return t.began.Next() }

// Source enqueues what requests returns at the beginning of every term, and at once if a term is held when it starts:
// whatever the previous leader skipped or lost is examined again. requests may block under its ctx, for instance on a
// cache that syncs.
func (t *Term) Source(requests func(context.Context) []reconcile.Request) source.Source {
	return t.began.Source(t.Held, requests)
}

func (t *Term) retryPeriod() time.Duration { return cmp.Or(t.RetryPeriod, 2*time.Second) }
