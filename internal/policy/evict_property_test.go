package policy

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/internal/accounts"
)

// drawGates draws an app that evicts, most often from gates that are certain: what drawInput draws seldom is.
func drawGates(t *rapid.T) Input {
	in := drawInput(t)
	in.Apps = in.Apps[:1]
	app := &in.Apps[0]
	for i := range in.Policies {
		p := &in.Policies[i]
		p.Namespace, p.App = app.Namespace, app.Name
		p.UID = p.Key()
		if rapid.IntRange(0, 19).Draw(t, "as it is") > 0 {
			mend(p)
		}
	}
	in.Policies = distinct(in.Policies, func(p Policy) string { return p.Key() })
	for _, name := range someLists {
		in.Lists = append(in.Lists, List{
			Object:   Object{Namespace: app.Namespace, Name: name, UID: name, Generation: 1, Created: t0},
			Labels:   map[string]string{"x": "1"},
			Accounts: accounts.NewSet([]string{rapid.SampledFrom(someAccounts).Draw(t, name)}),
		})
	}
	in.Lists = distinct(in.Lists, func(l List) string { return l.Key() })
	return in
}

// mend makes a policy valid, and less likely to refer to lists that are not there.
func mend(p *Policy) {
	p.Invalid, p.Prune = "", nil
	if p.Join == nil {
		return
	}
	p.Join.Reject = Rejection{}
	for _, s := range []*AccountSelector{p.Join.Allow, p.Join.Deny} {
		if s == nil {
			continue
		}
		s.Invalid = ""
		s.Lists = slices.DeleteFunc(s.Lists, func(ref ListRef) bool {
			return ref.Selector != nil && (*ref.Selector)[0].Key == "y"
		})
	}
	if j := p.Join; j.Evict != nil {
		j.Audit, j.Triggers, j.Evict.Grace = false, 0, j.Evict.Grace%(30*day)
		if j.Allow != nil && len(j.Allow.Accounts)+len(j.Allow.Prefixes)+len(j.Allow.Lists) == 0 || j.Deny == nil {
			j.Allow = naming("jared")
		}
	}
}

func TestEvictingIsTheModel(t *testing.T) { rapid.Check(t, evictsAsTheModel) }

func evictsAsTheModel(t *rapid.T) {
	in := drawGates(t)
	snapshot, model := Compile(in), naive{in}
	holder := model.holder(in.Apps[0].SDKAppID)
	app := snapshot.App(holder.SDKAppID)
	query := drawQuery(t)
	group, groupType := query.Group, query.Type

	if got, want := app.MayEvict(group), model.mayEvict(holder, group); got != want {
		t.Fatalf("MayEvict(%q) = %t, want %t", group, got, want)
	}
	g, governed := app.GoverningEviction(group, groupType)
	rules := model.evicting(holder, group, groupType)
	if governed != (len(rules) > 0) {
		t.Fatalf("governed: %t, want %t", governed, len(rules) > 0)
	}
	if !governed {
		return
	}
	uncertain := model.uncertain(holder, group, groupType)
	if g.Policy.Name != rules[0].Name || (len(g.Unresolved) > 0) != uncertain {
		t.Fatalf("governed by %s (%q), want %s (%t)", g.Policy.Name, g.Unresolved, rules[0].Name, uncertain)
	}
	if diff := cmp.Diff(*rules[0].Join.Evict, g.Rule); diff != "" {
		t.Fatalf("the rule (-want,+got):\n%s", diff)
	}
	for _, account := range append(someAccounts, "stranger") {
		refused, is := g.Judge(account)
		reason, by := model.refuses(holder, group, groupType, account)
		if is != (reason != 0) || refused.Reason != reason || is && refused.Policy.Name != by {
			t.Fatalf("Judge(%s) = %v by %s, want %v by %s", account, refused.Reason, orNone(refused.Policy), reason, by)
		}
		list := g.DenyingList(account)
		if reason == ReasonDenied && list != "" && !lists(model, by, account, list) {
			t.Fatalf("DenyingList(%s) = %s", account, list)
		}
	}
	planIsTheModels(t, model, holder, group, groupType, &g)
}

// lists reports whether the policy of that name denies the account by the list, and does not name it itself.
func lists(model naive, name, account, list string) bool {
	for _, p := range model.in.Policies {
		if p.Name != name || p.Join == nil {
			continue
		}
		own := *p.Join.Deny
		own.Lists = nil
		for _, ref := range p.Join.Deny.Lists {
			for _, l := range model.lists(p.Namespace, ref) {
				if l.Name == list && slices.Contains(slices.Collect(l.Accounts.All()), account) {
					return !model.selects(p.Namespace, &own, account)
				}
			}
		}
	}
	return false
}

func planIsTheModels(
	t *rapid.T, model naive, holder *App, group string, groupType GroupType, g *GoverningEviction,
) {
	state := EvictionState{
		Group: GroupState{Type: groupType, Members: rapid.IntRange(0, 40).Draw(t, "members")},
		Named: rapid.IntRange(0, 3).Draw(t, "named") == 0, Recent: rapid.IntRange(0, 3).Draw(t, "recent"),
		Budget: rapid.SampledFrom([]int{math.MaxInt, 3, 1, 0, -1}).Draw(t, "budget"),
	}
	members := rapid.SliceOfN(rapid.Custom(drawMember), 0, 30).Draw(t, "list")
	if !state.Named && rapid.IntRange(0, 3).Draw(t, "only some") == 0 {
		state.Only = map[string]struct{}{}
		for _, m := range members {
			if rapid.Bool().Draw(t, "asked for") {
				state.Only[m.Account] = struct{}{}
			}
		}
	}
	plan, err := PlanEviction(g, state, listed(members...), now)
	want := model.evictionPlan(holder, group, state, members, now)
	if (err != nil) != (want == nil) {
		t.Fatalf("PlanEviction: error %v, want a plan: %t", err, want != nil)
	}
	candidates, seen := 0, map[string]bool{}
	for _, m := range members {
		if _, asked := state.Only[m.Account]; state.Only != nil && !asked {
			continue
		}
		if !seen[m.Account] && g.Evicts(m, now) {
			candidates++
		}
		seen[m.Account] = true
	}
	if want == nil {
		if !errors.Is(err, ErrRuleUnusable) || candidates > 0 {
			t.Fatalf("PlanEviction: %v; %d would be evicted", err, candidates)
		}
		return
	}
	if (plan.Breaker != "") != (want.Breaker != "") {
		t.Fatalf("the breaker says %q, want one: %t", plan.Breaker, want.Breaker != "")
	}
	if diff := cmp.Diff(*want, plan, cmpopts.IgnoreFields(Plan{}, "Breaker"),
		cmpopts.IgnoreFields(Removal{}, "List")); diff != "" {
		t.Fatalf("PlanEviction (-want,+got):\n%s", diff)
	}
	if candidates != plan.Candidates {
		t.Fatalf("%d would be evicted one by one, %d together", candidates, plan.Candidates)
	}
	for _, r := range plan.Removals {
		if list := g.DenyingList(r.Account); r.Reason == ReasonDenied && r.List != list ||
			r.Reason == ReasonNotListed && r.List != "" {
			t.Fatalf("%s is %v by list %q, want %q", r.Account, r.Reason, r.List, list)
		}
	}
	recheckIsTheModels(t, model, holder, group, groupType, g, plan)
}

func recheckIsTheModels(
	t *rapid.T, model naive, holder *App, group string, groupType GroupType, g *GoverningEviction, plan Plan,
) {
	current := map[string]Member{}
	batch := slices.Clone(plan.Removals)
	for i := range batch {
		if rapid.IntRange(0, 3).Draw(t, "planned under another gate") == 0 {
			batch[i].Account = rapid.SampledFrom(someAccounts).Draw(t, "account")
		}
		m := drawMember(t)
		m.Account = batch[i].Account
		if rapid.Bool().Draw(t, "as planned") {
			m = Member{Account: m.Account, Role: RoleMember, Joined: batch[i].Joined}
		}
		if rapid.IntRange(0, 4).Draw(t, "left") > 0 {
			current[m.Account] = m
		}
	}
	later := now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "later")) * time.Second)
	var want []string
	for _, r := range batch {
		if model.evicts(holder, group, groupType, r, current, later) {
			want = append(want, r.Account)
		}
	}
	remove, kept := g.Recheck(batch, current, later)
	if diff := cmp.Diff(want, remove); diff != "" {
		t.Fatalf("Recheck (-want,+got):\n%s", diff)
	}
	if len(remove)+len(kept) != len(batch) {
		t.Fatalf("Recheck: %d go and %d stay of %d", len(remove), len(kept), len(batch))
	}
}
