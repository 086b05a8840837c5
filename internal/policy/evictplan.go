package policy

import (
	"fmt"
	"iter"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

const (
	// mostRemovals is how many members one plan may hold, whatever the rule says.
	mostRemovals = maxMaxRemovals
	// mostPrivileged is how many owners and admins a group is taken to have while its members are not listed. The
	// vendor's pages state no limit; if a group has more, a fifth of its ordinary members is taken too large by a fifth
	// of the difference.
	mostPrivileged = 21
	// routineShare is the part of the ordinary members that a routine may evict: one of so many.
	routineShare = 5
	// In a group of fewer than smallGroup members a routine evicts no more than routineInSmallGroup.
	smallGroup          = 15
	routineInSmallGroup = 2
)

// EvictionState is what a plan of evictions depends on besides the members and the gates.
type EvictionState struct {
	Group GroupState
	// Named says that members are those that somebody asked for by name, and not the complete list.
	Named bool
	// Only, if set, are the only ones of the complete list that may go. The others are counted as ordinary members, and
	// in no other way.
	Only map[string]struct{}
	// Recent is how many members of the group were evicted without approval in the last 7 days.
	Recent int
	// Budget is what the evictions of the last 24 hours leave of the rule's MaxRemovalsPerDay.
	Budget int
}

// PlanEviction plans which members are evicted: those that the gates refuse and that joined at least the rule's Grace
// ago, the latest joined first. It never plans more than the rule allows at once, nor more than the budget, nor more
// than 1,000.
//
// An error in members ends planning. An account that is listed twice counts once, by its first row. PlanEviction holds
// as many members as it removes, and an [accounts.Dedup]; see [PlanPrune] for what that costs.
func PlanEviction(
	g *GoverningEviction, s EvictionState, members iter.Seq2[Member, error], now time.Time,
) (Plan, error) {
	if !g.usable() || !s.Group.Type.known() {
		return Plan{}, ErrRuleUnusable
	}
	var plan Plan
	latest := removalHeap{limit: max(0, min(g.Rule.MaxRemovals, s.Budget, mostRemovals)), order: latestJoinedFirst}
	expected := s.Group.Members
	if s.Named {
		expected = 0 // a few
	}
	listed := accounts.NewDedup(expected)
	for m, err := range members {
		if err != nil {
			return Plan{}, fmt.Errorf("read the members: %w", err)
		}
		if !listed.Add(m.Account) {
			plan.Repeated++
			continue
		}
		if m.Role == RoleMember && m.Account != g.adminAccount {
			plan.Ordinary++
		}
		if _, asked := s.Only[m.Account]; asked || s.Only == nil {
			plan.judge(g, m, now, &latest)
		}
	}
	if s.Named {
		plan.Ordinary = max(0, s.Group.Members-mostPrivileged)
	}
	plan.Breaker = plan.breaker(g, s)
	plan.Removals = latest.sorted()
	for i := range plan.Removals {
		if r := &plan.Removals[i]; r.Reason == ReasonDenied {
			r.List = g.DenyingList(r.Account)
		}
	}
	return plan, nil
}

// judge puts m into the one class it belongs to.
func (p *Plan) judge(g *GoverningEviction, m Member, now time.Time, latest *removalHeap) {
	refused, class := g.classify(m, now, &p.Stay)
	if class != nil {
		*class++
		if until := m.Joined.Add(g.Rule.Grace); class == &p.Stay.InGrace && until.After(p.InGraceUntil) {
			p.InGraceUntil = until
		}
		return
	}
	p.Candidates++
	latest.offer(Removal{
		Account: m.Account, Joined: m.Joined, LastActive: m.lastSeen(now),
		Reason: refused.Reason, Policy: refused.Policy.Name,
	})
}

// Evicts reports whether the rule removes a member: PlanEviction would count it among the candidates. It allocates
// nothing.
func (g *GoverningEviction) Evicts(m Member, now time.Time) bool {
	var stay Stay
	_, class := g.classify(m, now, &stay)
	return g.usable() && class == nil
}

// classify returns the class of stay that m belongs to; nil if it is refused and may go.
func (g *GoverningEviction) classify(m Member, now time.Time, stay *Stay) (refused Refused, class *int) {
	switch {
	case m.Role == RoleOwner, m.Role == RoleAdmin, m.Account == g.adminAccount:
		return refused, &stay.Admin
	case m.Role != RoleMember, m.Account == "", len(m.Account) > accounts.MaxBytes:
		return refused, &stay.Unknown
	}
	refused, isRefused := g.Judge(m.Account)
	switch {
	case !isRefused:
		return refused, &stay.Admitted
	case !m.joinedBy(now):
		return refused, &stay.Unknown
	case now.Sub(m.Joined) < g.Rule.Grace:
		return refused, &stay.InGrace
	}
	return refused, nil
}

// joinedBy reports whether the time of joining is known, and not after now.
func (m Member) joinedBy(now time.Time) bool { return isSet(m.Joined) && !m.Joined.After(now) }

// lastSeen is when the member joined or, if that is known and not after now, spoke since.
func (m Member) lastSeen(now time.Time) time.Time {
	if m.hasSpoken() && m.LastSpoke.After(m.Joined) && !m.LastSpoke.After(now) {
		return m.LastSpoke
	}
	return m.Joined
}

// breaker says why the plan is more than a routine; empty if it is one. It counts the candidates, and not only those
// that are planned, and what was evicted lately: many small slips are a large one.
func (p *Plan) breaker(g *GoverningEviction, s EvictionState) string {
	total := p.Candidates + s.Recent
	var bound string
	switch {
	case p.Candidates == 0:
		return ""
	case total*routineShare > p.Ordinary:
	case total > g.Rule.MaxRemovals:
		bound = fmt.Sprintf(", more than maxRemovals (%d)", g.Rule.MaxRemovals)
	case s.Group.Members < smallGroup && total > routineInSmallGroup:
		bound = fmt.Sprintf(", more than %d in a group of fewer than %d", routineInSmallGroup, smallGroup)
	default:
		return ""
	}
	recent := ""
	if s.Recent > 0 {
		recent = fmt.Sprintf(", after %d that were removed without approval in the last 7 days", s.Recent)
	}
	return fmt.Sprintf("would remove %d of %d members%s%s: is the list complete?",
		p.Candidates, s.Group.Members, recent, bound)
}

// Recheck is [GoverningRule.Recheck] for evictions. While g.Unresolved is set, it keeps every member; callers wait
// instead of calling it then.
func (g *GoverningEviction) Recheck(
	batch []Removal, current map[string]Member, now time.Time,
) (remove []string, kept []Kept) {
	return recheck(g, batch, current, now)
}

// RecheckInFlight is [GoverningRule.RecheckInFlight] for evictions.
func (g *GoverningEviction) RecheckInFlight(
	batch []Removal, current map[string]Member, now time.Time,
) (removed, remove []string, kept []Kept) {
	return recheckInFlight(g, batch, current, now)
}

// keptFor returns why the account stays, or 0. A member that joined again came in after the plan: whether it may stay
// is for another plan.
func (g *GoverningEviction) keptFor(planned Removal, current map[string]Member, now time.Time) KeptReason {
	m, present := current[planned.Account]
	_, isRefused := g.Judge(planned.Account)
	switch {
	case !present:
		return KeptLeft
	case m.Role == RoleOwner, m.Role == RoleAdmin:
		return KeptRoleChanged
	case m.Role != RoleMember, !g.usable():
		return KeptUnknown
	case planned.Account == g.adminAccount:
		return KeptProtected
	case !m.joinedBy(now):
		return KeptUnknown
	case HasLeft(planned, m, present):
		return KeptActiveAgain
	case !isRefused:
		return KeptAdmitted
	}
	return 0
}
