package convert_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// outline writes conditions as "Type=Status/Reason", and checks what is the same for all of them.
func outline(t *testing.T, conditions []metav1.Condition) []string {
	t.Helper()
	var lines []string
	for _, c := range conditions {
		lines = append(lines, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
		if c.ObservedGeneration != 3 {
			t.Errorf("%s is about generation %d, want 3", c.Type, c.ObservedGeneration)
		}
		if c.Message == "" || len(c.Message) > 3000 || !utf8.ValidString(c.Message) {
			t.Errorf("%s has a message of %d bytes: %.100q", c.Type, len(c.Message), c.Message)
		}
		if !c.LastTransitionTime.IsZero() {
			t.Errorf("%s has a transition time", c.Type)
		}
	}
	return lines
}

func says(t *testing.T, conditions []metav1.Condition, texts ...string) {
	t.Helper()
	var all strings.Builder
	for _, c := range conditions {
		all.WriteString(c.Message + "\n")
	}
	for _, text := range texts {
		if !strings.Contains(all.String(), text) {
			t.Errorf("no message says %q:\n%s", text, all.String())
		}
	}
}

func namedApp() *v1alpha1.IMApp {
	return &v1alpha1.IMApp{Spec: v1alpha1.IMAppSpec{
		SDKAppID: 1400000000, CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: "prod-im"},
	}}
}

// loungePolicy gates two matchers, with a reference to a list or without.
func loungePolicy(refs bool) *v1alpha1.GroupPolicy {
	allow := &v1alpha1.AccountSelector{Accounts: []string{"jared"}}
	if refs {
		allow.Lists = []v1alpha1.AccountListReference{{Name: "vip-0"}}
	}
	return &v1alpha1.GroupPolicy{Spec: v1alpha1.GroupPolicySpec{
		AppRef: v1alpha1.AppReference{Name: "prod"},
		Groups: []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherPrefix, Value: "vip-"}, {Value: "lobby"}},
		Join:   &v1alpha1.JoinSection{Allow: allow},
	}}
}

func TestAppConditions(t *testing.T) {
	good := policy.AppVerdict{Object: identity("prod"), SecretFound: true, SecretKeyPresent: true}
	cases := map[string]struct {
		change func(*policy.AppVerdict)
		want   []string
		says   []string
	}{
		"Good": {
			func(*policy.AppVerdict) {},
			[]string{"Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Ready=True/Ready"}, []string{
				"This IMApp holds sdkAppID 1400000000.", "Callbacks of SDKAppID 1400000000 are answered.",
			},
		},
		"Conflicted": {
			func(v *policy.AppVerdict) { v.HeldBy = "other/older" },
			[]string{"Accepted=False/Conflicted", "ResolvedRefs=True/ResolvedRefs", "Ready=False/Conflicted",
				"Stalled=True/Conflicted"}, []string{
				"other/older",
			},
		},
		"ConflictedAndUnconfirmed": {
			func(v *policy.AppVerdict) { v.HeldBy, v.Unconfirmed = "other/younger", true },
			[]string{
				"Accepted=False/Conflicted", "ResolvedRefs=True/ResolvedRefs", "Ready=False/Conflicted",
				"Stalled=True/Conflicted",
			}, []string{
				"other/younger", "restore its RoleBinding",
			},
		},
		"SecretNotFound": {
			func(v *policy.AppVerdict) {
				v.SecretFound, v.SecretKeyPresent, v.TokenMissing, v.CallbacksRefused = false, false, true, true
			},
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/SecretNotFound", "Ready=False/SecretNotFound"},
			[]string{
				"Secret prod-im was not found in namespace chat, or lacks the label groupgate.io/credentials=true: ",
				"Until then every callback is refused, and by default the vendor admits every user.",
			},
		},
		"TokenMissing": {
			func(v *policy.AppVerdict) { v.TokenMissing, v.CallbacksRefused = true, true },
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/TokenMissing", "Ready=False/TokenMissing"}, []string{
				"Secret prod-im in namespace chat has no callbackToken", "every callback is refused",
			},
		},
		"OnlyThePreviousTokenIsLeft": {
			func(v *policy.AppVerdict) { v.TokenMissing = true },
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/TokenMissing", "Ready=False/TokenMissing"}, []string{
				"Secret prod-im in namespace chat has no callbackToken",
				"only callbacks that are signed with previousCallbackToken",
			},
		},
		"KeyMissing": {
			func(v *policy.AppVerdict) { v.SecretKeyPresent = false },
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/KeyMissing", "Ready=False/KeyMissing"}, []string{
				"Secret prod-im in namespace chat has no secretKey",
			},
		},
		"BothMissing": {
			func(v *policy.AppVerdict) { v.SecretKeyPresent, v.TokenMissing, v.CallbacksRefused = false, true, true },
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/TokenMissing", "Ready=False/TokenMissing"}, []string{
				"callbackToken", "secretKey",
			},
		},
		"KeyMissingWhileSuspended": {
			func(v *policy.AppVerdict) { v.SecretKeyPresent, v.PruningSuspended = false, true },
			[]string{"Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Ready=True/Ready"}, nil,
		},
		"ConflictedAndSecretNotFound": {
			func(v *policy.AppVerdict) { v.HeldBy, v.SecretFound = "other/older", false },
			[]string{"Accepted=False/Conflicted", "ResolvedRefs=False/SecretNotFound", "Ready=False/Conflicted",
				"Stalled=True/Conflicted"}, nil,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := good
			tc.change(&v)
			got := convert.AppConditions(v, namedApp())
			if diff := cmp.Diff(tc.want, outline(t, got)); diff != "" {
				t.Errorf("conditions (-want,+got):\n%s", diff)
			}
			says(t, got, tc.says...)
		})
	}
}

func TestPolicyConditions(t *testing.T) {
	var many []string
	for i := range 192 {
		many = append(many, fmt.Sprintf("join.allow: %d-%s", i, strings.Repeat("长", 80)))
	}
	cases := map[string]struct {
		verdict policy.PolicyVerdict
		refs    bool
		want    []string
		says    []string
	}{
		"Good": {
			policy.PolicyVerdict{}, true,
			[]string{"Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Ready=True/Ready"}, nil,
		},
		"WithoutReferences": {
			policy.PolicyVerdict{}, false,
			[]string{"Accepted=True/Accepted", "Ready=True/Ready"}, []string{
				"The policy is accepted, and governs the groups that it matches.",
				"In force for groups vip-* and 1 more.",
			},
		},
		"SecretOfTheAppNotFound": {
			policy.PolicyVerdict{AppRefusal: policy.RefusedSecretNotFound}, true,
			[]string{"Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Ready=False/AppNotReady"},
			[]string{"IMApp prod refuses every callback (SecretNotFound)"},
		},
		"AppNotReadyMattersMoreThanAList": {
			policy.PolicyVerdict{AppRefusal: policy.RefusedTokenMissing, MissingRefs: "join.allow: vip-0"}, true,
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/ListNotFound", "Ready=False/AppNotReady"},
			[]string{"(TokenMissing)"},
		},
		"InvalidMattersMoreThanTheApp": {
			policy.PolicyVerdict{
				AppRefusal: policy.RefusedTokenMissing, Acceptance: policy.Invalid, Message: "x",
			}, false,
			[]string{"Accepted=False/Invalid", "Ready=False/Invalid", "Stalled=True/Invalid"}, nil,
		},
		"TargetNotFound": {
			policy.PolicyVerdict{Acceptance: policy.TargetNotFound, Message: "IMApp \"prod\" does not exist"}, true,
			[]string{"Accepted=False/TargetNotFound", "ResolvedRefs=True/ResolvedRefs", "Ready=False/TargetNotFound",
				"Stalled=True/TargetNotFound"},
			[]string{"governs nothing", "prod"},
		},
		"Invalid": {
			policy.PolicyVerdict{Acceptance: policy.Invalid, Message: "join.mode: use Enforce or Audit"}, false,
			[]string{"Accepted=False/Invalid", "Ready=False/Invalid", "Stalled=True/Invalid"}, []string{
				"join.mode: use Enforce or Audit", "keeps its rank",
			},
		},
		"Missing": {
			policy.PolicyVerdict{MissingRefs: "join.allow: vip-0; whenFull.prune.protect: staff"}, true,
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/ListNotFound", "Ready=False/ListNotFound"},
			[]string{"join.allow: vip-0; whenFull.prune.protect: staff", "chat", "Create"},
		},
		"ManyMissing": {
			policy.PolicyVerdict{MissingRefs: strings.Join(many, "; ")}, true,
			[]string{"Accepted=True/Accepted", "ResolvedRefs=False/ListNotFound", "Ready=False/ListNotFound"}, []string{
				"join.allow: 0-",
			},
		},
		"InvalidDoesNotSayThatEveryReferenceResolves": {
			policy.PolicyVerdict{Acceptance: policy.Invalid,
				Message: "join.allow: lists[0]: set exactly one of name and selector"}, true,
			[]string{"Accepted=False/Invalid", "ResolvedRefs=True/ResolvedRefs", "Ready=False/Invalid",
				"Stalled=True/Invalid"}, []string{
				"Every reference that can be read resolves",
			},
		},
		"OverriddenStaysReady": {
			policy.PolicyVerdict{OverriddenBy: "older", OverriddenMatcher: `Prefix "vip-"`}, false,
			[]string{"Accepted=True/Accepted", "Ready=True/Ready", "PruneOverridden=True/Overridden"}, []string{
				"older", `Prefix "vip-"`,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.verdict.Object = identity("lounge")
			got := convert.PolicyConditions(tc.verdict, loungePolicy(tc.refs))
			if diff := cmp.Diff(tc.want, outline(t, got)); diff != "" {
				t.Errorf("conditions (-want,+got):\n%s", diff)
			}
			says(t, got, tc.says...)
		})
	}
}

// Core and conditions bound what is named; together they must not lose count.
func TestMissingListsAddUp(t *testing.T) {
	var refs policy.AccountSelector
	for i := range 30 {
		refs.Lists = append(refs.Lists, policy.ListRef{Name: fmt.Sprintf("vip-%d", i)})
	}
	app := policy.App{Object: policy.Object{Namespace: "chat", Name: "prod", UID: "app"}, SDKAppID: 1}
	lounge := policy.Policy{Object: identity("lounge"), App: "prod", Join: &policy.JoinSection{Allow: &refs}}
	v, _ := policy.Compile(policy.Input{Apps: []policy.App{app},
		Policies: []policy.Policy{lounge}}).PolicyVerdict("chat", "lounge", "uid")
	got := convert.PolicyConditions(v, loungePolicy(true))
	outline(t, got)
	says(t, got, `join.allow: AccountList "vip-9"; and 20 more`)
}

func TestListAndVendorConditions(t *testing.T) {
	got := convert.ListConditions(policy.ListVerdict{Object: identity("vip"), Accounts: 2}, &v1alpha1.AccountList{})
	if diff := cmp.Diff([]string{"Accepted=True/Accepted", "Ready=True/Ready"}, outline(t, got)); diff != "" {
		t.Errorf("conditions (-want,+got):\n%s", diff)
	}
	for reason, want := range map[string]string{
		v1alpha1.ReasonReachable:    "VendorReachable=True/Reachable",
		v1alpha1.ReasonThrottled:    "VendorReachable=False/Throttled",
		v1alpha1.ReasonUnauthorized: "VendorReachable=False/Unauthorized",
		v1alpha1.ReasonUnreachable:  "VendorReachable=False/Unreachable",
	} {
		if diff := cmp.Diff([]string{want}, outline(t,
			[]metav1.Condition{convert.VendorCondition(reason, "why", 3)})); diff != "" {
			t.Errorf("condition (-want,+got):\n%s", diff)
		}
	}
	// Nothing went wrong, so that the vendor's client has nothing to say.
	says(t, []metav1.Condition{convert.VendorCondition(v1alpha1.ReasonReachable, "", 3)}, "REST API answers")
}
