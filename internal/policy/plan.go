package policy

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Reasons for which there is no plan. [PlanPrune] returns them wrapped or bare; use [errors.Is].
var (
	// ErrActivityUnknown: it is not known that ordinary members speak where the vendor would record it, so that silence
	// proves nothing. The error that wraps it says why.
	ErrActivityUnknown = errors.New("it is not known who is inactive")
	// ErrRuleUnusable: the rule is invalid, its protection or a gate incomplete, or the group's type unknown.
	ErrRuleUnusable = errors.New("the rule cannot be used")
)

// Plan names the members to remove and counts those that stay, by reason. Every member of the list is counted once.
type Plan struct {
	// Repeated is how many rows of the list were left out because their account came before: the vendor's pages overlap
	// when a member joins or leaves between them.
	Repeated int
	// Candidates is how many could go; Removals holds as many of them as needed and allowed.
	Candidates int
	Stay       Stay
	// Removals are ordered by activity, oldest first, ties by account; those of PlanEviction by the time of joining,
	// latest first, ties by account.
	Removals []Removal

	// The following are those of PlanEviction.

	// Ordinary is the number of ordinary members, of which Breaker takes a fifth.
	Ordinary int
	// Breaker says why the plan is more than a routine, for a person to decide; empty if it is one.
	Breaker string
	// InGraceUntil is when all of the members in Stay.InGrace may go; zero if there is none.
	InGraceUntil time.Time
}

// Stay counts the members that stay, by the first reason that holds, in this order of reasons: admin, unknown role,
// protected, unknown activity, active; of PlanEviction: admin, unknown role, admitted, unknown time of joining, in
// grace.
type Stay struct {
	Protected int
	// Admin counts owners, admins and the app's admin account.
	Admin  int
	Active int
	// Unknown counts members who are muted, and those whose role or activity is not known, or lies in the future. With
	// PlanEviction, those whose role or time of joining is not known, or lies in the future.
	Unknown int
	// Admitted counts the members whom the gates of the group admit, InGrace those that they refuse and that joined too
	// short a time ago. Both are 0 with PlanPrune, as Protected and Active are with PlanEviction.
	Admitted, InGrace int
}

// Removal is one member to remove.
type Removal struct {
	Account string
	// LastActive is when the member last joined or spoke.
	LastActive time.Time
	NeverSpoke bool

	// The following are those of PlanEviction.

	Joined time.Time
	// Reason is ReasonDenied or ReasonNotListed, Policy the name of the policy that refuses the account, and List that
	// of the list by which the policy denies it; List is empty if the policy names the account itself.
	Reason       Reason
	Policy, List string
}

// PlanPrune plans which members leave the group: inactive ones, those inactive for longest first, until the seats that
// the rule asks for are free. It never plans more than the rule allows at once, nor more than budget, which is what the
// removals of the last 24 hours leave of the rule's MaxRemovalsPerDay.
//
// members must be the complete list: an error in it ends planning. An account that is listed twice counts once, by its
// first row. PlanPrune holds as many members as it removes, and an [accounts.Dedup]: once in some ten million plans of
// a million members it takes a new member for a repeated one, which then stays.
func PlanPrune(
	g *GoverningRule, group GroupState, budget int, members iter.Seq2[Member, error], now time.Time,
) (Plan, error) {
	if !g.usable() || !group.Type.known() {
		return Plan{}, ErrRuleUnusable
	}
	if err := group.CheckActivity(); err != nil {
		return Plan{}, err
	}
	var plan Plan
	oldest := removalHeap{
		limit: max(0, min(g.SeatsNeeded(group), g.Rule.MaxRemovals, budget)), order: byActivity,
	}
	listed := accounts.NewDedup(group.Members)
	anySpoke := false // of those whose silence is judged: the owner and admins may speak where others may not
	for m, err := range members {
		if err != nil {
			return Plan{}, fmt.Errorf("read the members: %w", err)
		}
		anySpoke = anySpoke || m.hasSpoken() && g.isOrdinary(m)
		if !listed.Add(m.Account) {
			plan.Repeated++
			continue
		}
		plan.count(g, m, now, &oldest)
	}
	if !anySpoke {
		return Plan{}, fmt.Errorf("%w: the vendor reports of no ordinary member when it spoke", ErrActivityUnknown)
	}
	plan.Removals = oldest.sorted()
	return plan, nil
}

// count puts m into the one class it belongs to.
func (p *Plan) count(g *GoverningRule, m Member, now time.Time, oldest *removalHeap) {
	lastActive, known := m.lastActive(now)
	switch {
	case m.Role == RoleOwner, m.Role == RoleAdmin, m.Account == g.adminAccount:
		p.Stay.Admin++
	case !g.isOrdinary(m), m.Account == "", len(m.Account) > accounts.MaxBytes:
		p.Stay.Unknown++
	case g.Protects(m.Account):
		p.Stay.Protected++
	case !known:
		p.Stay.Unknown++
	case !g.inactive(lastActive, now):
		p.Stay.Active++
	default:
		p.Candidates++
		oldest.offer(Removal{Account: m.Account, LastActive: lastActive, NeverSpoke: !m.hasSpoken()})
	}
}

// isOrdinary reports whether m has no more rights than others in the group, as far as is known.
func (g *GoverningRule) isOrdinary(m Member) bool {
	return m.Role == RoleMember && m.Account != g.adminAccount
}

// removalHeap holds the limit removals that come first in the plan's order; the last of them is on top.
type removalHeap struct {
	limit    int
	order    func(a, b Removal) int
	removals []Removal
}

func byActivity(a, b Removal) int {
	return cmp.Or(a.LastActive.Compare(b.LastActive), cmp.Compare(a.Account, b.Account))
}

func latestJoinedFirst(a, b Removal) int {
	return cmp.Or(b.Joined.Compare(a.Joined), cmp.Compare(a.Account, b.Account))
}

func (h *removalHeap) offer(r Removal) {
	switch {
	case len(h.removals) < h.limit:
		heap.Push(h, r)
	case h.limit > 0 && h.order(r, h.removals[0]) < 0:
		h.removals[0] = r
		heap.Fix(h, 0)
	}
}

// sorted empties the heap.
func (h *removalHeap) sorted() []Removal {
	if len(h.removals) == 0 {
		return nil
	}
	sorted := make([]Removal, len(h.removals))
	for i := len(sorted) - 1; i >= 0; i-- {
		sorted[i] = heap.Pop(h).(Removal)
	}
	return sorted
}

func (h *removalHeap) Len() int           { return len(h.removals) }
func (h *removalHeap) Less(i, j int) bool { return h.order(h.removals[i], h.removals[j]) > 0 }
func (h *removalHeap) Swap(i, j int)      { h.removals[i], h.removals[j] = h.removals[j], h.removals[i] }
func (h *removalHeap) Push(r any)         { h.removals = append(h.removals, r.(Removal)) }
func (h *removalHeap) Pop() any {
	last := h.removals[len(h.removals)-1]
	h.removals = h.removals[:len(h.removals)-1]
	return last
}

// Role is what a member may do in a group.
type Role uint8

// The roles. RoleUnknown stands for one that this version does not know.
const (
	RoleUnknown Role = iota
	RoleOwner
	RoleAdmin
	RoleMember
)

// Member is one row of a group's member list.
type Member struct {
	Account string
	Role    Role
	// Joined is zero when the vendor did not say.
	Joined time.Time
	// LastSpoke is zero when the member never spoke. It means nothing unless ActivityKnown.
	LastSpoke     time.Time
	ActivityKnown bool
	// MuteUntil is until when the member may not speak; zero, or in the past, when the member may.
	MuteUntil time.Time
}

// GroupState is a group as the vendor describes it at one moment.
type GroupState struct {
	Type       GroupType
	Members    int
	MaxMembers int
	// MuteAllMember: only the owner and admins may speak.
	MuteAllMember bool
	// SupportTopic: members may speak in topics, which the list of members may not count.
	SupportTopic bool
}

// Full reports whether no other member fits in. A group without a known limit is never full.
func (g GroupState) Full() bool { return g.MaxMembers > 0 && g.Members >= g.MaxMembers }

// FreeSeats is how many more members fit in; negative when the group is over its limit.
func (g GroupState) FreeSeats() int { return g.MaxMembers - g.Members }

// CheckActivity returns ErrActivityUnknown if members may be silent because of how the group is set.
func (g GroupState) CheckActivity() error {
	switch {
	case g.MuteAllMember:
		return fmt.Errorf("%w: all ordinary members are muted", ErrActivityUnknown)
	case g.SupportTopic:
		return fmt.Errorf("%w: members speak in topics, where the vendor does not report it", ErrActivityUnknown)
	}
	return nil
}

// isSet reports whether the vendor gave the time. Its 0, read as the first second of 1970 or as Go's zero time, is
// none.
func isSet(t time.Time) bool { return t.Unix() > 0 }

func (m Member) hasSpoken() bool { return m.ActivityKnown && isSet(m.LastSpoke) }

// lastActive is when the member last joined or spoke. It is not known while the member is muted, or if a time is
// missing or after now: a clock that is wrong about that is wrong about inactivity as well.
func (m Member) lastActive(now time.Time) (last time.Time, known bool) {
	if !m.ActivityKnown || !isSet(m.Joined) || m.Joined.After(now) || m.MuteUntil.After(now) {
		return time.Time{}, false
	}
	last = m.Joined
	if isSet(m.LastSpoke) {
		if m.LastSpoke.After(now) {
			return time.Time{}, false
		}
		if m.LastSpoke.After(last) {
			last = m.LastSpoke
		}
	}
	return last, true
}
