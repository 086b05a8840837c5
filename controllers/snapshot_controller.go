package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	// forever is how long a controller waits for its informers: giving up would end the process, and with it the gate.
	forever = 100 * 365 * 24 * time.Hour

	firstBuildRetry = 100 * time.Millisecond
	lastBuildRetry  = 5 * time.Second

	// A build is followed by a pause of pausePerBuild times its duration, at most maxBuildPause. A change after a quiet
	// time is built at once, while a stream of changes is coalesced into builds that take a thirtieth of one core, or seven
	// a second. See ADR 8.
	pausePerBuild = 30
	maxBuildPause = 150 * time.Millisecond
)

// SnapshotReconciler builds and publishes the snapshot whenever an object it depends on changes. It runs on every replica.
//
// All five kinds are sources of one controller. So no worker starts before the five watches have told of every object that there is,
// and the first snapshot is never built from a part of the world. From then on a build takes up what the watches have brought since
// the last one, and no more. All requests are one and the same, so that a burst of changes is one build.
type SnapshotReconciler struct {
	// Client lists from the cache, to start over after a build that panicked.
	Client client.Reader
	Store  *policy.Store
	Now    func() time.Time
	// Metrics, if set, shows the builds.
	Metrics *Metrics

	changes   changes
	inputs    inputs    // used by the one worker only
	building  bool      // a build has begun and not ended: true between two of them only after a panic
	notBefore time.Time // when the pause after the last build ends
	published term.Notifier
	ruled     term.Notifier
}

// SetupWithManager makes the manager run the reconciler.
func (r *SnapshotReconciler) SetupWithManager(mgr manager.Manager) error {
	everyReplica := false
	err := builder.ControllerManagedBy(mgr).
		Named("snapshot").
		Watches(&v1alpha1.IMApp{}, r.changes.handler(specChanged)).
		Watches(&v1alpha1.AccountList{}, r.changes.handler(predicate.Or(specChanged, predicate.LabelChangedPredicate{}))).
		Watches(&v1alpha1.GroupPolicy{}, r.changes.handler(specChanged)).
		Watches(&corev1.Secret{}, r.changes.handler(dataChanged)).
		// A run is a request to others, and a record to the snapshot. A process that served before it knows the records of the time before
		// would let everybody back in who was removed.
		Watches(&v1alpha1.PruneRun{}, r.changes.handler(recordChanged)).
		// Zero objects cause no event, and still make a snapshot.
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue.Add(buildRequest())
			return nil
		})).
		WithOptions(controller.Options{
			NeedLeaderElection:      &everyReplica,
			MaxConcurrentReconciles: 1,
			CacheSyncTimeout:        forever,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstBuildRetry, lastBuildRetry),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the snapshot controller: %w", err)
	}
	return nil
}

// Published enqueues what requests returns after every publication, and at once if there has been one when the source starts.
func (r *SnapshotReconciler) Published(requests func(context.Context) []reconcile.Request) source.Source {
	return r.published.Source(func() bool { return r.Store.Load() != nil }, requests)
}

// RulesPublished is Published less the publications in which nothing is new but what runs recorded. Where many groups are pruned these come
// with every batch, and runs that wait for a rule have nothing to learn from them.
func (r *SnapshotReconciler) RulesPublished(requests func(context.Context) []reconcile.Request) source.Source {
	return r.ruled.Source(func() bool { return r.Store.Load() != nil }, requests)
}

// Reconcile builds and publishes, and asks for another build when the first of the refusals in it is over.
//
// Should a build panic, the snapshot before stays in force, and the next one starts over from the cache: what the last one had taken from
// the watches would be lost, and what it left half done could let somebody in.
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
	r.building = true
	changed := r.changes.take()
	for _, news := range changed {
		r.inputs.update(news)
	}
	r.inputs.endRecords(began)
	before, snapshot := r.Store.Load(), r.inputs.compiler.Build()
	r.building = false
	// Counted first, then published: whoever sees the snapshot finds its figures.
	ended := r.Now()
	r.notBefore = ended.Add(min(pausePerBuild*ended.Sub(began), maxBuildPause))
	r.Metrics.built(snapshot, ended, ended.Sub(began))
	r.Store.Publish(snapshot)
	r.published.Notify()
	if before == nil || before.RulesHash() != snapshot.RulesHash() {
		r.ruled.Notify()
	}
	if before == nil || before.Hash() != snapshot.Hash() {
		log.FromContext(ctx).Info("Snapshot published", "hash", fmt.Sprintf("%016x", snapshot.Hash()), "changes", len(changed))
	}
	return reconcile.Result{RequeueAfter: r.inputs.nextEnd(r.Now())}, nil
}

// startOver forgets everything and takes up what the cache holds. That comes before what the watches have told and nobody has taken yet, so
// that an object deleted meanwhile stays away.
func (r *SnapshotReconciler) startOver(ctx context.Context) error {
	r.inputs = inputs{}
	for _, list := range []client.ObjectList{
		&corev1.SecretList{}, &v1alpha1.IMAppList{}, &v1alpha1.AccountListList{}, &v1alpha1.GroupPolicyList{}, &v1alpha1.PruneRunList{},
	} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("read %T from the cache: %w", list, err)
		}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			r.inputs.update(news{object: item.(client.Object)})
			return nil
		}); err != nil {
			return fmt.Errorf("read %T from the cache: %w", list, err)
		}
	}
	return nil
}

// buildRequest is the one request there is.
func buildRequest() reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: "snapshot"}}
}

// specChanged lets through every creation and deletion, and updates with another spec; status and metadata do not matter to the snapshot.
// An object that was deleted and made again during an outage is one update, from generation 1 to generation 1: hence the UID.
var specChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || e.ObjectOld.GetUID() != e.ObjectNew.GetUID()
}}

// dataChanged is specChanged for Secrets, which have no generation.
var dataChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Secret)
	after, isSecret := e.ObjectNew.(*corev1.Secret)
	return !ok || !isSecret || !maps.EqualFunc(before.Data, after.Data, slices.Equal[[]byte])
}}

// recordChanged lets through what changes the record of a run. Most of what is written to a run is progress that no snapshot depends on.
var recordChanged = predicate.Funcs{
	CreateFunc: func(e event.CreateEvent) bool { return recordOf(e.Object) != nil },
	UpdateFunc: func(e event.UpdateEvent) bool { return !sameRecord(recordOf(e.ObjectOld), recordOf(e.ObjectNew)) },
	GenericFunc: func(event.GenericEvent) bool {
		return false
	},
}

func recordOf(object client.Object) *policy.Refusal {
	run, ok := object.(*v1alpha1.PruneRun)
	if !ok {
		return nil
	}
	record, ok := convert.Refusal(run)
	if !ok {
		return nil
	}
	return &record
}

// sameRecord compares what records say. The UID counts for a run that was deleted and made again during an outage.
func sameRecord(a, b *policy.Refusal) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.App == b.App && a.Group == b.Group && a.Restoring == b.Restoring && a.Reject == b.Reject &&
		a.Until.Equal(b.Until) && slices.Equal(a.Accounts, b.Accounts)
}
