package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	// keptPerGroup is how many finished runs of a group that removed nobody are kept, for as long as any other: enough to see what happens, and
	// bounded where a group stays full for weeks.
	keptPerGroup = 3
	minTTL       = 24 * time.Hour
)

// keep deletes the finished runs of a group that need not be kept any longer, and says when to look at this one again.
func (r *PruneRunReconciler) keep(ctx context.Context, run *v1alpha1.PruneRun) (reconcile.Result, error) {
	left := r.keptUntil(run).Sub(r.Now())
	if left <= 0 {
		return reconcile.Result{}, r.discard(ctx, run)
	}
	if removedSomebody(run) {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	runs, err := cachedRuns(ctx, r.Client, groupOf(run))
	if err != nil {
		return reconcile.Result{}, err
	}
	for _, surplus := range surplusRuns(runs) {
		if err := r.discard(ctx, &surplus); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{RequeueAfter: left}, nil
}

// keptUntil is the end of a record: of one that refuses accounts not before they may come back, and of one that a cooldown is counted from not
// before that is over.
func (r *PruneRunReconciler) keptUntil(run *v1alpha1.PruneRun) time.Time {
	rested := restedSince(run)
	until := rested.Add(max(r.TTL, minTTL))
	if refuse := run.Status.Refuse; refuse != nil {
		until = later(until, refuse.Until.Time)
	}
	if snapshot := r.Snapshots.Load(); snapshot != nil {
		cooldown := cooldownNow(snapshot.AppNamed(run.Namespace, run.Spec.AppRef.Name), run.Spec.GroupID)
		until = later(until, rested.Add(cooldown(recordedType(run))))
	}
	return until
}

// restedSince is when the run ended, or its undo did, if that was later.
func restedSince(run *v1alpha1.PruneRun) time.Time {
	end, _ := completion(run)
	if undoEnded(run) {
		return later(end.LastTransitionTime.Time, run.Status.Undo.FinishedAt.Time)
	}
	return end.LastTransitionTime.Time
}

// removedSomebody says whether the run is the record of a removal, or of one that may have happened.
func removedSomebody(run *v1alpha1.PruneRun) bool {
	return run.Status.Removed > 0 || progressOf(run).InFlight > 0
}

// surplusRuns are the finished runs of a group that removed nobody, less the last ones.
func surplusRuns(runs []v1alpha1.PruneRun) []v1alpha1.PruneRun {
	runs = slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool {
		return !Finished(&run) || removedSomebody(&run) || wantsUndo(&run)
	})
	slices.SortFunc(runs, func(a, b v1alpha1.PruneRun) int {
		endA, _ := completion(&a)
		endB, _ := completion(&b)
		// Times have whole seconds; of names with numbers of the same group, the longer one has the higher number.
		return cmp.Or(
			endB.LastTransitionTime.Compare(endA.LastTransitionTime.Time),
			b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			cmp.Compare(len(b.Name), len(a.Name)),
			cmp.Compare(b.Name, a.Name),
		)
	})
	return runs[min(len(runs), keptPerGroup):]
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
