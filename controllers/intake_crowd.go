package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/pruning"
)

const (
	// crowdFrom is how many groups of an app may be pending before the vendor is asked about them.
	crowdFrom = 20
	// askingShare is the part of the rate of an app that asking may take on a replica: one call in 10.
	askingShare = 10
	askAgain    = 5 * time.Second
)

// pendingGroup is a group of which a callback was taken in.
type pendingGroup struct {
	arrived   time.Time // when the latest callback came
	repeated  bool      // it was not the first one
	confirmed bool      // by the vendor: the group is full
	place     int       // in crowd.once, or nowhere
}

const nowhere = -1

// crowd are the pending groups of one app. When they are many, their callbacks may be forged, and must not become a run
// each: the vendor is asked about 50 of them a call, and only full groups go on. Groups that were reported again go
// first, since a full group is reported with every join that fails; the others in random order, so that the place in a
// flood decides nothing.
type crowd struct {
	pending        int
	once, repeated []prunerun.Key // about which the vendor is to be asked
	asked          []prunerun.Key // about which it is being asked
	asking         bool
}

// add adds a group about which the vendor is to be asked.
func (c *crowd) add(key prunerun.Key, group *pendingGroup) {
	if group.repeated {
		c.repeated = append(c.repeated, key)
		return
	}
	group.place = len(c.once)
	c.once = append(c.once, key)
}

// leaveOnce takes the group at a place out of those that were reported once.
func (i *Intake) leaveOnce(c *crowd, place int) prunerun.Key {
	key, last := c.once[place], len(c.once)-1
	c.once[place] = c.once[last]
	i.pending[c.once[place]].place = place
	c.once = c.once[:last]
	i.pending[key].place = nowhere
	return key
}

// again notes that a pending group was reported again.
func (i *Intake) again(key prunerun.Key, group *pendingGroup) {
	if group.repeated {
		return
	}
	group.repeated = true
	if crowd := i.crowds[key.AppName()]; group.place != nowhere {
		i.leaveOnce(crowd, group.place)
		crowd.add(key, group)
	}
}

// makeWay drops a group that was reported once, of the app that has most of these, for another one.
func (i *Intake) makeWay() bool {
	var largest *crowd
	for _, crowd := range i.crowds {
		if largest == nil || len(crowd.once) > len(largest.once) {
			largest = crowd
		}
	}
	if largest == nil || len(largest.once) == 0 {
		return false
	}
	i.drop(i.leaveOnce(largest, randomPlace(len(largest.once))))
	return true
}

func randomPlace(n int) int { return rand.IntN(n) } //nolint:gosec // G404: guessing it needs more than a flood

func (i *Intake) crowdOf(app types.NamespacedName) *crowd {
	if i.crowds[app] == nil {
		i.crowds[app] = &crowd{}
	}
	return i.crowds[app]
}

// drop forgets a pending group.
func (i *Intake) drop(key prunerun.Key) {
	delete(i.pending, key)
	app := key.AppName()
	crowd := i.crowds[app]
	if crowd.pending--; crowd.pending == 0 && !crowd.asking {
		delete(i.crowds, app)
	}
	i.Metrics.setPending(len(i.pending))
}

// asksFirst reports whether the vendor is asked about the group, which then stays pending until there is an answer. A
// group that the vendor has described to an earlier run exists, and is not asked about.
func (i *Intake) asksFirst(ctx context.Context, key prunerun.Key) (bool, error) {
	mustAsk := func() (*crowd, *pendingGroup) {
		group, crowd := i.pending[key], i.crowds[key.AppName()]
		if i.Clients == nil || group == nil || group.confirmed || crowd.pending <= crowdFrom {
			return nil, nil
		}
		return crowd, group
	}
	i.mu.Lock()
	crowd, _ := mustAsk()
	i.mu.Unlock()
	if crowd == nil {
		return false, nil
	}
	runs, err := cachedRuns(ctx, i.Client, key)
	if err != nil || slices.ContainsFunc(runs, func(run v1alpha1.PruneRun) bool { return run.Status.Group != nil }) {
		return false, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	crowd, group := mustAsk()
	if crowd == nil {
		return false, nil
	}
	crowd.add(key, group)
	if !crowd.asking {
		crowd.asking = true
		i.askers.Go(func() { // ends with ctx, or once no group is to be asked about
			i.Guard.Repeat(ctx, guard.Intake, func() { i.ask(ctx, key.AppName()) })
		})
	}
	return true, nil
}

// ask asks the vendor about groups of an app until none is left.
func (i *Intake) ask(ctx context.Context, app types.NamespacedName) {
	for {
		batch := i.nextToAsk(app)
		if len(batch) == 0 || !elapses(ctx, i.askAbout(ctx, app, batch)) {
			return
		}
	}
}

// nextToAsk returns about which groups to ask. They wait in crowd.asked for an answer.
func (i *Intake) nextToAsk(app types.NamespacedName) []prunerun.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	crowd := i.crowds[app]
	if crowd == nil {
		return nil
	}
	for _, key := range crowd.asked { // in vain: there was a panic
		crowd.add(key, i.pending[key])
	}
	n := min(len(crowd.repeated), imrest.MaxGroupsPerCall)
	batch := slices.Clone(crowd.repeated[:n])
	crowd.repeated = slices.Delete(crowd.repeated, 0, n)
	for len(batch) < imrest.MaxGroupsPerCall && len(crowd.once) > 0 {
		batch = append(batch, i.leaveOnce(crowd, randomPlace(len(crowd.once))))
	}
	crowd.asked = batch
	if crowd.asking = len(batch) > 0; crowd.pending == 0 {
		delete(i.crowds, app)
	}
	return batch
}

// askAbout asks about some groups, and returns when to ask about others.
func (i *Intake) askAbout(ctx context.Context, app types.NamespacedName, batch []prunerun.Key) time.Duration {
	if now := i.Snapshots.Load().AppNamed(app.Namespace, app.Name); now == nil || now.PruningSuspended() {
		i.answer(app, func(prunerun.Key) answer { return answerNeedless })
		return 0
	}
	var object v1alpha1.IMApp
	err := i.Client.Get(ctx, app, &object)
	if err != nil {
		i.answer(app, func(prunerun.Key) answer { return answerLater })
		return askAgain
	}
	rest, err := i.Clients.Client(ctx, &object)
	if _, missing := errors.AsType[*imclients.CredentialsError](err); missing {
		i.answer(app, func(prunerun.Key) answer { return answerFull }) // runs say what is missing
		return 0
	}
	asked, groups, failures := i.Now(), map[string]imrest.Group(nil), map[string]error(nil)
	if err == nil {
		ids := make([]string, len(batch))
		for n, key := range batch {
			ids[n] = key.Group
		}
		groups, failures, err = rest.Groups(ctx, ids)
		i.Clients.Notice(object.UID)
	}
	compiled := i.Snapshots.Load().AppNamed(app.Namespace, app.Name)
	if err != nil || compiled == nil {
		i.Log.V(1).Info("The vendor could not be asked about full groups", "error", fmt.Sprint(err))
		i.answer(app, func(prunerun.Key) answer { return answerLater })
		return askAgain
	}
	i.answer(app, func(key prunerun.Key) answer {
		group, described := groups[key.Group]
		switch {
		case described && prunable(compiled, group):
			return answerFull
		case i.pending[key].arrived.After(asked):
			return answerLater
		case described, imrest.ClassOf(failures[key.Group]) != imrest.ClassTransient:
			return answerNotFull
		}
		return answerLater
	})
	return askingShare * time.Second / time.Duration(cmp.Or(object.Spec.REST.RequestsPerSecond, 20))
}

// prunable reports whether a group, as the vendor describes it, is full, and a rule prunes groups of its type.
func prunable(app *policy.CompiledApp, group imrest.Group) bool {
	state := pruning.GroupState(group)
	_, governed := app.GoverningRule(group.ID, state.Type)
	return governed && state.Full() && state.Type != policy.TypeAVChatRoom
}

type answer uint8

const (
	answerFull answer = iota + 1
	answerNotFull
	// answerLater: there was none, or a newer callback has come.
	answerLater
	// answerNeedless: the app has been deleted or suspended, so that its groups get no run.
	answerNeedless
)

// answer acts on what is known of the groups in crowd.asked.
func (i *Intake) answer(app types.NamespacedName, known func(prunerun.Key) answer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	crowd := i.crowds[app]
	for len(crowd.asked) > 0 {
		key := crowd.asked[0]
		group, what := i.pending[key], known(key)
		crowd.asked = crowd.asked[1:]
		switch what {
		case answerFull:
			group.confirmed = true
			i.queue.Add(key)
		case answerNotFull:
			i.drop(key)
			i.Metrics.count(intakeRefuted)
		case answerLater:
			crowd.add(key, group)
		case answerNeedless:
			i.queue.Add(key) // and is dropped for what the snapshot says
		}
	}
}
