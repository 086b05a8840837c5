package lint

import (
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/manifests"
)

// check checks one text of YAML, as if it were the standard input.
func check(t *testing.T, text string) *Report {
	t.Helper()
	documents, err := manifests.Documents([]string{manifests.Stdin}, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return l.Check(t.Context(), documents, "chat")
}

const app = `apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: prod}
spec: {sdkAppID: 1400000000, region: Singapore, adminAccount: administrator, credentialsSecretRef: {name: prod-im}}
---
`

func TestManifestsThatAreRightHaveNoProblem(t *testing.T) {
	documents, err := manifests.Documents([]string{"../../config/samples"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	r := l.Check(t.Context(), documents, "default")
	if r.Manifests != 11 || len(r.Problems) > 0 || len(r.Objects.Policies) != 7 {
		t.Errorf("%d manifests, %d policies, problems %+v", r.Manifests, len(r.Objects.Policies), r.Problems)
	}
}

// TestProblemsNameTheLine: of the field, or of the deepest part of its path that is there.
func TestProblemsNameTheLine(t *testing.T) {
	r := check(t, app+`apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: gate}
spec:
  appRef: {name: prod}
  groups:
  - {type: All}
  - type: prefix
    value: vip-
  join:
    alow: {}
`)
	if len(r.Problems) != 1 || r.Problems[0].Line != 16 || r.Problems[0].Severity != Error ||
		r.Problems[0].Object != "GroupPolicy chat/gate" {
		t.Fatalf("problems %+v, want the unknown field in line 16", r.Problems)
	}
	r = check(t, app+`apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: gate}
spec:
  appRef: {name: prod}
  groups:
  - {type: All}
  - type: prefix
    value: vip-
  join: {}
`)
	if len(r.Problems) != 2 || r.Problems[0].Line != 13 || r.Problems[1].Line != 13 {
		t.Fatalf("problems %+v, want the type in line 13, and then that rules were not checked", r.Problems)
	}
}
