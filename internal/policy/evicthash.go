package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// computeGate covers everything in the policy, less the accounts of lists, on which it depends whose members are
// evicted, and how.
func (p *parsedPolicy) computeGate() fingerprint {
	if !p.judges() && p.invalid == "" {
		return 0
	}
	t := make(transcript, 0, 256)
	t.text(p.object.Name)
	t.governed(p)
	if s := p.section; s != nil {
		t.flag(s.audit)
		t.flag(s.gated)
		t.number(int64(s.triggers))
		t.selector(p.allow)
		t.selector(p.deny)
	}
	if p.eviction != nil {
		t.hash(p.eviction.fingerprint)
	}
	return t.sum()
}

// resolveGate returns the references of allow and deny as they are resolved now, and the fingerprint of the gate.
func (p *parsedPolicy) resolveGate(references []*reference) ([]resolvedReference, fingerprint) {
	resolved := make([]resolvedReference, len(references))
	t := make(transcript, 0, 64)
	t.hash(p.gate)
	for i, r := range references {
		selector, at := p.allow, i
		if i >= len(p.allow.refs) {
			selector, at = p.deny, i-len(p.allow.refs)
		}
		resolved[i] = resolvedReference{&selector.refs[at], r.resolution}
		t.flag(r.found)
		t.hash(r.content)
	}
	if p.gate == 0 {
		return resolved, 0
	}
	return resolved, t.sum()
}

// EvictHash identifies, in 16 hex digits, what decides who is evicted: the rules, the gates and their accounts of all
// groups that the rules may govern, and the adminAccount, which is never evicted. It is the same in every process.
//
// It may change when nothing changes for any group: it goes by the matchers of the policies, and not by group types.
func (a *CompiledApp) EvictHash() string {
	return a.hashGates(func(p *resolvedPolicy) fingerprint { return p.gate })
}

// EvictRulesHash is EvictHash without the accounts of lists: it changes with the policies and the adminAccount alone.
func (a *CompiledApp) EvictRulesHash() string {
	return a.hashGates(func(p *resolvedPolicy) fingerprint { return p.parsedPolicy.gate })
}

func (a *CompiledApp) hashGates(gate func(*resolvedPolicy) fingerprint) string {
	evicting := a.groups.evicting()
	relevant := map[*resolvedPolicy]bool{}
	var gates multiset
	for b := range a.groups.buckets() {
		if !evicting.overlap(b.matcher) {
			continue
		}
		for _, p := range b.policies {
			if p.gate != 0 && !relevant[p] {
				relevant[p] = true
				gates.add(gate(p))
			}
		}
	}
	var t transcript
	t.text(a.adminAccount)
	t.multiset(gates)
	return fmt.Sprintf("%016x", uint64(t.sum()))
}

// buckets yields all buckets, in no order.
func (x *groupIndex) buckets() iter.Seq[*bucket] {
	return func(yield func(*bucket) bool) {
		for _, b := range x.exact {
			if !yield(b) {
				return
			}
		}
		for _, b := range x.prefixes {
			if !yield(b) {
				return
			}
		}
		if x.all != nil {
			yield(x.all)
		}
	}
}

// evictingMatchers are those of the accepted policies with an eviction rule.
type evictingMatchers struct {
	index *groupIndex
	// values are those of exact matchers and of prefixes, sorted.
	values []string
	all    bool
}

func (x *groupIndex) evicting() evictingMatchers {
	e := evictingMatchers{index: x}
	for b := range x.buckets() {
		switch {
		case !b.evicts:
		case b.matcher.Kind == MatchAll:
			e.all = true
		default:
			e.values = append(e.values, b.matcher.Value)
		}
	}
	slices.Sort(e.values)
	return e
}

// overlap reports whether one of the matchers may match a group that m matches.
func (e *evictingMatchers) overlap(m GroupMatcher) bool {
	switch {
	case e.all:
		return true
	case m.Kind == MatchAll:
		return len(e.values) > 0
	case m.Kind == MatchPrefix:
		at, _ := slices.BinarySearch(e.values, m.Value)
		if at < len(e.values) && strings.HasPrefix(e.values[at], m.Value) {
			return true
		}
	}
	for b := range e.index.matching(m.Value) {
		if b.evicts && (m.Kind == MatchExact || b.matcher.Kind != MatchExact) {
			return true
		}
	}
	return false
}
