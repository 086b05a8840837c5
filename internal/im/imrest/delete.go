package imrest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// MaxDeletesPerCall is how many members DeleteMembers removes at once (page 34949).
const MaxDeletesPerCall = 100

// MaxRefusals is how many accounts in a row the vendor has to refuse to remove, and none that it removes, for it to be
// taken to refuse them all.
const MaxRefusals = 20

// DeleteOptions say how members are removed.
type DeleteOptions struct {
	// Silent omits the notice to the group. Whether the removed member gets one is documented both ways.
	Silent bool
	// Reason is part of the notice.
	Reason string
	// NotAfter: no attempt starts later, since the facts that the removal was decided on may be stale by then. Zero: no
	// limit.
	NotAfter time.Time
}

// Deletion says what is known of each account of a DeleteMembers. Every account is in exactly one of the lists.
type Deletion struct {
	// Removed are the accounts of calls that the vendor confirmed. Those that were not members are among them.
	Removed []string
	// Refused are the accounts that the vendor refused to remove in a call of their own.
	Refused []Refusal
	// Unknown are the accounts of a call without a clear answer: the network failed, or the vendor did. They may have
	// been removed, or be removed after DeleteMembers has returned.
	Unknown []string
	// Untouched are the accounts that no call removes: none was sent that holds them, or the vendor refused it.
	Untouched []string
}

// Refusal is an account that the vendor refuses to remove.
type Refusal struct {
	Account string
	// Err has the vendor's code and words.
	Err *Error
}

type deleteRequest struct {
	GroupID  string   `json:"GroupId"`
	Accounts []string `json:"MemberToDel_Account"`
	Silence  int      `json:"Silence"`
	Reason   string   `json:"Reason,omitempty"`
}

// DeleteMembers removes up to MaxDeletesPerCall members from a group (delete_group_member, page 34949). An account that
// is not a member is no failure.
//
// The vendor fails a call as a whole, also because of one account that it does not remove. The call is then repeated
// for its halves, so that such an account does not keep the others in the group.
//
// If the error is nil, every account is in Removed or Refused. Otherwise it says why DeleteMembers stopped: ErrTooLate
// if a call could not start in time, the failure of a call that is not about its accounts, or the last refusal of
// MaxRefusals if no account was removed. Only an attempt that was
// refused for being too frequent is repeated: another one may have taken effect, and its repetition would remove a
// member that has come back.
func (c *Client) DeleteMembers(
	ctx context.Context, groupID string, accounts []string, opts DeleteOptions,
) (Deletion, error) {
	if len(accounts) > MaxDeletesPerCall {
		return Deletion{Untouched: accounts},
			fmt.Errorf("%d accounts in one removal: remove at most %d", len(accounts), MaxDeletesPerCall)
	}
	d := deletion{client: c, groupID: groupID, options: opts}
	err := d.remove(ctx, accounts)
	return d.found, err
}

// deletion is one DeleteMembers, in one or more calls.
type deletion struct {
	client  *Client
	groupID string
	options DeleteOptions
	found   Deletion
}

func (d *deletion) remove(ctx context.Context, accounts []string) error {
	if len(accounts) == 0 {
		return nil
	}
	err := d.call(ctx, accounts)
	failed, answered := errors.AsType[*Error](err)
	switch {
	case err == nil:
		d.found.Removed = append(d.found.Removed, accounts...)
		return nil
	case errors.Is(err, ErrTooLate), answered && failed.clear() && !failed.aboutAccounts():
		d.found.Untouched = append(d.found.Untouched, accounts...)
		return err
	case !answered, !failed.clear():
		d.found.Unknown = append(d.found.Unknown, accounts...)
		return err
	case len(accounts) == 1:
		d.found.Refused = append(d.found.Refused, Refusal{Account: accounts[0], Err: failed})
		if len(d.found.Removed) == 0 && len(d.found.Refused) >= MaxRefusals {
			return failed
		}
		return nil
	}
	half := len(accounts) / 2
	if err := d.remove(ctx, accounts[:half]); err != nil {
		d.found.Untouched = append(d.found.Untouched, accounts[half:]...)
		return err
	}
	return d.remove(ctx, accounts[half:])
}

func (d *deletion) call(ctx context.Context, accounts []string) error {
	request := deleteRequest{GroupID: d.groupID, Accounts: accounts, Reason: d.options.Reason}
	if d.options.Silent {
		request.Silence = 1
	}
	return d.client.do(ctx, call{
		api: apiDeleteMembers, body: request, notAfter: d.options.NotAfter, once: true,
		decode: func(r response) error { return r.read(&status{}) },
	})
}

// clear reports whether the vendor itself refused the call, or was not asked: it has had no effect and will have none.
func (e *Error) clear() bool {
	return e.unsent || e.Class != ClassTransient && (e.Code != 0 || e.HTTPStatus == http.StatusTooManyRequests)
}

// aboutAccounts reports whether a refused removal may succeed for other accounts: bad parameters (10004), the owner
// (10009), an account that does not exist, and every code that is not documented.
func (e *Error) aboutAccounts() bool {
	switch e.Code {
	case 10003, 10011, 10018, 10026, 10058, 10059, 11000, 60002, 60003, 60009, 60012, 60015, 60025:
		return false // about the request, the app or its plan (page 34348)
	}
	return e.Class == ClassPermanent
}
