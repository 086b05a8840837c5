package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// withCallbacks adds CallbacksVerified to the new conditions of an app. While its reason stays the same, so does its
// message: it must not cause a write for each callback.
func (r *StatusReconciler) withCallbacks(conditions []metav1.Condition, app *v1alpha1.IMApp) []metav1.Condition {
	if accepted := meta.FindStatusCondition(conditions, v1alpha1.ConditionAccepted); r.Replica == nil ||
		accepted == nil || accepted.Status != metav1.ConditionTrue {
		return conditions // the callbacks are those of another app
	}
	before := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionCallbacksVerified)
	now := convert.CallbacksVerified(app, r.callbacks(app, before))
	if before != nil && before.Reason == now.Reason {
		now.Message = before.Message
	}
	return append(conditions, now)
}

// callbacks returns what the replicas have seen of the callbacks of an app. What they saw before they started is in the
// previous condition.
func (r *StatusReconciler) callbacks(app *v1alpha1.IMApp, before *metav1.Condition) callbackhealth.Seen {
	seen := r.Replica.Health.Seen(healthID(policy.Object{
		Namespace: app.Namespace, Name: app.Name, UID: string(app.UID),
	})).Join(r.Replica.Members.Callbacks(app.UID))
	if before == nil || !seen.Right.IsZero() {
		return seen
	}
	switch nothing := seen.Verdict() == callbackhealth.NeverSeen; {
	case before.Reason == v1alpha1.ReasonVerified:
		seen.Right = r.Began
	case nothing && before.Reason == v1alpha1.ReasonWrongToken:
		seen.Wrong = r.Began
	case nothing && before.Reason == v1alpha1.ReasonClockSkew:
		seen.Skewed = r.Began
	}
	return seen
}

// callbacksTurned names the apps whose CallbacksVerified is not what it should be.
func (r *StatusReconciler) callbacksTurned(ctx context.Context) []reconcile.Request {
	snapshot := r.Snapshots.Load()
	if snapshot == nil || !r.Term.Held() {
		return nil
	}
	var turned []reconcile.Request
	for compiled := range snapshot.Apps() {
		name := types.NamespacedName{Namespace: compiled.Object().Namespace, Name: compiled.Object().Name}
		var app v1alpha1.IMApp
		if err := r.Client.Get(ctx, name, &app, client.UnsafeDisableDeepCopy); err != nil {
			continue // deleted
		}
		before := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionCallbacksVerified)
		if before == nil || before.Reason != convert.CallbacksVerified(&app, r.callbacks(&app, before)).Reason {
			turned = append(turned, reconcile.Request{NamespacedName: name})
		}
	}
	return turned
}
