package imrest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im"
)

const (
	roleOwner         = "Owner"
	roleAdmin         = "Admin"
	roleMember        = "Member"
	vendorNotMember   = "NotMember"
	latestVendorTime  = 253402300799 // the last second of the year 9999: what is later is no time in seconds
	pagesPerListSlack = 10
)

// MembersPerCall is how many members Members lists in one call: the vendor advises it, and allows no more for
// communities (page 34948).
const MembersPerCall = 100

// MaxNamedPerCall is how many accounts MembersNamed looks up in one call (page 64897).
const MaxNamedPerCall = 50

// Member is a member of a group.
type Member struct {
	Account string
	// Role is Owner, Admin or Member, "" if the answer did not say or used another word.
	Role string
	// Joined is zero if it is unknown.
	Joined time.Time
	// LastSpoke is zero if the member never spoke, or if that is unknown.
	LastSpoke time.Time
	// MuteUntil is until when the member may not speak, zero if the member may.
	MuteUntil time.Time
	// ActivityKnown says that the response held the times of joining and of speaking, and that all times in it are
	// possible. Without it a zero LastSpoke, Joined or MuteUntil means nothing.
	ActivityKnown bool
}

// Ordinary reports whether the member is neither the owner nor an admin, and has no role that is unknown.
func (m Member) Ordinary() bool { return m.Role == roleMember }

// memberFilter lists the fields of the response besides the account.
var memberFilter = []string{"Role", "JoinTime", "LastSendMsgTime", "MuteUntil"}

type memberInfo struct {
	Account   string      `json:"Member_Account"`
	Role      string      `json:"Role"`
	Joined    vendorTime  `json:"JoinTime"`
	LastSpoke vendorTime  `json:"LastSendMsgTime"`
	MuteUntil *vendorTime `json:"MuteUntil"` // left out: not muted
}

func (m memberInfo) member() Member {
	member := Member{
		Account: m.Account, Joined: m.Joined.time(), LastSpoke: m.LastSpoke.time(),
		ActivityKnown: m.LastSpoke.known && m.Joined.known && m.Joined.seconds > 0,
	}
	if m.MuteUntil != nil {
		member.MuteUntil = m.MuteUntil.time()
		member.ActivityKnown = member.ActivityKnown && m.MuteUntil.known
	}
	// A sample of the vendor's has a blank after the role.
	switch role := strings.TrimSpace(m.Role); role {
	case roleOwner, roleAdmin, roleMember:
		member.Role = role
	}
	return member
}

// vendorTime is Unix seconds. One that is absent, of another type, negative or beyond the year 9999 is unknown, as
// opposed to 0, which means never.
type vendorTime struct {
	seconds int64
	known   bool
}

// time returns the time, zero if it is unknown or never.
func (t vendorTime) time() time.Time {
	if !t.known || t.seconds == 0 {
		return time.Time{}
	}
	return time.Unix(t.seconds, 0).UTC()
}

// UnmarshalJSON implements json.Unmarshaler. It accepts a quoted number too, since the vendor's pages quote some times.
func (t *vendorTime) UnmarshalJSON(raw []byte) error {
	*t = vendorTime{}
	var text json.Number
	if json.Unmarshal(raw, &text) != nil {
		return nil //nolint:nilerr // what is no time is unknown, not an error
	}
	if seconds, err := strconv.ParseInt(text.String(), 10, 64); err == nil && 0 <= seconds &&
		seconds <= latestVendorTime {
		*t = vendorTime{seconds: seconds, known: true}
	}
	return nil
}

type memberListRequest struct {
	GroupID string   `json:"GroupId"`
	Limit   int      `json:"Limit"`
	Offset  *int     `json:"Offset,omitempty"` // all types but communities
	Next    *string  `json:"Next,omitempty"`   // communities only
	Filter  []string `json:"MemberInfoFilter"`
}

type memberListResponse struct {
	status
	MemberNum *int         `json:"MemberNum"`
	Members   []memberInfo `json:"MemberList"`
	Next      string       `json:"Next"`
}

func (m *memberListResponse) lacks() string {
	if m.Members == nil {
		return "MemberList"
	}
	return ""
}

// Members lists all members of a group in the vendor's order (get_group_member_info, page 34948). It holds one page at
// a time. An account may come twice, since the vendor's offsets shift when members leave. g must be fresh: its Type
// selects the kind of paging and its Members bound the number of pages. An error is yielded last, with a zero Member,
// and means that the list is incomplete: a call failed, a page repeats the one before, a Next repeats an earlier one,
// or there are too many pages. A type that is unknown or has no member list gives ClassUnsupported.
func (c *Client) Members(ctx context.Context, g Group) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		if err := c.eachMember(ctx, g, func(m Member) bool { return yield(m, nil) }); err != nil {
			yield(Member{}, err)
		}
	}
}

// eachMember reads page after page until the end of the list, or until yield returns false.
func (c *Client) eachMember(ctx context.Context, g Group, yield func(Member) bool) error {
	if g.Type == im.TypeAVChatRoom || g.Type == "" {
		return &Error{
			API:   apiMembers,
			Class: ClassUnsupported,
			Err:   fmt.Errorf("groups of type %q have no member list", g.VendorType),
		}
	}
	pages := newMemberPages(g)
	for !pages.done {
		page, err := c.memberPage(ctx, pages.request())
		if err != nil {
			return err
		}
		if err := pages.advance(page); err != nil {
			return &Error{
				API:        apiMembers,
				HTTPStatus: 200,
				Class:      ClassTransient,
				Err:        fmt.Errorf("list members: %w", err),
			}
		}
		for _, info := range page.Members {
			if !yield(info.member()) {
				return nil
			}
		}
	}
	return nil
}

func (c *Client) memberPage(ctx context.Context, request memberListRequest) (memberListResponse, error) {
	var page memberListResponse
	err := c.do(ctx, call{api: apiMembers, body: request, decode: func(r response) error {
		page = memberListResponse{}
		if err := r.read(&page); err != nil {
			return err
		}
		return checkAccounts(page.Members)
	}})
	return page, err
}

func checkAccounts(members []memberInfo) error {
	if slices.ContainsFunc(members, func(m memberInfo) bool { return m.Account == "" }) {
		return errors.New("a member has no Member_Account")
	}
	return nil
}

// memberPages leads through a list: by Next for communities, by Offset for all others. On a faulty response both could
// go on for ever or end early, and a plan would be made from an incomplete list.
type memberPages struct {
	group    Group
	done     bool
	read     int // pages
	offset   int
	next     string
	accounts []string // of the page before
	// cursors holds a hash of every Next: a community of a million members has 10,000, of undocumented length. A
	// collision, once in a thousand million such lists, ends the list with an error.
	cursors map[uint64]struct{}
	seed    maphash.Seed
}

func newMemberPages(g Group) *memberPages {
	p := &memberPages{group: g, cursors: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
	p.follow("")
	return p
}

// follow reports whether the cursor is new.
func (p *memberPages) follow(next string) bool {
	hash, before := maphash.String(p.seed, next), len(p.cursors)
	p.cursors[hash] = struct{}{}
	return len(p.cursors) > before
}

func (p *memberPages) byNext() bool { return p.group.Type == im.TypeCommunity }

func (p *memberPages) request() memberListRequest {
	request := memberListRequest{GroupID: p.group.ID, Limit: MembersPerCall, Filter: memberFilter}
	if p.byNext() {
		request.Next = &p.next
	} else {
		request.Offset = &p.offset
	}
	return request
}

// advance checks a page and finds where the next one begins.
func (p *memberPages) advance(page memberListResponse) error {
	p.read++
	accounts := make([]string, len(page.Members))
	for i, member := range page.Members {
		accounts[i] = member.Account
	}
	if len(accounts) > 0 && slices.Equal(accounts, p.accounts) {
		return fmt.Errorf("page %d repeats the one before", p.read)
	}
	p.accounts = accounts
	if p.byNext() {
		p.done = page.Next == ""
		if !p.done && !p.follow(page.Next) {
			return fmt.Errorf("page %d leads back to an earlier one", p.read)
		}
		p.next = page.Next
	} else {
		p.offset += len(accounts)
		// A short page ends the list only if the count agrees, since nothing guarantees that pages are filled.
		switch {
		case page.MemberNum == nil:
			return fmt.Errorf("page %d has no MemberNum", p.read)
		case p.offset >= *page.MemberNum:
			p.done = true
		case len(accounts) == 0:
			return fmt.Errorf("the list ends after %d of %d members", p.offset, *page.MemberNum)
		}
	}
	if limit := p.group.Members/(MembersPerCall/2) + pagesPerListSlack; !p.done && p.read >= limit {
		return fmt.Errorf("no end after %d pages for %d members", p.read, p.group.Members)
	}
	return nil
}

type namedMembersRequest struct {
	GroupID  string   `json:"GroupId"`
	Accounts []string `json:"Member_List_Account"`
	Filter   []string `json:"MemberInfoFilter"`
}

// MembersNamed looks up accounts in a group (get_specified_group_member_info, page 64897), 50 in a call. The map holds
// those that are members, as they were at asOf or later: when the first of the requests that they are known from was
// sent. With an error it is nil, since absence has a meaning. If notAfter is not zero, no attempt starts later; see
// ErrTooLate.
func (c *Client) MembersNamed(
	ctx context.Context,
	groupID string,
	accounts []string,
	notAfter time.Time,
) (members map[string]Member, asOf time.Time, _ error) {
	members = make(map[string]Member, len(accounts))
	for chunk := range slices.Chunk(accounts, MaxNamedPerCall) {
		request := namedMembersRequest{GroupID: groupID, Accounts: chunk, Filter: memberFilter}
		err := c.do(ctx, call{api: apiMembersNamed, body: request, notAfter: notAfter, decode: func(r response) error {
			var got memberListResponse
			if err := r.read(&got); err != nil {
				return err
			}
			if err := checkAccounts(got.Members); err != nil {
				return err
			}
			for _, info := range got.Members {
				if slices.Contains(chunk, info.Account) && strings.TrimSpace(info.Role) != vendorNotMember {
					members[info.Account] = info.member()
				}
			}
			if asOf.IsZero() {
				asOf = r.sentAt
			}
			return nil
		}})
		if err != nil {
			return nil, time.Time{}, err
		}
	}
	return members, asOf, nil
}
