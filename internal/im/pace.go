package im

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrTooLate says that a call was given up because none of its attempts could start before its notAfter.
var ErrTooLate = errors.New("too late to start")

// longestWait is the longest pause that a call waits out. Beyond it the caller is told, and does something better.
const longestWait = maxBackOff

// pace holds the calls of one app apart: one limiter and one pause for all of them.
type pace struct {
	now     func() time.Time
	sleep   func(context.Context, time.Duration) error
	limiter *rate.Limiter

	mu          sync.Mutex
	pausedUntil time.Time
	pausedFor   Error // what the pause is for
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

// admit returns when an attempt may start: not before notBefore, not in a pause, as often as the limiter allows and, unless
// notAfter is zero, not after that.
func (p *pace) admit(ctx context.Context, api string, notBefore, notAfter time.Time) error {
	if err := p.waitUntil(ctx, notBefore, notAfter); err != nil {
		return err
	}
	for {
		if err := p.waitOutPause(ctx, api, notAfter); err != nil {
			return err
		}
		now := p.now()
		turn := p.limiter.ReserveN(now, 1)
		if err := p.waitUntil(ctx, now.Add(turn.DelayFrom(now)), notAfter); err != nil {
			turn.CancelAt(p.now())
			return err
		}
		// Another call may have met a reason to pause while this one waited. Its turn is then void: all turns that fall into
		// a pause would be used at once when it ends.
		if until, _ := p.paused(); !until.After(p.now()) {
			return nil
		}
	}
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

func (p *pace) waitUntil(ctx context.Context, start, notAfter time.Time) error {
	now := p.now()
	if start.Before(now) {
		start = now
	}
	if !notAfter.IsZero() && start.After(notAfter) {
		return ErrTooLate
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if wait := start.Sub(now); wait > 0 {
		if err := p.sleep(ctx, wait); err != nil {
			return fmt.Errorf("wait for the turn of a call: %w", err)
		}
		if !notAfter.IsZero() && p.now().After(notAfter) {
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
