package controllers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/internal/policy"
)

// Metrics are those of the snapshot and of the term. A nil *Metrics counts nothing.
type Metrics struct {
	term             prometheus.Gauge
	buildDuration    prometheus.Histogram
	lastBuildSuccess prometheus.Gauge
	snapshotHash     prometheus.Gauge
	snapshotPolicies *prometheus.GaugeVec
	snapshotAccounts prometheus.Gauge
}

// NewMetrics registers the metrics with registerer.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		term: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_term",
			Help: "1 while this replica is the leader and so writes statuses and prunes, else 0.",
		}),
		buildDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "groupgate_snapshot_build_duration_seconds",
			Help:    "Time to take up what changed and build one snapshot.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10},
		}),
		lastBuildSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_snapshot_last_build_success_timestamp_seconds",
			Help: "Unix time of the last snapshot that was published; 0 before the first.",
		}),
		snapshotHash: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_snapshot_hash",
			Help: "Low 53 bits of the hash of the published snapshot; " +
				"equal on all replicas that serve the same objects.",
		}),
		snapshotPolicies: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "groupgate_snapshot_policies",
			Help: "GroupPolicies of the published snapshot by state.",
		}, []string{"state"}),
		snapshotAccounts: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_snapshot_accounts",
			Help: "Accounts held by the published snapshot, over all lists and policies.",
		}),
	}
	registerer.MustRegister(
		m.term, m.buildDuration, m.lastBuildSuccess, m.snapshotHash, m.snapshotPolicies, m.snapshotAccounts)
	return m
}

func (m *Metrics) termHeld(held bool) {
	if m == nil {
		return
	}
	if held {
		m.term.Set(1)
		return
	}
	m.term.Set(0)
}

func (m *Metrics) built(snapshot *policy.Snapshot, at time.Time, took time.Duration) {
	if m == nil {
		return
	}
	m.buildDuration.Observe(took.Seconds())
	m.lastBuildSuccess.Set(float64(at.UnixNano()) / 1e9)
	// A float64 holds 53 bits exactly. That two hashes differ in the other 11 bits only is improbable.
	m.snapshotHash.Set(float64(snapshot.Hash() & (1<<53 - 1)))
	stats := snapshot.Stats()
	for acceptance, count := range stats.Policies {
		m.snapshotPolicies.WithLabelValues(acceptance.String()).Set(float64(count))
	}
	m.snapshotAccounts.Set(float64(stats.Accounts))
}

// intakeResult is the label of one count of the intake.
type intakeResult string

const (
	intakeCoalesced   intakeResult = "coalesced"
	intakeOverflow    intakeResult = "overflow"
	intakeCreated     intakeResult = "created"
	intakeUnfinished  intakeResult = "unfinished"
	intakeCooling     intakeResult = "cooling"
	intakeSuspended   intakeResult = "suspended"
	intakeNotGoverned intakeResult = "not_governed"
	intakeRefuted     intakeResult = "refuted"
	intakeRetried     intakeResult = "retried"
)

// IntakeMetrics are those of the Intake. A nil *IntakeMetrics counts nothing.
type IntakeMetrics struct {
	pending prometheus.Gauge
	results *prometheus.CounterVec
}

// NewIntakeMetrics registers the metrics with registerer.
func NewIntakeMetrics(registerer prometheus.Registerer) *IntakeMetrics {
	m := &IntakeMetrics{
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_prune_intake_pending",
			Help: "Full groups of which a callback was taken in and not yet dealt with, on this replica.",
		}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_prune_intake_total",
			Help: "Group-full callbacks (coalesced, overflow) and what became of the pending groups (created, " +
				"unfinished, cooling, suspended, not_governed, refuted by the vendor), " +
				"and attempts that failed and are repeated (retried).",
		}, []string{"result"}),
	}
	registerer.MustRegister(m.pending, m.results)
	return m
}

func (m *IntakeMetrics) setPending(n int) {
	if m != nil {
		m.pending.Set(float64(n))
	}
}

func (m *IntakeMetrics) count(result intakeResult) {
	if m != nil {
		m.results.WithLabelValues(string(result)).Inc()
	}
}
