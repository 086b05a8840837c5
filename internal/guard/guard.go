// Package guard keeps a panic where it happens. The process answers callbacks, so a panic in the control plane must end
// neither the process nor the part that it hit: that part goes on with its next piece of work, and the panic is logged
// and counted.
//
// controller-runtime does the same for reconcilers, and net/http for requests.
package guard

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// pause is the time before a part that panicked goes on, where nothing else slows it down.
const pause = time.Second

// Part is a part of the control plane, in the label of the metric.
type Part string

// The parts.
const (
	Certificate Part = "certificate"
	Decisions   Part = "decisions" // the writer of the decision log
	Informer    Part = "informer"  // event handlers, predicates, transforms and watches
	Intake      Part = "intake"
	Leaks       Part = "leaks"
	Memory      Part = "memory"
	Metrics     Part = "metrics"
	Notifier    Part = "notifier" // what enqueues work after a publication, or at the beginning of a term
	Replica     Part = "replica"  // what the replicas know of each other
	Rounds      Part = "rounds"
	Strangers   Part = "strangers"
	Sweeper     Part = "sweeper"
	Term        Part = "term"
	Verdicts    Part = "verdicts" // changes of them
)

var parts = [...]Part{
	Certificate, Decisions, Informer, Intake, Leaks, Memory, Metrics, Notifier, Replica, Rounds, Strangers,
	Sweeper, Term, Verdicts,
}

// Guard recovers from panics, logs and counts them. A nil *Guard only recovers.
type Guard struct {
	log    logr.Logger
	panics *prometheus.CounterVec
}

// New registers the metric with registerer.
func New(registerer prometheus.Registerer, log logr.Logger) *Guard {
	g := &Guard{log: log, panics: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_panics_total",
		Help: "Panics of the control plane that were recovered from, outside of reconcilers.",
	}, []string{"part"})}
	for _, part := range parts {
		g.panics.WithLabelValues(string(part))
	}
	registerer.MustRegister(g.panics)
	return g
}

// Run calls f once and reports whether it panicked.
func (g *Guard) Run(part Part, f func()) (panicked bool) {
	defer func() {
		if cause := recover(); cause != nil {
			panicked = true
			g.observe(part, cause)
		}
	}()
	f()
	return false
}

// Repeat calls f until it returns without a panic, or ctx has ended.
func (g *Guard) Repeat(ctx context.Context, part Part, f func()) {
	for g.Run(part, f) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Runnable is a manager.Runnable of every replica.
type Runnable interface {
	Start(ctx context.Context) error
	NeedLeaderElection() bool
}

// Runnable starts r again after a panic.
func (g *Guard) Runnable(part Part, r Runnable) Runnable { return &runnable{r, g, part} }

type runnable struct {
	Runnable
	guard *Guard
	part  Part
}

// Start implements Runnable.
func (r *runnable) Start(ctx context.Context) (err error) {
	r.guard.Repeat(ctx, r.part, func() { err = r.Runnable.Start(ctx) })
	return err
}

// Collector guards c: a panic in a collector would end the process, since a registry runs each in a goroutine of its
// own.
func (g *Guard) Collector(c prometheus.Collector) prometheus.Collector { return &collector{c, g} }

type collector struct {
	prometheus.Collector
	guard *Guard
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	c.guard.Run(Metrics, func() { c.Collector.Collect(metrics) })
}

func (g *Guard) observe(part Part, cause any) {
	if g == nil {
		return
	}
	g.panics.WithLabelValues(string(part)).Inc()
	g.log.Error(fmt.Errorf("panic: %v", cause), "Recovered from a panic", "part", part, "stack", string(debug.Stack()))
}
