package controllers

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// largeGroup is the number of members from which on planning takes memory worth counting: eight bytes and more for each.
	largeGroup = 20_000
	// maxLargePlans is how many such groups are planned at once. They take workers for minutes, too, and leave the others to smaller groups.
	maxLargePlans = 4
	// roomRecheck is when a run that found no room looks again.
	roomRecheck = 5 * time.Second
)

// planningRoom bounds what planning takes of the process, whose first duty is to answer callbacks. Its zero value is ready.
type planningRoom struct {
	// short says whether memory is; nil is memoryShort.
	short func() bool

	mu    sync.Mutex
	large int
}

// has says whether a group of that many members could be planned now.
func (r *planningRoom) has(members int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasLocked(members)
}

func (r *planningRoom) hasLocked(members int) bool {
	short := r.short
	if short == nil {
		short = memoryShort
	}
	return !short() && (members < largeGroup || r.large < maxLargePlans)
}

// enter lets a group of that many members be planned; leave must be called when that is done. ok is false while there is no room.
func (r *planningRoom) enter(members int) (leave func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hasLocked(members) {
		return nil, false
	}
	if members < largeGroup {
		return func() {}, true
	}
	r.large++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.large--
	}), true
}

// memoryShort says whether what is in use comes close to GOMEMLIMIT. Garbage does not count: it may fill the rest at any time.
func memoryShort() bool {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return false
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	const percent = 80
	return live[0].Value.Uint64() > uint64(limit)/100*percent //nolint:gosec // G115: a limit is not negative
}
