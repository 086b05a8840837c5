package informers

import (
	"github.com/prometheus/client_golang/prometheus"
)

var watchFailing = prometheus.NewDesc("groupgate_watch_failing_seconds",
	"For how long the watch of a kind, in one of --namespace or in all of them (empty), has not been in order; "+
		"0 while it is.",
	[]string{"kind", "namespace"}, nil)

// Describe implements prometheus.Collector.
func (*Watches) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- watchFailing }

// Collect implements prometheus.Collector: the metric is computed when it is read, so that it grows whether or not
// anything else still works.
func (w *Watches) Collect(metrics chan<- prometheus.Metric) {
	now := w.now()
	for _, state := range w.States() {
		seconds := 0.0
		if !state.FailingSince.IsZero() {
			seconds = max(0, now.Sub(state.FailingSince).Seconds())
		}
		metrics <- prometheus.MustNewConstMetric(
			watchFailing, prometheus.GaugeValue, seconds, state.Kind, state.Namespace)
	}
}
