package controllers

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

// Sweeper finds full groups whose callback was lost: the vendor sends each callback at most once, and a process that is
// killed loses the groups that are pending in its Intake. It works in a term. Every app has a schedule of its own, so
// that an app with a million groups, or one whose vendor does not answer, delays no other; two sweeps of one app never
// overlap.
type Sweeper struct {
	// Client reads IMApps and PruneRuns from the cache and creates PruneRuns; Live reads PruneRuns from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	Term      *term.Term
	Clients   *imclients.Pool
	Now       func() time.Time
	// Interval is the time between the end of an app's sweep and the beginning of its next one, give or take a random
	// tenth.
	Interval time.Duration
	// Guard, if set, logs and counts panics.
	Guard *guard.Guard
	Log   logr.Logger
}

// NeedLeaderElection is false: the term decides, not the manager.
func (*Sweeper) NeedLeaderElection() bool { return false }

// Start sweeps until ctx ends. Sweeps of a new app start within a tenth of Interval, those of a deleted app stop within
// Interval.
func (s *Sweeper) Start(ctx context.Context) error {
	s.schedules().run(ctx, s.sweepRepeatedly)
	return nil
}

func (s *Sweeper) schedules() *schedules {
	return &schedules{store: s.Snapshots, retry: s.retryInterval, guarded: func(f func()) {
		s.Guard.Run(guard.Sweeper, f)
	}}
}

// sweepRepeatedly sweeps one app until ctx ends or the app is deleted. The first sweep starts after a tenth of
// Interval, and so does the next attempt if one was impossible, outside a term or while the app is suspended: callbacks
// that were lost before have waited already.
func (s *Sweeper) sweepRepeatedly(ctx context.Context, app policy.Object) {
	sweep := s.of(app)
	for wait := s.retryInterval(); elapses(ctx, wait) && s.schedules().has(app); {
		wait = s.retryInterval()
		if sweep.inTerm(ctx) {
			wait = jittered(s.Interval)
		}
	}
}

func (s *Sweeper) retryInterval() time.Duration { return jittered(s.Interval / 10) }

func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // G404: it only keeps replicas from acting at the same time
}

// appSweep is the sweep of one app, and its position. A sweep that ended early (the term was lost, the vendor failed,
// the app was suspended) is resumed at the page of the listing where it stopped; a new process begins at the first
// page.
//
// The groups that policies name exactly come first. Then, if a policy has another matcher, all groups of the app are
// listed, page by page, so that a million groups take no more memory than a page. Every call uses the policies and the
// credentials of that moment, since both may change during a sweep.
type appSweep struct {
	*Sweeper
	appCalls
	listing
	// failures counts the groups that got no run.
	failures int
}

// of returns the sweep of an app, which begins at the first page.
func (s *Sweeper) of(app policy.Object) *appSweep {
	return &appSweep{Sweeper: s, appCalls: appCalls{
		object: app, reader: s.Client, store: s.Snapshots, clients: s.Clients,
	}}
}

// inTerm sweeps once. It returns false if that was impossible: there is no term, or no app that may be pruned.
func (a *appSweep) inTerm(ctx context.Context) bool {
	ctx, leave, ok := a.Term.Join(ctx)
	if !ok {
		return false
	}
	defer leave()
	err := a.sweep(ctx)
	switch {
	case errors.Is(err, errAppUnusable) || ctx.Err() != nil:
		return false
	case err != nil:
		a.Log.Error(err, "Sweep ended early", "app", a.object.Key())
	}
	return true
}

func (a *appSweep) sweep(ctx context.Context) error {
	a.failures = 0
	app, err := a.app()
	if err != nil {
		return err
	}
	exact := slices.Collect(app.ExactPruneGroups())
	refused := a.sweepGroups(ctx, exact)
	if refused != nil && imrest.ClassOf(refused) != imrest.ClassPermanent {
		return refused
	}
	err = a.eachPage(ctx, &a.listing, (*policy.CompiledApp).PrunesByPattern, exact, func(ids []string) error {
		err := a.sweepGroups(ctx, ids)
		if imrest.ClassOf(err) != imrest.ClassPermanent {
			return err
		}
		refused = errors.Join(refused, err) // a permanent refusal costs this page, not those after it
		return nil
	})
	return errors.Join(refused, err)
}

// sweepGroups reads those of the groups that could have a run now, as many per call as the vendor allows, and creates
// runs for the full ones.
func (a *appSweep) sweepGroups(ctx context.Context, ids []string) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		app, err := a.app()
		if err != nil {
			return err
		}
		var batch []string
		if batch, ids, err = a.nextBatch(ctx, app, ids); err != nil || len(batch) == 0 {
			return err
		}
		groups, err := a.groups(ctx, batch) // those that cannot be read are skipped: their next run reports why
		if err != nil {
			return err
		}
		for _, id := range batch {
			if group, ok := groups[id]; ok {
				a.ensureRun(ctx, app, group)
			}
		}
	}
}

// nextBatch takes the groups of one call from ids, and returns the rest. It skips groups that no rule may govern, that
// have an unfinished run with this purpose, or that are held off.
func (a *appSweep) nextBatch(
	ctx context.Context, app *policy.CompiledApp, ids []string,
) (batch, rest []string, err error) {
	creator := a.creator()
	for i, id := range ids {
		if len(batch) == imrest.MaxGroupsPerCall {
			return batch, ids[i:], nil
		}
		if !app.MayPrune(id) {
			continue
		}
		key := a.key(id)
		runs, err := cachedRuns(ctx, a.Client, key)
		if err != nil {
			return nil, nil, err
		}
		if _, heldOff := creator.heldOff(freeSeats(key, v1alpha1.PruneTriggerSweep), runs, app); !heldOff {
			batch = append(batch, id)
		}
	}
	return batch, nil, nil
}

func (a *appSweep) creator() *runCreator {
	return &runCreator{Client: a.Client, Live: a.Live, Now: a.Now}
}

// ensureRun creates a run for a full group that a rule governs. The type of the group is known here, so that no run is
// created that would end NotGoverned. A failure concerns this group only, until the next sweep.
func (a *appSweep) ensureRun(ctx context.Context, app *policy.CompiledApp, group imrest.Group) {
	if !prunable(app, group) {
		return
	}
	log := a.Log.WithValues("app", a.object.Key(), "group", group.ID,
		"trigger", v1alpha1.PruneTriggerSweep)
	ctx, cancel := context.WithTimeout(ctx, intakeTimeout)
	defer cancel()
	got, err := a.creator().ensure(ctx, freeSeats(a.key(group.ID), v1alpha1.PruneTriggerSweep), app)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case err != nil:
		// The first failure of a sweep is an error; the others have most likely the same cause.
		if a.failures++; a.failures == 1 {
			log.Error(err, "A full group has no prune run before the next sweep", "remedy", remedy(err))
		} else {
			log.V(1).Info("A full group has no prune run before the next sweep", "error", err.Error())
		}
	case got.outcome == runCreated:
		log.Info("Prune run created")
	case got.outcome == runNoRoom:
		log.V(1).Info("A full group has no prune run before the next sweep: too many runs have no plan yet")
	}
}
