package app

import (
	"context"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

func TestMemoryIsReleasedAfterTheLoadAndAfterTheBeginningOfATerm(t *testing.T) {
	for name, early := range map[string]bool{"PublishedBefore": true, "PublishedLater": false} {
		t.Run(name, func(t *testing.T) {
			var (
				store            policy.Store
				published, began term.Notifier
				released         = make(chan bool, 10)
			)
			publish := func() {
				store.Publish(&policy.Snapshot{})
				published.Notify()
			}
			if early {
				publish()
			}
			l := &memoryRelease{
				Store: &store, Published: published.Next, Began: began.Next, Delay: time.Millisecond,
				Release: func() { released <- store.Load() != nil },
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- l.Start(ctx) }() // received below
			if !early {
				publish()
			}
			// One release, whether the publication came before Start or after.
			if !<-released {
				t.Error("released before anything was loaded")
			}
			publish()
			began.Notify()
			<-released
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if len(released) != 0 {
				t.Error("an edit released memory")
			}
		})
	}
}

func TestNoMemoryIsReleasedDuringAStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var store policy.Store
	l := &memoryRelease{
		Store: &store, Published: (&term.Notifier{}).Next, Began: (&term.Notifier{}).Next,
		Delay: time.Hour, Release: func() { t.Error("released") },
	}
	if err := l.Start(ctx); err != nil {
		t.Error(err)
	}
	store.Publish(&policy.Snapshot{})
	if err := l.Start(ctx); err != nil {
		t.Error(err)
	}
}
