package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	// soon is when to look again at what passes by itself: a snapshot that is about to be built, a lost race.
	soon = time.Second
	// waitingNet is the net under the events that end a wait: were one lost, the run would still go on, and expire.
	waitingNet = 5 * time.Minute

	firstRetry = time.Second
	lastRetry  = time.Minute
	// longWish is how long the vendor must want to be left alone for a run to be looked at then, and not when the queue would.
	longWish = 10 * time.Second
)

// PruneRunReconciler plans and carries out PruneRuns, in a term. Nothing it decides upon comes from the cache: the run, the app
// and the policy are read live, the group from the vendor, and only the published snapshot, which is what rules and protection are
// compiled into, is taken as it is, once it is known to hold the live policy.
type PruneRunReconciler struct {
	// Client writes, and reads from the cache what only orders the work. Live reads from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	Term      *term.Term
	Vendor    *imclients.Pool
	Events    events.EventRecorder
	Now       func() time.Time
	// TTL is how long runs are kept after they ended; less than 24 hours counts as 24 hours.
	TTL time.Duration
	// Metrics, if set, counts.
	Metrics *PruneMetrics
	// Watches, if set, says whether what this replica watches, and so the snapshot, may be old: nobody is removed then.
	Watches interface{ Silent() bool }

	groups  exclusion
	turns   batchTurns
	budgets ledgers
	room    planningRoom
}

// SetupWithManager makes the manager run the reconciler, which needs IndexPruneRuns. published enqueues the requests it is given whenever a snapshot with
// other rules was published.
func (r *PruneRunReconciler) SetupWithManager(mgr manager.Manager, published func(requests func(context.Context) []reconcile.Request) source.Source) error {
	everyReplica := false
	err := builder.ControllerManagedBy(mgr).
		Named("prunerun").
		For(&v1alpha1.PruneRun{}, builder.WithPredicates(runEvents)).
		// The end of one run of a group is the beginning of the next one.
		Watches(&v1alpha1.PruneRun{}, handler.EnqueueRequestsFromMapFunc(r.siblings), builder.WithPredicates(runEndings)).
		Watches(&v1alpha1.IMApp{}, handler.Funcs{UpdateFunc: r.appEdited, DeleteFunc: r.appGone}).
		WatchesRawSource(r.Term.Source(r.allRuns)).
		WatchesRawSource(published(r.waitingRuns)).
		WithOptions(controller.Options{
			NeedLeaderElection:      &everyReplica,
			MaxConcurrentReconciles: concurrentRuns,
			CacheSyncTimeout:        forever,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the prune run controller: %w", err)
	}
	return nil
}

// runEvents lets through what asks for a look at a run. The status that we write ourselves does not: the echo of a wait would undo it.
// No look is skipped on the strength of a cached status, so none is lost.
var runEvents = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		// A run that was deleted and made again during an outage is one update, from generation 1 to generation 1: hence the UID.
		return specChanged.Update(e) || ended(e)
	},
}

var runEndings = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  ended,
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// ended says whether the run has come to its end, or its undo has.
func ended(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.PruneRun)
	after, isRun := e.ObjectNew.(*v1alpha1.PruneRun)
	return ok && isRun && (!prunerun.Finished(before) && prunerun.Finished(after) || !prunerun.UndoEnded(before) && prunerun.UndoEnded(after))
}

// siblings are the runs of the same group that something is left to do for.
func (r *PruneRunReconciler) siblings(ctx context.Context, object client.Object) []reconcile.Request {
	run, ok := object.(*v1alpha1.PruneRun)
	if !ok {
		return nil
	}
	runs, err := cachedRuns(ctx, r.Client, prunerun.KeyOf(run))
	if err != nil {
		log.FromContext(ctx).Error(err, "runs that wait for this one are looked at later")
		return nil
	}
	return requestsFor(runs, func(run *v1alpha1.PruneRun) bool { return !prunerun.Finished(run) || prunerun.WantsUndo(run) })
}

// appEdited is not a request: what is under way goes on by the new settings, without having to begin again.
func (r *PruneRunReconciler) appEdited(ctx context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	app, ok := e.ObjectNew.(*v1alpha1.IMApp)
	if !ok || !specChanged.Update(e) {
		return
	}
	if err := r.Vendor.Edited(ctx, app); err != nil {
		log.FromContext(ctx).Error(err, "calls under way go on by the settings before the edit")
	}
}

// appGone is not a request either: the client of the app is dropped, and runs that need it find out by themselves.
func (r *PruneRunReconciler) appGone(_ context.Context, e event.DeleteEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	r.Vendor.Forget(e.Object.GetUID())
}

func (r *PruneRunReconciler) allRuns(ctx context.Context) []reconcile.Request {
	return r.runsThat(ctx, func(*v1alpha1.PruneRun) bool { return true })
}

// waitingRuns are those that wait for a change of objects. Those that wait for the vendor go on by themselves: an edit must
// not make them call again before their time. Nor are plans that await approval, or the budget, looked at for edits that leave them standing.
func (r *PruneRunReconciler) waitingRuns(ctx context.Context) []reconcile.Request {
	snapshot := r.Snapshots.Load()
	return r.runsThat(ctx, func(run *v1alpha1.PruneRun) bool {
		if prunerun.Finished(run) && !prunerun.WantsUndo(run) {
			return false
		}
		condition := apimeta.FindStatusCondition(run.Status.Conditions, prunerun.NextCondition(run))
		if condition != nil && snapshot != nil && prunerun.HasPlan(run) {
			switch condition.Reason {
			case v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonBudgetExhausted:
				return !standsIn(snapshot, run)
			}
		}
		return condition == nil || prunerun.WaitsForObjects(condition.Reason)
	})
}

func (r *PruneRunReconciler) runsThat(ctx context.Context, want func(*v1alpha1.PruneRun) bool) []reconcile.Request {
	var list v1alpha1.PruneRunList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "prune runs could not be listed, they are looked at later")
		return nil
	}
	return requestsFor(list.Items, want)
}

func requestsFor(runs []v1alpha1.PruneRun, want func(*v1alpha1.PruneRun) bool) []reconcile.Request {
	var requests []reconcile.Request
	for i := range runs {
		if want(&runs[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&runs[i])})
		}
	}
	return requests
}

// Reconcile takes one run as far as it gets. Outside a term it does nothing; the beginning of a term enqueues every run.
func (r *PruneRunReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	ctx, leave, ok := r.Term.Join(ctx)
	if !ok {
		return reconcile.Result{}, nil
	}
	defer leave()

	var cached v1alpha1.PruneRun
	if err := r.Client.Get(ctx, request.NamespacedName, &cached); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	key := prunerun.KeyOf(&cached)
	if prunerun.Finished(&cached) && !prunerun.WantsUndo(&cached) && !prunerun.Lags(&cached) {
		return r.keep(ctx, &cached)
	}
	if !r.groups.enter(key) {
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	defer r.groups.leave(key)

	term := r.Term.Number()
	run := &v1alpha1.PruneRun{}
	if err := r.Live.Get(ctx, request.NamespacedName, run); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	p := &pass{PruneRunReconciler: r, term: term, key: key, run: run}
	switch {
	case !run.DeletionTimestamp.IsZero():
		return reconcile.Result{}, nil
	case prunerun.WantsUndo(run):
		defer p.noticeVendor()
		return p.conclude(ctx, p.undo(ctx))
	case prunerun.Finished(run):
		return p.rest(ctx)
	}
	defer p.noticeVendor()
	p.enterRecord()
	defer p.enterRecord() // what was reserved and not recorded is given back
	return p.conclude(ctx, p.advance(ctx))
}

// rest is a look at a run that nothing is left to do for. Like every look it names the time of the next one: the queue keeps one time for each
// run, and an event takes the place of the one before.
func (p *pass) rest(ctx context.Context) (reconcile.Result, error) {
	if prunerun.Lags(p.run) {
		// A person has changed the spec since, without any consequence.
		if err := p.record(ctx, func(*v1alpha1.PruneRunStatus) {}); err != nil {
			return p.conclude(ctx, err)
		}
	}
	return p.keep(ctx, p.run)
}

// endError, as an error, ends a run: condition becomes True.
type endError struct {
	condition string // ConditionComplete or ConditionFailed
	reason    string
	message   string
}

func (e *endError) Error() string { return e.reason + ": " + e.message }

func completes(reason, format string, args ...any) error {
	return &endError{condition: v1alpha1.ConditionComplete, reason: reason, message: fmt.Sprintf(format, args...)}
}

func fails(reason, format string, args ...any) error {
	return &endError{condition: v1alpha1.ConditionFailed, reason: reason, message: fmt.Sprintf(format, args...)}
}

// waitError, as an error, is written to the run, which is taken up again when an object changes or, with a retry, by itself.
type waitError struct {
	reason  string
	message string
	// cause is what a retry is due to; nil waits for an event.
	cause error
	// after is when to look again: how long the cause wants to be left alone (zero leaves that to the queue's backoff), or, without a
	// cause, when to look at the latest if no event comes.
	after time.Duration
}

func (e *waitError) Error() string { return e.reason + ": " + e.message }

func waits(reason, format string, args ...any) error {
	return &waitError{reason: reason, message: fmt.Sprintf(format, args...)}
}

var (
	// errBehind says that the snapshot does not hold yet what the API server has. It is about to be built.
	errBehind = errors.New("the snapshot is behind the API server")
	// errDone says that nothing is left to do: the run has ended and that is recorded, or it is being deleted.
	errDone = errors.New("the run has ended")
)

// conclude turns what stopped a pass into what is recorded and when the run is looked at again.
func (p *pass) conclude(ctx context.Context, err error) (reconcile.Result, error) {
	var (
		ends *endError
		wait *waitError
	)
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &ends):
		err = p.end(ctx, ends)
	case errors.As(err, &wait):
		if err = p.wait(ctx, wait); err == nil {
			return wait.result()
		}
	}
	switch {
	case ctx.Err() != nil:
		// The term has ended, or the process is about to. Whoever holds the next term looks at every run.
		return reconcile.Result{}, nil //nolint:nilerr // nothing went wrong, and nobody is left to try again
	case err == nil, errors.Is(err, errDone), apierrors.IsNotFound(err):
		return reconcile.Result{}, nil
	case errors.Is(err, errBehind), apierrors.IsConflict(err):
		// A conflict is the fence at work: somebody else has written the run. What they wrote is read live the next time.
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{}, err
}

func (e *waitError) result() (reconcile.Result, error) {
	switch {
	case e.cause == nil && e.after > 0:
		return reconcile.Result{RequeueAfter: min(e.after, waitingNet)}, nil
	case e.cause == nil:
		return reconcile.Result{RequeueAfter: waitingNet}, nil
	case e.after > 0:
		return reconcile.Result{RequeueAfter: e.after}, nil
	}
	return reconcile.Result{}, e.cause
}
