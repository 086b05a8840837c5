package pruning

import (
	"iter"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// rule is the rule that governs a group for the purpose of a run: whenFull.prune of a policy, or join.evict. All that a
// run does differently by its purpose is here, and in the checks that chains make of runs with one purpose only.
type rule struct {
	recheck
	policy policy.Object
	hash   string
	mode   policy.PruneMode
	perDay int
	delete imrest.DeleteOptions
	// policies and lists decide who may go, besides the rule.
	policies []policy.Object
	lists    []policy.ListUse

	seats    *policy.GoverningRule     // of FreeSeats, else nil
	eviction *policy.GoverningEviction // of Evict, else nil
}

// recheck applies a rule once more to members that are about to be removed.
type recheck interface {
	Recheck(batch []policy.Removal, now map[string]policy.Member, at time.Time) (remove []string, kept []policy.Kept)
	RecheckInFlight(batch []policy.Removal, now map[string]policy.Member, at time.Time) (
		removed, remove []string, kept []policy.Kept)
}

// governing returns the rule that governs a group of this type by what app says; false if none does.
func governing(
	app *policy.CompiledApp, purpose v1alpha1.PrunePurpose, group string, groupType policy.GroupType,
) (rule, bool) {
	if purpose == v1alpha1.PrunePurposeEvict {
		g, governed := app.GoverningEviction(group, groupType)
		return evictionRule(&g), governed
	}
	g, governed := app.GoverningRule(group, groupType)
	return seatsRule(&g), governed
}

func seatsRule(g *policy.GoverningRule) rule {
	return rule{
		recheck: g, policy: g.Policy, hash: g.RuleHash(), mode: g.Rule.Mode, perDay: g.Rule.MaxRemovalsPerDay,
		delete: imrest.DeleteOptions{Silent: g.Rule.Silent, Reason: g.Rule.Reason},
		lists:  g.Lists, seats: g,
	}
}

func evictionRule(g *policy.GoverningEviction) rule {
	return rule{
		recheck: g, policy: g.Policy, hash: g.RuleHash(), mode: g.Rule.Mode, perDay: g.Rule.MaxRemovalsPerDay,
		delete:   imrest.DeleteOptions{Silent: g.Rule.Silent, Reason: g.Rule.Reason},
		policies: g.Gates, lists: g.Lists, eviction: g,
	}
}

// usable returns what the rule waits for, if it does.
func (r *rule) usable() error {
	switch {
	case r.eviction != nil && len(r.eviction.Unresolved) > 0:
		return waitFor(v1alpha1.ReasonListUnresolved,
			"No member is evicted while it is not certain which ones the gate of the group refuses: %s.",
			strings.Join(r.eviction.Unresolved, ", "))
	case r.eviction != nil:
		return nil
	case r.seats.Invalid != "":
		return waitFor(v1alpha1.ReasonPolicyInvalid, "GroupPolicy %s is not valid and removes nobody: %s.",
			r.policy.Name, strings.TrimRight(r.seats.Invalid, ". "))
	case len(r.seats.Unresolved) > 0:
		return waitFor(v1alpha1.ReasonProtectionUnresolved,
			"Nobody is removed before the protection is complete; missing: %s.",
			strings.Join(r.seats.Unresolved, ", "))
	}
	return nil
}

// needed is how many more members are to go from a group in this state, whatever the plan says.
func (r *rule) needed(group policy.GroupState) int {
	if r.eviction != nil {
		return math.MaxInt
	}
	return r.seats.SeatsNeeded(group)
}

// grace is for how long a plan stands before it is carried out.
func (r *rule) grace() time.Duration {
	if r.eviction != nil {
		return r.eviction.Rule.Grace
	}
	return 0
}

// plan picks the members that are to go. For a plan that frees seats, state has but the group and the budget.
func (r *rule) plan(
	state *policy.EvictionState, members iter.Seq2[policy.Member, error], now time.Time,
) (policy.Plan, error) {
	if r.eviction != nil {
		return policy.PlanEviction(r.eviction, *state, members, now)
	}
	return policy.PlanPrune(r.seats, state.Group, state.Budget, members, now)
}

// message says what a plan comes to.
func (r *rule) message(plan *policy.Plan) string {
	if r.eviction != nil {
		return prunerun.EvictionMessage(plan.Candidates, len(plan.Removals), plan.Stay.InGrace, r.eviction.Rule.Grace)
	}
	return prunerun.PlanMessage(plan.Candidates, len(plan.Removals), r.seats.Rule.InactiveFor)
}

// refuse keeps out the accounts that a run removes, for as long as the rule says from at on. Who is evicted is refused
// by the gate itself.
func (r *rule) refuse(status *v1alpha1.PruneRunStatus, at time.Time) {
	if r.seats != nil {
		refuse(status, &r.seats.Rule, at)
	}
}

// record is the rule as it is recorded with a plan.
func (r *rule) record() *v1alpha1.PrunePolicyRecord {
	return &v1alpha1.PrunePolicyRecord{
		Name: r.policy.Name, UID: types.UID(r.policy.UID), Generation: r.policy.Generation,
		Mode: v1alpha1.PruneMode(r.mode.String()), RuleHash: r.hash,
	}
}

// planned reports whether the plan with this record was made by the rule of this very policy, whatever else of the
// policy was edited since. The generation is enough as well: an older version recorded no hash, or computed it
// differently.
func (r *rule) planned(record *v1alpha1.PrunePolicyRecord) bool {
	return types.UID(r.policy.UID) == record.UID &&
		(r.hash == record.RuleHash || r.policy.Generation == record.Generation)
}

// field is what of a policy the rules for a purpose are.
func field(purpose v1alpha1.PrunePurpose) string {
	if purpose == v1alpha1.PrunePurposeEvict {
		return "join.evict"
	}
	return "whenFull.prune"
}
