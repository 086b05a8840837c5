package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
)

// behindRecheck is how often RoundBehind of a policy is judged again while it is True.
const behindRecheck = time.Minute

// withRoundBehind adds RoundBehind to the new conditions of a policy with join.evict, if its groups were not all looked
// at within its interval. It returns when to judge again; 0 if there is nothing to judge.
func (r *StatusReconciler) withRoundBehind(
	ctx context.Context, object client.Object, before []metav1.Condition,
) (time.Duration, error) {
	p, ok := object.(*v1alpha1.GroupPolicy)
	if !ok || p.Spec.Join == nil || p.Spec.Join.Evict == nil ||
		!meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionAccepted) {
		return 0, nil
	}
	interval, err := convert.ParseDuration(p.Spec.Join.Evict.Interval)
	if err != nil {
		return 0, nil //nolint:nilerr // the policy is invalid, and its status says so
	}
	var app v1alpha1.IMApp
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.Spec.AppRef.Name}, &app)
	if err != nil || app.Status.Round == nil {
		return 0, client.IgnoreNotFound(err)
	}
	if left := roundDeadline(app.Status.Round, interval).Sub(r.Now()); left > 0 {
		return left, nil
	}
	behind := roundBehind(&app, p.Spec.Join.Evict.Interval)
	behind.ObservedGeneration = p.Generation
	p.Status.Conditions = append(p.Status.Conditions, r.dated(before, behind))
	return behindRecheck, nil
}

// roundDeadline is when groups with this interval are not looked at often enough, unless a round is finished until
// then. A round must begin within the interval after the last one, and take no longer than that; a tenth more of each,
// or 10 minutes, are no failure.
func roundDeadline(round *v1alpha1.EvictRound, interval time.Duration) time.Time {
	allowed := interval + max(interval/10, 10*time.Minute)
	ends := round.StartedAt.Add(allowed)
	if round.LastFinishedStart.IsZero() {
		return ends
	}
	begins := round.LastFinishedStart.Add(allowed)
	if round.FinishedAt.IsZero() && !round.StartedAt.After(begins) && ends.After(begins) {
		return ends
	}
	return begins
}

// roundBehind is the condition, without times and generation. Its message changes with the rounds, and not with the
// clock.
func roundBehind(app *v1alpha1.IMApp, interval string) metav1.Condition {
	behind := metav1.Condition{
		Type: v1alpha1.ConditionRoundBehind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRateTooLow,
	}
	remedy := fmt.Sprintf("Raise rest.requestsPerSecond of IMApp %s, of which rounds take a quarter, or "+
		"join.evict.interval.", app.Name)
	vendor := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionVendorReachable)
	refs := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	switch {
	case app.Spec.Pruning == v1alpha1.PruningSuspended:
		behind.Reason = v1alpha1.ReasonSuspended
		remedy = fmt.Sprintf("Pruning of IMApp %s is Suspended, which stops rounds as well: set pruning to Enabled.",
			app.Name)
	case refs != nil && refs.Status == metav1.ConditionFalse:
		behind.Reason = refs.Reason
		remedy = fmt.Sprintf("The members of groups cannot be listed: see ResolvedRefs of IMApp %s.", app.Name)
	case vendor != nil && vendor.Status == metav1.ConditionFalse:
		behind.Reason = vendor.Reason
		remedy = fmt.Sprintf("The members of groups cannot be listed: see VendorReachable of IMApp %s.", app.Name)
	}
	round := app.Status.Round
	last := fmt.Sprintf("no round through the groups of IMApp %s is complete; the present one began at %s", app.Name,
		round.StartedAt.UTC().Format(time.RFC3339))
	if !round.LastFinishedStart.IsZero() {
		last = fmt.Sprintf("the last complete round through the groups of IMApp %s began at %s and took %s", app.Name,
			round.LastFinishedStart.UTC().Format(time.RFC3339), time.Duration(round.LastTookSeconds)*time.Second)
	}
	behind.Message = fmt.Sprintf("The members of some groups were not looked at within the interval of %s: %s. %s",
		cmp.Or(interval, "24h"), last, remedy)
	return behind
}
