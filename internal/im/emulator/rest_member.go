package emulator

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// Batch limits. Where the vendor's pages disagree, the strictest current one.
const (
	maxDeleted        = 100 // page 34949
	maxAdded          = 20  // page 34921
	maxImported       = 300
	maxSpecified      = 50 // page 64897
	maxRolesAsked     = 500
	maxMemberPage     = 200   // page 34948; 100 is advised
	maxCommunityPage  = 100   // page 34948
	maxUnpagedMembers = 6_000 // page 34948: beyond that the code is 10054
)

var (
	errNoMemberList = &failure{codeNotPermitted, "groups of this type have no member list"}
	errCannotKick   = &failure{codeBadParameter, "members of an AVChatRoom cannot be removed"}
)

// memberFields selects the fields of a member to answer, besides Member_Account.
type memberFields uint8

const (
	fieldRole memberFields = 1 << iota
	fieldJoinTime
	fieldMsgSeq
	fieldMsgFlag
	fieldLastSend
	fieldMuteUntil
	fieldNameCard

	allMemberFields memberFields = math.MaxUint8
)

var memberFieldNames = map[string]memberFields{
	"Role": fieldRole, "JoinTime": fieldJoinTime, "MsgSeq": fieldMsgSeq, "MsgFlag": fieldMsgFlag,
	"LastSendMsgTime": fieldLastSend, "MuteUntil": fieldMuteUntil, "NameCard": fieldNameCard,
}

// memberFieldsOf parses MemberInfoFilter. Without it all fields are answered; unknown names are ignored.
func memberFieldsOf(p *params) (fields memberFields) {
	if !p.has("MemberInfoFilter") {
		return allMemberFields
	}
	for _, name := range p.texts("MemberInfoFilter") {
		fields |= memberFieldNames[name]
	}
	return fields
}

// appendMembers encodes a MemberList. It avoids encoding/json for speed, since a Community is read in ten thousand
// pages. The caller holds the lock.
func (g *group) appendMembers(dst []byte, members []member, fields memberFields) []byte {
	dst = append(dst, '[')
	for i := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = g.appendMember(dst, &members[i], fields)
	}
	return append(dst, ']')
}

func (g *group) appendMember(dst []byte, m *member, fields memberFields) []byte {
	account, err := json.Marshal(m.account)
	if err != nil { // a string
		account = []byte(`""`)
	}
	dst = append(append(dst, `{"Member_Account":`...), account...)
	if fields&fieldRole != 0 {
		dst = append(append(dst, `,"Role":"`...), m.role.String()...)
		if g.quirks.RoleTrailingBlank {
			dst = append(dst, ' ')
		}
		dst = append(dst, '"')
	}
	if fields&fieldJoinTime != 0 {
		dst = strconv.AppendUint(append(dst, `,"JoinTime":`...), uint64(m.joined), 10)
	}
	if fields&fieldMsgSeq != 0 { // read marks are not emulated
		dst = append(dst, `,"MsgSeq":0`...)
	}
	if fields&fieldMsgFlag != 0 {
		dst = append(dst, `,"MsgFlag":"AcceptAndNotify"`...)
	}
	if fields&fieldLastSend != 0 && !g.quirks.OmitLastSendMsgTime {
		dst = strconv.AppendUint(append(dst, `,"LastSendMsgTime":`...), uint64(m.spoke), 10)
	}
	if fields&fieldMuteUntil != 0 {
		dst = strconv.AppendUint(append(dst, `,"MuteUntil":`...), uint64(g.muted[m.account]), 10)
	}
	if fields&fieldNameCard != 0 {
		dst = append(dst, `,"NameCard":""`...)
	}
	return append(dst, '}')
}

// roleFilter parses MemberRoleFilter. Without it every role passes.
func roleFilter(p *params) func(role) bool {
	if !p.has("MemberRoleFilter") {
		return func(role) bool { return true }
	}
	var roles []role
	for _, word := range p.texts("MemberRoleFilter") {
		r, ok := parseRole(word)
		if !ok {
			p.complain("MemberRoleFilter: %q is unknown: use Owner, Admin or Member", word)
		}
		roles = append(roles, r)
	}
	return func(r role) bool { return slices.Contains(roles, r) }
}

// memberPage is the answer of get_group_member_info.
type memberPage struct {
	MemberNum  int             `json:"MemberNum"` // of the whole group
	MemberList json.RawMessage `json:"MemberList"`
	Next       *string         `json:"Next,omitempty"` // Community only
}

// getMembers is get_group_member_info (page 34948). It pages by Offset, and by Next in a Community.
func (e *Emulator) getMembers(_ context.Context, c *call) (any, *failure) {
	fields, pass := memberFieldsOf(c.params), roleFilter(c.params)
	limit, offset := c.number("Limit", 0), c.number("Offset", 0)
	next := c.text("Next")
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	answer := memberPage{MemberNum: g.roster.size()}
	var page []member
	switch g.kind {
	case typeAVChatRoom:
		return nil, errNoMemberList
	case typeCommunity:
		if offset > 0 {
			return nil, fail(codeBadParameter, "Offset is not supported for a Community: use Next")
		}
		page, next, f = g.pageAfter(next, limit, pass)
		answer.Next = &next
	default:
		if next != "" {
			return nil, fail(codeBadParameter, "Next is for a Community only: use Offset")
		}
		page, f = g.pageFrom(offset, limit, c.has("MemberRoleFilter"), pass)
	}
	if f != nil {
		return nil, f
	}
	answer.MemberList = g.appendMembers(nil, page, fields)
	return answer, nil
}

// pageFrom is a page by offset. Offsets count members, so they shift when a member leaves.
func (g *group) pageFrom(offset, limit int, filtered bool, pass func(role) bool) ([]member, *failure) {
	if limit > maxMemberPage {
		return nil, fail(codeBadParameter, "Limit is %d, at most %d are allowed", limit, maxMemberPage)
	}
	if limit == 0 { // everything
		if g.roster.size() > maxUnpagedMembers {
			return nil, fail(codeTooManyMembers, "the group has too many members for one answer: set Limit and Offset")
		}
		limit = maxUnpagedMembers
	}
	if !filtered {
		return g.roster.page(offset, limit), nil
	}
	var page []member
	for m := range g.roster.after(0) {
		if !pass(m.role) {
			continue
		}
		if offset > 0 {
			offset--
			continue
		}
		if page = append(page, *m); len(page) == limit {
			break
		}
	}
	return page, nil
}

// pageAfter is a page of a Community. The returned cursor names the position of the last answered member in the order
// of joining, so it stays valid while others join and leave.
func (g *group) pageAfter(cursor string, limit int, pass func(role) bool) ([]member, string, *failure) {
	if limit > maxCommunityPage {
		return nil, "", fail(codeBadParameter, "Limit must be at most %d for a Community", maxCommunityPage)
	}
	if limit == 0 {
		limit = maxCommunityPage
	}
	var seq uint64
	if cursor != "" {
		var err error
		if seq, err = strconv.ParseUint(cursor, 36, 32); err != nil || seq == 0 {
			return nil, "", fail(codeBadParameter, `Next must be "" or what the answer before said`)
		}
	}
	page := make([]member, 0, limit)
	for m := range g.roster.after(uint32(seq)) {
		if !pass(m.role) {
			continue
		}
		if len(page) == limit { // another member follows
			return page, strconv.FormatUint(uint64(page[limit-1].seq), 36), nil
		}
		page = append(page, *m)
	}
	return page, "", nil
}

// groupWithMembers is namedGroup for calls that need a member list, which an AVChatRoom does not have.
func (c *call) groupWithMembers() (*group, *failure) {
	g, f := c.namedGroup()
	if f == nil && g.kind == typeAVChatRoom {
		g.mu.Unlock()
		return nil, errNoMemberList
	}
	return g, f
}

// getSpecifiedMembers is get_specified_group_member_info (page 64897). Accounts that are not members are left out.
func (e *Emulator) getSpecifiedMembers(_ context.Context, c *call) (any, *failure) {
	accounts := c.accounts("Member_List_Account", maxSpecified, false)
	fields, pass := memberFieldsOf(c.params), roleFilter(c.params)
	g, f := c.groupWithMembers()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	e.reportMemberCall(c, "get_specified_group_member_info", g, accounts)
	var found []member
	for _, account := range accounts {
		if m := g.roster.find(account); m != nil && pass(m.role) {
			found = append(found, *m)
		}
	}
	return struct {
		MemberList json.RawMessage `json:"MemberList"`
	}{g.appendMembers(nil, found, fields)}, nil
}

// getRoles is get_role_in_group.
func (e *Emulator) getRoles(_ context.Context, c *call) (any, *failure) {
	accounts := c.accounts("User_Account", maxRolesAsked, false)
	g, f := c.groupWithMembers()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	type accountRole struct {
		Account string `json:"Member_Account"`
		Role    string `json:"Role"`
	}
	roles := make([]accountRole, 0, len(accounts))
	for _, account := range accounts {
		r := roleGone
		if m := g.roster.find(account); m != nil {
			r = m.role
		}
		roles = append(roles, accountRole{account, r.String()})
	}
	return struct {
		Roles []accountRole `json:"UserIdList"`
	}{roles}, nil
}

// modifyMember is modify_group_member_info (page 34900), restricted to roles.
func (e *Emulator) modifyMember(_ context.Context, c *call) (any, *failure) {
	account, word := c.required("Member_Account"), c.text("Role")
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	m := g.roster.find(account)
	switch {
	case g.kind == typeAVChatRoom || m == nil:
		return nil, fail(codeNotPermitted, "the account is not a member of a group with a member list")
	case word == "":
		return nil, nil
	case word != "Admin" && word != "Member":
		return nil, fail(codeBadParameter, "Role must be Admin or Member; use change_group_owner for an owner")
	case word == "Admin" && g.kind == typeWork:
		return nil, fail(codeNotPermitted, "a Work group has no admins")
	}
	r, _ := parseRole(word)
	g.setRole(account, r)
	return nil, nil
}

// addedMember is one account in the answer of add_group_member and import_group_member.
type addedMember struct {
	Account string `json:"Member_Account"`
	Result  int    `json:"Result"`
}

type addedMembers struct {
	MemberList []addedMember `json:"MemberList"`
}

// addMembers is add_group_member (page 34921): an invitation by the app admin, with its callbacks.
func (e *Emulator) addMembers(ctx context.Context, c *call) (any, *failure) {
	accounts := c.accounts("MemberList", maxAdded, true)
	c.number("Silence", 0)
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	g.mu.Unlock()
	if g.kind == typeAVChatRoom {
		return nil, fail(codeNotPermitted, "members cannot be added to an AVChatRoom, they join by themselves")
	}
	entries, f := e.invite(ctx, g, c.origin(), accounts)
	if f != nil {
		return nil, f
	}
	e.reportAdded(c, g, entries)
	return addedMembers{answered(entries)}, nil
}

// reportAdded reports the added accounts.
func (e *Emulator) reportAdded(c *call, g *group, entries []entry) {
	var added []string
	for _, en := range entries {
		if en.result == resultAdded {
			added = append(added, en.account)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	e.reportMemberCall(c, "add_group_member", g, added)
}

func answered(entries []entry) []addedMember {
	list := make([]addedMember, len(entries))
	for i, en := range entries {
		list[i] = addedMember{en.account, en.result}
	}
	return list
}

// deleteMembers is delete_group_member (page 34949). The answer does not report on single accounts, and removing an
// account that is not a member succeeds. The owner is removed like any member, since no page says that he is protected.
func (e *Emulator) deleteMembers(ctx context.Context, c *call) (any, *failure) {
	accounts := c.accounts("MemberToDel_Account", maxDeleted, false)
	c.number("Silence", 0)
	c.text("Reason")
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	if g.kind == typeAVChatRoom {
		return nil, errCannotKick
	}
	accounts = slices.DeleteFunc(accounts, func(account string) bool { return slices.Contains(c.skip, account) })
	e.reportMemberCall(c, apiDelete, g, accounts)
	e.removeMembers(ctx, g, c.origin(), "Kicked", accounts)
	return nil, nil
}

// importMembers is import_group_member. It causes no callbacks: Groupgate finds such members only by looking at all.
func (e *Emulator) importMembers(_ context.Context, c *call) (any, *failure) {
	accounts := c.accounts("MemberList", maxImported, true)
	list := c.objects("MemberList")
	g, f := c.groupWithMembers()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	type imported struct {
		joined int
		role   role
	}
	facts := make(map[string]imported, len(list))
	for _, o := range list {
		fact := imported{o.number("JoinTime", int(c.now.Unix())), o.initialRole()}
		if int64(fact.joined) < int64(g.created) || int64(fact.joined) > c.now.Unix() {
			o.complain("JoinTime must lie between the creation of the group and now")
		}
		if o.bad != nil {
			return nil, fail(codeBadParameter, "MemberList: %s", o.bad.info)
		}
		facts[o.text("Member_Account")] = fact
	}
	entries := make([]entry, 0, len(accounts))
	done := 0
	for _, account := range accounts {
		en := entry{account: account, result: resultAdded}
		switch {
		case g.roster.find(account) != nil:
			en.result = resultMember
		case g.full():
			en.result = resultFailed
		default:
			g.enrol(account, facts[account].role, seconds(time.Unix(int64(facts[account].joined), 0)), 0)
		}
		if en.result != resultFailed {
			done++
		}
		entries = append(entries, en)
	}
	if done == 0 {
		return nil, errGroupFull
	}
	return addedMembers{answered(entries)}, nil
}
