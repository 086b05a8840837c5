package pruning

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/prunerun"
)

// answerDelay is how long a deletion without a clear answer may still be carried out: the client gives up after 5 s,
// the vendor's backend 3 s after it got the request, and times are rounded to a second.
const answerDelay = 9 * time.Second

// deletions knows, within a term, when the vendor is done with the last deletion of each run. Before that a look at the
// members tells nothing: the deletion would be taken for one that was not carried out, and be carried out later. Its
// zero value is ready.
type deletions struct {
	mu   sync.Mutex
	term uint64
	done map[types.UID]time.Time // zero: the answer was clear
	// doubts are the runs whose last deletion the vendor reported as done, while members of the batch were still there,
	// or may have been.
	doubts map[types.UID]struct{}
}

// begin says that a deletion of the run is about to be sent.
func (d *deletions) begin(term uint64, run types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.in(term)
	delete(d.done, run)
	delete(d.doubts, run)
}

// doubt says that the vendor reported the deletion as done, and that members of the batch were still there, or may have
// been.
func (d *deletions) doubt(term uint64, run types.UID, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.in(term); term == d.term {
		d.done[run], d.doubts[run] = now.Add(answerDelay), struct{}{}
	}
}

// reported says whether what is left of the batch stayed although the vendor reported its deletion as done.
func (d *deletions) reported(term uint64, run types.UID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.in(term)
	_, doubted := d.doubts[run]
	return doubted && term == d.term
}

// end says that the deletion has ended: with a clear answer, or without one, so that it may still be carried out until
// answerDelay after now.
func (d *deletions) end(term uint64, run types.UID, answered bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := time.Time{}
	if !answered {
		done = now.Add(answerDelay)
	}
	d.in(term)[run] = done
}

// left is how long the vendor may still be at work on the batch in flight of the run. A deletion that this term does
// not know of was sent before, by another process or by this one: it may have been sent right now, at the latest.
//
// The monotonic clock decides, if there is one: it never says that more time has passed than has.
func (d *deletions) left(term uint64, run types.UID, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.in(term)
	done, ok := known[run]
	if !ok {
		done = now.Add(answerDelay)
		known[run] = done
	}
	return max(0, done.Sub(now))
}

// forget drops what is known of a run that has no batch in flight.
func (d *deletions) forget(run types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.done, run)
	delete(d.doubts, run)
}

// in returns what is known in a term. What an earlier term knew is out of date, since others may have sent deletions
// since; a Step of an earlier term learns and leaves nothing.
func (d *deletions) in(term uint64) map[types.UID]time.Time {
	switch {
	case term < d.term:
		return map[types.UID]time.Time{}
	case d.done == nil || term > d.term:
		d.term, d.done, d.doubts = term, make(map[types.UID]time.Time), make(map[types.UID]struct{})
	}
	return d.done
}

// laterError ends a Step without a record: there is nothing to do but to take the next one later.
type laterError struct{ after time.Duration }

func (e *laterError) Error() string { return "in " + e.after.String() }

// deletionAnswered delays everything that concerns the batch in flight until the vendor is done with its deletion.
func (j *job) deletionAnswered() error {
	if prunerun.Progress(j.run).InFlight == 0 {
		return nil
	}
	if left := j.deletions.left(j.term, j.run.UID, j.Now()); left > 0 {
		return &laterError{after: left}
	}
	return nil
}
