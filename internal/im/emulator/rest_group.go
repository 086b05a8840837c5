package emulator

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/im/callback"
)

const (
	maxInitialMembers = 100
	maxGroupsAsked    = 50
	maxGroupPage      = 10_000
	maxName           = 100 // bytes; the pages of 2023 say 30, client pages of 2024 say 100
	maxText           = 400 // bytes of introduction and notification
	maxMembersInInfo  = 6_000
)

// createGroup is create_group.
func (e *Emulator) createGroup(ctx context.Context, c *call) (any, *failure) {
	g, f := c.newGroup()
	if f != nil {
		return nil, f
	}
	if other := c.app.group(g.id); g.id != "" && other != nil {
		return nil, taken(other, g.owner)
	}
	initial := g.accounts()
	count := c.app.countOwned(g.kind, g.owner)
	v := e.sendBefore(ctx, c.app, c.origin(), callbackBody{
		Command: commandBeforeCreate, Type: g.typeName(), Operator: c.identifier, Owner: g.owner, Name: g.name,
		CreateCount: &count, Members: memberRefs(initial),
	})
	if v.refusal != nil {
		return nil, v.refusal
	}
	owner, name := g.owner, g.name // insert makes the group visible to concurrent calls
	if other := c.app.insert(g); other != nil {
		return nil, taken(other, owner)
	}
	// The initial members cause no join callback (page 34368).
	e.queueAfter(ctx, c.app, c.origin(), callbackBody{
		Command: callback.CommandAfterCreate, GroupID: g.id, Type: g.typeName(), Operator: c.identifier,
		Owner: owner, Name: name, Members: memberRefs(initial), Defined: c.members["AppDefinedData"],
	})
	return struct {
		GroupID string `json:"GroupId"`
	}{g.id}, nil
}

func taken(g *group, by string) *failure {
	if by != "" && g.ownedBy(by) {
		return fail(codeGroupIDOwned, "the group id is taken by a group of the same owner")
	}
	return fail(codeGroupIDTaken, "the group id is taken")
}

func (g *group) ownedBy(account string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owner == account
}

// accounts lists the members. The caller holds the lock, or the group is not in an app yet.
func (g *group) accounts() []string {
	accounts := make([]string, 0, g.roster.size())
	for m := range g.roster.after(0) {
		accounts = append(accounts, m.account)
	}
	return accounts
}

// newGroup parses the body of create_group.
func (c *call) newGroup() (*group, *failure) {
	g := &group{
		app: c.app, id: c.text("GroupId"), created: seconds(c.now),
		spelled: c.required("Type"), name: c.required("Name"), introduction: c.text("Introduction"),
		notification: c.text("Notification"), faceURL: c.text("FaceUrl"), joinOption: c.text("ApplyJoinOption"),
	}
	owner := c.text("Owner_Account")
	wanted := c.number("MaxMemberCount", 0) // MaxMemberNum everywhere else
	var members []string
	roles := map[string]role{}
	if c.has("MemberList") {
		members = c.accounts("MemberList", maxInitialMembers, true)
		for _, o := range c.objects("MemberList") {
			roles[o.text("Member_Account")] = o.initialRole()
			if o.bad != nil {
				c.complain("MemberList: %s", o.bad.info)
			}
		}
	}
	if c.bad != nil {
		return nil, c.bad
	}
	var ok bool
	if g.kind, ok = parseGroupType(g.spelled); !ok {
		return nil, fail(codeBadParameter, "Type %q is unknown: use %s", g.spelled, groupTypeNames)
	}
	if complaint := checkGroupID(g.id, g.kind); g.id != "" && complaint != "" {
		return nil, fail(codeBadGroupID, "%s", complaint)
	}
	if f := checkTexts(g.name, g.introduction, g.notification); f != nil {
		return nil, f
	}
	if f := g.setJoinOption(g.joinOption); f != nil {
		return nil, f
	}
	if f := g.setMaxMembers(wanted); f != nil {
		return nil, f
	}
	if owner != "" {
		if !validAccount(owner) {
			return nil, fail(codeBadParameter, "Owner_Account must have 1 to 32 bytes")
		}
		g.enrol(owner, roleOwner, seconds(c.now), 0)
	}
	for _, account := range members {
		if g.full() {
			return nil, errGroupFull
		}
		if g.roster.find(account) == nil {
			g.enrol(account, roles[account], seconds(c.now), 0)
		}
	}
	return g, nil
}

// initialRole is the Role of a member to create or to import.
func (p *params) initialRole() role {
	switch word := p.text("Role"); word {
	case "", "Member":
		return roleMember
	case "Admin":
		return roleAdmin
	default:
		p.complain("Role %q is unknown: use Admin or Member", word)
		return roleMember
	}
}

func checkTexts(name, introduction, notification string) *failure {
	if len(name) > maxName || len(introduction) > maxText || len(notification) > maxText {
		return fail(codeBadParameter, "Name may have %d bytes, Introduction and Notification %d", maxName, maxText)
	}
	return nil
}

// setJoinOption checks and sets ApplyJoinOption; "" is the default of the type. Only Public groups have a choice (page
// 33529).
func (g *group) setJoinOption(option string) *failure {
	if option == "" {
		option = g.kind.joinOption()
	}
	if option != freeAccess && option != needPermission && option != disableApply {
		return fail(codeBadParameter, "ApplyJoinOption %q is unknown: use FreeAccess, NeedPermission or DisableApply",
			option)
	}
	if g.kind != typePublic && option != g.kind.joinOption() {
		return fail(codeBadParameter, "ApplyJoinOption of type %s is always %s", g.spelled, g.kind.joinOption())
	}
	g.joinOption = option
	return nil
}

// setMaxMembers checks and sets MaxMemberNum; 0 is the ceiling of the type.
func (g *group) setMaxMembers(n int) *failure {
	ceiling := g.kind.ceiling()
	if ceiling == 0 {
		return nil // an AVChatRoom is never full
	}
	if n == 0 {
		n = ceiling
	}
	if n > ceiling {
		return fail(codeGroupSize, "a group of type %s has at most %d members", g.spelled, ceiling)
	}
	g.maxMembers = n
	return nil
}

// destroyGroup is destroy_group.
func (e *Emulator) destroyGroup(ctx context.Context, c *call) (any, *failure) {
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	e.dissolve(ctx, g, c.origin())
	g.mu.Unlock()
	c.app.forget(g)
	return nil, nil
}

// dissolve marks a group as disbanded and queues the callback. The caller has locked the group, and removes it from the
// app.
func (e *Emulator) dissolve(ctx context.Context, g *group, by origin) {
	g.dissolved = true
	body := callbackBody{
		Command: commandAfterDestroyed, GroupID: g.id, Type: g.typeName(), Owner: g.owner, Name: g.name,
	}
	if g.kind != typeCommunity { // too large (page 34377)
		body.Members = memberRefs(g.accounts())
	}
	e.queueAfter(ctx, g.app, by, body)
}

// groupInfo is one group of get_group_info. Fields that the filter leaves out are nil.
type groupInfo struct {
	GroupID       string          `json:"GroupId"`
	ErrorCode     int             `json:"ErrorCode"`
	ErrorInfo     string          `json:"ErrorInfo"`
	Type          *string         `json:"Type,omitempty"`
	Name          *string         `json:"Name,omitempty"`
	Introduction  *string         `json:"Introduction,omitempty"`
	Notification  *string         `json:"Notification,omitempty"`
	FaceURL       *string         `json:"FaceUrl,omitempty"`
	Owner         *string         `json:"Owner_Account,omitempty"`
	CreateTime    *uint32         `json:"CreateTime,omitempty"`
	InfoSeq       *int            `json:"InfoSeq,omitempty"`
	LastInfoTime  *uint32         `json:"LastInfoTime,omitempty"`
	LastMsgTime   *int64          `json:"LastMsgTime,omitempty"`
	NextMsgSeq    *int            `json:"NextMsgSeq,omitempty"`
	MemberNum     *int            `json:"MemberNum,omitempty"`
	MaxMemberNum  *int            `json:"MaxMemberNum,omitempty"`
	JoinOption    *string         `json:"ApplyJoinOption,omitempty"`
	MuteAllMember *string         `json:"MuteAllMember,omitempty"`
	SupportTopic  *int            `json:"SupportTopic,omitempty"`
	MemberList    json.RawMessage `json:"MemberList,omitempty"`
}

// getGroupInfo is get_group_info (page 34961). Errors are reported for each group, not for the whole answer.
func (e *Emulator) getGroupInfo(_ context.Context, c *call) (any, *failure) {
	ids := c.texts("GroupIdList")
	if len(ids) == 0 {
		c.complain("GroupIdList is missing or empty")
	}
	if len(ids) > maxGroupsAsked {
		c.complain("GroupIdList has %d groups, at most %d are allowed in one request", len(ids), maxGroupsAsked)
	}
	// Without a filter all fields are answered, members included; with one, only those that it names.
	var base []string
	fields := allMemberFields
	withMembers := true
	if filter := c.object("ResponseFilter"); filter != nil {
		base = filter.texts("GroupBaseInfoFilter")
		withMembers = filter.has("MemberInfoFilter")
		fields = memberFieldsOf(filter)
		if filter.bad != nil {
			c.complain("ResponseFilter: %s", filter.bad.info)
		}
	}
	if c.bad != nil {
		return nil, c.bad
	}
	infos := make([]groupInfo, 0, len(ids))
	for _, id := range ids {
		infos = append(infos, c.groupInfo(id, base, withMembers, fields))
	}
	return struct {
		GroupInfo []groupInfo `json:"GroupInfo"`
	}{infos}, nil
}

func (c *call) groupInfo(id string, base []string, withMembers bool, fields memberFields) groupInfo {
	g, f := c.lockGroup(id)
	if f != nil {
		return groupInfo{GroupID: id, ErrorCode: f.code, ErrorInfo: f.info}
	}
	defer g.mu.Unlock()
	if g.kind == typeAVChatRoom {
		withMembers = false // the vendor stores no member list there
	}
	if withMembers && g.roster.size() > maxMembersInInfo {
		const info = "the answer would be larger than 1 MB: set ResponseFilter"
		return groupInfo{GroupID: id, ErrorCode: codeAnswerTooLarge, ErrorInfo: info}
	}
	info := groupInfo{GroupID: id}
	wanted := func(name string) bool { return base == nil || slices.Contains(base, name) }
	setIf(&info.Type, wanted("Type"), g.typeName())
	setIf(&info.Name, wanted("Name"), g.name)
	setIf(&info.Introduction, wanted("Introduction"), g.introduction)
	setIf(&info.Notification, wanted("Notification"), g.notification)
	setIf(&info.FaceURL, wanted("FaceUrl"), g.faceURL)
	setIf(&info.Owner, wanted("Owner_Account"), g.owner)
	setIf(&info.CreateTime, wanted("CreateTime"), g.created)
	setIf(&info.InfoSeq, wanted("InfoSeq"), 0)
	setIf(&info.LastInfoTime, wanted("LastInfoTime"), g.created)
	setIf(&info.LastMsgTime, wanted("LastMsgTime"), g.lastMessage)
	setIf(&info.NextMsgSeq, wanted("NextMsgSeq"), g.messages+1)
	setIf(&info.MemberNum, wanted("MemberNum"), g.roster.size())
	setIf(&info.MaxMemberNum, wanted("MaxMemberNum"), g.maxMembers)
	setIf(&info.JoinOption, wanted("ApplyJoinOption"), g.joinOption)
	mute, topics := "Off", 0
	if g.muteAll {
		mute = "On"
	}
	if g.topics {
		topics = 1
	}
	setIf(&info.MuteAllMember, wanted("MuteAllMember"), mute)
	setIf(&info.SupportTopic, wanted("SupportTopic"), topics)
	if withMembers {
		info.MemberList = g.appendMembers(nil, g.roster.page(0, maxMembersInInfo), fields)
	}
	return info
}

func setIf[T any](field **T, wanted bool, value T) {
	if wanted {
		*field = &value
	}
}

// getGroupList is get_appid_group_list (page 34960). Next is a number here: 0 starts, and 0 ends.
func (e *Emulator) getGroupList(_ context.Context, c *call) (any, *failure) {
	limit := c.number("Limit", maxGroupPage)
	next := c.number("Next", 0)
	wanted := c.text("GroupType")
	if limit > maxGroupPage || limit == 0 {
		c.complain("Limit must be 1 to %d", maxGroupPage)
	}
	kind, known := parseGroupType(wanted)
	if wanted != "" && !known {
		c.complain("GroupType %q is unknown: use %s", wanted, groupTypeNames)
	}
	if c.bad != nil {
		return nil, c.bad
	}
	// One group more than the limit tells whether another page follows.
	page, total := c.app.groupsAfter(next, limit+1, func(g *group) bool { return wanted == "" || g.kind == kind })
	answer := groupList{TotalCount: total, Groups: []groupRef{}}
	for i, g := range page {
		if i == limit {
			answer.Next = page[i-1].seq
			break
		}
		answer.Groups = append(answer.Groups, groupRef{g.id})
	}
	return answer, nil
}

type groupList struct {
	TotalCount int        `json:"TotalCount"`
	Groups     []groupRef `json:"GroupIdList"`
	Next       int        `json:"Next"`
}

type groupRef struct {
	ID string `json:"GroupId"`
}

// modifyGroup is modify_group_base_info (page 34962).
func (e *Emulator) modifyGroup(ctx context.Context, c *call) (any, *failure) {
	changed := callbackBody{
		Command: commandAfterInfoChange, Operator: c.identifier,
		Name: c.text("Name"), Intro: c.text("Introduction"), Notice: c.text("Notification"), FaceURL: c.text("FaceUrl"),
	}
	maxMembers, option := c.number("MaxMemberNum", 0), c.text("ApplyJoinOption")
	if c.has("MaxMemberNum") && maxMembers == 0 {
		c.complain("MaxMemberNum must be at least 1")
	}
	if f := checkTexts(changed.Name, changed.Intro, changed.Notice); f != nil {
		return nil, f
	}
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	before := g.maxMembers
	if maxMembers > 0 {
		if f := g.setMaxMembers(maxMembers); f != nil {
			return nil, f
		}
	}
	if option != "" {
		if f := g.setJoinOption(option); f != nil {
			g.maxMembers = before // all or nothing
			return nil, f
		}
	}
	for _, pair := range []struct {
		field *string
		value string
	}{
		{&g.name, changed.Name}, {&g.introduction, changed.Intro},
		{&g.notification, changed.Notice}, {&g.faceURL, changed.FaceURL},
	} {
		if pair.value != "" {
			*pair.field = pair.value
		}
	}
	// A new limit or join option causes no callback (page 34378).
	if strings.Join([]string{changed.Name, changed.Intro, changed.Notice, changed.FaceURL}, "") != "" {
		changed.GroupID, changed.Type = g.id, g.typeName()
		e.queueAfter(ctx, c.app, c.origin(), changed)
	}
	return nil, nil
}

// changeOwner is change_group_owner.
func (e *Emulator) changeOwner(_ context.Context, c *call) (any, *failure) {
	account := c.required("NewOwner_Account")
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	if g.kind == typeAVChatRoom || g.roster.find(account) == nil {
		return nil, fail(codeNotPermitted, "the new owner must be a member, and the group must have a member list")
	}
	g.setRole(account, roleOwner)
	return nil, nil
}
