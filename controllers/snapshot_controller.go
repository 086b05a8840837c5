package controllers

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
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
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	// forever is how long a controller waits for its informers: giving up would end the process, and the callback
	// server with it.
	forever = 100 * 365 * 24 * time.Hour

	firstBuildRetry = 100 * time.Millisecond
	lastBuildRetry  = 5 * time.Second

	// A build is followed by a pause of pausePerBuild times its duration, at most maxBuildPause: a change after a quiet
	// time is built at once, and builds take at most a fiftieth of the time while they last up to 2 ms. See ADR 8.
	pausePerBuild = 50
	maxBuildPause = 100 * time.Millisecond

	// coverageRecheck is the time between two looks at watches that are not in order.
	coverageRecheck = time.Second
)

// queue is that of a controller.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SnapshotReconciler builds and publishes the snapshot whenever an object that it depends on changes. It runs on every
// replica.
//
// All five kinds are sources of one controller. So no worker starts before the five watches have delivered every
// object, and the first snapshot is never built from a part of them. Namespaces that the API server does not let this
// process read are the exception: the first snapshot is published without them after 10 s, and they are taken up once
// all of their watches have synced. From then on a build takes up only the changes since the last one. All requests are
// equal, so that a burst of changes is one build.
type SnapshotReconciler struct {
	// Client lists from the cache, to start over after a build that panicked.
	Client client.Reader
	Store  *policy.Store
	Now    func() time.Time
	// Watches are those of the cache. Nil: all of them are in order.
	Watches watchStates
	// Guard, if set, logs and counts panics outside of Reconcile.
	Guard *guard.Guard
	// Metrics, if set, shows the builds.
	Metrics *Metrics
	// Replica, if set, learns what every publication contains.
	Replica *Replica

	changed   changedObjects
	inputs    inputs    // used by the one worker only
	pending   changeSet // of namespaces that are incomplete
	building  bool      // a build has begun and not ended: true between two of them only after a panic
	notBefore time.Time // when the pause after the last build ends
	published term.Notifier
	rules     term.Notifier // publications with other rules
}

// SetupWithManager makes the manager run the reconciler.
func (r *SnapshotReconciler) SetupWithManager(ctx context.Context, mgr manager.Manager) error {
	// All watches begin together. Otherwise those of a namespace would begin when those of another are given up.
	for _, kind := range informers.Kinds() {
		if _, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("make the informer of %T: %w", kind, err)
		}
	}
	r.changed.guard, r.published.Guard, r.rules.Guard = r.Guard, r.Guard, r.Guard
	everyReplica := false
	// The versions that the handlers have been called with are what this replica reports.
	counting := informers.Counting(mgr.GetCache(), r.changed.together)
	watch := func(object client.Object, matters predicate.Predicate) source.Source {
		return source.Kind(counting, object, r.changed.handler(matters))
	}
	err := builder.ControllerManagedBy(mgr).
		Named("snapshot").
		WatchesRawSource(watch(&v1alpha1.IMApp{}, specChanged)).
		// The accounts of a cached list are packed: see convert.PackList.
		WatchesRawSource(watch(&v1alpha1.AccountList{},
			predicate.Or(specChanged, predicate.LabelChangedPredicate{}))).
		WatchesRawSource(watch(&v1alpha1.GroupPolicy{}, specChanged)).
		WatchesRawSource(watch(&corev1.Secret{}, dataChanged)).
		// Runs record who is refused. A process that served before it has read them would admit every removed member.
		WatchesRawSource(watch(&v1alpha1.PruneRun{}, refusalChanged)).
		// Without any object there is no event, and there must be a snapshot.
		WatchesRawSource(source.Func(func(_ context.Context, q queue) error {
			q.Add(buildRequest())
			return nil
		})).
		WatchesRawSource(source.Func(r.recheckCoverage)).
		WithOptions(controller.Options{
			LogConstructor:          logOf(mgr, "snapshot", ""),
			NeedLeaderElection:      &everyReplica,
			MaxConcurrentReconciles: 1,
			CacheSyncTimeout:        forever,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				firstBuildRetry, lastBuildRetry),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the snapshot controller: %w", err)
	}
	return nil
}

// recheckCoverage requests a build every second while a watch is not in order, and once more when all are.
func (r *SnapshotReconciler) recheckCoverage(ctx context.Context, q queue) error {
	if r.Watches == nil {
		return nil
	}
	go r.Guard.Repeat(ctx, guard.Informer, func() { // ends with the controller's ctx
		for failing := true; elapses(ctx, coverageRecheck); {
			fails := changesByItself(r.Watches)
			if fails || failing {
				q.Add(buildRequest())
			}
			failing = fails
		}
	})
	return nil
}

// requestsFunc names objects to reconcile.
type requestsFunc = func(context.Context) []reconcile.Request

// Published enqueues the requests after every publication, and at once if there has been one when the source starts.
func (r *SnapshotReconciler) Published(requests requestsFunc) source.Source {
	return r.published.Source(r.hasPublished, requests)
}

// RulesPublished is Published without the publications in which only refusals are new. While many groups are pruned
// these come with every batch, and a run that waits for a rule needs none of them.
func (r *SnapshotReconciler) RulesPublished(requests requestsFunc) source.Source {
	return r.rules.Source(r.hasPublished, requests)
}

func (r *SnapshotReconciler) hasPublished() bool { return r.Store.Load() != nil }

// Reconcile builds and publishes, and asks for another build when the first refusal in the snapshot ends.
//
// If a build panics, the previous snapshot stays in force, and the next build starts over from the cache: the changes
// that the panicking build had taken are lost, and its half-done work could admit accounts that are refused.
func (r *SnapshotReconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	began := r.Now()
	if pause := r.notBefore.Sub(began); pause > 0 {
		return reconcile.Result{RequeueAfter: pause}, nil
	}
	if r.building {
		if err := r.startOver(ctx); err != nil {
			return reconcile.Result{}, err
		}
	}
	// Before the changes are taken: what a watch has delivered by the time it has synced is among them.
	covered := coverageOf(r.Watches)
	if covered.nothing {
		return reconcile.Result{}, nil // recheckCoverage asks again
	}
	changed, ok := r.changed.take()
	if !ok {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	r.building = true
	changes := r.takeChanges(changed, covered)
	r.inputs.setLost(covered.lost)
	r.inputs.endRefusals(began)
	before, snapshot := r.Store.Load(), r.inputs.compiler.Build()
	r.building = false
	if snapshot == before {
		r.reportPublished(covered)
		return reconcile.Result{RequeueAfter: r.inputs.nextEnd(r.Now())}, nil
	}
	// The metrics come first: a reader of the new snapshot must find its figures.
	ended := r.Now()
	r.notBefore = ended.Add(min(pausePerBuild*ended.Sub(began), maxBuildPause))
	r.Metrics.built(snapshot, ended, ended.Sub(began))
	r.Store.Publish(snapshot)
	r.reportPublished(covered) // before the statuses are written
	r.published.Notify()
	if before == nil || before.RulesHash() != snapshot.RulesHash() {
		r.rules.Notify()
	}
	if before == nil || before.Hash() != snapshot.Hash() {
		log.FromContext(ctx).Info("Snapshot published",
			"hash", fmt.Sprintf("%016x", snapshot.Hash()), "changes", changes)
	}
	return reconcile.Result{RequeueAfter: r.inputs.nextEnd(r.Now())}, nil
}

// takeChanges gives the inputs what has changed in the namespaces that are covered, and returns how many objects that
// were. The others are pending.
func (r *SnapshotReconciler) takeChanges(changed changeSet, covered coverage) (taken int) {
	if r.pending == nil {
		r.pending = changeSet{}
	}
	maps.Copy(r.pending, changed)
	for key, change := range r.pending {
		if covered.holds(key.name.Namespace) {
			r.inputs.update(change)
			r.Replica.took(change)
			delete(r.pending, key)
			taken++
		}
	}
	return taken
}

// reportPublished tells the Replica what the published snapshot contains: the changes that were taken, and so all that
// had been delivered before.
func (r *SnapshotReconciler) reportPublished(covered coverage) {
	r.changed.built()
	r.Replica.published(covered, r.inputs.compiler.Referring(), r.inputs.rotated)
	r.inputs.rotated = nil
}

// startOver drops all inputs and takes them from the cache. The changes that are still pending are applied after that,
// so that an object that was deleted meanwhile does not come back.
func (r *SnapshotReconciler) startOver(ctx context.Context) error {
	r.inputs, r.pending = inputs{}, changeSet{}
	for _, list := range []client.ObjectList{
		&corev1.SecretList{}, &v1alpha1.IMAppList{}, &v1alpha1.AccountListList{},
		&v1alpha1.GroupPolicyList{}, &v1alpha1.PruneRunList{},
	} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("read %T from the cache: %w", list, err)
		}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			r.pending[keyOf(object)] = changedObject{object: object}
			return nil
		}); err != nil {
			return fmt.Errorf("read %T from the cache: %w", list, err)
		}
	}
	return nil
}

// buildRequest is the only request of this controller.
func buildRequest() reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: "snapshot"}}
}

// changedObjects collects what the watches deliver until the next build takes it. If an object changes several times
// before that, only its last state counts. The zero value is ready.
//
// Every change of an object comes through the same watch, which delivers changes in order, and a deletion even if the
// watch was broken at that time. So the last state delivered is that of the cache.
type changedObjects struct {
	guard   *guard.Guard
	mu      sync.Mutex
	changes changeSet
	taken   bool // by a build that has not ended
	adding  int  // calls of together that have not ended
}

type changeSet map[objectKey]changedObject

type objectKey struct {
	kind reflect.Type
	name types.NamespacedName
}

func keyOf(object client.Object) objectKey {
	return objectKey{kind: reflect.TypeOf(object), name: client.ObjectKeyFromObject(object)}
}

func (c *changedObjects) add(object client.Object, deleted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == nil {
		c.changes = changeSet{}
	}
	c.changes[keyOf(object)] = changedObject{object: object, deleted: deleted}
}

// together calls the function, whose changes are taken by one build. A build that begins meanwhile takes none: half of
// what a list of the API server replaces may admit an account that both before and after it is refused.
func (c *changedObjects) together(calls func()) {
	c.mu.Lock()
	c.adding++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.adding--
	}()
	calls()
}

// take returns the changes and empties the collection; false while together is called.
func (c *changedObjects) take() (changeSet, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.adding > 0 {
		return nil, false
	}
	taken := c.changes
	c.changes, c.taken = nil, true
	return taken, true
}

// built reports that what was taken is published.
func (c *changedObjects) built() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = false
}

// settled reports whether everything that was delivered is published.
func (c *changedObjects) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.changes) == 0 && !c.taken
}

// handler adds the creations and updates that matter, and every deletion, whatever the last state of the object was. It
// requests a build for each. What a predicate panics on matters.
func (c *changedObjects) handler(changed predicate.Predicate) handler.EventHandler {
	matters := func(asks func() bool) (matters bool) {
		return c.guard.Run(guard.Informer, func() { matters = asks() }) || matters
	}
	add := func(object client.Object, deleted bool, q queue) {
		c.add(object, deleted) // before the request: the build must find it
		q.Add(buildRequest())
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) {
			if matters(func() bool { return changed.Create(e) }) {
				add(e.Object, false, q)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if matters(func() bool { return changed.Update(e) }) {
				add(e.ObjectNew, false, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(e.Object, true, q) },
	}
}

// specChanged passes every creation and deletion, and updates of the spec; the snapshot does not depend on status and
// metadata. An object that was deleted and created again during an outage is one update, from generation 1 to
// generation 1: hence the UID.
var specChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || e.ObjectOld.GetUID() != e.ObjectNew.GetUID()
}}

// dataChanged is specChanged for Secrets, which have no generation.
var dataChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Secret)
	after, isSecret := e.ObjectNew.(*corev1.Secret)
	return !ok || !isSecret || !maps.EqualFunc(before.Data, after.Data, slices.Equal[[]byte])
}}

// refusalChanged passes what changes the refusal of a run. Most writes to a run are progress that no snapshot depends
// on.
var refusalChanged = predicate.Funcs{
	CreateFunc: func(e event.CreateEvent) bool { return refusalOf(e.Object) != nil },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return !sameRefusal(refusalOf(e.ObjectOld), refusalOf(e.ObjectNew))
	},
	GenericFunc: func(event.GenericEvent) bool { return false },
}

func refusalOf(object client.Object) *policy.Refusal {
	run, ok := object.(*v1alpha1.PruneRun)
	if !ok {
		return nil
	}
	refusal, ok := convert.Refusal(run)
	if !ok {
		return nil
	}
	return &refusal
}

// sameRefusal compares the UID too, for a run that was deleted and created again during an outage.
func sameRefusal(a, b *policy.Refusal) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.App == b.App && a.Group == b.Group &&
		a.Restoring == b.Restoring && a.Restored == b.Restored && a.Reject == b.Reject && a.Until.Equal(b.Until) &&
		slices.Equal(a.Accounts, b.Accounts)
}
