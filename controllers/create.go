package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/pruning"
)

const (
	// maxCollisions bounds how many names in a row may turn out to be taken before ensure gives up.
	maxCollisions = 8

	// maxWithoutPlan bounds the runs of an app and purpose without a plan, finished ones included: callbacks can be
	// forged, and must not fill etcd. The purposes are counted apart, so that evictions leave room for full groups, and
	// these for evictions. The bound is soft: each worker of an intake may exceed it by what its cache does not show.
	maxWithoutPlan = 200

	// groupIndex finds the runs of one group in the cache, withoutPlanIndex the runs of an app with one purpose that
	// have no plan; see IndexPruneRuns.
	groupIndex       = "appAndGroup"
	withoutPlanIndex = "appWithoutPlan"
)

// IndexPruneRuns makes the runs findable in the cache. It is called once, before the manager starts.
func IndexPruneRuns(ctx context.Context, indexer client.FieldIndexer) error {
	index := func(name string, value func(*v1alpha1.PruneRun) []string) error {
		return indexer.IndexField(ctx, &v1alpha1.PruneRun{}, name, func(object client.Object) []string {
			if run, ok := object.(*v1alpha1.PruneRun); ok {
				return value(run)
			}
			return nil
		})
	}
	err := errors.Join(
		index(groupIndex, func(run *v1alpha1.PruneRun) []string {
			return []string{prunerun.KeyOf(run).AppAndGroup()}
		}),
		index(withoutPlanIndex, func(run *v1alpha1.PruneRun) []string {
			if prunerun.HasPlan(run) {
				return nil
			}
			return []string{appAndPurpose(run.Spec.AppRef.Name, prunerun.PurposeOf(run))}
		}))
	if err != nil {
		return fmt.Errorf("index prune runs: %w", err)
	}
	return nil
}

// appAndPurpose is a value of withoutPlanIndex. Names of apps hold no slash.
func appAndPurpose(app string, purpose v1alpha1.PrunePurpose) string {
	return app + "/" + string(purpose)
}

// cachedRuns returns the runs of a group as the cache has them.
func cachedRuns(ctx context.Context, reader client.Reader, key prunerun.Key) ([]v1alpha1.PruneRun, error) {
	var list v1alpha1.PruneRunList
	err := reader.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingFields{groupIndex: key.AppAndGroup()})
	if err != nil {
		return nil, fmt.Errorf("list the prune runs of the group: %w", err)
	}
	return list.Items, nil
}

// creation is the result of ensure.
type creation struct {
	outcome creationOutcome
	// until is when to try again if the outcome is runNotYet or runCooling; zero if that is not known.
	until time.Time
}

type creationOutcome uint8

const (
	runCreated creationOutcome = iota + 1
	// runPlanned: an unfinished run has read the group and has its plan.
	runPlanned
	// runPending: an unfinished run has yet to read the group, or is reading it now.
	runPending
	// runCooling: the group cools down until then, or gets members back, if until is zero.
	runCooling
	// runNotYet: the last run found the group not full; the group may have its run later.
	runNotYet
	// runNoRoom: too many runs of the app have no plan yet.
	runNoRoom
)

// order is a run that the operator is to make for a group.
type order struct {
	key     prunerun.Key
	purpose v1alpha1.PrunePurpose
	trigger v1alpha1.PruneTrigger
	// accounts are the only members that an eviction is about; none for all.
	accounts []string
}

// freeSeats is the order for a group that may be full.
func freeSeats(key prunerun.Key, trigger v1alpha1.PruneTrigger) order {
	return order{key: key, purpose: v1alpha1.PrunePurposeFreeSeats, trigger: trigger}
}

// runCreator makes the runs of the operator.
type runCreator struct {
	// Client reads runs from the cache and creates them; Live reads them from the API server.
	Client client.Client
	Live   client.Reader
	Now    func() time.Time
}

// ensure creates a run for the group unless one with the purpose is unfinished or the group is held off. Creators on
// several replicas that see the same runs collide on purpose: the name holds neither a clock nor a policy, so that all
// but one find the run made already. A run that the cache does not show yet is learnt from the collision.
func (c *runCreator) ensure(ctx context.Context, o order, app *policy.CompiledApp) (creation, error) {
	key := o.key
	runs, err := cachedRuns(ctx, c.Client, key)
	if err != nil {
		return creation{}, err
	}
	for range maxCollisions {
		if why, heldOff := c.heldOff(o, runs, app); heldOff {
			return why, nil
		}
		if room, err := c.makeRoom(ctx, o); err != nil || !room {
			return creation{outcome: runNoRoom}, err
		}
		run := &v1alpha1.PruneRun{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: key.Namespace,
				Name:      key.NextName(o.purpose, runs),
				Labels:    map[string]string{v1alpha1.LabelApp: key.App, v1alpha1.LabelGroupHash: key.GroupHash()},
			},
			Spec: v1alpha1.PruneRunSpec{
				AppRef: v1alpha1.AppReference{Name: key.App}, GroupID: key.Group,
				Purpose: o.purpose, Trigger: o.trigger, Accounts: o.accounts,
			},
		}
		err := c.Client.Create(ctx, run)
		if err == nil {
			return creation{outcome: runCreated}, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return creation{}, fmt.Errorf("create a prune run: %w", err)
		}
		var existing v1alpha1.PruneRun
		if err := c.Live.Get(ctx, client.ObjectKeyFromObject(run), &existing); err != nil {
			return creation{}, fmt.Errorf("read the prune run that exists already: %w", err)
		}
		runs = append(slices.Clone(runs), existing)
	}
	return creation{}, fmt.Errorf("create a prune run: %d names were taken already", maxCollisions)
}

// makeRoom deletes runs of the app with the purpose that hold nothing, as far as they are in the way of another run. It
// reports whether there is room for one.
func (c *runCreator) makeRoom(ctx context.Context, o order) (bool, error) {
	runs, err := c.withoutPlan(ctx, &o)
	if err != nil {
		return false, err
	}
	surplus, room := prunerun.InTheWay(runs, maxWithoutPlan-1)
	for i := range surplus {
		if err := discard(ctx, c.Client, &surplus[i]); err != nil && !apierrors.IsConflict(err) {
			return false, err
		}
	}
	return room, nil
}

// withoutPlan returns the runs of the app with the purpose that have no plan, which are not to be changed.
func (c *runCreator) withoutPlan(ctx context.Context, o *order) ([]v1alpha1.PruneRun, error) {
	var list v1alpha1.PruneRunList
	err := c.Client.List(ctx, &list, client.InNamespace(o.key.Namespace),
		client.MatchingFields{withoutPlanIndex: appAndPurpose(o.key.App, o.purpose)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list the prune runs of the app that have no plan: %w", err)
	}
	return list.Items, nil
}

// discard deletes the run in the version that was read: neither another run of its name, nor one whose undo was
// requested meanwhile.
func discard(ctx context.Context, writer client.Writer, run *v1alpha1.PruneRun) error {
	identity := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name}}
	err := writer.Delete(ctx, identity, client.Preconditions{UID: &run.UID, ResourceVersion: &run.ResourceVersion})
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("delete a prune run that need not be kept: %w", err)
	case err == nil:
		log.FromContext(ctx).V(1).Info("Prune run deleted", "deleted", run.Name, "group", run.Spec.GroupID)
	}
	return nil
}

// heldOff reports whether the run is not to be created now, given runs, and why.
func (c *runCreator) heldOff(
	o order, runs []v1alpha1.PruneRun, app *policy.CompiledApp,
) (why creation, heldOff bool) {
	// A run of another group that has one of our names was created by hand: the name is taken, and that is all.
	runs = slices.DeleteFunc(slices.Clone(runs),
		func(run v1alpha1.PruneRun) bool { return prunerun.KeyOf(&run) != o.key })
	for i := range runs {
		switch {
		case !prunerun.Active(&runs[i]), prunerun.PurposeOf(&runs[i]) != o.purpose:
		case prunerun.HasPlan(&runs[i]):
			return creation{outcome: runPlanned}, true
		default:
			return creation{outcome: runPending}, true
		}
	}
	now := c.Now()
	holdOff := prunerun.HoldOffAfter(o.purpose, runs, pruning.CooldownOf(app, o.key.Group), now)
	switch {
	case holdOff.Undoing:
		return creation{outcome: runCooling}, true
	case holdOff.NotFullUntil.After(now):
		return creation{outcome: runNotYet, until: holdOff.NotFullUntil}, true
	case holdOff.CoolingUntil.After(now):
		return creation{outcome: runCooling, until: holdOff.CoolingUntil}, true
	}
	return creation{}, false
}
