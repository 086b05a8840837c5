package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/lab/labtest"
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
			stop := start(t, l.Start)
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
	labtest.Must(t, l.Start(ctx))
	store.Publish(&policy.Snapshot{})
	labtest.Must(t, l.Start(ctx))
}
