package emulator

import (
	"context"
	"sync"
)

// outbox sends after-callbacks in the background: those of one group in the order of the events, those of different
// groups in parallel. The vendor documents no order.
type outbox struct {
	lanes chan struct{} // bounds how many are sent at the same time

	mu     sync.Mutex
	queues map[string][]func() // by group; a group that is present has a goroutine that empties its queue
	busy   int                 // deliveries queued or being sent, before-callbacks included
	idle   chan struct{}       // closed when busy falls to 0; nil if nothing waits for that
	closed bool
}

func newOutbox(lanes int) *outbox {
	return &outbox{lanes: make(chan struct{}, lanes), queues: map[string][]func(){}}
}

// put queues a delivery. After close it does nothing.
func (o *outbox) put(key string, send func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.busy++
	queue, running := o.queues[key]
	o.queues[key] = append(queue, send)
	if !running {
		go o.empty(key) // ends when the queue is empty, at the latest after close
	}
}

func (o *outbox) empty(key string) {
	for {
		o.mu.Lock()
		queue := o.queues[key]
		if len(queue) == 0 {
			delete(o.queues, key)
			o.mu.Unlock()
			return
		}
		o.queues[key] = queue[1:]
		o.mu.Unlock()

		o.lanes <- struct{}{}
		queue[0]()
		<-o.lanes
		o.done()
	}
}

// begin counts a delivery that its caller sends, and reports whether it may be sent. done ends it.
func (o *outbox) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.busy++
	}
	return !o.closed
}

func (o *outbox) done() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy--
	o.signalIdle()
}

// signalIdle closes idle if nothing is queued or being sent. The caller holds the lock.
func (o *outbox) signalIdle() {
	if o.busy == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// whenIdle returns a channel that is closed once nothing is queued or being sent. The caller holds the lock.
func (o *outbox) whenIdle() <-chan struct{} {
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	o.signalIdle()
	return idle
}

// waitIdle waits until nothing is queued or being sent.
func (o *outbox) waitIdle(ctx context.Context) error {
	o.mu.Lock()
	idle := o.whenIdle()
	o.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close drops queued deliveries and waits for those being sent: at most the 2 seconds of a callback.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	for key, queue := range o.queues {
		o.busy -= len(queue)
		o.queues[key] = nil
	}
	idle := o.whenIdle()
	o.mu.Unlock()
	<-idle
}
