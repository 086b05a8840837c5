package suite

import (
	"fmt"
	"strings"
	"testing"
)

const (
	rule  = ", evict: {mode: Enforce, grace: 1h, maxRemovals: 3, maxRemovalsPerDay: 10}"
	gated = app + `apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: vip}
spec: {accounts: [ann, bob, cem, dora, emil, fay, gus, hana, ivo, jill, kofi, lea]}
---
apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: banned}
spec: {accounts: [mallory, lea]}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: vip}
spec:
  appRef: {name: prod}
  groups: [{type: Prefix, value: vip-}]
  join: {allow: {lists: [{name: vip}]}` + rule + `}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: banned}
spec:
  appRef: {name: prod}
  groups: [{type: All}]
  join: {deny: {lists: [{name: banned}], accounts: [oscar]}}
`
	evictCase = `apiVersion: cli.groupgate.io/v1alpha1
kind: Test
cases:
- name: who is evicted
  evict:
    group: vip-1
    groupType: Public
    members:
    - {account: olga, role: Owner, joined: 90d}
    - {account: ann, joined: 90d}
    - {account: bob, joined: 90d}
    - {account: cem, joined: 90d}
    - {account: dora, joined: 90d}
    - {account: emil, joined: 90d}
    - {account: fay, joined: 90d}
    - {account: gus, joined: 90d}
    - {account: hana, joined: 90d}
    - {account: ivo, joined: 90d}
    - {account: jill, joined: 90d}
    - {account: kofi, joined: 90d}
    - {account: lea, joined: 90d}
    - {account: trudy, joined: 59m}
    - {account: who}
    - {account: eve, joined: 60m}
%s
`
)

func TestEvictions(t *testing.T) {
	for name, tc := range map[string]struct {
		manifests string
		expect    string // further fields of the question, and what is expected
		want      string // the differences, in one line
	}{
		"a routine": {expect: `  expect:
    reason: Removed
    mode: Enforce
    policy: vip
    breaker: ""
    removals:
    - {account: lea, reason: Denied, policy: banned, list: banned}
    - {account: eve, reason: NotListed, policy: vip, list: ""}
    stays:
    - ann
    - {account: bob, because: Admitted}
    - {account: olga, because: Admin}
    - {account: trudy, because: InGrace}
    - {account: who, because: Unknown}`},
		"whatever is wrong is said": {expect: `  expect:
    reason: Previewed
    mode: Preview
    policy: banned
    breaker: maxRemovals
    removals: [eve, {account: lea, reason: NotListed, policy: vip, list: ""}, bob]
    stays: [lea, {account: ann, because: InGrace}, {account: nobody, because: Admin}]`,
			want: "reason: want Previewed, got Removed; policy: want banned, got vip; " +
				"mode: want Preview, got Enforce; " +
				`breaker: want maxRemovals, got ""; removals: want bob, eve, lea, got eve, lea; ` +
				"removals: lea: reason: want NotListed, got Denied; removals: lea: policy: want vip, got banned; " +
				`removals: lea: list: want "", got banned; stays: the plan removes lea; ` +
				"stays: nobody is not among the members; stays: ann because: want InGrace, got Admitted"},
		"many small slips are a large one": {
			expect: "    evictedThisWeek: 2\n" +
				"  expect: {reason: AwaitingApproval, breaker: 'would remove 2 of 16 members'}",
		},
		"nothing is left of the budget": {
			expect: "    removedToday: 10\n  expect: {reason: BudgetExhausted, removals: []}",
		},
		"a breaker is not a routine": {
			expect: "    evictedThisWeek: 2\n  expect: {breaker: ''}", want: `breaker: want "", got "would remove 2`,
		},
		"a list that is empty": {
			manifests: strings.Replace(gated, "[mallory, lea]", "[]", 1),
			expect:    "  expect: {reason: ListUnresolved, removals: [], stays: [eve]}",
		},
		"a list that is not there": {
			manifests: strings.Replace(gated, "{name: banned}\nspec: {acc", "{name: ban}\nspec: {acc", 1),
			expect:    "  expect: {reason: ListUnresolved, stays: [{account: ann, because: Admitted}]}",
			want:      "stays: ann because: want Admitted, got ListUnresolved",
		},
		"in mode Preview": {
			manifests: strings.Replace(gated, "mode: Enforce, grace", "mode: Preview, grace", 1),
			expect:    "  expect: {reason: Previewed, mode: Preview, removals: [eve, lea]}",
		},
		"without a rule": {
			manifests: strings.Replace(gated, rule, "", 1),
			expect:    "  expect: {reason: NotGoverned, policy: '', removals: []}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.manifests == "" {
				tc.manifests = gated
			}
			r := run(t, map[string]string{
				"vip.yaml": tc.manifests, "groupgate-test.yaml": fmt.Sprintf(evictCase, tc.expect),
			}, ".")
			if r.Errors > 0 || len(r.Files[0].Cases) != 1 {
				t.Fatalf("%+v", r.Files)
			}
			one := r.Files[0].Cases[0]
			got := strings.Join(one.Differences, "; ")
			if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
			if (one.Explanation != nil) != (got != "") {
				t.Errorf("explanation %v of differences %q", one.Explanation, got)
			}
		})
	}
}

// TestEvictionsThatAreNoQuestion: a mistake in a case is said with its line.
func TestEvictionsThatAreNoQuestion(t *testing.T) {
	for expect, want := range map[string]string{
		"  expect: {verdict: Rejected}":                                 "are no answers to an evict",
		"  expect: {protected: [ann]}":                                  "are no answers to an evict",
		"  expect: {reason: NotFull}":                                   "use one of NotGoverned",
		"  expect: {stays: [{account: a, x: b}]}":                       `unknown field "x"`,
		"  expect: {removals: [{account: a, reason: Gone}]}":            "use one of Denied, NotListed",
		"  expect: {stays: [{account: ann, because: Nice}]}":            "use one of Admitted, Admin, InGrace, Unknown",
		"    removedToday: -1\n  expect: {removals: []}":                "must not be negative",
		"    maxMembers: 5\n  expect: {removals: []}":                   `unknown field "cases[0].evict.maxMembers"`,
		"  join: {group: g, account: a}\n  expect: {verdict: Rejected}": "set exactly one of join, prune and evict",
	} {
		t.Chdir(written(t, map[string]string{
			"vip.yaml": gated, "groupgate-test.yaml": fmt.Sprintf(evictCase, expect),
		}))
		_, err := Run(t.Context(), []string{"."}, Options{Namespace: "default", Now: at})
		if err == nil || !strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), "groupgate-test.yaml:") {
			t.Errorf("%s: error %v, want %q", expect, err, want)
		}
	}
	for expect, want := range map[string]string{
		"{removals: [{account: bob, reason: Denied}]}": "answers to an evict, not to a prune",
		"{stays: [{account: eve, because: Admin}]}":    "an answer to an evict, not to a prune",
		"{breaker: ''}": "an answer to an evict, not to a prune",
	} {
		before, _, _ := strings.Cut(aCase, "  expect:")
		t.Chdir(written(t, map[string]string{
			"lobby.yaml": lobby, "groupgate-test.yaml": before + "  expect: " + expect + "\n",
		}))
		_, err := Run(t.Context(), []string{"."}, Options{Namespace: "default", Now: at})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", expect, err, want)
		}
	}
}
