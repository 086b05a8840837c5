package imrest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/groupgate/groupgate/internal/im"
)

// MaxGroupsPerCall is how many groups Groups reads at once (page 34616).
const MaxGroupsPerCall = 50

// Group is a group as the vendor describes it.
type Group struct {
	ID string
	// Type is the current name of the type, "" if unknown; VendorType is the vendor's spelling.
	Type, VendorType string
	// Members and MaxMembers are how many members there are and may be. Both may be 0 for live rooms, which have no
	// limit.
	Members, MaxMembers int
	// CreateTime tells the group from an earlier one of the same id; zero if it is unknown.
	CreateTime time.Time
	// MuteAllMember says that only the owner and admins may speak, SupportTopic that members may speak in topics, of
	// which LastSpoke may not know. Both are true if the vendor gives a value that is not documented.
	MuteAllMember, SupportTopic bool
	// ServerTime is the vendor's clock, to the second; zero if the response has no Date, or one that cannot be read.
	ServerTime time.Time
}

type groupInfoRequest struct {
	GroupIDs []string            `json:"GroupIdList"`
	Filter   groupResponseFilter `json:"ResponseFilter"`
}

// groupResponseFilter leaves out the member list, which is included by default and cut at 1 MB.
type groupResponseFilter struct {
	Base []string `json:"GroupBaseInfoFilter"`
}

type groupInfoResponse struct {
	status
	Groups []groupInfo `json:"GroupInfo"`
}

// check ignores the code at the top level unless the response describes no group: it is meaningless otherwise.
func (g *groupInfoResponse) check(r response) error {
	if len(g.Groups) > 0 {
		return nil
	}
	return g.status.check(r)
}

func (g *groupInfoResponse) lacks() string {
	if len(g.Groups) == 0 {
		return "group in GroupInfo"
	}
	return ""
}

type groupInfo struct {
	ID        string `json:"GroupId"`
	ErrorCode int    `json:"ErrorCode"`
	ErrorInfo string `json:"ErrorInfo"`
	Type      string `json:"Type"`
	// Pointers tell an absent number from 0: a group with a limit of 0 would seem full.
	Members    *int `json:"MemberNum"`
	MaxMembers *int `json:"MaxMemberNum"`

	CreateTime    vendorTime `json:"CreateTime"`
	MuteAllMember vendorFlag `json:"MuteAllMember"`
	SupportTopic  vendorFlag `json:"SupportTopic"`
}

// groupFilter lists the fields of the response besides the id.
var groupFilter = []string{"Type", "MemberNum", "MaxMemberNum", "CreateTime", "MuteAllMember", "SupportTopic"}

// vendorFlag is "On" or "Off" for MuteAllMember (page 34962), 1 or 0 for SupportTopic (page 34967). Any other value is
// true, since members whose silence proves nothing must not be removed.
type vendorFlag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *vendorFlag) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case `"Off"`, `0`, `"0"`, `false`, `""`, `null`:
		*f = false
	default:
		*f = true
	}
	return nil
}

// Group reads one group (get_group_info, page 34616). If notAfter is not zero, no attempt starts later; see ErrTooLate.
func (c *Client) Group(ctx context.Context, groupID string, notAfter time.Time) (Group, error) {
	var group Group
	call := groupsCall([]string{groupID}, func(id string, read Group, err error) error {
		if id == groupID {
			group = read
			return err
		}
		return nil
	})
	call.notAfter = notAfter
	err := c.do(ctx, call)
	return group, err
}

// Groups reads up to MaxGroupsPerCall groups in one call (get_group_info, page 34616). Every id is a key of exactly one
// of the maps, groups or errors. The last error means that no group was read. Groups is for the sweep: it lets all
// calls about single groups go first.
func (c *Client) Groups(ctx context.Context, ids []string) (map[string]Group, map[string]error, error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	if len(ids) > MaxGroupsPerCall {
		return nil, nil, fmt.Errorf("%d groups in one call: read at most %d", len(ids), MaxGroupsPerCall)
	}
	groups, failures := make(map[string]Group, len(ids)), make(map[string]error)
	call := groupsCall(ids, func(id string, read Group, err error) error {
		delete(groups, id)
		delete(failures, id)
		switch {
		case ClassOf(err) == ClassThrottled:
			return err // not about this group: the app calls too often
		case err != nil:
			failures[id] = err
		default:
			groups[id] = read
		}
		return nil
	})
	call.sweep = true
	if err := c.do(ctx, call); err != nil {
		return nil, nil, err
	}
	return groups, failures, nil
}

// groupsCall reads groups and passes each to yield, whose error fails the attempt.
func groupsCall(ids []string, yield func(id string, read Group, err error) error) call {
	filter := groupResponseFilter{Base: groupFilter}
	return call{
		api:  apiGroupInfo,
		body: groupInfoRequest{GroupIDs: ids, Filter: filter},
		decode: func(r response) error {
			var got groupInfoResponse
			if err := r.read(&got); err != nil {
				return err
			}
			about := make(map[string]groupInfo, len(got.Groups))
			for _, info := range got.Groups {
				if _, twice := about[info.ID]; twice {
					return errors.New("it describes a group twice")
				}
				about[info.ID] = info
			}
			for _, id := range ids {
				read, err := about[id].group(r, id)
				if err := yield(id, read, err); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (g groupInfo) group(r response, id string) (Group, error) {
	if g.ErrorCode != 0 {
		return Group{}, r.refused(g.ErrorCode, g.ErrorInfo)
	}
	group := Group{
		ID: id, Type: im.GroupType(g.Type), VendorType: g.Type, ServerTime: r.serverTime,
		CreateTime: g.CreateTime.time(), MuteAllMember: bool(g.MuteAllMember), SupportTopic: bool(g.SupportTopic),
	}
	switch {
	case g.ID == "":
		return Group{}, r.incomplete("it does not describe the group")
	case g.Type == "":
		return Group{}, r.incomplete("the group has no Type")
	case group.Type == im.TypeAVChatRoom:
	case g.Members == nil || *g.Members < 0:
		return Group{}, r.incomplete("the group has no MemberNum")
	case g.MaxMembers == nil || *g.MaxMembers <= 0:
		return Group{}, r.incomplete("the group has no MaxMemberNum")
	}
	if g.Members != nil {
		group.Members = max(*g.Members, 0)
	}
	if g.MaxMembers != nil {
		group.MaxMembers = max(*g.MaxMembers, 0)
	}
	return group, nil
}

// incomplete is a transient failure of the vendor.
func (r response) incomplete(what string) *Error {
	return &Error{API: r.api, HTTPStatus: 200, Class: ClassTransient, Err: fmt.Errorf("read the answer: %s", what)}
}

// appGroupsPage is how many ids AppGroups asks for. The vendor allows 10,000 (page 34960), but fails with 10018 if the
// response is over 1 MB, and an id of 48 bytes may take six times that in escaped JSON: 3,000 are 0.9 MB. More would
// save next to nothing, since reading the groups of a page takes 60 calls.
const appGroupsPage = 3000

// AppGroupsPage is a page of the list of an app's groups.
type AppGroupsPage struct {
	IDs []string
	// Next is the cursor of the next page, 0 after the last one.
	Next uint64
}

type appGroupsRequest struct {
	Limit int    `json:"Limit"`
	Next  uint64 `json:"Next"`
}

type appGroupsResponse struct {
	status
	Total  *int `json:"TotalCount"`
	Groups []struct {
		ID string `json:"GroupId"`
	} `json:"GroupIdList"`
	Next uint64 `json:"Next"` // left out it is 0: the end
}

// AppGroups lists a page of the ids of all groups of the app (get_appid_group_list, page 34960), 3,000 at a time; from
// is 0 for the first page, and then the Next of the page before. Groups that are created or disbanded meanwhile may be
// missing. Nothing guarantees that the pages end: the caller has to bound them. Like Groups it lets other calls go
// first, and it is called at most once a second, the vendor's limit.
func (c *Client) AppGroups(ctx context.Context, from uint64) (AppGroupsPage, error) {
	var got appGroupsResponse
	err := c.do(ctx, call{
		api: apiAppGroups, body: appGroupsRequest{Limit: appGroupsPage, Next: from}, sweep: true,
		decode: func(r response) error {
			got = appGroupsResponse{}
			if err := r.read(&got); err != nil {
				return err
			}
			return got.checkIDs()
		},
	})
	if err != nil {
		return AppGroupsPage{}, err
	}
	page := AppGroupsPage{IDs: make([]string, len(got.Groups)), Next: got.Next}
	for i, group := range got.Groups {
		page.IDs[i] = group.ID
	}
	return page, nil
}

// lacks accepts that the list of an app without groups is left out, since TotalCount says that it is empty.
func (a *appGroupsResponse) lacks() string {
	if a.Groups == nil && (a.Total == nil || *a.Total != 0) {
		return "GroupIdList"
	}
	return ""
}

func (a *appGroupsResponse) checkIDs() error {
	for _, group := range a.Groups {
		if group.ID == "" {
			return errors.New("a group has no GroupId")
		}
	}
	return nil
}
