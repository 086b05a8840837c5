package suite

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/memberfile"
)

// TestSchemaHasTheFieldsOfTheFile: those of the JSON schema are those that are read, and no others.
func TestSchemaHasTheFieldsOfTheFile(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema, &schema); err != nil {
		t.Fatal(err)
	}
	under := func(path ...string) map[string]any {
		node := schema
		for _, step := range path {
			node = node[step].(map[string]any)
		}
		return node
	}
	cases := []string{"properties", "cases", "items", "properties"}
	ofObject := func(field string) map[string]any {
		items := under(append(slices.Clone(cases), "expect", "properties", field, "items")...)
		return items["oneOf"].([]any)[1].(map[string]any)["properties"].(map[string]any)
	}
	for _, tc := range []struct {
		of     reflect.Type
		schema map[string]any
	}{
		{reflect.TypeFor[Test](), under("properties")},
		{reflect.TypeFor[Case](), under(cases...)},
		{reflect.TypeFor[Join](), under(append(cases, "join", "properties")...)},
		{reflect.TypeFor[Prune](), under(append(cases, "prune", "properties")...)},
		{reflect.TypeFor[Evict](), under(append(cases, "evict", "properties")...)},
		{reflect.TypeFor[Removed](), ofObject("removals")},
		{reflect.TypeFor[Stays](), ofObject("stays")},
		{reflect.TypeFor[Expectation](), under(append(cases, "expect", "properties")...)},
	} {
		var fields, properties []string
		for _, field := range reflect.VisibleFields(tc.of) {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
				fields = append(fields, name)
			}
		}
		for name := range tc.schema {
			properties = append(properties, name)
		}
		slices.Sort(fields)
		slices.Sort(properties)
		if diff := cmp.Diff(fields, properties); diff != "" {
			t.Errorf("%s (-fields,+schema):\n%s", tc.of.Name(), diff)
		}
	}
	var reasons []string
	for _, reason := range under(append(cases, "expect", "properties", "reason")...)["enum"].([]any) {
		reasons = append(reasons, reason.(string))
	}
	want := append(joinReasons(), pruneReasons...)
	for _, reason := range evictReasons {
		if !slices.Contains(want, reason) {
			want = append(want, reason)
		}
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons (-code,+schema):\n%s", diff)
	}
	for field, want := range map[string][]string{"removals": removalReasons, "stays": stayReasons} {
		why := map[string]string{"removals": "reason", "stays": "because"}[field]
		var got []string
		for _, reason := range ofObject(field)[why].(map[string]any)["enum"].([]any) {
			got = append(got, reason.(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-code,+schema):\n%s", field, diff)
		}
	}
	for _, question := range []string{"prune", "evict"} {
		members := under(append(cases, question, "properties", "members")...)["oneOf"].([]any)[1].(map[string]any)
		for _, column := range memberfile.Columns {
			if _, ok := members["items"].(map[string]any)["properties"].(map[string]any)[column]; !ok {
				t.Errorf("the schema of %s has no column %s", question, column)
			}
		}
	}
}

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// run runs files, by their names below one folder.
func run(t *testing.T, files map[string]string, paths ...string) *Report {
	t.Helper()
	t.Chdir(written(t, files))
	r, err := Run(t.Context(), paths, Options{Namespace: "default", Now: at})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// written writes files, by their names below one folder, and returns that.
func written(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	app = `apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: prod}
spec: {sdkAppID: 1400000000, region: Singapore, adminAccount: administrator, credentialsSecretRef: {name: prod-im}}
---
`
	lobby = app + `apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: lobby}
spec:
  appRef: {name: prod}
  groups: [{type: All}]
  whenFull: {prune: {mode: Enforce, inactiveFor: 30d, freeSeats: 1, protect: {accounts: [ann]}}}
`
	aCase = `apiVersion: cli.groupgate.io/v1alpha1
kind: Test
cases:
- name: who goes
  prune:
    group: g
    groupType: Public
    members: [{account: ann, joined: 90d}, {account: bob, joined: 80d}, {account: eve, joined: 90d, lastSpoke: 1d}]
  expect: {removals: [bob], protected: [ann], stays: [eve]}
`
)

// TestManifestsOfAFileOfTestsAreCheckedOnce, together, and apart from those of other folders: the same objects may be
// in the folders of two clusters.
func TestFoldersWithTestsAreApart(t *testing.T) {
	r := run(t, map[string]string{
		"a/lobby.yaml": lobby, "a/groupgate-test.yaml": aCase,
		"b/deep/lobby.yaml": lobby, "b/groupgate-test.yaml": aCase,
		"rest.yaml": strings.Replace(lobby, "All", "all", 1),
	}, ".")
	var files []string
	for i := range r.Files {
		files = append(files, r.Files[i].Name)
	}
	if diff := cmp.Diff([]string{"a/groupgate-test.yaml", "b/groupgate-test.yaml", "."}, files); diff != "" {
		t.Errorf("files (-want,+got):\n%s", diff)
	}
	if r.Passed != 2 || r.Failed != 0 || r.Manifests != 6 || r.Errors != 2 || r.Warnings != 0 {
		t.Errorf("%+v", r)
	}
	if r.Files[2].Problems[0].Where() != "rest.yaml:11" {
		t.Errorf("the first problem is at %s", r.Files[2].Problems[0].Where())
	}
}

func TestOneObjectInTwoFilesIsAnError(t *testing.T) {
	r := run(t, map[string]string{"a/lobby.yaml": lobby, "b/lobby.yaml": lobby}, ".")
	if r.Errors != 2 || !strings.Contains(r.Files[0].Problems[0].Message, "is in a/lobby.yaml") {
		t.Errorf("%+v", r.Files)
	}
	if r := run(t, map[string]string{"a/lobby.yaml": lobby, "b/lobby.yaml": lobby}, "a", "b"); r.Errors != 0 {
		t.Errorf("as PATHs of their own: %+v", r.Files)
	}
}

// TestCasesAreNotPassedOver: a Test that is not found by its name would seem to pass.
func TestCasesAreNotPassedOver(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"another name":   {"lobby.yaml": lobby, "tests/lobby_test.yaml": aCase},
		"JSON":           {"lobby.yaml": lobby, "groupgate-test.json": aCase},
		"with manifests": {"lobby.yaml": lobby + "---\n" + aCase},
	} {
		_, err := Run(t.Context(), []string{written(t, files)}, Options{Namespace: "chat", Now: at})
		if err == nil || !strings.Contains(err.Error(), "would not be run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoIsNoMemberDoesNotStay(t *testing.T) {
	r := run(t, map[string]string{"lobby.yaml": lobby,
		"groupgate-test.yaml": strings.Replace(aCase, "stays: [eve]", "stays: [eva]", 1)}, ".")
	if diff := cmp.Diff([]string{"stays: eva is not among the members"}, r.Files[0].Cases[0].Differences); diff != "" {
		t.Errorf("differences (-want,+got):\n%s", diff)
	}
}

// TestTextsOfARepositoryDoNotReachTheTerminal: a case could forge the lines of others.
func TestTextsOfARepositoryDoNotReachTheTerminal(t *testing.T) {
	r := &Report{Files: []File{{Name: "a\x1b", Cases: []Result{{
		Name: "a\n  ok    b\x1b[2J", Result: Failed, Differences: []string{"message: want \x1b[31m\n, got \u202e"},
	}}}}}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := `a\x1b
  FAIL  a\n  ok    b\x1b[2J
        message: want \x1b[31m\n, got \u202e
`
	if !strings.HasPrefix(text.String(), want) {
		t.Errorf("got\n%q\nwant\n%q", text.String(), want)
	}
}

// TestWrongPlansAreShown: what is expected otherwise is said, with what the plan is.
func TestWrongPlansAreShown(t *testing.T) {
	wrong := strings.Replace(aCase, "{removals: [bob], protected: [ann], stays: [eve]}",
		"{policy: other, mode: Preview, reason: NotFull, removals: [], protected: [bob], stays: [bob]}", 1)
	r := run(t, map[string]string{"lobby.yaml": lobby, "groupgate-test.yaml": wrong}, ".")
	want := []string{
		"reason: want NotFull, got Removed", "policy: want other, got lobby", "mode: want Preview, got Enforce",
		"removals: want nobody, got bob", "protected: no rule protects bob", "stays: the plan removes bob",
	}
	got := r.Files[0].Cases[0]
	if diff := cmp.Diff(want, got.Differences); diff != "" {
		t.Errorf("differences (-want,+got):\n%s", diff)
	}
	const plan = "The plan (Removed) removes bob. The others stay: 0 admin, 1 protected, 1 active, 0 unknown.\n"
	if text := got.Explanation.Sentence(); !strings.Contains(text, plan) {
		t.Errorf("got %q, want %q in it", text, plan)
	}
}

// TestWhyNobodyIsRemoved: the reasons are those of a run.
func TestWhyNobodyIsRemoved(t *testing.T) {
	for reason, change := range map[string][2]string{
		"Suspended":            {"region: Singapore", "region: Singapore, pruning: Suspended"},
		"NotGoverned":          {"groups: [{type: All}]", "groups: [{value: other}]"},
		"ProtectionUnresolved": {"accounts: [ann]", "lists: [{name: nowhere}]"},
		"NothingToRemove":      {"30d", "300d"},
		"NotFull":              {"groupType: Public", "groupType: Public\n    maxMembers: 9"},
		"UnsupportedGroupType": {"groupType: Public", "groupType: AVChatRoom"},
		"ActivityUnknown":      {", lastSpoke: 1d", ""},
		"Previewed":            {"Enforce", "Preview"},
		"AwaitingApproval":     {"Enforce", "Approve"},
		"Removed":              {"Enforce", "Enforce"},
	} {
		t.Run(reason, func(t *testing.T) {
			expecting := strings.Replace(aCase, "{removals: [bob], protected: [ann], stays: [eve]}",
				"{reason: "+reason+"}", 1)
			r := run(t, map[string]string{
				"lobby.yaml":          strings.Replace(lobby, change[0], change[1], 1),
				"groupgate-test.yaml": strings.Replace(expecting, change[0], change[1], 1),
			}, ".")
			if r.Passed != 1 {
				t.Errorf("%+v", r.Files[0])
			}
		})
	}
}
