package policy

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/internal/accounts"
)

// explainsAsTheModel compares an explanation with the verdict, and with what the model says of each policy.
func explainsAsTheModel(t *rapid.T, c *Compiler, model naive, app *App, q JoinQuery) {
	e, ok := c.ExplainJoin(app.Namespace, app.Name, q)
	want := c.Build().AppNamed(app.Namespace, app.Name).DecideJoin(q)
	if !ok || e.Verdict != want {
		t.Fatalf("ExplainJoin(%+v) is %t, %+v, but DecideJoin is %+v", q, ok, e.Verdict, want)
	}
	if e.Verdict.Reason == ReasonPruned {
		if e.Run == "" || !e.Until.After(q.Now) || len(e.Opinions) > 0 {
			t.Fatalf("ExplainJoin(%+v): refused by %q until %s, %d opinions", q, e.Run, e.Until, len(e.Opinions))
		}
		return
	}
	var policies []Policy
	for _, p := range model.matching(app, q.Group) {
		if p.Join != nil {
			policies = append(policies, p)
		}
	}
	if len(policies) != len(e.Opinions) {
		t.Fatalf("ExplainJoin(%+v): %d opinions, want those of %d policies", q, len(e.Opinions), len(policies))
	}
	for i, p := range policies {
		o := e.Opinions[i]
		if o.Policy.Key() != p.Key() {
			t.Fatalf("opinion %d is that of %s, want %s", i, o.Policy.Key(), p.Key())
		}
		typed := q.Type == TypeUnknown || model.typeListed(p, q.Type)
		triggered := p.Join.Triggers == 0 || p.Join.Triggers>>q.Trigger&1 == 1
		if o.Speaks() != (typed && triggered && !p.Join.Audit) {
			t.Fatalf("%s speaks: %t: %+v", p.Key(), o.Speaks(), o)
		}
		if !typed || !triggered {
			continue
		}
		allows := !model.invalid(p) && model.selects(p.Namespace, p.Join.Allow, q.Account)
		denies := model.selects(p.Namespace, p.Join.Deny, q.Account)
		if o.Allows != allows || o.Denies != denies || len(o.AllowedBy) > 0 != allows || len(o.DeniedBy) > 0 != denies {
			t.Fatalf("%s allows %t and denies %t, want %t and %t: %+v", p.Key(), o.Allows, o.Denies, allows, denies, o)
		}
		for _, by := range slices.Concat(o.AllowedBy, o.DeniedBy) {
			checkSource(t, model, p, q.Account, by)
		}
	}
}

// TestExplanationsAgreeWithDecisions compares more than a million: for each of 100 inputs, all queries about its apps.
func TestExplanationsAgreeWithDecisions(t *testing.T) {
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		var c Compiler
		in := drawInput(t)
		c.Set(in)
		snapshot := c.Build()
		for _, app := range in.Apps {
			compiled := snapshot.AppNamed(app.Namespace, app.Name)
			if compiled == nil {
				continue // another IMApp holds its SDKAppID
			}
			for q := range someQueries() {
				want := compiled.DecideJoin(q)
				if e, ok := c.ExplainJoin(app.Namespace, app.Name, q); !ok || e.Verdict != want {
					t.Fatalf("ExplainJoin(%+v) is %t, %+v, but DecideJoin is %+v", q, ok, e.Verdict, want)
				}
				compared++
			}
		}
	})
	t.Logf("%d explanations and decisions", compared)
}

// someQueries are 11,520.
func someQueries() iter.Seq[JoinQuery] {
	return func(yield func(JoinQuery) bool) {
		for _, group := range slices.Concat(someGroups, []string{"abcd", "c"}) {
			for _, account := range slices.Concat(someAccounts, []string{"stranger"}) {
				for n := range 4 * 3 * 2 * 6 {
					q := JoinQuery{
						Group: group, Account: account,
						Type:     []GroupType{TypeUnknown, TypeWork, TypePublic, TypeCommunity}[n%4],
						Trigger:  []Trigger{TriggerApply, TriggerInvite, TriggerRESTAPI}[n/4%3],
						Operator: []string{"administrator", "jared"}[n/12%2],
						Now:      now.Add(time.Duration(n/24-1) * time.Second),
					}
					if !yield(q) {
						return
					}
				}
			}
		}
	}
}

// checkSource tests that what names an account, as an explanation says, does.
func checkSource(t *rapid.T, model naive, p Policy, account, by string) {
	selector := p.Join.Allow
	if strings.HasPrefix(by, "join.deny") {
		selector = p.Join.Deny
	}
	_, list, named := strings.Cut(by, "AccountList ")
	list, _, _ = strings.Cut(list, ",")
	switch {
	case strings.Contains(by, ".accountPrefixes "):
		named = slices.ContainsFunc(selector.Prefixes, func(prefix string) bool {
			return strings.HasSuffix(by, " "+strconv.Quote(prefix)) && strings.HasPrefix(account, prefix)
		})
	case strings.HasSuffix(by, ".accounts"):
		named = slices.Contains(selector.Accounts, account)
	case named:
		at := slices.IndexFunc(model.in.Lists, func(l List) bool {
			return l.Namespace == p.Namespace && l.Name == list
		})
		named = at >= 0 && slices.Contains(slices.Collect(model.in.Lists[at].Accounts.All()), account)
	}
	if !named {
		t.Fatalf("%s: %q does not name %q", p.Key(), by, account)
	}
}

func TestExplainJoinSaysWhichListAndPrefix(t *testing.T) {
	var c Compiler
	c.Set(Input{
		Apps: []App{prodApp()},
		Lists: []List{
			{Object: object("vips", 1), Accounts: accounts.NewSet([]string{"jared"})},
			{Object: object("banned", 2), Accounts: accounts.NewSet([]string{"jared"})},
		},
		Policies: []Policy{{
			Object: object("vip", 3), App: "prod",
			Groups: []GroupMatcher{prefix("vip-"), all()},
			Join: &JoinSection{
				Allow: &AccountSelector{Accounts: []string{"jared"}, Lists: []ListRef{{Name: "vips"}}},
				Deny:  &AccountSelector{Prefixes: []string{"ja"}, Lists: []ListRef{{Name: "banned"}}},
			},
		}},
	})
	c.Build()
	e, ok := c.ExplainJoin("chat", "prod", JoinQuery{Group: "vip-1", Account: "jared", Now: time.Unix(1, 0)})
	if !ok || e.Verdict.Reason != ReasonDenied || e.Verdict.Step() != 1 || len(e.Opinions) != 1 {
		t.Fatalf("ExplainJoin: %t, %+v", ok, e)
	}
	o := e.Opinions[0]
	if want := (GroupMatcher{Kind: MatchPrefix, Value: "vip-"}); o.Matcher != want {
		t.Errorf("matcher %v, want the most specific one, %v", o.Matcher, want)
	}
	allowed := []string{"join.allow.accounts", "join.allow.lists: AccountList vips"}
	if diff := cmp.Diff(allowed, o.AllowedBy); diff != "" {
		t.Errorf("AllowedBy (-want,+got):\n%s", diff)
	}
	want := []string{`join.deny.accountPrefixes "ja"`, "join.deny.lists: AccountList banned"}
	if diff := cmp.Diff(want, o.DeniedBy); diff != "" {
		t.Errorf("DeniedBy (-want,+got):\n%s", diff)
	}
	if _, ok := c.ExplainJoin("chat", "other", JoinQuery{}); ok {
		t.Error("an app that does not exist is explained")
	}
}
