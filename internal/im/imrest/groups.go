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

// Group is a group as the vendor describes it now.
type Group struct {
	ID string
	// Type is the current name of the type, "" for one that is not known; VendorType is the vendor's word for it.
	Type, VendorType string
	// Members and MaxMembers are how many there are and may be. Live rooms have no limit; theirs may be 0.
	Members, MaxMembers int
	// ServerTime is the vendor's clock as of the answer, to the second; zero if the answer did not say.
	ServerTime time.Time
}

type groupInfoRequest struct {
	GroupIDs []string            `json:"GroupIdList"`
	Filter   groupResponseFilter `json:"ResponseFilter"`
}

// groupResponseFilter keeps the member list out of the answer, which is in it by default and cut at 1 MB.
type groupResponseFilter struct {
	Base []string `json:"GroupBaseInfoFilter"`
}

type groupInfoAnswer struct {
	status
	Groups []groupInfo `json:"GroupInfo"`
}

type groupInfo struct {
	ID        string `json:"GroupId"`
	ErrorCode int    `json:"ErrorCode"`
	ErrorInfo string `json:"ErrorInfo"`
	Type      string `json:"Type"`
	// Absent is not 0: a group that seems to have no limit would seem full.
	Members    *int `json:"MemberNum"`
	MaxMembers *int `json:"MaxMemberNum"`
}

// Group reads one group (get_group_info, page 34616). Where notAfter is not zero, no attempt starts later; see ErrTooLate.
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

// Groups reads up to MaxGroupsPerCall groups in one call (get_group_info, page 34616). Every id is a key of exactly one of the
// maps: a group that cannot be read costs only itself. The last error means that there was no answer about any of them. It is for the
// sweep: it lets all calls about single groups go first.
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
			return err // that is not about this group: the app calls too often
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

// groupsCall reads groups and tells about each; what tell returns fails the attempt.
func groupsCall(ids []string, tell func(id string, read Group, err error) error) call {
	filter := groupResponseFilter{Base: []string{"Type", "MemberNum", "MaxMemberNum"}}
	return call{api: apiGroupInfo, body: groupInfoRequest{GroupIDs: ids, Filter: filter}, decode: func(a answer) error {
		var got groupInfoAnswer
		if err := a.decode(&got); err != nil {
			return err
		}
		// The code at the top says nothing about groups that the answer describes, and all about an answer without any.
		if len(got.Groups) == 0 {
			if err := got.check(a); err != nil {
				return err
			}
			return errors.New("it describes no group")
		}
		about := make(map[string]groupInfo, len(got.Groups))
		for _, info := range got.Groups {
			if _, twice := about[info.ID]; twice {
				return errors.New("it describes a group twice")
			}
			about[info.ID] = info
		}
		for _, id := range ids {
			read, err := about[id].group(a, id)
			if err := tell(id, read, err); err != nil {
				return err
			}
		}
		return nil
	}}
}

func (g groupInfo) group(a answer, id string) (Group, error) {
	if g.ErrorCode != 0 {
		return Group{}, a.refused(g.ErrorCode, g.ErrorInfo)
	}
	group := Group{ID: id, Type: im.GroupType(g.Type), VendorType: g.Type, ServerTime: a.serverTime}
	switch {
	case g.ID == "":
		return Group{}, a.incomplete("it does not describe the group")
	case g.Type == "":
		return Group{}, a.incomplete("the group has no Type")
	case group.Type == im.TypeAVChatRoom:
	case g.Members == nil || *g.Members < 0:
		return Group{}, a.incomplete("the group has no MemberNum")
	case g.MaxMembers == nil || *g.MaxMembers <= 0:
		return Group{}, a.incomplete("the group has no MaxMemberNum")
	}
	if g.Members != nil {
		group.Members = max(*g.Members, 0)
	}
	if g.MaxMembers != nil {
		group.MaxMembers = max(*g.MaxMembers, 0)
	}
	return group, nil
}

// incomplete is a failure of the vendor's that may pass.
func (a answer) incomplete(what string) *Error {
	return &Error{API: a.api, HTTPStatus: 200, Class: ClassTransient, Err: fmt.Errorf("read the answer: %s", what)}
}
