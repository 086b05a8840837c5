package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	credentials = `
apiVersion: v1
kind: Secret
metadata: {name: prod-im, labels: {groupgate.io/credentials: "true"}}
`
	// suspiciousList is an object that each of the warnings of lists is about.
	suspiciousList = `spec: {accounts: [jared, "eve "]}`
)

// installAdmission applies both components of config/admission in an overlay, as the docs do, and deletes them after
// the test: other tests delete IMApps.
func installAdmission(t *testing.T, k kubectl) {
	t.Helper()
	component, err := filepath.Abs(filepath.Join("..", "..", "config", "admission"))
	must(t, err)
	overlay := t.TempDir()
	relative, err := filepath.Rel(overlay, component)
	must(t, err)
	components := fmt.Sprintf("components: [%s, %s/decisions]\n", relative, relative)
	must(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(components), 0o600))
	k.must(t, "", "apply", "--server-side", "-k", overlay)
	c, objects := newClient(t), decodeObjects(t, []byte(k.must(t, "", "kustomize", overlay)))
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		for _, object := range objects {
			must(t, c.Delete(ctx, object))
		}
	})
}

// inForce waits until try is complained about: a policy is in force a moment after it is created.
func inForce(t *testing.T, try func() string) {
	t.Helper()
	eventually(t, func(context.Context) (bool, error) { return try() != "", nil })
}

// manifest is an object of kubectl's own namespace.
func manifest(t *testing.T, base, patch string) string {
	t.Helper()
	data, err := mutate(t, base, patch).MarshalJSON()
	must(t, err)
	return string(data)
}

// Policies, lists and apps that are valid, and do something else than what they seem to say, are accepted with a
// warning.
func TestAdmissionWarnsOfSlips(t *testing.T) {
	c := newClient(t)
	k := newKubectl(t, newNamespace(t, c))
	installAdmission(t, k)
	const gate = `spec: {join: {allow: {accounts: [jared]}}}`
	for _, probe := range []struct{ base, patch string }{
		{baseGroupPolicy, `{}`}, {baseAccountList, suspiciousList}, {baseIMApp, `spec: {callbackAuthentication: None}`},
	} {
		inForce(t, func() string {
			_, stderr := k.run(t, manifest(t, probe.base, probe.patch), "create", "--dry-run=server", "-f", "-")
			return stderr
		})
	}
	names := make([]string, 20000)
	for i := range names {
		names[i] = fmt.Sprintf("%q", strings.Repeat("客", 26)+fmt.Sprintf("%06d", i))
	}
	long := "spec: {accounts: [" + strings.Join(names, ", ") + "%s]}"
	tests := map[string]struct {
		base, patch string
		// want is in the warnings; empty: there are none.
		want []string
	}{
		"a gate":       {baseGroupPolicy, gate, nil},
		"join: {}":     {baseGroupPolicy, `{}`, []string{"join has neither allow nor deny"}},
		"a rule alone": {basePrunePolicy, `{}`, nil},
		"only a deny":  {baseGroupPolicy, `spec: {join: {deny: {accounts: [eve]}}}`, nil},
		"a glob": {baseGroupPolicy, `spec: {groups: [{value: lobby}, {value: "vip-*"}], join: {allow: {}}}`,
			[]string{`the * in "vip-*" stands for itself`}},
		"a glob of a prefix": {baseGroupPolicy, `spec: {groups: [{type: Prefix, value: "vip-*"}], join: {allow: {}}}`,
			[]string{`the * in "vip-*" stands for itself`}},
		"All": {baseGroupPolicy, `spec: {groups: [{type: All}], join: {allow: {}}}`, nil},
		"a blank in deny": {baseGroupPolicy, `spec: {join: {deny: {accounts: ["eve "]}}}`,
			[]string{`"eve " begins or ends with a blank`}},
		"a blank in a prefix": {baseGroupPolicy, `spec: {join: {allow: {accountPrefixes: [" staff-"]}}}`,
			[]string{`" staff-" begins or ends with a blank`}},
		"a blank in protect": {basePrunePolicy, `spec: {whenFull: {prune: {protect: {accounts: ["eve\t"]}}}}`,
			[]string{`"eve\t" begins or ends with a blank`}},
		"a small budget": {basePrunePolicy, `spec: {whenFull: {prune: {maxRemovals: 500, maxRemovalsPerDay: 100}}}`,
			[]string{"maxRemovals is above maxRemovalsPerDay"}},
		"a small budget of evictions": {baseEvictPolicy,
			`spec: {join: {evict: {maxRemovals: 500, maxRemovalsPerDay: 100}}}`,
			[]string{"evict.maxRemovals is above evict.maxRemovalsPerDay"}},
		"evict": {baseEvictPolicy, `{}`, nil},
		"several": {baseGroupPolicy, `spec: {groups: [{value: "*"}]}`,
			[]string{"join has neither allow nor deny", `the * in "*"`}},
		"a list":                  {baseAccountList, `spec: {accounts: [jared, "eve adams", 客服, "a-b_c.d@e"]}`, nil},
		"a blank":                 {baseAccountList, suspiciousList, []string{`"eve " begins or ends with a blank`}},
		"a tab":                   {baseAccountList, `spec: {accounts: ["eve\tx"]}`, []string{"cannot be seen"}},
		"a zero-width blank":      {baseAccountList, "spec: {accounts: [\"e\u200bve\"]}", []string{"cannot be seen"}},
		"a no-break blank":        {baseAccountList, "spec: {accounts: [\"e\u00a0ve\"]}", []string{"cannot be seen"}},
		"20,000 accounts":         {baseAccountList, fmt.Sprintf(long, ""), nil},
		"20,000, the last of all": {baseAccountList, fmt.Sprintf(strings.Replace(long, names[0]+", ", "", 1), `, "eve "`), []string{`"eve "`}},
		"Token":                   {baseIMApp, `{}`, nil},
		"None": {baseIMApp, `spec: {callbackAuthentication: None}`,
			[]string{"callbackAuthentication is None"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, stderr := k.run(t, manifest(t, tc.base, tc.patch),
				"apply", "--server-side", "--dry-run=server", "-f", "-")
			if !strings.Contains(stdout, "serverside-applied") || (stderr != "") != (tc.want != nil) {
				t.Errorf("%s%s", stdout, stderr)
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr, "Warning: ") || !strings.Contains(stderr, want) {
					t.Errorf("the warnings do not say %q: %s", want, stderr)
				}
			}
		})
	}
	// Server-side apply refuses null. The default of kubectl accepts it, and there is no gate.
	t.Run("an allow with its entries commented out", func(t *testing.T) {
		const text = `
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: commented-out}
spec: {appRef: {name: prod}, groups: [{value: lobby}], join: {deny: {accounts: [eve]}, allow: %s}}
`
		const want = "allow has no value, which counts as absent"
		if _, stderr := k.run(t, fmt.Sprintf(text, ""), "apply", "-f", "-"); !strings.Contains(stderr, want) {
			t.Errorf("the warnings do not say %q: %s", want, stderr)
		}
		k.must(t, fmt.Sprintf(text, "{}"), "apply", "-f", "-")
	})
}

// Deleting what a gate rests on needs an annotation, unless a whole namespace goes, which needs one itself.
func TestAdmissionRefusesDeletionsThatOpenGates(t *testing.T) {
	c := newClient(t)
	k := newKubectl(t, newNamespace(t, c))
	installAdmission(t, k)
	empty := newNamespace(t, c)
	k.must(t, baseIMApp, "create", "-f", "-")
	k.must(t, credentials, "create", "-f", "-")
	k.must(t, strings.Replace(credentials, `labels: {groupgate.io/credentials: "true"}`, "", 1), "apply", "-f", "-",
		"--namespace", empty)

	refused := func(want string, args ...string) {
		t.Helper()
		inForce(t, func() string {
			_, stderr := k.run(t, "", append([]string{"delete", "--dry-run=server"}, args...)...)
			return stderr
		})
		_, stderr := k.run(t, "", append([]string{"delete", "--wait=false"}, args...)...)
		if !strings.Contains(stderr, want) || !strings.Contains(stderr, "the vendor then lets everybody in") {
			t.Errorf("kubectl delete %s: %q, want %q", strings.Join(args, " "), stderr, want)
		}
	}
	refused("without IMApp base every callback of its app is refused", "imapp", "base")
	refused("without IMApp base", "imapps", "--all")
	refused("without Secret prod-im", "secret", "prod-im")
	refused("namespace "+k.namespace+" holds IMApp base", "namespace", k.namespace)
	refused("with CustomResourceDefinition imapps.groupgate.io", "crd", "imapps.groupgate.io")
	refused("with CustomResourceDefinition accountlists.groupgate.io", "crd", "accountlists.groupgate.io")
	if err := c.DeleteAllOf(t.Context(), &v1alpha1.IMApp{}, client.InNamespace(k.namespace)); err == nil {
		t.Error("all IMApps at once were deleted")
	}
	app := &unstructured.Unstructured{}
	app.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("IMApp"))
	must(t, c.Get(t.Context(), client.ObjectKey{Namespace: k.namespace, Name: "base"}, app))

	// What the guards are not about.
	k.must(t, "", "delete", "secret", "prod-im", "--namespace", empty)
	k.must(t, "", "delete", "namespace", empty, "--wait=false")

	// The annotation of the message. No namespace controller runs here: the namespace stays Terminating, and this test
	// deletes in it what that controller would.
	k.must(t, "", "annotate", "namespace", k.namespace, "groupgate.io/allow-deletion=true")
	k.must(t, "", "delete", "namespace", k.namespace, "--wait=false")
	k.must(t, "", "delete", "imapp", "base")
	k.must(t, "", "delete", "secret", "prod-im")

	k.namespace = newNamespace(t, c)
	in := []string{"--namespace", k.namespace}
	for base, object := range map[string]string{baseIMApp: "imapp/base", credentials: "secret/prod-im"} {
		k.must(t, base, append(in, "create", "-f", "-")...)
		k.must(t, "", append(in, "annotate", object, "groupgate.io/allow-deletion=true")...)
		k.must(t, "", append(in, "delete", object)...)
	}
	k.must(t, "", "annotate", "--dry-run=server", "crd", "imapps.groupgate.io", "groupgate.io/allow-deletion=true")
}
