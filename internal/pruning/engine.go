package pruning

import (
	"context"
	"errors"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// Engine plans and carries out PruneRuns, and undoes them. Its exported fields are not changed once it is used.
type Engine struct {
	// Client writes the records of runs. Live reads from the API server, past any cache.
	Client client.StatusClient
	Live   client.Reader
	// Cache, if set, saves reads of runs whose live version it has.
	Cache     client.Reader
	Snapshots Snapshots
	Clients   *imclients.Pool
	Events    events.EventRecorder
	Now       func() time.Time
	// Metrics, if set, counts.
	Metrics *Metrics
	// Stale, if set, reports whether the watches, and so the snapshot, may be out of date: no member is removed then.
	Stale func() bool
	// PageURL, if set, is the URL of the page, which messages about plans that await approval name.
	PageURL string

	turns     turns
	slots     batchSlots
	plans     planLimiter
	ledgers   ledgers
	deletions deletions
	behind    behind
	pauses    pauses
}

// Snapshots is where the published snapshot is: a policy.Store.
type Snapshots interface{ Load() *policy.Snapshot }

// Next says when to call Step again for a run.
type Next struct {
	// After is how long to wait; zero if there is nothing to come but events.
	After time.Duration
}

// Step plans a run, carries it out or undoes it, as far as it gets, and records what stopped it. An error asks for
// another Step after a backoff. term numbers the term under which ctx was joined: once ctx has ended, Step writes and
// calls nothing more.
//
// cached supplies only the run's name, group and class. A run that has no turn waits, without an API request, until
// Source enqueues it.
func (e *Engine) Step(ctx context.Context, term uint64, cached *v1alpha1.PruneRun) (Next, error) {
	key := prunerun.KeyOf(cached)
	if left := e.pauses.left(key.AppName(), cached, e.Now()); left > 0 {
		e.Skip(client.ObjectKeyFromObject(cached))
		return Next{After: left}, nil
	}
	if name := client.ObjectKeyFromObject(cached); e.turns.take(name, key, prunerun.ClassOf(cached)) {
		defer e.turns.leave(name)
	} else {
		return Next{}, nil
	}

	run := &v1alpha1.PruneRun{}
	if err := e.Live.Get(ctx, client.ObjectKeyFromObject(cached), run); err != nil {
		return nextAfter(ctx, err)
	}
	if prunerun.KeyOf(run) != key {
		return nextAfter(ctx, errBehind) // the cache holds a deleted run of the same name
	}
	ledger := e.ledgers.of(term, key.AppName(), e.Live, e.Now)
	j := &job{
		key: key, term: term, batchSize: imrest.MaxDeletesPerCall,
		journal: &journal{Engine: e, ledger: ledger, run: run},
	}
	switch {
	case !run.DeletionTimestamp.IsZero():
		return Next{}, nil
	case prunerun.WantsUndo(run):
		return j.conclude(ctx, facts{}, restoration{j}.undo(imrest.Urgent(ctx)))
	case prunerun.Finished(run):
		return j.refresh(ctx)
	}
	ledger.Release(run)
	defer func() { ledger.Release(j.run) }() // what was reserved and not recorded is given back
	f, err := j.advance(ctx)
	return j.conclude(ctx, f, err)
}

// Wakes reports whether run waits for a change that snapshot may have brought. Runs that wait for the vendor go on by
// themselves: an edit must not make them call again early. Plans that await approval, budget or the end of their grace
// are woken only by edits that void them.
func Wakes(snapshot *policy.Snapshot, run *v1alpha1.PruneRun) bool {
	if !prunerun.NeedsWork(run) {
		return false
	}
	condition := apimeta.FindStatusCondition(run.Status.Conditions, prunerun.NextCondition(run))
	if condition == nil {
		return true
	}
	if snapshot != nil && prunerun.HasPlan(run) {
		switch condition.Reason {
		case v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonBudgetExhausted, v1alpha1.ReasonInGrace:
			return !standsIn(snapshot, run)
		}
	}
	return prunerun.WaitsForObjects(condition.Reason)
}

// job is the work of one Step on one run.
type job struct {
	*journal
	key  prunerun.Key
	term uint64
	// batchSize is how many members the next batch may hold. It is halved whenever the look at a batch is too old
	// before all of its deletion is sent: a look takes a call for 50 members, and a deletion several if the vendor
	// refuses some.
	batchSize int
}

// advance takes an unfinished run to its end, or to what stops it. facts are those that a plan was about to be made
// from.
func (j *job) advance(ctx context.Context) (facts, error) {
	// A denial need not wait for the other runs of the group, unless the members of a batch are to be looked at.
	if prunerun.Progress(j.run).InFlight == 0 {
		if err := notDenied(ctx, j, nil); err != nil {
			return facts{}, err
		}
	}
	if !prunerun.HasPlan(j.run) {
		if f, err := j.plan(ctx); err != nil {
			return f, err
		}
	}
	return facts{}, j.execute(ctx)
}

// refresh lets the conditions of a finished run observe a change of its spec that has no other consequence. Nothing
// else is left to do: the caller retains the run once its cache shows the end, which its event announces unless the
// cache had the end already.
func (j *job) refresh(ctx context.Context) (Next, error) {
	if prunerun.Lags(j.run) {
		if err := j.Patch(ctx, func(*v1alpha1.PruneRun) {}); err != nil {
			return nextAfter(ctx, err)
		}
	}
	return Next{After: maxRequeue}, nil
}

// conclude records what stopped a Step, and says when to take the next one.
func (j *job) conclude(ctx context.Context, f facts, err error) (Next, error) {
	if ctx.Err() != nil {
		return nextAfter(ctx, err)
	}
	if !errors.Is(err, errBehind) {
		j.behind.release(j.run.UID)
	} else if j.behind.hold(j.run.UID, j.Now()) > behindDelay {
		err = behindForLong()
	}
	if end, ok := errors.AsType[*endError](err); ok {
		if prunerun.WantsUndo(j.run) {
			return nextAfter(ctx, restoration{j}.recordUndoEnd(ctx, end))
		}
		return nextAfter(ctx, j.recordEnd(ctx, f.groupRecord(), end))
	}
	if wait, ok := errors.AsType[*waitError](err); ok {
		if wait.cause != nil && wait.after > 0 {
			j.pauses.begin(j.key.AppName(), j.Now().Add(wait.after))
		}
		if err = j.recordWait(ctx, f.groupRecord(), wait); err == nil {
			return wait.next()
		}
	}
	return nextAfter(ctx, err)
}
