package manifests

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

const gate = `apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: gate}
spec: {appRef: {name: prod}, groups: [{type: All}], join: {allow: {accounts: [jared]}}}
`

// folder writes files, by their names, and returns where.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	labtest.WriteFiles(t, dir, files)
	return dir
}

func TestReadFindsManifestsAtAnyDepth(t *testing.T) {
	dir := folder(t, map[string]string{
		"a/gate.yaml": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: groupgate.io/x}\n---\n" + gate + "---\n",
		"list.json": `{"apiVersion":"groupgate.io/v1alpha1","kind":"AccountList","metadata":{"name":"l","namespace":"n"},
"spec":{"accounts":["a"]}}`,
		"notes.txt":               "kind: nothing",
		"base/kustomization.yaml": "resources: [app.yaml]\nnamePrefix: my-\n",
		"base/app.yaml": `apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: prod}
spec: {sdkAppID: 1, region: Tokyo, adminAccount: a, credentialsSecretRef: {name: s}}
`,
	})
	o, err := Read([]string{dir}, "chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Apps) != 1 || len(o.Lists) != 1 || len(o.Policies) != 1 || len(o.Runs) != 0 || !o.FromFiles {
		t.Fatalf("read %+v", o)
	}
	if o.Apps[0].Name != "my-prod" || o.Policies[0].Namespace != "chat" || o.Lists[0].Namespace != "n" {
		t.Errorf("read app %s, policy in %s, list in %s", o.Apps[0].Name, o.Policies[0].Namespace, o.Lists[0].Namespace)
	}
	if in := o.In("n"); len(in.Apps)+len(in.Policies) > 0 || len(in.Lists) != 1 {
		t.Errorf("in namespace n: %+v", in)
	}
}

func TestReadSaysWhatIsWrongAndWhere(t *testing.T) {
	replaced := func(before, after string) string { return strings.Replace(gate, before, after, 1) }
	tests := map[string]struct {
		text string
		want []string
	}{
		"an unknown field":    {replaced("join:", "joins:"), []string{"GroupPolicy gate", `unknown field "spec.joins"`}},
		"a wrong type":        {replaced("[jared]", "jared"), []string{"accounts"}},
		"a key that is twice": {replaced("{name: gate}", "{name: gate, name: b}"), []string{`"name"`}},
		"an unknown version":  {replaced("v1alpha1", "v2"), []string{"groupgate.io/v2", "use groupgate.io/v1alpha1"}},
		"an unknown kind":     {replaced("GroupPolicy", "GroupPolice"), []string{"GroupPolice", "use IMApp"}},
		"no version":          {replaced("apiVersion:", "apiversion:"), []string{`GroupPolicy is ""`, "use groupgate.io/v1alpha1"}},
		"no group":            {replaced("groupgate.io/v1alpha1", "v1alpha1"), []string{`GroupPolicy is "v1alpha1"`}},
		"a wrong group":       {replaced("groupgate.io", "groupgate"), []string{`GroupPolicy is "groupgate/v1alpha1"`}},
		"an object twice":     {gate + "---\n" + gate, []string{"document 2", "chat/gate is in", "as well"}},
		"no YAML":             {"groupgate.io/\n\t- x: [", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Read([]string{folder(t, map[string]string{"gate.yaml": tc.text})}, "chat", nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(tc.want, "gate.yaml") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
		})
	}
	if _, err := Read([]string{"nowhere"}, "chat", nil); !os.IsNotExist(err) {
		t.Errorf("a path that is not there: %v", err)
	}
}

func TestReadTakesTheStandardInput(t *testing.T) {
	o, err := Read([]string{Stdin}, "chat", strings.NewReader(gate))
	if err != nil || len(o.Policies) != 1 {
		t.Fatalf("Read: %v, %+v", err, o)
	}
}

// kubectl get -o yaml and -o json print lists.
func TestReadTakesWhatKubectlPrints(t *testing.T) {
	const object = `{"apiVersion": "groupgate.io/v1alpha1", "kind": "%s", ` +
		`"metadata": {"name": "%s", "namespace": "chat"}, "spec": {%s}}`
	accounts := fmt.Sprintf(object, "AccountList", "crew", `"accounts": ["ann"]`)
	rule := fmt.Sprintf(object, "GroupPolicy", "gate", `"appRef": {"name": "prod"}, "groups": [{"value": "g"}]`)
	for name, text := range map[string]string{
		"JSON":    `{"apiVersion": "v1", "items": [` + accounts + `, ` + rule + `], "kind": "List"}`,
		"compact": `{"kind":"List","apiVersion":"v1","items":[` + accounts + `,` + rule + `]}`,
		"YAML":    "apiVersion: v1\nitems:\n- " + accounts + "\n- " + rule + "\nkind: List\nmetadata: {}\n",
		"of the API": `{"apiVersion": "groupgate.io/v1alpha1", "kind": "AccountListList", "items": [` + accounts + `]}
---
` + rule,
	} {
		o, err := Read([]string{Stdin}, "default", strings.NewReader(text))
		if err != nil || len(o.Policies) != 1 || len(o.Lists) != 1 || len(o.Lists[0].Spec.Accounts) != 1 {
			t.Errorf("%s: %v, %+v", name, err, o)
		}
	}
	wrong := `{"kind": "List", "items": [` + accounts + `, ` + strings.Replace(rule, "appRef", "app", 1) + `]}`
	_, err := Read([]string{Stdin}, "default", strings.NewReader(wrong))
	if err == nil || !strings.Contains(err.Error(), `item 2: GroupPolicy gate: `) {
		t.Errorf("%v, want the item", err)
	}
}

// TestAnAppThatIsNotThereIsAssumed: folders of policies often have no IMApp.
func TestAnAppThatIsNotThereIsAssumed(t *testing.T) {
	o, err := Read([]string{Stdin}, "chat", strings.NewReader(gate))
	if err != nil {
		t.Fatal(err)
	}
	compiled := o.Compile()
	app, err := compiled.App("")
	if err != nil {
		t.Fatal(err)
	}
	if len(compiled.Assumed) != 1 || app.DecideJoin(policy.JoinQuery{Group: "g", Account: "mallory"}).Admit {
		t.Errorf("assumed %v", compiled.Assumed)
	}
}

func TestPoliciesOfAClusterWithoutTheirAppAreNotInForce(t *testing.T) {
	o, err := Read([]string{Stdin}, "chat", strings.NewReader(gate))
	if err != nil {
		t.Fatal(err)
	}
	o.FromFiles = false
	const want = "create IMApp prod in namespace chat"
	if _, err := o.Compile().App(""); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("App: %v, want %q", err, want)
	}
}

// pages is an API server with policies, one on each page.
type pages struct {
	client.Reader
	names []string
}

func (p pages) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	asked := client.ListOptions{}
	asked.ApplyOptions(options)
	policies, ok := list.(*v1alpha1.GroupPolicyList)
	if !ok {
		return nil
	}
	at := 0
	for i, name := range p.names {
		if asked.Continue == name {
			at = i
		}
	}
	// As a decoder does, which takes the memory of what it finds.
	policies.Items = append(policies.Items[:0], v1alpha1.GroupPolicy{})
	policies.Items[0].Name = p.names[at]
	policies.Continue = ""
	if at+1 < len(p.names) {
		policies.Continue = p.names[at+1]
	}
	return nil
}

func TestListKeepsEveryPage(t *testing.T) {
	o, err := List(t.Context(), pages{names: []string{"a", "b", "c"}}, "chat")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range o.Policies {
		got = append(got, o.Policies[i].Name)
	}
	if strings.Join(got, ",") != "a,b,c" || o.FromFiles {
		t.Errorf("read %v", got)
	}
}
