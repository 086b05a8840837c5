package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

const (
	// defaultCooldown is that of a group which no rule governs any more, and of a run that failed before it saw the group.
	defaultCooldown = 10 * time.Minute
	// notFullDelay is how long after a run that ended NotFull the next one may be created: a stale or forged
	// callback must not keep the vendor busy, and must not hold a real one up for long either.
	notFullDelay = time.Minute
	// maxCollisions bounds how often the creator of a run gives way to others before it starts again from what it sees then.
	maxCollisions = 8

	// groupIndex finds the runs of one group in the cache; see IndexPruneRuns.
	groupIndex = "appAndGroup"
)

// groupKey names one group of one app.
type groupKey struct{ namespace, app, group string }

func groupOf(run *v1alpha1.PruneRun) groupKey {
	return groupKey{namespace: run.Namespace, app: run.Spec.AppRef.Name, group: run.Spec.GroupID}
}

// index is the value of groupIndex. App names hold no slash, so that no two groups share one.
func (k groupKey) index() string { return k.app + "/" + k.group }

// hash is the part of a run's name that stands for the group: ids of groups fit neither names nor labels.
func (k groupKey) hash() string {
	sum := sha256.Sum256([]byte(k.group))
	return hex.EncodeToString(sum[:8])
}

func (k groupKey) runName(number uint64) string {
	return k.app + "-" + k.hash() + "-" + strconv.FormatUint(number, 10)
}

// nextNumber is one more than the highest number among the names of runs. Names that somebody chose freely do not count.
func (k groupKey) nextNumber(runs []v1alpha1.PruneRun) uint64 {
	highest, prefix := uint64(0), k.app+"-"+k.hash()+"-"
	for i := range runs {
		text, ok := strings.CutPrefix(runs[i].Name, prefix)
		if !ok {
			continue
		}
		// 32 bits: a name made by hand must not bring the count to its end.
		if number, err := strconv.ParseUint(text, 10, 32); err == nil {
			highest = max(highest, number)
		}
	}
	return highest + 1
}

// IndexPruneRuns makes the runs of one group findable in the cache. It is called once, before the manager starts.
func IndexPruneRuns(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.PruneRun{}, groupIndex, func(object client.Object) []string {
		run, ok := object.(*v1alpha1.PruneRun)
		if !ok {
			return nil
		}
		return []string{groupOf(run).index()}
	})
	if err != nil {
		return fmt.Errorf("index prune runs by group: %w", err)
	}
	return nil
}

// cachedRuns returns the runs of a group as the cache has them.
func cachedRuns(ctx context.Context, reader client.Reader, key groupKey) ([]v1alpha1.PruneRun, error) {
	var list v1alpha1.PruneRunList
	err := reader.List(ctx, &list, client.InNamespace(key.namespace), client.MatchingFields{groupIndex: key.index()})
	if err != nil {
		return nil, fmt.Errorf("list the prune runs of the group: %w", err)
	}
	return list.Items, nil
}

// liveRuns returns the runs of a group as the API server has them now. live is a reader without a cache.
func liveRuns(ctx context.Context, live client.Reader, key groupKey) ([]v1alpha1.PruneRun, error) {
	var list v1alpha1.PruneRunList
	err := live.List(ctx, &list, client.InNamespace(key.namespace),
		client.MatchingFields{"spec.appRef.name": key.app, "spec.groupID": key.group})
	if err != nil {
		return nil, fmt.Errorf("list the prune runs of the group live: %w", err)
	}
	return list.Items, nil
}

// Finished says whether the run has come to its end: Complete or Failed is True.
func Finished(run *v1alpha1.PruneRun) bool {
	_, finished := completion(run)
	return finished
}

// unfinished says whether there is something left to do for the run. One that is being deleted does nothing more, however long that takes.
func unfinished(run *v1alpha1.PruneRun) bool { return !Finished(run) && run.DeletionTimestamp.IsZero() }

// FoundFull says whether the run read the group and found no seat free.
func FoundFull(run *v1alpha1.PruneRun) bool {
	group := run.Status.Group
	return group != nil && group.MaxMembers > 0 && group.Members >= group.MaxMembers
}

// completion returns the condition that ended the run.
func completion(run *v1alpha1.PruneRun) (metav1.Condition, bool) {
	for _, conditionType := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
		condition := apimeta.FindStatusCondition(run.Status.Conditions, conditionType)
		if condition != nil && condition.Status == metav1.ConditionTrue {
			return *condition, true
		}
	}
	return metav1.Condition{}, false
}

// planned says whether the run has a recorded plan, and so may have removed somebody.
func planned(run *v1alpha1.PruneRun) bool { return run.Status.Plan != nil }

// holdOff is what the finished runs of a group ask of the next one. Times that lie behind ask nothing.
type holdOff struct {
	// cooling is the end of the cooldown. A callback before it is answered by the run that caused it.
	cooling time.Time
	// undoing says that accounts are being added back, or are about to be.
	undoing bool
	// notFull is when a callback that followed a run which ended NotFull may have its run.
	notFull time.Time
}

// holdOffAfter derives the hold-off from the finished among runs. cooldown returns that of the rule which governs the group now, given
// the type that a run recorded ("" if it never saw the group).
//
// The cooldown runs from the completion of the last run that found the group full, so that a rule that frees few seats is not
// carried out at the rate of callbacks, and from that of every failed one, so that neither is a wrong key tried. A run that ended
// CoolingDown counts for nothing: it would prolong what it only obeyed; nor does one that Expired, whose plan was older than any cooldown need be.
func holdOffAfter(runs []v1alpha1.PruneRun, cooldown func(v1alpha1.GroupType) time.Duration) holdOff {
	var p holdOff
	for i := range runs {
		run := &runs[i]
		end, finished := completion(run)
		if !finished || end.Reason == v1alpha1.ReasonCoolingDown || end.Reason == v1alpha1.ReasonExpired {
			continue
		}
		at := end.LastTransitionTime.Time
		switch {
		case end.Type == v1alpha1.ConditionFailed || FoundFull(run):
			p.cooling = later(p.cooling, at.Add(cooldown(recordedType(run))))
		case end.Reason == v1alpha1.ReasonNotFull:
			p.notFull = later(p.notFull, at.Add(notFullDelay))
		}
	}
	p.afterUndos(runs, cooldown)
	return p
}

// recordedType is the type of the group as the run saw it, "" if it never did.
func recordedType(run *v1alpha1.PruneRun) v1alpha1.GroupType {
	if run.Status.Group == nil {
		return ""
	}
	return run.Status.Group.Type
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cooldownNow returns the cooldown of the rule that governs the group now. app may be nil.
func cooldownNow(app *policy.CompiledApp, group string) func(v1alpha1.GroupType) time.Duration {
	return func(groupType v1alpha1.GroupType) time.Duration {
		if app == nil {
			return defaultCooldown
		}
		governing, ok := app.GoverningRule(group, policy.ParseGroupType(string(groupType)))
		if !ok || governing.Invalid != "" {
			return defaultCooldown
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
func (c *runCreator) ensure(ctx context.Context, key groupKey, trigger v1alpha1.PruneTrigger, app *policy.CompiledApp) (creation, error) {
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
				Namespace: key.namespace,
				Name:      key.runName(key.nextNumber(runs)),
				Labels:    map[string]string{v1alpha1.LabelApp: key.app, v1alpha1.LabelGroupHash: key.hash()},
			},
			Spec: v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: key.app}, GroupID: key.group, Trigger: trigger},
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
func (c *runCreator) waits(key groupKey, runs []v1alpha1.PruneRun, app *policy.CompiledApp) (creation, bool) {
	// A name that belongs to another group (made by hand) is only taken, nothing else.
	runs = slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool { return groupOf(&run) != key })
	for i := range runs {
		switch {
		case !unfinished(&runs[i]):
		case planned(&runs[i]):
			return creation{outcome: runPlanned}, true
		default:
			return creation{outcome: runPending}, true
		}
	}
	now, p := c.Now(), holdOffAfter(runs, cooldownNow(app, key.group))
	switch {
	case p.undoing:
		return creation{outcome: runCooling}, true
	case p.notFull.After(now):
		return creation{outcome: runNotYet, until: p.notFull}, true
	case p.cooling.After(now):
		return creation{outcome: runCooling, until: p.cooling}, true
	}
	return creation{}, false
}
