package policy

import "time"

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
}

// GroupState is a group as the vendor describes it at one moment.
type GroupState struct {
	Type       GroupType
	Members    int
	MaxMembers int
}

// Full reports whether nobody else fits in. A group without a known limit is never full.
func (g GroupState) Full() bool { return g.MaxMembers > 0 && g.Members >= g.MaxMembers }

// FreeSeats is how many more members fit in; negative when the group is over its limit.
func (g GroupState) FreeSeats() int { return g.MaxMembers - g.Members }

// recorded reports whether t is a time that somebody recorded. The vendor's 0, read as the first second of 1970 or as Go's
// zero time, is none.
func recorded(t time.Time) bool { return t.Unix() > 0 }

func (m Member) hasSpoken() bool { return m.ActivityKnown && recorded(m.LastSpoke) }

// lastActive is when the member last joined or spoke. It is not known when a time is missing, or lies ahead of now:
// a clock that is wrong about that is wrong about idleness, too.
func (m Member) lastActive(now time.Time) (last time.Time, known bool) {
	if !m.ActivityKnown || !recorded(m.Joined) || m.Joined.After(now) {
		return time.Time{}, false
	}
	last = m.Joined
	if recorded(m.LastSpoke) {
		if m.LastSpoke.After(now) {
			return time.Time{}, false
		}
		if m.LastSpoke.After(last) {
			last = m.LastSpoke
		}
	}
	return last, true
}
