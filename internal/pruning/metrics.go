package pruning

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// Metrics are those of prune runs. A nil *Metrics counts nothing.
type Metrics struct {
	runs     *prometheus.CounterVec
	removed  *prometheus.CounterVec
	restored *prometheus.CounterVec
}

// modeNone is the label of a run that ended before a policy was recorded.
const modeNone = "None"

// NewMetrics registers the metrics with registerer.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_prune_runs_total",
			Help: "Prune runs that ended, by their purpose, the mode of their policy (None: there was no plan) and " +
				"the reason of their end.",
		}, []string{"purpose", "mode", "result"}),
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_prune_members_removed_total",
			Help: "Members that prune runs removed, by the purpose of the run.",
		}, []string{"purpose"}),
		restored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_prune_members_restored_total",
			Help: "Removed members that undos of prune runs added back, by the purpose of the run.",
		}, []string{"purpose"}),
	}
	// A series that begins with its first count hides that count from the increase that an alert looks at.
	for _, purpose := range []v1alpha1.PrunePurpose{v1alpha1.PrunePurposeFreeSeats, v1alpha1.PrunePurposeEvict} {
		m.removed.WithLabelValues(string(purpose))
		m.restored.WithLabelValues(string(purpose))
		for _, mode := range []v1alpha1.PruneMode{
			v1alpha1.PruneModePreview, v1alpha1.PruneModeApprove, v1alpha1.PruneModeEnforce, modeNone,
		} {
			for _, reason := range []string{
				v1alpha1.ReasonGroupNotFound, v1alpha1.ReasonUnsupportedGroupType, v1alpha1.ReasonVendorRefused,
				v1alpha1.ReasonActivityUnknown, v1alpha1.ReasonAppNotFound, v1alpha1.ReasonExpired,
			} {
				m.runs.WithLabelValues(string(purpose), string(mode), reason)
			}
		}
	}
	registerer.MustRegister(m.runs, m.removed, m.restored)
	return m
}

func (m *Metrics) runEnded(run *v1alpha1.PruneRun, reason string) {
	if m == nil {
		return
	}
	var mode v1alpha1.PruneMode = modeNone
	if run.Status.Policy != nil {
		mode = run.Status.Policy.Mode
	}
	m.runs.WithLabelValues(string(prunerun.PurposeOf(run)), string(mode), reason).Inc()
}

func (m *Metrics) membersRemoved(purpose v1alpha1.PrunePurpose, n int32) {
	if m != nil {
		m.removed.WithLabelValues(string(purpose)).Add(float64(n))
	}
}

func (m *Metrics) membersRestored(purpose v1alpha1.PrunePurpose, n int32) {
	if m != nil {
		m.restored.WithLabelValues(string(purpose)).Add(float64(n))
	}
}

// scrapeTimeout is how long a scrape waits for the cache, which answers from memory once it is filled.
const scrapeTimeout = time.Second

// waitReasons are what a run or an undo can wait for. Being at work is not among them.
var waitReasons = [...]string{
	v1alpha1.ReasonPending, v1alpha1.ReasonQueued, v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonBudgetExhausted,
	v1alpha1.ReasonProtectionUnresolved, v1alpha1.ReasonListUnresolved, v1alpha1.ReasonInGrace,
	v1alpha1.ReasonPolicyInvalid, v1alpha1.ReasonConflicted,
	v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonKeyMissing, v1alpha1.ReasonVendorUnavailable,
	v1alpha1.ReasonClockSkew, v1alpha1.ReasonAppNotFound, v1alpha1.ReasonSnapshotBehind,
}

// WaitCollector is groupgate_prune_wait_seconds: for each reason, how long the run has waited that has waited longest;
// and groupgate_evict_breaker_wait_seconds, the same of evictions that are no routine. No counter shows a wait that
// goes unnoticed. Every replica collects it, from its cache.
type WaitCollector struct {
	*prometheus.GaugeVec
	breaker prometheus.Gauge
	list    func(*v1alpha1.PruneRunList) error
	now     func() time.Time
}

// NewWaitCollector returns a collector that is not registered. runs is a cache, which is read until ctx ends.
func NewWaitCollector(ctx context.Context, runs client.Reader, now func() time.Time) *WaitCollector {
	return &WaitCollector{
		GaugeVec: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "groupgate_prune_wait_seconds",
			Help: "For how long the prune run, or undo, has been waiting that waits longest with this reason; " +
				"0 if none does.",
		}, []string{"reason"}),
		breaker: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_evict_breaker_wait_seconds",
			Help: "For how long the eviction has been waiting for approval, because it is no routine, that waits " +
				"longest; 0 if none does.",
		}),
		list: func(list *v1alpha1.PruneRunList) error {
			ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
			defer cancel()
			return runs.List(ctx, list, client.UnsafeDisableDeepCopy)
		},
		now: now,
	}
}

// Describe implements prometheus.Collector.
func (w *WaitCollector) Describe(described chan<- *prometheus.Desc) {
	w.GaugeVec.Describe(described)
	w.breaker.Describe(described)
}

// Collect implements prometheus.Collector. Until the cache is filled, it collects nothing.
func (w *WaitCollector) Collect(collected chan<- prometheus.Metric) {
	var list v1alpha1.PruneRunList
	if err := w.list(&list); err != nil {
		return
	}
	longest, breaker := make(map[string]time.Duration), time.Duration(0)
	for i := range list.Items {
		run := &list.Items[i]
		reason, since, ok := prunerun.WaitState(run)
		if !ok {
			continue
		}
		waited := w.now().Sub(since)
		longest[reason] = max(longest[reason], waited)
		if reason == v1alpha1.ReasonAwaitingApproval && run.Status.Plan != nil && run.Status.Plan.Breaker != "" {
			breaker = max(breaker, waited)
		}
	}
	for _, reason := range waitReasons {
		w.WithLabelValues(reason).Set(longest[reason].Seconds())
	}
	w.GaugeVec.Collect(collected)
	w.breaker.Set(breaker.Seconds())
	w.breaker.Collect(collected)
}
