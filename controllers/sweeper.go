package controllers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/policy"
)

// Sweeper finds full groups whose callback was lost: the vendor sends each one at most once, and a process that was killed forgets
// what it had taken in. It looks at the groups that policies with a prune rule name exactly, in a term.
type Sweeper struct {
	// Client reads IMApps and PruneRuns from the cache and creates PruneRuns; Live reads PruneRuns from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	Term      *Term
	Vendor    *Vendor
	Now       func() time.Time
	// Interval is the time between the end of one sweep and the beginning of the next one; a tenth of it, give or take, is left to chance.
	Interval time.Duration
	Log      logr.Logger
}

// NeedLeaderElection is false: the term decides, not the manager.
func (*Sweeper) NeedLeaderElection() bool { return false }

// Start sweeps until ctx ends, one sweep after the other. The first one comes soon: what a predecessor lost has waited long enough.
func (s *Sweeper) Start(ctx context.Context) error {
	wait := jittered(s.Interval / 10)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		s.sweepInTerm(ctx)
		wait = jittered(s.Interval)
	}
}

func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) } //nolint:gosec // G404: only to keep replicas apart

func (s *Sweeper) sweepInTerm(ctx context.Context) {
	ctx, leave, ok := s.Term.Join(ctx)
	if !ok {
		return
	}
	defer leave()
	snapshot := s.Snapshots.Load()
	if snapshot == nil {
		return
	}
	// Side by side: an app whose vendor does not answer must not keep the others waiting. Each one is paced by its own limiter.
	var apps sync.WaitGroup
	for app := range snapshot.Apps() {
		if app.PruningSuspended() {
			continue
		}
		apps.Go(func() {
			if err := s.sweepApp(ctx, app); err != nil && ctx.Err() == nil {
				s.Log.Error(err, "sweep ended early", "namespace", app.Object().Namespace, "app", app.Object().Name)
			}
		})
	}
	apps.Wait()
}

// sweepApp looks at the groups of one app, as many in a call as the vendor allows.
func (s *Sweeper) sweepApp(ctx context.Context, app *policy.CompiledApp) error {
	groups, err := s.worthALook(ctx, app)
	if err != nil || len(groups) == 0 {
		return err
	}
	var object v1alpha1.IMApp
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: app.Object().Namespace, Name: app.Object().Name}, &object); err != nil {
		return fmt.Errorf("read the app: %w", err)
	}
	vendor, err := s.Vendor.Client(ctx, &object)
	if _, missing := errors.AsType[*credentialsError](err); missing {
		return nil // the status of the app says so
	}
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(groups, im.MaxGroupsPerCall) {
		// Groups that cannot be read are none of the sweep's business: a run of theirs says what is wrong.
		read, _, err := vendor.Groups(ctx, chunk)
		s.Vendor.Notice(object.UID)
		if err != nil {
			return fmt.Errorf("read the groups: %w", err)
		}
		for _, id := range chunk {
			if group, ok := read[id]; ok {
				if err := s.ensureRun(ctx, app, group); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// worthALook are the groups that could have a run now: those with an unfinished one or held off are not asked about.
func (s *Sweeper) worthALook(ctx context.Context, app *policy.CompiledApp) ([]string, error) {
	creator := s.creator()
	var groups []string
	for id := range app.ExactPruneGroups() {
		key := groupKey{namespace: app.Object().Namespace, app: app.Object().Name, group: id}
		runs, err := cachedRuns(ctx, s.Client, key)
		if err != nil {
			return nil, err
		}
		if _, wait := creator.waits(key, runs, app); !wait {
			groups = append(groups, id)
		}
	}
	return groups, nil
}

func (s *Sweeper) creator() *runCreator {
	return &runCreator{Client: s.Client, Live: s.Live, Now: s.Now}
}

// ensureRun creates a run for a full group that a rule governs. Here the type is known, so that no run is made only to end NotGoverned.
func (s *Sweeper) ensureRun(ctx context.Context, app *policy.CompiledApp, group im.Group) error {
	state := stateOf(group)
	if _, governed := app.Governing(group.ID, state.Type); !governed || !state.Full() || state.Type == policy.TypeAVChatRoom {
		return nil
	}
	key := groupKey{namespace: app.Object().Namespace, app: app.Object().Name, group: group.ID}
	got, err := s.creator().ensure(ctx, key, v1alpha1.PruneTriggerSweep, app)
	if err == nil && got.outcome == runCreated {
		s.Log.Info("prune run created", "namespace", key.namespace, "app", key.app, "groupID", key.group, "trigger", v1alpha1.PruneTriggerSweep)
	}
	return err
}
