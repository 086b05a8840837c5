package webhookserver

import (
	"sync"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
)

// exchange is one request and its answer, with the memory that the next one
// can use again. Nothing of it may be kept once the request is over.
type exchange struct {
	started time.Time
	// command is the best that is known of what is asked: first the query's
	// word, then the body's.
	command callback.Command
	// answered is set with the first byte out: there is no second answer.
	answered bool

	body    []byte
	encoded answer // one that was made for this request
	refused []string
}

// keptRefused is how many refused accounts there is room for in memory that is
// used again; an invitation may name tens of thousands.
const keptRefused = 1024

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func beginExchange(now time.Time) *exchange {
	x := exchanges.Get().(*exchange)
	x.started = now
	return x
}

// end gives the memory back.
func (x *exchange) end() {
	x.command, x.answered = "", false
	if cap(x.body) > keptBuffer {
		x.body = nil
	}
	if cap(x.encoded.body) > keptBuffer {
		x.encoded.body = nil
	}
	clear(x.refused)
	x.refused = x.refused[:0]
	if cap(x.refused) > keptRefused {
		x.refused = nil
	}
	exchanges.Put(x)
}
