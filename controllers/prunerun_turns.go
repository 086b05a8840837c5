package controllers

import (
	"context"
	"sync"

	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// concurrentRuns is how many runs are looked at in parallel, and runsPerApp how many of them may be of one app: enough for small groups to
	// be served beside large ones, whose lists take minutes, and few enough for one app whose vendor is out of order to leave
	// workers to the others. What they do costs next to nothing but waiting for their turn at the vendor.
	concurrentRuns = 64
	runsPerApp     = 16
	// batchesPerApp is how many of them may be at a batch: with more, and a limiter that lets one call a second through, the last look of each
	// would grow old waiting for the calls of the others.
	batchesPerApp = 3
)

// exclusion lets one look at a time into a group, and runsPerApp into the groups of an app. What the live list of runs rules out between
// processes, this rules out within one.
type exclusion struct {
	mu     sync.Mutex
	inside map[prunerun.Key]struct{}
}

func (e *exclusion) enter(key prunerun.Key) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	ofApp := 0
	for other := range e.inside {
		switch {
		case other == key:
			return false
		case other.Namespace == key.Namespace && other.App == key.App:
			ofApp++
		}
	}
	if ofApp >= runsPerApp {
		return false
	}
	if e.inside == nil {
		e.inside = make(map[prunerun.Key]struct{})
	}
	e.inside[key] = struct{}{}
	return true
}

func (e *exclusion) leave(key prunerun.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.inside, key)
}

// batchTurns lets batchesPerApp runs of an app be at a batch at once, in the order in which they come. Its zero value is ready.
type batchTurns struct {
	mu   sync.Mutex
	apps map[appKey]chan struct{} // as many elements as batches; one channel for each app ever pruned
}

// take waits for a turn; giveBack must be called at its end.
func (t *batchTurns) take(ctx context.Context, app appKey) (giveBack func(), _ error) {
	t.mu.Lock()
	if t.apps == nil {
		t.apps = make(map[appKey]chan struct{})
	}
	if t.apps[app] == nil {
		t.apps[app] = make(chan struct{}, batchesPerApp)
	}
	turns := t.apps[app]
	t.mu.Unlock()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
