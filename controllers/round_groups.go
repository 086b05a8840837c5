package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// groupLife is how long a group counts as it was read: its list is read by its type and its size.
	groupLife = time.Minute
	// maxListFailures is how often the list of a group that can be read as such may fail before the round goes on
	// without it.
	maxListFailures = 5
	// maxSkipped bounds the groups that are remembered since a list was not resolved.
	maxSkipped = 100
)

// failingGroup is a group whose list could not be read, and how often.
type failingGroup struct {
	id    string
	times int
}

// lookAt looks at groups, and moves the position of the round.
func (a *appRound) lookAt(
	ctx context.Context, interval time.Duration, ids []string, reached func(id string) position,
) error {
	for {
		app, err := a.app()
		if err != nil {
			return err
		}
		var batch []string
		if batch, ids, err = a.nextBatch(ctx, app, ids); err != nil || len(batch) == 0 {
			return err
		}
		groups, err := a.groups(ctx, batch)
		switch {
		case err == nil:
		case lasting(err):
			return err
		default:
			a.Log.Info("Groups could not be read, the next round looks at them", "app", a.object.Key(),
				"groups", len(batch), "error", err.Error())
		}
		read := a.Now() // and not before the call, which may wait longer than groupLife for its turn
		for i, id := range batch {
			if a.Now().Sub(read) > groupLife {
				ids = append(batch[i:], ids...)
				break
			}
			changes, err := a.goesOn(ctx, interval)
			if err != nil {
				return err
			}
			if group, readable := groups[id]; readable { // the others are deleted, or not for us
				if err := a.lookAtGroup(ctx, group); err != nil {
					return err
				}
			}
			a.round.Groups++
			a.round.Position = reached(id).String()
			if err := a.saveProgress(ctx, changes); err != nil {
				return err
			}
		}
	}
}

// goesOn returns the changes of the term, or why the round is not to go on.
func (a *appRound) goesOn(ctx context.Context, interval time.Duration) (changeState, error) {
	if ctx.Err() != nil {
		return changeState{}, context.Cause(ctx)
	}
	changes, ok := a.Changes.state(a.object, a.term)
	if ok && a.due(interval, changes) != "" {
		return changeState{}, errRoundDue
	}
	return changes, nil
}

// nextBatch takes the groups of one call from ids, and returns the rest. It skips groups that no rule may govern, and
// those of which an unfinished run looks at all members in this round, or later.
func (a *appRound) nextBatch(
	ctx context.Context, app *policy.CompiledApp, ids []string,
) (batch, rest []string, err error) {
	for i, id := range ids {
		if len(batch) == imrest.MaxGroupsPerCall {
			return batch, ids[i:], nil
		}
		if !app.MayEvict(id) {
			continue
		}
		runs, err := cachedRuns(ctx, a.reader, a.key(id))
		if err != nil {
			return nil, nil, err
		}
		if !looksAtAll(runs, a.round.StartedAt.Time) {
			batch = append(batch, id)
		}
	}
	return batch, nil, nil
}

// looksAtAll reports whether there is an unfinished eviction that is about all members, and that has not read them
// before a time: a plan may wait for a person for a day, and says nothing of those who came in since.
func looksAtAll(runs []v1alpha1.PruneRun, since time.Time) bool {
	for i := range runs {
		run := &runs[i]
		if prunerun.Active(run) && prunerun.Evicts(run) && len(run.Spec.Accounts) == 0 &&
			(run.Status.Plan == nil || run.Status.Plan.CreatedAt.After(since)) {
			return true
		}
	}
	return false
}

// lookAtGroup judges the members of a group. Where a list is not resolved it is not known whom the gates refuse: the
// group is left out, and looked at when that has changed. The error is one after which the round waits.
func (a *appRound) lookAtGroup(ctx context.Context, group imrest.Group) error {
	app, err := a.app()
	if err != nil {
		return err
	}
	rule, governed := evictable(app, group)
	if !governed {
		return nil
	}
	if len(rule.Unresolved) > 0 {
		a.skip(group, rule.Unresolved[0])
		return nil
	}
	found, err := a.all(ctx, group)
	if found {
		a.round.Runs++
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.Is(err, errAppUnusable):
		return err
	case lasting(err) && !a.givesUp(group.ID):
		return fmt.Errorf("look at group %q: %w", group.ID, err)
	}
	a.Log.Info("The members of a group could not be listed, the next round looks at it",
		"app", a.object.Key(), "group", group.ID, "error", err.Error())
	return nil
}

// skip remembers a group that is left out because of a list. Those that policies name exactly are looked at by
// VerdictChanges when the list is there. The next leader does not know the group: it begins a round, since the record
// does not say that all groups were looked at by the present rules.
func (a *appRound) skip(group imrest.Group, unresolved string) {
	if !parsePosition(a.round.Position).listing || len(a.skipped) >= maxSkipped {
		return
	}
	if a.skipped == nil {
		a.skipped = map[string]imrest.Group{}
	}
	a.round.Rules = ""
	a.skipped[unresolved] = group
}

// givesUp reports whether the list of a group has failed too often. That of a vendor that is out of reach does not:
// then the group itself cannot be read.
func (a *appRound) givesUp(group string) bool {
	if a.failing.id != group {
		a.failing = failingGroup{id: group}
	}
	a.failing.times++
	return a.failing.times >= maxListFailures
}
