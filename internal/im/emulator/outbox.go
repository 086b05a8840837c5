package emulator

import (
	"context"
	"sync"
)

// outbox sends after-callbacks in the background: those of one group in the order in which things happened, those of different groups
// beside each other. The vendor documents no order at all; this one is the least surprising.
type outbox struct {
	lanes chan struct{} // bounds how many are sent at the same time

	mu     sync.Mutex
	queues map[string][]func() // by group; a group that is present has a goroutine that empties it
	busy   int                 // deliveries under way or queued, before-callbacks included
	idle   chan struct{}       // closed when busy falls to 0; nil while nobody waits for that
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
		go o.empty(key) // ends by itself when the queue is empty; close empties it
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
		o.done(1)
	}
}

// begin counts a delivery that somebody waits for himself. It is ended by done(1).
func (o *outbox) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.busy++
	return true
}

func (o *outbox) done(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy -= n
	if o.busy == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// settle waits until nothing is under way or queued.
func (o *outbox) settle(ctx context.Context) error {
	o.mu.Lock()
	if o.busy == 0 {
		o.mu.Unlock()
		return nil
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	o.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close drops what is queued and waits for what is under way: at most the 2 seconds of a callback.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	dropped := 0
	for key, queue := range o.queues {
		dropped += len(queue)
		o.queues[key] = nil
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	o.mu.Unlock()
	if dropped > 0 {
		o.done(dropped)
	}
	o.mu.Lock()
	if o.busy == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
	o.mu.Unlock()
	<-idle
}
