package controllers

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// signal tells whoever listens that something happened. It carries no value, so that nobody is ever behind: who is slow hears of
// several events once. Its zero value is ready.
type signal struct {
	mu   sync.Mutex
	next chan struct{}
}

// fire wakes everybody who waits. It never blocks.
func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// wait returns a channel that is closed at the next fire.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

// source enqueues what requests returns after every fire, and at once if it happened already when the source starts.
func (s *signal) source(happened func() bool, requests func(context.Context) []reconcile.Request) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		next := s.wait()
		enqueue := func() {
			for _, request := range requests(ctx) {
				queue.Add(request)
			}
		}
		go func() { // ends with the controller's ctx
			if happened() {
				enqueue()
			}
			for {
				select {
				case <-ctx.Done():
					return
				case <-next:
				}
				next = s.wait() // before the look around: what happens during it is another event
				enqueue()
			}
		}()
		return nil
	})
}
