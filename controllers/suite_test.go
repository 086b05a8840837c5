package controllers

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/term"
)

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

// start runs what the test stops with stop, or its end does; stop returns when run has returned.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// heldTerm returns a term that is held until end is called. end does not wait for work that has joined the term.
func heldTerm(t *testing.T) (_ *term.Term, end func()) {
	t.Helper()
	lasting := &term.Term{Log: logr.Discard()}
	ctx, cancel := context.WithCancel(t.Context())
	start(t, func(context.Context) error { return lasting.Start(ctx) })
	t.Cleanup(cancel) // before start waits
	labtest.Eventually(t, held(lasting, true))
	return lasting, func() {
		cancel()
		labtest.Eventually(t, held(lasting, false))
	}
}

func held(leader *term.Term, want bool) func() error {
	return func() error {
		if leader.Held() != want {
			return fmt.Errorf("the term is held: %t, want %t", leader.Held(), want)
		}
		return nil
	}
}

// pause lets real time pass where the absence of an event is what is tested.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}
