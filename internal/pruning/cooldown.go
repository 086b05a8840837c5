package pruning

import (
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// previewLife is the least time between two previews of a group by one rule. A group in mode Preview stays full, and
// listing it at every cooldown would take the rate of the app for plans that say the same.
const previewLife = 6 * time.Hour

// CooldownOf is the cooldown of the rule that frees seats in the group now. app may be nil.
func CooldownOf(app *policy.CompiledApp, group string) prunerun.Cooldown {
	return func(run *v1alpha1.PruneRun) time.Duration {
		if app == nil {
			return prunerun.DefaultCooldown
		}
		rule, ok := app.GoverningRule(group, policy.ParseGroupType(string(prunerun.GroupType(run))))
		switch {
		case !ok || rule.Invalid != "":
			return prunerun.DefaultCooldown
		case previewedBy(run, &rule):
			return max(rule.Rule.Cooldown, previewLife)
		}
		return rule.Rule.Cooldown
	}
}

// previewedBy reports whether the run ended with a plan that mode Preview of this very rule does not carry out.
func previewedBy(run *v1alpha1.PruneRun, rule *policy.GoverningRule) bool {
	end, ended := prunerun.Completion(run)
	if !ended || prunerun.Evicts(run) || end.Reason != v1alpha1.ReasonPreviewed ||
		rule.Rule.Mode != policy.ModePreview || run.Status.Policy == nil {
		return false
	}
	seats := seatsRule(rule) // computes a hash
	return seats.planned(run.Status.Policy)
}
