package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// scrapePatience is how long a scrape waits for the cache, which answers from memory once it is filled.
const scrapePatience = time.Second

// waitReasons are what a run or an undo can wait for. Being at work is not among them.
var waitReasons = [...]string{
	v1alpha1.ReasonPending, v1alpha1.ReasonQueued, v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonBudgetExhausted,
	v1alpha1.ReasonProtectionUnresolved, v1alpha1.ReasonPolicyInvalid, v1alpha1.ReasonConflicted, v1alpha1.ReasonSecretNotFound,
	v1alpha1.ReasonKeyMissing, v1alpha1.ReasonVendorUnavailable, v1alpha1.ReasonClockSkew,
}

// runWaits is groupgate_prune_wait_seconds: for each reason, how long the run has waited that has waited longest. A wait that nobody
// looks at is the one trouble of a run that no counter shows. Every replica tells it, from its cache.
type runWaits struct {
	*prometheus.GaugeVec
	list func(*v1alpha1.PruneRunList) error
	now  func() time.Time
}

// newRunWaits returns the collector; it is not registered. runs is a cache, which is read until ctx ends.
func newRunWaits(ctx context.Context, runs client.Reader, now func() time.Time) *runWaits {
	return &runWaits{
		GaugeVec: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "groupgate_prune_wait_seconds",
			Help: "For how long the prune run, or undo, has been waiting that waits longest with this reason; 0 if none does.",
		}, []string{"reason"}),
		list: func(list *v1alpha1.PruneRunList) error {
			ctx, cancel := context.WithTimeout(ctx, scrapePatience)
			defer cancel()
			return runs.List(ctx, list, client.UnsafeDisableDeepCopy)
		},
		now: now,
	}
}

// Collect implements prometheus.Collector. Without a cache that is filled it collects nothing.
func (w *runWaits) Collect(collected chan<- prometheus.Metric) {
	var list v1alpha1.PruneRunList
	if err := w.list(&list); err != nil {
		return
	}
	longest := make(map[string]time.Duration)
	for i := range list.Items {
		if reason, since, waits := prunerun.WaitState(&list.Items[i]); waits {
			longest[reason] = max(longest[reason], w.now().Sub(since))
		}
	}
	for _, reason := range waitReasons {
		w.WithLabelValues(reason).Set(longest[reason].Seconds())
	}
	w.GaugeVec.Collect(collected)
}
