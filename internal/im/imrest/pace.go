package imrest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrTooLate says that a call was given up because none of its attempts could start before its notAfter.
var ErrTooLate = errors.New("too late to start")

// longestWait is the longest pause that a call waits out. Beyond it the caller is told, and does something better.
const longestWait = maxBackOff

// pace holds the calls of one app apart: one line of turns and one pause for all of them.
type pace struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
	turns turns
	// The sweep's calls wait here first, so that they take at most a quarter of the turns. What lists an app's groups waits here
	// before that.
	sweep, lists turns
	// sweeping holds one value while a call of the sweep waits: several that have their turns here would start close together.
	sweeping chan struct{}

	mu          sync.Mutex
	pausedUntil time.Time
	pausedFor   Error // what the pause is for
}

const (
	sweepShare = 4 // of so many turns the sweep gets one
	// listInterval is between two calls of get_appid_group_list, which the vendor allows once a second (page 34960). A little more keeps them
	// that far apart where they arrive, too.
	listInterval = 1100 * time.Millisecond
)

func newPace(now func() time.Time, sleep func(context.Context, time.Duration) error, requestsPerSecond int) *pace {
	p := &pace{now: now, sleep: sleep, sweeping: make(chan struct{}, 1)}
	for _, t := range [...]*turns{&p.turns, &p.sweep, &p.lists} {
		t.now, t.sleep = now, sleep
	}
	p.lists.setInterval(listInterval)
	p.setRate(requestsPerSecond)
	return p
}

// setRate changes how often calls may start, also for those that wait already. There is never a burst, not even after a quiet time,
// since the vendor counts by the second and others use the app too.
func (p *pace) setRate(requestsPerSecond int) {
	rate := time.Duration(requestsPerSecond)
	interval := (time.Second + rate - 1) / rate // rounded up: a nanosecond less, and one call more begins within a second
	p.turns.setInterval(interval)
	p.sweep.setInterval(sweepShare * interval)
}

// pause keeps every call back for d from now; a longer pause stays as it is.
func (p *pace) pause(d time.Duration, reason Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := p.now().Add(d); until.After(p.pausedUntil) {
		p.pausedUntil, p.pausedFor = until, reason
	}
}

// resume ends the pause: its reason is gone.
func (p *pace) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pausedUntil = time.Time{}
}

func (p *pace) paused() (time.Time, Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pausedUntil, p.pausedFor
}

// admit returns when an attempt of a call may start: not before notBefore, not in a pause, when it is its turn and, unless the call's
// notAfter is zero, not after that.
func (p *pace) admit(ctx context.Context, call call, notBefore time.Time) error {
	if err := p.waitUntil(ctx, notBefore, call.notAfter); err != nil {
		return err
	}
	for {
		if err := p.waitOutPause(ctx, call.api, call.notAfter); err != nil {
			return err
		}
		if err := p.turn(ctx, call); err != nil {
			return err
		}
		if late(p.now(), call.notAfter) {
			return ErrTooLate // it took longer to notice the turn than there was time
		}
		// Another call may have met a reason to pause while this one waited. Its turn is then void: all turns that fall into
		// a pause would be used at once when it ends.
		if until, _ := p.paused(); !until.After(p.now()) {
			return nil
		}
	}
}

// turn waits for the turn of a call.
func (p *pace) turn(ctx context.Context, call call) error {
	if call.lane() != laneSweep {
		return p.turns.wait(ctx, call.lane(), call.notAfter)
	}
	select {
	case p.sweeping <- struct{}{}:
		defer func() { <-p.sweeping }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	before := []*turns{&p.sweep}
	if call.api == apiAppGroups {
		before = []*turns{&p.lists, &p.sweep}
	}
	for _, own := range before {
		if err := own.wait(ctx, laneSweep, time.Time{}); err != nil {
			return err
		}
	}
	if err := p.turns.wait(ctx, laneSweep, time.Time{}); err != nil {
		return err
	}
	// What counts is when calls start, however long each of them had to let others go first.
	for _, own := range before {
		own.started()
	}
	return nil
}

func (p *pace) waitOutPause(ctx context.Context, api string, notAfter time.Time) error {
	for {
		until, reason := p.paused()
		left := until.Sub(p.now())
		switch {
		case left <= 0:
			return p.waitUntil(ctx, time.Time{}, notAfter)
		case left > longestWait:
			reason.API, reason.RetryAfter = api, left
			return &reason
		}
		if err := p.waitUntil(ctx, until, notAfter); err != nil {
			return err
		}
	}
}

// late reports whether at is after notAfter (zero: no limit) by either clock. The monotonic one stands still while a virtual machine is suspended:
// by it alone, a look of hours ago would still be fresh when the machine goes on. The clock on the wall may be set back.
func late(at, notAfter time.Time) bool {
	return !notAfter.IsZero() && (at.After(notAfter) || at.Round(0).After(notAfter.Round(0)))
}

func (p *pace) waitUntil(ctx context.Context, start, notAfter time.Time) error {
	now := p.now()
	if start.Before(now) {
		start = now
	}
	if late(start, notAfter) {
		return ErrTooLate
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if wait := start.Sub(now); wait > 0 {
		if err := p.sleep(ctx, wait); err != nil {
			return fmt.Errorf("wait for the turn of a call: %w", err)
		}
		if late(p.now(), notAfter) {
			return ErrTooLate // the wait took longer than asked for
		}
	}
	return nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
