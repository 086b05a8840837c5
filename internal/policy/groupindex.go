package policy

import (
	"cmp"
	"iter"
	"slices"
)

// groupIndex finds the policies whose matchers match a group's id, in the order of their rank. It never changes; edited
// returns another one. The zero value is empty.
type groupIndex struct {
	exact    groupTable
	prefixes groupTable
	// lengths are those of the prefixes, the longest first: a group is looked up by its beginning of each length.
	lengths []prefixLength
	all     *bucket // nil if there is none
}

type prefixLength struct {
	bytes    int
	prefixes int // how many there are of this length
}

// bucket holds the policies that have one matcher, in the order of their rank.
type bucket struct {
	matcher  GroupMatcher
	sections []section
	// hash is that of the matcher's value, and beside the next bucket in its chain; see groupTable.
	hash     uint64
	beside   *bucket
	prunings []*pruning
	policies []*boundPolicy
	// overridden are the rules that apply to no group by this matcher, each with the rule that takes its place; nil if there is none.
	overridden map[*pruning]*pruning
}

// newBucket takes the policies, in any order, for its own.
func newBucket(m GroupMatcher, policies []*boundPolicy) *bucket {
	slices.SortFunc(policies, func(p, q *boundPolicy) int { return byAge(&p.object, &q.object) })
	b := &bucket{matcher: m, hash: hashGroup(m.Value), policies: policies}
	for _, p := range policies {
		if p.section != nil {
			b.sections = append(b.sections, *p.section)
		}
		if p.pruning != nil {
			b.prunings = append(b.prunings, p.pruning)
		}
	}
	b.findOverridden()
	return b
}

func (b *bucket) findOverridden() {
	if len(b.prunings) < 2 {
		return
	}
	// higher holds one rule for each filter that adds something to those before it. There are few filters.
	var higher []*pruning
	for _, p := range b.prunings {
		i := slices.IndexFunc(higher, func(h *pruning) bool { return h.types.covers(p.types) })
		if i < 0 {
			higher = append(higher, p)
			continue
		}
		if b.overridden == nil {
			b.overridden = map[*pruning]*pruning{}
		}
		b.overridden[p] = higher[i]
	}
}

// bucketOf returns the bucket of a matcher, or nil.
func (x *groupIndex) bucketOf(m GroupMatcher) *bucket {
	switch m.Kind {
	case MatchExact:
		return x.exact.find(m.Value)
	case MatchPrefix:
		return x.prefixes.find(m.Value)
	}
	return x.all
}

// matching yields the buckets whose matcher matches the group, in the order of their rank.
func (x *groupIndex) matching(group string) iter.Seq[*bucket] {
	return func(yield func(*bucket) bool) {
		if b := x.exact.find(group); b != nil && !yield(b) {
			return
		}
		for _, l := range x.lengths {
			if l.bytes > len(group) {
				continue
			}
			if b := x.prefixes.find(group[:l.bytes]); b != nil && !yield(b) {
				return
			}
		}
		if x.all != nil {
			yield(x.all)
		}
	}
}

// edited returns the index less the policies that are gone, and with those that have come. touched are the policies of all
// buckets that changed, some of them more than once.
func (x *groupIndex) edited(gone, come []*boundPolicy) (next *groupIndex, touched []*boundPolicy) {
	left := make(map[*boundPolicy]bool, len(gone))
	change := make(map[GroupMatcher][]*boundPolicy, len(come))
	for _, p := range gone {
		left[p] = true
		for _, m := range p.groups {
			change[m] = nil
		}
	}
	for _, p := range come {
		for _, m := range p.groups {
			change[m] = append(change[m], p)
		}
	}
	edited := *x
	var exact, prefixes []*bucket
	for m, policies := range change {
		before := x.bucketOf(m)
		if before != nil {
			for _, p := range before.policies {
				if !left[p] {
					policies = append(policies, p)
				}
			}
		}
		after := newBucket(m, policies)
		if len(after.prunings) > 1 || before != nil && len(before.prunings) > 1 {
			touched = append(touched, policies...)
		}
		switch {
		case m.Kind == MatchExact:
			exact = append(exact, after)
		case m.Kind == MatchPrefix:
			prefixes = append(prefixes, after)
		case len(policies) > 0:
			edited.all = after
		default:
			edited.all = nil
		}
	}
	if len(exact) > 0 {
		edited.exact = x.exact.with(exact)
	}
	if len(prefixes) > 0 {
		edited.lengths = x.lengthsWith(prefixes)
		edited.prefixes = x.prefixes.with(prefixes)
	}
	return &edited, touched
}

// lengthsWith returns the lengths of the prefixes after these buckets have changed.
func (x *groupIndex) lengthsWith(changed []*bucket) []prefixLength {
	lengths := slices.Clone(x.lengths)
	for _, b := range changed {
		n := 0
		if len(b.policies) > 0 {
			n++
		}
		if x.prefixes.find(b.matcher.Value) != nil {
			n--
		}
		at, found := slices.BinarySearchFunc(lengths, len(b.matcher.Value), func(l prefixLength, bytes int) int { return cmp.Compare(bytes, l.bytes) })
		if !found {
			lengths = slices.Insert(lengths, at, prefixLength{bytes: len(b.matcher.Value)})
		}
		lengths[at].prefixes += n
	}
	return slices.DeleteFunc(lengths, func(l prefixLength) bool { return l.prefixes == 0 })
}

// override returns the rule that takes the place of the policy's, and the first of its matchers for which a higher-ranked
// rule takes every group; nil if there is none.
func (x *groupIndex) override(p *boundPolicy) (winner *pruning, m GroupMatcher) {
	if p.pruning == nil {
		return nil, m
	}
	for _, m := range p.groups {
		if b := x.bucketOf(m); b != nil && b.overridden[p.pruning] != nil {
			return b.overridden[p.pruning], m
		}
	}
	return nil, m
}
