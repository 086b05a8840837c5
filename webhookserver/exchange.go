package webhookserver

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/groupgate/groupgate/internal/im/callback"
)

// exchange is one request and its answer. Its memory is reused: nothing of it may be kept once the request is over.
type exchange struct {
	started time.Time
	// command is what is known so far: first the query's command, then the body's.
	command callback.Command
	// answered is set before the first byte is written: there is no second answer.
	answered bool
	// app counts for the app that the request is about; for none until it is known.
	app *appCounters
	// snapshot is the hash of the one that decides.
	snapshot uint64
	// conn is the connection that the request came on, nil if it is not tracked.
	conn *conn

	body []byte
	// length is that of the body, by its own word; negative if it has none.
	length int64
	// budget has lent room for reserved bytes of the body.
	budget   *semaphore.Weighted
	reserved int64

	encoded answer   // an answer made for this request
	refused []string // accounts of an invitation
}

const (
	// maxBody is the largest body that is read. The largest that the vendor is known to send is about 360 KB: every
	// member of a destroyed group (page 34377).
	maxBody = 512 << 10
	// maxFreeBody is the room that needs no budget. All callbacks about joins fit.
	maxFreeBody = 64 << 10
	// maxLargeBodies is the budget of all larger bodies that are being read, and maxUnsignedBodies that of the apps
	// whose callbacks anybody can send. A signature that was captured is valid for a minute and for any body, so that
	// without a budget its owner could use up the memory of the process.
	maxLargeBodies    = 32 << 20
	maxUnsignedBodies = 8 << 20
	// firstRead is the room that a body gets at first; a callback about a join takes 300 bytes. Room grows with what
	// has arrived; what Content-Length promises gets room only within the budget.
	firstRead = 4 << 10
	// maxReused bounds the memory of each kind that is reused, so that one large request does not occupy memory for
	// good.
	maxReused = 64 << 10
	// stringSize is what a string takes without its bytes.
	stringSize = 16
)

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func beginExchange(now time.Time, noApp *appCounters, c *conn) *exchange {
	x := exchanges.Get().(*exchange)
	x.started, x.app, x.conn = now, noApp, c
	return x
}

// end gives the memory back.
func (x *exchange) end() {
	x.release()
	x.command, x.answered, x.app, x.conn = "", false, nil, nil
	clear(x.refused)
	x.refused = x.refused[:0]
	x.drop(maxReused)
	exchanges.Put(x)
}

// drop gives up the memory of each kind that is larger than most bytes.
func (x *exchange) drop(most int) {
	if cap(x.body) > most {
		x.body = nil
	}
	if cap(x.encoded.body) > most {
		x.encoded.body = nil
	}
	if cap(x.refused) > most/stringSize {
		x.refused = nil
	}
}

// unverified reports whether no callback with a right Sign has come on the connection.
func (x *exchange) unverified() bool { return x.conn != nil && !x.conn.verified }

// release gives back what the budget has lent.
func (x *exchange) release() {
	if x.reserved > 0 {
		x.budget.Release(x.reserved)
		x.reserved = 0
	}
}

var errBodyTooLarge = errors.New("body over 512 KiB, or no budget left for it")

// readBody reads all of body into x.body. Room for more than free bytes comes out of budget, also where an earlier
// exchange has left it. A body over maxBody, or one that the budget does not allow for, is errBodyTooLarge.
//
// It closes a body that has ended. Otherwise net/http would look for the rest of it before writing the answer.
func (x *exchange) readBody(body io.ReadCloser, length int64, free int, budget *semaphore.Weighted) error {
	x.length, x.budget = length, budget
	x.drop(free)
	x.body = slices.Grow(x.body[:0], firstRead)
	for {
		if len(x.body) == cap(x.body) && !x.grow(free) {
			return errBodyTooLarge
		}
		n, err := body.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		switch {
		case len(x.body) > maxBody:
			return errBodyTooLarge
		case errors.Is(err, io.EOF):
			return body.Close()
		case err != nil:
			return err
		}
	}
}

// grow doubles the room, up to the byte that shows that a body is too large, or too large to be free. A body that is
// not free gets all of its room at once, if it said its length. It reports whether the budget allows for that.
func (x *exchange) grow(free int) bool {
	room := min(2*cap(x.body), maxBody+1)
	switch {
	case cap(x.body) <= free:
		room = min(room, free+1)
	case x.length >= int64(cap(x.body)):
		room = int(x.length) + 1
		fallthrough
	default:
		more := int64(room) - x.reserved
		if !x.budget.TryAcquire(more) {
			return false
		}
		x.reserved += more
	}
	x.body = append(make([]byte, 0, room), x.body...)
	return true
}
