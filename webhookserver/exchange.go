package webhookserver

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
)

// exchange is one request and its answer. Its memory is reused: nothing of it may be kept once the request is over.
type exchange struct {
	started time.Time
	// command is what is known so far: first the query's command, then the body's.
	command callback.Command
	// answered is set before the first byte is written: there is no second answer.
	answered bool

	body    []byte
	encoded answer   // an answer made for this request
	refused []string // accounts of an invitation
}

const (
	// maxBody is the largest body that is read. The largest that the vendor is known to send is about 360 KB: every
	// member of a destroyed group (page 34377).
	maxBody = 1 << 20
	// firstRead is the room that a body gets at first; a callback about a join takes 300 bytes. Room grows with what
	// has arrived, never with what Content-Length promises.
	firstRead = 4 << 10
	// maxReusedBuffer and maxReusedRefused bound what is reused, so that one large request does not occupy memory for
	// good.
	maxReusedBuffer  = 64 << 10
	maxReusedRefused = 1024
)

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func beginExchange(now time.Time) *exchange {
	x := exchanges.Get().(*exchange)
	x.started = now
	return x
}

// end gives the memory back.
func (x *exchange) end() {
	x.command, x.answered = "", false
	if cap(x.body) > maxReusedBuffer {
		x.body = nil
	}
	if cap(x.encoded.body) > maxReusedBuffer {
		x.encoded.body = nil
	}
	clear(x.refused)
	x.refused = x.refused[:0]
	if cap(x.refused) > maxReusedRefused {
		x.refused = nil
	}
	exchanges.Put(x)
}

var errBodyTooLarge = errors.New("body over 1 MiB")

// readBody reads all of body into x.body. A body over maxBody is errBodyTooLarge.
//
// It closes a body that has ended. Otherwise net/http would look for the rest of it before writing the answer.
func (x *exchange) readBody(body io.ReadCloser) error {
	x.body = slices.Grow(x.body[:0], firstRead)
	for {
		if len(x.body) == cap(x.body) {
			x.body = slices.Grow(x.body, len(x.body))
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
