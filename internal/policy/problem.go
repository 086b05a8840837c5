package policy

import (
	"fmt"
	"time"
)

// The bounds of a policy's values. The schema of GroupPolicy has the same ones; this is their only check in code, so
// that an object that was stored under another schema, or a mistake in the schema, makes a policy invalid instead of
// wider.
const (
	minInactiveFor       = 24 * time.Hour
	maxMaxRemovals       = 1000
	maxMaxRemovalsPerDay = 1_000_000
	maxRejoinAfter       = 30 * 24 * time.Hour
)

// problem says what is wrong with the policy and what to change; empty if nothing is.
func (p *Policy) problem() string {
	if p.Invalid != "" {
		return p.Invalid
	}
	for _, m := range p.Groups {
		if m.Kind > MatchAll {
			return "groups: unknown type of matcher: use Exact, Prefix or All"
		}
	}
	if p.Join != nil {
		if problem := p.Join.problem(); problem != "" {
			return "join." + problem
		}
	}
	if p.Prune != nil {
		if problem := p.Prune.problem(); problem != "" {
			return "whenFull.prune." + problem
		}
	}
	return ""
}

func (j *JoinSection) problem() string {
	if problem := j.Allow.problem(); problem != "" {
		return "allow: " + problem
	}
	if problem := j.Deny.problem(); problem != "" {
		return "deny: " + problem
	}
	if code := j.Reject.Code; code != 0 && !j.Reject.reachesClient() {
		return fmt.Sprintf("reject.code: %d does not reach the client: use a number from %d to %d",
			code, minClientCode, maxClientCode)
	}
	return ""
}

func (r *PruneRule) problem() string {
	protect := r.Protect.problem()
	switch {
	case r.Mode > ModeEnforce:
		return "mode: unknown: use Preview, Approve or Enforce"
	case r.InactiveFor < minInactiveFor:
		return "inactiveFor: too short: use at least 24h"
	case !r.FreeSeats.valid():
		return `freeSeats: use a number of at least 1, or a percentage from "1%" to "100%"`
	case r.MaxRemovals < 1 || r.MaxRemovals > maxMaxRemovals:
		return outOfRange("maxRemovals", r.MaxRemovals, maxMaxRemovals)
	case r.MaxRemovalsPerDay < 1 || r.MaxRemovalsPerDay > maxMaxRemovalsPerDay:
		return outOfRange("maxRemovalsPerDay", r.MaxRemovalsPerDay, maxMaxRemovalsPerDay)
	case r.RejoinAfter < 0 || r.RejoinAfter > maxRejoinAfter:
		return "rejoinAfter: too long: use at most 30d"
	case protect != "":
		return "protect: " + protect
	}
	return ""
}

func outOfRange(field string, value, highest int) string {
	return fmt.Sprintf("%s: %d is out of range: use a number from 1 to %d", field, value, highest)
}

func (s Seats) valid() bool {
	if s.Count != 0 {
		return s.Count > 0 && s.Percent == 0
	}
	return s.Percent >= 1 && s.Percent <= 100
}

// problem says what is wrong with the selector; empty if nothing is, as with nil.
func (a *AccountSelector) problem() string {
	if a == nil {
		return ""
	}
	if a.Invalid != "" {
		return a.Invalid
	}
	for _, prefix := range a.Prefixes {
		if prefix == "" {
			return "accountPrefixes: an empty prefix matches every account: remove it"
		}
	}
	for _, ref := range a.Lists {
		if problem := ref.problem(); problem != "" {
			return "lists: " + problem
		}
	}
	return ""
}

func (r ListRef) problem() string {
	if (r.Name == "") == (r.Selector == nil) {
		return "a reference needs exactly one of name and selector"
	}
	if r.Selector == nil {
		return ""
	}
	for _, requirement := range *r.Selector {
		switch requirement.Op {
		case OpIn, OpNotIn, OpExists, OpDoesNotExist:
		default:
			return "selector: unknown operator " + quote(string(requirement.Op)) +
				": use In, NotIn, Exists or DoesNotExist"
		}
	}
	return ""
}
