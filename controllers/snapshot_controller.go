package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
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
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

const (
	// forever is how long a controller waits for its informers: giving up would end the process, and with it the gate.
	forever = 100 * 365 * 24 * time.Hour

	firstBuildRetry = 100 * time.Millisecond
	lastBuildRetry  = 5 * time.Second
)

// SnapshotReconciler builds and publishes the snapshot, whole, whenever an object it depends on changes. It runs on every replica.
//
// All five kinds are sources of one controller. So no worker starts before all five informers have synced, and the first snapshot is
// never built from a part of the world. All requests are one and the same, so that a burst of changes is one build.
type SnapshotReconciler struct {
	// Client lists from the cache.
	Client client.Reader
	Store  *policy.Store
	Now    func() time.Time
	// Metrics, if set, shows the builds.
	Metrics *Metrics

	compiler  policy.Compiler // used by the one worker only
	published signal
	ruled     signal
}

// SetupWithManager makes the manager run the reconciler.
func (r *SnapshotReconciler) SetupWithManager(mgr manager.Manager) error {
	everyReplica := false
	build := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return buildRequests() })
	err := builder.ControllerManagedBy(mgr).
		Named("snapshot").
		Watches(&v1alpha1.IMApp{}, build, builder.WithPredicates(specChanged)).
		Watches(&v1alpha1.AccountList{}, build, builder.WithPredicates(predicate.Or(specChanged, predicate.LabelChangedPredicate{}))).
		Watches(&v1alpha1.GroupPolicy{}, build, builder.WithPredicates(specChanged)).
		Watches(&corev1.Secret{}, build, builder.WithPredicates(dataChanged)).
		// A run is a request to others, and a record to the snapshot. A process that served before it knows the records of the time before
		// would let everybody back in who was removed.
		Watches(&v1alpha1.PruneRun{}, build, builder.WithPredicates(recordChanged)).
		// Zero objects cause no event, and still make a snapshot.
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			for _, request := range buildRequests() {
				queue.Add(request)
			}
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
	return r.published.source(func() bool { return r.Store.Load() != nil }, requests)
}

// RulesPublished is Published less the publications in which nothing is new but what runs recorded. Where many groups are pruned these come
// with every batch, and runs that wait for a rule have nothing to learn from them.
func (r *SnapshotReconciler) RulesPublished(requests func(context.Context) []reconcile.Request) source.Source {
	return r.ruled.source(func() bool { return r.Store.Load() != nil }, requests)
}

// Reconcile builds and publishes, and asks for another build when the first of the refusals in it is over. When the objects cannot be
// listed, the snapshot before stays in force.
func (r *SnapshotReconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	began := r.Now()
	input, err := r.list(ctx, began)
	if err != nil {
		return reconcile.Result{}, err
	}
	before := r.Store.Load()
	snapshot := r.compiler.Compile(input)
	// Counted first, then published: whoever sees the snapshot finds its figures.
	ended := r.Now()
	r.Metrics.built(snapshot, ended, ended.Sub(began))
	r.Store.Publish(snapshot)
	r.published.fire()
	if before == nil || before.RulesHash() != snapshot.RulesHash() {
		r.ruled.fire()
	}
	if before == nil || before.Hash() != snapshot.Hash() {
		log.FromContext(ctx).Info("Snapshot published", "hash", fmt.Sprintf("%016x", snapshot.Hash()),
			"apps", len(input.Apps), "lists", len(input.Lists), "policies", len(input.Policies), "records", len(input.Records))
	}
	return reconcile.Result{RequeueAfter: nextEnd(input.Records, r.Now())}, nil
}

// nextEnd is how long from now the first refusal ends; 0 where there is none.
func nextEnd(records []policy.Record, now time.Time) time.Duration {
	var next time.Time
	for i := range records {
		if until := records[i].Until; !until.IsZero() && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), time.Millisecond) // one that has ended meanwhile needs a build, too
}

// list reads everything that the snapshot depends on from the cache, without copying it: nothing here may be written to. Records whose
// refusal is over are left out, so that replicas agree on the hash whether or not they still know them.
func (r *SnapshotReconciler) list(ctx context.Context, now time.Time) (policy.Input, error) {
	var (
		apps     v1alpha1.IMAppList
		lists    v1alpha1.AccountListList
		policies v1alpha1.GroupPolicyList
		secrets  corev1.SecretList
		runs     v1alpha1.PruneRunList
	)
	for _, list := range []client.ObjectList{&apps, &lists, &policies, &secrets, &runs} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return policy.Input{}, fmt.Errorf("read %T from the cache: %w", list, err)
		}
	}
	credentials := make(map[types.NamespacedName]map[string][]byte, len(secrets.Items))
	for i := range secrets.Items {
		data := secrets.Items[i].Data
		if data == nil {
			data = map[string][]byte{} // found, and empty
		}
		credentials[client.ObjectKeyFromObject(&secrets.Items[i])] = data
	}
	input := policy.Input{
		Apps:     make([]policy.App, 0, len(apps.Items)),
		Lists:    make([]policy.List, 0, len(lists.Items)),
		Policies: make([]policy.Policy, 0, len(policies.Items)),
	}
	for i := range apps.Items {
		app := &apps.Items[i]
		secret := types.NamespacedName{Namespace: app.Namespace, Name: app.Spec.CredentialsSecretRef.Name}
		input.Apps = append(input.Apps, convert.App(app, credentials[secret]))
	}
	for i := range lists.Items {
		input.Lists = append(input.Lists, convert.List(&lists.Items[i]))
	}
	for i := range policies.Items {
		input.Policies = append(input.Policies, convert.Policy(&policies.Items[i]))
	}
	for i := range runs.Items {
		record, ok := convert.Record(&runs.Items[i])
		if ok && (record.Restoring || now.Before(record.Until)) {
			input.Records = append(input.Records, record)
		}
	}
	return input, nil
}

// buildRequests is the one request there is.
func buildRequests() []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "snapshot"}}}
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

// recordChanged lets through what changes the record of a run: that of a deleted one is gone. Most of what is written to a run is
// progress that no snapshot depends on.
var recordChanged = predicate.Funcs{
	CreateFunc: func(e event.CreateEvent) bool { return recordOf(e.Object) != nil },
	DeleteFunc: func(e event.DeleteEvent) bool { return recordOf(e.Object) != nil },
	UpdateFunc: func(e event.UpdateEvent) bool { return !sameRecord(recordOf(e.ObjectOld), recordOf(e.ObjectNew)) },
	GenericFunc: func(event.GenericEvent) bool {
		return false
	},
}

func recordOf(object client.Object) *policy.Record {
	run, ok := object.(*v1alpha1.PruneRun)
	if !ok {
		return nil
	}
	record, ok := convert.Record(run)
	if !ok {
		return nil
	}
	return &record
}

// sameRecord compares what records say. The UID counts for a run that was deleted and made again during an outage.
func sameRecord(a, b *policy.Record) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.App == b.App && a.Group == b.Group && a.Restoring == b.Restoring && a.Reject == b.Reject &&
		a.Until.Equal(b.Until) && slices.Equal(a.Accounts, b.Accounts)
}
