package pruning

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// pauses knows until when the vendor wants no call for an app. Its zero value is ready.
type pauses struct {
	mu    sync.Mutex
	until map[types.NamespacedName]time.Time
}

// begin says that the vendor wants no call for the app until then.
func (p *pauses) begin(app types.NamespacedName, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil {
		p.until = make(map[types.NamespacedName]time.Time)
	}
	p.until[app] = until
}

// left is how long a run of the app has nothing to do but to wait: it says already that the vendor is unavailable.
// Otherwise thousands of runs would be read each minute, only to find that the pause goes on. Those that a person waits
// for are not held: they may end without a call.
func (p *pauses) left(app types.NamespacedName, run *v1alpha1.PruneRun, now time.Time) time.Duration {
	reason, _, _ := prunerun.WaitState(run)
	if reason != v1alpha1.ReasonVendorUnavailable || prunerun.ClassOf(run).Urgent() {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	until, paused := p.until[app]
	if left := until.Sub(now); paused && left > 0 {
		return left
	}
	delete(p.until, app)
	return 0
}
