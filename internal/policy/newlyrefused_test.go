package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/internal/accounts"
)

// drawEdit draws what in becomes after an edit or two.
func drawEdit(t *rapid.T, in Input) Input {
	out := Input{
		Apps: in.Apps, Lists: slices.Clone(in.Lists), Policies: slices.Clone(in.Policies), Refusals: in.Refusals,
	}
	for range rapid.IntRange(1, 2).Draw(t, "edits") {
		kind := rapid.IntRange(0, 6).Draw(t, "edit")
		switch {
		case kind == 0 && len(out.Policies) > 0:
			i := rapid.IntRange(0, len(out.Policies)-1).Draw(t, "policy")
			out.Policies = slices.Delete(out.Policies, i, i+1)
		case kind <= 2 && len(out.Policies) > 0:
			p := &out.Policies[rapid.IntRange(0, len(out.Policies)-1).Draw(t, "policy")]
			edited := drawPolicy(t)
			edited.Object, edited.App = p.Object, p.App
			edited.Generation++
			if kind == 1 && p.Join != nil { // of the accounts alone
				groups, evict := p.Groups, p.Join.Evict
				edited.Groups, edited.Types, edited.Invalid = groups, p.Types, ""
				edited.Join = &JoinSection{
					Triggers: p.Join.Triggers, Allow: drawSelector(t), Deny: drawSelector(t), Evict: evict,
				}
			}
			*p = edited
			if rapid.IntRange(0, 9).Draw(t, "as it is") > 0 {
				mend(p)
			}
		case kind == 3 && len(out.Lists) > 0:
			i := rapid.IntRange(0, len(out.Lists)-1).Draw(t, "list")
			out.Lists = slices.Delete(out.Lists, i, i+1)
		case len(out.Lists) > 0:
			l := &out.Lists[rapid.IntRange(0, len(out.Lists)-1).Draw(t, "list")]
			l.Generation++
			if kind == 4 {
				l.Labels = drawList(t).Labels
				continue
			}
			l.Accounts = accounts.NewSet(some(t, "accounts", someAccounts, 4))
		}
	}
	return out
}

var listedTypes = []GroupType{TypeWork, TypePublic, TypeMeeting, TypeCommunity}

// newlyRefusedByForce asks about every account that is named anywhere, and about others that are not.
func newlyRefusedByForce(before, after naive, was, is *App, group string) (named, others []string, sure bool) {
	sure = true
	judge := func(account string) bool {
		for _, t := range listedTypes {
			if len(after.evicting(is, group, t)) == 0 || after.uncertain(is, group, t) {
				continue
			}
			if len(before.evicting(was, group, t)) == 0 || before.uncertain(was, group, t) {
				sure = false
				continue
			}
			now, _ := after.refuses(is, group, t, account)
			then, _ := before.refuses(was, group, t, account)
			if now != 0 && then == 0 {
				return true
			}
		}
		return false
	}
	for _, account := range someAccounts {
		if judge(account) {
			named = append(named, account)
		}
	}
	for _, account := range []string{"stranger", "jay", "jars", "staff-9", "mike"} {
		if judge(account) {
			others = append(others, account)
		}
	}
	slices.Sort(named)
	return named, others, sure
}

func prefixesOf(in Input) (all []string) {
	for _, p := range in.Policies {
		if p.Join != nil {
			for _, s := range []*AccountSelector{p.Join.Allow, p.Join.Deny} {
				if s != nil && len(s.Prefixes) > 0 {
					all = append(all, fmt.Sprint(p.Key(), p.Groups, p.Types, s == p.Join.Deny, s.Prefixes))
				}
			}
		}
	}
	return all
}

func TestNewlyRefusedIsTheModel(t *testing.T) { rapid.Check(t, newlyRefusedAsTheModel) }

func newlyRefusedAsTheModel(t *rapid.T) {
	in := drawGates(t)
	edited := drawEdit(t, in)
	var c Compiler
	before := c.compile(in).App(in.Apps[0].SDKAppID)
	// As informers do it: what is the same is not set again.
	for _, l := range in.Lists {
		c.DeleteList(l.Namespace, l.Name)
	}
	for _, l := range edited.Lists {
		c.SetList(l)
	}
	for _, p := range in.Policies {
		if !slices.ContainsFunc(edited.Policies, func(q Policy) bool { return q.Key() == p.Key() }) {
			c.DeletePolicy(p.Namespace, p.Name)
		}
	}
	for _, p := range edited.Policies {
		if !slices.ContainsFunc(in.Policies, func(q Policy) bool { return q.Object == p.Object }) {
			c.SetPolicy(p)
		}
	}
	after := c.Build().App(in.Apps[0].SDKAppID)
	limit := rapid.SampledFrom([]int{0, 1, 2, 100, 100}).Draw(t, "limit")

	changed := map[string]ChangedGroup{}
	var order []string
	for g := range NewlyRefused(before, after, limit) {
		changed[g.Group] = g
		order = append(order, g.Group)
	}
	if !slices.IsSorted(order) || len(changed) != len(order) {
		t.Fatalf("groups %q", order)
	}
	cold := slices.Collect(NewlyRefused(Compile(in).App(before.sdkAppID), Compile(edited).App(before.sdkAppID), limit))
	if diff := cmp.Diff(cold, slices.Collect(NewlyRefused(before, after, limit))); diff != "" {
		t.Fatalf("of snapshots that share nothing (-want,+got):\n%s", diff)
	}
	exactly := map[string]bool{}
	for _, p := range append(slices.Clone(in.Policies), edited.Policies...) {
		for _, m := range p.Groups {
			if m.Kind == MatchExact {
				exactly[m.Value] = true
			}
		}
	}
	samePrefixes := cmp.Equal(prefixesOf(in), prefixesOf(edited))
	app := &in.Apps[0]
	for _, group := range append(someGroups, "abcd") {
		got, ok := changed[group]
		delete(changed, group)
		if !exactly[group] || !(naive{edited}).mayEvict(app, group) {
			if ok {
				t.Fatalf("%q: %+v, and no rule governs the group by its id", group, got)
			}
			continue
		}
		named, others, sure := newlyRefusedByForce(naive{in}, naive{edited}, app, app, group)
		switch {
		case got.Whole:
			if sure && len(others) == 0 && len(named) <= limit && samePrefixes && !closes(in, edited, app, group) {
				t.Fatalf("%q: the whole group, want %q", group, named)
			}
		case !sure, len(others) > 0, len(named) > limit:
			t.Fatalf("%q: %+v, want the whole group for %q, %q (%t)", group, got, named, others, sure)
		case !slices.Equal(got.Accounts, named), ok != (len(named) > 0):
			t.Fatalf("%q: %q (%t), want %q", group, got.Accounts, ok, named)
		}
	}
	if len(changed) > 0 {
		t.Fatalf("other groups: %v", changed)
	}
}

// closes reports whether the group needs an allow now for a trigger for which it did not.
func closes(in, edited Input, app *App, group string) bool {
	in.Refusals, edited.Refusals = nil, nil
	for _, t := range listedTypes {
		for _, trigger := range []Trigger{TriggerApply, TriggerInvite, TriggerRESTAPI} {
			gated := func(n naive) bool {
				for _, p := range n.judging(app, group, t) {
					j := p.Join
					if j != nil && !j.Audit && (j.Allow != nil || n.invalid(p)) &&
						(j.Triggers == 0 || j.Triggers>>trigger&1 == 1) {
						return true
					}
				}
				return false
			}
			if gated(naive{edited}) && !gated(naive{in}) {
				return true
			}
		}
	}
	return false
}

// manyGroups is a policy for each of so many groups, all of which use one list, and one of their own.
func manyGroups(groups int, list accounts.Set) Input {
	in := Input{Apps: []App{prodApp()}, Lists: []List{{Object: object("vip", 0), Accounts: list}}}
	for i := range groups {
		own := fmt.Sprintf("own-%d", i)
		in.Lists = append(in.Lists, listNamed(own, nil, own))
		in.Policies = append(in.Policies, policyNamed(fmt.Sprintf("p-%d", i), i, on(exact(fmt.Sprintf("g-%04d", i))),
			joining(evicting(), func(j *JoinSection) { j.Allow = byListName("vip", own) })))
	}
	return in
}

func TestAnAccountTakenOffAListOfManyGroups(t *testing.T) {
	const groups, size = 1000, 1_000_000
	in := manyGroups(groups, numbered(0, size))
	var c Compiler
	before := c.compile(in).App(appID)
	c.SetList(List{Object: object("vip", 0), Accounts: numbered(1, size-1)})
	after := c.Build().App(appID)
	start := time.Now()
	changed := slices.Collect(NewlyRefused(before, after, 1000))
	t.Logf("%d groups compared in %s", len(changed), time.Since(start))
	if len(changed) != groups {
		t.Fatalf("%d groups changed, want %d", len(changed), groups)
	}
	for i, got := range changed {
		want := ChangedGroup{Group: fmt.Sprintf("g-%04d", i), Accounts: []string{"account-00000000"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("changed (-want,+got):\n%s", diff)
		}
	}
	// Diffing the list for each group would judge or hash a million accounts a thousand times: minutes.
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s: the list is to be compared once", took)
	}
}

func TestNewlyRefused(t *testing.T) {
	gate := func(edit ...func(*Policy)) Policy {
		return policyNamed("p", 1, append([]func(*Policy){
			on(exact("g")), joining(allow("jared", "tommy"), deny("mallory"), evicting()),
		}, edit...)...)
	}
	byList := joining(func(j *JoinSection) { j.Allow = byListName("vip") }, evicting())
	vip := func(accounts ...string) []List { return []List{listNamed("vip", nil, accounts...)} }
	named := func(accounts ...string) []ChangedGroup { return []ChangedGroup{{Group: "g", Accounts: accounts}} }
	whole := []ChangedGroup{{Group: "g", Whole: true}}
	tests := map[string]struct {
		before, after           []Policy
		listsBefore, listsAfter []List
		limit                   int
		want                    []ChangedGroup
	}{
		"nothing": {before: []Policy{gate()}, after: []Policy{gate()}},
		"an allowed less": {
			[]Policy{gate()}, []Policy{gate(joining(allow("jared"), evicting()))}, nil, nil, 9, named("tommy"),
		},
		"a denied more": {
			[]Policy{gate()}, []Policy{gate(joining(allow("jared", "tommy"), deny("tommy"), evicting()))},
			nil, nil, 9, named("tommy"),
		},
		"off a list": {
			[]Policy{gate(byList)}, []Policy{gate(byList)}, vip("a", "b", "c"), vip("b"), 9, named("a", "c"),
		},
		"more than limit": {[]Policy{gate(byList)}, []Policy{gate(byList)}, vip("a", "b", "c"), vip("b"), 1, whole},
		"a list restored": {[]Policy{gate(byList)}, []Policy{gate(byList)}, nil, vip("b"), 9, whole},
		"a list emptied":  {[]Policy{gate(byList)}, []Policy{gate(byList)}, vip("a", "b"), vip(), 9, nil},
		"a list deleted":  {[]Policy{gate(byList)}, []Policy{gate(byList)}, vip("a", "b"), nil, 9, nil},
		"the rule is new": {
			[]Policy{gate(joining(allow("jared")))}, []Policy{gate(joining(allow("jared"), evicting()))},
			nil, nil, 9, whole,
		},
		"the rule is gone": {[]Policy{gate()}, []Policy{gate(joining(allow("jared")))}, nil, nil, 9, nil},
		"the gate is new": {
			[]Policy{gate(joining(deny("mallory"), evicting()))},
			[]Policy{gate(joining(deny("mallory"), allow("jared"), evicting()))}, nil, nil, 9, whole,
		},
		"a mode that is another one": {
			[]Policy{gate()}, []Policy{gate(joining(allow("jared", "tommy"), deny("mallory"),
				evicting(func(r *EvictRule) { r.Mode = ModePreview })))}, nil, nil, 9, nil,
		},
		"a policy of another name with the same list": {
			[]Policy{gate(byList)}, []Policy{policyNamed("q", 2, on(exact("g")), byList)}, vip("a"), vip("a"), 9, nil,
		},
		"a policy that allowed is gone": {
			[]Policy{gate(), policyNamed("guests", 2, joining(allow("guest", "jared")))}, []Policy{gate()}, nil, nil, 9,
			named("guest"),
		},
		"a policy that denies has come": {
			[]Policy{gate()}, []Policy{gate(), policyNamed("banned", 2, joining(deny("jared", "mallory")))},
			nil, nil, 9, named("jared"),
		},
		"a policy that denies for one trigger has come": {
			[]Policy{gate()},
			[]Policy{gate(), policyNamed("banned", 2, joining(deny("jared"), triggeredBy(TriggerApply)))},
			nil, nil, 9, nil,
		},
		"a prefix allowed less": {
			[]Policy{gate(), policyNamed("staff", 2, joining(prefixed("staff-")))}, []Policy{gate()},
			nil, nil, 9, whole,
		},
		"a prefix in place of two longer ones": {
			[]Policy{gate(), policyNamed("staff", 2, joining(prefixed("staff-1", "staff-2")))},
			[]Policy{gate(), policyNamed("staff", 2, joining(prefixed("staff-")))}, nil, nil, 9, nil,
		},
		"another group": {
			[]Policy{gate(on(prefix("g")))}, []Policy{gate(on(prefix("g")), joining(allow("jared"), evicting()))},
			nil, nil, 9, nil,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before, after := world(tc.before...), world(tc.after...)
			before.Lists, after.Lists = tc.listsBefore, tc.listsAfter
			got := slices.Collect(NewlyRefused(Compile(before).App(appID), Compile(after).App(appID), tc.limit))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("NewlyRefused (-want,+got):\n%s", diff)
			}
		})
	}
	t.Run("an app that is new", func(t *testing.T) {
		got := slices.Collect(NewlyRefused(nil, Compile(world(gate())).App(appID), 9))
		if diff := cmp.Diff(whole, got); diff != "" {
			t.Errorf("NewlyRefused (-want,+got):\n%s", diff)
		}
	})
	t.Run("an app that is gone", func(t *testing.T) {
		if got := slices.Collect(NewlyRefused(Compile(world(gate())).App(appID), nil, 9)); got != nil {
			t.Errorf("NewlyRefused = %v, want none", got)
		}
	})
}

func prefixed(prefixes ...string) func(*JoinSection) {
	return func(j *JoinSection) { j.Allow = &AccountSelector{Prefixes: prefixes} }
}
