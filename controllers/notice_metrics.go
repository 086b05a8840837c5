package controllers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// NoticeMetrics count notices. A nil *NoticeMetrics counts nothing.
type NoticeMetrics struct{ notices *prometheus.CounterVec }

// NewNoticeMetrics registers the metrics with registerer.
func NewNoticeMetrics(registerer prometheus.Registerer) *NoticeMetrics {
	m := &NoticeMetrics{notices: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_notices_total",
		Help: "Attempts to tell that a plan awaits approval, by receiver (Webhook, Group) and result: Sent, NotSent " +
			"(tried again while the plan awaits approval), Unknown (it may have arrived, and is not sent again), " +
			"Withheld (the plan is about the group itself).",
	}, []string{"to", "result"})}
	// A series that begins with its first count hides that count from the increase that an alert looks at.
	for _, to := range []v1alpha1.NoticeReceiver{v1alpha1.NoticeReceiverWebhook, v1alpha1.NoticeReceiverGroup} {
		for _, result := range []v1alpha1.NoticeResult{
			v1alpha1.NoticeResultSent, v1alpha1.NoticeResultNotSent, v1alpha1.NoticeResultUnknown,
			v1alpha1.NoticeResultWithheld,
		} {
			m.notices.WithLabelValues(string(to), string(result))
		}
	}
	registerer.MustRegister(m.notices)
	return m
}

func (m *NoticeMetrics) noticed(to v1alpha1.NoticeReceiver, result v1alpha1.NoticeResult) {
	if m != nil {
		m.notices.WithLabelValues(string(to), string(result)).Inc()
	}
}
