package controllers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	maxPendingGroups = 10_000
	// intakeWorkers bounds the requests under way at the same time; a request that hangs delays no other group for
	// long.
	intakeWorkers      = 4
	intakeTimeout      = 10 * time.Second
	intakeFirstBackoff = 250 * time.Millisecond
	intakeMaxBackoff   = 10 * time.Second
	// unplannedRunTimeout is how long a group stays pending because of a run without a plan.
	unplannedRunTimeout = 2 * time.Minute
	pendingRecheck      = 5 * time.Second
	noSnapshotRecheck   = time.Second
)

// snapshots has the published snapshot: a policy.Store.
type snapshots interface{ Load() *policy.Snapshot }

// Intake creates PruneRuns for group-full callbacks, on every replica. A callback costs one map operation; workers talk
// to the API server later, and retry until it answers. Callbacks of one group are coalesced, and no group waits for the
// backoff of another.
//
// Every callback of a full group leads to a run that reads the group after it:
//   - A callback for a pending group is covered by the work that is still to be done for that group, unless a worker is
//     doing it right now: then the arrival time is recorded, and the worker examines the group again.
//   - A callback during an unfinished run with a plan is covered by that plan.
//   - A callback during a run without a plan stays pending, since the run may have read the group just before it filled
//     up, and end NotFull. It is dropped once the run has a plan, and after two minutes, which is longer than a read
//     takes: every later read finds the group full.
//   - Groups that were pending in a killed process, or exceeded maxPendingGroups, are found by the next callback, which
//     the vendor sends for every failed join, and by the Sweeper.
//
// No failure is final. An API server that refuses a run (an admission policy, a quota, an old CRD) may accept it later,
// and every group ID that callback parsing accepts is valid in a PruneRun.
type Intake struct {
	// Client reads PruneRuns from the cache and creates them; Live reads them from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	// Clients, if set, is for asking the vendor about groups when many are pending.
	Clients *imclients.Pool
	Now     func() time.Time
	// Metrics, if set, counts.
	Metrics *IntakeMetrics
	// Guard, if set, logs and counts panics.
	Guard *guard.Guard
	Log   logr.Logger

	once    sync.Once
	queue   groupQueue
	mu      sync.Mutex
	pending map[prunerun.Key]*pendingGroup
	crowds  map[types.NamespacedName]*crowd // by the app
	askers  sync.WaitGroup
}

// NeedLeaderElection is false: the replica that answered a callback creates the run.
func (*Intake) NeedLeaderElection() bool { return false }

func (i *Intake) init() {
	i.once.Do(func() {
		i.pending = make(map[prunerun.Key]*pendingGroup)
		i.crowds = make(map[types.NamespacedName]*crowd)
		i.queue = newGroupQueue()
	})
}

// GroupFull adds the group to the pending ones. It never blocks on I/O and does not retain groupID. It may be called
// before Start.
func (i *Intake) GroupFull(app policy.Object, groupID string) {
	i.init()
	now := i.Now()
	key := prunerun.Key{Namespace: app.Namespace, App: app.Name, Group: groupID}

	i.mu.Lock()
	defer i.mu.Unlock()
	if group := i.pending[key]; group != nil {
		group.arrived = now
		i.again(key, group)
		i.Metrics.count(intakeCoalesced)
		return
	}
	if len(i.pending) >= maxPendingGroups {
		i.Metrics.count(intakeOverflow)
		if !i.makeWay() {
			return
		}
	}
	key.Group = strings.Clone(groupID)
	i.pending[key] = &pendingGroup{arrived: now, place: nowhere}
	i.crowdOf(key.AppName()).pending++
	i.Metrics.setPending(len(i.pending))
	i.queue.Add(key)
}

// Start creates runs until ctx ends.
func (i *Intake) Start(ctx context.Context) error {
	i.init()
	i.queue.serve(ctx, i.Guard, guard.Intake, func(key prunerun.Key) { i.process(ctx, key) })
	i.askers.Wait()
	return nil
}

// decision is what happens to a pending group. It is dropped, unless it is to be examined again or the attempt failed.
type decision struct {
	result intakeResult // "" if there is nothing to count
	after  time.Duration
	asking bool // the group goes on once the vendor has answered
	failed error
}

func (i *Intake) process(ctx context.Context, key prunerun.Key) {
	i.mu.Lock()
	group := i.pending[key]
	if group == nil { // it has made way for another one
		i.mu.Unlock()
		return
	}
	arrived := group.arrived
	i.mu.Unlock()

	decision := i.decide(ctx, key, arrived)
	if decision.result != "" {
		i.Metrics.count(decision.result)
	}
	switch {
	case decision.failed != nil:
		i.queue.failed(i.Log, key, decision.failed, "A full group has no prune run yet, trying until it has")
		return
	case decision.after > 0:
		i.queue.after(key, decision.after)
		return
	}
	i.queue.Forget(key)
	if decision.asking {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if group.arrived.After(arrived) {
		i.queue.Add(key)
		return
	}
	i.drop(key)
}

// remedy says what ends the failures to create runs.
func remedy(err error) string {
	switch {
	case apierrors.IsInvalid(err):
		return "see which admission policy refuses PruneRuns, and whether the CRDs are those of this version"
	case apierrors.IsForbidden(err):
		return "see which admission policy or quota refuses PruneRuns, " +
			"and whether the Role of the manager is bound in this namespace"
	case apierrors.IsNotFound(err):
		return "see whether the CRDs are installed, and the namespace is there"
	}
	return "none, if the API server is back soon"
}

func (i *Intake) decide(ctx context.Context, key prunerun.Key, arrived time.Time) decision {
	snapshot := i.Snapshots.Load()
	if snapshot == nil {
		return decision{after: noSnapshotRecheck}
	}
	app := snapshot.AppNamed(key.Namespace, key.App)
	switch {
	case app == nil || !app.MayPrune(key.Group):
		return decision{result: intakeNotGoverned}
	case app.PruningSuspended():
		return decision{result: intakeSuspended}
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(parent, intakeTimeout)
	defer cancel()
	if asking, err := i.asksFirst(parent, key); err != nil || asking {
		return decision{asking: asking, failed: err}
	}
	creator := runCreator{Client: i.Client, Live: i.Live, Now: i.Now}
	got, err := creator.ensure(ctx, freeSeats(key, v1alpha1.PruneTriggerGroupFull), app)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return decision{failed: err}
	case err != nil:
		return decision{result: intakeRetried, failed: err}
	}
	switch got.outcome {
	case runCreated:
		i.Log.Info("Prune run created", "app", key.AppName().String(), "group", key.Group,
			"trigger", v1alpha1.PruneTriggerGroupFull)
		return decision{result: intakeCreated}
	case runCooling:
		return decision{result: intakeCooling}
	case runNotYet:
		// In steps, so that a change of the clock delays the group no longer than that.
		return decision{after: min(max(got.until.Sub(i.Now()), time.Millisecond), pendingRecheck)}
	case runNoRoom:
		return decision{after: pendingRecheck}
	case runPending:
		if i.Now().Sub(arrived) < unplannedRunTimeout {
			return decision{after: pendingRecheck}
		}
	}
	return decision{result: intakeUnfinished}
}
