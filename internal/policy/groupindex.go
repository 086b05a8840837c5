package policy

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// groupIndex finds the policies whose matchers match a group's id, in the order of their rank. It never changes; with
// returns another one. The zero value is empty.
type groupIndex struct {
	exact    map[string]*bucket // by group
	prefixes map[string]*bucket
	// prefixLengths are those of the prefixes, each once, the longest first: a group is looked up by its beginning of
	// each length.
	prefixLengths []int
	all           *bucket // nil if there is none
}

// bucket holds the policies that share a matcher, in the order of their rank, and what they say.
type bucket struct {
	matcher  GroupMatcher
	policies []*resolvedPolicy
	sections []section
	prunings []*pruning
	// overridden are the rules that apply to no group by this matcher, each with the rule that overrides it; nil if
	// there is none.
	overridden map[*pruning]*pruning
	// evicts says that an accepted policy among these has an eviction rule.
	evicts bool
}

// newBucket returns the bucket of a matcher that these policies, given in any order, have; nil if there are none. One
// that has it alone brings a bucket of its own.
func newBucket(m GroupMatcher, policies []*resolvedPolicy) *bucket {
	switch len(policies) {
	case 0:
		return nil
	case 1:
		return policies[0].bucketOf(m)
	}
	slices.SortFunc(policies, func(p, q *resolvedPolicy) int { return byAge(&p.object, &q.object) })
	b := &bucket{matcher: m, policies: policies}
	for _, p := range policies {
		b.sections = append(b.sections, p.sections...)
		b.prunings = append(b.prunings, p.prunings...)
		b.evicts = b.evicts || p.evicts()
	}
	b.findOverridden()
	return b
}

func (b *bucket) findOverridden() {
	if len(b.prunings) < 2 {
		return
	}
	// covering holds one rule for each type filter that adds a type to those before it. There are few filters.
	var covering []*pruning
	for _, p := range b.prunings {
		i := slices.IndexFunc(covering, func(c *pruning) bool { return c.types.covers(p.types) })
		if i < 0 {
			covering = append(covering, p)
			continue
		}
		if b.overridden == nil {
			b.overridden = map[*pruning]*pruning{}
		}
		b.overridden[p] = covering[i]
	}
}

// bucketOf returns the bucket of a matcher, or nil.
func (x *groupIndex) bucketOf(m GroupMatcher) *bucket {
	switch m.Kind {
	case MatchExact:
		return x.exact[m.Value]
	case MatchPrefix:
		return x.prefixes[m.Value]
	}
	return x.all
}

// matching yields the buckets whose matcher matches the group, in the order of their rank.
func (x *groupIndex) matching(group string) iter.Seq[*bucket] {
	return func(yield func(*bucket) bool) {
		if b := x.exact[group]; b != nil && !yield(b) {
			return
		}
		for _, length := range x.prefixLengths {
			if length > len(group) {
				continue
			}
			if b := x.prefixes[group[:length]]; b != nil && !yield(b) {
				return
			}
		}
		if x.all != nil {
			yield(x.all)
		}
	}
}

// with returns the index without the policies that left and with those that joined. retold are the policies of which
// another one's rule may take the place now, or no longer; some come more than once.
func (x *groupIndex) with(left, joined []*resolvedPolicy) (next *groupIndex, retold []*resolvedPolicy) {
	gone := make(map[*resolvedPolicy]bool, len(left))
	changed := make(map[GroupMatcher][]*resolvedPolicy, len(left)+len(joined))
	for _, p := range left {
		gone[p] = true
		for _, m := range p.groups {
			changed[m] = nil
		}
	}
	for _, p := range joined {
		for _, m := range p.groups {
			changed[m] = append(changed[m], p)
		}
	}
	next = &groupIndex{
		exact: maps.Clone(x.exact), prefixes: maps.Clone(x.prefixes), prefixLengths: x.prefixLengths, all: x.all,
	}
	for m, policies := range changed {
		before := x.bucketOf(m)
		if before != nil {
			for _, p := range before.policies {
				if !gone[p] {
					policies = append(policies, p)
				}
			}
		}
		after := newBucket(m, policies)
		next.put(m, after)
		if before.shared() || after.shared() {
			retold = append(retold, policies...)
		}
	}
	if len(next.prefixes) > 0 || len(x.prefixes) > 0 {
		next.prefixLengths = lengthsOf(next.prefixes)
	}
	return next, retold
}

// shared reports whether several rules have the matcher.
func (b *bucket) shared() bool { return b != nil && len(b.prunings) > 1 }

// put sets the bucket of a matcher; nil removes it.
func (x *groupIndex) put(m GroupMatcher, b *bucket) {
	switch m.Kind {
	case MatchExact:
		putBucket(&x.exact, m.Value, b)
	case MatchPrefix:
		putBucket(&x.prefixes, m.Value, b)
	default:
		x.all = b
	}
}

func putBucket(buckets *map[string]*bucket, value string, b *bucket) {
	if b == nil {
		delete(*buckets, value)
		return
	}
	if *buckets == nil {
		*buckets = map[string]*bucket{}
	}
	(*buckets)[value] = b
}

// lengthsOf returns the lengths of the prefixes, each once, the longest first.
func lengthsOf(prefixes map[string]*bucket) []int {
	known := map[int]bool{}
	for prefix := range prefixes {
		known[len(prefix)] = true
	}
	return slices.SortedFunc(maps.Keys(known), func(a, b int) int { return cmp.Compare(b, a) })
}

// override returns the rule that overrides the policy's, and the first of the policy's matchers for which it does; nil
// if none does.
func (x *groupIndex) override(p *resolvedPolicy) (winner *pruning, m GroupMatcher) {
	for _, rule := range p.prunings {
		for _, m := range p.groups {
			if winner := x.bucketOf(m).overridden[rule]; winner != nil {
				return winner, m
			}
		}
	}
	return nil, m
}
