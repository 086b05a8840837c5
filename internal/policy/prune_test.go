package policy

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/accounts"
)

const day = 24 * time.Hour

// now is when the groups of the tests are pruned.
var now = t0.Add(365 * day)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func member(account string, joined, spoke time.Duration) Member {
	m := Member{Account: account, Role: RoleMember, Joined: ago(joined), ActivityKnown: true}
	if spoke != never {
		m.LastSpoke = ago(spoke)
	}
	return m
}

const never = time.Duration(math.MinInt64)

func listed(members ...Member) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		for _, m := range members {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func governing(t *testing.T, in Input, group string, groupType GroupType) *GoverningRule {
	t.Helper()
	g, ok := Compile(in).App(appID).GoverningRule(group, groupType)
	if !ok {
		t.Fatalf("no rule governs %s", group)
	}
	return &g
}

func TestGoverning(t *testing.T) {
	tests := map[string]struct {
		policies  []Policy
		lists     []List
		groupType GroupType
		want      string // name of the policy; empty: none governs
		invalid   string
		missing   []string
		protected []string // of leckie, jared, tommy
		mayPrune  bool
	}{
		"none": {groupType: TypePublic},
		"the highest-ranked that has a rule": {
			policies: []Policy{
				policyNamed("gate", 0, on(exact("vip-1")), joining()),
				policyNamed("all", 0, prune()), policyNamed("low", 1, on(prefix("v")), prune()),
				policyNamed("high", 2, on(prefix("vip-")), prune()),
			},
			groupType: TypePublic, want: "high", mayPrune: true,
		},
		"types filter": {
			policies: []Policy{
				policyNamed("p", 1, on(exact("vip-1")), ofTypes(TypeWork), prune()),
				policyNamed("q", 2, ofTypes(TypePublic), prune()),
			},
			groupType: TypePublic, want: "q", mayPrune: true,
		},
		"types filter everything, the id still matches": {
			policies: []Policy{policyNamed("p", 1, ofTypes(TypeWork), prune())}, groupType: TypePublic, mayPrune: true,
		},
		"an unknown type is never pruned": {
			policies: []Policy{policyNamed("p", 1, prune())}, groupType: TypeUnknown, mayPrune: true,
		},
		"a type out of range is never pruned": {
			policies: []Policy{policyNamed("p", 1, prune())}, groupType: 99, mayPrune: true,
		},
		"the protection of every governing rule counts, and of no other": {
			policies: []Policy{
				policyNamed("p", 1, on(exact("vip-1")), prune(protect(naming("leckie")))),
				policyNamed("q", 2, prune(protect(&AccountSelector{Prefixes: []string{"jar"}}))),
				policyNamed("other type", 2, ofTypes(TypeWork), prune(protect(naming("tommy")))),
				policyNamed("other group", 2, on(exact("x")), prune(protect(naming("tommy")))),
			},
			groupType: TypePublic, want: "p", protected: []string{"leckie", "jared"}, mayPrune: true,
		},
		"protection by list": {
			policies:  []Policy{policyNamed("p", 1, prune(protect(byListName("staff"))))},
			lists:     []List{listNamed("staff", nil, "tommy")},
			groupType: TypePublic, want: "p", protected: []string{"tommy"}, mayPrune: true,
		},
		"a missing protect list stops pruning": {
			policies:  []Policy{policyNamed("p", 1, prune(protect(byListName("staff", "more"))))},
			lists:     []List{listNamed("more", nil, "tommy")},
			groupType: TypePublic, want: "p", protected: []string{"tommy"}, mayPrune: true,
			missing: []string{`GroupPolicy "p": AccountList "staff" not found`},
		},
		"a selector without a match stops pruning": {
			policies: []Policy{
				policyNamed("p", 1, on(exact("vip-1")), prune()),
				policyNamed("q", 1, prune(protect(byLabels(Requirement{Key: "list", Op: OpIn,
					Values: []string{"staff"}})))),
			},
			groupType: TypePublic, want: "p", mayPrune: true,
			missing: []string{`GroupPolicy "q": AccountLists selected by "list=staff" not found`},
		},
		"an empty protect list is resolved": {
			policies: []Policy{policyNamed("p", 1, prune(protect(byListName("staff"))))}, lists: []List{
				listNamed("staff", nil),
			},
			groupType: TypePublic, want: "p", mayPrune: true,
		},
		"an empty protect list is resolved by its label": {
			policies: []Policy{policyNamed("p", 1, prune(protect(byLabels(Requirement{Key: "list", Op: OpExists}))))},
			lists:    []List{listNamed("staff", map[string]string{"list": "staff"})}, groupType: TypePublic, want: "p",
			mayPrune: true,
		},
		"a missing list elsewhere stops nothing": {
			policies: []Policy{
				policyNamed("p", 1, prune(), joining(func(j *JoinSection) { j.Allow = byListName("gone") })),
				policyNamed("q", 1, on(exact("other")), prune(protect(byListName("gone")))),
			},
			groupType: TypePublic, want: "p", mayPrune: true,
		},
		"an unreadable protection counts as unresolved, and protects whom it can": {
			policies: []Policy{
				policyNamed("p", 1, on(exact("vip-1")), prune()),
				policyNamed("q", 2, prune(protect(&AccountSelector{Accounts: []string{"tommy"}, Invalid: "bad"}))),
			},
			groupType: TypePublic, want: "p", missing: []string{`GroupPolicy "q": bad`}, protected: []string{"tommy"},
			mayPrune: true,
		},
		"an invalid policy never makes way": {
			policies: []Policy{
				policyNamed("p", 1, on(exact("vip-1")), prune(), func(p *Policy) { p.Invalid = "bad" }),
				policyNamed("q", 2, prune()),
			},
			groupType: TypePublic, want: "p", invalid: "bad", mayPrune: true,
		},
		"only an invalid policy: no run is created": {
			policies:  []Policy{policyNamed("p", 1, prune(), func(p *Policy) { p.Invalid = "bad" })},
			groupType: TypePublic, want: "p", invalid: "bad",
		},
		"a policy that matches twice counts once": {
			policies: []Policy{
				policyNamed("p", 1, on(exact("vip-1"), prefix("vip-"), all()), prune(protect(byListName("staff")))),
			},
			groupType: TypePublic, want: "p", mayPrune: true,
			missing: []string{`GroupPolicy "p": AccountList "staff" not found`},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := world(tc.policies...)
			in.Lists = tc.lists
			app := Compile(in).App(appID)
			g, ok := app.GoverningRule("vip-1", tc.groupType)
			if g.Policy.Name != tc.want || ok != (tc.want != "") || g.Invalid != tc.invalid {
				t.Errorf("governed by %q (%t, invalid %q), want %q (invalid %q)", g.Policy.Name, ok, g.Invalid, tc.want,
					tc.invalid)
			}
			if diff := cmp.Diff(tc.missing, g.Unresolved); diff != "" {
				t.Errorf("Unresolved (-want,+got):\n%s", diff)
			}
			for _, account := range []string{"leckie", "jared", "tommy"} {
				if got, want := g.Protects(account), slices.Contains(tc.protected, account); got != want {
					t.Errorf("Protects(%s) = %t, want %t", account, got, want)
				}
			}
			if got := app.MayPrune("vip-1"); got != tc.mayPrune {
				t.Errorf("MayPrune = %t, want %t", got, tc.mayPrune)
			}
		})
	}
}

func TestGoverningRule(t *testing.T) {
	p := policyNamed("p", 1, prune(protect(naming("leckie"))))
	g := governing(t, world(p), "g", TypeWork)
	want := *p.Prune
	want.Protect = nil
	if diff := cmp.Diff(want, g.Rule); diff != "" {
		t.Errorf("Rule (-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff(p.Object, g.Policy); diff != "" {
		t.Errorf("Policy (-want,+got):\n%s", diff)
	}
	if !g.Protects("administrator") {
		t.Error("the admin account is not protected")
	}
}

func TestExactPruneGroups(t *testing.T) {
	app := Compile(world(
		policyNamed("p", 1, on(exact("b"), exact("a"), prefix("c"), all()), prune()),
		policyNamed("q", 2, on(exact("b"), exact("A")), prune()),
		policyNamed("gate", 2, on(exact("gate")), joining()),
		policyNamed("bad", 2, on(exact("bad")), prune(), func(p *Policy) { p.Invalid = "bad" }),
	)).App(appID)
	if diff := cmp.Diff([]string{"A", "a", "b"}, slices.Collect(app.ExactPruneGroups())); diff != "" {
		t.Errorf("ExactPruneGroups (-want,+got):\n%s", diff)
	}
}

func TestPrunesByPattern(t *testing.T) {
	invalid := func(p *Policy) { p.Invalid = "bad" }
	tests := map[string]struct {
		policies []Policy
		want     bool
	}{
		"no policy": {},
		"exact":     {policies: []Policy{policyNamed("p", 1, on(exact("a")), prune())}},
		"prefix": {
			policies: []Policy{policyNamed("p", 1, on(exact("a"), prefix("b")), prune())}, want: true,
		},
		"all":         {policies: []Policy{policyNamed("p", 1, on(all()), prune())}, want: true},
		"a gate only": {policies: []Policy{policyNamed("p", 1, on(prefix("a"), all()), joining())}},
		"an invalid rule": {
			policies: []Policy{policyNamed("p", 1, on(prefix("a"), all()), prune(), invalid)},
		},
		"an invalid and a valid one": {
			policies: []Policy{
				policyNamed("p", 1, on(all()), prune(), invalid), policyNamed("q", 2, on(all()), prune()),
			},
			want: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Compile(world(tc.policies...)).App(appID).PrunesByPattern(); got != tc.want {
				t.Errorf("PrunesByPattern = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestSeats(t *testing.T) {
	tests := map[string]struct {
		seats                Seats
		members, limit       int
		full                 bool
		free, wanted, needed int
	}{
		"5% of 2000, full": {
			seats: Seats{Percent: 5}, members: 2000, limit: 2000, full: true, wanted: 100, needed: 100,
		},
		"rounded up": {
			seats: Seats{Percent: 5}, members: 201, limit: 201, full: true, wanted: 11, needed: 11,
		},
		"1% of 1": {seats: Seats{Percent: 1}, members: 1, limit: 1, full: true, wanted: 1, needed: 1},
		"exact multiples stay": {
			seats: Seats{Percent: 10}, members: 200, limit: 200, full: true, wanted: 20, needed: 20,
		},
		"a count": {
			seats: Seats{Count: 7}, members: 200, limit: 200, full: true, wanted: 7, needed: 7,
		},
		"a count above the limit": {
			seats: Seats{Count: 500}, members: 200, limit: 200, full: true, wanted: 200, needed: 200,
		},
		"all": {
			seats: Seats{Percent: 100}, members: 200, limit: 200, full: true, wanted: 200, needed: 200,
		},
		"some are free":   {seats: Seats{Count: 7}, members: 195, limit: 200, free: 5, wanted: 7, needed: 2},
		"enough are free": {seats: Seats{Count: 7}, members: 190, limit: 200, free: 10, wanted: 7},
		"over the limit": {
			seats: Seats{Count: 7}, members: 203, limit: 200, full: true, free: -3, wanted: 7, needed: 10,
		},
		"limit unknown, never full": {seats: Seats{Count: 7}, members: 200, free: -200},
		"huge limits do not overflow": {
			seats: Seats{Percent: 99}, members: math.MaxInt, limit: math.MaxInt, full: true,
			wanted: math.MaxInt/100*99 + 7, needed: math.MaxInt/100*99 + 7,
		},
		"negative nonsense wants nothing": {seats: Seats{Percent: -5}, members: 200, limit: 200, full: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := GoverningRule{Rule: PruneRule{FreeSeats: tc.seats}}
			group := GroupState{Members: tc.members, MaxMembers: tc.limit}
			want := fmt.Sprint(tc.full, tc.free, tc.wanted, tc.needed)
			if got := fmt.Sprint(group.Full(), group.FreeSeats(), g.SeatsWanted(group),
				g.SeatsNeeded(group)); got != want {
				t.Errorf("full, free, wanted, needed: %s, want %s", got, want)
			}
		})
	}
}

func TestPlanPrune(t *testing.T) {
	talker := member("talker", 300*day, day)
	role := func(m Member, r Role) Member { m.Role = r; return m }
	idle := func(account string) Member { return member(account, 300*day, 200*day) }
	full := GroupState{Type: TypePublic, Members: 100, MaxMembers: 100}
	removal := func(account string, last time.Duration, neverSpoke bool) Removal {
		return Removal{Account: account, LastActive: ago(last), NeverSpoke: neverSpoke}
	}
	tests := map[string]struct {
		rule    func(*PruneRule)
		group   GroupState
		members []Member
		want    Plan
	}{
		"nobody is idle": {members: []Member{talker}, want: Plan{Stay: Stay{Active: 1}}},
		"oldest activity first, ties by account": {
			members: []Member{
				talker, member("c", 100*day, 40*day), member("b", 100*day, 50*day), member("a", 50*day, never),
				member("d", 60*day, never),
			},
			want: Plan{Candidates: 4, Stay: Stay{Active: 1}, Removals: []Removal{
				removal("d", 60*day, true), removal("a", 50*day, true), removal("b", 50*day, false),
				removal("c", 40*day, false),
			}},
		},
		"exactly inactiveFor ago is inactive, a moment later is not": {
			members: []Member{
				member("in", 90*day, 30*day), member("out", 90*day, 30*day-1), member("joined in", 30*day, never),
				member("joined out", 30*day-1, never),
			},
			want: Plan{
				Candidates: 2, Stay: Stay{Active: 2},
				Removals: []Removal{removal("in", 30*day, false), removal("joined in", 30*day, true)},
			},
		},
		"a newcomer that never spoke is active": {
			members: []Member{talker, member("new", day, never)}, want: Plan{Stay: Stay{Active: 2}},
		},
		"who rejoined counts from then, though silent for longer": {
			members: []Member{talker, member("back", 40*day, 200*day)},
			want:    Plan{Candidates: 1, Stay: Stay{Active: 1}, Removals: []Removal{removal("back", 40*day, false)}},
		},
		"owner, admins and the admin account stay": {
			members: []Member{talker, role(idle("o"), RoleOwner), role(idle("a"), RoleAdmin), idle("administrator")},
			want:    Plan{Stay: Stay{Active: 1, Admin: 3}},
		},
		"unknown roles stay": {
			members: []Member{talker, role(idle("x"), RoleUnknown), role(idle("y"), 9)}, want: Plan{
				Stay: Stay{Active: 1, Unknown: 2},
			},
		},
		"protected accounts stay": {
			rule: func(r *PruneRule) {
				r.Protect = &AccountSelector{
					Accounts: []string{"p"}, Prefixes: []string{"staff-"}, Lists: byListName("keep").Lists,
				}
			},
			members: []Member{talker, idle("p"), idle("staff-1"), idle("kept")},
			want:    Plan{Stay: Stay{Active: 1, Protected: 3}},
		},
		"missing activity stays": {
			members: []Member{talker, {Account: "x", Role: RoleMember, Joined: ago(300 * day)}}, want: Plan{
				Stay: Stay{Active: 1, Unknown: 1},
			},
		},
		"unknown time of joining stays, zero in either spelling": {
			members: []Member{
				talker, {Account: "x", Role: RoleMember, ActivityKnown: true, LastSpoke: ago(300 * day)},
				{
					Account: "y", Role: RoleMember, ActivityKnown: true, Joined: time.Unix(0, 0),
					LastSpoke: ago(300 * day),
				},
			}, want: Plan{Stay: Stay{Active: 1, Unknown: 2}},
		},
		"never spoke, spelled as the first second of 1970": {
			members: []Member{
				talker,
				{
					Account: "x", Role: RoleMember, ActivityKnown: true, Joined: ago(300 * day),
					LastSpoke: time.Unix(0, 0),
				},
			},
			want: Plan{Candidates: 1, Stay: Stay{Active: 1}, Removals: []Removal{removal("x", 300*day, true)}},
		},
		"a time in the future stays": {
			members: []Member{talker, member("x", 300*day, -1), member("y", -1, 300*day), member("z", -1, never)},
			want:    Plan{Stay: Stay{Active: 1, Unknown: 3}},
		},
		"this very moment is not the future": {members: []Member{member("x", 0, 0)}, want: Plan{Stay: Stay{Active: 1}}},
		"an account without a name stays": {
			members: []Member{talker, idle("")}, want: Plan{Stay: Stay{Active: 1, Unknown: 1}},
		},
		"admin is said before unknown activity, protected before it, too": {
			rule: protect(naming("p")),
			members: []Member{
				talker, {Account: "a", Role: RoleAdmin}, {Account: "p", Role: RoleMember},
				{Account: "administrator", Role: RoleMember},
			},
			want: Plan{Stay: Stay{Active: 1, Admin: 2, Protected: 1}},
		},
		"unknown role is said before protected, admin account before unknown role": {
			rule:    protect(naming("p")),
			members: []Member{talker, role(idle("p"), RoleUnknown), role(idle("administrator"), RoleUnknown)},
			want:    Plan{Stay: Stay{Active: 1, Admin: 1, Unknown: 1}},
		},
		"an account listed twice counts once": {
			members: []Member{talker, idle("x"), idle("x"), talker},
			want: Plan{
				Candidates: 1, Stay: Stay{Active: 1}, Removals: []Removal{removal("x", 200*day, false)}, Repeated: 2,
			},
		},
		"of an account listed twice, the first row counts, and any row shows that somebody speaks": {
			members: []Member{idle("x"), member("x", 300*day, day), member("y", 300*day, never)},
			want: Plan{
				Candidates: 2, Removals: []Removal{removal("y", 300*day, true), removal("x", 200*day, false)},
				Repeated: 1,
			},
		},
		"no more than the seats that are needed": {
			rule:    func(r *PruneRule) { r.FreeSeats = Seats{Count: 2} },
			members: []Member{talker, idle("c"), idle("a"), idle("b"), idle("d")},
			want: Plan{
				Candidates: 4, Stay: Stay{Active: 1},
				Removals: []Removal{removal("a", 200*day, false), removal("b", 200*day, false)},
			},
		},
		"no more than the rule allows": {
			rule:    func(r *PruneRule) { r.MaxRemovals = 1 },
			members: []Member{talker, idle("c"), member("old", 300*day, never), idle("a")},
			want:    Plan{Candidates: 3, Stay: Stay{Active: 1}, Removals: []Removal{removal("old", 300*day, true)}},
		},
		"enough seats are free": {
			group: GroupState{Type: TypePublic, Members: 90, MaxMembers: 100}, members: []Member{talker, idle("a")},
			want: Plan{Candidates: 1, Stay: Stay{Active: 1}},
		},
		"a group without a known limit": {
			group: GroupState{Type: TypePublic, Members: 90}, members: []Member{talker, idle("a")}, want: Plan{
				Candidates: 1, Stay: Stay{Active: 1},
			},
		},
		"only an owner speaks: activity is known": {
			members: []Member{role(talker, RoleOwner), idle("a")},
			want:    Plan{Candidates: 1, Stay: Stay{Admin: 1}, Removals: []Removal{removal("a", 200*day, false)}},
		},
		"the only message is old: activity is known": {
			members: []Member{idle("a"), member("b", 300*day, never)},
			want: Plan{
				Candidates: 2, Removals: []Removal{removal("b", 300*day, true), removal("a", 200*day, false)},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := policyNamed("p", 1, prune())
			if tc.rule != nil {
				tc.rule(p.Prune)
			}
			in := world(p)
			in.Lists = []List{listNamed("keep", nil, "kept")}
			group := full
			if tc.group != (GroupState{}) {
				group = tc.group
			}
			got, err := PlanPrune(governing(t, in, "g", TypePublic), group, math.MaxInt, listed(tc.members...), now)
			if err != nil {
				t.Fatalf("PlanPrune: %v", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Plan (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestNoPlan(t *testing.T) {
	broken := errors.New("page 3 failed")
	full := GroupState{Type: TypePublic, Members: 100, MaxMembers: 100}
	idle := member("idle", 300*day, never)
	as := func(role Role) Member {
		talker := member("talker", 300*day, day)
		talker.Role = role
		return talker
	}
	tests := map[string]struct {
		edit    func(*GoverningRule)
		group   GroupState
		members iter.Seq2[Member, error]
		want    error
	}{
		"nobody ever spoke": {
			members: listed(member("a", 300*day, never), member("b", 300*day, never)), want: ErrActivityUnknown,
		},
		"nobody is known to have spoken": {
			members: listed(Member{Account: "a", Role: RoleMember, Joined: ago(300 * day), LastSpoke: ago(day)}),
			want:    ErrActivityUnknown,
		},
		"an empty list":        {members: listed(), want: ErrActivityUnknown},
		"only the owner spoke": {members: listed(as(RoleOwner), idle), want: ErrActivityUnknown},
		"only an admin spoke":  {members: listed(as(RoleAdmin), idle), want: ErrActivityUnknown},
		"only a member of unknown role spoke": {
			members: listed(as(RoleUnknown), idle), want: ErrActivityUnknown,
		},
		"only the app's admin account spoke": {
			edit:    func(g *GoverningRule) { g.adminAccount = "talker" },
			members: listed(as(RoleMember), idle), want: ErrActivityUnknown,
		},
		"the group is muted": {
			group:   GroupState{Type: TypePublic, Members: 100, MaxMembers: 100, MuteAllMember: true},
			members: listed(as(RoleMember), idle), want: ErrActivityUnknown,
		},
		"members speak in topics": {
			group:   GroupState{Type: TypeCommunity, Members: 100, MaxMembers: 100, SupportTopic: true},
			members: listed(as(RoleMember), idle), want: ErrActivityUnknown,
		},
		"a list that ends with an error": {
			members: func(yield func(Member, error) bool) { _ = yield(idle, nil) && yield(Member{}, broken) },
			want:    broken,
		},
		"an error amid the list": {
			members: func(yield func(Member, error) bool) {
				_ = yield(idle, nil) && yield(Member{}, broken) && yield(idle, nil)
			}, want: broken,
		},
		"an invalid rule": {
			edit: func(g *GoverningRule) { g.Invalid = "bad" }, members: listed(idle), want: ErrRuleUnusable,
		},
		"a missing protection": {
			edit: func(g *GoverningRule) { g.Unresolved = []string{"staff"} }, members: listed(idle),
			want: ErrRuleUnusable,
		},
		"a group of unknown type": {
			group: GroupState{Members: 100, MaxMembers: 100}, members: listed(idle), want: ErrRuleUnusable,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := governing(t, world(policyNamed("p", 1, prune())), "g", TypePublic)
			if tc.edit != nil {
				tc.edit(g)
			}
			if tc.group == (GroupState{}) {
				tc.group = full
			}
			got, err := PlanPrune(g, tc.group, math.MaxInt, tc.members, now)
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if diff := cmp.Diff(Plan{}, got); diff != "" {
				t.Errorf("there is a plan in spite of the error (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestLastLook(t *testing.T) {
	planned := Removal{Account: "x", LastActive: ago(100 * day)}
	as := func(edit func(*Member)) *Member {
		m := member("x", 300*day, 100*day)
		edit(&m)
		return &m
	}
	tests := map[string]struct {
		current *Member
		rule    func(*GoverningRule)
		want    KeptReason // 0: goes
	}{
		"still idle":        {current: as(func(*Member) {})},
		"left":              {want: KeptLeft},
		"became admin":      {current: as(func(m *Member) { m.Role = RoleAdmin }), want: KeptRoleChanged},
		"became owner":      {current: as(func(m *Member) { m.Role = RoleOwner }), want: KeptRoleChanged},
		"role unknown":      {current: as(func(m *Member) { m.Role = RoleUnknown }), want: KeptUnknown},
		"role out of range": {current: as(func(m *Member) { m.Role = 9 }), want: KeptUnknown},
		"spoke since":       {current: as(func(m *Member) { m.LastSpoke = ago(day) }), want: KeptActiveAgain},
		"joined since":      {current: as(func(m *Member) { m.Joined = ago(day) }), want: KeptActiveAgain},
		"spoke since, long ago": {
			current: as(func(m *Member) { m.LastSpoke = ago(100*day - time.Second) }), want: KeptActiveAgain,
		},
		"active by the rule as it is now": {
			current: as(func(*Member) {}), rule: func(g *GoverningRule) { g.Rule.InactiveFor = 101 * day },
			want: KeptActiveAgain,
		},
		"exactly as long ago as the rule says": {
			current: as(func(*Member) {}), rule: func(g *GoverningRule) { g.Rule.InactiveFor = 100 * day },
		},
		"activity missing now":  {current: as(func(m *Member) { m.ActivityKnown = false }), want: KeptUnknown},
		"joined is missing now": {current: as(func(m *Member) { m.Joined = time.Time{} }), want: KeptUnknown},
		"spoke in the future":   {current: as(func(m *Member) { m.LastSpoke = ago(-1) }), want: KeptUnknown},
		"muted now":             {current: as(func(m *Member) { m.MuteUntil = ago(-day) }), want: KeptUnknown},
		"no longer muted":       {current: as(func(m *Member) { m.MuteUntil = ago(day) })},
		"protected now": {
			current: as(func(*Member) {}), rule: func(g *GoverningRule) {
				g.protect = append(g.protect, &selection{more: &sources{prefixes: accounts.NewPrefixes([]string{"x"})}})
			}, want: KeptProtected,
		},
		"the admin account now": {
			current: as(func(*Member) {}), rule: func(g *GoverningRule) { g.adminAccount = "x" }, want: KeptProtected,
		},
		"the rule became invalid": {
			current: as(func(*Member) {}), rule: func(g *GoverningRule) { g.Invalid = "bad" }, want: KeptUnknown,
		},
		"the protection is missing": {
			current: as(func(*Member) {}), rule: func(g *GoverningRule) { g.Unresolved = []string{"staff"} },
			want: KeptUnknown,
		},
		"left is said first": {rule: func(g *GoverningRule) { g.adminAccount = "x" }, want: KeptLeft},
		"the role is said before the protection": {
			current: as(func(m *Member) { m.Role = RoleAdmin }), rule: func(g *GoverningRule) { g.adminAccount = "x" },
			want: KeptRoleChanged,
		},
		"the protection is said before the activity": {
			current: as(func(m *Member) { m.LastSpoke = now }), rule: func(g *GoverningRule) { g.adminAccount = "x" },
			want: KeptProtected,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := governing(t, world(policyNamed("p", 1, prune())), "g", TypePublic)
			if tc.rule != nil {
				tc.rule(g)
			}
			current := map[string]Member{"another": member("another", 300*day, 100*day)}
			if tc.current != nil {
				current["x"] = *tc.current
			}
			var wantRemove, wantRemoved []string
			var wantKept []Kept
			if tc.want == 0 {
				wantRemove = []string{"x"}
			} else {
				wantKept = []Kept{{Account: "x", Reason: tc.want}}
			}
			remove, kept := g.Recheck([]Removal{planned}, current, now)
			if diff := cmp.Diff([]any{wantRemove, wantKept}, []any{remove, kept}); diff != "" {
				t.Errorf("Recheck (-want,+got):\n%s", diff)
			}
			if tc.want == KeptLeft || tc.current.Joined.After(planned.LastActive) { // who has come back had gone
				wantRemoved, wantKept = []string{"x"}, nil
			}
			removed, remove, kept := g.RecheckInFlight([]Removal{planned}, current, now)
			if diff := cmp.Diff([]any{wantRemoved, wantRemove, wantKept}, []any{removed, remove, kept}); diff != "" {
				t.Errorf("RecheckInFlight (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestLastLookKeepsTheOrderOfTheBatch(t *testing.T) {
	g := governing(t, world(policyNamed("p", 1, prune())), "g", TypePublic)
	var batch []Removal
	current := map[string]Member{}
	for _, account := range []string{"d", "a", "c", "b", "e"} {
		batch = append(batch, Removal{Account: account, LastActive: ago(100 * day)})
		if account != "c" && account != "b" {
			current[account] = member(account, 100*day, never)
		}
	}
	remove, kept := g.Recheck(batch, current, now)
	want := []any{[]string{"d", "a", "e"}, []Kept{{"c", KeptLeft}, {"b", KeptLeft}}}
	if diff := cmp.Diff(want, []any{remove, kept}); diff != "" {
		t.Errorf("Recheck (-want,+got):\n%s", diff)
	}
}

// A plan is compared with the rule that made it by this hash, which a replica of another version has recorded.
func TestRuleHashFollowsTheRuleAlone(t *testing.T) {
	hash := func(change func(*Policy)) string {
		p := policyNamed("p", 0, prune())
		change(&p)
		return governing(t, world(p), "vip-1", TypePublic).RuleHash()
	}
	is := hash(func(*Policy) {})
	for name, tc := range map[string]struct {
		change func(*Policy)
		same   bool
	}{
		"generation": {func(p *Policy) { p.Generation++ }, true},
		"reject":     {func(p *Policy) { p.Prune.Reject = Rejection{Code: 10110, Message: "Members only"} }, true},
		"join":       {func(p *Policy) { p.Join = &JoinSection{Allow: &AccountSelector{}} }, true},
		"matchers":   {func(p *Policy) { p.Groups = append(p.Groups, exact("vip-1")) }, true},
		"types":      {func(p *Policy) { p.Types = NewTypeSet(TypePublic) }, true},
		"mode":       {func(p *Policy) { p.Prune.Mode = ModeApprove }, false},
		"inactive":   {func(p *Policy) { p.Prune.InactiveFor += day }, false},
		"seats":      {func(p *Policy) { p.Prune.FreeSeats = Seats{Count: 7} }, false},
		"a day":      {func(p *Policy) { p.Prune.MaxRemovalsPerDay++ }, false},
		"protect":    {func(p *Policy) { p.Prune.Protect = &AccountSelector{Accounts: []string{"jared"}} }, false},
		"reason":     {func(p *Policy) { p.Prune.Reason = "gone" }, false},
	} {
		if got := hash(tc.change); (got == is) != tc.same || len(got) != 16 {
			t.Errorf("%s: %q after %q", name, got, is)
		}
	}
}
