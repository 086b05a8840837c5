package imrest

import (
	"context"
	"fmt"
	"time"
)

// MaxDeletesPerCall is how many members DeleteMembers removes at once (page 34949).
const MaxDeletesPerCall = 100

// DeleteOptions say how members are removed.
type DeleteOptions struct {
	// Silent omits the notice to the group. Whether the removed member gets one is documented both ways.
	Silent bool
	// Reason is part of the notice.
	Reason string
	// Once: an attempt that failed and may have taken effect is not repeated. Otherwise a member that was removed and
	// has come back would be removed again; the caller checks first. An attempt refused for being too frequent is still
	// repeated.
	Once bool
	// NotAfter: no attempt starts later, since the facts that the removal was decided on may be stale by then. Zero: no
	// limit.
	NotAfter time.Time
}

type deleteRequest struct {
	GroupID  string   `json:"GroupId"`
	Accounts []string `json:"MemberToDel_Account"`
	Silence  int      `json:"Silence"`
	Reason   string   `json:"Reason,omitempty"`
}

// DeleteMembers removes up to MaxDeletesPerCall members from a group (delete_group_member, page 34949). An account that
// is not a member is no failure, so repeating a call is safe, and success does not tell how many were members.
// ErrTooLate says that the last attempt could not start in time; if an attempt was made before, members may be removed,
// as after any other error.
func (c *Client) DeleteMembers(ctx context.Context, groupID string, accounts []string, opts DeleteOptions) error {
	if len(accounts) == 0 {
		return nil
	}
	if len(accounts) > MaxDeletesPerCall {
		return fmt.Errorf("%d accounts in one removal: remove at most %d", len(accounts), MaxDeletesPerCall)
	}
	request := deleteRequest{GroupID: groupID, Accounts: accounts, Reason: opts.Reason}
	if opts.Silent {
		request.Silence = 1
	}
	return c.do(ctx, call{
		api: apiDeleteMembers, body: request, notAfter: opts.NotAfter, once: opts.Once,
		decode: func(r response) error {
			return r.read(&status{})
		},
	})
}
