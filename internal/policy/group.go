package policy

import "strconv"

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

// holdsForJoin reports whether a join into a group of type t passes the filter. An unknown type passes every filter, so
// that a type that the vendor adds opens no gate.
func (s TypeSet) holdsForJoin(t GroupType) bool {
	return s == 0 || !t.known() || s&(1<<t) != 0
}

// holdsForPruning reports whether a group of type t may be pruned under the filter. A group of unknown type never is.
func (s TypeSet) holdsForPruning(t GroupType) bool {
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
	return m.Kind.String() + " " + strconv.Quote(m.Value)
}
