package guard

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestPanicIsLoggedWithItsStackAndCounted(t *testing.T) {
	var log strings.Builder
	g := New(prometheus.NewRegistry(), funcr.New(func(_, args string) { log.WriteString(args) }, funcr.Options{}))
	if !g.Run(Sweeper, misbehave) || g.Run(Sweeper, func() {}) {
		t.Error("Run does not tell whether there was a panic")
	}
	if got := testutil.ToFloat64(g.panics.WithLabelValues("sweeper")); got != 1 {
		t.Errorf("%v panics counted, want 1", got)
	}
	for _, want := range []string{"misbehaved", `"part"="sweeper"`, "guard.misbehave"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
	if got := testutil.CollectAndCount(g.panics); got != len(parts) {
		t.Errorf("%d series from the start, want one for each of %v", got, parts)
	}
	var none *Guard
	if !none.Run(Term, misbehave) {
		t.Error("without a Guard the panic is not reported")
	}
}

func misbehave() { panic("misbehaved") }

func TestRepeatGoesOnUntilThereIsNoPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *Guard
		calls := 0
		begin := time.Now()
		g.Repeat(t.Context(), Term, func() {
			if calls++; calls < 3 {
				misbehave()
			}
		})
		if took := time.Since(begin); calls != 3 || took != 2*pause {
			t.Errorf("%d calls in %s", calls, took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		g.Repeat(ctx, Term, func() {
			cancel()
			misbehave()
		})
	})
}

type brokenRunnable struct{ starts int }

func (*brokenRunnable) NeedLeaderElection() bool { return false }

func (r *brokenRunnable) Start(context.Context) error {
	if r.starts++; r.starts == 1 {
		misbehave()
	}
	return errors.New("ended")
}

func TestRunnableThatPanicsIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			g *Guard
			r brokenRunnable
		)
		guarded := g.Runnable(Term, &r)
		if err := guarded.Start(t.Context()); r.starts != 2 || err == nil || err.Error() != "ended" {
			t.Errorf("started %d times, %v", r.starts, err)
		}
		if guarded.NeedLeaderElection() {
			t.Error("it would run on one replica only")
		}
	})
}

type brokenCollector struct{ prometheus.Gauge }

func (brokenCollector) Collect(chan<- prometheus.Metric) { misbehave() }

func TestCollectorThatPanicsCostsOnlyItsOwnSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	var g *Guard
	registry.MustRegister(
		g.Collector(brokenCollector{prometheus.NewGauge(prometheus.GaugeOpts{Name: "broken", Help: "Broken."})}),
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "sound", Help: "Sound."}))
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "sound" {
		t.Errorf("gathered %v, %v", families, err)
	}
}
