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

	// stalledAfter is how long a policy waits for its IMApp before it is Stalled. GitOps tools give up on what is
	// Stalled, and apply the one a moment before the other.
	stalledAfter = 10 * time.Second
)

// Reachability reports whether the REST calls of an app succeed; imclients.Pool implements it.
type Reachability interface {
	// Reachability returns the reason and message of VendorReachable. If ok is false nothing is known, and the
	// condition stays.
	Reachability(appUID string) (reason, message string, ok bool)
	// Source enqueues the names of the IMApps whose reachability has changed.
	Source() source.Source
}

// StatusReconciler writes the verdicts of the published snapshot into the statuses of IMApps, AccountLists and
// GroupPolicies, in a term. It is the only writer of these statuses.
//
// No component that serves depends on it, and the build never waits for it. A status is written only if the published
// verdict is about the present generation of the object; otherwise the build that is yet to come enqueues the object
// again.
type StatusReconciler struct {
	// Client reads from the cache and patches statuses.
	Client    client.Client
	Snapshots snapshots
	Term      *term.Term
	// Reachability may be nil.
	Reachability Reachability
	// Replica, if set, knows which objects every replica enforces, and what callbacks look like; Began is since when.
	Replica *Replica
	Began   time.Time
	// RoundWritten, if set, enqueues its requests when a round was begun or finished.
	RoundWritten func(requestsFunc) source.Source
	Events       events.EventRecorder
	Now          func() time.Time
}

// statusKind is one kind of object whose status is written.
type statusKind struct {
	controller string
	object     client.Object
	// all names every object of the published snapshot, changed those whose verdict has changed since its last call.
	all, changed func() []reconcile.Request
	sources      []source.Source
}

// kindOf makes a statusKind of the functions that list verdicts of type V.
func kindOf[V interface {
	Names() (namespace, name string)
}](
	controller string, object client.Object, snapshots snapshots,
	all func(*policy.Snapshot) iter.Seq[V], since func(s, before *policy.Snapshot) iter.Seq[V],
) statusKind {
	requests := func(verdicts iter.Seq[V]) []reconcile.Request {
		var requests []reconcile.Request
		for v := range verdicts {
			namespace, name := v.Names()
			requests = append(requests, reconcile.Request{
				NamespacedName: types.NamespacedName{Namespace: namespace, Name: name},
			})
		}
		return requests
	}
	var before *policy.Snapshot
	return statusKind{
		controller: controller,
		object:     object,
		all: func() []reconcile.Request {
			snapshot := snapshots.Load()
			if snapshot == nil {
				return nil
			}
			return requests(all(snapshot))
		},
		changed: func() []reconcile.Request {
			snapshot := snapshots.Load()
			if snapshot == nil {
				return nil
			}
			changed := requests(since(snapshot, before))
			before = snapshot
			return changed
		},
	}
}

func (r *StatusReconciler) kinds() []statusKind {
	apps := kindOf("imapp-status", &v1alpha1.IMApp{}, r.Snapshots,
		(*policy.Snapshot).AppVerdicts, (*policy.Snapshot).AppVerdictsSince)
	if r.Reachability != nil {
		apps.sources = append(apps.sources, r.Reachability.Source())
	}
	lists := kindOf("accountlist-status", &v1alpha1.AccountList{}, r.Snapshots,
		(*policy.Snapshot).ListVerdicts, (*policy.Snapshot).ListVerdictsSince)
	policies := kindOf("grouppolicy-status", &v1alpha1.GroupPolicy{}, r.Snapshots,
		(*policy.Snapshot).PolicyVerdicts, (*policy.Snapshot).PolicyVerdictsSince)
	if r.RoundWritten != nil {
		policies.sources = append(policies.sources,
			r.RoundWritten(func(context.Context) []reconcile.Request { return policies.all() }))
	}
	if r.Replica != nil {
		enforcement := r.Replica.Enforcement
		apps.sources = append(apps.sources,
			enforcement.Source(kindApp, apps.all), enforcement.Observed(r.callbacksTurned))
		lists.sources = append(lists.sources, enforcement.Source(kindList, lists.all))
		policies.sources = append(policies.sources, enforcement.Source(kindPolicy, policies.all))
	}
	return []statusKind{apps, lists, policies}
}

// SetupWithManager makes the manager run one controller for each kind. published enqueues its requests after every
// publication.
func (r *StatusReconciler) SetupWithManager(mgr manager.Manager, published func(requestsFunc) source.Source) error {
	everyReplica := false
	canWrite := predicate.NewPredicateFuncs(func(client.Object) bool { return r.canWrite() })
	for _, kind := range r.kinds() {
		b := builder.ControllerManagedBy(mgr).
			Named(kind.controller).
			// No generation predicate: the event of our own patch examines objects again that were skipped because the
			// cache was stale.
			For(kind.object, builder.WithPredicates(canWrite)).
			WatchesRawSource(published(func(context.Context) []reconcile.Request { return kind.changed() })).
			WatchesRawSource(r.Term.Source(func(context.Context) []reconcile.Request { return kind.all() })).
			WithOptions(controller.Options{
				LogConstructor:          logOf(mgr, kind.controller, strings.TrimSuffix(kind.controller, "-status")),
				NeedLeaderElection:      &everyReplica,
				MaxConcurrentReconciles: concurrentStatusWrites,
				CacheSyncTimeout:        forever,
				RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
					firstStatusRetry, lastStatusRetry),
			})
		for _, source := range kind.sources {
			b = b.WatchesRawSource(source)
		}
		update := func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
			return r.reconcile(ctx, request, kind.object.DeepCopyObject().(client.Object))
		}
		if err := b.Complete(reconcile.Func(update)); err != nil {
			return fmt.Errorf("set up the controller %s: %w", kind.controller, err)
		}
	}
	return nil
}

// canWrite reports whether a snapshot is published and this replica holds the term. Events before that are dropped: the
// first publication and the beginning of the term enqueue every object, and at the start no queue of thousands competes
// with the first build.
func (r *StatusReconciler) canWrite() bool { return r.Snapshots.Load() != nil && r.Term.Held() }

func (r *StatusReconciler) reconcile(
	ctx context.Context, request reconcile.Request, object client.Object,
) (reconcile.Result, error) {
	ctx, leave, ok := r.Term.Join(ctx)
	defer leave()
	snapshot := r.Snapshots.Load()
	if !ok || snapshot == nil {
		return reconcile.Result{}, nil // the beginning of a term, or the first publication, enqueues everything
	}
	// Not copied: update replaces the status of the object, and changes nothing inside the cached one.
	if err := r.Client.Get(ctx, request.NamespacedName, object, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	before, conditions := statusOf(object), conditionsOf(object)
	if !r.update(snapshot, object) {
		return reconcile.Result{}, nil
	}
	again, err := r.withRoundBehind(ctx, object, conditions)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read the app of the policy: %w", err)
	}
	result := reconcile.Result{RequeueAfter: again}
	if awaitsApp(object) {
		result.RequeueAfter = stalledAfter
	}
	if equality.Semantic.DeepEqual(before, statusOf(object)) || r.awaitsReplicas(object, conditions) {
		return result, nil
	}
	err = r.patch(ctx, object)
	switch {
	case err == nil:
		r.announce(object, conditions)
		return result, nil
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil
	case apierrors.IsConflict(err):
		// The cache is stale, but not for long.
		return reconcile.Result{RequeueAfter: firstStatusRetry}, nil
	case context.Cause(ctx) == term.ErrEnded: //nolint:errorlint // the cause is never wrapped
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, fmt.Errorf("patch the status: %w", err)
}

// statusPatch is a JSON merge patch. The version is that of the object that the verdict was compared with; the status
// may be wrong for any other version.
type statusPatch struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion,omitempty"`
	} `json:"metadata"`
	Status any `json:"status"`
}

// patch writes the status of object. No spec is sent, and the answer is requested as metadata: otherwise every
// condition would cost the decoding of up to 20,000 accounts.
func (r *StatusReconciler) patch(ctx context.Context, object client.Object) error {
	patch := statusPatch{Status: statusOf(object)}
	// While the watch of the leader fails its version is perhaps an old one, and the status must say so all the same.
	if !r.cannotRead(object) {
		patch.Metadata.ResourceVersion = object.GetResourceVersion()
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	kind, err := r.Client.GroupVersionKindFor(object)
	if err != nil {
		return fmt.Errorf("find the kind of %T: %w", object, err)
	}
	target := &metav1.PartialObjectMetadata{
		ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName()},
	}
	target.SetGroupVersionKind(kind)
	return r.Client.Status().Patch(ctx, target, client.RawPatch(types.MergePatchType, body))
}

// update sets the status of object to the snapshot's verdict; false if the verdict is not about this version of the
// object. The slice of previous conditions is not modified.
func (r *StatusReconciler) update(snapshot *policy.Snapshot, object client.Object) bool {
	namespace, name := object.GetNamespace(), object.GetName()
	uid, generation := string(object.GetUID()), object.GetGeneration()
	switch o := object.(type) {
	case *v1alpha1.IMApp:
		v, ok := snapshot.AppVerdict(namespace, name, uid)
		if !ok || v.Generation != generation {
			return false
		}
		conditions := r.withReachability(convert.AppConditions(v, o), o)
		conditions = r.withProgrammed(r.withCallbacks(conditions, o), o)
		o.Status.ObservedGeneration = generation
		o.Status.Conditions = r.mergeConditions(o.Status.Conditions, conditions)
	case *v1alpha1.AccountList:
		v, ok := snapshot.ListVerdict(namespace, name, uid)
		if !ok || v.Generation != generation {
			return false
		}
		o.Status.ObservedGeneration = generation
		o.Status.Accounts = int32(v.Accounts) //nolint:gosec // the schema bounds a list to 20,000
		o.Status.Conditions = r.mergeConditions(o.Status.Conditions, r.withProgrammed(convert.ListConditions(v, o), o))
	case *v1alpha1.GroupPolicy:
		v, ok := snapshot.PolicyVerdict(namespace, name, uid)
		if !ok || v.Generation != generation {
			return false
		}
		conditions := r.withProgrammed(r.withoutEarlyStalled(convert.PolicyConditions(v, o), o), o)
		o.Status.ObservedGeneration = generation
		o.Status.Gate, o.Status.Groups = convert.PolicyGate(o), convert.PolicyGroups(o)
		o.Status.Conditions = r.mergeConditions(o.Status.Conditions, conditions)
	default:
		return false
	}
	return true
}

// withReachability adds VendorReachable. While its reason stays the same, so does the whole condition: its message is
// about one answer of many, and must not cause a write for each.
func (r *StatusReconciler) withReachability(conditions []metav1.Condition, app *v1alpha1.IMApp) []metav1.Condition {
	before := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionVendorReachable)
	if r.Reachability != nil {
		reason, message, ok := r.Reachability.Reachability(string(app.UID))
		if ok && (before == nil || before.Reason != reason) {
			return append(conditions, convert.VendorCondition(reason, message, app.Generation))
		}
	}
	if before != nil {
		return append(conditions, *before)
	}
	return conditions
}

// withoutEarlyStalled drops Stalled while the policy has waited for its IMApp for less than stalledAfter.
func (r *StatusReconciler) withoutEarlyStalled(
	conditions []metav1.Condition, p *v1alpha1.GroupPolicy,
) []metav1.Condition {
	stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonTargetNotFound {
		return conditions
	}
	before := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionAccepted)
	if before == nil || before.Status != metav1.ConditionFalse ||
		r.Now().Sub(before.LastTransitionTime.Time) < stalledAfter {
		meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionStalled)
	}
	return conditions
}

// awaitsApp reports whether object will be Stalled, unless its IMApp appears.
func awaitsApp(object client.Object) bool {
	accepted := meta.FindStatusCondition(conditionsOf(object), v1alpha1.ConditionAccepted)
	return accepted != nil && accepted.Reason == v1alpha1.ReasonTargetNotFound &&
		!meta.IsStatusConditionTrue(conditionsOf(object), v1alpha1.ConditionStalled)
}

// mergeConditions returns the conditions after an update: the new ones in their order, each with the time since when it
// has had its status, and then the previous ones of types that other components write.
func (r *StatusReconciler) mergeConditions(before, after []metav1.Condition) []metav1.Condition {
	merged := make([]metav1.Condition, 0, len(before)+len(after))
	for _, condition := range after {
		merged = append(merged, r.dated(before, condition))
	}
	for _, condition := range before {
		if !isOurs(condition.Type) {
			merged = append(merged, condition)
		}
	}
	return merged
}

// dated returns a new condition with the time since when it has had its status.
func (r *StatusReconciler) dated(before []metav1.Condition, condition metav1.Condition) metav1.Condition {
	condition.LastTransitionTime = metav1.NewTime(r.Now()).Rfc3339Copy()
	if last := meta.FindStatusCondition(before, condition.Type); last != nil && last.Status == condition.Status {
		condition.LastTransitionTime = last.LastTransitionTime
	}
	return condition
}

func isOurs(conditionType string) bool {
	switch conditionType {
	case v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionReady,
		v1alpha1.ConditionStalled, v1alpha1.ConditionWarning, v1alpha1.ConditionPruneOverridden,
		v1alpha1.ConditionVendorReachable, v1alpha1.ConditionCallbacksVerified, v1alpha1.ConditionProgrammed,
		v1alpha1.ConditionRoundBehind:
		return true
	}
	return false
}

// announce makes an event of what changed in Accepted, Ready and Warning. A Ready that repeats the reason of Accepted
// gets no event of its own.
func (r *StatusReconciler) announce(object client.Object, before []metav1.Condition) {
	announced := ""
	for _, conditionType := range []string{
		v1alpha1.ConditionAccepted, v1alpha1.ConditionReady, v1alpha1.ConditionWarning,
	} {
		is := meta.FindStatusCondition(conditionsOf(object), conditionType)
		was := meta.FindStatusCondition(before, conditionType)
		if is == nil || is.Reason == announced || (was != nil && was.Status == is.Status && was.Reason == is.Reason) {
			continue
		}
		announced = is.Reason
		eventType := corev1.EventTypeNormal
		if is.Status != metav1.ConditionTrue || conditionType == v1alpha1.ConditionWarning {
			eventType = corev1.EventTypeWarning
		}
		r.Events.Eventf(object, nil, eventType, is.Reason, "Publish", "%s",
			prunerun.Clip(is.Message, prunerun.MaxEventNote))
	}
}

// statusOf returns the status of object as it is now, less what others write.
func statusOf(object client.Object) any {
	switch o := object.(type) {
	case *v1alpha1.IMApp:
		status := o.Status
		status.Round = nil // Rounds writes it
		return status
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
