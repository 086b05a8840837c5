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
	// ErrActivityUnknown says that no member is known to have ever spoken, so that silence proves nothing.
	ErrActivityUnknown = errors.New("no member of the group has a time of last speaking")
	// ErrRuleUnusable says that the rule is invalid, its protection incomplete, or the group's type unknown.
	ErrRuleUnusable = errors.New("the prune rule cannot be used")
)

// Plan says who goes, and counts who stays and why. Every member of the list is counted once.
type Plan struct {
	// Repeated is how many rows of the list were left out because their account came before: the vendor's pages overlap when
	// somebody joins or leaves between them.
	Repeated int
	// Candidates is how many could go; Removals holds as many of them as needed and allowed.
	Candidates int
	Stay       Stay
	// Removals are ordered by activity, oldest first, ties by account.
	Removals []Removal
}

// Stay counts the members that stay, by the first reason that holds, in this order of reasons: admin, unknown role,
// protected, unknown activity, active.
type Stay struct {
	Protected int
	// Admin counts owners, admins and the app's admin account.
	Admin  int
	Active int
	// Unknown counts members whose role or activity is not known, or lies in the future.
	Unknown int
}

// Removal is one member that is to go.
type Removal struct {
	Account string
	// LastActive is when the member last joined or spoke.
	LastActive time.Time
	NeverSpoke bool
}

// PlanPrune plans which members leave the group: inactive ones, those inactive for longest first, until the seats that
// the rule asks for are free, and never more than the rule allows at once, nor more than budget, which is what the removals of the
// last 24 hours leave of the rule's MaxRemovalsPerDay.
//
// members must be the complete list. An error in it ends planning: there is no plan from half a list. An account that is
// listed twice counts once, by its first row. PlanPrune holds as many members as it removes, and 8 to 24 bytes for each
// account that it has seen. Once in some ten million plans of a million members, that makes it take a member for one it has
// seen, and let it stay.
func PlanPrune(g *GoverningRule, group GroupState, budget int, members iter.Seq2[Member, error], now time.Time) (Plan, error) {
	if !g.usable() || !group.Type.known() {
		return Plan{}, ErrRuleUnusable
	}
	var plan Plan
	oldest := removalHeap{limit: max(0, min(g.SeatsNeeded(group), g.Rule.MaxRemovals, budget))}
	seen := accounts.NewDedup(group.Members)
	anybodySpoke := false
	for m, err := range members {
		if err != nil {
			return Plan{}, fmt.Errorf("read the members: %w", err)
		}
		anybodySpoke = anybodySpoke || m.hasSpoken()
		if !seen.Add(m.Account) {
			plan.Repeated++
			continue
		}
		plan.count(g, m, now, &oldest)
	}
	if !anybodySpoke {
		return Plan{}, ErrActivityUnknown
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
	case m.Role != RoleMember, m.Account == "", len(m.Account) > accounts.MaxBytes:
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

// removalHeap keeps the limit removals that come first in the plan's order; the last of them is on top.
type removalHeap struct {
	limit    int
	removals []Removal
}

func byActivity(a, b Removal) int {
	return cmp.Or(a.LastActive.Compare(b.LastActive), cmp.Compare(a.Account, b.Account))
}

func (h *removalHeap) offer(r Removal) {
	switch {
	case len(h.removals) < h.limit:
		heap.Push(h, r)
	case h.limit > 0 && byActivity(r, h.removals[0]) < 0:
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
func (h *removalHeap) Less(i, j int) bool { return byActivity(h.removals[i], h.removals[j]) > 0 }
func (h *removalHeap) Swap(i, j int)      { h.removals[i], h.removals[j] = h.removals[j], h.removals[i] }
func (h *removalHeap) Push(r any)         { h.removals = append(h.removals, r.(Removal)) }
func (h *removalHeap) Pop() any {
	last := h.removals[len(h.removals)-1]
	h.removals = h.removals[:len(h.removals)-1]
	return last
}
