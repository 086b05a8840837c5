package controllers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	maxPendingGroups = 10_000
	// intakeWorkers bounds the requests that are under way at once; one that hangs holds up no other group for long.
	intakeWorkers       = 4
	intakeTimeout       = 10 * time.Second
	intakeFirstBackoff  = 250 * time.Millisecond
	intakeMaxBackoff    = 10 * time.Second
	pendingRunPatience  = 2 * time.Minute
	pendingRecheck      = 5 * time.Second
	noSnapshotYetRecall = time.Second
)

// snapshots is where the published snapshot is: a policy.Store.
type snapshots interface{ Load() *policy.Snapshot }

type intakeResult string

const (
	intakeCoalesced   intakeResult = "coalesced"
	intakeOverflow    intakeResult = "overflow"
	intakeCreated     intakeResult = "created"
	intakeUnfinished  intakeResult = "unfinished"
	intakeCooling     intakeResult = "cooling"
	intakeSuspended   intakeResult = "suspended"
	intakeNotGoverned intakeResult = "not_governed"
	intakeRetried     intakeResult = "retried"
)

// Intake turns group-full callbacks into PruneRuns, on every replica. A callback costs one map operation; the API server is
// talked to later, by workers, and as often as it takes. Groups are coalesced, and no group waits for another one's backoff.
//
// No callback is lost in a way that matters. One that arrives for a pending group is covered by what is yet to come for that
// group, except while a worker deals with the group: then the arrival is remembered, and the worker looks again. One that arrives
// while an unfinished run has a plan is covered by that plan. One that arrives while a run has no plan yet stays pending, since
// that run may have read the group a moment before it filled up and end NotFull; it is let go once the run has a plan, and after
// two minutes: longer than a read that was under way takes, and every later one sees the full group. What a killed process
// had pending, and what did not fit in, is found by the next callback (the vendor sends one for every failed join) and by the Sweeper.
//
// No failure is final either. An API server that refuses a run (an admission policy, a quota, a CRD that lags behind) may take it
// later, and what can never be valid does not come here: every id that callback.Parse accepts fits into a PruneRun.
type Intake struct {
	// Client reads PruneRuns from the cache and creates them; Live reads them from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	Now       func() time.Time
	// Metrics, if set, counts.
	Metrics *IntakeMetrics
	Log     logr.Logger

	once    sync.Once
	queue   workqueue.TypedRateLimitingInterface[prunerun.Key]
	mu      sync.Mutex
	pending map[prunerun.Key]time.Time // when the latest callback came
}

// NeedLeaderElection is false: the replica that answers a callback keeps it.
func (*Intake) NeedLeaderElection() bool { return false }

func (i *Intake) init() {
	i.once.Do(func() {
		i.pending = make(map[prunerun.Key]time.Time)
		i.queue = workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[prunerun.Key](intakeFirstBackoff, intakeMaxBackoff))
	})
}

// GroupFull takes in a callback. It never blocks on I/O and does not keep groupID, which may be a part of a longer text.
// Callbacks that come before Start are kept for it.
func (i *Intake) GroupFull(app policy.Object, groupID string) {
	i.init()
	now := i.Now()
	key := prunerun.Key{Namespace: app.Namespace, App: app.Name, Group: groupID}

	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.pending[key]; ok {
		i.pending[key] = now
		i.Metrics.count(intakeCoalesced)
		return
	}
	if len(i.pending) >= maxPendingGroups {
		i.Metrics.count(intakeOverflow)
		return
	}
	key.Group = strings.Clone(groupID)
	i.pending[key] = now
	i.Metrics.setPending(len(i.pending))
	i.queue.Add(key)
}

// Start creates runs until ctx ends.
func (i *Intake) Start(ctx context.Context) error {
	i.init()
	var workers sync.WaitGroup
	for range intakeWorkers {
		workers.Go(func() { i.work(ctx) })
	}
	<-ctx.Done()
	i.queue.ShutDown()
	workers.Wait()
	return nil
}

func (i *Intake) work(ctx context.Context) {
	for {
		key, shutdown := i.queue.Get()
		if shutdown {
			return
		}
		i.dealWith(ctx, key)
		i.queue.Done(key)
	}
}

// next is what is to happen to a pending group: it is let go, unless there is a time to look again.
type next struct {
	result intakeResult // "" if there is nothing to count
	after  time.Duration
	failed error
}

func (i *Intake) dealWith(ctx context.Context, key prunerun.Key) {
	i.mu.Lock()
	arrived := i.pending[key]
	i.mu.Unlock()

	next := i.decide(ctx, key, arrived)
	if next.result != "" {
		i.Metrics.count(next.result)
	}
	switch {
	case next.failed != nil:
		i.report(key, next.failed)
		i.queue.AddRateLimited(key)
		return
	case next.after > 0:
		i.queue.Forget(key)
		i.queue.AddAfter(key, next.after)
		return
	}
	i.queue.Forget(key)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pending[key].After(arrived) {
		i.queue.Add(key)
		return
	}
	delete(i.pending, key)
	i.Metrics.setPending(len(i.pending))
}

// report logs a failure. The first one of a group is news; those after it are its echo, for as long as the API server is away.
func (i *Intake) report(key prunerun.Key, err error) {
	log := i.Log.WithValues("namespace", key.Namespace, "app", key.App, "groupID", key.Group)
	if i.queue.NumRequeues(key) == 0 && !errors.Is(err, context.Canceled) {
		log.Error(err, "a full group has no prune run yet, trying until it has", "remedy", remedy(err))
		return
	}
	log.V(1).Info("a full group has no prune run yet, trying until it has", "error", err.Error())
}

// remedy says what ends the failures to create runs. None of them is for good: rules that refuse a run today may be gone tomorrow.
func remedy(err error) string {
	switch {
	case apierrors.IsInvalid(err):
		return "see which admission policy refuses PruneRuns, and whether the CRDs are those of this version"
	case apierrors.IsForbidden(err):
		return "see which admission policy or quota refuses PruneRuns, and whether the Role of the manager is bound in this namespace"
	case apierrors.IsNotFound(err):
		return "see whether the CRDs are installed, and the namespace is there"
	}
	return "none, if the API server is back soon"
}

func (i *Intake) decide(ctx context.Context, key prunerun.Key, arrived time.Time) next {
	snapshot := i.Snapshots.Load()
	if snapshot == nil {
		return next{after: noSnapshotYetRecall}
	}
	app := snapshot.AppNamed(key.Namespace, key.App)
	switch {
	case app == nil || !app.MayPrune(key.Group):
		return next{result: intakeNotGoverned}
	case app.PruningSuspended():
		return next{result: intakeSuspended}
	}
	ctx, cancel := context.WithTimeout(ctx, intakeTimeout)
	defer cancel()
	creator := runCreator{Client: i.Client, Live: i.Live, Now: i.Now}
	got, err := creator.ensure(ctx, key, v1alpha1.PruneTriggerGroupFull, app)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return next{failed: err}
	case err != nil:
		return next{result: intakeRetried, failed: err}
	}
	switch got.outcome {
	case runCreated:
		i.Log.Info("prune run created", "namespace", key.Namespace, "app", key.App, "groupID", key.Group, "trigger", v1alpha1.PruneTriggerGroupFull)
		return next{result: intakeCreated}
	case runCooling:
		return next{result: intakeCooling}
	case runNotYet:
		// In steps, so that a clock that is set meanwhile delays nobody for long.
		return next{after: min(max(got.until.Sub(i.Now()), time.Millisecond), pendingRecheck)}
	case runPending:
		if i.Now().Sub(arrived) < pendingRunPatience {
			return next{after: pendingRecheck}
		}
	}
	return next{result: intakeUnfinished}
}
