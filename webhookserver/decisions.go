package webhookserver

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/groupgate/groupgate/internal/policy"
)

const (
	triggerCount = int(policy.TriggerRESTAPI) + 1
	reasonCount  = int(policy.ReasonRestored) + 1
)

// verdicts are the pairs of verdict and reason that package policy returns.
var verdicts = []struct {
	admit  bool
	reason policy.Reason
}{
	{true, policy.ReasonAllowed},
	{true, policy.ReasonNotGated},
	{true, policy.ReasonUnmatched},
	{false, policy.ReasonDenied},
	{false, policy.ReasonNotListed},
	{false, policy.ReasonUnmatched},
	{false, policy.ReasonPruned},
	{true, policy.ReasonRestored},
}

// decisionCounters are indexed by trigger, by whether the join was rejected,
// and by reason; nil where there is no such verdict.
type decisionCounters [triggerCount][2][reasonCount]prometheus.Counter

func newDecisionCounters(factory promauto.Factory) (counters decisionCounters) {
	vector := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_join_decisions_total",
		Help: "Accounts decided, by trigger (Apply, Invite, RESTAPI), verdict (admitted, rejected) and reason.",
	}, []string{"trigger", "verdict", "reason"})
	for trigger := range triggerCount {
		for _, v := range verdicts {
			rejected, label := verdictIndex(v.admit)
			counters[trigger][rejected][v.reason] = vector.WithLabelValues(policy.Trigger(trigger).String(), label, v.reason.String())
		}
	}
	return counters
}

func verdictIndex(admit bool) (rejected int, label string) {
	if admit {
		return 0, "admitted"
	}
	return 1, "rejected"
}

func (c *decisionCounters) count(trigger policy.Trigger, verdict *policy.Verdict) {
	rejected, _ := verdictIndex(verdict.Admit)
	if counter := c[trigger][rejected][verdict.Reason]; counter != nil {
		counter.Inc()
	}
}
