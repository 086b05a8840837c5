package controllers

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

// Sweeper finds full groups whose callback was lost: the vendor sends each one at most once, and a process that was killed forgets
// what it had taken in. It works in a term. Every app has a rhythm of its own, so that one with a million groups, or one whose
// vendor does not answer, keeps no other one waiting; two sweeps of one app never overlap.
type Sweeper struct {
	// Client reads IMApps and PruneRuns from the cache and creates PruneRuns; Live reads PruneRuns from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	Term      *term.Term
	Vendor    *imclients.Pool
	Now       func() time.Time
	// Interval is the time between the end of an app's sweep and the beginning of its next one; a tenth of it, give or take, is left
	// to chance.
	Interval time.Duration
	Log      logr.Logger
}

// NeedLeaderElection is false: the term decides, not the manager.
func (*Sweeper) NeedLeaderElection() bool { return false }

// Start sweeps until ctx ends. Apps that come get a rhythm soon, those that go lose theirs within Interval.
func (s *Sweeper) Start(ctx context.Context) error {
	var (
		rhythms sync.WaitGroup
		started sync.Map // by the UID of the app
	)
	defer rhythms.Wait()
	for {
		for app := range s.apps() {
			object := app.Object()
			if _, has := started.LoadOrStore(object.UID, nil); has {
				continue
			}
			// It ends with ctx, and when the app is gone.
			rhythms.Go(func() {
				defer started.Delete(object.UID)
				s.keepSweeping(ctx, object)
			})
		}
		if !elapses(ctx, s.soon()) {
			return nil
		}
	}
}

func (s *Sweeper) apps() iter.Seq[*policy.CompiledApp] {
	if snapshot := s.Snapshots.Load(); snapshot != nil {
		return snapshot.Apps()
	}
	return func(func(*policy.CompiledApp) bool) {}
}

// keepSweeping sweeps one app, one sweep after the other, until ctx ends or the app is gone. The first one comes soon, and so does
// the one after it could not be done, for want of a term or because the app is suspended: what a predecessor lost has waited long enough.
func (s *Sweeper) keepSweeping(ctx context.Context, app policy.Object) {
	sweep := appSweep{Sweeper: s, object: app}
	for wait := s.soon(); elapses(ctx, wait) && s.has(app); {
		wait = s.soon()
		if sweep.inTerm(ctx) {
			wait = jittered(s.Interval)
		}
	}
}

func (s *Sweeper) has(app policy.Object) bool {
	for have := range s.apps() {
		if have.Object().UID == app.UID {
			return true
		}
	}
	return false
}

func (s *Sweeper) soon() time.Duration { return jittered(s.Interval / 10) }

func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) } //nolint:gosec // G404: only to keep replicas apart

// elapses waits for d and says whether ctx has not ended.
func elapses(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
