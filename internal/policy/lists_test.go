package policy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/accounts"
)

var everyShard = Requirement{Key: "list", Op: OpIn, Values: []string{"vip"}}

// shardedInput is one policy over a selector of that many lists, each of that many accounts.
func shardedInput(lists, each int) Input {
	in := world(policyNamed("p", 1, joining(func(j *JoinSection) { j.Allow = byLabels(everyShard) })))
	for i := range lists {
		in.Lists = append(in.Lists, List{
			Object: object(fmt.Sprintf("shard-%06d", i), 0), Labels: map[string]string{"list": "vip"},
			Accounts: numbered(i*each, each),
		})
	}
	return in
}

// numbered returns the accounts account-00000000 and so on, count of them from the one of that number.
func numbered(from, count int) accounts.Set {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("account-%08d", from+i)
	}
	return accounts.NewSet(names)
}

func TestDecideJoinOverShards(t *testing.T) {
	app := Compile(shardedInput(50, 200)).App(appID)
	if more := app.groups.all.sections[0].allow.more; more == nil || len(more.unions) != 1 || len(more.sets) != 0 {
		t.Fatalf("no union of 50 lists: %+v", more)
	}
	for account, want := range map[string]Reason{
		"account-00000000": ReasonAllowed, "account-00009999": ReasonAllowed, "account-00010000": ReasonNotListed,
		"": ReasonNotListed,
	} {
		q := JoinQuery{Group: "g", Account: account}
		if got := app.DecideJoin(q).Reason; got != want {
			t.Errorf("%q: %v, want %v", account, got, want)
		}
		if got := testing.AllocsPerRun(100, func() { app.DecideJoin(q) }); got != 0 {
			t.Errorf("%q: %v allocations, want 0", account, got)
		}
	}
}

// TestUnionsAreShared has selectors that are not the same, but select the same.
func TestUnionsAreShared(t *testing.T) {
	in := shardedInput(10, 20)
	in.Policies = append(in.Policies, policyNamed("q", 2, joining(func(j *JoinSection) {
		j.Allow = byLabels(Requirement{Key: "list", Op: OpExists})
		j.Deny = byLabels(Requirement{Key: "list", Op: OpNotIn, Values: []string{"bad"}})
	})))
	var c Compiler
	sections := c.compile(in).App(appID).groups.all.sections
	used := []*accounts.Union{
		sections[0].allow.more.unions[0], sections[1].allow.more.unions[0], sections[1].deny.more.unions[0],
	}
	references := func() (n int) {
		for _, u := range c.lists.unions.inUse {
			n += u.users
		}
		return n
	}
	if used[0] != used[1] || used[1] != used[2] || references() != 3 {
		t.Errorf("three selectors that select the same use the unions %p, %p and %p", used[0], used[1], used[2])
	}
	c.DeletePolicy(in.Policies[1].Namespace, in.Policies[1].Name)
	c.Build()
	if len(c.lists.unions.inUse) != 1 || references() != 1 {
		t.Errorf("%d unions with %d references are left of one selector", len(c.lists.unions.inUse), references())
	}
	for _, l := range in.Lists[minUnited-1:] {
		c.DeleteList(l.Namespace, l.Name)
	}
	c.Build()
	if u := c.lists.unions; len(u.inUse) != 0 || u.accounts != 0 {
		t.Errorf("%d unions of %d accounts are left, and nothing that uses them", len(u.inUse), u.accounts)
	}
}

// TestAnEditOfAPolicyKeepsTheUnion counts on what makes such an edit cheap.
func TestAnEditOfAPolicyKeepsTheUnion(t *testing.T) {
	var c Compiler
	in := shardedInput(10, 20)
	of := func(s *Snapshot) *accounts.Union { return s.App(appID).groups.all.sections[0].allow.more.unions[0] }
	before := of(c.compile(in))
	in.Policies[0].Generation++
	in.Policies[0].Join.Reject.Code = 10111
	c.SetPolicy(in.Policies[0])
	if of(c.Build()) != before {
		t.Error("the union was made again")
	}
}

// TestUnionsAreBounded has ever more selectors that select nearly the same. Those that find no room decide as the
// others do.
func TestUnionsAreBounded(t *testing.T) {
	const lists, each = 20, 10
	in := shardedInput(lists, each)
	for i := range in.Lists {
		in.Lists[i].Labels["n"] = fmt.Sprint(i)
		in.Policies = append(in.Policies, policyNamed(fmt.Sprint("without-", i), i, on(exact(fmt.Sprint(i))),
			joining(func(j *JoinSection) {
				j.Allow = byLabels(everyShard, Requirement{Key: "n", Op: OpNotIn, Values: []string{fmt.Sprint(i)}})
			})))
	}
	in.Policies = in.Policies[1:]
	var queries []JoinQuery
	for group := range lists {
		for account := range lists {
			queries = append(queries, JoinQuery{
				Group: fmt.Sprint(group), Account: fmt.Sprintf("account-%08d", account*each),
			})
		}
	}
	united := func(s *Snapshot) (groups []string) {
		for i := range lists {
			if more := s.App(appID).groups.exact[fmt.Sprint(i)].sections[0].allow.more; len(more.unions) > 0 {
				groups = append(groups, fmt.Sprint(i))
			}
		}
		return groups
	}
	var c Compiler
	bounded := c.compile(in)
	if n := len(united(bounded)); n != unionsPerAccount || c.lists.unions.accounts > unionsPerAccount*lists*each {
		t.Errorf("%d of %d overlapping selectors have a union", n, lists)
	}
	if diff := cmp.Diff(united(bounded), united(Compile(shuffled(in, 7)))); diff != "" {
		t.Errorf("another order, other unions (-want,+got):\n%s", diff)
	}
	// Where one of them goes, the next one moves in.
	first := in.Policies[slices.IndexFunc(in.Policies,
		func(p Policy) bool { return "without-"+united(bounded)[0] == p.Name })]
	c.DeletePolicy(first.Namespace, first.Name)
	c.Build()
	if n, crowded := len(c.lists.unions.inUse), len(c.lists.crowded); n != unionsPerAccount ||
		crowded != lists-1-unionsPerAccount {
		t.Errorf("after one has gone %d selectors have a union, and %d wait for one", n, crowded)
	}
	c.SetPolicy(first)
	c.Build()
	var none Compiler
	none.lists.unions.accounts = 1 << 40
	without := none.compile(in)
	if len(united(without)) != 0 {
		t.Error("unions beyond the bound")
	}
	if diff := cmp.Diff(dump(without, queries), dump(bounded, queries)); diff != "" {
		t.Errorf("a snapshot with unions says something else (-without,+with):\n%s", diff)
	}
	for i, q := range queries {
		want := ReasonAllowed
		if group, list := i/lists, i%lists; group == list {
			want = ReasonNotListed
		}
		if got := bounded.App(appID).DecideJoin(q).Reason; got != want {
			t.Errorf("%s in group %s: %v, want %v", q.Account, q.Group, got, want)
		}
	}
}

// TestUnionsOfOneFingerprint asks for a union of sets that another one's content seems to be.
func TestUnionsOfOneFingerprint(t *testing.T) {
	var x unions
	var sets []accounts.Named
	for _, l := range shardedInput(10, 20).Lists {
		sets = append(sets, accounts.Named{Name: l.Name, Accounts: l.Accounts})
	}
	first := x.swap(nil, &resolution{sets: sets, content: 42}, 1000)
	others := slices.Clone(sets)
	others[3].Accounts = accounts.NewSet([]string{"mallory"})
	if got := x.swap(nil, &resolution{sets: others, content: 42}, 1000); got == first {
		t.Error("two contents with one fingerprint share a union")
	}
}
