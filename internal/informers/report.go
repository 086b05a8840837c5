package informers

import (
	"context"
	"time"

	"github.com/go-logr/logr"
)

const (
	// reportDelay is how long a watch may fail without a line in the log: a start, or a restart of the API server.
	reportDelay = 3 * time.Second
	// reportInterval is the time between two lines while watches fail.
	reportInterval = 30 * time.Second
)

// Report logs which watches fail, at once and then every 30 s, until ctx ends. Their informers log next to nothing.
func (w *Watches) Report(ctx context.Context, log logr.Logger) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for reported := (time.Time{}); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := w.now()
		failing := summary(w.States(), func(s WatchState) bool {
			return !s.FailingSince.IsZero() && now.Sub(s.FailingSince) >= reportDelay
		})
		switch {
		case failing == "" && !reported.IsZero():
			log.Info("All watches are in order again")
			reported = time.Time{}
		case failing != "" && now.Sub(reported) >= reportInterval:
			log.Info("Watches fail", "failing", failing, "neverReceived", w.Waiting())
			reported = now
		}
	}
}
