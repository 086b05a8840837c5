package policy

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// GoverningEviction is the rule by which members of one group are evicted, together with the gates that judge them:
// the join sections in mode Enforce of all governing policies.
type GoverningEviction struct {
	// Policy is the policy that the rule comes from: of the governing ones with a rule, the highest-ranked.
	Policy Object
	Rule   EvictRule
	// Unresolved says why it is not certain whom the gates refuse; no member may be removed unless it is empty. It has
	// every governing policy that is invalid, and every reference of a gate that resolves to no list, or to lists that
	// are all empty.
	Unresolved []string
	// Gates are the policies that judge, in the order of their rank, and Lists the references of their allow and deny,
	// each once.
	Gates []Object
	Lists []ListUse

	adminAccount string
	gates        []gate
	// closed are the triggers for which an account needs an allow, and closing is the highest-ranked gate that says so.
	closed      TriggerSet
	closing     *resolvedPolicy
	fingerprint fingerprint
}

// gate is a section that judges members.
type gate struct {
	*section
	policy *resolvedPolicy
	// speaks holds the triggers that the section speaks about. Unlike that of the section, an empty one is empty.
	speaks TriggerSet
}

// Refused says why the gates of a group refuse a member.
type Refused struct {
	// Reason is ReasonDenied or ReasonNotListed.
	Reason Reason
	// Policy is the highest-ranked one that says so. It belongs to the snapshot.
	Policy *Object
}

// eviction is the compiled form of an [EvictRule].
type eviction struct {
	rule        EvictRule
	fingerprint fingerprint
}

func newEviction(r *EvictRule) *eviction {
	var t transcript
	t.number(int64(r.Mode))
	t.number(int64(r.Grace))
	t.number(int64(r.Interval))
	t.number(int64(r.MaxRemovals))
	t.number(int64(r.MaxRemovalsPerDay))
	t.flag(r.Silent)
	t.text(r.Reason)
	return &eviction{rule: *r, fingerprint: t.sum()}
}

// evicts reports whether the policy is accepted and has an eviction rule.
func (p *parsedPolicy) evicts() bool { return p.eviction != nil && p.invalid == "" }

// judges reports whether the policy has a gate by which members are judged.
func (p *parsedPolicy) judges() bool { return p.section != nil && !p.section.audit }

// MayEvict reports whether an accepted policy with an eviction rule matches the group's id, whatever the group's type.
func (a *CompiledApp) MayEvict(group string) bool {
	for b := range a.groups.matching(group) {
		if b.evicts {
			return true
		}
	}
	return false
}

// ExactEvictGroups returns the groups that accepted policies with an eviction rule name exactly, each once, sorted.
func (a *CompiledApp) ExactEvictGroups() iter.Seq[string] {
	var groups []string
	for _, b := range a.groups.exact {
		if b.evicts {
			groups = append(groups, b.matcher.Value)
		}
	}
	slices.Sort(groups)
	return slices.Values(groups)
}

// EvictsByPattern reports whether an accepted policy with an eviction rule names groups by a prefix, or all of them:
// then MayEvict is true for other groups than ExactEvictGroups as well.
func (a *CompiledApp) EvictsByPattern() bool {
	if a.groups.all != nil && a.groups.all.evicts {
		return true
	}
	for _, b := range a.groups.prefixes {
		if b.evicts {
			return true
		}
	}
	return false
}

// EvictInterval returns the smallest interval of the accepted policies with an eviction rule; false if there is none.
func (a *CompiledApp) EvictInterval() (smallest time.Duration, ok bool) {
	for b := range a.groups.buckets() {
		if !b.evicts {
			continue
		}
		for _, p := range b.policies {
			if p.evicts() && (!ok || p.eviction.rule.Interval < smallest) {
				smallest, ok = p.eviction.rule.Interval, true
			}
		}
	}
	return smallest, ok
}

// GoverningEviction returns the rule by which members of a group of this id and type are evicted; false if there is
// none, as for a group of unknown type.
func (a *CompiledApp) GoverningEviction(group string, t GroupType) (GoverningEviction, bool) {
	g := GoverningEviction{adminAccount: a.adminAccount}
	governed := false
	visited := map[*resolvedPolicy]bool{}
	for b := range a.groups.matching(group) {
		for _, p := range b.policies {
			if visited[p] || !p.types.holdsForPruning(t) {
				continue
			}
			visited[p] = true
			if p.eviction != nil && !governed {
				governed = true
				g.Policy, g.Rule, g.fingerprint = p.object, p.eviction.rule, p.eviction.fingerprint
			}
			g.add(p)
		}
	}
	return g, governed
}

// add adds a governing policy, in the order of their rank.
func (g *GoverningEviction) add(p *resolvedPolicy) {
	if p.invalid != "" {
		g.Unresolved = append(g.Unresolved, p.named(p.invalid))
	}
	if !p.judges() {
		return
	}
	g.Gates = append(g.Gates, p.object)
	for i := range p.references {
		r := &p.references[i]
		if use := r.use(r.versions); !slices.Contains(g.Lists, use) {
			g.Lists = append(g.Lists, use)
		}
		if problem := r.problem(); problem != "" {
			field := "join.allow: "
			if i >= len(p.allow.refs) {
				field = "join.deny: "
			}
			g.Unresolved = append(g.Unresolved, p.named(field+problem))
		}
	}
	s := gate{section: &p.sections[0], policy: p}
	s.speaks = s.triggers.known()
	if s.speaks == 0 {
		return
	}
	g.gates = append(g.gates, s)
	if s.gated {
		g.closed |= s.speaks
		if g.closing == nil {
			g.closing = p
		}
	}
}

// RuleHash identifies what join.evict of the policy says, in 16 hex digits. It is the same in every process, and while
// lists and other parts of the policy are edited.
func (g *GoverningEviction) RuleHash() string { return fmt.Sprintf("%016x", uint64(g.fingerprint)) }

func (g *GoverningEviction) usable() bool { return len(g.Unresolved) == 0 }

// Judge reports whether the gates refuse an account that is a member, and why: in the words of DecideJoin, step 1 or
// step 3 decides for each of the triggers, since it is not known how the account came in. The reason is ReasonDenied
// if step 1 decides for one of them. What runs refuse does not count, nor what the app says of unmatched groups. The
// app's admin account is never refused.
//
// It goes by the accounts that are known now, whatever Unresolved says. It allocates nothing.
func (g *GoverningEviction) Judge(account string) (Refused, bool) {
	if account == g.adminAccount {
		return Refused{}, false
	}
	hash := accounts.Hash(account)
	var denied, allowed TriggerSet
	var denying *resolvedPolicy
	for i := range g.gates {
		s := &g.gates[i]
		if s.deny.contains(account, hash) {
			denied |= s.speaks
			if denying == nil {
				denying = s.policy
			}
		}
		if s.gated && s.speaks&^allowed != 0 && s.allow.contains(account, hash) {
			allowed |= s.speaks
		}
	}
	switch {
	case denied|g.closed&^allowed != everyTrigger:
		return Refused{}, false
	case denying != nil:
		return Refused{ReasonDenied, &denying.object}, true
	}
	return Refused{ReasonNotListed, &g.closing.object}, true
}

// DenyingList returns the name of the list by which the policy that Judge names denies the account; "" if it names the
// account itself, or does not deny it. It asks one list after the other, and is made for records.
func (g *GoverningEviction) DenyingList(account string) string {
	hash := accounts.Hash(account)
	for i := range g.gates {
		s := &g.gates[i]
		if s.deny.contains(account, hash) {
			return s.policy.denyingList(account, hash)
		}
	}
	return ""
}

func (p *resolvedPolicy) denyingList(account string, hash uint64) string {
	if own := p.deny.own.selection(); own.contains(account, hash) {
		return ""
	}
	for _, r := range p.references[len(p.allow.refs):] {
		for _, list := range r.sets {
			if list.Accounts.Contains(account, hash) {
				return list.Name
			}
		}
	}
	return ""
}

// resolvedReference is a reference as one build resolved it. It does not change.
type resolvedReference struct {
	*listRef
	resolution
}

// problem says why it is not certain which accounts are meant; empty if it is.
func (r *resolvedReference) problem() string {
	switch {
	case !r.found:
		return r.String() + " not found"
	case len(r.sets) == 0:
		return r.String() + " without accounts"
	}
	return ""
}
