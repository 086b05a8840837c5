package page

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// Of one viewer: pages, and decisions among them.
	pagesPerSecond, pagesAtOnce         = 20, 100
	decisionsPerSecond, decisionsAtOnce = 1, 20
	// maxViewers is how many viewers are remembered at least.
	maxViewers = 1000
	// maxVisits is how many visits are answered at the same time, and maxHeavyVisits how many of those that read all
	// policies and lists. Each may hold some megabytes.
	maxVisits, maxHeavyVisits = 32, 4
	// maxWait is how long a visit waits for its turn.
	maxWait = 5 * time.Second
	// maxVisit is how long a visit may take, so that an API server that hangs does not use up the turns.
	maxVisit = 30 * time.Second
)

// limits keeps one viewer from being in the way of others, and all of them from taking the memory of the process.
type limits struct {
	now     func() time.Time
	mu      sync.Mutex
	viewers bounded[*allowance]
	visits  chan struct{}
	heavy   chan struct{}
}

// allowance is what one viewer may still do.
type allowance struct{ pages, decisions *rate.Limiter }

func newLimits(now func() time.Time) *limits {
	return &limits{
		now: now, viewers: bounded[*allowance]{n: maxViewers},
		visits: make(chan struct{}, maxVisits), heavy: make(chan struct{}, maxHeavyVisits),
	}
}

// count counts a request, and refuses it if its viewer has sent too many.
func (l *limits) count(viewer string, decides bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.viewers.get(viewer)
	if !ok {
		a = &allowance{
			rate.NewLimiter(pagesPerSecond, pagesAtOnce), rate.NewLimiter(decisionsPerSecond, decisionsAtOnce),
		}
		l.viewers.put(viewer, a)
	}
	now := l.now()
	if a.pages.AllowN(now, 1) && (!decides || a.decisions.AllowN(now, 1)) {
		return nil
	}
	return &Refusal{
		Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Text: "You have sent too many requests in a short time.", Advice: "Wait some seconds, then try again.",
	}
}

// enter waits for the turn of a visit. leave must be called, unless an error is returned.
func (l *limits) enter(ctx context.Context, heavy bool) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if heavy {
		if err := take(ctx, l.heavy); err != nil {
			return nil, err
		}
	}
	leaveHeavy := func() {
		if heavy {
			<-l.heavy
		}
	}
	if err := take(ctx, l.visits); err != nil {
		leaveHeavy()
		return nil, err
	}
	return func() { <-l.visits; leaveHeavy() }, nil
}

func take(ctx context.Context, turns chan struct{}) error {
	select {
	case turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &Refusal{
			Status: http.StatusServiceUnavailable, RetryAfter: maxWait,
			Text: "Too many people look at the page at this moment.", Advice: "Wait some seconds, then try again.",
		}
	}
}
