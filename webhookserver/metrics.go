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
	commandJoined
	commandCreated
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
	case callback.CommandAfterJoin:
		return commandJoined
	case callback.CommandAfterCreate:
		return commandCreated
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
	case commandJoined:
		return string(callback.CommandAfterJoin)
	case commandCreated:
		return string(callback.CommandAfterCreate)
	default:
		return "other"
	}
}

// result is the outcome of a request, as a metric label.
type result uint8

const (
	resultAdmitted     result = iota // the join, or all invited; the full group was passed on; no new member is a leak
	resultRejected                   // the join, or all invited
	resultPartial                    // some of those invited
	resultUnreadable                 // a join that could not be parsed or is contradictory, and was refused
	resultIgnored                    // nothing to do: another command, or a full group that is not pruned
	resultLeaked                     // a new member should not be in
	resultUnverified                 // a full group or new members that anybody can report, so that nothing is done
	resultUnauthorized               // 401
	resultUnknownApp                 // 403
	resultMissingApp                 // 403 too, but the request names no app, as those of scanners
	resultTooLarge                   // a join that was refused, or 413
	resultNotReady                   // 503
	resultBadRequest                 // 400, 404, 405
	resultFailed                     // a panic; a join was refused, anything else got a 500
	resultCount
)

var resultNames = [resultCount]string{
	"admitted", "rejected", "partial", "unreadable", "ignored", "leaked", "unverified", "unauthorized",
	"unknown_app", "missing_app", "too_large", "not_ready", "bad_request", "failed",
}

// withoutApp reports whether the result says that the app is not known.
func (r result) withoutApp() bool {
	return r == resultUnknownApp || r == resultMissingApp || r == resultNotReady
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

// Metrics are the counters of a Server. All series exist from the start, those of an app from its first snapshot, so
// that no rate loses its first event, and no request has to look one up.
type Metrics struct {
	apps             *appVectors
	durations        [commandCount]prometheus.Observer
	auditDifferences prometheus.Counter
	currentToken     prometheus.Counter
	previousToken    prometheus.Counter
	clockSkew        prometheus.Gauge
	unknownCommand   prometheus.Counter
	unknownGroupType prometheus.Counter

	verifiedConnections, unverifiedConnections prometheus.Gauge
	verifiedEvicted, unverifiedEvicted         prometheus.Counter
}

// NewMetrics registers the metrics of a callback server, once per registerer; nil registers nowhere. It panics where
// they are registered already.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	factory := promauto.With(registerer)
	apps := &appVectors{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_callback_requests_total",
			Help: "Callbacks answered, by app (namespace/name, empty if none is known), command (as far as it was " +
				"known) and result.",
		}, []string{"app", "command", "result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_callback_auth_failures_total",
			Help: "Callbacks answered with 401, by app (namespace/name) and reason: no_token, repeated, missing, " +
				"malformed, wrong, expired.",
		}, []string{"app", "reason"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_join_decisions_total",
			Help: "Accounts decided, by app (namespace/name), trigger (Apply, Invite, RESTAPI), verdict (admitted, " +
				"rejected) and reason.",
		}, []string{"app", "trigger", "verdict", "reason"}),
		leaks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "groupgate_leaks_total",
			Help: "Accounts that have joined, or that a new group was created with, although the gate refuses them, " +
				"by app (namespace/name).",
		}, []string{"app"}),
	}
	apps.none = apps.newCountersOfNone()
	apps.byID.Store(&map[uint64]*appCounters{})
	if registerer != nil {
		registerer.MustRegister(apps)
	}
	durations := factory.NewHistogramVec(prometheus.HistogramOpts{
		Name: "groupgate_callback_duration_seconds",
		Help: "Time from the end of the headers to the answer, by command, which is other for callbacks that are not " +
			"authenticated. The vendor hangs up, and admits, at 2 s.",
		Buckets: durationBuckets,
	}, []string{"command"})
	tokens := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_callback_auth_token_total",
		Help: "Callbacks authenticated, by the token that verified them: current or previous.",
	}, []string{"token"})
	unknown := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_callback_unknown_words_total",
		Help: "Words in callbacks that the vendor does not document, by field: " +
			"group_type (also where it is absent), query_command.",
	}, []string{"field"})

	connections := factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: "groupgate_callback_connections",
		Help: "Open connections of the callback server, by state: verified (a callback with a right Sign came on " +
			"it), unverified.",
	}, []string{"state"})
	evicted := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "groupgate_callback_connections_evicted_total",
		Help: "Connections closed to make way for new ones, by state: verified, unverified.",
	}, []string{"state"})

	m := &Metrics{
		verifiedConnections:   connections.WithLabelValues("verified"),
		unverifiedConnections: connections.WithLabelValues("unverified"),
		verifiedEvicted:       evicted.WithLabelValues("verified"),
		unverifiedEvicted:     evicted.WithLabelValues("unverified"),
		apps:                  apps,
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
	}
	return m
}

func (m *Metrics) answered(app *appCounters, named callback.Command, r result, took time.Duration) {
	c := commandOf(named)
	app.requests[c][r].Inc()
	if r.withoutApp() || r == resultUnauthorized {
		c = commandOther // many quick refusals of strangers would hide slow answers to the vendor
	}
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

func (m *Metrics) evicted(verified bool) {
	if verified {
		m.verifiedEvicted.Inc()
	} else {
		m.unverifiedEvicted.Inc()
	}
}

func (m *Metrics) decided(app *appCounters, trigger policy.Trigger, verdict *policy.Verdict) {
	rejected, _ := verdictIndex(verdict.Admit)
	if counter := app.decisions[trigger][rejected][verdict.Reason]; counter != nil {
		counter.Inc()
	}
	if verdict.AuditDiffers {
		m.auditDifferences.Inc()
	}
}

// Joins are how many accounts of an app were decided, and how many leaks were seen, since its counters began.
type Joins struct{ Admitted, Refused, Leaked uint64 }

// Joins returns those of each app of the published snapshot, by "namespace/name". It is not for the path of a request.
func (m *Metrics) Joins() map[string]Joins { return m.apps.joins() }

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

func verdictIndex(admit bool) (rejected int, label string) {
	if admit {
		return 0, "admitted"
	}
	return 1, "rejected"
}
