package imrest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// lane says how a call waits beside others.
type lane int

const (
	// laneUrgent is for calls with a notAfter: they belong to a removal under way, and what it was decided upon grows stale.
	laneUrgent lane = iota
	// laneNormal is for all other calls of a run.
	laneNormal
	// laneSweep is for the sweep, which looks for what nobody has told of and has all the time in the world.
	laneSweep

	lanes
)

// maxUrgentInARow is how many turns the urgent lane gets before somebody in the normal one gets his.
const maxUrgentInARow = 3

// turns lets calls start one by one, at least an interval apart, in an order that is fair.
//
// Who waits stands in one of three lanes. The urgent lane goes first, but after 3 of its turns in a row the first of the normal lane
// has one, so that neither can keep the other from getting on. The sweep goes when nobody stands in the other two.
//
// Within a lane the order is that of arrival. That alone is fair between groups, large and small: whoever works on a group makes one
// call after the other, so a group has one place in the line, and one that is read in 10,000 pages goes back to the end of it
// after each. There is no need to know which group a call is about.
//
// Nobody but the waiting calls is at work here. One of them is the keeper: it sleeps until the next turn is due, gives it
// to whoever is first then, and goes on so until it is served itself, or cancelled; then the next one becomes the keeper. The
// others just wait for a sign. When nobody waits, nothing runs.
type turns struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	mu       sync.Mutex
	interval time.Duration
	last     time.Time // when the latest turn was given
	waiting  [lanes][]*waiter
	urgent   int // turns of the urgent lane in a row
	keeper   *waiter
}

// waiter is one waiting call.
type waiter struct {
	notAfter time.Time // zero: no limit; only in the urgent lane
	ended    bool      // err says how: nil is a turn
	err      error
	sign     chan struct{} // it has ended, or has become the keeper
	slept    time.Time     // until then, as the keeper
}

func (w *waiter) end(err error) {
	w.ended, w.err = true, err
	w.wake()
}

func (w *waiter) wake() {
	select {
	case w.sign <- struct{}{}:
	default: // there is a sign already that it has not seen
	}
}

// setInterval changes the least time between two turns. The keeper finds out when it wakes up: after the old interval at the latest.
func (t *turns) setInterval(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interval = d
}

// wait returns nil when it is the caller's turn, ErrTooLate as soon as that cannot be before notAfter (zero: no limit), or
// the cause of a context that ended. Whoever gets no turn delays nobody; only a call that is cancelled in the moment in which it gets one wastes
// it.
func (t *turns) wait(ctx context.Context, l lane, notAfter time.Time) error {
	w := &waiter{notAfter: notAfter, sign: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting[l] = append(t.waiting[l], w)
	if t.keeper == nil {
		t.keeper = w
	}
	defer t.leave(l, w)
	t.dismissLate(t.due(t.now()))
	for !w.ended {
		if t.keeper == w {
			if t.serve(); w.ended {
				break
			}
		}
		if err := t.pass(ctx, w); err != nil {
			return err
		}
	}
	return w.err
}

// pass lets go of the lock for a while: the keeper until the next turn is due, anybody else until there is a sign.
func (t *turns) pass(ctx context.Context, w *waiter) error {
	keeper, now := t.keeper == w, t.now()
	due := t.due(now)
	t.mu.Unlock()
	defer t.mu.Lock()
	if keeper {
		if err := t.sleep(ctx, due.Sub(now)); err != nil {
			return fmt.Errorf("wait for the turn of a call: %w", err)
		}
		w.slept = due
		return nil
	}
	select {
	case <-w.sign:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave takes a waiter out of the line, whether served or not, and finds a new keeper if it was the one.
func (t *turns) leave(l lane, w *waiter) {
	t.remove(l, w)
	if t.keeper != w {
		return
	}
	t.keeper = nil
	for _, line := range t.waiting {
		if len(line) > 0 {
			t.keeper = line[0]
			t.keeper.wake()
			return
		}
	}
}

func (t *turns) remove(l lane, w *waiter) {
	if i := slices.Index(t.waiting[l], w); i >= 0 {
		t.waiting[l] = slices.Delete(t.waiting[l], i, i+1)
	}
}

// due is when the next turn may be given, now or later.
func (t *turns) due(now time.Time) time.Time {
	if t.last.IsZero() {
		return now
	}
	if now.Before(t.last) {
		t.last = now // the clock was set back; nobody waits until it is again where it was
	}
	if due := t.last.Add(t.interval); due.After(now) {
		return due
	}
	return now
}

// serve is what the keeper does: it gives a turn if one is due.
func (t *turns) serve() {
	now := t.now()
	due := t.due(now)
	if due.Equal(t.keeper.slept) {
		due = now // so it is, even if the clock does not agree with who sleeps by it
	}
	t.dismissLate(due)
	l := t.first()
	if due.After(now) || l == lanes {
		return
	}
	t.urgent++
	if l != laneUrgent {
		t.urgent = 0
	}
	w := t.waiting[l][0]
	t.remove(l, w)
	t.last = now
	w.end(nil)
	t.dismissLate(t.due(now))
}

// first is the lane whose turn it is, lanes if nobody waits.
func (t *turns) first() lane {
	switch {
	case len(t.waiting[laneUrgent]) > 0 && (t.urgent < maxUrgentInARow || len(t.waiting[laneNormal]) == 0):
		return laneUrgent
	case len(t.waiting[laneNormal]) > 0:
		return laneNormal
	case len(t.waiting[laneSweep]) > 0:
		return laneSweep
	}
	return lanes
}

// dismissLate sends away whose notAfter is before the next turn, since that cannot be theirs. It costs nobody a turn.
func (t *turns) dismissLate(due time.Time) {
	t.waiting[laneUrgent] = slices.DeleteFunc(t.waiting[laneUrgent], func(w *waiter) bool {
		late := w.notAfter.Before(due)
		if late {
			w.end(ErrTooLate)
		}
		return late
	})
}

// started takes note that the call of the latest turn has started only now, because it had to wait elsewhere too.
func (t *turns) started() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = t.now()
}
