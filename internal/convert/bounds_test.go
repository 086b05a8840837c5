package convert_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// TestSchemaAndCodeHaveTheSameBounds takes the bounds from the schema of GroupPolicy, and compiles policies at each
// bound and beyond it.
func TestSchemaAndCodeHaveTheSameBounds(t *testing.T) {
	schema, err := os.ReadFile("../../config/crd/bases/groupgate.io_grouppolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// bound finds the number that a pattern captures in the schema of a field.
	bound := func(field, pattern string) int {
		t.Helper()
		match := regexp.MustCompile(`(?s)\n *` + field + `:\n.*?` + pattern).FindSubmatch(schema)
		if match == nil {
			t.Fatalf("the schema of %s has no %s", field, pattern)
		}
		n, err := strconv.Atoi(string(match[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const minimum, maximum = `minimum: (\d+)`, `maximum: (\d+)`
	lowestCode, highestCode := bound("code", minimum), bound("code", maximum)
	mostRemovals, mostPerDay := bound("maxRemovals", maximum), bound("maxRemovalsPerDay", maximum)
	longestRejoin := bound("rejoinAfter", `<=\s+(\d+)`)
	shortestInactive := bound("inactiveFor", `at least\s+(\d+)h`)

	removals := func(n int) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.MaxRemovals = int32(n) }
	}
	perDay := func(n int) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.MaxRemovalsPerDay = int32(n) }
	}
	code := func(n int) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) { s.Join.Reject = &v1alpha1.Rejection{Code: new(int32(n))} }
	}
	rejoin := func(seconds int) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.RejoinAfter = fmt.Sprint(seconds, "s") }
	}
	inactive := func(hours int) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.InactiveFor = fmt.Sprint(hours, "h") }
	}
	for name, tc := range map[string]struct {
		edit func(*v1alpha1.GroupPolicySpec)
		want policy.Acceptance
	}{
		"lowest code":           {code(lowestCode), policy.Accepted},
		"code too low":          {code(lowestCode - 1), policy.Invalid},
		"highest code":          {code(highestCode), policy.Accepted},
		"code too high":         {code(highestCode + 1), policy.Invalid},
		"fewest removals":       {removals(bound("maxRemovals", minimum)), policy.Accepted},
		"negative removals":     {removals(-1), policy.Invalid},
		"most removals":         {removals(mostRemovals), policy.Accepted},
		"too many removals":     {removals(mostRemovals + 1), policy.Invalid},
		"fewest a day":          {perDay(bound("maxRemovalsPerDay", minimum)), policy.Accepted},
		"negative a day":        {perDay(-1), policy.Invalid},
		"most a day":            {perDay(mostPerDay), policy.Accepted},
		"too many a day":        {perDay(mostPerDay + 1), policy.Invalid},
		"longest rejoinAfter":   {rejoin(longestRejoin), policy.Accepted},
		"rejoinAfter too long":  {rejoin(longestRejoin + 1), policy.Invalid},
		"shortest inactiveFor":  {inactive(shortestInactive), policy.Accepted},
		"inactiveFor too short": {inactive(shortestInactive - 1), policy.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			written := &v1alpha1.GroupPolicy{
				ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "lounge", UID: "uid"},
				Spec: v1alpha1.GroupPolicySpec{
					AppRef: v1alpha1.AppReference{Name: "prod"}, Groups: []v1alpha1.GroupMatcher{{Value: "lounge"}},
					Join: &v1alpha1.JoinSection{},
					WhenFull: &v1alpha1.WhenFullSection{
						Prune: &v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, InactiveFor: "30d"},
					},
				},
			}
			tc.edit(&written.Spec)
			snapshot := policy.Compile(policy.Input{
				Apps:     []policy.App{{Object: policy.Object{Namespace: "chat", Name: "prod"}, SDKAppID: 1}},
				Policies: []policy.Policy{convert.Policy(written)},
			})
			if v, _ := snapshot.PolicyVerdict("chat", "lounge", "uid"); v.Acceptance != tc.want {
				t.Errorf("%v %s, want %v", v.Acceptance, v.Message, tc.want)
			}
		})
	}
}
