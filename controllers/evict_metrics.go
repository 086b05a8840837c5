package controllers

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// EvictMetrics are those of what starts evictions. A nil *EvictMetrics counts nothing.
type EvictMetrics struct {
	groups   prometheus.Counter
	accounts *prometheus.CounterVec
	pending  prometheus.Gauge
	overflow prometheus.Counter
	age      *roundAge
}

// NewEvictMetrics registers the metrics with registerer.
func NewEvictMetrics(registerer prometheus.Registerer, now func() time.Time) *EvictMetrics {
	m := &EvictMetrics{
		groups: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "groupgate_evict_groups_total",
			Help: "Groups of which the members were judged by a round or after a changed verdict.",
		}),
		accounts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_evict_strangers_total",
			Help: "Members found whom the gate of their group refuses, by what found them " +
				"(Leak, VerdictChange, Round); one that is found again counts again.",
		}, []string{"trigger"}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_evict_strangers_pending",
			Help: "Members found whose grace has not ended, or whose group may not have a run yet, on this replica.",
		}),
		overflow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "groupgate_evict_strangers_overflow_total",
			Help: "Members found that were not kept, since 10,000 were pending; the next round finds them.",
		}),
		age: &roundAge{now: now, rounds: map[string]roundOfApp{}},
	}
	for _, trigger := range []v1alpha1.PruneTrigger{
		v1alpha1.PruneTriggerLeak, v1alpha1.PruneTriggerVerdictChange, v1alpha1.PruneTriggerRound,
	} {
		m.accounts.WithLabelValues(string(trigger))
	}
	registerer.MustRegister(m.groups, m.accounts, m.pending, m.overflow, m.age)
	return m
}

func (m *EvictMetrics) looked() {
	if m != nil {
		m.groups.Inc()
	}
}

func (m *EvictMetrics) found(trigger v1alpha1.PruneTrigger, accounts int) {
	if m != nil {
		m.accounts.WithLabelValues(string(trigger)).Add(float64(accounts))
	}
}

func (m *EvictMetrics) keep(accounts int) {
	if m != nil {
		m.pending.Set(float64(accounts))
	}
}

func (m *EvictMetrics) lost(accounts int) {
	if m != nil {
		m.overflow.Add(float64(accounts))
	}
}

var (
	roundSeconds = prometheus.NewDesc("groupgate_evict_round_seconds",
		"Seconds since the beginning of the last complete round through the groups that join.evict governs: all were "+
			"looked at within this time; on the leader, absent before the first round is complete.",
		[]string{"app"}, nil)
	roundIntervalSeconds = prometheus.NewDesc("groupgate_evict_round_interval_seconds",
		"The smallest join.evict.interval of the policies of the app, within which all groups are to be looked at; on "+
			"the leader.", []string{"app"}, nil)
)

// roundAge is how long ago the rounds began, on the leader, since when every governed group of an app has been looked
// at.
type roundAge struct {
	now func() time.Time

	mu     sync.Mutex
	rounds map[string]roundOfApp // by "namespace/name"
}

// roundOfApp is when the last round began that has ended, and how often there is to be one.
type roundOfApp struct {
	began    time.Time
	interval time.Duration
}

// round sets the round of an app.
func (m *EvictMetrics) round(app string, began time.Time, interval time.Duration) {
	if m == nil {
		return
	}
	m.age.mu.Lock()
	defer m.age.mu.Unlock()
	m.age.rounds[app] = roundOfApp{began, interval}
}

// noRound says that this replica knows of no round of the app.
func (m *EvictMetrics) noRound(app string) {
	if m == nil {
		return
	}
	m.age.mu.Lock()
	defer m.age.mu.Unlock()
	delete(m.age.rounds, app)
}

// Describe implements prometheus.Collector.
func (a *roundAge) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- roundSeconds
	descriptions <- roundIntervalSeconds
}

// Collect implements prometheus.Collector.
func (a *roundAge) Collect(metrics chan<- prometheus.Metric) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for app, round := range a.rounds {
		if !round.began.IsZero() {
			metrics <- prometheus.MustNewConstMetric(
				roundSeconds, prometheus.GaugeValue, now.Sub(round.began).Seconds(), app)
		}
		metrics <- prometheus.MustNewConstMetric(
			roundIntervalSeconds, prometheus.GaugeValue, round.interval.Seconds(), app)
	}
}
