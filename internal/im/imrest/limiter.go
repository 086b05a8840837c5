package imrest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrTooLate says that a call was given up because none of its attempts could start before its notAfter.
var ErrTooLate = errors.New("too late to start")

const (
	// longestWait is the longest pause that a call waits out. A longer one fails it.
	longestWait = maxBackOff
	// longestOutagePause is how far apart attempts are in a long outage. It is above longestWait, so that calls fail
	// at once, instead of each waiting for the attempts of all others.
	longestOutagePause = 15 * time.Second
	// maxFailuresInARow is how many attempts in a row may fail for what is about one call, before it is taken as an
	// outage.
	maxFailuresInARow = 10
	// maxUrgentInARow is how many urgent calls start before a normal one that waits.
	maxUrgentInARow = 3
	// sweepShare is the part of the rate that calls of the sweep may take: one in 4.
	sweepShare = 4
	// sweepShareBeside is that part while others call: one in 20. Between two calls of a run, which has to be recorded,
	// there often is time for a call of the sweep, behind which the next one of the run would have to wait.
	sweepShareBeside = 20
	// listInterval is between two calls of get_appid_group_list, which the vendor allows once a second (page 34960).
	// The margin is for calls that take different times to arrive.
	listInterval = 1100 * time.Millisecond
)

// lane is one of the queues of a limiter.
type lane int

const (
	// laneUrgent is for calls with a notAfter, since a removal under way depends on them, and for those that a person
	// waits for.
	laneUrgent lane = iota
	// laneNormal is for all other calls of a run.
	laneNormal
	// laneSweep is for the sweep, which no run waits for.
	laneSweep

	lanes
)

// limiter spaces the attempts of all calls of one app, and decides in which order those that wait may start.
//
// Each lane is served in order of arrival. Urgent calls go first, but after 3 of them in a row a normal one goes, so
// that neither lane can block the other. Calls of the sweep go when no other call waits, and take at most a quarter of
// the rate, or a twentieth while others have called within the time of 20 calls. Order of arrival is fair between small
// and large groups, since a group is read by one call after the other: a group of 10,000 pages goes back to the end of
// the queue after each page.
//
// When the vendor fails in a way that other calls would share, calls pause for 200 ms, which doubles with every further
// failure, and then only one attempt is made at a time, until one is answered.
//
// A goroutine serves the queues while calls in them may start, and ends otherwise.
type limiter struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	mu       sync.Mutex
	interval time.Duration // between two starts
	queues   [lanes][]*waiter
	urgent   int                // urgent starts in a row
	wake     context.CancelFunc // makes the goroutine look at the queues again; nil: there is none
	// When the latest call started, the latest of the sweep and of others, and the latest get_appid_group_list.
	started, sweepStarted, othersStarted, listStarted time.Time

	pausedUntil time.Time
	pausedFor   Error // what the pause is for

	underWay int  // attempts that have started and not ended
	failures int  // attempts in a row that the vendor failed; in an outage, one after the other
	outage   bool // the failures are taken as those of every call
}

// waiter is one waiting call.
type waiter struct {
	call   call
	result chan error // nil: the attempt may start
}

func newLimiter(
	now func() time.Time,
	sleep func(context.Context, time.Duration) error,
	requestsPerSecond int,
) *limiter {
	l := &limiter{now: now, sleep: sleep}
	l.setRate(requestsPerSecond)
	return l
}

// setRate changes how often calls may start, also for those that wait already. There is never a burst, not even after a
// quiet time, since the vendor counts by the second and others use the app too.
func (l *limiter) setRate(requestsPerSecond int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rate := time.Duration(requestsPerSecond)
	l.interval = (time.Second + rate - 1) / rate // rounding down would let one call more begin within a second
	l.changed()
}

// pause keeps every call back for d from now; a longer pause stays as it is.
func (l *limiter) pause(d time.Duration, reason Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pauseLocked(d, reason)
}

func (l *limiter) pauseLocked(d time.Duration, reason Error) {
	if until := l.now().Add(d); until.After(l.pausedUntil) {
		l.pausedUntil, l.pausedFor = until, reason
		l.changed()
	}
}

// resume ends the pause.
func (l *limiter) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pausedUntil, l.failures, l.outage = time.Time{}, 0, false
	l.changed()
}

// changed makes the goroutine look at the queues again, if there is one.
func (l *limiter) changed() {
	if l.wake != nil {
		l.wake()
	}
}

// admit returns when an attempt of a call may start, not before notBefore. It returns ErrTooLate as soon as the attempt
// cannot start before the call's notAfter, an *Error in a pause that is not waited out, or the cause of a context that
// ended. A call that is not admitted takes nothing of the rate, unless its context ends in the moment of admission.
func (l *limiter) admit(ctx context.Context, call call, notBefore time.Time) error {
	if err := l.waitUntil(ctx, notBefore, call.notAfter); err != nil {
		return err
	}
	w := &waiter{call: call, result: make(chan error, 1)}
	l.add(ctx, w)
	select {
	case err := <-w.result:
		if err == nil && Late(l.now(), call.notAfter) {
			l.ended(ctx, nil, false)
			return ErrTooLate
		}
		return err
	case <-ctx.Done():
		l.remove(w)
		select {
		case err := <-w.result:
			if err == nil {
				l.ended(ctx, nil, false)
			}
		default:
		}
		return context.Cause(ctx)
	}
}

// ended takes note of the end of an attempt that admit let start. answered says that failed, which may be nil, is how
// the vendor answered it or did not. It reports whether calls fail from now on without an attempt.
func (l *limiter) ended(ctx context.Context, failed *Error, answered bool) (longOutage bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay--
	switch {
	case !answered:
	case failed == nil || failed.Class != ClassTransient:
		l.failures, l.outage = 0, false
	default:
		longOutage = l.failed(*failed)
	}
	l.ensureServed(ctx)
	return longOutage
}

func (l *limiter) waitUntil(ctx context.Context, start, notAfter time.Time) error {
	now := l.now()
	if Late(now, notAfter) || Late(start, notAfter) {
		return ErrTooLate
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wait := start.Sub(now); wait > 0 {
		if err := l.sleep(ctx, wait); err != nil {
			return fmt.Errorf("wait for the next attempt: %w", err)
		}
	}
	return nil
}

func (l *limiter) add(ctx context.Context, w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := &l.queues[w.call.lane()]
	*queue = append(*queue, w)
	l.ensureServed(ctx)
}

// failed takes note of an attempt that the vendor failed.
func (l *limiter) failed(reason Error) (longOutage bool) {
	switch {
	case !l.outage && (reason.outage() || l.failures+1 >= maxFailuresInARow):
		l.failures, l.outage = 1, true
	case !l.outage || l.underWay == 0: // the others that were under way tell nothing new about an outage
		l.failures++
	}
	if !l.outage {
		return false
	}
	pause := min(minBackOff<<min(l.failures-1, 16), longestOutagePause)
	l.pauseLocked(pause, reason)
	return pause > longestWait
}

// ensureServed starts the goroutine, or makes it look at the queues again.
func (l *limiter) ensureServed(ctx context.Context) {
	if l.wake == nil {
		l.wake = func() {}
		go l.run(context.WithoutCancel(ctx)) // ends by itself when no call may start
	}
	l.wake()
}

func (l *limiter) remove(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := &l.queues[w.call.lane()]
	*queue = slices.DeleteFunc(*queue, func(other *waiter) bool { return other == w })
	l.changed()
}

// run serves the queues until no call in them may start.
func (l *limiter) run(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for {
		next := l.serve(now)
		if next.IsZero() {
			l.wake = nil
			return
		}
		sleeping, wake := context.WithCancel(ctx)
		l.wake = wake
		l.mu.Unlock()
		_ = l.sleep(sleeping, next.Sub(now)) // an error says that it was woken
		l.mu.Lock()
		woken := sleeping.Err() != nil
		wake()
		if now = l.now(); !woken && now.Before(next) {
			now = next // a clock that stands still must not be slept by again and again
		}
	}
}

// serve admits and dismisses the calls for which that is decided, and returns when there may be more to decide; zero if
// no call waits, or all of them for the end of an attempt.
func (l *limiter) serve(now time.Time) (next time.Time) {
	for _, started := range [...]*time.Time{&l.started, &l.sweepStarted, &l.othersStarted, &l.listStarted} {
		if now.Before(*started) {
			*started = now // the clock was set back
		}
	}
	for {
		slot := latest(now, l.started.Add(l.interval), l.pausedUntil)
		l.dismiss(now, slot)
		in, at := l.first(slot)
		if in == lanes || l.outage && l.underWay > 0 {
			return time.Time{}
		}
		if at.After(now) {
			return at
		}
		l.start(in, now)
	}
}

// dismiss fails all calls in a long pause, whose reason the callers have to learn, and otherwise those that cannot
// start in time if the next slot is at slot.
func (l *limiter) dismiss(now, slot time.Time) {
	left := l.pausedUntil.Sub(now)
	for in := range l.queues {
		l.queues[in] = slices.DeleteFunc(l.queues[in], func(w *waiter) bool {
			switch {
			case left > longestWait:
				reason := l.pausedFor
				reason.API, reason.unsent = w.call.api, true
				if reason.Class == ClassThrottled {
					reason.RetryAfter = left
				}
				w.result <- &reason
			case Late(slot, w.call.notAfter):
				w.result <- ErrTooLate
			default:
				return false
			}
			return true
		})
	}
}

// first returns the lane that goes next if the next slot is at slot, and when its first call may start; lanes if no
// call waits.
func (l *limiter) first(slot time.Time) (lane, time.Time) {
	urgent, normal, sweep := l.queues[laneUrgent], l.queues[laneNormal], l.queues[laneSweep]
	switch {
	case len(urgent) > 0 && (l.urgent < maxUrgentInARow || len(normal) == 0):
		return laneUrgent, slot
	case len(normal) > 0:
		return laneNormal, slot
	case len(sweep) > 0:
		lately := l.othersStarted
		if l.sweepStarted.Before(lately) {
			lately = l.sweepStarted
		}
		slot = latest(slot, l.sweepStarted.Add(sweepShare*l.interval), lately.Add(sweepShareBeside*l.interval))
		if sweep[0].call.api == apiAppGroups {
			slot = latest(slot, l.listStarted.Add(listInterval))
		}
		return laneSweep, slot
	}
	return lanes, time.Time{}
}

// start admits the first call of a lane.
func (l *limiter) start(in lane, now time.Time) {
	w := l.queues[in][0]
	l.queues[in] = slices.Delete(l.queues[in], 0, 1)
	l.urgent++
	if in != laneUrgent {
		l.urgent = 0
	}
	l.started = now
	if in == laneSweep {
		l.sweepStarted = now
	} else {
		l.othersStarted = now
	}
	if w.call.api == apiAppGroups {
		l.listStarted = now
	}
	l.underWay++
	w.result <- nil
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// Late reports whether at is after notAfter (zero: no limit) by either clock. The monotonic clock stands still while a
// virtual machine is suspended, so that by it alone facts read hours ago would still be fresh when the machine goes on.
// The wall clock may be set back.
func Late(at, notAfter time.Time) bool {
	return !notAfter.IsZero() && (at.After(notAfter) || at.Round(0).After(notAfter.Round(0)))
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
