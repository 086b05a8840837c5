package emulator

import (
	"slices"
	"sync"
	"time"
)

// group is one group of an app. What is above the lock never changes.
type group struct {
	app     *app
	id      string
	seq     int // order of creation within the app
	kind    groupType
	spelled string // the name of the type as its creator wrote it; see typeName

	mu           sync.Mutex
	dissolved    bool
	name         string
	introduction string
	notification string
	faceURL      string
	owner        string // may be empty: a group can be without an owner
	created      uint32 // Unix seconds
	maxMembers   int    // 0: without limit
	joinOption   string
	messages     int // sent so far
	lastMessage  int64
	roster       roster
	applications []string // accounts that wait for an admin, oldest first
	quirks       Quirks
}

// Quirks make a group answer as pages of the vendor show or leave open, so that a client can be tried against it.
type Quirks struct {
	// OmitLastSendMsgTime leaves the field out of member lists: nobody's activity is known.
	OmitLastSendMsgTime bool `json:"omitLastSendMsgTime,omitempty"`
	// RoleTrailingBlank writes "Member " for "Member", as a sample of page 34948 does.
	RoleTrailingBlank bool `json:"roleTrailingBlank,omitempty"`
	// AddAllOrNothing makes add_group_member fail as a whole if one of its accounts cannot be added for another reason than the app
	// backend's refusal. The words of 10014 suggest it ("try fewer"), while the answer has a Result for each account.
	AddAllOrNothing bool `json:"addAllOrNothing,omitempty"`
}

// typeName is the name of the type on the wire. The vendor's pages do not say whether a group made as Private is later called
// Private or Work; the emulator repeats what the creator wrote, so that both can be met.
func (g *group) typeName() string { return g.spelled }

// full reports whether nobody else fits in. The caller holds the lock.
func (g *group) full() bool { return g.maxMembers > 0 && g.roster.size() >= g.maxMembers }

// free is how many more fit in. The caller holds the lock.
func (g *group) free() int {
	if g.maxMembers == 0 {
		return int(^uint(0) >> 1)
	}
	return max(0, g.maxMembers-g.roster.size())
}

// enrol adds somebody without telling anyone. The caller holds the lock and knows that he is not in.
func (g *group) enrol(account string, r role, joined, spoke uint32) {
	if r == roleOwner {
		g.promote(account)
	}
	g.created = min(g.created, joined) // nobody joins a group before it exists
	g.roster.add(member{account: account, role: r, joined: joined, spoke: spoke})
	g.withdraw(account)
}

// promote makes room for a new owner, the present one becomes an ordinary member. The caller holds the lock.
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

// expel removes a member and reports whether there was one. The caller holds the lock.
func (g *group) expel(account string) bool {
	if !g.roster.remove(account) {
		return false
	}
	if g.owner == account {
		g.owner = ""
	}
	return true
}

// withdraw ends an application, if there is one. The caller holds the lock.
func (g *group) withdraw(account string) bool {
	i := slices.Index(g.applications, account)
	if i < 0 {
		return false
	}
	g.applications = slices.Delete(g.applications, i, i+1)
	return true
}

// say records a message of a member. The caller holds the lock.
func (g *group) say(m *member, at time.Time) {
	g.messages++
	g.lastMessage = at.Unix()
	if g.kind != typeAVChatRoom { // there the vendor keeps no LastSendMsgTime (page 33529)
		m.spoke = seconds(at)
	}
}
