package policy

import (
	"slices"
	"strings"
)

// groupIndex finds the policies whose matchers match a group's id, in the order of their rank.
type groupIndex struct {
	exact map[string]*bucket
	// prefixes are sorted by prefix.
	prefixes []*bucket
	all      *bucket
}

// bucket holds the policies that have one matcher, in the order of their rank.
type bucket struct {
	matcher  GroupMatcher
	sections []*section
	prunings []*pruning
	// next is the bucket that ranks next among those whose matcher matches whenever this one's does: every bucket leads
	// through ever shorter prefixes to the one that matches all.
	next *bucket
}

// newGroupIndex needs the policies in the order of their age.
func newGroupIndex(policies []*boundPolicy) *groupIndex {
	x := &groupIndex{
		exact: make(map[string]*bucket, len(policies)),
		all:   &bucket{matcher: GroupMatcher{Kind: MatchAll}},
	}
	prefixes := map[string]*bucket{}
	for _, p := range policies {
		for _, m := range p.groups {
			switch m.Kind {
			case MatchExact:
				fill(x.exact, m, p)
			case MatchPrefix:
				fill(prefixes, m, p)
			case MatchAll:
				x.all.add(p)
			}
		}
	}
	x.link(prefixes)
	return x
}

func fill(buckets map[string]*bucket, m GroupMatcher, p *boundPolicy) {
	b, ok := buckets[m.Value]
	if !ok {
		b = &bucket{matcher: m}
		buckets[m.Value] = b
	}
	b.add(p)
}

func (b *bucket) add(p *boundPolicy) {
	if p.section != nil {
		b.sections = append(b.sections, p.section)
	}
	if p.pruning != nil {
		b.prunings = append(b.prunings, p.pruning)
	}
}

func (x *groupIndex) link(prefixes map[string]*bucket) {
	x.prefixes = make([]*bucket, 0, len(prefixes))
	for _, b := range prefixes {
		x.prefixes = append(x.prefixes, b)
	}
	slices.SortFunc(x.prefixes, func(a, b *bucket) int { return strings.Compare(a.matcher.Value, b.matcher.Value) })
	enclosing := x.all
	for _, b := range x.prefixes {
		// The prefix before b, or one that encloses it, is the longest that encloses b.
		for !strings.HasPrefix(b.matcher.Value, enclosing.matcher.Value) {
			enclosing = enclosing.next
		}
		b.next = enclosing
		enclosing = b
	}
	for id, b := range x.exact {
		b.next = x.longestPrefix(id)
	}
}

// find returns the highest-ranked bucket whose matcher matches the group. Its chain of next buckets leads to all others
// in the order of their rank.
func (x *groupIndex) find(group string) *bucket {
	if b, ok := x.exact[group]; ok {
		return b
	}
	return x.longestPrefix(group)
}

// bucketOf returns the bucket of a matcher that some policy has.
func (x *groupIndex) bucketOf(m GroupMatcher) *bucket {
	switch m.Kind {
	case MatchExact:
		return x.exact[m.Value]
	case MatchPrefix:
		return x.longestPrefix(m.Value)
	}
	return x.all
}

// longestPrefix returns the bucket of the longest prefix of the group, or the one that matches all. In the order, every
// text between a prefix and the group begins with that prefix, too; so the longest prefix is the last one not after the
// group, or encloses it.
func (x *groupIndex) longestPrefix(group string) *bucket {
	i, exact := slices.BinarySearchFunc(x.prefixes, group, func(b *bucket, group string) int {
		return strings.Compare(b.matcher.Value, group)
	})
	if exact {
		return x.prefixes[i]
	}
	b := x.all
	if i > 0 {
		b = x.prefixes[i-1]
	}
	for !strings.HasPrefix(group, b.matcher.Value) {
		b = b.next
	}
	return b
}

// overridden notes for every rule the first of its policy's matchers for which a higher-ranked rule takes every group.
func (x *groupIndex) overridden(policies []*boundPolicy, overrides map[*pruning]override) {
	byBucket := map[*bucket]map[*pruning]*pruning{}
	for _, p := range policies {
		if p.pruning == nil {
			continue
		}
		for _, m := range p.groups {
			b := x.bucketOf(m)
			if len(b.prunings) < 2 {
				continue
			}
			if _, done := byBucket[b]; !done {
				byBucket[b] = b.overridden()
			}
			if winner, lost := byBucket[b][p.pruning]; lost {
				overrides[p.pruning] = override{winner: winner.policy.Name, matcher: m}
				break
			}
		}
	}
}

// overridden returns for every rule of the bucket that applies to no group by this matcher the rule that takes its place.
func (b *bucket) overridden() map[*pruning]*pruning {
	winners := map[*pruning]*pruning{}
	// higher holds one rule for each filter that adds something to those before it. There are few filters.
	var higher []*pruning
	for _, p := range b.prunings {
		i := slices.IndexFunc(higher, func(h *pruning) bool { return h.types.covers(p.types) })
		if i < 0 {
			higher = append(higher, p)
			continue
		}
		winners[p] = higher[i]
	}
	return winners
}
