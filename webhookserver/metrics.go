package webhookserver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// command is the closed set of commands that metrics know.
type command uint8

const (
	commandApply command = iota
	commandInvite
	commandGroupFull
	commandOther
	commandCount
)

func commandOf(c callback.Command) command {
	switch c {
	case callback.CommandBeforeApplyJoin:
		return commandApply
	case callback.CommandBeforeInviteJoin:
		return commandInvite
	case callback.CommandAfterGroupFull:
		return commandGroupFull
	default:
		return commandOther
	}
}

// String is the vendor's name of the command, which its console, its pages and our log use.
func (c command) String() string {
	switch c {
	case commandApply:
		return string(callback.CommandBeforeApplyJoin)
	case commandInvite:
		return string(callback.CommandBeforeInviteJoin)
	case commandGroupFull:
		return string(callback.CommandAfterGroupFull)
	default:
		return "other"
	}
}

// result is the outcome of a request, as a metric label.
type result uint8

const (
	resultAdmitted     result = iota // the join, or all invited; or the full group was passed on
	resultRejected                   // the join, or all invited
	resultPartial                    // some of those invited
	resultUnreadable                 // a join that could not be parsed, and was refused
	resultIgnored                    // nothing to do: another command, or a full group that is not pruned
	resultUnauthorized               // 401
	resultUnknownApp                 // 403
	resultTooLarge                   // 413
	resultNotReady                   // 503
	resultBadRequest                 // 400, 404, 405
	resultFailed                     // a panic; a join was refused, anything else got a 500
	resultCount
)

var resultNames = [resultCount]string{
	"admitted", "rejected", "partial", "unreadable", "ignored", "unauthorized",
	"unknown_app", "too_large", "not_ready", "bad_request", "failed",
}

var authFailureNames = [authFailures]string{
	authNoToken:   "no_token",
	authRepeated:  "repeated",
	authMissing:   "missing",
	authMalformed: "malformed",
	authWrong:     "wrong",
	authExpired:   "expired",
}

// durationBuckets resolves answers from memory, well under a millisecond, and has an edge at 2 s, where the vendor
// hangs up.
var durationBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2, 2.5, 3}

// Metrics are the counters of a Server. All series exist from the start, so that no rate loses its first event, and no
// request has to look one up.
type Metrics struct {
	requests         [commandCount][resultCount]prometheus.Counter
	durations        [commandCount]prometheus.Observer
	decisions        decisionCounters
	auditDifferences prometheus.Counter
	authFailures     [authFailures]prometheus.Counter
	currentToken     prometheus.Counter
	previousToken    prometheus.Counter
	clockSkew        prometheus.Gauge
	unknownCommand   prometheus.Counter
	unknownGroupType prometheus.Counter
}

// NewMetrics registers the metrics of a callback server, once per registerer; nil registers nowhere. It panics where
// they are registered already.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	factory := promauto.With(registerer)
	requests := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_callback_requests_total",
		Help: "Callbacks answered, by command (as far as it was known) and result.",
	}, []string{"command", "result"})
	durations := factory.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "groupgate_callback_duration_seconds",
		Help:    "Time from the end of the headers to the answer, by command. The vendor hangs up, and admits, at 2 s.",
		Buckets: durationBuckets,
	}, []string{"command"})
	failures := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_callback_auth_failures_total",
		Help: "Callbacks answered with 401, by reason: no_token, repeated, missing, malformed, wrong, expired.",
	}, []string{"reason"})
	tokens := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_callback_auth_token_total",
		Help: "Callbacks authenticated, by the token that verified them: current or previous.",
	}, []string{"token"})
	unknown := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_callback_unknown_words_total",
		Help: "Words in callbacks that the vendor does not document, by field: " +
			"group_type (also where it is absent), query_command.",
	}, []string{"field"})

	m := &Metrics{
		decisions: newDecisionCounters(factory),
		auditDifferences: factory.NewCounter(prometheus.CounterOpts{
			Name: "groupgate_join_audit_differences_total",
			Help: "Accounts whose verdict would be another one if the join sections in mode Audit were enforced.",
		}),
		currentToken:  tokens.WithLabelValues(string(policy.TokenCurrent)),
		previousToken: tokens.WithLabelValues(string(policy.TokenPrevious)),
		clockSkew: factory.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_callback_clock_skew_seconds",
			Help: "Our clock minus RequestTime of the last authenticated callback, which is cut to whole seconds. " +
				"Beyond 60 every callback is refused.",
		}),
		unknownGroupType: unknown.WithLabelValues("group_type"),
		unknownCommand:   unknown.WithLabelValues("query_command"),
	}
	for c := range commandCount {
		m.durations[c] = durations.WithLabelValues(c.String())
		for r := range resultCount {
			m.requests[c][r] = requests.WithLabelValues(c.String(), resultNames[r])
		}
	}
	for reason := authenticated + 1; reason < authFailures; reason++ {
		m.authFailures[reason] = failures.WithLabelValues(authFailureNames[reason])
	}
	return m
}

func (m *Metrics) answered(named callback.Command, r result, took time.Duration) {
	c := commandOf(named)
	m.requests[c][r].Inc()
	m.durations[c].Observe(took.Seconds())
}

func (m *Metrics) verified(token policy.TokenName, skew time.Duration) {
	if token == policy.TokenPrevious {
		m.previousToken.Inc()
	} else {
		m.currentToken.Inc()
	}
	m.clockSkew.Set(skew.Seconds())
}

func (m *Metrics) decided(trigger policy.Trigger, verdict *policy.Verdict) {
	m.decisions.count(trigger, verdict)
	if verdict.AuditDiffers {
		m.auditDifferences.Inc()
	}
}

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

// decisionCounters are indexed by trigger, by whether the join was rejected, and by reason; nil where policy has no
// such verdict.
type decisionCounters [triggerCount][2][reasonCount]prometheus.Counter

func newDecisionCounters(factory promauto.Factory) (counters decisionCounters) {
	vector := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_join_decisions_total",
		Help: "Accounts decided, by trigger (Apply, Invite, RESTAPI), verdict (admitted, rejected) and reason.",
	}, []string{"trigger", "verdict", "reason"})
	for trigger := range triggerCount {
		for _, v := range verdicts {
			rejected, label := verdictIndex(v.admit)
			counters[trigger][rejected][v.reason] =
				vector.WithLabelValues(policy.Trigger(trigger).String(), label, v.reason.String())
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
