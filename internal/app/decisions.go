package app

import (
	"context"
	"time"

	"github.com/groupgate/groupgate/internal/guard"
)

// drainTimeout bounds how long the end of the process waits for an output that does not take the last decisions.
const drainTimeout = 5 * time.Second

// logDecisions writes the decision log until ctx ends, and then what is left, for at most drainTimeout.
func (a *App) logDecisions(ctx context.Context) {
	if a.decisions == nil {
		return
	}
	written := make(chan struct{})
	go func() { // ends after ctx, or with the process if the output blocks
		defer close(written)
		a.guard.Repeat(ctx, guard.Decisions, func() { a.decisions.Run(ctx) })
	}()
	<-ctx.Done()
	select {
	case <-written:
	case <-time.After(drainTimeout):
		a.options.Log.Info("The output of the decision log does not take the last decisions",
			"decisions", a.decisions.Waiting())
	}
}
