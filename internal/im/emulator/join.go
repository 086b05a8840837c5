package emulator

import (
	"context"
	"slices"

	"github.com/groupgate/groupgate/internal/im/callback"
)

// Joining and leaving a group with callbacks. What must not cause callbacks (members at creation, import, the control
// API preparing a group) calls group.enrol instead.

// Values of Result in the answer of add_group_member (page 34921).
const (
	resultFailed = 0
	resultAdded  = 1
	resultMember = 2 // is a member already
	resultAsked  = 3 // has to confirm first
	resultInMany = 4 // is in too many groups; not on the page, but a constant of the client SDKs
)

// entry is the result for one account that was to join.
type entry struct {
	account string
	result  int
	reason  int // the code of the failure
}

// apply handles an application from a client: first the callback, only then the check for a free seat or an admin's
// approval (page 34370). It reports whether the application is pending.
func (e *Emulator) apply(ctx context.Context, g *group, from origin, message string) (pending bool, f *failure) {
	g.mu.Lock()
	option, kind, in := g.joinOption, g.kind, g.roster.find(from.account) != nil
	g.mu.Unlock()
	switch {
	case option == disableApply:
		return false, fail(codeNotPermitted, "the group takes no applications: its ApplyJoinOption is %s", disableApply)
	case in:
		return false, fail(codeAlreadyMember, "the account is a member already")
	}
	v := e.sendBefore(ctx, g.app, from, callbackBody{
		Command: callback.CommandBeforeApplyJoin, GroupID: g.id, Type: g.typeName(),
		Requestor: from.account, ApplyMsg: message,
	})
	if v.refusal != nil {
		return false, v.refusal
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dissolved {
		return false, errNoSuchGroup
	}
	// The app backend's consent does not replace an admin's approval.
	if kind == typePublic && g.joinOption == needPermission {
		if !slices.Contains(g.applications, from.account) {
			g.applications = append(g.applications, from.account)
		}
		return true, nil
	}
	return false, e.admitApplicant(ctx, g, from)
}

// admitApplicant admits an account whose application is accepted. The caller has locked the group.
func (e *Emulator) admitApplicant(ctx context.Context, g *group, from origin) *failure {
	return e.admit(ctx, g, from, "Apply", []string{from.account}, verdict{})[0].failure()
}

// failure is the error that the client sees, nil for none.
func (en entry) failure() *failure {
	switch {
	case en.result == resultAdded, en.result == resultAsked:
		return nil
	case en.result == resultMember:
		return fail(codeAlreadyMember, "the account is a member already")
	case en.reason == codeGroupFull:
		return errGroupFull
	default:
		return fail(en.reason, "the account was not added")
	}
}

// invite handles an invitation by a member or an addition over REST: one callback covers all accounts (page 34371).
func (e *Emulator) invite(ctx context.Context, g *group, from origin, accounts []string) ([]entry, *failure) {
	v := e.sendBefore(ctx, g.app, from, callbackBody{
		Command: callback.CommandBeforeInviteJoin, GroupID: g.id, Type: g.typeName(), Operator: from.account,
		Invited: memberRefs(accounts),
	})
	if v.refusal != nil {
		return nil, v.refusal
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dissolved {
		return nil, errNoSuchGroup
	}
	if g.quirks.AddAllOrNothing {
		if f := e.obstacle(ctx, g, from, accounts, v); f != nil {
			return nil, f
		}
	}
	entries := e.admit(ctx, g, from, "Invited", accounts, v)
	// The whole request fails only if all accounts failed for the same reason.
	for _, reason := range []int{codeGroupFull, codeNoSuchAccount, codeGroupLimit} {
		if !slices.ContainsFunc(entries, func(en entry) bool { return en.reason != reason }) {
			return nil, fail(reason, "no account was added: no free seat, no such account, or in too many groups")
		}
	}
	return entries, nil
}

// obstacle returns why one of the accounts cannot be added, nil if all can. The caller has locked the group.
func (e *Emulator) obstacle(ctx context.Context, g *group, from origin, accounts []string, v verdict) *failure {
	settings, _, _ := g.app.config()
	wanted := 0
	for _, account := range accounts {
		switch {
		case g.roster.find(account) != nil, v.refused[account], slices.Contains(settings.AskedAccounts, account):
		case slices.Contains(settings.MissingAccounts, account):
			return fail(codeNoSuchAccount, "no account was added: one of them does not exist")
		case slices.Contains(settings.CrowdedAccounts, account):
			return fail(codeGroupLimit, "no account was added: one of them is in too many groups")
		default:
			wanted++
		}
	}
	if wanted > g.free() {
		e.queueAfter(ctx, g.app, from, callbackBody{Command: callback.CommandAfterGroupFull, GroupID: g.id})
		return errGroupFull
	}
	return nil
}

// admit gives the free seats to accounts in their order, and queues the callbacks: one for the new members, and one for
// a full group if this took the last seat or an account found none (page 34376). The order of the two is not
// documented. The caller has locked the group.
func (e *Emulator) admit(
	ctx context.Context, g *group, from origin, joinType string, accounts []string, v verdict,
) []entry {
	settings, _, _ := g.app.config()
	now := seconds(e.clock.now())
	var entries []entry
	var joined []string
	noSeat := false
	for _, account := range accounts {
		en := entry{account: account}
		switch {
		case g.roster.find(account) != nil:
			en.result = resultMember
		case v.refused[account]:
			en.reason = codeRefused
		case slices.Contains(settings.MissingAccounts, account):
			en.reason = codeNoSuchAccount
		case slices.Contains(settings.CrowdedAccounts, account):
			en.result, en.reason = resultInMany, codeGroupLimit
		case joinType == "Invited" && slices.Contains(settings.AskedAccounts, account):
			en.result = resultAsked
		case g.full():
			en.reason = codeGroupFull
			noSeat = true
		default:
			g.enrol(account, roleMember, now, 0)
			en.result = resultAdded
			joined = append(joined, account)
		}
		entries = append(entries, en)
	}
	if len(joined) > 0 {
		e.queueAfter(ctx, g.app, from, callbackBody{
			Command: callback.CommandAfterJoin, GroupID: g.id, Type: g.typeName(), JoinType: joinType,
			Operator: from.account, Joined: memberRefs(joined),
		})
	}
	if noSeat || len(joined) > 0 && g.full() {
		e.queueAfter(ctx, g.app, from, callbackBody{Command: callback.CommandAfterGroupFull, GroupID: g.id})
	}
	return entries
}

// removeMembers removes accounts and queues a callback for those that were members. The caller has locked the group.
func (e *Emulator) removeMembers(ctx context.Context, g *group, from origin, exitType string, accounts []string) {
	var left []string
	for _, account := range accounts {
		if g.expel(account) {
			left = append(left, account)
		}
	}
	if len(left) > 0 {
		e.queueAfter(ctx, g.app, from, callbackBody{
			Command: commandAfterExit, GroupID: g.id, Type: g.typeName(), ExitType: exitType, Operator: from.account,
			Left: memberRefs(left),
		})
	}
}
