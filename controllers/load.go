package controllers

import (
	"context"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// afterLoad is how long what makes much garbage has to be over before that is given back.
const afterLoad = 5 * time.Second

// loadRelease gives back to the system what loading everything took, and the look at every status with which a term begins: together as
// much again as what is kept. The runtime itself would hold on to it, as room that edits which come one by one never need.
type loadRelease struct {
	Store *policy.Store
	// Published and Began return channels that the next publication and the beginning of the next term close.
	Published, Began func() <-chan struct{}
	// Delay is how long after the first publication, and after the beginning of a term.
	Delay time.Duration
	// Release is debug.FreeOSMemory, which costs one garbage collection.
	Release func()
}

// Start is a manager.Runnable.
func (l *loadRelease) Start(ctx context.Context) error {
	began, published := l.Began(), l.Published()
	if l.Store.Load() != nil {
		loaded := make(chan struct{})
		close(loaded)
		published = loaded
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-published:
			published = nil // the later ones are edits
		case <-began:
			began = l.Began()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.Delay):
			l.Release()
		}
	}
}
