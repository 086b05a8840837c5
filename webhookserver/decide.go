package webhookserver

import (
	"net/http"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// apply answers a client that applies to join (page 34370).
func (h *handler) apply(x *exchange, app *policy.CompiledApp, c *callback.Callback) (result, *answer) {
	verdict := h.decide(x, app, &policy.JoinQuery{
		Group:   c.GroupID,
		Type:    h.groupType(c),
		Account: c.Requestor,
		Trigger: policy.TriggerApply,
		Now:     x.started,
	})
	if verdict.Admit {
		return resultAdmitted, continues
	}
	return resultRejected, x.rejection(&verdict)
}

// invite answers for accounts that a client invites, or that an administrator adds over REST (page 34371). Each account
// is decided by itself. If all are refused, the code and message of the first refuse the whole invitation: a list of
// refused accounts with code 0 would show the inviter no error.
func (h *handler) invite(
	x *exchange, app *policy.CompiledApp, c *callback.Callback, platform string,
) (result, *answer) {
	query := policy.JoinQuery{
		Group:    c.GroupID,
		Type:     h.groupType(c),
		Trigger:  policy.TriggerInvite,
		Operator: c.Operator,
		Now:      x.started,
	}
	if addedOverREST(platform) {
		query.Trigger = policy.TriggerRESTAPI
	}
	var first policy.Verdict
	for _, account := range c.Members {
		query.Account = account
		verdict := h.decide(x, app, &query)
		if verdict.Admit {
			continue
		}
		if len(x.refused) == 0 {
			first = verdict
		}
		x.refused = append(x.refused, account)
	}
	switch len(x.refused) {
	case 0:
		return resultAdmitted, continues
	case len(c.Members):
		return resultRejected, x.rejection(&first)
	default:
		return resultPartial, x.encode(callback.Answer{OK: true, Refused: x.refused})
	}
}

// decide returns one account's verdict, counts it, passes it to the decision log, and logs a refusal at V(1).
func (h *handler) decide(x *exchange, app *policy.CompiledApp, query *policy.JoinQuery) policy.Verdict {
	verdict := app.DecideJoin(*query)
	h.metrics.decided(x.app, query.Trigger, &verdict)
	if h.decisions.Wants(&verdict) {
		h.logDecision(x, query, &verdict, false)
	}
	if log := h.log.V(1); !verdict.Admit && log.Enabled() {
		log.Info("Join refused", "app", app.Object().Key(), "group", query.Group,
			"account", query.Account, "trigger", query.Trigger.String(), "reason", verdict.Reason.String())
	}
	return verdict
}

// logDecision passes a verdict that the decision log wants to it, on a join or on a leak.
func (h *handler) logDecision(x *exchange, query *policy.JoinQuery, verdict *policy.Verdict, leak bool) {
	decision := decisionlog.New(x.app.key, x.snapshot, query, verdict)
	decision.Leak = leak
	if len(x.body) > firstRead {
		decision.Detach() // thousands may wait
	}
	h.decisions.Add(decision)
}

// groupType translates the vendor's spelling. For a type that is absent or unknown no policy is excluded by groupTypes,
// so that no gate opens for a type that the vendor introduces; it is counted, since a policy may then apply to more
// than it says.
func (h *handler) groupType(c *callback.Callback) policy.GroupType {
	groupType := policy.ParseGroupType(im.GroupType(c.GroupType))
	if groupType == policy.TypeUnknown {
		h.metrics.unknownGroupType.Inc()
	}
	return groupType
}

// groupFull passes on a full group (page 34376), if it may be pruned. The vendor does not read the answer.
//
// Without authentication anybody could fill the API server with PruneRuns, so the group is not passed on; the sweep
// finds it.
//
// Other full groups are logged at V(1) only: the vendor repeats the callback with every further attempt to join, which
// would flood the log. At the default level the counter shows them.
func (h *handler) groupFull(app *policy.CompiledApp, c *callback.Callback) (result, *answer) {
	if app.PruningSuspended() || !app.MayPrune(c.GroupID) {
		if log := h.log.V(1); log.Enabled() {
			log.Info("Full group is left alone", "app", app.Object().Key(), "group", c.GroupID,
				"suspended", app.PruningSuspended())
		}
		return resultIgnored, continues
	}
	if app.Authentication() == policy.AuthenticateNone {
		return resultUnverified, continues
	}
	h.fullGroups.GroupFull(app.Object(), c.GroupID)
	return resultAdmitted, continues
}

// rejection is the answer to a join that is refused as a whole. The client sees both the code of a policy and its
// message, even an empty one.
func (x *exchange) rejection(verdict *policy.Verdict) *answer {
	switch verdict.Code {
	case 0, policy.RefuseCode: // no policy has code 0, but it would admit
		return rejected
	default:
		return x.encode(callback.Answer{OK: true, Code: verdict.Code, Info: verdict.Message})
	}
}

// encode writes an answer into memory that is reused.
func (x *exchange) encode(a callback.Answer) *answer {
	x.encoded.status = http.StatusOK
	x.encoded.body = a.AppendJSON(x.encoded.body[:0])
	return &x.encoded
}
