package policy

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/accounts"
)

// evicting adds an eviction rule to a join section.
func evicting(edit ...func(*EvictRule)) func(*JoinSection) {
	return func(j *JoinSection) {
		j.Evict = &EvictRule{
			Mode: ModeEnforce, Grace: 10 * time.Minute, Interval: day, MaxRemovals: 100, MaxRemovalsPerDay: 1000,
		}
		for _, e := range edit {
			e(j.Evict)
		}
	}
}

func allowList(names ...string) func(*JoinSection) {
	return func(j *JoinSection) { j.Allow = byListName(names...) }
}

func denyList(names ...string) func(*JoinSection) {
	return func(j *JoinSection) { j.Deny = byListName(names...) }
}

func governingEviction(t *testing.T, in Input, group string, groupType GroupType) *GoverningEviction {
	t.Helper()
	g, ok := Compile(in).App(appID).GoverningEviction(group, groupType)
	if !ok {
		t.Fatalf("no rule evicts members of %s", group)
	}
	return &g
}

func TestJudge(t *testing.T) {
	g := governingEviction(t, world(
		policyNamed("p", 1, joining(allow("jared"), deny("mallory"), evicting())),
	), "g", TypePublic)
	for account, want := range map[string]Reason{"jared": 0, "mallory": ReasonDenied, "eve": ReasonNotListed} {
		if got, refused := g.Judge(account); got.Reason != want || refused != (want != 0) {
			t.Errorf("Judge(%s) = %v %t, want %v", account, got.Reason, refused, want)
		}
	}
}

func byRule(edit func(*EvictRule)) *GoverningEviction {
	g, _ := Compile(world(policyNamed("p", 1, joining(allow("jared"), deny("mallory"), evicting(edit))))).
		App(appID).GoverningEviction("g", TypePublic)
	return &g
}

// crowd is a group of so many members, some of whom the gate refuses.
func crowd(members, strangers int) []Member {
	var all []Member
	for i := range members {
		m := member("friend-"+strconv.Itoa(i), 30*day, never)
		if i < strangers {
			m.Account = "stranger-" + strconv.Itoa(i)
		}
		all = append(all, m)
	}
	return all
}

func lately(n int) string {
	return fmt.Sprintf(", after %d that were removed without approval in the last 7 days", n)
}

func TestBreakers(t *testing.T) {
	gate := joining(func(j *JoinSection) { j.Allow = &AccountSelector{Prefixes: []string{"friend-"}} },
		evicting(func(r *EvictRule) { r.MaxRemovals = 50 }))
	g := governingEviction(t, world(policyNamed("p", 1, gate)), "g", TypePublic)
	tests := map[string]struct {
		members, strangers, admins int
		recent                     int
		named                      bool
		claimed                    int // members by the vendor, if not as many as are listed
		want                       string
	}{
		"none":            {members: 10},
		"exactly a fifth": {members: 100, strangers: 20},
		"one more than a fifth": {
			members: 100, strangers: 21, want: "would remove 21 of 100 members: is the list complete?",
		},
		"a fifth of ordinary members": {members: 100, admins: 5, strangers: 19},
		"more than a fifth of ordinary members": {
			members: 100, admins: 5, strangers: 20, want: "would remove 20 of 100 members: is the list complete?",
		},
		"nearly all": {
			members: 400, strangers: 340, want: "would remove 340 of 400 members: is the list complete?",
		},
		"maxRemovals": {members: 1000, strangers: 50},
		"one more than maxRemovals": {
			members: 1000, strangers: 51,
			want: "would remove 51 of 1000 members, more than maxRemovals (50): is the list complete?",
		},
		"two in a group of 14": {members: 14, strangers: 2},
		"three in a group of 14": {
			members: 14, strangers: 3, want: "would remove 3 of 14 members: is the list complete?",
		},
		"three in a group of 15": {members: 15, strangers: 3},
		"four in a group of 15": {
			members: 15, strangers: 4, want: "would remove 4 of 15 members: is the list complete?",
		},
		"three in a group that is said to be 14": {
			members: 15, strangers: 3, claimed: 14,
			want: "would remove 3 of 14 members, more than 2 in a group of fewer than 15: is the list complete?",
		},
		"one in a group of four": {
			members: 4, strangers: 1, want: "would remove 1 of 4 members: is the list complete?",
		},
		"nobody, and many lately":      {members: 100, recent: 90},
		"a fifth with those of 7 days": {members: 100, strangers: 5, recent: 15},
		"more than a fifth with those of 7 days": {
			members: 100, strangers: 5, recent: 16,
			want: "would remove 5 of 100 members" + lately(16) + ": is the list complete?",
		},
		"maxRemovals with those of 7 days": {members: 1000, strangers: 1, recent: 49},
		"over maxRemovals with those of 7 days": {
			members: 1000, strangers: 1, recent: 50,
			want: "would remove 1 of 1000 members" + lately(50) +
				", more than maxRemovals (50): is the list complete?",
		},
		"two in a group of 14 with one of 7 days": {
			members: 14, strangers: 2, recent: 1,
			want: "would remove 2 of 14 members" + lately(1) + ": is the list complete?",
		},
		"named, a fifth of the least there can be": {
			members: 1, strangers: 1, named: true, claimed: 26,
		},
		"named, more than a fifth of the least there can be": {
			members: 1, strangers: 1, named: true, claimed: 25,
			want: "would remove 1 of 25 members: is the list complete?",
		},
		"named, in a group smaller than that": {
			members: 1, strangers: 1, named: true, claimed: 3,
			want: "would remove 1 of 3 members: is the list complete?",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			members := crowd(tc.members, tc.strangers)
			for i := range tc.admins {
				members[len(members)-1-i].Role = RoleAdmin
			}
			s := EvictionState{
				Group: GroupState{Type: TypePublic, Members: cmp.Or(tc.claimed, tc.members)}, Named: tc.named,
				Recent: tc.recent, Budget: math.MaxInt,
			}
			plan, err := PlanEviction(g, s, listed(members...), now)
			if err != nil {
				t.Fatalf("PlanEviction: %v", err)
			}
			if plan.Breaker != tc.want || plan.Candidates != tc.strangers {
				t.Errorf("%d candidates of %d: %q, want %d: %q", plan.Candidates, plan.Ordinary, plan.Breaker,
					tc.strangers, tc.want)
			}
		})
	}
}

func TestPlanEviction(t *testing.T) {
	g := byRule(func(r *EvictRule) { r.MaxRemovals = 3 })
	as := func(m Member, edit func(*Member)) Member { edit(&m); return m }
	second := time.Second
	members := []Member{
		member("jared", day, never),
		as(member("boss", day, never), func(m *Member) { m.Role = RoleOwner }),
		as(member("mallory", day, never), func(m *Member) { m.Role = RoleAdmin }), // denied, and an admin
		member("administrator", day, never),
		as(member("alien", day, never), func(m *Member) { m.Role = RoleUnknown }),
		as(member("timeless", day, never), func(m *Member) { m.Joined = time.Time{} }),
		as(member("epoch", day, never), func(m *Member) { m.Joined = time.Unix(0, 0) }),
		member("tomorrow", -second, never),
		member("just", 10*time.Minute-second, never),
		member("now", 0, never),
		member("grace", 10*time.Minute, never),
		as(member("silent", 2*day, day), func(m *Member) { m.ActivityKnown = false }),
		as(member("muted", 3*day, day), func(m *Member) { m.MuteUntil = now.Add(day) }),
		member("talker", 2*day, 0),
		member("talker", 2*day, 0),
		member("", day, never),
		member(strings.Repeat("x", 256), day, never),
	}
	s := EvictionState{Group: GroupState{Type: TypePublic, Members: len(members)}, Budget: math.MaxInt}
	removal := func(account string, joined, active time.Duration) Removal {
		return Removal{
			Account: account, Joined: ago(joined), LastActive: ago(active), Reason: ReasonNotListed, Policy: "p",
		}
	}
	want := Plan{
		Repeated: 1, Candidates: 4, Ordinary: 12, InGraceUntil: now.Add(10 * time.Minute),
		Stay: Stay{Admitted: 1, Admin: 3, Unknown: 6, InGrace: 2},
		Removals: []Removal{
			removal("grace", 10*time.Minute, 10*time.Minute), removal("silent", 2*day, 2*day),
			removal("talker", 2*day, 0),
		},
		Breaker: "would remove 4 of 17 members: is the list complete?",
	}
	got, err := PlanEviction(g, s, listed(members...), now)
	if err != nil {
		t.Fatalf("PlanEviction: %v", err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("PlanEviction (-want,+got):\n%s", diff)
	}
	for budget, want := range map[int]int{-1: 0, 0: 0, 1: 1, 9: 3} {
		s.Budget = budget
		if got, _ := PlanEviction(g, s, listed(members...), now); len(got.Removals) != want || got.Candidates != 4 {
			t.Errorf("budget %d: %d removals of %d, want %d", budget, len(got.Removals), got.Candidates, want)
		}
	}
	t.Run("an error in the list", func(t *testing.T) {
		failing := func(yield func(Member, error) bool) { yield(Member{}, errors.New("gone")) }
		if _, err := PlanEviction(g, s, failing, now); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a group of unknown type", func(t *testing.T) {
		if _, err := PlanEviction(g, EvictionState{}, listed(members...), now); !errors.Is(err, ErrRuleUnusable) {
			t.Errorf("PlanEviction: %v", err)
		}
	})
	t.Run("no grace", func(t *testing.T) {
		g := byRule(func(r *EvictRule) { r.Grace = 0 })
		got, err := PlanEviction(g, s, listed(member("now", 0, never)), now)
		if err != nil || got.Candidates != 1 {
			t.Errorf("PlanEviction = %+v, %v", got, err)
		}
	})
}

func TestPlanNamesTheListThatDenies(t *testing.T) {
	in := world(policyNamed("p", 1, joining(evicting(), deny("own"), func(j *JoinSection) {
		j.Deny.Lists = []ListRef{{Name: "one"}, {Name: "two"}}
		j.Deny.Prefixes = []string{"bot-"}
	})), policyNamed("q", 2, joining(denyList("three"))))
	in.Lists = []List{
		listNamed("one", nil, "own", "a"), listNamed("two", nil, "a", "b", "bot-1"),
		listNamed("three", nil, "own", "b", "c"),
	}
	g := governingEviction(t, in, "g", TypePublic)
	var members []Member
	want := map[string]string{"own": "", "a": "one", "b": "two", "bot-1": "", "c": "three"}
	for account := range want {
		members = append(members, member(account, day, never))
	}
	plan, err := PlanEviction(g, EvictionState{Group: GroupState{Type: TypePublic}, Budget: 9}, listed(members...), now)
	if err != nil || len(plan.Removals) != len(want) {
		t.Fatalf("PlanEviction = %+v, %v", plan, err)
	}
	for _, r := range plan.Removals {
		by := "p"
		if r.Account == "c" {
			by = "q"
		}
		if r.List != want[r.Account] || r.Policy != by || r.Reason != ReasonDenied {
			t.Errorf("%s: %v by list %q of %s, want %q of %s", r.Account, r.Reason, r.List, r.Policy,
				want[r.Account], by)
		}
	}
}

func TestUncertainGates(t *testing.T) {
	rule := func(allow *AccountSelector) Policy {
		return policyNamed("p", 1, joining(evicting(), func(j *JoinSection) { j.Allow = allow }))
	}
	tests := map[string]struct {
		policies []Policy
		lists    []List
		want     []string
	}{
		"all is there": {[]Policy{rule(byListName("vip"))}, []List{listNamed("vip", nil, "jared")}, nil},
		"a list is missing": {
			[]Policy{rule(byListName("vip"))}, nil,
			[]string{`GroupPolicy "p": join.allow: AccountList "vip" not found`},
		},
		"a list is empty": {
			[]Policy{rule(byListName("vip"))}, []List{listNamed("vip", nil)},
			[]string{`GroupPolicy "p": join.allow: AccountList "vip" without accounts`},
		},
		"one of two lists is empty": {
			[]Policy{rule(byListName("vip", "gone"))}, []List{listNamed("vip", nil, "jared"), listNamed("gone", nil)},
			[]string{`GroupPolicy "p": join.allow: AccountList "gone" without accounts`},
		},
		"one of the selected lists is empty": {
			[]Policy{rule(byLabels(Requirement{"x", OpExists, nil}))},
			[]List{listNamed("a", map[string]string{"x": ""}, "jared"), listNamed("b", map[string]string{"x": ""})},
			nil,
		},
		"all selected lists are empty": {
			[]Policy{rule(byLabels(Requirement{"x", OpExists, nil}))},
			[]List{listNamed("b", map[string]string{"x": ""})},
			[]string{`GroupPolicy "p": join.allow: AccountLists selected by "x" without accounts`},
		},
		"the list of another gate is missing": {
			[]Policy{
				rule(naming("jared")), policyNamed("q", 2, joining(denyList("bad"))),
			}, nil, []string{`GroupPolicy "q": join.deny: AccountList "bad" not found`},
		},
		"the list of a gate in mode Audit is missing": {
			[]Policy{
				rule(naming("jared")),
				policyNamed("q", 2, joining(audit, denyList("bad"))),
			}, nil, nil,
		},
		"another policy is invalid": {
			[]Policy{rule(naming("jared")), policyNamed("q", 2, func(p *Policy) { p.Invalid = "groups: bad" })}, nil,
			[]string{`GroupPolicy "q": groups: bad`},
		},
		"the policy of another group is invalid": {
			[]Policy{
				rule(naming("jared")), policyNamed("q", 2, on(exact("other")), func(p *Policy) { p.Invalid = "bad" }),
			}, nil, nil,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := world(tc.policies...)
			in.Lists = tc.lists
			g := governingEviction(t, in, "g", TypePublic)
			if diff := gocmp.Diff(tc.want, g.Unresolved); diff != "" {
				t.Errorf("Unresolved (-want,+got):\n%s", diff)
			}
			stranger := member("stranger", day, never)
			_, err := PlanEviction(g, EvictionState{Group: GroupState{Type: TypePublic}}, listed(stranger), now)
			_, kept := g.Recheck([]Removal{{Account: "stranger", LastActive: stranger.Joined}},
				map[string]Member{"stranger": stranger}, now)
			uncertain := len(tc.want) > 0
			if errors.Is(err, ErrRuleUnusable) != uncertain || g.Evicts(stranger, now) == uncertain ||
				(len(kept) > 0) != uncertain {
				t.Errorf("PlanEviction: %v; evicts %t; kept %v", err, g.Evicts(stranger, now), kept)
			}
		})
	}
}

func TestLastLookAtEvictions(t *testing.T) {
	planned := Removal{Account: "eve", Joined: ago(2 * day), LastActive: ago(day)}
	is := func(edit func(*Member)) *Member {
		m := member("eve", 2*day, day)
		edit(&m)
		return &m
	}
	tests := map[string]struct {
		account  string
		now      *Member
		want     KeptReason
		inFlight bool // gone, or joined again: removed by the run
	}{
		"as planned":                 {now: is(func(*Member) {})},
		"spoke since":                {now: is(func(m *Member) { m.LastSpoke = now })},
		"left":                       {want: KeptLeft, inFlight: true},
		"an admin now":               {now: is(func(m *Member) { m.Role = RoleAdmin }), want: KeptRoleChanged},
		"the owner now":              {now: is(func(m *Member) { m.Role = RoleOwner }), want: KeptRoleChanged},
		"of unknown role":            {now: is(func(m *Member) { m.Role = RoleUnknown }), want: KeptUnknown},
		"of unknown time of joining": {now: is(func(m *Member) { m.Joined = time.Time{} }), want: KeptUnknown},
		"joined tomorrow": {
			now: is(func(m *Member) { m.Joined = now.Add(time.Second) }), want: KeptUnknown, inFlight: true,
		},
		"joined again": {
			now: is(func(m *Member) { m.Joined = ago(time.Hour) }), want: KeptActiveAgain, inFlight: true,
		},
		"admitted now":      {account: "jared", now: is(func(*Member) {}), want: KeptAdmitted},
		"the admin account": {account: "administrator", now: is(func(*Member) {}), want: KeptProtected},
	}
	g := byRule(func(*EvictRule) {})
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			planned := planned
			planned.Account = cmp.Or(tc.account, planned.Account)
			current := map[string]Member{}
			if tc.now != nil {
				m := *tc.now
				m.Account = planned.Account
				current[m.Account] = m
			}
			check := func(remove []string, kept []Kept) {
				t.Helper()
				var want []Kept
				if tc.want != 0 {
					want = []Kept{{planned.Account, tc.want}}
				}
				goes := slices.Contains(remove, planned.Account)
				if diff := gocmp.Diff(want, kept); diff != "" || goes != (tc.want == 0) {
					t.Errorf("%q go; kept (-want,+got):\n%s", remove, diff)
				}
			}
			check(g.Recheck([]Removal{planned}, current, now))
			removed, remove, kept := g.RecheckInFlight([]Removal{planned}, current, now)
			if slices.Contains(removed, planned.Account) != tc.inFlight {
				t.Errorf("removed %q, want it there: %t", removed, tc.inFlight)
			}
			if !tc.inFlight {
				check(remove, kept)
			}
		})
	}
}

func TestJudgedByAllTriggers(t *testing.T) {
	rule := joining(deny("nobody"), evicting())
	closed := func(triggers ...Trigger) func(*Policy) { return joining(allow("jared"), triggeredBy(triggers...)) }
	denying := func(triggers ...Trigger) func(*Policy) { return joining(deny("eve"), triggeredBy(triggers...)) }
	tests := map[string]struct {
		policies []Policy
		want     Reason
		by       string
	}{
		"no gate is closed": {[]Policy{policyNamed("p", 1, rule)}, 0, ""},
		"two of three triggers": {
			[]Policy{policyNamed("p", 1, rule), policyNamed("q", 2, closed(TriggerApply, TriggerInvite))}, 0, "",
		},
		"three triggers by three gates": {
			[]Policy{
				policyNamed("p", 1, rule), policyNamed("q", 2, closed(TriggerApply)),
				policyNamed("r", 3, closed(TriggerInvite)),
				policyNamed("s", 4, closed(TriggerRESTAPI)),
			}, ReasonNotListed, "q",
		},
		"denied for one, not listed for two": {
			[]Policy{
				policyNamed("p", 1, rule), policyNamed("q", 2, closed(TriggerApply, TriggerInvite)),
				policyNamed("r", 3, denying(TriggerRESTAPI)),
			}, ReasonDenied, "r",
		},
		"denied for one, free for two": {
			[]Policy{policyNamed("p", 1, rule), policyNamed("r", 3, denying(TriggerRESTAPI))}, 0, "",
		},
		"denied in mode Audit": {
			[]Policy{policyNamed("p", 1, rule), policyNamed("q", 2, joining(deny("eve"), audit))}, 0, "",
		},
		"denied in groups of another type": {
			[]Policy{policyNamed("p", 1, rule), policyNamed("q", 2, joining(deny("eve")), ofTypes(TypeWork))}, 0, "",
		},
		"allowed by one gate of two": {
			[]Policy{
				policyNamed("p", 1, joining(allow("jared"), evicting())), policyNamed("q", 2, joining(allow("eve"))),
			},
			0, "",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := world(tc.policies...)
			in.Apps[0].RejectUnmatched = true
			in.Refusals = []Refusal{recordOf("run", refusing(now.Add(day), 1, ""), "eve")}
			in.Refusals[0].Group = "g"
			got, refused := governingEviction(t, in, "g", TypePublic).Judge("eve")
			by := ""
			if got.Policy != nil {
				by = got.Policy.Name
			}
			if got.Reason != tc.want || refused != (tc.want != 0) || by != tc.by {
				t.Errorf("Judge = %v by %q (%t), want %v by %q", got.Reason, by, refused, tc.want, tc.by)
			}
		})
	}
}

func TestUnfitEvictionMakesThePolicyInvalid(t *testing.T) {
	tests := map[string]struct {
		edit func(*JoinSection)
		want string
	}{
		"no gate": {func(j *JoinSection) { j.Allow = nil }, "join.evict needs allow or deny"},
		"an empty gate": {
			func(j *JoinSection) { j.Allow = naming() }, "join.evict cannot be combined with an empty allow",
		},
		"Audit":        {audit, "join.evict needs mode Enforce"},
		"two triggers": {triggeredBy(TriggerApply, TriggerInvite), "join.evict needs all of the triggers"},
		"mode":         {evicting(func(r *EvictRule) { r.Mode = 9 }), "join.evict.mode: unknown"},
		"grace":        {evicting(func(r *EvictRule) { r.Grace = 30*day + 1 }), "join.evict.grace: out of range"},
		"interval": {
			evicting(func(r *EvictRule) { r.Interval = time.Hour - 1 }), "join.evict.interval: too short",
		},
		"maxRemovals": {
			evicting(func(r *EvictRule) { r.MaxRemovals = 1001 }), "join.evict.maxRemovals: 1001 is out of range",
		},
		"per day": {
			evicting(func(r *EvictRule) { r.MaxRemovalsPerDay = 0 }), "join.evict.maxRemovalsPerDay: 0 is out",
		},
		"fit": {func(*JoinSection) {}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := policyNamed("p", 1, joining(allow("jared"), evicting(), tc.edit))
			snapshot := Compile(world(p))
			verdict, _ := snapshot.PolicyVerdict(p.Namespace, p.Name, p.UID)
			if !strings.HasPrefix(verdict.Message, tc.want) || (tc.want == "") != (verdict.Message == "") {
				t.Errorf("the verdict says %q, want %q", verdict.Message, tc.want)
			}
			app := snapshot.App(appID)
			g, governed := app.GoverningEviction("g", TypePublic)
			if !governed || (len(g.Unresolved) > 0) != (tc.want != "") || app.MayEvict("g") != (tc.want == "") {
				t.Errorf("governed %t, unresolved %q, may evict %t", governed, g.Unresolved, app.MayEvict("g"))
			}
		})
	}
}

func TestEvictedGroups(t *testing.T) {
	rule := joining(allow("jared"), evicting())
	every := func(d time.Duration) func(*Policy) {
		return joining(allow("jared"), evicting(func(r *EvictRule) { r.Interval = d }))
	}
	bad := func(p *Policy) { p.Invalid = "bad" }
	tests := map[string]struct {
		policies []Policy
		exact    []string
		pattern  bool
		interval time.Duration
	}{
		"none": {policies: []Policy{policyNamed("p", 1, joining(allow("jared")), prune())}},
		"exact": {
			policies: []Policy{policyNamed("p", 1, rule, on(exact("b"), exact("a")))},
			exact:    []string{"a", "b"}, interval: day,
		},
		"a prefix": {policies: []Policy{policyNamed("p", 1, rule, on(prefix("b")))}, pattern: true, interval: day},
		"all":      {policies: []Policy{policyNamed("p", 1, rule)}, pattern: true, interval: day},
		"invalid":  {policies: []Policy{policyNamed("p", 1, rule, on(exact("b"), prefix("a")), bad)}},
		"the smallest interval": {
			policies: []Policy{
				policyNamed("p", 1, every(7*day), on(exact("a"))),
				policyNamed("q", 2, every(2*time.Hour), on(exact("a"))),
				policyNamed("r", 3, every(time.Hour), on(exact("a")), bad),
			}, exact: []string{"a"}, interval: 2 * time.Hour,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			app := Compile(world(tc.policies...)).App(appID)
			interval, ok := app.EvictInterval()
			if got := slices.Collect(app.ExactEvictGroups()); !slices.Equal(got, tc.exact) ||
				app.EvictsByPattern() != tc.pattern || interval != tc.interval || ok != (tc.interval > 0) {
				t.Errorf("groups %q, by pattern %t, every %v (%t)", got, app.EvictsByPattern(), interval, ok)
			}
		})
	}
}

func TestEvictHash(t *testing.T) {
	base := func() Input {
		in := world(
			policyNamed("p", 1, on(exact("vip-1"), prefix("club-")),
				joining(evicting(), allowList("vip"))),
			policyNamed("staff", 2, on(prefix("vip-")), joining(allow("boss"))),
			policyNamed("one club", 3, on(exact("club-7")), joining(allow("guest"))),
			policyNamed("elsewhere", 4, on(exact("vip-2"), prefix("vip-11")), joining(allow("jared"))),
		)
		in.Lists = []List{listNamed("vip", nil, "jared", "tommy"), listNamed("other", nil, "eve")}
		return in
	}
	hash := func(in Input) string { return Compile(in).App(appID).EvictHash() }
	before := hash(base())
	if want := "fbc35d720ba10ed1"; before != want {
		t.Errorf("the hash is %s, and was %s once: each leader of another version begins a round",
			before, want)
	}
	tests := map[string]struct {
		edit  func(*Input)
		other bool
	}{
		"nothing":                 {func(*Input) {}, false},
		"order":                   {func(in *Input) { *in = shuffled(*in, 3) }, false},
		"a version of the policy": {func(in *Input) { in.Policies[0].Generation++ }, false},
		"a version of the list":   {func(in *Input) { in.Lists[0].Generation++ }, false},
		"a label of the list": {
			func(in *Input) { in.Lists[0].Labels = map[string]string{"x": "y"} }, false,
		},
		"the code of a rejection":       {func(in *Input) { in.Policies[0].Join.Reject.Code = 10101 }, false},
		"a list that no gate refers to": {func(in *Input) { in.Lists[1].Accounts = "" }, false},
		"a prune rule":                  {func(in *Input) { prune()(&in.Policies[0]) }, false},
		"the gate of another group":     {func(in *Input) { in.Policies[3].Join.Allow = naming("eve") }, false},
		"a policy in mode Audit": {
			func(in *Input) { in.Policies = append(in.Policies, policyNamed("a", 9, joining(audit, deny("x")))) },
			false,
		},
		"the list": {
			func(in *Input) { in.Lists[0].Accounts = accounts.NewSet([]string{"jared"}) }, true,
		},
		"the list is gone":  {func(in *Input) { in.Lists = in.Lists[1:] }, true},
		"the list is empty": {func(in *Input) { in.Lists[0].Accounts = "" }, true},
		"the rule": {
			func(in *Input) { in.Policies[0].Join.Evict.Mode = ModePreview }, true,
		},
		"a gate by prefix of an exact group": {func(in *Input) { in.Policies[1].Join.Allow = naming("eve") }, true},
		"a gate of a group within a prefix":  {func(in *Input) { in.Policies[2].Join.Allow = naming("eve") }, true},
		"a gate of all groups": {
			func(in *Input) { in.Policies = append(in.Policies, policyNamed("a", 9, joining(deny("x")))) }, true,
		},
		"a shorter prefix": {
			func(in *Input) { in.Policies[3].Groups = []GroupMatcher{prefix("cl")} }, true,
		},
		"a longer prefix": {
			func(in *Input) { in.Policies[3].Groups = []GroupMatcher{prefix("club-77")} }, true,
		},
		"a policy is gone":    {func(in *Input) { in.Policies = in.Policies[:2] }, true},
		"a policy is invalid": {func(in *Input) { in.Policies[1].Invalid = "bad" }, true},
		"the adminAccount":    {func(in *Input) { in.Apps[0].AdminAccount = "other" }, true},
		"triggers": {
			func(in *Input) { in.Policies[1].Join.Triggers = NewTriggerSet(TriggerApply) }, true,
		},
		"group types": {func(in *Input) { in.Policies[0].Types = NewTypeSet(TypeWork) }, true},
		"groups": {
			func(in *Input) { in.Policies[0].Groups = in.Policies[0].Groups[1:] }, true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := base()
			tc.edit(&in)
			if got := hash(in); (got != before) != tc.other {
				t.Errorf("the hash was %s and is %s, want another one: %t", before, got, tc.other)
			}
		})
	}
}

func TestEvictRuleHashFollowsTheRuleAlone(t *testing.T) {
	hash := func(edit ...func(*JoinSection)) string {
		sections := append([]func(*JoinSection){allow("jared"), evicting()}, edit...)
		return governingEviction(t, world(policyNamed("p", 1, joining(sections...))), "g", TypePublic).RuleHash()
	}
	before := hash()
	if len(before) != 16 || hash(deny("eve"), allow("tommy"), reject(10101, "no")) != before {
		t.Errorf("the hash of the rule is %s, and another one with other accounts", before)
	}
	for i, edit := range []func(*EvictRule){
		func(r *EvictRule) { r.Mode = ModePreview }, func(r *EvictRule) { r.Grace = 0 },
		func(r *EvictRule) { r.Interval = time.Hour }, func(r *EvictRule) { r.MaxRemovals = 1 },
		func(r *EvictRule) { r.MaxRemovalsPerDay = 1 }, func(r *EvictRule) { r.Silent = true },
		func(r *EvictRule) { r.Reason = "no" },
	} {
		if hash(evicting(edit)) == before {
			t.Errorf("edit %d of the rule leaves the hash as it was", i)
		}
	}
}

func TestGatesAndLists(t *testing.T) {
	in := world(
		policyNamed("p", 1, on(exact("g"), prefix("g"), all()),
			joining(evicting(), allowList("vip", "vip"), denyList("bad"))),
		policyNamed("q", 2, joining(func(j *JoinSection) { j.Allow = byLabels(Requirement{"x", OpExists, nil}) })),
		policyNamed("a", 3, joining(audit, allowList("audited"))),
		policyNamed("w", 4, joining(allowList("work")), ofTypes(TypeWork)),
	)
	in.Lists = []List{listNamed("vip", map[string]string{"x": ""}, "jared"), listNamed("bad", nil, "eve")}
	g := governingEviction(t, in, "g", TypePublic)
	var gates []string
	for _, o := range g.Gates {
		gates = append(gates, o.Name)
	}
	var vip, bad ListVersions
	vip.Add("vip", "uid-vip", 1)
	bad.Add("bad", "uid-bad", 1)
	want := []ListUse{{Name: "vip", Versions: vip}, {Name: "bad", Versions: bad}, {Selector: "x", Versions: vip}}
	if !slices.Equal(gates, []string{"p", "q"}) || !slices.Equal(g.Lists, want) {
		t.Errorf("gates %q, lists %+v, want %+v", gates, g.Lists, want)
	}
	if _, governed := Compile(in).App(appID).GoverningEviction("g", TypeUnknown); governed {
		t.Error("a rule governs a group of unknown type")
	}
}
