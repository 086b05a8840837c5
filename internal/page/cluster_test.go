package page

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// TestPagesReadTheClusterAsTheirViewer reads objects from a real API server: viktor may, and nobody may not. The group
// has the characters of field selectors in its id.
func TestPagesReadTheClusterAsTheirViewer(t *testing.T) {
	const group = `vip,berlin=1\x <b>`
	s := newSite(t)
	must(t, s.client.Create(t.Context(), &v1alpha1.IMApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "prod"},
		Spec: v1alpha1.IMAppSpec{
			SDKAppID: 1400000000, Region: v1alpha1.RegionSingapore, AdminAccount: "administrator",
			CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: "prod-im"},
		},
	}))
	must(t, s.client.Create(t.Context(), &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "banned"},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: "prod"},
			Groups: []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}},
			Join:   &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{Accounts: []string{"mallory"}}},
		},
	}))
	s.run("prod-0000000000000001-1", group)
	s.run("prod-0000000000000002-1", "vip")
	query := []string{"app", s.namespace + "/prod", "group", group, "account", "mallory"}

	var ask *answer
	calls := s.counted(func() { ask = s.get("viktor", address("/ask", query...)) })
	ask.says(http.StatusOK, "mallory may not join", "Policy banned denies the account.",
		"Runs of the group read 1", "Policies read 1")
	slices.Sort(calls)
	if got := slices.Compact(calls); len(calls) != 5 || len(got) != 4 {
		t.Errorf("an answer takes %d calls:\n%s", len(calls), strings.Join(calls, "\n"))
	}
	s.get("viktor", address("/group", query...)).says(http.StatusOK, "1 policy governs this group.",
		"prod-0000000000000001-1", "Whether an account was refused is not known.")
	s.get("viktor", "/").says(http.StatusOK, "It is not known whether the gate is closed.",
		"2 plans wait for approval.", "How many joins were admitted and refused is not known")
	s.get("viktor", "/refused").says(http.StatusOK, "Whether an account was refused is not known.")
	for _, page := range []string{"/", address("/ask", query...), address("/group", query...), "/refused"} {
		nobody := s.get("nobody", page)
		nobody.says(http.StatusForbidden, "You may not do this.", `User "nobody" cannot list resource "imapps"`)
		nobody.lacks("banned", "prod-0000000000000001-1")
	}
}
