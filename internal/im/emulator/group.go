package emulator

import (
	"math"
	"slices"
	"sync"
	"time"
)

// group is one group of an app. The fields above the lock are immutable.
type group struct {
	app     *app
	id      string
	seq     int // order of creation within the app
	kind    groupType
	spelled string // the name of the type as its creator wrote it; typeName says why

	mu           sync.Mutex
	dissolved    bool
	name         string
	introduction string
	notification string
	faceURL      string
	owner        string // empty: the group has no owner
	created      uint32 // Unix seconds
	maxMembers   int    // 0: without limit
	joinOption   string
	messages     int       // sent so far
	sent         []Message // the last ones of send_group_msg, oldest first
	lastMessage  int64
	roster       roster
	applications []string // accounts that await approval, oldest first
	muteAll      bool
	topics       bool
	muted        map[string]uint32 // until when, in Unix seconds; not in member, which would grow for the few
	quirks       Quirks
}

// Quirks make a group behave as some of the vendor's pages show or leave open, to test clients against it.
type Quirks struct {
	// OmitLastSendMsgTime leaves the field out of member lists: no member's activity is known.
	OmitLastSendMsgTime bool `json:"omitLastSendMsgTime,omitempty"`
	// RoleTrailingBlank writes "Member " for "Member", as a sample of page 34948 does.
	RoleTrailingBlank bool `json:"roleTrailingBlank,omitempty"`
	// AddAllOrNothing makes add_group_member fail as a whole if one of its accounts cannot be added for another reason
	// than the app backend's refusal. The message of 10014 ("try fewer") suggests that, although the answer has a
	// Result for each account.
	AddAllOrNothing bool `json:"addAllOrNothing,omitempty"`
}

// typeName is the name of the type on the wire. The vendor's pages do not say whether a group created as Private is
// later called Private or Work; the emulator repeats what the creator wrote, so that tests can cover both.
func (g *group) typeName() string { return g.spelled }

// full reports whether no seat is free. The caller holds the lock.
func (g *group) full() bool { return g.maxMembers > 0 && g.roster.size() >= g.maxMembers }

// free is the number of free seats. The caller holds the lock.
func (g *group) free() int {
	if g.maxMembers == 0 {
		return math.MaxInt
	}
	return max(0, g.maxMembers-g.roster.size())
}

// enrol adds an account that is not a member yet, without callbacks. The caller holds the lock.
func (g *group) enrol(account string, r role, joined, spoke uint32) {
	if r == roleOwner {
		g.promote(account)
	}
	g.roster.add(member{account: account, role: r, joined: joined, spoke: spoke})
	g.withdraw(account)
}

// promote makes account the owner; the previous owner becomes an ordinary member. The caller holds the lock.
func (g *group) promote(account string) {
	if m := g.roster.find(g.owner); m != nil {
		m.role = roleMember
	}
	g.owner = account
}

// setRole changes the role of a member. The caller holds the lock.
func (g *group) setRole(account string, r role) {
	switch {
	case r == roleOwner:
		g.promote(account)
	case g.owner == account:
		g.owner = ""
	}
	g.roster.find(account).role = r
}

// expel removes an account and reports whether it was a member. The caller holds the lock.
func (g *group) expel(account string) bool {
	if !g.roster.remove(account) {
		return false
	}
	delete(g.muted, account)
	if g.owner == account {
		g.owner = ""
	}
	return true
}

// mute sets until when an account may not speak. The caller holds the lock.
func (g *group) mute(account string, until uint32) {
	if g.muted == nil {
		g.muted = map[string]uint32{}
	}
	g.muted[account] = until
}

// withdraw removes the application of an account and reports whether there was one. The caller holds the lock.
func (g *group) withdraw(account string) bool {
	i := slices.Index(g.applications, account)
	if i < 0 {
		return false
	}
	g.applications = slices.Delete(g.applications, i, i+1)
	return true
}

// recordMessage counts a message of a member. The caller holds the lock.
func (g *group) recordMessage(m *member, at time.Time) {
	g.messages++
	g.lastMessage = at.Unix()
	if g.kind != typeAVChatRoom { // the vendor stores no LastSendMsgTime there (page 33529)
		m.spoke = seconds(at)
	}
}
