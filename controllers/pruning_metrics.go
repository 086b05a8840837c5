package controllers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// PruneMetrics are those of prune runs and of the intake that makes them. A nil *PruneMetrics counts nothing.
type PruneMetrics struct {
	runs     *prometheus.CounterVec
	removed  prometheus.Counter
	restored prometheus.Counter
	pending  prometheus.Gauge
	intake   *prometheus.CounterVec
}

// NewPruneMetrics registers the metrics with registerer.
func NewPruneMetrics(registerer prometheus.Registerer) *PruneMetrics {
	m := &PruneMetrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_prune_runs_total",
			Help: "Prune runs that ended, by the mode of their policy (None: there was no plan) and the reason of their end.",
		}, []string{"mode", "result"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "groupgate_prune_members_removed_total",
			Help: "Members that prune runs removed.",
		}),
		restored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "groupgate_prune_members_restored_total",
			Help: "Removed members that undos of prune runs added back.",
		}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_prune_intake_pending",
			Help: "Full groups of which a callback was taken in and not yet dealt with, on this replica.",
		}),
		intake: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_prune_intake_total",
			Help: "Group-full callbacks (coalesced, overflow) and what became of the pending groups (created, unfinished, cooling, " +
				"suspended, not_governed), and attempts that failed and are repeated (retried).",
		}, []string{"result"}),
	}
	// A series that begins with its first count hides that count from the increase that an alert looks at.
	for _, mode := range []string{string(v1alpha1.PruneModePreview), string(v1alpha1.PruneModeApprove), string(v1alpha1.PruneModeEnforce), modeNone} {
		for _, reason := range []string{
			v1alpha1.ReasonGroupNotFound, v1alpha1.ReasonUnsupportedGroupType, v1alpha1.ReasonVendorRefused,
			v1alpha1.ReasonActivityUnknown, v1alpha1.ReasonClockSkew, v1alpha1.ReasonAppNotFound, v1alpha1.ReasonExpired,
		} {
			m.runs.WithLabelValues(mode, reason)
		}
	}
	registerer.MustRegister(m.runs, m.removed, m.restored, m.pending, m.intake)
	return m
}

// modeNone is the label of a run that ended before a policy was recorded.
const modeNone = "None"

func (m *PruneMetrics) runEnded(run *v1alpha1.PruneRun, reason string) {
	if m == nil {
		return
	}
	mode := modeNone
	if run.Status.Policy != nil {
		mode = string(run.Status.Policy.Mode)
	}
	m.runs.WithLabelValues(mode, reason).Inc()
}

func (m *PruneMetrics) membersRemoved(n int32) {
	if m != nil {
		m.removed.Add(float64(n))
	}
}

func (m *PruneMetrics) membersRestored(n int32) {
	if m != nil {
		m.restored.Add(float64(n))
	}
}

func (m *PruneMetrics) intakePending(n int) {
	if m != nil {
		m.pending.Set(float64(n))
	}
}

func (m *PruneMetrics) intakeResult(result intakeResult) {
	if m != nil {
		m.intake.WithLabelValues(string(result)).Inc()
	}
}
