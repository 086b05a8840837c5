package pruning

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// MaxSteps is how many Steps are worth taking in parallel: enough for small groups to be served beside large ones,
	// whose lists take minutes. What a Step costs is next to nothing but waiting for the vendor.
	MaxSteps = 64
	// stepsPerApp leaves workers to other apps while the vendor of one is out of order.
	stepsPerApp = 16
	// urgentStepsPerApp are beside these, for denials and undos.
	urgentStepsPerApp = 8
	// batchesPerApp bounds the batches of an app that are under way: with more, and a limiter that lets one call a
	// second through, the recheck of each would grow old waiting for the calls of the others.
	batchesPerApp = 3

	// largeGroup is the number of members from which on planning takes memory worth counting: eight bytes and more for
	// each.
	largeGroup = 20_000
	// maxLargePlans bounds the plans of such groups that are being made at once. They also occupy workers for minutes.
	maxLargePlans = 4
)

// batchSlots lets batchesPerApp runs of an app have a batch under way, in the order in which they ask. Its zero value
// is ready.
type batchSlots struct {
	mu   sync.Mutex
	apps map[types.NamespacedName]chan struct{} // as many elements as batches; one channel for each app ever pruned
}

// acquire waits for a slot; release must be called afterwards.
func (s *batchSlots) acquire(ctx context.Context, app types.NamespacedName) (release func(), _ error) {
	s.mu.Lock()
	if s.apps == nil {
		s.apps = make(map[types.NamespacedName]chan struct{})
	}
	if s.apps[app] == nil {
		s.apps[app] = make(chan struct{}, batchesPerApp)
	}
	slots := s.apps[app]
	s.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// planLimiter bounds what planning takes of the memory of a process whose first duty is to answer callbacks. Its zero
// value is ready.
type planLimiter struct {
	mu    sync.Mutex
	large int
}

// fits reports whether a group of that many members could be planned now.
func (l *planLimiter) fits(members int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return members < largeGroup || l.large < maxLargePlans
}

// acquire lets a group of that many members be planned; release must be called afterwards. ok is false while too many
// large groups are being planned.
func (l *planLimiter) acquire(members int) (release func(), ok bool) {
	if members < largeGroup {
		return func() {}, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.large >= maxLargePlans {
		return nil, false
	}
	l.large++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.large--
	}), true
}
