package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/accounts"
)

func TestPolicyVerdict(t *testing.T) {
	conflicted := App{Object: object("copy", 5), SDKAppID: appID}
	vip := listNamed("vip-0", map[string]string{"list": "vip"}, "jared")
	empty := listNamed("empty", nil)
	vips := Requirement{Key: "list", Op: OpIn, Values: []string{"vip"}}
	nobody := Requirement{Key: "list", Op: OpIn, Values: []string{"nobody"}}
	badRule := func(edit func(*PruneRule)) Policy { return policyNamed("p", 1, prune(edit)) }

	tests := map[string]struct {
		policy Policy
		want   PolicyVerdict
	}{
		"accepted":              {policy: policyNamed("p", 1, joining(), prune())},
		"accepted, on no group": {policy: policyNamed("p", 1, on(), joining())},
		"app missing": {
			policy: policyNamed("p", 1, func(p *Policy) { p.App = "staging" }),
			want: PolicyVerdict{
				Acceptance: TargetNotFound, Message: `IMApp "staging" does not exist in namespace "chat"`,
			},
		},
		"app conflicted": {
			policy: policyNamed("p", 1, func(p *Policy) { p.App = "copy" }),
			want: PolicyVerdict{
				Acceptance: TargetNotFound, Message: `IMApp "copy" is not accepted: chat/prod holds its SDKAppID`,
			},
		},
		"invalid, as the conversion says": {
			policy: policyNamed("p", 1, func(p *Policy) { p.Invalid = "inactiveFor: bad" }),
			want:   PolicyVerdict{Acceptance: Invalid, Message: "inactiveFor: bad"},
		},
		"a missing app is said before what is invalid": {
			policy: policyNamed("p", 1, func(p *Policy) { p.App, p.Invalid = "staging", "bad" }),
			want: PolicyVerdict{
				Acceptance: TargetNotFound, Message: `IMApp "staging" does not exist in namespace "chat"`,
			},
		},
		"unknown kind of matcher": {
			policy: policyNamed("p", 1, on(GroupMatcher{Kind: 9, Value: "x"})),
			want: PolicyVerdict{
				Acceptance: Invalid, Message: "groups: unknown type of matcher: use Exact, Prefix or All",
			},
		},
		"unreadable allow": {
			policy: policyNamed("p", 1, joining(func(j *JoinSection) { j.Allow = &AccountSelector{Invalid: "bad"} })),
			want:   PolicyVerdict{Acceptance: Invalid, Message: "join.allow: bad"},
		},
		"unreadable deny": {
			policy: policyNamed("p", 1, joining(func(j *JoinSection) { j.Deny = &AccountSelector{Invalid: "bad"} })),
			want:   PolicyVerdict{Acceptance: Invalid, Message: "join.deny: bad"},
		},
		"unreadable protect": {
			policy: badRule(protect(&AccountSelector{Invalid: "bad"})),
			want:   PolicyVerdict{Acceptance: Invalid, Message: "whenFull.prune.protect: bad"},
		},
		"empty account prefix": {
			policy: badRule(protect(&AccountSelector{Prefixes: []string{"a", ""}})),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    "whenFull.prune.protect: accountPrefixes: an empty prefix matches every account: remove it",
			},
		},
		"reference with neither name nor selector": {
			policy: badRule(protect(byListName(""))),
			want: PolicyVerdict{
				Acceptance: Invalid, MissingRefs: `whenFull.prune.protect: AccountList ""`,
				Message: "whenFull.prune.protect: lists: a reference needs exactly one of name and selector",
			},
		},
		"reference with name and selector": {
			policy: badRule(protect(&AccountSelector{Lists: []ListRef{{Name: "vip-0", Selector: &Selector{vips}}}})),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    "whenFull.prune.protect: lists: a reference needs exactly one of name and selector",
			},
		},
		"unknown operator": {
			policy: policyNamed("p", 1, joining(func(j *JoinSection) {
				j.Deny = byLabels(Requirement{Key: "list",
					Op: "Like"})
			})),
			want: PolicyVerdict{
				Acceptance: Invalid, MissingRefs: `join.deny: AccountLists selected by "list Like"`,
				Message: `join.deny: lists: selector: unknown operator "Like": use In, NotIn, Exists or DoesNotExist`,
			},
		},
		"unknown mode": {
			policy: badRule(func(r *PruneRule) { r.Mode = 7 }),
			want: PolicyVerdict{
				Acceptance: Invalid, Message: "whenFull.prune.mode: unknown: use Preview, Approve or Enforce",
			},
		},
		"inactiveFor too short": {
			policy: badRule(func(r *PruneRule) { r.InactiveFor = 24*time.Hour - 1 }),
			want: PolicyVerdict{
				Acceptance: Invalid, Message: "whenFull.prune.inactiveFor: too short: use at least 24h",
			},
		},
		"inactiveFor of a day": {policy: badRule(func(r *PruneRule) { r.InactiveFor = 24 * time.Hour })},
		"no seats": {
			policy: badRule(func(r *PruneRule) { r.FreeSeats = Seats{} }),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    `whenFull.prune.freeSeats: use a number of at least 1, or a percentage from "1%" to "100%"`,
			},
		},
		"too many percent": {
			policy: badRule(func(r *PruneRule) { r.FreeSeats = Seats{Percent: 101} }),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    `whenFull.prune.freeSeats: use a number of at least 1, or a percentage from "1%" to "100%"`,
			},
		},
		"no removals": {
			policy: badRule(func(r *PruneRule) { r.MaxRemovals = 0 }),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    "whenFull.prune.maxRemovals: 0 is out of range: use a number from 1 to 1000",
			},
		},
		"too many removals": {
			policy: badRule(func(r *PruneRule) { r.MaxRemovals = 1001 }),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    "whenFull.prune.maxRemovals: 1001 is out of range: use a number from 1 to 1000",
			},
		},
		"no removals in a day": {
			policy: badRule(func(r *PruneRule) { r.MaxRemovalsPerDay = 0 }),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    "whenFull.prune.maxRemovalsPerDay: 0 is out of range: use a number from 1 to 1000000",
			},
		},
		"too many removals in a day": {
			policy: badRule(func(r *PruneRule) { r.MaxRemovalsPerDay = 1_000_001 }),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    "whenFull.prune.maxRemovalsPerDay: 1000001 is out of range: use a number from 1 to 1000000",
			},
		},
		"code that does not reach the client": {
			policy: policyNamed("p", 1, joining(reject(1, ""))),
			want: PolicyVerdict{
				Acceptance: Invalid,
				Message:    "join.reject.code: 1 does not reach the client: use a number from 10100 to 10200",
			},
		},
		"every problem is named": {
			policy: badRule(func(r *PruneRule) { r.MaxRemovals, r.InactiveFor = 5000, time.Hour }),
			want: PolicyVerdict{
				Acceptance: Invalid, Message: "whenFull.prune.inactiveFor: too short: use at least 24h; " +
					"whenFull.prune.maxRemovals: 5000 is out of range: use a number from 1 to 1000",
			},
		},
		"rejoining too late": {
			policy: badRule(func(r *PruneRule) { r.RejoinAfter = 30*day + 1 }),
			want: PolicyVerdict{
				Acceptance: Invalid, Message: "whenFull.prune.rejoinAfter: too long: use at most 30d",
			},
		},
		"rejoining before leaving": {
			policy: badRule(func(r *PruneRule) { r.RejoinAfter = -1 }),
			want: PolicyVerdict{
				Acceptance: Invalid, Message: "whenFull.prune.rejoinAfter: too long: use at most 30d",
			},
		},
		"rejoining after 30 days": {policy: badRule(func(r *PruneRule) { r.RejoinAfter = 30 * day })},
		"mode Approve":            {policy: badRule(func(r *PruneRule) { r.Mode = ModeApprove })},
		"all references resolve, one to an empty list": {
			policy: policyNamed("p", 1, joining(func(j *JoinSection) {
				j.Allow, j.Deny = byListName("vip-0", "empty"),
					byLabels(vips)
			})),
		},
		"missing references, in the order of the fields": {
			policy: policyNamed("p", 1,
				joining(func(j *JoinSection) { j.Allow, j.Deny = byListName("vip-0", "gone"), byLabels(nobody) }),
				prune(protect(byListName("lost", "vip-0", "lost")))),
			want: PolicyVerdict{
				MissingRefs: `join.allow: AccountList "gone"; join.deny: AccountLists selected by "list=nobody"; whenFull.prune.protect: AccountList "lost"`,
			},
		},
		"a policy without its app says what is missing, too": {
			policy: policyNamed("p", 1, func(p *Policy) { p.App = "staging" },
				joining(func(j *JoinSection) { j.Allow = byListName("gone") })),
			want: PolicyVerdict{
				Acceptance: TargetNotFound, Message: `IMApp "staging" does not exist in namespace "chat"`,
				MissingRefs: `join.allow: AccountList "gone"`,
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			snapshot := Compile(Input{
				Apps: []App{prodApp(), conflicted}, Lists: []List{vip, empty}, Policies: []Policy{tc.policy},
			})
			tc.want.Object = tc.policy.Object
			got, ok := snapshot.PolicyVerdict("chat", "p", "uid-p")
			if diff := cmp.Diff(tc.want, got); diff != "" || !ok {
				t.Errorf("PolicyVerdict, ok=%t (-want,+got):\n%s", ok, diff)
			}
		})
	}
}

// TestMissingRefsFitACondition refers to far more lists than anybody will, by the longest names and selectors.
func TestMissingRefsFitACondition(t *testing.T) {
	var refs AccountSelector
	for i := range 64 {
		long := strings.Repeat(string(rune('a'+i%26)), 200+i)
		refs.Lists = append(refs.Lists, ListRef{Name: long}, ListRef{
			Selector: &Selector{{Key: long, Op: OpIn, Values: []string{long, long + "é", long}}},
		})
	}
	s := Compile(world(policyNamed("p", 1, joining(func(j *JoinSection) { j.Allow, j.Deny = &refs, &refs }),
		prune(protect(&refs)))))
	v, _ := s.PolicyVerdict("chat", "p", "uid-p")
	if len(v.MissingRefs) > 16<<10 || !strings.HasSuffix(v.MissingRefs, "; and 374 more") {
		t.Errorf("%d bytes, ending in %q", len(v.MissingRefs), v.MissingRefs[len(v.MissingRefs)-30:])
	}
}

func TestPruneOverridden(t *testing.T) {
	type result struct{ By, Matcher string }
	tests := map[string]struct {
		policies []Policy
		want     map[string]result
	}{
		"same matcher: the older wins": {
			policies: []Policy{
				policyNamed("p", 2, on(exact("g")), prune()), policyNamed("q", 1, on(exact("g")), prune()),
			},
			want: map[string]result{"p": {"q", `Exact "g"`}},
		},
		"same age: the name decides": {
			policies: []Policy{
				policyNamed("p", 1, on(prefix("g")), prune()), policyNamed("q", 1, on(prefix("g")), prune()),
			},
			want: map[string]result{"q": {"p", `Prefix "g"`}},
		},
		"another value is not the same matcher": {
			policies: []Policy{
				policyNamed("p", 2, on(exact("g")), prune()),
				policyNamed("q", 1, on(exact("h"), prefix("g"), all()), prune()),
			},
		},
		"all": {
			policies: []Policy{policyNamed("p", 2, prune()), policyNamed("q", 1, prune())},
			want:     map[string]result{"p": {"q", "All"}},
		},
		"the first of several matchers is named": {
			policies: []Policy{
				policyNamed("p", 2, on(exact("x"), exact("h"), exact("g")), prune()),
				policyNamed("q", 1, on(exact("g"), exact("h")), prune()),
			},
			want: map[string]result{"p": {"q", `Exact "h"`}},
		},
		"without a rule nothing is overridden": {
			policies: []Policy{policyNamed("p", 2, joining()), policyNamed("q", 1, prune())},
		},
		"a policy without a rule overrides nothing": {
			policies: []Policy{policyNamed("p", 2, prune()), policyNamed("q", 1, joining())},
		},
		"types: a filter does not cover everything": {
			policies: []Policy{
				policyNamed("p", 2, prune()), policyNamed("q", 1, ofTypes(TypeWork, TypePublic), prune()),
			},
		},
		"types: everything covers a filter": {
			policies: []Policy{policyNamed("p", 2, ofTypes(TypeWork), prune()), policyNamed("q", 1, prune())},
			want:     map[string]result{"p": {"q", "All"}},
		},
		"types: a superset covers": {
			policies: []Policy{
				policyNamed("p", 2, ofTypes(TypeWork), prune()),
				policyNamed("q", 1, ofTypes(TypePublic, TypeWork), prune()),
			},
			want: map[string]result{"p": {"q", "All"}},
		},
		"types: an overlap does not cover": {
			policies: []Policy{
				policyNamed("p", 2, ofTypes(TypeWork, TypeMeeting), prune()),
				policyNamed("q", 1, ofTypes(TypePublic, TypeWork), prune()),
			},
		},
		"the highest-ranked that covers is named": {
			policies: []Policy{
				policyNamed("p", 4, ofTypes(TypeWork), prune()), policyNamed("q", 3, prune()),
				policyNamed("r", 2, ofTypes(TypeWork, TypePublic), prune()),
				policyNamed("s", 1, ofTypes(TypePublic), prune()),
			},
			want: map[string]result{"p": {"r", "All"}},
		},
		"an invalid policy keeps its place": {
			policies: []Policy{
				policyNamed("p", 2, prune()), policyNamed("q", 1, prune(), func(p *Policy) { p.Invalid = "bad" }),
			},
			want: map[string]result{"p": {"q", "All"}},
		},
		"policies of another app override nothing": {
			policies: []Policy{
				policyNamed("p", 2, prune()), policyNamed("q", 1, prune(), func(p *Policy) { p.App = "staging" }),
			},
		},
	}
	staging := App{Object: object("staging", 0), SDKAppID: 7}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			permutations(tc.policies, func(policies []Policy) {
				got := map[string]result{}
				for v := range Compile(Input{Apps: []App{prodApp(), staging}, Policies: policies}).PolicyVerdicts() {
					if v.Acceptance == TargetNotFound {
						t.Errorf("%s: %s", v.Name, v.Message)
					}
					if v.OverriddenBy != "" {
						got[v.Name] = result{v.OverriddenBy, v.OverriddenMatcher}
					}
				}
				if tc.want == nil {
					tc.want = map[string]result{}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("overridden (-want,+got):\n%s", diff)
				}
			})
		})
	}
}

func TestConflictingApps(t *testing.T) {
	named := func(namespace, name string, age int, id uint64) App {
		return App{
			Object: Object{
				Namespace: namespace, Name: name, UID: namespace + name,
				Created: t0.Add(time.Duration(age) * time.Second),
			},
			SDKAppID: id,
		}
	}
	unconfirmed := func(a App) App {
		a.Unconfirmed = true
		return a
	}
	tests := map[string]struct {
		apps   []App
		holder string
	}{
		"the older holds": {
			apps: []App{named("a", "a", 2, 1), named("b", "b", 1, 1), named("c", "c", 3, 1)}, holder: "b/b",
		},
		"then the namespace": {
			apps: []App{named("b", "a", 1, 1), named("a", "z", 1, 1), named("c", "c", 1, 1)}, holder: "a/z",
		},
		"then the name": {
			apps: []App{named("a", "z", 1, 1), named("a", "y", 1, 1), named("b", "a", 1, 1)}, holder: "a/y",
		},
		"one that may be gone makes way": {
			apps:   []App{unconfirmed(named("a", "a", 1, 1)), named("b", "b", 3, 1), named("c", "c", 2, 1)},
			holder: "c/c",
		},
		"one that may be gone serves while it is alone": {
			apps: []App{unconfirmed(named("a", "a", 1, 1)), named("b", "b", 3, 2)}, holder: "a/a",
		},
		"the older of those that may be gone": {
			apps: []App{unconfirmed(named("a", "a", 2, 1)), unconfirmed(named("b", "b", 1, 1))}, holder: "b/b",
		},
		"other ids are no rival": {apps: []App{named("a", "z", 2, 1), named("a", "y", 1, 2)}, holder: "a/z"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			permutations(tc.apps, func(apps []App) {
				s := Compile(Input{Apps: apps})
				if got := s.App(1).Object().Key(); got != tc.holder {
					t.Fatalf("held by %s, want %s", got, tc.holder)
				}
				for _, a := range apps {
					v, _ := s.AppVerdict(a.Namespace, a.Name, a.UID)
					wantHeldBy := tc.holder
					if a.SDKAppID != 1 || a.Key() == tc.holder {
						wantHeldBy = ""
					}
					if v.HeldBy != wantHeldBy {
						t.Errorf("%s: HeldBy %q, want %q", a.Key(), v.HeldBy, wantHeldBy)
					}
					if got, want := s.AppNamed(a.Namespace, a.Name) != nil, wantHeldBy == ""; got != want {
						t.Errorf("AppNamed(%s) found: %t, want %t", a.Key(), got, want)
					}
				}
			})
		})
	}
}

func TestConflictEndsWithTheHolder(t *testing.T) {
	copied := prodApp()
	copied.Object = object("copy", 9)
	in := Input{
		Apps:     []App{prodApp(), copied},
		Policies: []Policy{policyNamed("p", 1, joining(allow()), func(p *Policy) { p.App = "copy" })},
	}
	q := JoinQuery{Group: "g", Account: "jared"}
	var c Compiler
	if got := c.compile(in).App(appID).DecideJoin(q).Reason; got != ReasonUnmatched {
		t.Errorf("a policy of the conflicted app decided: %v", got)
	}
	in.Apps = in.Apps[1:]
	if got := c.compile(in).App(appID).DecideJoin(q).Reason; got != ReasonNotListed {
		t.Errorf("the policy of the next holder did not decide: %v", got)
	}
}

func TestAppVerdict(t *testing.T) {
	tests := map[string]struct {
		edit   func(*App)
		want   AppVerdict
		tokens int
	}{
		"all there": {edit: func(*App) {}, want: AppVerdict{SecretFound: true, SecretKeyPresent: true}, tokens: 1},
		"no secret": {
			edit: func(a *App) { a.SecretFound, a.SecretKeyPresent, a.Tokens = false, false, nil },
			want: AppVerdict{TokenMissing: true, CallbacksRefused: true},
		},
		"empty tokens are none": {
			edit: func(a *App) { a.Tokens = []Token{{Name: TokenCurrent}, {Name: TokenPrevious}} },
			want: AppVerdict{SecretFound: true, SecretKeyPresent: true, TokenMissing: true, CallbacksRefused: true},
		},
		"only the previous token is left": {
			edit: func(a *App) { a.Tokens[0].Name = TokenPrevious },
			want: AppVerdict{SecretFound: true, SecretKeyPresent: true, TokenMissing: true}, tokens: 1,
		},
		"an empty token beside another": {
			edit: func(a *App) { a.Tokens = append(a.Tokens, Token{Name: TokenPrevious}) },
			want: AppVerdict{SecretFound: true, SecretKeyPresent: true}, tokens: 1,
		},
		"no token needed": {
			edit: func(a *App) { a.Authentication, a.Tokens = AuthenticateNone, nil },
			want: AppVerdict{SecretFound: true, SecretKeyPresent: true},
		},
		"suspended": {
			edit: func(a *App) { a.PruningSuspended = true }, tokens: 1,
			want: AppVerdict{SecretFound: true, SecretKeyPresent: true, PruningSuspended: true},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			app := prodApp()
			tc.edit(&app)
			s := Compile(Input{Apps: []App{app}})
			tc.want.Object = app.Object
			got, _ := s.AppVerdict(app.Namespace, app.Name, app.UID)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("AppVerdict (-want,+got):\n%s", diff)
			}
			compiled := s.App(appID)
			if len(compiled.Tokens()) != tc.tokens || compiled.PruningSuspended() != app.PruningSuspended ||
				compiled.Authentication() != app.Authentication || compiled.AdminAccount() != app.AdminAccount ||
				compiled.SDKAppID() != appID {
				t.Errorf("the compiled app differs: %d tokens, want %d", len(compiled.Tokens()), tc.tokens)
			}
		})
	}
}

// A policy says that its app refuses every callback, since nothing that the policy says is then asked for.
func TestPolicyOfAnAppThatRefusesEveryCallback(t *testing.T) {
	tests := map[string]struct {
		edit func(*App)
		want AppRefusal
	}{
		"none":           {func(*App) {}, NotRefused},
		"no secret":      {func(a *App) { a.SecretFound, a.Tokens = false, nil }, RefusedSecretNotFound},
		"no token":       {func(a *App) { a.Tokens = nil }, RefusedTokenMissing},
		"previous token": {func(a *App) { a.Tokens[0].Name = TokenPrevious }, NotRefused},
		"None without a secret": {func(a *App) {
			a.SecretFound, a.Tokens, a.Authentication = false, nil, AuthenticateNone
		}, NotRefused},
		"no key": {func(a *App) { a.SecretKeyPresent = false }, NotRefused},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			app, gate := prodApp(), policyNamed("gate", 1, joining(allow("jared")))
			tc.edit(&app)
			s := Compile(Input{Apps: []App{app}, Policies: []Policy{gate}})
			got, _ := s.PolicyVerdict(gate.Namespace, gate.Name, gate.UID)
			if diff := cmp.Diff(PolicyVerdict{Object: gate.Object, AppRefusal: tc.want}, got); diff != "" {
				t.Errorf("PolicyVerdict (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestListVerdictAndStats(t *testing.T) {
	in := world(
		policyNamed("ok", 1, joining(allow("a", "a", "b"))),
		policyNamed("bad", 1, func(p *Policy) { p.Invalid = "bad" }),
		policyNamed("lost", 1, func(p *Policy) { p.App = "none" }),
	)
	in.Lists = []List{listNamed("l", nil, "x", "y", "x"), listNamed("none", nil)}
	s := Compile(in)
	want := Stats{Policies: map[Acceptance]int{Accepted: 1, Invalid: 1, TargetNotFound: 1}, Accounts: 4}
	if diff := cmp.Diff(want, s.Stats()); diff != "" {
		t.Errorf("Stats (-want,+got):\n%s", diff)
	}
	wantLists := []ListVerdict{{Object: object("l", 0), Accounts: 2}, {Object: object("none", 0)}}
	if diff := cmp.Diff(wantLists, slices.Collect(s.ListVerdicts())); diff != "" {
		t.Errorf("ListVerdicts (-want,+got):\n%s", diff)
	}
	if got, ok := s.ListVerdict("chat", "l", "uid-l"); got != wantLists[0] || !ok {
		t.Errorf("ListVerdict = %+v, %t", got, ok)
	}
}

func TestEmptyInput(t *testing.T) {
	s := Compile(Input{})
	if s.App(appID) != nil || s.AppNamed("chat", "prod") != nil || len(slices.Collect(s.Apps())) != 0 {
		t.Error("an empty snapshot knows an app")
	}
	if _, ok := s.PolicyVerdict("", "", ""); ok {
		t.Error("an empty snapshot knows a policy")
	}
}

// TestOrderNeverMatters compiles every order of policies, apps and lists that compete for the same groups.
func TestOrderNeverMatters(t *testing.T) {
	copied := prodApp()
	copied.Object = object("copy", 0)
	policies := []Policy{
		policyNamed("b", 1, on(exact("g"), all()), joining(allow("jared"), reject(10101, "b")), prune()),
		policyNamed("a", 1, on(exact("g")), joining(allow(), reject(10102, "a")), prune(protect(byListName("gone")))),
		policyNamed("c", 0, on(all()), joining(deny("mallory"), reject(10103, "c")), prune(protect(byLabels()))),
		policyNamed("d", 0, on(all()), joining(allow("tommy")), func(p *Policy) { p.Generation = 2 }),
	}
	lists := []List{
		listNamed("l1", nil, "x"), listNamed("l2", nil, "y"), listNamed("l3", map[string]string{"a": "b"}, "z"),
	}
	queries := []JoinQuery{
		{Group: "g", Type: TypePublic, Account: "jared"}, {Group: "h", Type: TypePublic, Account: "mallory"},
		{Group: "h", Type: TypeWork, Account: "z"},
	}
	var want []string
	permutations(policies, func(policies []Policy) {
		permutations(lists, func(lists []List) {
			for _, apps := range [][]App{{prodApp(), copied}, {copied, prodApp()}} {
				got := dump(Compile(Input{Apps: apps, Lists: lists, Policies: policies}), queries)
				if want == nil {
					want = got
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("another order, another snapshot (-want,+got):\n%s", diff)
				}
			}
		})
	})
}

// An empty list protects no account, and a missing one stops pruning, though neither holds an account.
func TestHashTellsAMissingListFromAnEmptyOne(t *testing.T) {
	in := world(policyNamed("p", 1, prune(protect(byListName("founders")))))
	missing := Compile(in).Hash()
	in.Lists = []List{listNamed("founders", nil)}
	if Compile(in).Hash() == missing {
		t.Error("the hash is the same")
	}
}

// TestHash pins that everything that decides or prunes is part of the hash, and nothing else.
func TestHash(t *testing.T) {
	base := func() Input {
		in := world(
			policyNamed("p", 1, on(exact("g")), joining(allow("jared"), deny("mallory"), reject(10110, "m")),
				prune(protect(naming("leckie")))),
			policyNamed("q", 1, joining(func(j *JoinSection) {
				j.Allow = byLabels(Requirement{Key: "list", Op: OpIn, Values: []string{"vip"}})
			})),
		)
		in.Lists = []List{
			listNamed("l", map[string]string{"list": "vip"}, "x"),
			listNamed("m", map[string]string{"list": "other"}, "y"),
		}
		return in
	}
	edits := map[string]func(*Input){
		"token": func(in *Input) { in.Apps[0].Tokens[0].Value = "other" },
		"token added": func(in *Input) {
			in.Apps[0].Tokens = append(in.Apps[0].Tokens, Token{TokenPrevious, "old"})
		},
		"authentication":     func(in *Input) { in.Apps[0].Authentication = AuthenticateNone },
		"sdkAppID":           func(in *Input) { in.Apps[0].SDKAppID++ },
		"adminAccount":       func(in *Input) { in.Apps[0].AdminAccount = "root" },
		"unmatched":          func(in *Input) { in.Apps[0].RejectUnmatched = true },
		"suspended":          func(in *Input) { in.Apps[0].PruningSuspended = true },
		"app gone":           func(in *Input) { in.Apps = nil },
		"group":              func(in *Input) { in.Policies[0].Groups[0].Value = "h" },
		"matcher":            func(in *Input) { in.Policies[0].Groups[0].Kind = MatchPrefix },
		"group added":        func(in *Input) { in.Policies[0].Groups = append(in.Policies[0].Groups, all()) },
		"types":              func(in *Input) { in.Policies[0].Types = NewTypeSet(TypeWork) },
		"allow":              func(in *Input) { in.Policies[0].Join.Allow.Accounts[0] = "jareD" },
		"allow empty":        func(in *Input) { in.Policies[0].Join.Allow.Accounts = nil },
		"allow gone":         func(in *Input) { in.Policies[0].Join.Allow = nil },
		"allow prefix":       func(in *Input) { in.Policies[0].Join.Allow.Prefixes = []string{"jared"} },
		"deny":               func(in *Input) { in.Policies[0].Join.Deny.Accounts[0] = "x" },
		"allow becomes deny": func(in *Input) { j := in.Policies[0].Join; j.Allow, j.Deny = j.Deny, j.Allow },
		"audit":              func(in *Input) { in.Policies[0].Join.Audit = true },
		"triggers":           func(in *Input) { in.Policies[0].Join.Triggers = NewTriggerSet(TriggerApply) },
		"code":               func(in *Input) { in.Policies[0].Join.Reject.Code++ },
		"message":            func(in *Input) { in.Policies[0].Join.Reject.Message = "n" },
		"join gone":          func(in *Input) { in.Policies[0].Join = nil },
		"mode":               func(in *Input) { in.Policies[0].Prune.Mode = ModePreview },
		"inactiveFor":        func(in *Input) { in.Policies[0].Prune.InactiveFor++ },
		"seats":              func(in *Input) { in.Policies[0].Prune.FreeSeats = Seats{Count: 5} },
		"maxRemovals":        func(in *Input) { in.Policies[0].Prune.MaxRemovals++ },
		"maxRemovalsPerDay":  func(in *Input) { in.Policies[0].Prune.MaxRemovalsPerDay++ },
		"rejoinAfter":        func(in *Input) { in.Policies[0].Prune.RejoinAfter++ },
		"refusal":            func(in *Input) { in.Policies[0].Prune.Reject.Code++ },
		"words of a refusal": func(in *Input) { in.Policies[0].Prune.Reject.Message = "n" },
		"record":             func(in *Input) { in.Refusals = []Refusal{recordOf("a", restoring, "x")} },
		"protect":            func(in *Input) { in.Policies[0].Prune.Protect.Accounts[0] = "x" },
		"cooldown":           func(in *Input) { in.Policies[0].Prune.Cooldown++ },
		"silent":             func(in *Input) { in.Policies[0].Prune.Silent = true },
		"reason":             func(in *Input) { in.Policies[0].Prune.Reason = "x" },
		"prune gone":         func(in *Input) { in.Policies[0].Prune = nil },
		"invalid":            func(in *Input) { in.Policies[0].Invalid = "x" },
		"generation":         func(in *Input) { in.Policies[0].Generation++ },
		"uid":                func(in *Input) { in.Policies[0].UID = "new" },
		"age":                func(in *Input) { in.Policies[0].Created = t0.Add(time.Hour) },
		"policy gone":        func(in *Input) { in.Policies = in.Policies[1:] },
		"list content":       func(in *Input) { in.Lists[0].Accounts = accounts.NewSet([]string{"z"}) },
		"list selected":      func(in *Input) { in.Lists[1].Labels["list"] = "vip" },
		"list not selected":  func(in *Input) { in.Lists[0].Labels["list"] = "none" },
		"list gone":          func(in *Input) { in.Lists = in.Lists[1:] },
	}
	want, rules := Compile(base()).Hash(), Compile(base()).RulesHash()
	for name, edit := range edits {
		in := base()
		edit(&in)
		if got := Compile(in); got.Hash() == want || (got.RulesHash() == rules) != (name == "record") {
			t.Errorf("%s does not change the hash", name)
		}
	}
	harmless := map[string]func(*Input){
		"a list that nobody refers to": func(in *Input) { in.Lists[1].Accounts = accounts.NewSet([]string{"z"}) },
		"a policy without an app": func(in *Input) {
			in.Policies = append(in.Policies, policyNamed("z", 1, func(p *Policy) { p.App = "none" }))
		},
		"a repeated account": func(in *Input) { in.Lists[0].Accounts = accounts.NewSet([]string{"x", "x"}) },
		"another time zone": func(in *Input) {
			in.Policies[0].Created = in.Policies[0].Created.In(time.FixedZone("CST", 8*3600))
		},
	}
	for name, edit := range harmless {
		in := base()
		edit(&in)
		if Compile(in).Hash() != want {
			t.Errorf("%s changes the hash", name)
		}
	}
	// No seed of the process and no layout of memory is in the hash. Replicas of one release must agree on it.
	if want != 0xf8e2b93998916537 {
		t.Errorf("the hash of the same input was another one once: %#x", want)
	}
}

func TestSnapshotIsImmutable(t *testing.T) {
	fresh := func() Input {
		in := world(
			policyNamed("p", 1, on(exact("g"), prefix("g-")), joining(func(j *JoinSection) {
				j.Allow = &AccountSelector{Accounts: []string{"jared"}, Prefixes: []string{"staff-", "vip-"}}
				j.Deny = byLabels(Requirement{Key: "list", Op: OpIn, Values: []string{"bad"}})
			}), prune(protect(naming("leckie")))),
		)
		in.Lists = []List{listNamed("bad", map[string]string{"list": "bad"}, "mallory")}
		return in
	}
	queries := []JoinQuery{
		{Group: "g", Type: TypePublic, Account: "jared"}, {Group: "g-1", Type: TypePublic, Account: "mallory"},
		{Group: "g", Type: TypeWork, Account: "staff-1"},
	}
	in := fresh()
	var c Compiler
	s := c.compile(in)
	want := dump(s, queries)

	p := &in.Policies[0]
	p.Groups[0].Value, p.Groups[1].Value = "x", "x"
	p.Join.Allow.Accounts[0], p.Join.Allow.Prefixes[0], p.Join.Allow.Prefixes[1] = "x", "x", "x"
	(*p.Join.Deny.Lists[0].Selector)[0].Values[0] = "x"
	p.Prune.Protect.Accounts[0] = "x"
	p.Prune.InactiveFor = 0
	in.Lists[0].Accounts = accounts.NewSet([]string{"x"})
	in.Apps[0].Tokens[0].Value = ""
	if diff := cmp.Diff(want, dump(s, queries)); diff != "" {
		t.Errorf("changing the input changed the snapshot (-want,+got):\n%s", diff)
	}

	if diff := cmp.Diff(want, dump(c.compile(fresh()), queries)); diff != "" {
		t.Errorf("changing the input changed what the compiler remembers (-want,+got):\n%s", diff)
	}
	in = fresh()
	in.Policies[0].Generation, in.Lists[0].Generation = 2, 2
	in.Policies[0].Join.Allow.Accounts[0] = "tommy"
	in.Lists[0].Accounts = ""
	c.compile(in)
	if diff := cmp.Diff(want, dump(s, queries)); diff != "" {
		t.Errorf("another build changed the snapshot (-want,+got):\n%s", diff)
	}
}

// TestCompilerForgets pins that a compiler does not grow with what it has seen.
func TestCompilerForgets(t *testing.T) {
	copied := prodApp()
	copied.Object = object("copy", 9)
	in := world(
		policyNamed("p", 1, on(exact("g"), prefix("g"), all()),
			joining(func(j *JoinSection) { j.Allow, j.Deny = byListName("l"), byLabels() })),
		policyNamed("q", 1, joining(), func(p *Policy) { p.App = "gone" }),
	)
	in.Apps = append(in.Apps, copied)
	in.Lists = []List{listNamed("l", nil, "x")}
	in.Refusals = []Refusal{recordOf("a", restoring, "x")}
	var c Compiler
	want := c.Build()
	c.compile(in)
	if got := [...]int{len(c.apps), len(c.policies), len(c.refusals), len(c.lists.namespaces)}; got != [...]int{2, 2, 1,
		1} {
		t.Errorf("the compiler knows %v", got)
	}
	got := c.compile(Input{})
	if got.Hash() != want.Hash() || got.RulesHash() != want.RulesHash() {
		t.Errorf("deleting everything leaves the hash %x, want that of an empty input, %x", got.Hash(), want.Hash())
	}
	left := len(c.apps) + len(c.policies) + len(c.refusals) + len(c.lists.namespaces) + len(c.lists.stale) +
		len(c.lists.crowded)
	if left > 0 {
		t.Errorf("the compiler knows %d things of an empty input", left)
	}
}

// TestBuildReusesWhatIsResolved counts what an edit makes anew.
func TestBuildReusesWhatIsResolved(t *testing.T) {
	in := benchmarkInput(1000, 1000)
	var c Compiler
	first := c.compile(in)
	if c.Build() != first {
		t.Error("no change, another snapshot")
	}
	// changed counts the verdicts and the resolved policies that a snapshot does not share with the one before.
	changed := func(before, after *Snapshot) (verdicts, resolved int) {
		for range after.policies.since(before.policies) {
			verdicts++
		}
		for group, b := range after.App(appID).groups.exact {
			if b.policies[0] != before.App(appID).groups.exact[group].policies[0] {
				resolved++
			}
		}
		return verdicts, resolved
	}
	edited := in.Policies[0]
	edited.Generation++
	c.SetPolicy(edited)
	second := c.Build()
	if verdicts, resolved := changed(first, second); verdicts != 1 || resolved != 1 {
		t.Errorf("an edit of one policy of 1000 made %d verdicts and resolved %d policies, want one of each", verdicts,
			resolved)
	}
	c.SetList(in.Lists[0])
	if verdicts, resolved := changed(second, c.Build()); verdicts != 0 || resolved != 1 {
		t.Errorf("an edit of one list made %d verdicts and resolved %d policies, want the one that refers to it",
			verdicts, resolved)
	}
}

func TestLabelsCountWithoutANewVersion(t *testing.T) {
	var c Compiler
	c.compile(world(policyNamed("p", 1, joining(func(j *JoinSection) {
		j.Allow = byLabels(Requirement{Key: "list",
			Op: OpExists})
	}))))
	q := JoinQuery{Group: "g", Account: "x"}
	for _, step := range []struct {
		labels  map[string]string
		want    Reason
		missing bool
	}{{nil, ReasonNotListed, true}, {map[string]string{"list": ""}, ReasonAllowed, false}, {
		nil, ReasonNotListed, true,
	}} {
		c.SetList(listNamed("l", step.labels, "x"))
		s := c.Build()
		if got := s.App(appID).DecideJoin(q).Reason; got != step.want {
			t.Errorf("labels %v: %v, want %v", step.labels, got, step.want)
		}
		if v, _ := s.PolicyVerdict("chat", "p", "uid-p"); (v.MissingRefs != "") != step.missing {
			t.Errorf("labels %v: missing %q", step.labels, v.MissingRefs)
		}
	}
}
