package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// maxCollisions bounds how many taken names the creator of a run passes over before it gives up and is called again.
	maxCollisions = 8

	// groupIndex finds the runs of one group in the cache; see IndexPruneRuns.
	groupIndex = "appAndGroup"
)

// IndexPruneRuns makes the runs of one group findable in the cache. It is called once, before the manager starts.
func IndexPruneRuns(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.PruneRun{}, groupIndex, func(object client.Object) []string {
		run, ok := object.(*v1alpha1.PruneRun)
		if !ok {
			return nil
		}
		return []string{prunerun.KeyOf(run).AppAndGroup()}
	})
	if err != nil {
		return fmt.Errorf("index prune runs by group: %w", err)
	}
	return nil
}

// cachedRuns returns the runs of a group as the cache has them.
func cachedRuns(ctx context.Context, reader client.Reader, key prunerun.Key) ([]v1alpha1.PruneRun, error) {
	var list v1alpha1.PruneRunList
	err := reader.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingFields{groupIndex: key.AppAndGroup()})
	if err != nil {
		return nil, fmt.Errorf("list the prune runs of the group: %w", err)
	}
	return list.Items, nil
}

// liveRuns returns the runs of a group as the API server has them now. live is a reader without a cache.
func liveRuns(ctx context.Context, live client.Reader, key prunerun.Key) ([]v1alpha1.PruneRun, error) {
	var list v1alpha1.PruneRunList
	err := live.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingFields{"spec.appRef.name": key.App, "spec.groupID": key.Group})
	if err != nil {
		return nil, fmt.Errorf("list the prune runs of the group live: %w", err)
	}
	return list.Items, nil
}

// cooldownNow returns the cooldown of the rule that governs the group now. app may be nil.
func cooldownNow(app *policy.CompiledApp, group string) prunerun.Cooldown {
	return func(groupType v1alpha1.GroupType) time.Duration {
		if app == nil {
			return prunerun.DefaultCooldown
		}
		governing, ok := app.GoverningRule(group, policy.ParseGroupType(string(groupType)))
		if !ok || governing.Invalid != "" {
			return prunerun.DefaultCooldown
		}
		return governing.Rule.Cooldown
	}
}

// creation is what became of the wish for a run.
type creation struct {
	outcome creationOutcome
	// until is when to try again if the outcome is runNotYet.
	until time.Time
}

type creationOutcome uint8

const (
	runCreated creationOutcome = iota + 1
	// runPlanned: an unfinished run has found the group full, so the wish is fulfilled.
	runPlanned
	// runPending: an unfinished run has yet to look at the group, or is looking now.
	runPending
	// runCooling: the group cools down, or gets members back, and the wish lapses.
	runCooling
	// runNotYet: the last run found the group not full; the wish stays.
	runNotYet
)

// runCreator makes runs for the intake and the sweeper.
type runCreator struct {
	// Client reads runs from the cache and creates them; Live reads them from the API server.
	Client client.Client
	Live   client.Reader
	Now    func() time.Time
}

// ensure creates a run for the group unless one is unfinished or the group pauses. Creators that see the same thing on different
// replicas collide on purpose: the name holds neither a clock nor a policy, so that all but one find the run made already.
// What the cache did not show yet is learnt from the collision.
func (c *runCreator) ensure(ctx context.Context, key prunerun.Key, trigger v1alpha1.PruneTrigger, app *policy.CompiledApp) (creation, error) {
	runs, err := cachedRuns(ctx, c.Client, key)
	if err != nil {
		return creation{}, err
	}
	for range maxCollisions {
		if have, wait := c.waits(key, runs, app); wait {
			return have, nil
		}
		run := &v1alpha1.PruneRun{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: key.Namespace,
				Name:      key.Name(key.NextNumber(runs)),
				Labels:    map[string]string{v1alpha1.LabelApp: key.App, v1alpha1.LabelGroupHash: key.GroupHash()},
			},
			Spec: v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: key.App}, GroupID: key.Group, Trigger: trigger},
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

// waits says whether no run is to be created now, given runs, and why.
func (c *runCreator) waits(key prunerun.Key, runs []v1alpha1.PruneRun, app *policy.CompiledApp) (creation, bool) {
	// A name that belongs to another group (made by hand) is only taken, nothing else.
	runs = slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool { return prunerun.KeyOf(&run) != key })
	for i := range runs {
		switch {
		case !prunerun.Active(&runs[i]):
		case prunerun.HasPlan(&runs[i]):
			return creation{outcome: runPlanned}, true
		default:
			return creation{outcome: runPending}, true
		}
	}
	now, p := c.Now(), prunerun.HoldOffAfter(runs, cooldownNow(app, key.Group))
	switch {
	case p.Undoing:
		return creation{outcome: runCooling}, true
	case p.NotFullUntil.After(now):
		return creation{outcome: runNotYet, until: p.NotFullUntil}, true
	case p.CoolingUntil.After(now):
		return creation{outcome: runCooling, until: p.CoolingUntil}, true
	}
	return creation{}, false
}
