package policy

import (
	"iter"
	"slices"
)

// GroupType is the vendor's type of a group, in its canonical spelling.
type GroupType uint8

// The group types. TypeUnknown stands for a type that is absent or that this version does not know.
const (
	TypeUnknown GroupType = iota
	TypeWork
	TypePublic
	TypeMeeting
	TypeAVChatRoom
	TypeCommunity
)

var groupTypeNames = [...]string{"Unknown", "Work", "Public", "Meeting", "AVChatRoom", "Community"}

// ParseGroupType reads a canonical spelling: Work, Public, Meeting, AVChatRoom or Community. Everything else, the
// vendor's aliases included, is TypeUnknown.
func ParseGroupType(canonical string) GroupType {
	for t := TypeWork; int(t) < len(groupTypeNames); t++ {
		if groupTypeNames[t] == canonical {
			return t
		}
	}
	return TypeUnknown
}

// String returns the canonical spelling, or "Unknown".
func (t GroupType) String() string {
	if int(t) < len(groupTypeNames) {
		return groupTypeNames[t]
	}
	return groupTypeNames[TypeUnknown]
}

func (t GroupType) known() bool { return t > TypeUnknown && int(t) < len(groupTypeNames) }

// TypeSet is a set of group types. The zero value stands for every type.
type TypeSet uint8

// everyType holds all the types there are.
const everyType TypeSet = 1<<TypeWork | 1<<TypePublic | 1<<TypeMeeting | 1<<TypeAVChatRoom | 1<<TypeCommunity

// NewTypeSet returns the set of the given types; of none, the set that stands for every type.
func NewTypeSet(types ...GroupType) TypeSet {
	var s TypeSet
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

// admitsJoin reports whether a join into a group of type t passes the filter. An unknown type passes every filter, so
// that a type that the vendor adds opens no gate.
func (s TypeSet) admitsJoin(t GroupType) bool {
	return s == 0 || !t.known() || s&(1<<t) != 0
}

// admitsPruning reports whether a group of type t may be pruned under the filter. A group of unknown type never is.
func (s TypeSet) admitsPruning(t GroupType) bool {
	return t.known() && (s == 0 || s&(1<<t) != 0)
}

// covers reports whether every group that may be pruned under other may be pruned under s.
func (s TypeSet) covers(other TypeSet) bool {
	return other.prunable()&^s.prunable() == 0
}

func (s TypeSet) prunable() TypeSet {
	if s == 0 {
		return everyType
	}
	return s & everyType
}

// MatchKind says how a matcher compares its value with a group's id.
type MatchKind uint8

// The kinds of matchers, in the order in which they rank.
const (
	MatchExact MatchKind = iota
	MatchPrefix
	MatchAll
)

// String returns the spelling of the API.
func (k MatchKind) String() string {
	switch k {
	case MatchExact:
		return "Exact"
	case MatchPrefix:
		return "Prefix"
	case MatchAll:
		return "All"
	}
	return "Unknown"
}

// GroupMatcher selects groups by their id, byte for byte. MatchAll has no value.
type GroupMatcher struct {
	Kind  MatchKind
	Value string
}

// String is how a status message names the matcher.
func (m GroupMatcher) String() string {
	if m.Kind == MatchAll {
		return m.Kind.String()
	}
	return m.Kind.String() + " " + quote(m.Value)
}

// groupIndex finds the policies whose matchers match a group's id, in the order of their rank. It never changes. The
// zero value is empty.
type groupIndex struct {
	exact    map[string]*bucket // by group
	prefixes map[string]*bucket
	// prefixLengths are those of the prefixes, each once, the longest first: a group is looked up by its beginning of
	// each length.
	prefixLengths []int
	all           *bucket // nil if there is none
}

// bucket holds the policies that have one matcher, in the order of their rank, and what they say.
type bucket struct {
	matcher  GroupMatcher
	policies []*resolvedPolicy
	sections []section
	prunings []*pruning
	// overridden are the rules that apply to no group by this matcher, each with the rule that overrides it; nil if
	// there is none.
	overridden map[*pruning]*pruning
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
