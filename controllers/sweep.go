package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/pruning"
)

// errSweepHeld says that there is nothing to sweep for now: the app is suspended, gone, replaced, or has no usable credentials.
var errSweepHeld = errors.New("the app is not to be swept now")

// appSweep is the sweep of one app, and where it has come to. One that ended early (the term was lost, the vendor failed, the app
// was suspended) goes on at the page of the listing where it stopped; a new process begins at the first page.
//
// First come the groups that policies name exactly and then, where a policy has another matcher, those that are found by listing all
// groups of the app: page by page, so that a million groups take no more memory than a page. Every call is made for the policies
// and the credentials of that moment: a sweep may last for longer than they do.
type appSweep struct {
	*Sweeper
	object policy.Object
	// from is the page to begin with, 0 for the first one; turned are the pages that others led to, up to this one.
	from   uint64
	turned map[uint64]struct{}
	// failures counts the groups that got no run.
	failures int
}

// inTerm sweeps once. It is false if there was nothing to do it with: no term, or no app that may be pruned.
func (a *appSweep) inTerm(ctx context.Context) bool {
	ctx, leave, ok := a.Term.Join(ctx)
	if !ok {
		return false
	}
	defer leave()
	err := a.sweep(ctx)
	switch {
	case errors.Is(err, errSweepHeld) || ctx.Err() != nil:
		return false
	case err != nil:
		a.Log.Error(err, "sweep ended early", "namespace", a.object.Namespace, "app", a.object.Name)
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
	refused := a.look(ctx, exact)
	if refused != nil && imrest.ClassOf(refused) != imrest.ClassPermanent {
		return refused
	}
	for resumed := a.from != 0; ; resumed = false {
		page, err := a.list(ctx)
		if resumed && imrest.ClassOf(err) == imrest.ClassPermanent {
			a.beginAnew() // the vendor no longer knows the page
			page, err = a.list(ctx)
		}
		if err != nil {
			return err
		}
		err = a.look(ctx, slices.DeleteFunc(page.IDs, func(id string) bool {
			_, seen := slices.BinarySearch(exact, id)
			return seen
		}))
		// What the vendor refuses for good costs the page, not those after it.
		if err != nil && imrest.ClassOf(err) != imrest.ClassPermanent {
			return err
		}
		refused = errors.Join(refused, err)
		if err := a.turn(page.Next); err != nil || a.from == 0 {
			return errors.Join(refused, err)
		}
	}
}

// turn goes on to the next page. Pages that lead back to one of them would be read for ever: the listing ends there, and the next sweep
// begins anew.
func (a *appSweep) turn(next uint64) error {
	if next == 0 {
		a.beginAnew()
		return nil
	}
	if _, before := a.turned[next]; before {
		a.beginAnew()
		return fmt.Errorf("list the groups of the app: the pages lead back to page %d", next)
	}
	if a.turned == nil {
		a.turned = make(map[uint64]struct{})
	}
	a.from, a.turned[next] = next, struct{}{}
	return nil
}

func (a *appSweep) beginAnew() { a.from, a.turned = 0, nil }

// app is the app as it is compiled now.
func (a *appSweep) app() (*policy.CompiledApp, error) {
	snapshot := a.Snapshots.Load()
	if snapshot == nil {
		return nil, errSweepHeld
	}
	app := snapshot.AppNamed(a.object.Namespace, a.object.Name)
	if app == nil || app.Object().UID != a.object.UID || app.PruningSuspended() {
		return nil, errSweepHeld
	}
	return app, nil
}

// call makes one call for the app as it is now.
func (a *appSweep) call(ctx context.Context, do func(*imrest.Client) error) error {
	var object v1alpha1.IMApp
	err := a.Client.Get(ctx, client.ObjectKey{Namespace: a.object.Namespace, Name: a.object.Name}, &object)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("read the app: %w", err)
	case err != nil || string(object.UID) != a.object.UID:
		return errSweepHeld
	}
	vendor, err := a.Vendor.Client(ctx, &object)
	if _, missing := errors.AsType[*imclients.CredentialsError](err); missing {
		return errSweepHeld // the status of the app says so
	}
	if err != nil {
		return err
	}
	defer a.Vendor.Notice(object.UID)
	return do(vendor)
}

// list returns the next page of the app's groups; one that holds nothing and is the last where no policy asks for a listing.
func (a *appSweep) list(ctx context.Context) (imrest.AppGroupsPage, error) {
	app, err := a.app()
	if err != nil || !app.PrunesByPattern() {
		return imrest.AppGroupsPage{}, err
	}
	var page imrest.AppGroupsPage
	err = a.call(ctx, func(vendor *imrest.Client) (err error) {
		page, err = vendor.AppGroups(ctx, a.from)
		return err
	})
	if err != nil {
		return imrest.AppGroupsPage{}, fmt.Errorf("list the groups of the app: %w", err)
	}
	return page, nil
}

// look reads the groups that could have a run now, as many in a call as the vendor allows, and sees that those that need one have it.
func (a *appSweep) look(ctx context.Context, ids []string) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		app, err := a.app()
		if err != nil {
			return err
		}
		var ask []string
		if ask, ids, err = a.worthALook(ctx, app, ids); err != nil || len(ask) == 0 {
			return err
		}
		var groups map[string]imrest.Group
		err = a.call(ctx, func(vendor *imrest.Client) (err error) {
			// Groups that cannot be read are none of the sweep's business: a run of theirs says what is wrong.
			groups, _, err = vendor.Groups(ctx, ask)
			return err
		})
		if err != nil {
			return fmt.Errorf("read the groups: %w", err)
		}
		for _, id := range ask {
			if group, ok := groups[id]; ok {
				a.ensureRun(ctx, app, group)
			}
		}
	}
}

// worthALook takes from ids those of one call, and returns the rest. Groups that no rule may govern, that have an unfinished run or
// are held off are not asked about.
func (a *appSweep) worthALook(ctx context.Context, app *policy.CompiledApp, ids []string) (ask, rest []string, err error) {
	creator := a.creator()
	for i, id := range ids {
		if len(ask) == imrest.MaxGroupsPerCall {
			return ask, ids[i:], nil
		}
		if !app.MayPrune(id) {
			continue
		}
		key := prunerun.Key{Namespace: a.object.Namespace, App: a.object.Name, Group: id}
		runs, err := cachedRuns(ctx, a.Client, key)
		if err != nil {
			return nil, nil, err
		}
		if _, heldOff := creator.heldOff(key, runs, app); !heldOff {
			ask = append(ask, id)
		}
	}
	return ask, nil, nil
}

func (a *appSweep) creator() *runCreator {
	return &runCreator{Client: a.Client, Live: a.Live, Now: a.Now}
}

// ensureRun creates a run for a full group that a rule governs. Here the type is known, so that no run is made only to end NotGoverned.
// A failure costs this group only, until the next sweep.
func (a *appSweep) ensureRun(ctx context.Context, app *policy.CompiledApp, group imrest.Group) {
	state := pruning.GroupState(group)
	if _, governed := app.GoverningRule(group.ID, state.Type); !governed || !state.Full() || state.Type == policy.TypeAVChatRoom {
		return
	}
	key := prunerun.Key{Namespace: a.object.Namespace, App: a.object.Name, Group: group.ID}
	log := a.Log.WithValues("namespace", key.Namespace, "app", key.App, "groupID", key.Group, "trigger", v1alpha1.PruneTriggerSweep)
	ctx, cancel := context.WithTimeout(ctx, intakeTimeout)
	defer cancel()
	got, err := a.creator().ensure(ctx, key, v1alpha1.PruneTriggerSweep, app)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case err != nil:
		if a.failures++; a.failures == 1 {
			log.Error(err, "a full group has no prune run before the next sweep", "remedy", remedy(err))
		} else {
			log.V(1).Info("a full group has no prune run before the next sweep", "error", err.Error())
		}
	case got.outcome == runCreated:
		log.Info("prune run created")
	}
}
