package controllers

import (
	"context"
	"fmt"
	"time"

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
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/pruning"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// PruneRunReconciler watches PruneRuns, and lets the Engine work on them in a term. Runs that have ended are deleted
// once they need not be kept any longer.
type PruneRunReconciler struct {
	// Client reads from the cache and deletes runs.
	Client client.Client
	Engine *pruning.Engine
	Term   *term.Term
	// TTL is how long runs are kept after they ended; less than 24 hours counts as 24 hours.
	TTL time.Duration
}

// SetupWithManager makes the manager run the reconciler, which needs IndexPruneRuns. rulesPublished makes a source
// of requests to enqueue whenever a snapshot with other rules was published.
func (r *PruneRunReconciler) SetupWithManager(
	mgr manager.Manager, rulesPublished func(requestsFunc) source.Source,
) error {
	everyReplica := false
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry)
	err := builder.ControllerManagedBy(mgr).
		Named("prunerun").
		Watches(&v1alpha1.PruneRun{}, byClass, builder.WithPredicates(runEvents)).
		// The end of one run of a group is the beginning of the next one; a wait is, for those of another purpose.
		Watches(&v1alpha1.PruneRun{},
			handler.EnqueueRequestsFromMapFunc(r.siblings), builder.WithPredicates(runEndings)).
		// An undo that waits for a batch in flight goes before the next batch; a full group, before that of an
		// eviction.
		Watches(&v1alpha1.PruneRun{},
			handler.EnqueueRequestsFromMapFunc(r.precedents), builder.WithPredicates(batchEndings)).
		Watches(&v1alpha1.IMApp{}, handler.Funcs{UpdateFunc: r.appEdited, DeleteFunc: r.appDeleted}).
		WatchesRawSource(r.Engine.Source()).
		WatchesRawSource(r.Term.Source(r.allRuns)).
		WatchesRawSource(rulesPublished(r.waitingRuns)).
		WithOptions(controller.Options{
			LogConstructor:          logOf(mgr, "prunerun", "run"),
			NeedLeaderElection:      &everyReplica,
			MaxConcurrentReconciles: pruning.MaxSteps,
			CacheSyncTimeout:        forever,
			RateLimiter:             limiter,
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the prune run controller: %w", err)
	}
	return nil
}

// Reconcile takes one run as far as it gets. Outside a term it does nothing; the beginning of a term enqueues every
// run.
func (r *PruneRunReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	ctx, leave, ok := r.Term.Join(ctx)
	if !ok {
		r.Engine.Skip(request.NamespacedName)
		return reconcile.Result{}, nil
	}
	defer leave()
	var run v1alpha1.PruneRun
	if err := r.Client.Get(ctx, request.NamespacedName, &run); err != nil {
		r.Engine.Skip(request.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if prunerun.Finished(&run) && !prunerun.WantsUndo(&run) && !prunerun.Lags(&run) {
		r.Engine.Skip(request.NamespacedName)
		return r.retain(ctx, &run)
	}
	next, err := r.Engine.Step(ctx, r.Term.Number(), &run)
	return reconcile.Result{RequeueAfter: next.After}, err
}

// retain deletes the finished runs of a group that need not be kept any longer, and says when to examine this one
// again. Every result names that time: the queue keeps one time for each run, and an event takes the place of the one
// before.
func (r *PruneRunReconciler) retain(ctx context.Context, run *v1alpha1.PruneRun) (reconcile.Result, error) {
	cooldown, now := r.cooldown(run), r.Engine.Now()
	if cooldown == nil { // the record may have to stay for as long as it lasts
		return reconcile.Result{RequeueAfter: lastRetry}, nil
	}
	left := prunerun.KeepUntil(run, r.TTL, cooldown, now).Sub(now)
	if left <= 0 {
		return reconcile.Result{}, discard(ctx, r.Client, run)
	}
	if prunerun.RemovedMembers(run) {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	runs, err := cachedRuns(ctx, r.Client, prunerun.KeyOf(run))
	if err != nil {
		return reconcile.Result{}, err
	}
	for _, surplus := range prunerun.Surplus(runs, cooldown, now) {
		if err := discard(ctx, r.Client, &surplus); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{RequeueAfter: left}, nil
}

// cooldown is that of the rule that governs the group now, nil before the first snapshot.
func (r *PruneRunReconciler) cooldown(run *v1alpha1.PruneRun) prunerun.Cooldown {
	snapshot := r.Engine.Snapshots.Load()
	if snapshot == nil {
		return nil
	}
	return pruning.CooldownOf(snapshot.AppNamed(run.Namespace, run.Spec.AppRef.Name), run.Spec.GroupID)
}

// byClass enqueues a run before those of lower classes.
var byClass = handler.Funcs{
	CreateFunc: func(_ context.Context, e event.CreateEvent, queue runQueue) { enqueueRun(queue, e.Object) },
	UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue runQueue) { enqueueRun(queue, e.ObjectNew) },
}

type runQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func enqueueRun(queue runQueue, object client.Object) {
	if run, ok := object.(*v1alpha1.PruneRun); ok {
		pruning.Enqueue(queue, client.ObjectKeyFromObject(run), prunerun.ClassOf(run))
	}
}

// runEvents passes the events that call for a Step. The status that the Engine writes does not: its event would cut
// short the wait that it records. No event is dropped for what a cached status says, so that none is lost.
var runEvents = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		// A run that was recreated during an outage arrives as one update from generation 1 to generation 1, which
		// specChanged tells by the UID.
		return specChanged.Update(e) || ended(e)
	},
}

// runEndings passes the events of runs that make way for others.
var runEndings = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(e event.UpdateEvent) bool { return ended(e) || beganToWait(e) },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// ended reports whether the run has ended with this update, or its undo has.
func ended(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.PruneRun)
	after, isRun := e.ObjectNew.(*v1alpha1.PruneRun)
	return ok && isRun && (!prunerun.Finished(before) && prunerun.Finished(after) ||
		!prunerun.UndoEnded(before) && prunerun.UndoEnded(after))
}

// beganToWait reports whether the run went on before this update and does not any more.
func beganToWait(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.PruneRun)
	after, isRun := e.ObjectNew.(*v1alpha1.PruneRun)
	return ok && isRun && prunerun.GoesOn(before) && !prunerun.GoesOn(after)
}

// batchEndings passes the events of batches that are settled.
var batchEndings = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.PruneRun)
		after, isRun := e.ObjectNew.(*v1alpha1.PruneRun)
		return ok && isRun && prunerun.Progress(before).InFlight > 0 && prunerun.Progress(after).InFlight == 0
	},
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// siblings are the runs of the same group that need work.
func (r *PruneRunReconciler) siblings(ctx context.Context, object client.Object) []reconcile.Request {
	return r.ofSameGroup(ctx, object, prunerun.NeedsWork)
}

// precedents are the runs of the same group that go before the next batch of this one.
func (r *PruneRunReconciler) precedents(ctx context.Context, object client.Object) []reconcile.Request {
	run, ok := object.(*v1alpha1.PruneRun)
	if !ok {
		return nil
	}
	return r.ofSameGroup(ctx, run, func(other *v1alpha1.PruneRun) bool {
		return prunerun.WantsUndo(other) ||
			prunerun.Evicts(run) && !prunerun.Evicts(other) && prunerun.NeedsWork(other)
	})
}

func (r *PruneRunReconciler) ofSameGroup(
	ctx context.Context, object client.Object, want func(*v1alpha1.PruneRun) bool,
) []reconcile.Request {
	run, ok := object.(*v1alpha1.PruneRun)
	if !ok {
		return nil
	}
	runs, err := cachedRuns(ctx, r.Client, prunerun.KeyOf(run))
	if err != nil {
		log.FromContext(ctx).Error(err, "Runs that wait for this one are examined later")
		return nil
	}
	return requestsFor(runs, want)
}

// appEdited enqueues nothing: calls that are under way go on with the new settings, without having to begin again.
func (r *PruneRunReconciler) appEdited(
	ctx context.Context, e event.UpdateEvent, _ runQueue,
) {
	app, ok := e.ObjectNew.(*v1alpha1.IMApp)
	if !ok || !specChanged.Update(e) {
		return
	}
	if err := r.Engine.Clients.Edited(ctx, app); err != nil {
		log.FromContext(ctx).Error(err, "Calls under way go on with the settings before the edit")
	}
}

// appDeleted enqueues nothing either: runs that need the app find out with their next Step.
func (r *PruneRunReconciler) appDeleted(
	_ context.Context, e event.DeleteEvent, _ runQueue,
) {
	r.Engine.Clients.Forget(e.Object.GetUID())
}

func (r *PruneRunReconciler) allRuns(ctx context.Context) []reconcile.Request {
	return r.runsThat(ctx, func(*v1alpha1.PruneRun) bool { return true })
}

// waitingRuns are the runs that wait for a change that the published snapshot may have brought.
func (r *PruneRunReconciler) waitingRuns(ctx context.Context) []reconcile.Request {
	snapshot := r.Engine.Snapshots.Load()
	return r.runsThat(ctx, func(run *v1alpha1.PruneRun) bool { return pruning.Wakes(snapshot, run) })
}

func (r *PruneRunReconciler) runsThat(ctx context.Context, want func(*v1alpha1.PruneRun) bool) []reconcile.Request {
	var list v1alpha1.PruneRunList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Prune runs could not be listed and are examined later")
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
