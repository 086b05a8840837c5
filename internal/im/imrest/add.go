package imrest

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// MaxAddsPerCall is how many accounts AddMembers adds at once: the smallest number that the vendor documents (page
// 34921; other pages say 100 and 300).
const MaxAddsPerCall = 20

// AddResult is the outcome of adding one account.
type AddResult string

const (
	// AddResultAdded means: the account has become a member.
	AddResultAdded AddResult = "Added"
	// AddResultAlreadyMember means: the account was a member before.
	AddResultAlreadyMember AddResult = "AlreadyMember"
	// AddResultAwaitingConfirmation means: the user has to agree first.
	AddResultAwaitingConfirmation AddResult = "AwaitingConfirmation"
	// AddResultRefused means: the app's backend refused, or the vendor without a reason.
	AddResultRefused AddResult = "Refused"
	// AddResultNotFound means: there is no such account.
	AddResultNotFound AddResult = "NotFound"
	// AddResultGroupLimit means: the account is in as many groups as allowed.
	AddResultGroupLimit AddResult = "GroupLimit"
	// AddResultNoSeat means: the group is full.
	AddResultNoSeat AddResult = "NoSeat"
)

type addRequest struct {
	GroupID string `json:"GroupId"`
	// Silence is documented as required, although samples leave it out.
	Silence int           `json:"Silence"`
	Members []addedMember `json:"MemberList"`
}

// addedMember is an account of the request, or of the response, with its Result.
type addedMember struct {
	Account string `json:"Member_Account"`
	Result  *int   `json:"Result,omitempty"`
}

type addResponse struct {
	status
	Members []addedMember `json:"MemberList"`
}

func (a *addResponse) lacks() string {
	if a.Members == nil {
		return "MemberList"
	}
	return ""
}

// AddMembers adds up to MaxAddsPerCall accounts to a group, silently (add_group_member, page 34921). Meanwhile the
// vendor sends Group.CallbackBeforeInviteJoinGroup to the app's backend.
//
// Every account is a key of the result. With an error the result holds only accounts whose outcome is certain; others
// may have been added or not. Repeating is safe, but an account whose addition was not confirmed is then
// AddResultAlreadyMember.
//
// Some failures of a whole call are about one of its accounts. The call is then repeated for its halves, so that an
// account that no longer exists does not prevent the addition of others.
func (c *Client) AddMembers(ctx context.Context, groupID string, accounts []string) (map[string]AddResult, error) {
	if len(accounts) > MaxAddsPerCall {
		return nil, fmt.Errorf("%d accounts in one addition: add at most %d", len(accounts), MaxAddsPerCall)
	}
	addition := addition{client: c, groupID: groupID, results: make(map[string]AddResult, len(accounts))}
	if len(accounts) == 0 {
		return addition.results, nil
	}
	err := addition.add(ctx, accounts)
	return addition.results, err
}

// addition is one AddMembers, in one or more calls.
type addition struct {
	client  *Client
	groupID string
	results map[string]AddResult
	full    bool // there was no seat for a single account
}

func (a *addition) add(ctx context.Context, accounts []string) error {
	err := a.call(ctx, accounts)
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	result, ofAll := addResultOfCode(failed.Code)
	switch {
	case result == "":
		return err
	// "Full" may mean fewer seats than accounts, until a single account does not fit.
	case ofAll, len(accounts) == 1, result == AddResultNoSeat && a.full:
		for _, account := range accounts {
			a.results[account] = result
		}
		a.full = a.full || result == AddResultNoSeat
		return nil
	}
	half := len(accounts) / 2
	if err := a.add(ctx, accounts[:half]); err != nil {
		return err
	}
	return a.add(ctx, accounts[half:])
}

// call makes one call and records its results if it succeeds.
func (a *addition) call(ctx context.Context, accounts []string) error {
	request := addRequest{GroupID: a.groupID, Silence: 1, Members: make([]addedMember, len(accounts))}
	for i, account := range accounts {
		request.Members[i].Account = account
	}
	var got addResponse
	err := a.client.do(ctx, call{api: apiAddMembers, body: request, decode: func(r response) error {
		got = addResponse{}
		return r.read(&got)
	}})
	if err != nil {
		return err
	}
	// An account counts as added only if the response says so.
	for _, account := range accounts {
		a.results[account] = AddResultRefused
	}
	for _, member := range got.Members {
		if member.Result != nil && slices.Contains(accounts, member.Account) {
			a.results[member.Account] = addResult(*member.Result)
		}
	}
	return nil
}

// addResult translates the Result of one account. 4 is not on the page, but is a constant of the vendor's client SDKs.
func addResult(vendor int) AddResult {
	switch vendor {
	case 1:
		return AddResultAdded
	case 2:
		return AddResultAlreadyMember
	case 3:
		return AddResultAwaitingConfirmation
	case 4:
		return AddResultGroupLimit
	}
	return AddResultRefused
}

// addResultOfCode translates the code of a call that failed as a whole: "" if it is not about accounts, otherwise it is
// about all of them or about at least one.
func addResultOfCode(code int) (result AddResult, ofAll bool) {
	switch {
	case code == 10016, code >= 10100 && code <= 10200:
		return AddResultRefused, true // by our own answer to the callback
	case code == 10013:
		return AddResultAlreadyMember, false
	case code == 10014, code == 10038: // the group's own limit, and that of the app's plan
		return AddResultNoSeat, false
	case code == 10019, code == 70107:
		return AddResultNotFound, false
	case code == 10037:
		return AddResultGroupLimit, false
	}
	return "", false
}
