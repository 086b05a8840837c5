package webhookserver

import (
	"strings"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// Leaks takes leaks.
type Leaks interface {
	// Leaked is called on the path of a request, from many goroutines, and must neither do I/O nor wait. The strings
	// share no memory with the request.
	Leaked(leak policy.Leak)
}

var (
	byApplication = []policy.Trigger{policy.TriggerApply}
	byInvitation  = []policy.Trigger{policy.TriggerInvite}
	overREST      = []policy.Trigger{policy.TriggerRESTAPI}
	inAnyWay      = []policy.Trigger{policy.TriggerApply, policy.TriggerInvite, policy.TriggerRESTAPI}
)

// joined judges new members (page 34372). The vendor does not read the answer.
func (h *handler) joined(
	x *exchange, app *policy.CompiledApp, c *callback.Callback, platform string,
) (result, *answer) {
	switch {
	case c.JoinType == callback.JoinTypeApply:
		c.Operator = "" // who approved the application, or the account itself
		return h.judge(x, app, c, byApplication)
	case c.JoinType != callback.JoinTypeInvited:
		return h.judge(x, app, c, inAnyWay)
	case addedOverREST(platform) || c.Operator == app.AdminAccount():
		return h.judge(x, app, c, overREST)
	default:
		return h.judge(x, app, c, byInvitation)
	}
}

// addedOverREST reports whether an invitation is an addition over REST (OptPlatform, page 34355).
func addedOverREST(platform string) bool { return strings.EqualFold(platform, "RESTAPI") }

// created judges the members that a group was created with, for whom no callback asks (page 34369).
func (h *handler) created(x *exchange, app *policy.CompiledApp, c *callback.Callback) (result, *answer) {
	return h.judge(x, app, c, inAnyWay)
}

// judge finds the new members whom the gate would refuse now, whichever of the triggers it were. An owner and the app's
// admin account are none. An app without authentication is left out: its reports of members can be forged.
func (h *handler) judge(
	x *exchange, app *policy.CompiledApp, c *callback.Callback, triggers []policy.Trigger,
) (result, *answer) {
	if app.Authentication() == policy.AuthenticateNone {
		return resultUnverified, continues
	}
	query := policy.JoinQuery{
		Group: c.GroupID, Type: h.groupType(c), Operator: c.Operator, Now: x.started, Reported: true,
	}
	outcome := resultAdmitted
	for _, account := range c.Members {
		if account == c.Owner || account == app.AdminAccount() {
			continue
		}
		query.Account = account
		if verdict := decideForEach(app, &query, triggers); !verdict.Admit {
			outcome = resultLeaked
			h.leaked(x, app, &query, &verdict)
		}
	}
	return outcome, continues
}

// decideForEach returns the verdict on the first trigger that admits, or that on the last.
func decideForEach(app *policy.CompiledApp, query *policy.JoinQuery, triggers []policy.Trigger) policy.Verdict {
	var verdict policy.Verdict
	for _, trigger := range triggers {
		query.Trigger = trigger
		if verdict = app.DecideJoin(*query); verdict.Admit {
			break
		}
	}
	return verdict
}

// leaked counts a leak, passes it to the decision log and to Leaks, and logs it at V(1).
func (h *handler) leaked(x *exchange, app *policy.CompiledApp, query *policy.JoinQuery, verdict *policy.Verdict) {
	x.app.leaks.Inc()
	if h.decisions.Wants(verdict) {
		h.logDecision(x, query, verdict, true)
	}
	if log := h.log.V(1); log.Enabled() {
		log.Info("A member should not be in the group", "app", app.Object().Key(), "group", query.Group,
			"account", query.Account, "trigger", query.Trigger.String(), "reason", verdict.Reason.String())
	}
	if h.leaks != nil {
		h.leaks.Leaked(policy.Leak{
			App: app.Object(), Group: query.Group, Type: query.Type, Account: query.Account,
			Reason: verdict.Reason, Policy: verdict.Policy,
		})
	}
}
