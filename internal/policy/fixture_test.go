package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// t0 is when the oldest object of the tests was created.
var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const appID = 1400000000

func object(name string, age int) Object {
	return Object{
		Namespace: "chat", Name: name, UID: "uid-" + name, Generation: 1,
		Created: t0.Add(time.Duration(age) * time.Second),
	}
}

func prodApp() App {
	return App{
		Object: object("prod", 0), SDKAppID: appID, AdminAccount: "administrator",
		Tokens: []Token{{Name: TokenCurrent, Value: "t0ken"}}, SecretFound: true, SecretKeyPresent: true,
	}
}

// policyNamed returns an accepted policy of the app prod that governs every group and says nothing.
func policyNamed(name string, age int, edit ...func(*Policy)) Policy {
	p := Policy{Object: object(name, age), App: "prod", Groups: []GroupMatcher{{Kind: MatchAll}}}
	for _, e := range edit {
		e(&p)
	}
	return p
}

func on(groups ...GroupMatcher) func(*Policy) { return func(p *Policy) { p.Groups = groups } }
func exact(id string) GroupMatcher            { return GroupMatcher{Kind: MatchExact, Value: id} }
func prefix(p string) GroupMatcher            { return GroupMatcher{Kind: MatchPrefix, Value: p} }
func all() GroupMatcher                       { return GroupMatcher{Kind: MatchAll} }

func ofTypes(types ...GroupType) func(*Policy) {
	return func(p *Policy) { p.Types = NewTypeSet(types...) }
}

func joining(edit ...func(*JoinSection)) func(*Policy) {
	return func(p *Policy) {
		p.Join = &JoinSection{}
		for _, e := range edit {
			e(p.Join)
		}
	}
}

func naming(names ...string) *AccountSelector { return &AccountSelector{Accounts: names} }
func allow(a ...string) func(*JoinSection)    { return func(j *JoinSection) { j.Allow = naming(a...) } }
func deny(a ...string) func(*JoinSection)     { return func(j *JoinSection) { j.Deny = naming(a...) } }
func audit(j *JoinSection)                    { j.Audit = true }
func reject(code int32, message string) func(*JoinSection) {
	return func(j *JoinSection) { j.Reject = Rejection{Code: code, Message: message} }
}
func triggeredBy(t ...Trigger) func(*JoinSection) {
	return func(j *JoinSection) { j.Triggers = NewTriggerSet(t...) }
}

func prune(edit ...func(*PruneRule)) func(*Policy) {
	return func(p *Policy) {
		p.Prune = &PruneRule{
			Mode: ModeEnforce, InactiveFor: 30 * 24 * time.Hour, FreeSeats: Seats{Percent: 5}, MaxRemovals: 100,
			MaxRemovalsPerDay: 1000,
		}
		for _, e := range edit {
			e(p.Prune)
		}
	}
}

func protect(a *AccountSelector) func(*PruneRule) { return func(r *PruneRule) { r.Protect = a } }

func byListName(names ...string) *AccountSelector {
	var a AccountSelector
	for _, n := range names {
		a.Lists = append(a.Lists, ListRef{Name: n})
	}
	return &a
}

func byLabels(requirements ...Requirement) *AccountSelector {
	s := Selector(requirements)
	return &AccountSelector{Lists: []ListRef{{Selector: &s}}}
}

func listNamed(name string, labels map[string]string, listed ...string) List {
	return List{Object: object(name, 0), Labels: labels, Accounts: accounts.NewSet(listed)}
}

func world(policies ...Policy) Input { return Input{Apps: []App{prodApp()}, Policies: policies} }

// compile tells the compiler of a whole world: of all that is in it, and of all that no longer is.
func (c *Compiler) compile(in Input) *Snapshot {
	for name := range c.apps {
		c.DeleteApp(name.namespace, name.name)
	}
	for _, p := range c.policies {
		c.DeletePolicy(p.object.Namespace, p.object.Name)
	}
	for uid := range c.refusals {
		c.DeleteRefusal(uid)
	}
	for namespace, n := range c.lists.namespaces {
		for name := range n.lists {
			c.DeleteList(namespace, name)
		}
	}
	c.Set(in)
	return c.Build()
}

// permutations calls yield with every order of items.
func permutations[T any](items []T, yield func([]T)) {
	var place func(done, left []T)
	place = func(done, left []T) {
		if len(left) == 0 {
			yield(done)
			return
		}
		for i := range left {
			rest := slices.Concat(left[:i], left[i+1:])
			place(append(slices.Clone(done), left[i]), rest)
		}
	}
	place(nil, items)
}

// dump writes everything that a snapshot shows, for comparing two of them.
func dump(s *Snapshot, queries []JoinQuery) []string {
	lines := []string{fmt.Sprintf("hash %x stats %v", s.Hash(), s.Stats())}
	for v := range s.PolicyVerdicts() {
		lines = append(lines, fmt.Sprintf("%+v", v))
	}
	for v := range s.AppVerdicts() {
		lines = append(lines, fmt.Sprintf("%+v", v))
	}
	for v := range s.ListVerdicts() {
		lines = append(lines, fmt.Sprintf("%+v", v))
	}
	for a := range s.Apps() {
		lines = append(lines, fmt.Sprintf("%v %v %d %v", a.Object(), a.SDKAppID(), len(a.Tokens()),
			slices.Collect(a.ExactPruneGroups())))
		interval, evicts := a.EvictInterval()
		lines = append(lines, fmt.Sprintf("%v %t %v %t %s", slices.Collect(a.ExactEvictGroups()), a.EvictsByPattern(),
			interval, evicts, a.EvictHash()))
		for _, q := range queries {
			g, ok := a.GoverningRule(q.Group, q.Type)
			v := a.DecideJoin(q)
			by, audit := orNone(v.Policy), orNone(v.AuditPolicy)
			v.Policy, v.AuditPolicy = nil, nil
			e, evicts := a.GoverningEviction(q.Group, q.Type)
			refused, isRefused := e.Judge(q.Account)
			lines = append(lines, fmt.Sprintf("%t %t %+v %s %+v %v %v %q %v by %s (%s) %t", a.MayEvict(q.Group), evicts,
				e.Policy, e.RuleHash(), e.Rule, e.Gates, e.Lists, e.Unresolved, refused.Reason, orNone(refused.Policy),
				e.DenyingList(q.Account), isRefused))
			lines = append(lines, fmt.Sprintf("%+v: %+v by %s, %s; %v %t %+v %+v %s %q %t", q, v, by, audit,
				a.MayPrune(q.Group), ok, g.Policy, g.Rule, g.Invalid, g.Unresolved, g.Protects(q.Account)))
		}
	}
	return lines
}

func orNone(o *Object) string {
	if o == nil {
		return "none"
	}
	return o.Key()
}
