package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The part of the control API that is about one group: setting scenes and acting as clients.

const maxControlPage = 10_000

func (e *Emulator) listGroups(r *http.Request) (any, error) {
	a, err := e.appOf(r)
	if err != nil {
		return nil, err
	}
	page, _ := a.groupsAfter(0, int(^uint(0)>>1), func(*group) bool { return true })
	groups := []Group{}
	for _, g := range page {
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
		return nil, refuse(http.StatusConflict, "the group %q exists already: use another id, or DELETE /emulator/groups/%s first", g.id, g.id)
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
		return nil, refuse(http.StatusBadRequest, "limit must be at most %d: page with offset", maxControlPage)
	}
	g, err := e.groupOf(r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	return g.describe(offset, limit), nil
}

func (e *Emulator) changeGroup(r *http.Request) (any, error) {
	var change GroupChange
	if err := decode(r, &change); err != nil {
		return nil, err
	}
	g, err := e.groupOf(r)
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
	var spec MemberSpec
	if err := decode(r, &spec); err != nil {
		return nil, err
	}
	g, err := e.groupOf(r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	added, updated, err := g.place(spec, e.clock.now())
	if err != nil {
		return nil, err
	}
	return Placed{Added: added, Updated: updated, Group: g.describe(0, 0)}, nil
}

// decodeAct reads what somebody does, and finds the group, which it does not lock.
func (e *Emulator) decodeAct(r *http.Request) (act Act, accounts []string, g *group, err error) {
	if err := decode(r, &act); err != nil {
		return act, nil, nil, err
	}
	if accounts, err = act.everyone(); err != nil {
		return act, nil, nil, err
	}
	if g, err = e.groupOf(r); err != nil {
		return act, nil, nil, err
	}
	g.mu.Unlock()
	return act, accounts, g, nil
}

func (e *Emulator) actApply(r *http.Request) (any, error) {
	act, _, g, err := e.decodeAct(r)
	if err != nil {
		return nil, err
	}
	if act.Account == "" || len(act.Accounts) > 0 {
		return nil, errors.New(`one account applies at a time: {"account":"jared"}`)
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
	var d decision
	if err := decode(r, &d); err != nil {
		return nil, err
	}
	if d.Decision != "Approve" && d.Decision != "Decline" {
		return nil, fmt.Errorf("decision %q is unknown: use Approve or Decline", d.Decision)
	}
	g, err := e.groupOf(r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if !g.withdraw(d.Account) {
		return nil, refuse(http.StatusNotFound, "%q has not applied: GET /emulator/groups/{group} lists the applications", d.Account)
	}
	if d.Decision == "Decline" {
		return outcomeOf(nil, ResultDeclined), nil
	}
	return outcomeOf(e.approve(r.Context(), g, Act{Account: d.Account}.origin()), ResultJoined), nil
}

func (e *Emulator) actInvite(r *http.Request) (any, error) {
	act, _, g, err := e.decodeAct(r)
	if err != nil {
		return nil, err
	}
	if act.Account == "" || len(act.Accounts) == 0 {
		return nil, errors.New(`say who invites whom: {"account":"u1","accounts":["jared"]}`)
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
	entries, f := e.bring(r.Context(), g, act.origin(), distinct(act.Accounts))
	if f != nil {
		return outcomeOf(f, ""), nil
	}
	// The request as a whole did what its luckiest guest got.
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

// distinct drops repetitions and keeps the order.
func distinct(accounts []string) []string {
	seen := make(map[string]bool, len(accounts))
	var kept []string
	for _, account := range accounts {
		if !seen[account] {
			seen[account] = true
			kept = append(kept, account)
		}
	}
	return kept
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
		g.say(g.roster.find(account), now)
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
		if account == g.owner && g.kind != typeWork { // a Work group goes on without one (page 33529)
			return outcomeOf(fail(codeOwnerStays, "the owner cannot leave the group"), ""), nil
		}
	}
	for _, account := range accounts { // each leaves by himself
		act.Account = account
		e.part(r.Context(), g, act.origin(), "Quit", []string{account})
	}
	return outcomeOf(nil, ResultLeft), nil
}

// settle waits until no callback is under way.
func (e *Emulator) settle(r *http.Request, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if e.outbox.settle(ctx) != nil {
		return refuse(http.StatusGatewayTimeout, "callbacks are still under way after %s: ask again", patience)
	}
	return nil
}
