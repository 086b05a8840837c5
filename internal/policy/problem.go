package policy

import "time"

// The schema bounds nearly everything, but the core must be safe without it: whatever it cannot make sense of makes a
// policy invalid instead of wider.

// problem says what is wrong with the policy and what to change, or nothing.
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
		if problem := p.Join.Allow.problem(); problem != "" {
			return "join.allow: " + problem
		}
		if problem := p.Join.Deny.problem(); problem != "" {
			return "join.deny: " + problem
		}
	}
	if p.Prune != nil {
		if problem := p.Prune.problem(); problem != "" {
			return "whenFull.prune." + problem
		}
	}
	return ""
}

const (
	minInactiveFor = 24 * time.Hour
	maxMaxRemovals = 1000
	maxRejoinAfter = 30 * 24 * time.Hour
)

func (r *PruneRule) problem() string {
	protect := r.Protect.problem()
	switch {
	case r.Mode > ModeEnforce:
		return "mode: unknown: use Preview, Approve or Enforce"
	case r.InactiveFor < minInactiveFor:
		return "inactiveFor: must be at least 24h"
	case !r.FreeSeats.sensible():
		return "freeSeats: must be a number of at least 1 or a percentage from 1% to 100%"
	case r.MaxRemovals < 1 || r.MaxRemovals > maxMaxRemovals:
		return "maxRemovals: must be from 1 to 1000"
	case r.MaxRemovalsPerDay < 1:
		return "maxRemovalsPerDay: must be at least 1"
	case r.RejoinAfter < 0 || r.RejoinAfter > maxRejoinAfter:
		return "rejoinAfter: must be at most 30d"
	case protect != "":
		return "protect: " + protect
	}
	return ""
}

func (s Seats) sensible() bool {
	if s.Count != 0 {
		return s.Count > 0 && s.Percent == 0
	}
	return s.Percent >= 1 && s.Percent <= 100
}

// problem says what is wrong with the selector; nil has no problem.
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
			return "selector: unknown operator " + quote(string(requirement.Op)) + ": use In, NotIn, Exists or DoesNotExist"
		}
	}
	return ""
}
