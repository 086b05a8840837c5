package controllers

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// schedules runs a schedule for every app of the published snapshot, so that an app with a million groups, or one whose
// vendor does not answer, delays no other.
type schedules struct {
	store snapshots
	// retry is the time between two looks for new apps.
	retry func() time.Duration
	// guarded runs a function that may panic.
	guarded func(func())
}

// run runs schedule for each app until ctx ends. A schedule that returns, or panics, is run again if there still is the
// app.
func (s *schedules) run(ctx context.Context, schedule func(ctx context.Context, app policy.Object)) {
	var (
		running sync.WaitGroup
		started sync.Map // by the UID of the app
	)
	defer running.Wait()
	for {
		for app := range s.apps() {
			object := app.Object()
			if _, has := started.LoadOrStore(object.UID, nil); has {
				continue
			}
			running.Go(func() { // ends with ctx, and when the app is deleted
				defer started.Delete(object.UID)
				s.guarded(func() { schedule(ctx, object) })
			})
		}
		if !elapses(ctx, s.retry()) {
			return
		}
	}
}

func (s *schedules) apps() iter.Seq[*policy.CompiledApp] {
	if snapshot := s.store.Load(); snapshot != nil {
		return snapshot.Apps()
	}
	return func(func(*policy.CompiledApp) bool) {}
}

// has reports whether there still is the app.
func (s *schedules) has(app policy.Object) bool {
	for have := range s.apps() {
		if have.Object().UID == app.UID {
			return true
		}
	}
	return false
}

// elapses waits for d and reports whether ctx has not ended.
func elapses(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
