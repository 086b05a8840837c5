package controllers

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// keep deletes the finished runs of a group that need not be kept any longer, and says when to look at this one again.
func (r *PruneRunReconciler) keep(ctx context.Context, run *v1alpha1.PruneRun) (reconcile.Result, error) {
	left := prunerun.KeepUntil(run, r.TTL, r.cooldown(run)).Sub(r.Now())
	if left <= 0 {
		return reconcile.Result{}, r.discard(ctx, run)
	}
	if prunerun.RemovedMembers(run) {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	runs, err := cachedRuns(ctx, r.Client, prunerun.KeyOf(run))
	if err != nil {
		return reconcile.Result{}, err
	}
	for _, surplus := range prunerun.Surplus(runs) {
		if err := r.discard(ctx, &surplus); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{RequeueAfter: left}, nil
}

// cooldown is that of the group as it is governed now, nil before the first snapshot.
func (r *PruneRunReconciler) cooldown(run *v1alpha1.PruneRun) prunerun.Cooldown {
	snapshot := r.Snapshots.Load()
	if snapshot == nil {
		return nil
	}
	return cooldownNow(snapshot.AppNamed(run.Namespace, run.Spec.AppRef.Name), run.Spec.GroupID)
}

// discard deletes this very run, as it was read: not another one that has its name by now, and not one whose undo was requested meanwhile.
func (r *PruneRunReconciler) discard(ctx context.Context, run *v1alpha1.PruneRun) error {
	err := r.Client.Delete(ctx, run, client.Preconditions{UID: &run.UID, ResourceVersion: &run.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete a prune run that need not be kept: %w", err)
	}
	if err == nil {
		log.FromContext(ctx).V(1).Info("prune run deleted", "name", run.Name, "groupID", run.Spec.GroupID)
	}
	return nil
}
