package emulator

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The types of the control API: JSON on the wire, and used by Client in Go.

// GroupSpec describes a group to create. This causes no callbacks; create_group of the REST API does.
type GroupSpec struct {
	// ID is the id of the group. Default: one is generated in the vendor's form.
	ID string `json:"id,omitempty"`
	// Type is Work, Public, Meeting, AVChatRoom or Community; the old names Private and ChatRoom are accepted and not
	// converted.
	Type string `json:"type"`
	// Name defaults to the id.
	Name string `json:"name,omitempty"`
	// Owner becomes the first member; empty: the group has no owner.
	Owner string `json:"owner,omitempty"`
	// MaxMembers is the MaxMemberNum. Default: 6,000, and 1,000,000 for a Community. The ceiling of the vendor's plan
	// is not enforced here.
	MaxMembers int `json:"maxMembers,omitempty"`
	// ApplyJoinOption is FreeAccess, NeedPermission or DisableApply. Default: that of the type (Public:
	// NeedPermission).
	ApplyJoinOption string `json:"applyJoinOption,omitempty"`
	// CreatedAgo is how long ago the group was created, for example "400d". Default: now, or when the first of
	// Members joined. Members that are added later do not change it, since a CreateTime that changes is another group.
	CreatedAgo string `json:"createdAgo,omitempty"`
	// MuteAllMember lets only the owner and admins speak, by what get_group_info says. Messages are not refused.
	MuteAllMember bool `json:"muteAllMember,omitempty"`
	// SupportTopic makes a Community one with topics, by what get_group_info says. Topics are not emulated.
	SupportTopic bool `json:"supportTopic,omitempty"`
	// Members are added after the owner.
	Members []MemberSpec `json:"members,omitempty"`
	Quirks  Quirks       `json:"quirks,omitzero"`
}

// GroupChange changes the fields that are set.
type GroupChange struct {
	Name            *string `json:"name,omitempty"`
	MaxMembers      *int    `json:"maxMembers,omitempty"`
	ApplyJoinOption *string `json:"applyJoinOption,omitempty"`
	MuteAllMember   *bool   `json:"muteAllMember,omitempty"`
	SupportTopic    *bool   `json:"supportTopic,omitempty"`
	// Quirks replaces all of them.
	Quirks *Quirks `json:"quirks,omitempty"`
}

// MemberSpec describes members to add to a group, or to change if they are members already: either Accounts, or Count
// and Prefix.
type MemberSpec struct {
	Accounts []string `json:"accounts,omitempty"`
	// Count generates numbered accounts: prefix u and count 3 are u1, u2 and u3.
	Count  int    `json:"count,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	// Start is the first number. Default: 1.
	Start int `json:"start,omitempty"`
	// Role is Owner, Admin or Member. Default: Member; existing members keep their role.
	Role string `json:"role,omitempty"`
	// InactiveFor sets JoinedAgo and SpokeAgo to the same value, for example "40d".
	InactiveFor string `json:"inactiveFor,omitempty"`
	// JoinedAgo is how long ago they joined. Default: now.
	JoinedAgo string `json:"joinedAgo,omitempty"`
	// SpokeAgo is how long ago they sent their last message. Default: never.
	SpokeAgo string `json:"spokeAgo,omitempty"`
	// MutedFor is for how long from now they may not speak; "0s" ends a mute. Default: not muted, or as before.
	MutedFor string `json:"mutedFor,omitempty"`
}

// Placed is the result of a MemberSpec.
type Placed struct {
	Added   int   `json:"added"`
	Updated int   `json:"updated"`
	Group   Group `json:"group"`
}

// Group is the state of a group.
type Group struct {
	SDKAppID        uint64    `json:"sdkAppID"`
	ID              string    `json:"id"`
	Type            string    `json:"type"`
	Name            string    `json:"name"`
	Owner           string    `json:"owner,omitempty"`
	Members         int       `json:"members"`
	MaxMembers      int       `json:"maxMembers"` // 0: without limit
	Full            bool      `json:"full"`
	ApplyJoinOption string    `json:"applyJoinOption"`
	CreatedAt       time.Time `json:"createdAt"`
	Messages        int       `json:"messages"`
	MuteAllMember   bool      `json:"muteAllMember,omitempty"`
	SupportTopic    bool      `json:"supportTopic,omitempty"`
	// Applications are the accounts that await approval, oldest first.
	Applications []string `json:"applications,omitempty"`
	// MemberList is a page of the members in the order of joining; only when one group is shown.
	MemberList []Member `json:"memberList,omitempty"`
	// NextOffset is the offset of the next page of MemberList; 0: this is the last one.
	NextOffset int    `json:"nextOffset,omitempty"`
	Quirks     Quirks `json:"quirks,omitzero"`
}

// Member is a member of a group.
type Member struct {
	Account     string    `json:"account"`
	Role        string    `json:"role"`
	JoinedAt    time.Time `json:"joinedAt"`
	LastSpokeAt time.Time `json:"lastSpokeAt,omitzero"` // zero: never
	MutedUntil  time.Time `json:"mutedUntil,omitzero"`  // zero: was never muted
}

// describe returns the state of a group with a page of its members. The caller holds the lock.
func (g *group) describe(offset, limit int) Group {
	d := Group{
		SDKAppID: g.app.id, ID: g.id, Type: g.typeName(), Name: g.name, Owner: g.owner,
		Members: g.roster.size(), MaxMembers: g.maxMembers, Full: g.full(), ApplyJoinOption: g.joinOption,
		CreatedAt: time.Unix(int64(g.created), 0).UTC(), Messages: g.messages, Quirks: g.quirks,
		MuteAllMember: g.muteAll, SupportTopic: g.topics,
	}
	d.Applications = append(d.Applications, g.applications...)
	if limit <= 0 {
		return d
	}
	page := g.roster.page(offset, limit)
	if offset+len(page) < g.roster.size() && len(page) > 0 {
		d.NextOffset = offset + len(page)
	}
	for i := range page {
		d.MemberList = append(d.MemberList, g.describeMember(&page[i]))
	}
	return d
}

// describeMember returns the state of a member. The caller holds the lock.
func (g *group) describeMember(m *member) Member {
	d := Member{Account: m.account, Role: m.role.String(), JoinedAt: time.Unix(int64(m.joined), 0).UTC()}
	if m.spoke > 0 {
		d.LastSpokeAt = time.Unix(int64(m.spoke), 0).UTC()
	}
	if until := g.muted[m.account]; until > 0 {
		d.MutedUntil = time.Unix(int64(until), 0).UTC()
	}
	return d
}

// build makes the group that a spec describes, without adding it to the app.
func (s GroupSpec) build(a *app, now time.Time) (*group, error) {
	g := &group{
		app: a, id: s.ID, spelled: s.Type, name: s.Name, created: seconds(now), maxMembers: s.MaxMembers,
		quirks: s.Quirks, muteAll: s.MuteAllMember, topics: s.SupportTopic,
	}
	var ok bool
	if g.kind, ok = parseGroupType(s.Type); !ok {
		return nil, fmt.Errorf("type %q is unknown: use %s", s.Type, groupTypeNames)
	}
	if s.ID != "" {
		if complaint := checkGroupID(s.ID, g.kind); complaint != "" {
			return nil, fmt.Errorf("id: %s", complaint)
		}
	}
	switch {
	case s.MaxMembers < 0 || s.MaxMembers > math.MaxInt32:
		return nil, fmt.Errorf("maxMembers is out of range: use 1 to %d, or leave it out", math.MaxInt32)
	case g.kind == typeAVChatRoom:
		g.maxMembers = 0
	case s.MaxMembers == 0:
		g.maxMembers = g.kind.ceiling()
	}
	if f := g.setJoinOption(s.ApplyJoinOption); f != nil {
		return nil, fmt.Errorf("applyJoinOption: %s", f.info)
	}
	if s.CreatedAgo != "" {
		var err error
		if g.created, err = ago(now, s.CreatedAgo); err != nil {
			return nil, fmt.Errorf("createdAgo: %w", err)
		}
	}
	if s.Owner != "" {
		if !validAccount(s.Owner) {
			return nil, errAccount
		}
		g.enrol(s.Owner, roleOwner, g.created, 0)
	}
	for i, spec := range s.Members {
		if _, _, err := g.putMembers(spec, now); err != nil {
			return nil, fmt.Errorf("members[%d]: %w", i, err)
		}
	}
	for m := range g.roster.after(0) {
		g.created = min(g.created, m.joined) // no member joined before the group existed
	}
	return g, nil
}

var errAccount = errors.New("an account must have 1 to 32 bytes")

// maxPlaced bounds one MemberSpec.
const maxPlaced = 2_000_000

// accounts lists the accounts that the spec names or generates.
func (s MemberSpec) accounts() ([]string, error) {
	switch {
	case len(s.Accounts) > 0 && s.Count != 0, len(s.Accounts) == 0 && s.Count == 0:
		return nil, errors.New(`set either "accounts": ["ann", "bob"], or "count": 100 with "prefix": "u"`)
	case s.Count < 0 || s.Count > maxPlaced:
		return nil, fmt.Errorf("count must be 1 to %d", maxPlaced)
	case s.Start < 0:
		return nil, errors.New("start must not be negative")
	case len(s.Accounts) > 0:
		for _, account := range s.Accounts {
			if !validAccount(account) {
				return nil, errAccount
			}
		}
		return distinct(s.Accounts), nil
	}
	start := max(s.Start, 1)
	if len(s.Prefix)+len(strconv.Itoa(start+s.Count)) > 32 {
		return nil, errAccount
	}
	// All names share one string: a million separate ones would take twice the memory.
	var names strings.Builder
	ends := make([]int, s.Count)
	for i := range ends {
		names.WriteString(s.Prefix)
		names.WriteString(strconv.Itoa(start + i))
		ends[i] = names.Len()
	}
	all, list, from := names.String(), make([]string, s.Count), 0
	for i, end := range ends {
		list[i], from = all[from:end], end
	}
	return list, nil
}

// putMembers adds members or changes existing ones, all or none. The caller holds the lock, or the group is not in an
// app yet.
func (g *group) putMembers(s MemberSpec, now time.Time) (added, updated int, err error) {
	accounts, err := s.accounts()
	if err != nil {
		return 0, 0, err
	}
	r, known := parseRole(s.Role)
	switch {
	case s.Role == "":
		r = roleMember
	case !known:
		return 0, 0, fmt.Errorf("role %q is unknown: use Owner, Admin or Member", s.Role)
	case r == roleOwner && len(accounts) != 1:
		return 0, 0, errors.New("a group has one owner: name one account")
	case r == roleAdmin && g.kind == typeWork:
		return 0, 0, errors.New("a Work group has no admins: use Owner or Member")
	}
	joined, spoke := seconds(now), uint32(0)
	for _, given := range []struct {
		name, value string
		targets     []*uint32
	}{
		{"inactiveFor", s.InactiveFor, []*uint32{&joined, &spoke}},
		{"joinedAgo", s.JoinedAgo, []*uint32{&joined}},
		{"spokeAgo", s.SpokeAgo, []*uint32{&spoke}},
	} {
		if given.value == "" {
			continue
		}
		at, err := ago(now, given.value)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", given.name, err)
		}
		for _, target := range given.targets {
			*target = at
		}
	}
	mutedUntil := seconds(now)
	if s.MutedFor != "" {
		d, err := parseDuration(s.MutedFor)
		if err != nil {
			return 0, 0, fmt.Errorf("mutedFor: %w", err)
		}
		mutedUntil = seconds(now.Add(d))
	}
	fresh := g.fresh(accounts)
	if free := g.free(); fresh > free {
		return 0, 0, fmt.Errorf("%d new members do not fit into %d free seats: add at most %d or raise maxMembers",
			fresh, free, free)
	}
	g.roster.grow(fresh)
	for _, account := range accounts {
		if s.MutedFor != "" {
			g.mute(account, mutedUntil)
		}
		m := g.roster.find(account)
		if m == nil {
			g.enrol(account, r, joined, spoke)
			added++
			continue
		}
		if s.InactiveFor != "" || s.JoinedAgo != "" {
			m.joined = joined
		}
		if s.InactiveFor != "" || s.SpokeAgo != "" {
			m.spoke = spoke
		}
		if s.Role != "" {
			g.setRole(account, r)
		}
		updated++
	}
	return added, updated, nil
}

// fresh counts the accounts that are not members. The caller holds the lock.
func (g *group) fresh(accounts []string) (n int) {
	for _, account := range accounts {
		if g.roster.find(account) == nil {
			n++
		}
	}
	return n
}

// Act is an action of one or several accounts on a client.
type Act struct {
	// Account and Accounts perform the action; in an invitation, Account invites and Accounts are invited.
	Account  string   `json:"account,omitempty"`
	Accounts []string `json:"accounts,omitempty"`
	// Message goes with an application.
	Message string `json:"message,omitempty"`
	// Platform is the OptPlatform of the callbacks. Default: iOS.
	Platform string `json:"platform,omitempty"`
	// ClientIP is the address in the callbacks. Default: 127.0.0.1.
	ClientIP string `json:"clientIP,omitempty"`
}

func (a Act) origin() origin {
	return origin{account: a.Account, platform: cmp.Or(a.Platform, "iOS"), ip: cmp.Or(a.ClientIP, "127.0.0.1")}
}

// all returns Account and Accounts, validated.
func (a Act) all() ([]string, error) {
	accounts := a.Accounts
	if a.Account != "" {
		accounts = append([]string{a.Account}, accounts...)
	}
	if len(accounts) == 0 {
		return nil, errors.New(`name the accounts: "account": "ann", or "accounts": ["ann", "bob"]`)
	}
	for _, account := range accounts {
		if !validAccount(account) {
			return nil, errAccount
		}
	}
	return accounts, nil
}

// Outcome is the result of an Act for the client.
type Outcome struct {
	// Result is one of the Result constants. For several accounts it is that of the whole request.
	Result string `json:"result"`
	// Code and Info are the error that the client sees; if the app backend refused, 10016 or its own code and message.
	Code int    `json:"code"`
	Info string `json:"info,omitempty"`
	// Members has the result for each invited account.
	Members []MemberOutcome `json:"members,omitempty"`
}

// MemberOutcome is the result for one invited account.
type MemberOutcome struct {
	Account string `json:"account"`
	Result  string `json:"result"`
}

// Results of an Act.
const (
	ResultJoined        = "Joined"
	ResultPending       = "Pending" // awaits approval by an admin, or the invited user's consent
	ResultRefused       = "Refused" // by the app backend
	ResultFull          = "Full"
	ResultAlreadyMember = "AlreadyMember"
	ResultNotPermitted  = "NotPermitted" // by the type of the group or the role of the account
	ResultLeft          = "Left"
	ResultSpoke         = "Spoke"
	ResultDeclined      = "Declined"
	ResultFailed        = "Failed" // anything else, see Code
)

func outcomeOf(f *failure, done string) Outcome {
	if f == nil {
		return Outcome{Result: done}
	}
	return Outcome{Result: resultOf(f.code), Code: f.code, Info: f.info}
}

func resultOf(code int) string {
	switch {
	case code == codeRefused || code >= codeFirstOwn && code <= codeLastOwn:
		return ResultRefused
	case code == codeGroupFull:
		return ResultFull
	case code == codeAlreadyMember:
		return ResultAlreadyMember
	case code == codeNotPermitted || code == codeOwnerStays:
		return ResultNotPermitted
	default:
		return ResultFailed
	}
}

// ClockReading is the emulator's time.
type ClockReading struct {
	Now time.Time `json:"now"`
	// Offset is how far it is ahead of the machine's time, in the format of time.Duration.
	Offset string `json:"offset"`
}

// ClockChange moves the clock; exactly one field is set.
type ClockChange struct {
	// Forward moves it by a duration such as "40d"; "-1h" moves it back.
	Forward string `json:"forward,omitempty"`
	// Set moves it to a time such as "2030-01-01T00:00:00Z", from which it continues.
	Set *time.Time `json:"set,omitempty"`
	// Reset moves it back to the machine's time.
	Reset bool `json:"reset,omitempty"`
}
