package app

import (
	"context"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// releaseDelay is how long after its cause memory is released, so that the garbage is complete.
const releaseDelay = 5 * time.Second

// memoryRelease returns memory to the operating system after the first publication and after the beginning of every
// term. Loading all objects, and examining every status, allocate together as much again as the process retains, and
// the runtime would keep that memory for allocations that single edits never make.
type memoryRelease struct {
	Store *policy.Store
	// Published and Began return channels that the next publication and the beginning of the next term close.
	Published, Began func() <-chan struct{}
	// Delay is how long after that memory is released.
	Delay time.Duration
	// Release is debug.FreeOSMemory, which costs one garbage collection.
	Release func()
}

// NeedLeaderElection is false: every replica loads all objects.
func (*memoryRelease) NeedLeaderElection() bool { return false }

// Start is a manager.Runnable.
func (m *memoryRelease) Start(ctx context.Context) error {
	began, published := m.Began(), m.Published()
	if m.Store.Load() != nil {
		loaded := make(chan struct{})
		close(loaded)
		published = loaded
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-published:
			published = nil // later publications are edits
		case <-began:
			began = m.Began()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(m.Delay):
			m.Release()
		}
	}
}
