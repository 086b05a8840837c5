package imclients

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of the vendor's REST API. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the metrics with registerer.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_im_requests_total",
			Help: "Requests to the vendor's REST API, by API and result: every attempt counts.",
		}, []string{"api", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "groupgate_im_request_duration_seconds",
			Help: "Duration of requests to the vendor's REST API; " +
				"the vendor itself gives up after 3 s, this client after 5.",
			// Edges around both limits.
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2, 3, 4, 5, 6},
		}, []string{"api"}),
	}
	registerer.MustRegister(m.requests, m.duration)
	return m
}

func (m *Metrics) observe(api, result string, d time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(api, result).Inc()
	m.duration.WithLabelValues(api).Observe(d.Seconds())
}
