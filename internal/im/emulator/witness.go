package emulator

import "time"

// Testimony is what one call of the REST API found of the members that it names, or did to them, at the moment at which it did so: what a test
// needs to judge a removal by the state that it met. It is no part of the control API.
type Testimony struct {
	// API is get_specified_group_member_info, delete_group_member or add_group_member.
	API string
	// Identifier is the admin account that called.
	Identifier string
	// Group is the group without its members; for a removal, as it was just before, for an addition just after.
	Group Group
	// Named are the accounts that the call names; of an addition only those that it added.
	Named []string
	// Found are those of them who were members: as they are answered, or as they were just before a removal or just after an addition.
	Found []Member
}

// testify tells the witness, if there is one, of the accounts named. The caller holds the lock of the group.
func (e *Emulator) testify(c *call, api string, g *group, named []string) {
	if e.witness == nil {
		return
	}
	t := Testimony{API: api, Identifier: c.identifier, Group: g.describe(0, 0), Named: named}
	for _, account := range named {
		if m := g.roster.find(account); m != nil {
			t.Found = append(t.Found, m.describe())
		}
	}
	e.witness(t)
}

// describe reports on a member.
func (m *member) describe() Member {
	d := Member{Account: m.account, Role: m.role.String(), JoinedAt: time.Unix(int64(m.joined), 0).UTC()}
	if m.spoke > 0 {
		d.LastSpokeAt = time.Unix(int64(m.spoke), 0).UTC()
	}
	return d
}
