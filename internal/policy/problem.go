package policy

import (
	"fmt"
	"strings"
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
	maxGrace             = 30 * 24 * time.Hour
	minInterval          = time.Hour
)

// problem says all that is wrong with the policy and what to change; empty if nothing is.
func (p *Policy) problem() string {
	var problems []string
	add := func(field, problem string) {
		if problem != "" {
			problems = append(problems, field+problem)
		}
	}
	add("", p.Invalid)
	for _, m := range p.Groups {
		if m.Kind > MatchAll {
			add("groups: ", "unknown type of matcher: use Exact, Prefix or All")
			break
		}
	}
	if j := p.Join; j != nil {
		add("join.allow: ", j.Allow.problem())
		add("join.deny: ", j.Deny.problem())
		if code := j.Reject.Code; code != 0 && !j.Reject.reachesClient() {
			add("join.reject.code: ", fmt.Sprintf("%d does not reach the client: use a number from %d to %d",
				code, minClientCode, maxClientCode))
		}
	}
	if p.Join != nil && p.Join.Evict != nil {
		for _, problem := range p.Join.evictProblems() {
			add("join.evict", problem)
		}
	}
	if p.Prune != nil {
		for _, problem := range p.Prune.problems() {
			add("whenFull.prune.", problem)
		}
	}
	return strings.Join(problems, "; ")
}

func (r *PruneRule) problems() (problems []string) {
	add := func(wrong bool, problem string) {
		if wrong {
			problems = append(problems, problem)
		}
	}
	protect := r.Protect.problem()
	add(r.Mode > ModeEnforce, "mode: unknown: use Preview, Approve or Enforce")
	add(r.InactiveFor < minInactiveFor, "inactiveFor: too short: use at least 24h")
	add(!r.FreeSeats.valid(), `freeSeats: use a number of at least 1, or a percentage from "1%" to "100%"`)
	add(r.MaxRemovals < 1 || r.MaxRemovals > maxMaxRemovals,
		outOfRange("maxRemovals", r.MaxRemovals, maxMaxRemovals))
	add(r.MaxRemovalsPerDay < 1 || r.MaxRemovalsPerDay > maxMaxRemovalsPerDay,
		outOfRange("maxRemovalsPerDay", r.MaxRemovalsPerDay, maxMaxRemovalsPerDay))
	add(r.RejoinAfter < 0 || r.RejoinAfter > maxRejoinAfter, "rejoinAfter: too long: use at most 30d")
	add(protect != "", "protect: "+protect)
	return problems
}

// evictProblems says what is wrong with join.evict, and with what it needs of the rest of the section.
func (j *JoinSection) evictProblems() (problems []string) {
	add := func(wrong bool, problem string) {
		if wrong {
			problems = append(problems, problem)
		}
	}
	r, allow := j.Evict, j.Allow
	add(allow == nil && j.Deny == nil, " needs allow or deny: without one the policy refuses nobody")
	add(allow != nil && len(allow.Accounts)+len(allow.Prefixes)+len(allow.Lists) == 0 && allow.Invalid == "",
		" cannot be combined with an empty allow, which would evict every ordinary member")
	add(j.Audit, " needs mode Enforce: a gate in mode Audit refuses nobody")
	add(j.Triggers.known() != everyTrigger, " needs all of the triggers Apply, Invite and RESTAPI")
	add(r.Mode > ModeEnforce, ".mode: unknown: use Preview, Approve or Enforce")
	add(r.Grace < 0 || r.Grace > maxGrace, ".grace: out of range: use 0m to 30d")
	add(r.Interval < minInterval, ".interval: too short: use at least 1h")
	add(r.MaxRemovals < 1 || r.MaxRemovals > maxMaxRemovals,
		outOfRange(".maxRemovals", r.MaxRemovals, maxMaxRemovals))
	add(r.MaxRemovalsPerDay < 1 || r.MaxRemovalsPerDay > maxMaxRemovalsPerDay,
		outOfRange(".maxRemovalsPerDay", r.MaxRemovalsPerDay, maxMaxRemovalsPerDay))
	return problems
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
