package policy

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Few words, so that what is drawn meets.
var (
	someGroups   = []string{"", "a", "ab", "abc", "abd", "b", "ba", "@TGS#1"}
	somePrefixes = []string{"a", "ab", "abc", "b", "@"}
	someAccounts = []string{"jared", "jar", "tommy", "mallory", "staff-1", "staff-2", "administrator"}
	accountStems = []string{"j", "jar", "staff-", "m"}
	someLists    = []string{"l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8"} // more than are asked one after the other
	someNames    = []string{"p1", "p2", "p3", "p4", "p5", "p6"}
	someApps     = []string{"prod", "copy"}
	someSpaces   = []string{"chat", "other"}
)

func some[T any](t *rapid.T, label string, from []T, atMost int) []T {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, atMost).Draw(t, label)
}

func drawObject(t *rapid.T, names []string) Object {
	o := Object{
		Namespace: rapid.SampledFrom(someSpaces).Draw(t, "namespace"), Name: rapid.SampledFrom(names).Draw(t, "name"),
		Generation: 1,
		Created:    t0.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Second),
	}
	o.UID = o.Key()
	return o
}

func drawSelector(t *rapid.T) *AccountSelector {
	if rapid.IntRange(0, 2).Draw(t, "selector") == 0 {
		return nil
	}
	a := &AccountSelector{Accounts: some(t, "accounts", someAccounts, 3), Prefixes: some(t, "stems", accountStems, 1)}
	for range rapid.IntRange(0, 2).Draw(t, "lists") {
		if rapid.Bool().Draw(t, "by name") {
			a.Lists = append(a.Lists, ListRef{Name: rapid.SampledFrom(someLists).Draw(t, "list")})
			continue
		}
		s := Selector{{
			Key:    rapid.SampledFrom([]string{"x", "y"}).Draw(t, "key"),
			Op:     rapid.SampledFrom([]Operator{OpIn, OpNotIn, OpExists, OpDoesNotExist}).Draw(t, "op"),
			Values: some(t, "values", []string{"1", "2"}, 2),
		}}
		a.Lists = append(a.Lists, ListRef{Selector: &s})
	}
	if rapid.IntRange(0, 19).Draw(t, "unreadable") == 0 {
		a.Invalid = "bad"
	}
	return a
}

func drawPolicy(t *rapid.T) Policy {
	p := Policy{Object: drawObject(t, someNames), App: rapid.SampledFrom(append(someApps, "none")).Draw(t, "app")}
	for range rapid.IntRange(1, 3).Draw(t, "groups") {
		m := GroupMatcher{
			Kind: rapid.SampledFrom([]MatchKind{MatchExact, MatchPrefix, MatchPrefix, MatchAll}).Draw(t, "kind"),
		}
		switch m.Kind {
		case MatchExact:
			m.Value = rapid.SampledFrom(someGroups).Draw(t, "group")
		case MatchPrefix:
			m.Value = rapid.SampledFrom(somePrefixes).Draw(t, "prefix")
		}
		p.Groups = append(p.Groups, m)
	}
	p.Types = NewTypeSet(some(t, "types", []GroupType{TypeWork, TypePublic}, 2)...)
	if rapid.IntRange(0, 3).Draw(t, "join") > 0 {
		p.Join = &JoinSection{
			Audit:    rapid.IntRange(0, 3).Draw(t, "audit") == 0,
			Triggers: NewTriggerSet(some(t, "triggers", []Trigger{TriggerApply, TriggerInvite, TriggerRESTAPI}, 2)...),
			Allow:    drawSelector(t), Deny: drawSelector(t),
			Reject: Rejection{
				Code: rapid.SampledFrom([]int32{0, 1, 10100, 10110, 10200, 10201}).Draw(t, "code"), Message: p.Key(),
			},
		}
		drawEvict(t, p.Join)
	}
	if rapid.IntRange(0, 3).Draw(t, "prune") > 0 {
		p.Prune = &PruneRule{
			Mode: ModeEnforce, InactiveFor: time.Duration(rapid.SampledFrom([]int{1, 10, 30, 30, 30}).Draw(t,
				"days")) * day,
			FreeSeats:   Seats{Percent: rapid.IntRange(1, 100).Draw(t, "percent")},
			MaxRemovals: rapid.IntRange(1, 5).Draw(t, "max"), MaxRemovalsPerDay: 1000, Protect: drawSelector(t),
		}
		if rapid.Bool().Draw(t, "count") {
			p.Prune.FreeSeats = Seats{Count: rapid.IntRange(1, 12).Draw(t, "seats")}
		}
		if rapid.IntRange(0, 19).Draw(t, "bad rule") == 0 {
			p.Prune.InactiveFor = time.Hour
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "invalid") == 0 {
		p.Invalid = "bad"
	}
	return p
}

// drawEvict adds an eviction rule to some sections, and makes nearly all of those fit for one.
func drawEvict(t *rapid.T, j *JoinSection) {
	if rapid.Bool().Draw(t, "stays") {
		return
	}
	j.Evict = &EvictRule{
		Mode: ModeEnforce, Grace: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 10}).Draw(t, "grace")) * day,
		Interval:    time.Duration(rapid.IntRange(1, 3).Draw(t, "interval")) * time.Hour,
		MaxRemovals: rapid.IntRange(1, 5).Draw(t, "max"), MaxRemovalsPerDay: 1000,
	}
	if rapid.IntRange(0, 19).Draw(t, "bad rule") == 0 {
		j.Evict.Grace = 31 * day
	}
	if rapid.IntRange(0, 9).Draw(t, "unfit") == 0 {
		return
	}
	j.Audit, j.Triggers = false, 0
	if rapid.Bool().Draw(t, "all triggers") {
		j.Triggers = everyTrigger
	}
	if j.Allow != nil && len(j.Allow.Accounts)+len(j.Allow.Prefixes)+len(j.Allow.Lists) == 0 || j.Deny == nil {
		j.Allow = naming(rapid.SampledFrom(someAccounts).Draw(t, "allowed"))
	}
}

func drawList(t *rapid.T) List {
	return List{
		Object: drawObject(t, someLists), Accounts: accounts.NewSet(some(t, "accounts", someAccounts, 4)),
		Labels: rapid.MapOfN(rapid.SampledFrom([]string{"x", "y"}), rapid.SampledFrom([]string{"1", "2"}), 0, 2).Draw(t,
			"labels"),
	}
}

func drawApp(t *rapid.T) App {
	return App{
		Object: drawObject(t, someApps), SDKAppID: uint64(rapid.IntRange(1, 2).Draw(t, "id")),
		AdminAccount: rapid.SampledFrom([]string{"administrator", "administrator", "administrator", ""}).Draw(t,
			"admin"),
		RejectUnmatched: rapid.Bool().Draw(t, "reject"), SecretFound: rapid.Bool().Draw(t, "secret"),
		Tokens: rapid.SampledFrom([][]Token{
			nil, {{Name: TokenCurrent, Value: "t"}}, {{Name: TokenPrevious, Value: "t"}},
		}).Draw(t, "tokens"),
		Unconfirmed: rapid.IntRange(0, 3).Draw(t, "unconfirmed") == 0,
	}
}

func drawRecord(t *rapid.T) Refusal {
	r := Refusal{
		Namespace: rapid.SampledFrom(someSpaces).Draw(t, "namespace"),
		App:       rapid.SampledFrom(append(someApps, "none")).Draw(t, "app"),
		Group:     rapid.SampledFrom(someGroups).Draw(t, "group"),
		SDKAppID:  uint64(rapid.IntRange(0, 3).Draw(t, "id")),
		UID:       fmt.Sprint("run-", rapid.IntRange(1, 20).Draw(t, "run")),
		Run:       "a-run",
		Accounts:  some(t, "accounts", someAccounts, 4), Restoring: rapid.IntRange(0, 2).Draw(t, "restoring") == 0,
		Restored: rapid.IntRange(0, 2).Draw(t, "restored") == 0,
		Reject: Rejection{
			Code:    rapid.SampledFrom([]int32{0, 1, 10100, 10110, 10200, 10201}).Draw(t, "code"),
			Message: rapid.SampledFrom([]string{"", "m", "n"}).Draw(t, "message"),
		},
	}
	if rapid.IntRange(0, 4).Draw(t, "refusing") > 0 {
		r.Until = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "until")) * time.Second)
	}
	return r
}

func drawInput(t *rapid.T) Input {
	key := func(o Object) string { return o.Key() }
	return Input{
		Apps: rapid.SliceOfNDistinct(rapid.Custom(drawApp), 1, 4,
			func(a App) string { return key(a.Object) }).Draw(t, "apps"),
		Lists: rapid.SliceOfNDistinct(rapid.Custom(drawList), 0, 12,
			func(l List) string { return key(l.Object) }).Draw(t, "lists"),
		Policies: rapid.SliceOfNDistinct(rapid.Custom(drawPolicy), 0, 10,
			func(p Policy) string { return key(p.Object) }).Draw(t, "policies"),
		Refusals: rapid.SliceOfNDistinct(rapid.Custom(drawRecord), 0, 8,
			func(r Refusal) string { return r.UID }).Draw(t, "records"),
	}
}

func drawQuery(t *rapid.T) JoinQuery {
	return JoinQuery{
		Group:   rapid.SampledFrom(append(someGroups, "abcd", "c")).Draw(t, "group"),
		Type:    rapid.SampledFrom([]GroupType{TypeUnknown, TypeWork, TypePublic, TypeCommunity}).Draw(t, "type"),
		Account: rapid.SampledFrom(append(someAccounts, "stranger")).Draw(t, "account"),
		Trigger: rapid.SampledFrom([]Trigger{TriggerApply, TriggerInvite, TriggerRESTAPI}).Draw(t, "trigger"),

		Operator: rapid.SampledFrom([]string{"administrator", "administrator", "", "jared"}).Draw(t, "operator"),
		Now:      now.Add(time.Duration(rapid.IntRange(-1, 4).Draw(t, "now")) * time.Second),
		Reported: rapid.Bool().Draw(t, "reported"),
	}
}

func drawTime(t *rapid.T, label string) time.Time {
	switch rapid.IntRange(0, 9).Draw(t, label+" kind") {
	case 0:
		return time.Time{}
	case 1:
		return now.Add(time.Second)
	}
	return ago(time.Duration(rapid.IntRange(0, 32).Draw(t, label)) * day)
}

func drawMember(t *rapid.T) Member {
	return Member{
		Account: rapid.SampledFrom(append(someAccounts, "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9")).Draw(t,
			"account"),
		Role: rapid.SampledFrom([]Role{RoleMember, RoleMember, RoleMember, RoleMember, RoleOwner, RoleAdmin,
			RoleUnknown}).Draw(t, "role"),
		Joined: drawTime(t, "joined"), LastSpoke: drawTime(t, "spoke"),
		MuteUntil:     rapid.SampledFrom([]time.Time{{}, {}, {}, now, ago(-time.Second), ago(day)}).Draw(t, "mute"),
		ActivityKnown: rapid.IntRange(0, 9).Draw(t, "known") > 0,
	}
}

func TestDecideJoinIsTheModel(t *testing.T) { rapid.Check(t, decidesAsTheModel) }

func decidesAsTheModel(t *rapid.T) {
	in := drawInput(t)
	var c Compiler
	c.Set(in)
	snapshot, model := c.Build(), naive{in}
	for id := uint64(1); id <= 3; id++ {
		app, holder := snapshot.App(id), model.holder(id)
		if (app == nil) != (holder == nil) {
			t.Fatalf("app %d: compiled %v, model %v", id, app, holder)
		}
		if app == nil {
			continue
		}
		if app.Object().Key() != holder.Key() {
			t.Fatalf("app %d is held by %s, want %s", id, app.Object().Key(), holder.Key())
		}
		for range 10 {
			q := drawQuery(t)
			if diff := cmp.Diff(model.decide(holder, q), app.DecideJoin(q)); diff != "" {
				t.Fatalf("%s: DecideJoin(%+v) (-want,+got):\n%s", holder.Key(), q, diff)
			}
			explainsAsTheModel(t, &c, model, holder, q)
		}
	}
}

func TestPruningIsTheModel(t *testing.T) { rapid.Check(t, prunesAsTheModel) }

func prunesAsTheModel(t *rapid.T) {
	in := drawInput(t)
	snapshot, model := Compile(in), naive{in}
	holder := model.holder(in.Apps[0].SDKAppID)
	app := snapshot.App(holder.SDKAppID)
	group, groupType := drawQuery(t).Group, drawQuery(t).Type

	if got, want := app.MayPrune(group), model.mayPrune(holder, group); got != want {
		t.Fatalf("MayPrune(%q) = %t, want %t", group, got, want)
	}
	g, governed := app.GoverningRule(group, groupType)
	rules := model.pruning(holder, group, groupType)
	if governed != (len(rules) > 0) {
		t.Fatalf("governed: %t, want %t", governed, len(rules) > 0)
	}
	if !governed {
		return
	}
	if g.Policy.Name != rules[0].Name || (g.Invalid != "") != model.invalid(rules[0]) ||
		(len(g.Unresolved) > 0) != model.unresolved(holder, group, groupType) {
		t.Fatalf("governed by %s (%q, %q), want %s (%t, %t)", g.Policy.Name, g.Invalid, g.Unresolved,
			rules[0].Name, model.invalid(rules[0]), model.unresolved(holder, group, groupType))
	}
	for _, account := range someAccounts {
		if got, want := g.Protects(account), model.protects(holder, group, groupType, account); got != want {
			t.Fatalf("Protects(%s) = %t, want %t", account, got, want)
		}
	}

	state := GroupState{
		Type: groupType, Members: rapid.IntRange(0, 20).Draw(t, "members"),
		MaxMembers:    rapid.IntRange(0, 20).Draw(t, "limit"),
		MuteAllMember: rapid.IntRange(0, 9).Draw(t, "mute all") == 0,
		SupportTopic:  rapid.IntRange(0, 9).Draw(t, "topics") == 0,
	}
	members := rapid.SliceOfN(rapid.Custom(drawMember), 0, 20).Draw(t, "list")
	budget := rapid.SampledFrom([]int{math.MaxInt, 3, 1, 0, -1}).Draw(t, "budget")
	plan, err := PlanPrune(&g, state, budget, listed(members...), now)
	want := model.plan(holder, group, state, budget, members, now)
	if (err != nil) != (want == nil) {
		t.Fatalf("PlanPrune: error %v, want a plan: %t", err, want != nil)
	}
	if want == nil {
		if !errors.Is(err, ErrActivityUnknown) && !errors.Is(err, ErrRuleUnusable) {
			t.Fatalf("PlanPrune: %v", err)
		}
		return
	}
	if diff := cmp.Diff(*want, plan); diff != "" {
		t.Fatalf("PlanPrune (-want,+got):\n%s", diff)
	}

	current := map[string]Member{}
	for _, r := range plan.Removals {
		m := drawMember(t)
		m.Account = r.Account
		if rapid.Bool().Draw(t, "as planned") {
			m = Member{Account: r.Account, Role: RoleMember, Joined: r.LastActive, ActivityKnown: true}
		}
		if rapid.IntRange(0, 4).Draw(t, "left") > 0 {
			current[r.Account] = m
		}
	}
	later := now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "later")) * time.Second)
	var wantRemove []string
	for _, r := range plan.Removals {
		if model.goes(holder, group, groupType, r, current, later) {
			wantRemove = append(wantRemove, r.Account)
		}
	}
	remove, kept := g.Recheck(plan.Removals, current, later)
	if diff := cmp.Diff(wantRemove, remove); diff != "" {
		t.Fatalf("Recheck (-want,+got):\n%s", diff)
	}
	if len(remove)+len(kept) != len(plan.Removals) {
		t.Fatalf("Recheck: %d go and %d stay of %d", len(remove), len(kept), len(plan.Removals))
	}
}

func TestPruneOverriddenIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		snapshot, model := Compile(in), naive{in}
		for _, p := range in.Policies {
			got, _ := snapshot.PolicyVerdict(p.Namespace, p.Name, p.UID)
			if got.Acceptance == TargetNotFound {
				continue
			}
			by, matcher := model.overridden(p)
			if got.OverriddenBy != by || by != "" && got.OverriddenMatcher != matcher.String() {
				t.Fatalf("%s is overridden by %q in %q, want %q in %q", p.Key(), got.OverriddenBy,
					got.OverriddenMatcher, by, matcher)
			}
		}
	})
}

func allQueries() []JoinQuery {
	var queries []JoinQuery
	for i, group := range someGroups {
		for j, account := range someAccounts {
			queries = append(queries, JoinQuery{
				Group: group, Account: account, Type: GroupType(i % 3), Trigger: Trigger(j % 3),
				Operator: "administrator", Now: now.Add(time.Duration(i%3) * time.Second),
			})
		}
	}
	return queries
}

func shuffled(in Input, seed uint64) Input {
	r := rand.New(rand.NewPCG(seed, 0))
	out := Input{
		Apps: slices.Clone(in.Apps), Lists: slices.Clone(in.Lists), Policies: slices.Clone(in.Policies),
		Refusals: slices.Clone(in.Refusals),
	}
	r.Shuffle(len(out.Apps), func(i, j int) { out.Apps[i], out.Apps[j] = out.Apps[j], out.Apps[i] })
	r.Shuffle(len(out.Lists), func(i, j int) { out.Lists[i], out.Lists[j] = out.Lists[j], out.Lists[i] })
	r.Shuffle(len(out.Policies), func(i, j int) { out.Policies[i], out.Policies[j] = out.Policies[j], out.Policies[i] })
	r.Shuffle(len(out.Refusals), func(i, j int) { out.Refusals[i], out.Refusals[j] = out.Refusals[j], out.Refusals[i] })
	return out
}

// distinct returns the first object of each name.
func distinct[T any](objects []T, name func(T) string) []T {
	known := map[string]bool{}
	return slices.DeleteFunc(objects, func(object T) bool {
		again := known[name(object)]
		known[name(object)] = true
		return again
	})
}

// drawNonsense draws an input that no API server would let pass.
func drawNonsense(t *rapid.T) Input {
	in := drawInput(t)
	number := rapid.OneOf(rapid.IntRange(-2, 300), rapid.SampledFrom([]int{math.MaxInt, math.MinInt, math.MaxInt32}))
	odd := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	word := rapid.SampledFrom([]string{"", "a", "jared", "\xff", string(make([]byte, 300))})
	for i := range in.Policies {
		p := &in.Policies[i]
		if odd("groups") {
			p.Groups = append(p.Groups, GroupMatcher{
				Kind: MatchKind(rapid.Byte().Draw(t, "kind")), Value: word.Draw(t, "value"),
			})
			p.Types = TypeSet(rapid.Byte().Draw(t, "types"))
		}
		if odd("object") {
			p.UID, p.Name, p.Generation = word.Draw(t, "uid"), word.Draw(t, "name"), int64(number.Draw(t, "generation"))
			p.Created = time.Unix(int64(number.Draw(t, "created")), 0)
		}
		if p.Join != nil && odd("join") {
			p.Join.Triggers = TriggerSet(rapid.Byte().Draw(t, "triggers"))
			p.Join.Reject.Code = int32(number.Draw(t, "code"))
			p.Join.Allow = &AccountSelector{
				Accounts: []string{word.Draw(t, "x"), word.Draw(t, "y")}, Prefixes: []string{word.Draw(t, "z")},
				Lists: []ListRef{{}, {Selector: &Selector{{}}}},
			}
		}
		if p.Prune != nil && odd("rule") {
			p.Prune.Mode = PruneMode(rapid.Byte().Draw(t, "mode"))
			p.Prune.InactiveFor = time.Duration(number.Draw(t, "inactive"))
			p.Prune.FreeSeats = Seats{Count: number.Draw(t, "count"), Percent: number.Draw(t, "percent")}
			p.Prune.MaxRemovals = number.Draw(t, "max")
		}
	}
	for i := range in.Lists {
		if odd("list") {
			l := &in.Lists[i]
			l.UID, l.Name = word.Draw(t, "uid"), word.Draw(t, "name")
			l.Accounts = accounts.NewSet(append(slices.Collect(l.Accounts.All()), word.Draw(t, "account")))
		}
	}
	for i := range in.Refusals {
		if odd("record") {
			r := &in.Refusals[i]
			r.UID, r.Group = word.Draw(t, "uid"), word.Draw(t, "group")
			r.Until = time.Unix(int64(number.Draw(t, "until")), 0)
			r.Reject.Code = int32(number.Draw(t, "code"))
			r.Accounts = append(r.Accounts, word.Draw(t, "account"))
		}
	}
	in.Refusals = distinct(in.Refusals, func(r Refusal) string { return r.UID })
	in.Policies = distinct(in.Policies, func(p Policy) string { return p.Key() })
	in.Lists = distinct(in.Lists, func(l List) string { return l.Key() })
	in.Apps[0].Tokens, in.Apps[0].Created = nil, time.Time{}
	return in
}

// compilesAnything asks for nothing but sense: no panic, one snapshot for every order, and no way through a gate.
func compilesAnything(t *rapid.T) {
	in := drawNonsense(t)
	queries := append(allQueries(), JoinQuery{}, JoinQuery{
		Group: "\xff", Type: 200, Account: string(make([]byte, 300)), Trigger: 200,
	})
	var c Compiler
	snapshot := c.compile(in)
	want := dump(snapshot, queries)
	if diff := cmp.Diff(want, dump(Compile(shuffled(in, rapid.Uint64().Draw(t, "shuffle"))), queries)); diff != "" {
		t.Fatalf("another order, another snapshot (-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff(want, dump(c.compile(in), queries)); diff != "" {
		t.Fatalf("a second build, another snapshot (-want,+got):\n%s", diff)
	}
	for app := range snapshot.Apps() {
		for _, q := range queries {
			v := app.DecideJoin(q)
			if v.Admit != (v.Code == 0) || v.Code != 0 && v.Code != 1 && (v.Code < 10100 || v.Code > 10200) ||
				v.Code < 2 && v.Message != "" {
				t.Fatalf("DecideJoin(%+v) = %+v", q, v)
			}
			g, ok := app.GoverningRule(q.Group, q.Type)
			if !ok {
				continue
			}
			members := listed(Member{Account: "talker", Role: RoleMember, ActivityKnown: true, LastSpoke: now},
				member(q.Account, 10000*day, never), member("x", 0, 0))
			state := GroupState{
				Type: q.Type, Members: rapid.Int().Draw(t, "members"), MaxMembers: rapid.Int().Draw(t, "limit"),
			}
			plan, err := PlanPrune(&g, state, math.MaxInt, members, now)
			if err == nil && (g.Invalid != "" || len(plan.Removals) > 1 || plan.Candidates > 1) {
				t.Fatalf("a plan of nonsense: %+v by %+v", plan, g)
			}
		}
	}
}

func TestCompileIsTotal(t *testing.T) { rapid.Check(t, compilesAnything) }

func FuzzCompileDecide(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		if rapid.Bool().Draw(t, "nonsense") {
			compilesAnything(t)
			return
		}
		decidesAsTheModel(t)
		prunesAsTheModel(t)
	}))
}

// benchmarkInput has one list for each policy, and so many accounts in all lists.
func benchmarkInput(policies, size int) Input {
	in := Input{Apps: []App{prodApp()}}
	each := size / policies
	for i := range policies {
		l := List{Object: object(fmt.Sprintf("list-%06d", i), i), Accounts: numbered(i*each, each)}
		in.Lists = append(in.Lists, l)
		p := policyNamed(fmt.Sprintf("policy-%06d", i), i, on(exact(fmt.Sprintf("@TGS#%08d", i))), prune())
		p.Join = &JoinSection{Allow: byListName(l.Name), Reject: Rejection{Code: 10110, Message: "Members only"}}
		in.Policies = append(in.Policies, p)
	}
	return shuffled(in, 1)
}

func BenchmarkDecideJoin(b *testing.B) {
	const policies, size = 10_000, 1_000_000
	app := Compile(benchmarkInput(policies, size)).App(appID)
	queries := make([]JoinQuery, 1<<16)
	for i := range queries {
		group := rand.IntN(policies)
		q := JoinQuery{
			Group: fmt.Sprintf("@TGS#%08d", group), Type: TypePublic,
			Account: fmt.Sprintf("account-%08d", group*(size/policies)+rand.IntN(100)),
		}
		if i%2 == 0 {
			q.Account = fmt.Sprintf("strange-%08d", rand.IntN(size))
		}
		queries[i] = q
	}
	benchmarkDecisions(b, app, queries)
}

func benchmarkDecisions(b *testing.B, app *CompiledApp, queries []JoinQuery) {
	admitted, i := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		if app.DecideJoin(queries[i%len(queries)]).Admit {
			admitted++
		}
	}
	b.ReportMetric(float64(admitted)/float64(b.N), "admitted/op")
}

// BenchmarkDecideJoinShards asks one policy over a selector of 500 lists with 10,000,000 accounts.
func BenchmarkDecideJoinShards(b *testing.B) {
	const lists, each = 500, 20_000
	app := Compile(shardedInput(lists, each)).App(appID)
	queries := make([]JoinQuery, 1<<16)
	for i := range queries {
		queries[i] = JoinQuery{
			Group: "g", Type: TypePublic, Account: fmt.Sprintf("account-%08d", rand.IntN(lists*each)),
		}
		if i%2 == 0 {
			queries[i].Account = fmt.Sprintf("strange-%08d", rand.IntN(lists*each))
		}
	}
	benchmarkDecisions(b, app, queries)
}

// BenchmarkBuild is one build after an edit. See [BenchmarkCompile] for one from nothing.
func BenchmarkBuild(b *testing.B) {
	for _, policies := range []int{1_000, 10_000, 100_000} {
		in := benchmarkInput(policies, 1_000_000)
		var c Compiler
		c.compile(in)
		b.Run(fmt.Sprintf("OnePolicyEdited/%d", policies), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in.Policies[0].Generation++
				c.SetPolicy(in.Policies[0])
				c.Build()
			}
		})
		b.Run(fmt.Sprintf("OneListEdited/%d", policies), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in.Lists[0].Generation++
				c.SetList(in.Lists[0])
				c.Build()
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	in := benchmarkInput(10_000, 1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		Compile(in)
	}
}
