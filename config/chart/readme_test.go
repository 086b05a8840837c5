package chart

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

var update = flag.Bool("update", false, "write the table of values into the README of the chart")

// value is a value of the chart: its default as JSON, and the comment above it.
type value struct{ path, fallback, comment string }

// schema is what these tests read of values.schema.json.
type schema struct {
	Description          string            `json:"description"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties any               `json:"additionalProperties"`
}

func TestEveryValueIsDocumented(t *testing.T) {
	t.Parallel()
	var s schema
	text, err := os.ReadFile(filepath.Join("groupgate", "values.schema.json"))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(s.Properties, "global") // Helm adds it to the values of every chart
	file, err := yaml.ReadFile(filepath.Join("groupgate", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	table := "| value | default | meaning |\n|---|---|---|\n"
	for _, v := range values(t, file.YNode(), s, "") {
		if v.comment == "" {
			t.Errorf("%s has no comment in values.yaml", v.path)
		}
		table += "| `" + v.path + "` | `" + v.fallback + "` | " + v.comment + " |\n"
	}
	page := filepath.Join("groupgate", "README.md")
	readme, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- values: begin -->\n", "<!-- values: end -->\n"
	before, rest, _ := strings.Cut(string(readme), begin)
	shown, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no place for the table", page)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table, shown); diff != "" {
		t.Errorf("%s: run `go test ./config/chart -update` (-want,+got)\n%s", page, diff)
	}
}

// values are those below a node of values.yaml. It compares them with the schema, which refuses others.
func values(t *testing.T, node *yaml.Node, s schema, path string) (all []value) {
	t.Helper()
	var names []string
	for i := 0; i < len(node.Content); i += 2 {
		key, inner := node.Content[i], node.Content[i+1]
		names = append(names, key.Value)
		path := strings.TrimPrefix(path+"."+key.Value, ".")
		comment := strings.Join(strings.Fields(regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(key.HeadComment, "")), " ")
		property := s.Properties[key.Value]
		if comment != property.Description {
			t.Errorf("%s: the schema says %q, values.yaml %q", path, property.Description, comment)
		}
		if inner.Kind == yaml.MappingNode && inner.Style&yaml.FlowStyle == 0 && path != "resources" {
			all = append(all, values(t, inner, property, path)...)
			continue
		}
		fallback, err := json.Marshal(plainYAML(t, inner))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, value{path, string(fallback), comment})
	}
	if s.AdditionalProperties != false {
		t.Errorf("the schema accepts unknown values in %q", path)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(s.Properties))); diff != "" {
		t.Errorf("%q: values.yaml, schema (-want,+got)\n%s", path, diff)
	}
	return all
}

func plainYAML(t *testing.T, node *yaml.Node) (plain any) {
	t.Helper()
	if err := node.Decode(&plain); err != nil {
		t.Fatal(err)
	}
	return plain
}
