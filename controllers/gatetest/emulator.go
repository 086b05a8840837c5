package gatetest

import (
	"cmp"
	"context"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// Emulator is a client of the emulated IM backend, for the first app that it serves. Everything else that the backend
// can do (faults, its clock, records of calls and callbacks) is reached by HTTP, as docs/emulator.md says.
type Emulator struct {
	// URL is the base of the vendor's REST API, at /v4/, and of the control API, at /emulator/.
	URL string

	app uint64
}

func (e *Emulator) client() emulator.Client { return emulator.Client{BaseURL: e.URL, SDKAppID: e.app} }

// Group describes a group to create.
type Group struct {
	// ID is required.
	ID string
	// Type is Work, Public, Meeting, AVChatRoom or Community. Default: Public. An account that may join a Public group
	// joins it without approval by an admin.
	Type string
	// Owner becomes the first member. Default: the group has no owner.
	Owner string
	// MaxMembers is the limit. Default: that of the vendor's largest plan.
	MaxMembers int
	// Members are added after the owner.
	Members []Members
}

// Members describes some members of a group.
type Members struct {
	// Accounts are their ids.
	Accounts []string
	// Role is Admin or Member. Default: Member.
	Role string
	// InactiveFor is how long ago they joined and last spoke, in seconds at the finest. Default: they joined now, and
	// never spoke.
	InactiveFor time.Duration
}

// Result says how the request of a client ended.
type Result string

// The results.
const (
	Joined        Result = emulator.ResultJoined
	Pending       Result = emulator.ResultPending // awaits approval by an admin, or the consent of the invited account
	Refused       Result = emulator.ResultRefused // by Groupgate
	Full          Result = emulator.ResultFull
	AlreadyMember Result = emulator.ResultAlreadyMember
	NotPermitted  Result = emulator.ResultNotPermitted // by the type of the group or the role of the account
	Spoke         Result = emulator.ResultSpoke
	Failed        Result = emulator.ResultFailed // anything else, see Outcome.Code
)

// Outcome is what a client sees of its request.
type Outcome struct {
	Result Result
	// Code and Info are the error that the client sees: for a refusal 10016, or the code and message of the policy.
	Code int
	Info string
	// Members has the result of each invited account.
	Members map[string]Result
}

func outcomeOf(o emulator.Outcome) Outcome {
	outcome := Outcome{Result: Result(o.Result), Code: o.Code, Info: o.Info}
	for _, m := range o.Members {
		if outcome.Members == nil {
			outcome.Members = map[string]Result{}
		}
		outcome.Members[m.Account] = Result(m.Result)
	}
	return outcome
}

// CreateGroup creates a group without callbacks.
func (e *Emulator) CreateGroup(ctx context.Context, group Group) error {
	spec := emulator.GroupSpec{
		ID: group.ID, Type: cmp.Or(group.Type, "Public"), Owner: group.Owner, MaxMembers: group.MaxMembers,
	}
	if spec.Type == "Public" {
		spec.ApplyJoinOption = "FreeAccess"
	}
	for _, m := range group.Members {
		members := emulator.MemberSpec{Accounts: m.Accounts, Role: m.Role}
		if m.InactiveFor > 0 {
			members.InactiveFor = m.InactiveFor.String()
		}
		spec.Members = append(spec.Members, members)
	}
	_, err := e.client().CreateGroup(ctx, spec)
	return err
}

// Apply applies to join a group as an account.
func (e *Emulator) Apply(ctx context.Context, group, account string) (Outcome, error) {
	outcome, err := e.client().Apply(ctx, group, account)
	return outcomeOf(outcome), err
}

// Invite invites accounts into a group as one of its members. Members of a Work group or of a Community can.
func (e *Emulator) Invite(ctx context.Context, group, inviter string, accounts ...string) (Outcome, error) {
	outcome, err := e.client().Invite(ctx, group, inviter, accounts...)
	return outcomeOf(outcome), err
}

// Speak sends a message as each of the accounts.
func (e *Emulator) Speak(ctx context.Context, group string, accounts ...string) (Outcome, error) {
	outcome, err := e.client().Speak(ctx, group, accounts...)
	return outcomeOf(outcome), err
}

// Members lists the accounts in a group in the order of joining.
func (e *Emulator) Members(ctx context.Context, group string) ([]string, error) {
	members, err := e.client().Members(ctx, group)
	accounts := make([]string, 0, len(members))
	for _, m := range members {
		accounts = append(accounts, m.Account)
	}
	return accounts, err
}

// Settle waits until no callback is queued or under way, for at most a minute.
func (e *Emulator) Settle(ctx context.Context) error { return e.client().Settle(ctx, patience) }
