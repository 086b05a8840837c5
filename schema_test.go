package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/internal/manifests"
)

func runSchema(args ...string) (string, error) { return runCommand(schemaCommand(), "", args...) }

// TestCommittedSchemasAreCurrent: make schemas updates them.
func TestCommittedSchemasAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if _, err := runSchema("--dir", dir); err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(written) != 6 {
		t.Fatalf("%v, wrote %q", err, written)
	}
	for _, file := range written {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("docs", "schemas", filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("make schemas updates docs/schemas (-want,+got):\n%s", diff)
		}
	}
}

// TestSchemasAcceptTheSamples, and refuse what is misspelt.
func TestSchemasAcceptTheSamples(t *testing.T) {
	documents, err := manifests.Documents([]string{
		"config/samples", "config/samples/prunerun.yaml", "config/samples/tests/groupgate-test.yaml",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	problems := func(kind string, object any) []error {
		text, err := runSchema(kind)
		if err != nil {
			t.Fatal(err)
		}
		var schema spec.Schema
		if err := json.Unmarshal([]byte(text), &schema); err != nil {
			t.Fatal(err)
		}
		return validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(object).Errors
	}
	seen := map[string]bool{}
	for _, d := range documents {
		var object map[string]any
		if err := yaml.Unmarshal(d.Text, &object); err != nil {
			t.Fatal(err)
		}
		kind, _ := object["kind"].(string)
		if kind == "Secret" {
			continue
		}
		seen[kind] = true
		if found := problems(kind, object); len(found) > 0 {
			t.Errorf("%s: %v", d.File, found)
		}
		if spec, ok := object["spec"].(map[string]any); ok {
			spec["mispelt"] = true
		} else {
			object["cases"].([]any)[0].(map[string]any)["expct"] = true
		}
		if found := problems(kind, object); len(found) != 1 {
			t.Errorf("%s, misspelt: %v", d.File, found)
		}
	}
	if len(seen) != 5 {
		t.Errorf("kinds %v", seen)
	}
}

func TestSchemaOfAllKinds(t *testing.T) {
	text, err := runSchema()
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		AllOf      []struct{ If, Then map[string]any }
		Properties struct{ APIVersion, Kind struct{ Enum []string } }
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.AllOf) != 5 || len(all.Properties.Kind.Enum) != 5 || len(all.Properties.APIVersion.Enum) != 2 {
		t.Errorf("%d kinds, %+v", len(all.AllOf), all.Properties)
	}
}

func TestSchemaRefusesBadInput(t *testing.T) {
	for want, args := range map[string][]string{
		"use one of AccountList, GroupPolicy, IMApp, PruneRun, Test": {"Policy"},
		"takes one kind, or none":                                    {"IMApp", "Test"},
		"with --dir it writes":                                       {"IMApp", "--dir", "x"},
		"unknown flag":                                               {"--color"},
	} {
		_, err := runSchema(args...)
		if _, bad := errors.AsType[badInputError](err); !bad || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want bad input and %q", args, err, want)
		}
	}
}
