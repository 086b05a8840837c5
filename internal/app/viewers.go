package app

import (
	"net/http"
	"time"

	"github.com/groupgate/groupgate/internal/refusals"
)

// staleAfter is for how long a watch may fail before the replica says that it is stale: the restart of an API server
// that has several takes less.
const staleAfter = 5 * time.Second

// viewerPaths are those that people read at the metrics endpoint.
func (a *App) viewerPaths() map[string]http.Handler {
	if !a.options.MetricsSecure {
		why := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "Refusals and joins are served only with --metrics-secure of the manager: otherwise anybody "+
				"could read them.", http.StatusNotFound)
		})
		return map[string]http.Handler{"GET " + refusals.RefusalsPath: why, "GET " + refusals.ActivityPath: why}
	}
	handler := &refusals.Handler{
		Ring: a.ring, Counts: a.counts, Missed: func() uint64 { return a.decisions.Missed() },
	}
	return map[string]http.Handler{
		"GET " + refusals.RefusalsPath: http.HandlerFunc(handler.Refusals),
		"GET " + refusals.ActivityPath: http.HandlerFunc(handler.Activity),
	}
}

// joins are the totals of the callback server.
func (a *App) joins() map[string]refusals.Totals {
	totals := map[string]refusals.Totals{}
	for app, joins := range a.server.Metrics.Joins() {
		totals[app] = refusals.Totals(joins)
	}
	return totals
}

// freshness says up to when this replica knows the objects that it decides by.
func (a *App) freshness() (at time.Time, stale bool) {
	now := a.options.Now()
	if a.Store.Load() == nil {
		return time.Time{}, true
	}
	at = now
	for _, state := range a.watches.States() {
		if since := state.FailingSince; !since.IsZero() && since.Before(at) {
			at = since
		}
	}
	if now.Sub(at) < staleAfter {
		return now, false
	}
	return at, true
}
