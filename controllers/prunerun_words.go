package controllers

import (
	"fmt"
	"strings"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// The messages of a run are read by people who manage a community, with kubectl describe: they are whole sentences, and name what to change.

// planMessage says what a plan comes to, for a person who did not write the rule.
func planMessage(plan policy.Plan, rule *policy.PruneRule) string {
	var sum string
	switch {
	case plan.Candidates == 0:
		sum = "No member that may go is inactive"
	case len(plan.Removals) == 0:
		sum = fmt.Sprintf("Enough seats are free, so that none of %s is to go", amount(plan.Candidates, "inactive member", "inactive members"))
	case len(plan.Removals) == 1:
		sum = fmt.Sprintf("1 of %s is to go", amount(plan.Candidates, "inactive member", "inactive members"))
	default:
		sum = fmt.Sprintf("%d of %d inactive members are to go", len(plan.Removals), plan.Candidates)
	}
	return fmt.Sprintf("%s; inactive is who neither joined nor spoke for %s.", sum, inDays(rule.InactiveFor))
}

// removedAndKept says what became of the plan's members that were looked at.
func removedAndKept(status *v1alpha1.PruneRunStatus) string {
	removed := amount(int(status.Removed), "member was", "members were")
	if len(status.Kept) == 0 {
		return removed + " removed."
	}
	return fmt.Sprintf("%s removed, and %s kept.", removed, amount(len(status.Kept), "was", "were"))
}

// inDays writes whole hours as the API does.
func inDays(d time.Duration) string {
	days, hours := d/(24*time.Hour), d%(24*time.Hour)/time.Hour
	switch {
	case hours == 0:
		return fmt.Sprintf("%dd", days)
	case days == 0:
		return fmt.Sprintf("%dh", hours)
	}
	return fmt.Sprintf("%dd%dh", days, hours)
}

// couldNot makes a sentence of a failed step, which is an infinitive. The vendor's words may be one already.
func couldNot(step string, err error) string {
	return fmt.Sprintf("Could not %s: %s.", step, strings.TrimRight(err.Error(), ". "))
}

// amount is a number with what it counts.
func amount(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
