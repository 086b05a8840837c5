package webhookserver

import (
	"container/list"
	"crypto/tls"
	"errors"
	"sync"
	"time"
)

var (
	errBusy   = errors.New("too many TLS handshakes")
	errClosed = errors.New("the connection has made way for another one")
)

// overloadedAfter is how long the oldest in a queue may have waited before the newest come first.
const overloadedAfter = 500 * time.Millisecond

// handshakes bounds the TLS handshakes whose cryptography is being computed at the same time: those of strangers to
// half of the processors, all to their number. Thousands of them would make every callback wait for its turn, and new
// connections wait to be accepted. What a handshake waits for, the client, is not bounded here.
//
// Connections from familiar addresses come first. Within a queue it is first come, first served, until that would take
// longer than overloadedAfter. From then on the newest come first: the oldest are those whose clients have given up, or
// soon will.
type handshakes struct {
	mu sync.Mutex
	// free are the slots, and forStrangers how many strangers may still get.
	free, forStrangers int
	// The waiting connections, those of strangers and those from familiar addresses; the newest come last.
	strangers, familiar list.List
}

// waiter is a handshake that waits for a slot. granted receives once.
type waiter struct {
	conn    *conn
	since   time.Time
	queue   *list.List
	place   *list.Element
	granted chan bool
}

func newHandshakes(processors int) handshakes {
	return handshakes{free: processors, forStrangers: (processors + 1) / 2}
}

// admit is a tls.Config's GetConfigForClient, which is called when the client's first message has arrived. It returns
// when the handshake may go on.
func (h *handshakes) admit(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := hello.Conn.(*conn)
	if !ok {
		return nil, nil
	}
	return nil, h.begin(c)
}

// readmit returns a tls.Config's GetCertificate that calls get, which may be nil. A client without a usable key share
// is asked for another first message (HelloRetryRequest). Its connection gives the slot back with that request, since
// the client may let it wait, and needs one again for the signature. crypto/tls calls GetCertificate in every full
// handshake if there are no Certificates.
func (h *handshakes) readmit(
	get func(*tls.ClientHelloInfo) (*tls.Certificate, error),
) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c, ok := hello.Conn.(*conn); ok && !c.working.Load() {
			if err := h.begin(c); err != nil {
				return nil, err
			}
		}
		if get == nil {
			return nil, nil
		}
		return get(hello)
	}
}

func (h *handshakes) begin(c *conn) error {
	h.mu.Lock()
	if h.free > 0 && (c.familiar || h.forStrangers > 0) {
		h.take(c)
		h.mu.Unlock()
		return nil
	}
	w := &waiter{conn: c, since: time.Now(), queue: &h.strangers, granted: make(chan bool, 1)}
	if c.familiar {
		w.queue = &h.familiar
	}
	w.place = w.queue.PushBack(w)
	c.waiter = w
	h.mu.Unlock()
	c.all.waits(c, true)
	defer c.all.waits(c, false)

	patience := time.NewTimer(readHeaderTimeout)
	defer patience.Stop()
	select {
	case granted := <-w.granted:
		if !granted {
			return errClosed
		}
		return nil
	case <-patience.C:
	}
	h.abandon(c)
	return errBusy
}

// done gives back the slot of a connection, if it has one.
func (h *handshakes) done(c *conn) {
	if !c.working.Load() || !c.working.CompareAndSwap(true, false) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free++
	if !c.familiar {
		h.forStrangers++
	}
	w := turn(&h.familiar)
	if w == nil && h.forStrangers > 0 {
		w = turn(&h.strangers)
	}
	if w == nil {
		return
	}
	h.leave(w)
	h.take(w.conn)
	w.granted <- true
}

// turn is the one in a queue that comes next, nil if nobody waits.
func turn(queue *list.List) *waiter {
	oldest := queue.Front()
	if oldest == nil {
		return nil
	}
	if w := oldest.Value.(*waiter); time.Since(w.since) < overloadedAfter {
		return w
	}
	return queue.Back().Value.(*waiter)
}

func (h *handshakes) take(c *conn) {
	h.free--
	if !c.familiar {
		h.forStrangers--
	}
	c.working.Store(true)
}

// abandon ends the waiting of a connection, and gives back the slot that it may have got meanwhile.
func (h *handshakes) abandon(c *conn) {
	h.mu.Lock()
	if w := c.waiter; w != nil {
		h.leave(w)
		w.granted <- false
	}
	h.mu.Unlock()
	h.done(c)
}

func (h *handshakes) leave(w *waiter) {
	w.queue.Remove(w.place)
	w.conn.waiter = nil
}
