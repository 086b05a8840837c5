package convert_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

func wantWarning(t *testing.T, conditions []metav1.Condition, reason string, texts ...string) {
	t.Helper()
	warning := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionWarning)
	if reason == "" {
		if warning != nil {
			t.Errorf("warned of %s: %s", warning.Reason, warning.Message)
		}
		return
	}
	if warning == nil || warning.Reason != reason || warning.Status != metav1.ConditionTrue {
		t.Fatalf("got the warning %+v, want %s", warning, reason)
	}
	for _, text := range texts {
		if !strings.Contains(warning.Message, text) {
			t.Errorf("the warning %q does not say %q", warning.Message, text)
		}
	}
	if ready := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("a warning is part of Ready: %+v", ready)
	}
}

func TestPolicyThatDoesNotDoWhatItSeemsToSayIsWarnedOf(t *testing.T) {
	allowing := func(accounts ...string) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) { s.Join.Allow.Accounts = accounts }
	}
	pruning := func(most, perDay int32) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) {
			s.WhenFull = &v1alpha1.WhenFullSection{Prune: &v1alpha1.PruneRule{
				Mode: v1alpha1.PruneModePreview, InactiveFor: "30d", MaxRemovals: most, MaxRemovalsPerDay: perDay,
			}}
		}
	}
	evicting := func(most, perDay int32) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) {
			s.Join.Evict = &v1alpha1.EvictRule{
				Mode: v1alpha1.PruneModePreview, MaxRemovals: most, MaxRemovalsPerDay: perDay,
			}
		}
	}
	tests := map[string]struct {
		edit   func(*v1alpha1.GroupPolicySpec)
		reason string
		says   []string
	}{
		"nothing": {func(*v1alpha1.GroupPolicySpec) {}, "", nil},
		"allow with its entries commented out": {
			func(s *v1alpha1.GroupPolicySpec) { s.Join.Allow = nil }, "NoGate", []string{"write allow: {}"},
		},
		"only a message for removed accounts": {func(s *v1alpha1.GroupPolicySpec) {
			s.Join = &v1alpha1.JoinSection{Reject: &v1alpha1.Rejection{}}
		}, "", nil},
		"only a deny": {func(s *v1alpha1.GroupPolicySpec) {
			s.Join = &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{}}
		}, "", nil},
		"a glob": {
			func(s *v1alpha1.GroupPolicySpec) { s.Groups[1].Value = "vip-*" },
			"LiteralAsterisk", []string{`groups[1].value "vip-*"`, "type Prefix"},
		},
		"a blank at the end":          {allowing("jared", "eve "), "SuspiciousCharacters", []string{`join.allow.accounts has "eve "`}},
		"a tab":                       {allowing("eve\t"), "SuspiciousCharacters", []string{`"eve\t"`}},
		"a blank that cannot be seen": {allowing("e\u200bve", "a\u00a0b"), "SuspiciousCharacters", []string{`"a\u00a0b" and 1 more`}},
		"a blank inside":              {allowing("eve adams", "客服"), "", nil},
		"a blank in a protected prefix": {func(s *v1alpha1.GroupPolicySpec) {
			pruning(1, 1)(s)
			s.WhenFull.Prune.Protect = &v1alpha1.AccountSelector{AccountPrefixes: []string{" staff-"}}
		}, "SuspiciousCharacters", []string{`whenFull.prune.protect.accountPrefixes has " staff-"`}},
		"a small budget":          {pruning(500, 100), "SmallerBudget", []string{"(500)", "(100)", "smaller"}},
		"a budget of old, small":  {pruning(0, 50), "SmallerBudget", []string{"(100)", "(50)"}},
		"a budget that is enough": {pruning(100, 100), "", nil},
		"a small budget of evictions": {
			evicting(500, 100), "SmallerBudget", []string{"evict.maxRemovals (500)", "evict.maxRemovalsPerDay (100)"},
		},
		"a budget of evictions of old, small":  {evicting(0, 50), "SmallerBudget", []string{"(100)", "(50)"}},
		"a budget of evictions that is enough": {evicting(100, 100), "", nil},
		"two small budgets": {func(s *v1alpha1.GroupPolicySpec) {
			pruning(500, 100)(s)
			evicting(40, 30)(s)
		}, "SmallerBudget", []string{"maxRemovals (500)", "evict.maxRemovals (40)"}},
		"several": {func(s *v1alpha1.GroupPolicySpec) {
			pruning(500, 100)(s)
			s.Groups[0].Value = "*"
		}, "LiteralAsterisk", []string{`groups[0].value "*"`, "maxRemovalsPerDay"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := loungePolicy(false)
			tc.edit(&p.Spec)
			got := convert.PolicyConditions(policy.PolicyVerdict{Object: identity("lounge")}, p)
			wantWarning(t, got, tc.reason, tc.says...)
		})
	}
}

func TestListWithABlankIsWarnedOf(t *testing.T) {
	list := &v1alpha1.AccountList{Spec: v1alpha1.AccountListSpec{Accounts: []string{"jared", "eve ", " tommy"}}}
	verdict := policy.ListVerdict{Object: identity("vip")}
	wantWarning(t, convert.ListConditions(verdict, list), "SuspiciousCharacters", `accounts has " tommy" and 1 more`)
	convert.PackList(list, "") // as the cache has it
	wantWarning(t, convert.ListConditions(verdict, list), "SuspiciousCharacters", `accounts has " tommy" and 1 more`)
	wantWarning(t, convert.ListConditions(verdict, &v1alpha1.AccountList{}), "")
}

func TestAppThatBelievesEverySenderIsWarnedOf(t *testing.T) {
	verdict := policy.AppVerdict{Object: identity("prod"), SecretFound: true, SecretKeyPresent: true}
	app := namedApp()
	wantWarning(t, convert.AppConditions(verdict, app), "")
	app.Spec.CallbackAuthentication = v1alpha1.CallbackAuthenticationNone
	wantWarning(t, convert.AppConditions(verdict, app), "NotAuthenticated", "Token")
}

func TestSummaryOfAPolicy(t *testing.T) {
	selector := &v1alpha1.AccountSelector{}
	join := func(allow, deny *v1alpha1.AccountSelector) *v1alpha1.JoinSection {
		return &v1alpha1.JoinSection{Mode: v1alpha1.JoinModeEnforce, Allow: allow, Deny: deny}
	}
	gates := map[v1alpha1.Gate][]*v1alpha1.JoinSection{
		v1alpha1.GateNone:         {nil, join(nil, nil)},
		v1alpha1.GateAllow:        {join(selector, nil)},
		v1alpha1.GateDeny:         {join(nil, selector)},
		v1alpha1.GateAllowAndDeny: {join(selector, selector)},
		v1alpha1.GateAudit:        {{Mode: v1alpha1.JoinModeAudit, Allow: selector}, {Mode: v1alpha1.JoinModeAudit}},
	}
	for want, sections := range gates {
		for _, section := range sections {
			p := &v1alpha1.GroupPolicy{Spec: v1alpha1.GroupPolicySpec{Join: section}}
			if got := convert.PolicyGate(p); got != want {
				t.Errorf("the gate of %+v is %s, want %s", section, got, want)
			}
		}
	}
	exact, prefix := v1alpha1.GroupMatcherExact, v1alpha1.GroupMatcherPrefix
	for want, groups := range map[string][]v1alpha1.GroupMatcher{
		"":                 nil,
		"@TGS#2J4SZEAEL":   {{Value: "@TGS#2J4SZEAEL"}},
		"vip-* and 2 more": {{Type: prefix, Value: "vip-"}, {Value: "a"}, {Value: "b"}},
		"all":              {{Type: v1alpha1.GroupMatcherAll}},
		`"vip-*"`:          {{Type: exact, Value: "vip-*"}},
		`"vip *"*`:         {{Type: prefix, Value: "vip *"}},
		`"a\tb"`:           {{Value: "a\tb"}},
		"客服":               {{Value: "客服"}},
	} {
		got := convert.PolicyGroups(&v1alpha1.GroupPolicy{Spec: v1alpha1.GroupPolicySpec{Groups: groups}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("groups (-want,+got):\n%s", diff)
		}
	}
}
