package v1alpha1_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/internal/lab"
)

// readCRDs reads the generated CRDs by kind.
func readCRDs(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(lab.CRDs(), "*.yaml"))
	must(t, err)
	crds := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		crd := &apiextensionsv1.CustomResourceDefinition{}
		must(t, yaml.UnmarshalStrict(data, crd))
		crds[crd.Spec.Names.Kind] = crd
	}
	for _, kind := range []string{"IMApp", "AccountList", "GroupPolicy", "PruneRun"} {
		if crds[kind] == nil {
			t.Fatalf("no CRD of %s in %s", kind, lab.CRDs())
		}
	}
	return crds
}

// kubectl apply without --server-side stores a copy of the object in an annotation, which is limited to 256 KiB.
func TestCRDsAreSmall(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(lab.CRDs(), "*.yaml"))
	must(t, err)
	for _, file := range files {
		info, err := os.Stat(file)
		must(t, err)
		if got, limit := info.Size(), int64(256<<10); got >= limit {
			t.Errorf("%s: %d bytes, want less than %d", file, got, limit)
		}
	}
}

func TestArgoCDAppliesListsOnTheServer(t *testing.T) {
	const annotation = "argocd.argoproj.io/sync-options"
	if got, want := readCRDs(t)["AccountList"].Annotations[annotation], "ServerSideApply=true"; got != want {
		t.Errorf("annotation %s: got %q, want %q", annotation, got, want)
	}
}

// kubectl explain shows only these descriptions.
func TestEveryFieldIsDescribed(t *testing.T) {
	walkFields(t, func(t *testing.T, path, name string, ours bool, schema apiextensionsv1.JSONSchemaProps) {
		if first, _, _ := strings.Cut(schema.Description, " "); first != name {
			t.Errorf("%s: description %q does not begin with the name of the field", path, schema.Description)
		}
		if !ours {
			return
		}
		text := strings.Join(strings.Fields(schema.Description), " ")
		if !strings.Contains(text, "Default: ") && !strings.Contains(text, "No default") {
			t.Errorf("%s: description %q does not tell the default", path, text)
		}
		if !strings.Contains(text, "Example: ") {
			t.Errorf("%s: description %q has no example", path, text)
		}
		if schema.Default != nil && strings.Contains(text, "No default") {
			t.Errorf("%s: has the default %s, its description says there is none", path, schema.Default.Raw)
		}
	})
}

// Unbounded fields make CEL rules too expensive and allow values that a controller cannot decode.
func TestEveryFieldIsBounded(t *testing.T) {
	walkFields(t, func(t *testing.T, path, name string, ours bool, schema apiextensionsv1.JSONSchemaProps) {
		// CEL rules bound the number of requirements of a label selector; the rest is bounded like labels.
		if strings.Contains(path, ".selector.") {
			return
		}
		checkBounded(t, path, schema)
	})
}

func checkBounded(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	switch {
	case schema.XIntOrString:
		if schema.MaxLength == nil || len(schema.XValidations) == 0 {
			t.Errorf("%s: int or string without maxLength and a rule", path)
		}
	case schema.Type == "boolean": // has two values
	case schema.Type == "string":
		if schema.MaxLength == nil && len(schema.Enum) == 0 && schema.Format != "date-time" {
			t.Errorf("%s: string without maxLength, enum or date-time", path)
		}
	case schema.Type == "integer":
		if schema.Minimum == nil {
			t.Errorf("%s: integer without minimum", path)
		}
		// The API server rejects values beyond int64, but not beyond int32.
		if schema.Maximum == nil && schema.Format != "int64" {
			t.Errorf("%s: integer without maximum", path)
		}
	case schema.Type == "array":
		if schema.MaxItems == nil {
			t.Errorf("%s: array without maxItems", path)
		}
		if schema.XListType == nil {
			t.Errorf("%s: array without a list type", path)
		}
		if items := schema.Items.Schema; items.Type != "object" {
			checkBounded(t, path+"[]", *items)
		}
	case schema.Type == "object":
		if schema.AdditionalProperties != nil && schema.MaxProperties == nil {
			t.Errorf("%s: map without maxProperties", path)
		}
	default:
		t.Errorf("%s: has no type", path)
	}
}

// walkFields calls visit for every field of every kind, with a subtest for each kind. A field is ours unless its type
// is from apimachinery.
func walkFields(
	t *testing.T, visit func(t *testing.T, path, name string, ours bool, schema apiextensionsv1.JSONSchemaProps),
) {
	t.Helper()
	for kind, crd := range readCRDs(t) {
		t.Run(kind, func(t *testing.T) {
			root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
			if root.Description == "" {
				t.Error("the kind has no description")
			}
			var walk func(path string, ours bool, schema apiextensionsv1.JSONSchemaProps)
			walk = func(path string, ours bool, schema apiextensionsv1.JSONSchemaProps) {
				for name, property := range schema.Properties {
					at := path + "." + name
					visit(t, at, name, ours, property)
					inOurs := ours && name != "conditions" && name != "selector"
					walk(at, inOurs, property)
					if property.Items != nil {
						walk(at+"[]", inOurs, *property.Items.Schema)
					}
				}
			}
			for _, name := range []string{"spec", "status"} {
				visit(t, name, name, true, root.Properties[name])
				walk(name, true, root.Properties[name])
			}
		})
	}
}

// Authors of policies find the precedence rules in kubectl explain.
func TestPrecedenceIsInTheFieldDocs(t *testing.T) {
	spec := readCRDs(t)["GroupPolicy"].Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	tests := map[string]struct{ field, want string }{
		"rank": {"groups", "Exact before Prefix, longer prefix before shorter, Prefix before All; " +
			"then older creationTimestamp; then name."},
		"union": {"join", "So who is admitted is the union of all allow minus the union of all deny; " +
			"rank chooses only the code, the message and the prune rule."},
		"admit": {"join", `Admission means "the IM backend may go on": ` +
			`a group that needs an admin's approval still needs it.`},
		"removed": {"join", "0. a run removed the account from this group, its refuse.until lies ahead, and the " +
			"trigger is Apply or Invite: reject, with the code and message recorded there; of several runs, those of " +
			"the one that refuses for longest;"},
		"undo": {"join", "1b. an undo is adding the account back to this group, the trigger is RESTAPI " +
			"and the operator is the adminAccount of the IMApp: admit;"},
		"aliases": {"groupTypes", "Aliases: Private=Work, ChatRoom=Meeting, Live=BChatRoom=AVChatRoom."},
		"unknown": {"groupTypes", "groupTypes does not exclude the policy: the gate stays closed."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(strings.Fields(spec.Properties[tc.field].Description), " ")
			if !strings.Contains(got, tc.want) {
				t.Errorf("%s: description %q does not say %q", tc.field, got, tc.want)
			}
		})
	}
}

// docs/concepts.md lists the steps of the join verdict in the words of the field docs.
func TestConceptsListTheSameSteps(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "concepts.md"))
	must(t, err)
	spec := readCRDs(t)["GroupPolicy"].Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	words := func(text string) string { return strings.Join(strings.Fields(strings.ReplaceAll(text, "`", "")), " ") }
	field := words(spec.Properties["join"].Description)
	first, last := strings.Index(field, "0. a run removed"), strings.Index(field, "5. none speaks")
	if first < 0 || last < first {
		t.Fatalf("join: description %q does not contain the steps 0 to 5", field)
	}
	if want := field[first:last]; !strings.Contains(words(string(page)), want) {
		t.Errorf("docs/concepts.md does not list the steps of the field docs: %s", want)
	}
}

// Condition types and reasons are API: one constant each, in the form that metav1.Condition requires.
func TestConditionNames(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, 0)
	must(t, err)
	camelCase := regexp.MustCompile(`^([A-Z][a-z]+|REST|API)+$`)
	for _, prefix := range []string{"Condition", "Reason"} {
		t.Run(prefix, func(t *testing.T) {
			seen := map[string]string{}
			for name, value := range stringConstants(t, file) {
				if !strings.HasPrefix(name, prefix) {
					continue
				}
				if want := prefix + value; name != want {
					t.Errorf("%s is %q: want it to be named %s", name, value, want)
				}
				if !camelCase.MatchString(value) {
					t.Errorf("%s is %q: want CamelCase", name, value)
				}
				if other := seen[value]; other != "" {
					t.Errorf("%s and %s are both %q", name, other, value)
				}
				seen[value] = name
			}
			if len(seen) == 0 {
				t.Errorf("no constant begins with %s", prefix)
			}
		})
	}
}

func stringConstants(t *testing.T, file *ast.File) map[string]string {
	t.Helper()
	constants := map[string]string{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			value, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			must(t, err)
			constants[name.Name] = value
		}
		return false
	})
	return constants
}
