package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The endpoints of one group: preparing its state, and acting as clients.

const maxControlPage = 10_000

func (e *Emulator) listGroups(r *http.Request) (any, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	groups := []Group{}
	for _, g := range a.allGroups() {
		g.mu.Lock()
		groups = append(groups, g.describe(0, 0))
		g.mu.Unlock()
	}
	return map[string][]Group{"groups": groups}, nil
}

func (e *Emulator) makeGroup(r *http.Request) (any, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	var spec GroupSpec
	if err := decode(r, &spec); err != nil {
		return nil, err
	}
	g, err := spec.build(a, e.clock.now())
	if err != nil {
		return nil, err
	}
	if a.insert(g) != nil {
		return nil, refuse(http.StatusConflict,
			"the group %q exists already: use another id, or DELETE /emulator/groups/%s first", g.id, g.id)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.name == "" {
		g.name = g.id
	}
	return g.describe(0, 0), nil
}

func (e *Emulator) showGroup(r *http.Request) (any, error) {
	offset, err := numberParam(r, "offset", 0)
	if err != nil {
		return nil, err
	}
	limit, err := numberParam(r, "limit", defaultPage)
	if err != nil {
		return nil, err
	}
	if limit > maxControlPage {
		return nil, fmt.Errorf("limit must be at most %d: page with offset", maxControlPage)
	}
	g, err := e.groupOf(r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	return g.describe(offset, limit), nil
}

// decodeFor reads the body and returns it with the group of the path, locked; the caller unlocks it.
func decodeFor[T any](e *Emulator, r *http.Request) (body T, g *group, err error) {
	if err = decode(r, &body); err == nil {
		g, err = e.groupOf(r)
	}
	return body, g, err
}

func (e *Emulator) changeGroup(r *http.Request) (any, error) {
	change, g, err := decodeFor[GroupChange](e, r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if n := change.MaxMembers; n != nil && (*n < 1 || g.kind == typeAVChatRoom) {
		return nil, errors.New("maxMembers must be at least 1, and an AVChatRoom has no limit")
	}
	if change.ApplyJoinOption != nil {
		if f := g.setJoinOption(*change.ApplyJoinOption); f != nil {
			return nil, errors.New(f.info)
		}
	}
	setFrom(&g.maxMembers, change.MaxMembers)
	setFrom(&g.name, change.Name)
	setFrom(&g.quirks, change.Quirks)
	setFrom(&g.muteAll, change.MuteAllMember)
	setFrom(&g.topics, change.SupportTopic)
	return g.describe(0, 0), nil
}

func setFrom[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func (e *Emulator) disbandGroup(r *http.Request) (any, error) {
	g, err := e.groupOf(r)
	if err != nil {
		return nil, err
	}
	e.dissolve(r.Context(), g, Act{Account: g.owner}.origin())
	g.mu.Unlock()
	g.app.forget(g)
	return map[string]string{"result": "Disbanded"}, nil
}

func (e *Emulator) putMembers(r *http.Request) (any, error) {
	spec, g, err := decodeFor[MemberSpec](e, r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	added, updated, err := g.putMembers(spec, e.clock.now())
	if err != nil {
		return nil, err
	}
	return Placed{Added: added, Updated: updated, Group: g.describe(0, 0)}, nil
}

// decodeAct reads an Act with the accounts that perform it, and returns the group of the path, unlocked.
func (e *Emulator) decodeAct(r *http.Request) (act Act, accounts []string, g *group, err error) {
	if act, g, err = decodeFor[Act](e, r); err != nil {
		return act, nil, nil, err
	}
	g.mu.Unlock()
	accounts, err = act.all()
	return act, accounts, g, err
}

func (e *Emulator) actApply(r *http.Request) (any, error) {
	act, _, g, err := e.decodeAct(r)
	if err != nil {
		return nil, err
	}
	if act.Account == "" || len(act.Accounts) > 0 {
		return nil, errors.New(`apply for one account at a time: {"account":"jared"}`)
	}
	pending, f := e.apply(r.Context(), g, act.origin(), act.Message)
	if pending {
		return outcomeOf(nil, ResultPending), nil
	}
	return outcomeOf(f, ResultJoined), nil
}

// decision is the body of POST .../applications.
type decision struct {
	Account  string `json:"account"`
	Decision string `json:"decision"`
}

func (e *Emulator) decide(r *http.Request) (any, error) {
	d, g, err := decodeFor[decision](e, r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if d.Decision != "Approve" && d.Decision != "Decline" {
		return nil, fmt.Errorf("decision %q is unknown: use Approve or Decline", d.Decision)
	}
	if !g.withdraw(d.Account) {
		return nil, refuse(http.StatusNotFound,
			"%q has not applied: GET /emulator/groups/{group} lists the applications", d.Account)
	}
	if d.Decision == "Decline" {
		return outcomeOf(nil, ResultDeclined), nil
	}
	return outcomeOf(e.admitApplicant(r.Context(), g, Act{Account: d.Account}.origin()), ResultJoined), nil
}

func (e *Emulator) actInvite(r *http.Request) (any, error) {
	act, _, g, err := e.decodeAct(r)
	if err != nil {
		return nil, err
	}
	if act.Account == "" || len(act.Accounts) == 0 {
		return nil, errors.New(`name the inviter and the invited: {"account":"u1","accounts":["jared"]}`)
	}
	g.mu.Lock()
	member := g.roster.find(act.Account) != nil
	g.mu.Unlock()
	switch {
	case !g.kind.membersInvite():
		return outcomeOf(fail(codeNotPermitted, "members of a group of type %s cannot invite", g.spelled), ""), nil
	case !member:
		return outcomeOf(fail(codeNotPermitted, "the inviter is not a member"), ""), nil
	}
	entries, f := e.invite(r.Context(), g, act.origin(), distinct(act.Accounts))
	if f != nil {
		return outcomeOf(f, ""), nil
	}
	// The result of the whole request is the best one of its accounts.
	outcome := Outcome{Result: ResultRefused}
	for _, en := range entries {
		result := ResultJoined
		if f := en.failure(); f != nil {
			result = resultOf(f.code)
		} else if en.result == resultAsked {
			result = ResultPending
		}
		if result == ResultJoined || outcome.Result == ResultRefused {
			outcome.Result = result
		}
		outcome.Members = append(outcome.Members, MemberOutcome{Account: en.account, Result: result})
	}
	return outcome, nil
}

// distinct drops duplicates and preserves the order.
func distinct(accounts []string) []string {
	seen := make(map[string]bool, len(accounts))
	var unique []string
	for _, account := range accounts {
		if !seen[account] {
			seen[account] = true
			unique = append(unique, account)
		}
	}
	return unique
}

func (e *Emulator) actSpeak(r *http.Request) (any, error) {
	_, accounts, g, err := e.decodeAct(r)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, account := range accounts {
		if g.roster.find(account) == nil {
			return outcomeOf(fail(codeNotPermitted, "%q is not a member", account), ""), nil
		}
	}
	now := e.clock.now()
	for _, account := range accounts {
		g.recordMessage(g.roster.find(account), now)
	}
	return outcomeOf(nil, ResultSpoke), nil
}

func (e *Emulator) actQuit(r *http.Request) (any, error) {
	act, accounts, g, err := e.decodeAct(r)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, account := range accounts {
		if g.roster.find(account) == nil {
			return outcomeOf(fail(codeNotPermitted, "%q is not a member", account), ""), nil
		}
		if account == g.owner && g.kind != typeWork { // a Work group can be without an owner (page 33529)
			return outcomeOf(fail(codeOwnerStays, "the owner cannot leave the group"), ""), nil
		}
	}
	for _, account := range accounts { // one callback for each
		act.Account = account
		e.removeMembers(r.Context(), g, act.origin(), "Quit", []string{account})
	}
	return outcomeOf(nil, ResultLeft), nil
}

// settle waits until no callback is queued or being sent.
func (e *Emulator) settle(r *http.Request, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if e.outbox.waitIdle(ctx) != nil {
		return refuse(http.StatusGatewayTimeout, "callbacks are still under way after %s: ask again", patience)
	}
	return nil
}
