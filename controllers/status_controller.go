package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	concurrentStatusWrites = 4
	firstStatusRetry       = 100 * time.Millisecond
	lastStatusRetry        = 30 * time.Second
)

// Reachability knows how the REST calls of an app fare; see Vendor.
type Reachability interface {
	// Reachability returns reason and message of VendorReachable; ok is false where nothing is known, and what stands there is kept.
	Reachability(appUID string) (reason, message string, ok bool)
	// Source enqueues the names of the IMApps whose reachability has changed.
	Source() source.Source
}

// StatusReconciler writes the verdicts of the published snapshot into the statuses of IMApps, AccountLists and GroupPolicies, in a
// term. It is the only writer of these statuses.
//
// Nothing that serves depends on it, and the build never waits for it. A status is written only if the published verdict is about
// exactly the generation that the object has; a build that is yet to come enqueues the object again.
type StatusReconciler struct {
	// Client reads from the cache and patches statuses.
	Client    client.Client
	Snapshots snapshots
	Term      *term.Term
	// Reachability may be nil.
	Reachability Reachability
	Events       events.EventRecorder
	Now          func() time.Time
}

// SetupWithManager makes the manager run one controller for each kind. published enqueues the requests it is given whenever a snapshot was
// published.
func (r *StatusReconciler) SetupWithManager(mgr manager.Manager, published func(func(context.Context) []reconcile.Request) source.Source) error {
	var reachability []source.Source
	if r.Reachability != nil {
		reachability = append(reachability, r.Reachability.Source())
	}
	for _, kind := range []struct {
		name    string
		object  client.Object
		changed func() []reconcile.Request
		all     func() []reconcile.Request
		also    []source.Source
	}{
		{"imapp-status", &v1alpha1.IMApp{}, changed(r.Snapshots, (*policy.Snapshot).AppVerdictsSince), all(r.Snapshots, (*policy.Snapshot).AppVerdicts), reachability},
		{"accountlist-status", &v1alpha1.AccountList{}, changed(r.Snapshots, (*policy.Snapshot).ListVerdictsSince), all(r.Snapshots, (*policy.Snapshot).ListVerdicts), nil},
		{"grouppolicy-status", &v1alpha1.GroupPolicy{}, changed(r.Snapshots, (*policy.Snapshot).PolicyVerdictsSince), all(r.Snapshots, (*policy.Snapshot).PolicyVerdicts), nil},
	} {
		everyReplica := false
		b := builder.ControllerManagedBy(mgr).
			Named(kind.name).
			// No generation predicate: the echo of our own patch is what re-checks a skip that was made against a stale cache.
			For(kind.object, builder.WithPredicates(predicate.NewPredicateFuncs(func(client.Object) bool { return r.inOffice() }))).
			WatchesRawSource(published(func(context.Context) []reconcile.Request { return kind.changed() })).
			WatchesRawSource(r.Term.Source(func(context.Context) []reconcile.Request { return kind.all() })).
			WithOptions(controller.Options{
				NeedLeaderElection:      &everyReplica,
				MaxConcurrentReconciles: concurrentStatusWrites,
				CacheSyncTimeout:        forever,
				RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstStatusRetry, lastStatusRetry),
			})
		for _, also := range kind.also {
			b = b.WatchesRawSource(also)
		}
		err := b.Complete(reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
			return r.reconcile(ctx, request, kind.object.DeepCopyObject().(client.Object))
		}))
		if err != nil {
			return fmt.Errorf("set up the controller %s: %w", kind.name, err)
		}
	}
	return nil
}

// inOffice says whether there is anything to write, and the right to. What is not looked at before is enqueued by the first
// publication, or by the beginning of the term: at the start no queue of thousands competes with the first build.
func (r *StatusReconciler) inOffice() bool { return r.Snapshots.Load() != nil && r.Term.Held() }

// verdict is one of the core's verdict types; Key is the "namespace/name" of the object.
type verdict interface {
	comparable
	Key() string
}

// all returns a function that names every object of the published snapshot.
func all[V verdict](snapshots snapshots, verdicts func(*policy.Snapshot) iter.Seq[V]) func() []reconcile.Request {
	return func() []reconcile.Request {
		snapshot := snapshots.Load()
		if snapshot == nil {
			return nil
		}
		var requests []reconcile.Request
		for v := range verdicts(snapshot) {
			requests = append(requests, requestOf(v))
		}
		return requests
	}
}

// changed returns a function that names the objects whose verdict has changed since it was called last. It is not for concurrent use.
func changed[V verdict](snapshots snapshots, since func(s, before *policy.Snapshot) iter.Seq[V]) func() []reconcile.Request {
	var before *policy.Snapshot
	return func() []reconcile.Request {
		snapshot := snapshots.Load()
		if snapshot == nil {
			return nil
		}
		var requests []reconcile.Request
		for v := range since(snapshot, before) {
			requests = append(requests, requestOf(v))
		}
		before = snapshot
		return requests
	}
}

func requestOf[V verdict](v V) reconcile.Request {
	namespace, name, _ := strings.Cut(v.Key(), "/")
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

func (r *StatusReconciler) reconcile(ctx context.Context, request reconcile.Request, object client.Object) (reconcile.Result, error) {
	ctx, leave, ok := r.Term.Join(ctx)
	defer leave()
	snapshot := r.Snapshots.Load()
	if !ok || snapshot == nil {
		return reconcile.Result{}, nil // the beginning of a term, or the first publication, enqueues everything
	}
	// Not copied: what follows puts another status in the place of the one that is cached, and writes to nothing in it.
	if err := r.Client.Get(ctx, request.NamespacedName, object, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	before, standing := statusOf(object), conditionsOf(object)
	if !r.judge(snapshot, object) || equality.Semantic.DeepEqual(before, statusOf(object)) {
		return reconcile.Result{}, nil
	}
	err := r.write(ctx, object)
	switch {
	case err == nil:
		r.announce(object, standing)
		return reconcile.Result{}, nil
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil
	case apierrors.IsConflict(err):
		// The cache is behind, and not for long.
		return reconcile.Result{RequeueAfter: firstStatusRetry}, nil
	case context.Cause(ctx) == term.ErrEnded: //nolint:errorlint // the cause is never wrapped
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, fmt.Errorf("patch the status: %w", err)
}

// statusPatch is a JSON merge patch. The version is that of the object that was judged: of another one nobody knows whether it
// deserves this status.
type statusPatch struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status any `json:"status"`
}

// write patches the status of object. No spec is sent, and none comes back: the answer is asked for as metadata, so that nobody
// decodes 20,000 accounts for the sake of a condition.
func (r *StatusReconciler) write(ctx context.Context, object client.Object) error {
	patch := statusPatch{Status: statusOf(object)}
	patch.Metadata.ResourceVersion = object.GetResourceVersion()
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	kind, err := r.Client.GroupVersionKindFor(object)
	if err != nil {
		return fmt.Errorf("find the kind of %T: %w", object, err)
	}
	target := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName()}}
	target.SetGroupVersionKind(kind)
	return r.Client.Status().Patch(ctx, target, client.RawPatch(types.MergePatchType, body))
}

// judge brings the status of object in line with the snapshot's verdict; false if the verdict is not about this version of it. The
// conditions that stood there are left as they are.
func (r *StatusReconciler) judge(snapshot *policy.Snapshot, object client.Object) bool {
	namespace, name, uid, generation := object.GetNamespace(), object.GetName(), string(object.GetUID()), object.GetGeneration()
	switch o := object.(type) {
	case *v1alpha1.IMApp:
		v, ok := snapshot.AppVerdict(namespace, name, uid)
		if !ok || v.Generation != generation {
			return false
		}
		conditions := r.withReachability(convert.AppConditions(v), o)
		o.Status.ObservedGeneration = generation
		o.Status.Conditions = r.settle(o.Status.Conditions, conditions)
	case *v1alpha1.AccountList:
		v, ok := snapshot.ListVerdict(namespace, name, uid)
		if !ok || v.Generation != generation {
			return false
		}
		o.Status.ObservedGeneration = generation
		o.Status.Accounts = int32(v.Accounts) //nolint:gosec // the schema bounds a list to 20,000
		o.Status.Conditions = r.settle(o.Status.Conditions, convert.ListConditions(v))
	case *v1alpha1.GroupPolicy:
		v, ok := snapshot.PolicyVerdict(namespace, name, uid)
		if !ok || v.Generation != generation {
			return false
		}
		o.Status.ObservedGeneration = generation
		o.Status.Conditions = r.settle(o.Status.Conditions, convert.PolicyConditions(v, convert.HasReferences(o)))
	default:
		return false
	}
	return true
}

// withReachability adds VendorReachable. While the reason stays the same so does the condition: its text tells of one answer of
// many, and must not make a write of each.
func (r *StatusReconciler) withReachability(conditions []metav1.Condition, app *v1alpha1.IMApp) []metav1.Condition {
	standing := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionVendorReachable)
	if r.Reachability != nil {
		reason, message, ok := r.Reachability.Reachability(string(app.UID))
		if ok && (standing == nil || standing.Reason != reason) {
			return append(conditions, convert.VendorCondition(reason, message, app.Generation))
		}
	}
	if standing != nil {
		return append(conditions, *standing)
	}
	return conditions
}

// settle returns the conditions that are due, in their own order, each with the time since when it has had its status, and after them those
// of types that we do not write.
func (r *StatusReconciler) settle(standing, due []metav1.Condition) []metav1.Condition {
	settled := make([]metav1.Condition, 0, len(standing)+len(due))
	for _, condition := range due {
		condition.LastTransitionTime = metav1.NewTime(r.Now()).Rfc3339Copy()
		if last := meta.FindStatusCondition(standing, condition.Type); last != nil && last.Status == condition.Status {
			condition.LastTransitionTime = last.LastTransitionTime
		}
		settled = append(settled, condition)
	}
	for _, condition := range standing {
		if !ours(condition.Type) {
			settled = append(settled, condition)
		}
	}
	return settled
}

func ours(conditionType string) bool {
	switch conditionType {
	case v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionReady,
		v1alpha1.ConditionPruneOverridden, v1alpha1.ConditionVendorReachable:
		return true
	}
	return false
}

// announce makes an event of what changed in Accepted and Ready. A Ready that repeats the reason of Accepted is not told twice.
func (r *StatusReconciler) announce(object client.Object, before []metav1.Condition) {
	told := ""
	for _, conditionType := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady} {
		is := meta.FindStatusCondition(conditionsOf(object), conditionType)
		was := meta.FindStatusCondition(before, conditionType)
		if is == nil || is.Reason == told || (was != nil && was.Status == is.Status && was.Reason == is.Reason) {
			continue
		}
		told = is.Reason
		eventType := corev1.EventTypeNormal
		if is.Status != metav1.ConditionTrue {
			eventType = corev1.EventTypeWarning
		}
		r.Events.Eventf(object, nil, eventType, is.Reason, "Publish", "%s", prunerun.Clip(is.Message, prunerun.MaxEventNote))
	}
}

// statusOf returns the status of object as it is now.
func statusOf(object client.Object) any {
	switch o := object.(type) {
	case *v1alpha1.IMApp:
		return o.Status
	case *v1alpha1.AccountList:
		return o.Status
	case *v1alpha1.GroupPolicy:
		return o.Status
	}
	return nil
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch o := object.(type) {
	case *v1alpha1.IMApp:
		return o.Status.Conditions
	case *v1alpha1.AccountList:
		return o.Status.Conditions
	case *v1alpha1.GroupPolicy:
		return o.Status.Conditions
	}
	return nil
}
