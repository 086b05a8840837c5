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
	// Silent leaves out the notice to the group. Whether the removed member still gets one is documented both ways.
	Silent bool
	// Reason stands in the notice.
	Reason string
	// Once: an attempt that failed and may nevertheless have taken effect is not repeated: whoever was removed may have come back since, and
	// would be removed again. The caller looks first. A refusal for being too frequent is repeated all the same.
	Once bool
	// NotAfter: no attempt starts later, measured after all waiting. What the removal was decided upon may be stale by then.
	// Zero: no limit.
	NotAfter time.Time
}

type deleteRequest struct {
	GroupID  string   `json:"GroupId"`
	Accounts []string `json:"MemberToDel_Account"`
	Silence  int      `json:"Silence"`
	Reason   string   `json:"Reason,omitempty"`
}

// DeleteMembers removes up to MaxDeletesPerCall members from a group (delete_group_member, page 34949). An account that is not a
// member is no failure, so repeating a call is safe, and success does not tell how many were there. ErrTooLate says that
// the last attempt could not start in time; where an attempt was made before, the members may nevertheless be gone, as after
// any other error.
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
	return c.do(ctx, call{api: apiDeleteMembers, body: request, notAfter: opts.NotAfter, once: opts.Once, decode: func(a answer) error {
		var got status
		if err := a.decode(&got); err != nil {
			return err
		}
		return got.check(a)
	}})
}
