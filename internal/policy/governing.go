package policy

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// GoverningRule is the rule by which one group is pruned, together with the protection of all governing policies.
type GoverningRule struct {
	// Policy is the policy that the rule comes from.
	Policy Object
	// Rule is its rule, less Protect.
	Rule PruneRule
	// Invalid says why the rule cannot be used: no member may be removed then. Empty if it can.
	Invalid string
	// Unresolved lists the references in protect that cannot be resolved: no member may be removed then. It covers
	// every governing policy that has a rule, since the protection of each one counts.
	Unresolved []string
	// Lists are the references in protect of every governing policy that has a rule.
	Lists []ListUse

	adminAccount string
	protect      []*selection
	fingerprint  fingerprint
}

// RuleHash identifies what whenFull.prune of the policy says, Protect included, in 16 hex digits. It is the same in
// every process, and while other parts of the policy are edited.
func (g *GoverningRule) RuleHash() string { return fmt.Sprintf("%016x", uint64(g.fingerprint)) }

// MayPrune reports whether an accepted policy with a prune rule matches the group's id, whatever the group's type.
func (a *CompiledApp) MayPrune(group string) bool {
	for b := range a.groups.matching(group) {
		if b.mayPrune() {
			return true
		}
	}
	return false
}

func (b *bucket) mayPrune() bool {
	return slices.ContainsFunc(b.prunings, func(p *pruning) bool { return p.invalid == "" })
}

// ExactPruneGroups returns the groups that accepted policies with a prune rule name exactly, each once, sorted.
func (a *CompiledApp) ExactPruneGroups() iter.Seq[string] {
	var groups []string
	for _, b := range a.groups.exact {
		if b.mayPrune() {
			groups = append(groups, b.matcher.Value)
		}
	}
	slices.Sort(groups)
	return slices.Values(groups)
}

// PrunesByPattern reports whether an accepted policy with a prune rule names groups by a prefix, or all of them: then
// MayPrune is true for other groups than ExactPruneGroups as well.
func (a *CompiledApp) PrunesByPattern() bool {
	if a.groups.all != nil && a.groups.all.mayPrune() {
		return true
	}
	for _, b := range a.groups.prefixes {
		if b.mayPrune() {
			return true
		}
	}
	return false
}

// GoverningRule returns the rule by which a group of this id and type is pruned: that of the highest-ranked governing
// policy that has one. There is none for a group of unknown type.
func (a *CompiledApp) GoverningRule(group string, t GroupType) (GoverningRule, bool) {
	g := GoverningRule{adminAccount: a.adminAccount}
	visited := map[*pruning]bool{}
	for b := range a.groups.matching(group) {
		for _, p := range b.prunings {
			if visited[p] || !p.types.holdsForPruning(t) {
				continue
			}
			if len(visited) == 0 {
				g.Policy, g.Rule, g.Invalid, g.fingerprint = p.policy, p.rule, p.invalid, p.fingerprint
			}
			visited[p] = true
			g.Unresolved = append(g.Unresolved, p.unresolved...)
			g.Lists = append(g.Lists, p.lists...)
			g.protect = append(g.protect, &p.protect)
		}
	}
	return g, len(visited) > 0
}

func (g *GoverningRule) usable() bool { return g.Invalid == "" && len(g.Unresolved) == 0 }

// Protects reports whether account must stay, whatever its activity. The app's admin account must.
func (g *GoverningRule) Protects(account string) bool {
	if account == g.adminAccount {
		return true
	}
	hash := accounts.Hash(account)
	for _, s := range g.protect {
		if s.contains(account, hash) {
			return true
		}
	}
	return false
}

// inactive reports whether a member last active at that time may be removed: exactly InactiveFor ago is long enough.
func (g *GoverningRule) inactive(lastActive, now time.Time) bool {
	return !lastActive.After(now.Add(-g.Rule.InactiveFor))
}

// SeatsWanted is how many free seats the rule asks for in this group.
func (g *GoverningRule) SeatsWanted(group GroupState) int {
	return g.Rule.FreeSeats.Of(group.MaxMembers)
}

// SeatsNeeded is how many members must go until that many seats are free; 0 if enough are, or the limit is not known.
func (g *GoverningRule) SeatsNeeded(group GroupState) int {
	if group.MaxMembers <= 0 {
		return 0
	}
	return max(0, g.SeatsWanted(group)-group.FreeSeats())
}

// pruning is the compiled form of a [PruneRule].
type pruning struct {
	policy Object
	types  TypeSet
	rule   PruneRule
	// invalid says what is wrong with the policy, unresolved what is missing of its protection.
	invalid    string
	unresolved []string
	protect    selection
	lists      []ListUse
	// fingerprint covers what the rule says, before the references of protect are resolved.
	fingerprint fingerprint
}
