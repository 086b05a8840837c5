package pruning

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// behindDelay is how long a run is held up by a snapshot that is behind before the run says so. Every edit holds up
// runs for a moment.
const behindDelay = 10 * time.Second

// behind knows since when each run has been held up by a snapshot that is behind. Its zero value is ready.
type behind struct {
	mu    sync.Mutex
	since map[types.UID]time.Time
}

// hold says that the run is held up, and returns for how long it has been.
func (b *behind) hold(run types.UID, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.since == nil {
		b.since = make(map[types.UID]time.Time)
	}
	since, held := b.since[run]
	if !held {
		since = now
		b.since[run] = since
	}
	return now.Sub(since)
}

// release says that the run is not held up.
func (b *behind) release(run types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.since, run)
}

// behindForLong is what a run waits for if the snapshot has been behind for long.
func behindForLong() *waitError {
	return &waitError{
		reason: v1alpha1.ReasonSnapshotBehind, after: soon,
		message: "The leader does not see what the API server has, and removes nobody until it does: a watch is out " +
			"of date, or silent. See the metrics groupgate_watch_failing_seconds and groupgate_watch_age_seconds.",
	}
}
