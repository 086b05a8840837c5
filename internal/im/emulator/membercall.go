package emulator

// MemberCall reports one REST call that read, removed or added named members, with the state of these members at that
// moment, so that a test can check a removal against the state it was based on. It is not part of the control API.
type MemberCall struct {
	// API is get_specified_group_member_info, delete_group_member or add_group_member.
	API string
	// Identifier is the admin account of the call.
	Identifier string
	// Group is the group without its members: just before a removal, just after an addition.
	Group Group
	// Named are the accounts that the call names; for an addition, only those that were added.
	Named []string
	// Found are those of Named that were members, as answered, or just before a removal, or just after an addition.
	Found []Member
}

// reportMemberCall calls OnMemberCall, if it is set. The caller holds the lock of the group.
func (e *Emulator) reportMemberCall(c *call, api string, g *group, named []string) {
	if e.onMemberCall == nil {
		return
	}
	report := MemberCall{API: api, Identifier: c.identifier, Group: g.describe(0, 0), Named: named}
	for _, account := range named {
		if m := g.roster.find(account); m != nil {
			report.Found = append(report.Found, g.describeMember(m))
		}
	}
	e.onMemberCall(report)
}
