package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/lab/labtest"
)

func runTest(args ...string) (string, error) { return runCommand(testCommand(), "", args...) }

// folderOf writes files, by their names, and returns where.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	labtest.WriteFiles(t, dir, files)
	return dir
}

const (
	testedApp = `apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: prod}
spec: {sdkAppID: 1400000000, region: Singapore, adminAccount: administrator, credentialsSecretRef: {name: prod-im}}
`
	testedGate = `apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: gate}
spec: {appRef: {name: prod}, groups: [{type: All}], join: {allow: {accounts: [jared]}}}
`
	testedCases = `apiVersion: cli.groupgate.io/v1alpha1
kind: Test
cases:
- name: jared is a member
  join: {group: lobby, account: jared}
  expect: {verdict: Admitted, policy: gate}
- name: mallory is none
  join: {group: lobby, account: mallory}
  expect: {verdict: Rejected}
`
	testedPrune = `apiVersion: cli.groupgate.io/v1alpha1
kind: Test
cases:
- {name: a, prune: {group: lobby, groupType: Public, members: nowhere.csv}, expect: {removals: []}}
`
)

// TestOutcomes: all is well, something is wrong (exit code 1), the input is bad (exit code 2).
func TestOutcomes(t *testing.T) {
	good := map[string]string{"app.yaml": testedApp, "gate.yaml": testedGate, "groupgate-test.yaml": testedCases}
	with := func(name, text string) map[string]string {
		files := map[string]string{}
		for name, text := range good {
			files[name] = text
		}
		if files[name] = text; text == "" {
			delete(files, name)
		}
		return files
	}
	replaced := func(before, after string) map[string]string {
		return with("groupgate-test.yaml", strings.Replace(testedCases, before, after, 1))
	}
	for name, tc := range map[string]struct {
		files map[string]string
		args  []string
		// wrong is the error of exit code 1, bad that of exit code 2.
		wrong, bad string
		out        string
	}{
		"all is well":             {files: good, out: "2 passed, 0 failed; 2 manifests: 0 errors, 0 warnings\n"},
		"a case fails":            {files: replaced("Admitted", "Rejected"), wrong: `failed`, out: "verdict: want Rejected, got Admitted"},
		"the table is shown":      {files: replaced("Admitted", "Rejected"), wrong: `failed`, out: "RANK   POLICY"},
		"some cases":              {files: good, args: []string{"--run", "^jared"}, out: "1 passed, 0 failed"},
		"no such case":            {files: good, args: []string{"--run", "nobody", "--require-tests"}, wrong: `no case was run`},
		"no cases":                {files: with("groupgate-test.yaml", ""), out: "0 passed, 0 failed; 2 manifests"},
		"no cases, required":      {files: with("groupgate-test.yaml", ""), args: []string{"--require-tests"}, wrong: `groupgate-test.yaml`},
		"an invalid manifest":     {files: with("gate.yaml", strings.Replace(testedGate, "All", "all", 1)), wrong: `failed`, out: `Unsupported value: "all"`},
		"the cases are skipped":   {files: with("gate.yaml", strings.Replace(testedGate, "All", "all", 1)), wrong: `failed`, out: "2 skipped until the manifests are valid"},
		"no YAML":                 {files: with("gate.yaml", "apiVersion: groupgate.io/v1alpha1\nkind: [\n"), wrong: `failed`, out: "gate.yaml:1"},
		"a warning":               {files: with("app.yaml", ""), out: "0 errors, 1 warning\n"},
		"a warning, strict":       {files: with("app.yaml", ""), args: []string{"--strict"}, wrong: "--strict"},
		"an unknown app":          {files: replaced("{group", "{app: other, group"), wrong: `failed`, out: `no IMApp "other"`},
		"no such output":          {files: good, args: []string{"-o", "xml"}, bad: "use text, json or junit"},
		"no such flag":            {files: good, args: []string{"--color"}, bad: "unknown flag"},
		"no expression":           {files: good, args: []string{"--run", "("}, bad: "--run"},
		"no such path":            {files: good, args: []string{"nowhere"}, bad: "nowhere"},
		"an unknown field":        {files: replaced("account: mallory", "acount: mallory"), bad: `groupgate-test.yaml:8: unknown field "cases[1].join.acount"`},
		"an unknown trigger":      {files: replaced("{group", "{trigger: Walk, group"), bad: `groupgate-test.yaml:5: case "jared is a member": trigger is "Walk": use Apply`},
		"an unknown type":         {files: replaced("{group", "{groupType: Big, group"), bad: `use Work, Public`},
		"an unknown verdict":      {files: replaced("Admitted", "Allowed"), bad: `verdict is "Allowed": use one of Admitted, Rejected`},
		"an unknown reason":       {files: replaced("verdict: Admitted", "reason: Because"), bad: `use one of Denied, Allowed`},
		"a wrong time":            {files: replaced("{group", "{at: today, group"), bad: `use RFC 3339`},
		"no question":             {files: replaced("join: {group: lobby, account: jared}", ""), bad: `set exactly one of join, prune and evict`},
		"no expectation":          {files: replaced("{verdict: Admitted, policy: gate}", "{}"), bad: `say in expect`},
		"no name":                 {files: replaced("name: jared is a member", `name: ""`), bad: `give it a name`},
		"no account":              {files: replaced(", account: jared", ""), bad: `set group and account`},
		"one name twice":          {files: replaced("mallory is none", "jared is a member"), bad: `there is another case`},
		"an answer to a prune":    {files: replaced("verdict: Admitted", "removals: []"), bad: `answers to a prune`},
		"an account that is none": {files: replaced("account: jared", "account: 10086"), bad: `cannot unmarshal number`},
		"another version":         {files: replaced("v1alpha1", "v2"), bad: `use cli.groupgate.io/v1alpha1 and Test`},
		"no manifests":            {files: replaced("kind: Test", "kind: Test\nmanifests: [nowhere]"), bad: `groupgate-test.yaml:3: manifests`},
		"two documents":           {files: with("groupgate-test.yaml", testedCases+"---\n"+testedCases), bad: `2 documents`},
		"no members":              {files: with("groupgate-test.yaml", testedPrune), bad: `nowhere.csv`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := runTest(append(tc.args, folderOf(t, tc.files))...)
			_, bad := errors.AsType[badInputError](err)
			switch want := tc.wrong + tc.bad; {
			case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Fatalf("error %v, want %q\n%s", err, want, got)
			case bad != (tc.bad != ""):
				t.Fatalf("error %v, bad input: %t", err, bad)
			}
			if !strings.Contains(got, tc.out) {
				t.Errorf("got\n%swant in it\n%s", got, tc.out)
			}
		})
	}
}

func TestTestPrintsJSONAndJUnit(t *testing.T) {
	dir := folderOf(t, map[string]string{
		"app.yaml": testedApp, "gate.yaml": testedGate,
		"groupgate-test.yaml": strings.Replace(testedCases, "Admitted", "Rejected", 1),
	})
	got, err := runTest(dir, "-o", "json")
	if err == nil {
		t.Error("no error")
	}
	var asJSON struct {
		Passed, Failed, Manifests int
		Files                     []struct {
			Cases []struct {
				Name, Result string
				Line         int
				Differences  []string
				Explanation  struct{ Verdict string }
			}
		}
	}
	if err := json.Unmarshal([]byte(got), &asJSON); err != nil {
		t.Fatal(err)
	}
	first := asJSON.Files[0].Cases[0]
	if asJSON.Passed != 1 || asJSON.Failed != 1 || asJSON.Manifests != 2 || first.Result != "failed" ||
		first.Line != 4 || len(first.Differences) != 1 || first.Explanation.Verdict != "Admitted" {
		t.Errorf("%+v", asJSON)
	}
	if got, err = runTest(dir, "-o", "junit"); err == nil {
		t.Error("no error")
	}
	var asXML struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Tests int    `xml:"tests,attr"`
			Cases []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(got), &asXML); err != nil {
		t.Fatal(err)
	}
	if asXML.Tests != 3 || asXML.Failures != 1 || len(asXML.Suites) != 1 || len(asXML.Suites[0].Cases) != 3 ||
		asXML.Suites[0].Cases[1].Failure == nil || asXML.Suites[0].Name != filepath.Join(dir, "groupgate-test.yaml") {
		t.Errorf("%+v", asXML)
	}
}

// TestTheSamplesPassTheirTests as CI runs them; docs/tools.md names the command.
func TestTheSamplesPassTheirTests(t *testing.T) {
	got, err := runTest("config/samples", "--strict", "--require-tests")
	const want = "35 passed, 0 failed; 11 manifests: 0 errors, 0 warnings\n"
	if err != nil || !strings.HasSuffix(got, want) {
		t.Errorf("%v\n%swant at the end\n%s", err, got, want)
	}
}

// TestTheExampleOfTheDocs runs what docs/tools.md shows: the samples with the file of tests and the members there.
func TestTheExampleOfTheDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "tools.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## What will these manifests do?\n")
	block := func(begin string) string {
		t.Helper()
		_, after, found := strings.Cut(section, begin)
		text, _, closed := strings.Cut(after, "```\n")
		if !found || !closed {
			t.Fatalf("docs/tools.md has no %q", begin)
		}
		return text
	}
	cases, members := block("```yaml\n# policies/groupgate-test.yaml\n"), block("```csv\n")
	want := block("```console\n$ groupgate test policies\n")

	policies := filepath.Join(t.TempDir(), "policies")
	if err := os.CopyFS(policies, os.DirFS(filepath.Join("config", "samples"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(policies, "tests")); err != nil {
		t.Fatal(err)
	}
	labtest.WriteFiles(t, policies, map[string]string{"groupgate-test.yaml": cases, "members.csv": members})
	t.Chdir(filepath.Dir(policies))
	got, err := runTest("policies")
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, fmt.Sprintf("%sgroupgate: %v\n", got, err)); diff != "" {
		t.Errorf("(-docs/tools.md,+printed):\n%s", diff)
	}
}
