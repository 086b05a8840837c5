package emulator

import (
	"context"
	"slices"

	"github.com/groupgate/groupgate/internal/im/callback"
)

// The ways to join a group, and to leave it. Who joins through here is asked about and told about; what must not be noticed (members at
// creation, import, the control API setting a scene) enrols people directly.

// Values of Result in the answer of add_group_member (page 34921).
const (
	resultFailed = 0
	resultAdded  = 1
	resultMember = 2 // was in already
	resultAsked  = 3 // has to agree first
	resultInMany = 4 // is in too many groups; not on the page, but among the constants of the client SDKs
)

// entry is what became of one account that was to join.
type entry struct {
	account string
	result  int
	reason  int // why it failed: one of the codes
}

// apply is what happens when somebody applies from a client: the app backend is asked first, and only then does the group look for a seat
// or for an admin's approval (page 34370). It reports whether the application is pending.
func (e *Emulator) apply(ctx context.Context, g *group, from origin, message string) (pending bool, f *failure) {
	g.mu.Lock()
	option, kind, in := g.joinOption, g.kind, g.roster.find(from.account) != nil
	g.mu.Unlock()
	switch {
	case option == disableApply:
		return false, fail(codeNotPermitted, "nobody can apply to this group: its ApplyJoinOption is %s", disableApply)
	case in:
		return false, fail(codeAlreadyMember, "the account is a member already")
	}
	v := e.ask(ctx, g.app, from, callbackBody{
		Command: callback.CommandBeforeApplyJoin, GroupID: g.id, Type: g.typeName(), Requestor: from.account, ApplyMsg: message,
	})
	if v.refusal != nil {
		return false, v.refusal
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dissolved {
		return false, errNoSuchGroup
	}
	// "Go ahead" admits nobody where an admin has to approve.
	if kind == typePublic && g.joinOption == needPermission {
		if !slices.Contains(g.applications, from.account) {
			g.applications = append(g.applications, from.account)
		}
		return true, nil
	}
	return false, e.seat(ctx, g, from, "Apply", []string{from.account}, verdict{})[0].failure()
}

// approve lets somebody in whose application is pending. The caller has locked the group.
func (e *Emulator) approve(ctx context.Context, g *group, from origin) *failure {
	return e.seat(ctx, g, from, "Apply", []string{from.account}, verdict{})[0].failure()
}

// failure is what a client sees.
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

// bring is an invitation, by a member or over REST: the app backend is asked about all accounts at once (page 34371).
func (e *Emulator) bring(ctx context.Context, g *group, from origin, accounts []string) ([]entry, *failure) {
	v := e.ask(ctx, g.app, from, callbackBody{
		Command: callback.CommandBeforeInviteJoin, GroupID: g.id, Type: g.typeName(), Operator: from.account, Invited: memberRefs(accounts),
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
	entries := e.seat(ctx, g, from, "Invited", accounts, v)
	// An error of the whole request only if nobody came in and for everybody the reason is the same.
	for _, reason := range []int{codeGroupFull, codeNoSuchAccount, codeGroupLimit} {
		if !slices.ContainsFunc(entries, func(en entry) bool { return en.reason != reason }) {
			return nil, fail(reason, "nobody was added: the group is full, no such account exists, or it is in too many groups")
		}
	}
	return entries, nil
}

// obstacle is what keeps some of the accounts from being added, if anything does. The caller has locked the group.
func (e *Emulator) obstacle(ctx context.Context, g *group, from origin, accounts []string, v verdict) *failure {
	settings, _, _ := g.app.console()
	wanted := 0
	for _, account := range accounts {
		switch {
		case g.roster.find(account) != nil, v.refused[account], slices.Contains(settings.AskedAccounts, account):
		case slices.Contains(settings.MissingAccounts, account):
			return fail(codeNoSuchAccount, "nobody was added: one of the accounts does not exist")
		case slices.Contains(settings.CrowdedAccounts, account):
			return fail(codeGroupLimit, "nobody was added: one of the accounts is in too many groups")
		default:
			wanted++
		}
	}
	if wanted > g.free() {
		e.tell(ctx, g.app, from, callbackBody{Command: callback.CommandAfterGroupFull, GroupID: g.id})
		return errGroupFull
	}
	return nil
}

// seat gives the free seats to accounts in their order, and tells of it: who is new, and that the group is full when the last seat was
// taken now or somebody found none (page 34376). The order of the two is not documented. The caller has locked the group.
func (e *Emulator) seat(ctx context.Context, g *group, from origin, joinType string, accounts []string, v verdict) []entry {
	settings, _, _ := g.app.console()
	now := seconds(e.clock.now())
	var entries []entry
	var joined []string
	turnedAway := false
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
			turnedAway = true
		default:
			g.enrol(account, roleMember, now, 0)
			en.result = resultAdded
			joined = append(joined, account)
		}
		entries = append(entries, en)
	}
	if len(joined) > 0 {
		e.tell(ctx, g.app, from, callbackBody{
			Command: commandAfterJoin, GroupID: g.id, Type: g.typeName(), JoinType: joinType, Operator: from.account, Joined: memberRefs(joined),
		})
	}
	if turnedAway || len(joined) > 0 && g.full() {
		e.tell(ctx, g.app, from, callbackBody{Command: callback.CommandAfterGroupFull, GroupID: g.id})
	}
	return entries
}

// part removes members and tells of those who were in. The caller has locked the group.
func (e *Emulator) part(ctx context.Context, g *group, from origin, exitType string, accounts []string) (left []string) {
	for _, account := range accounts {
		if g.expel(account) {
			left = append(left, account)
		}
	}
	if len(left) > 0 {
		e.tell(ctx, g.app, from, callbackBody{
			Command: commandAfterExit, GroupID: g.id, Type: g.typeName(), ExitType: exitType, Operator: from.account, Left: memberRefs(left),
		})
	}
	return left
}
