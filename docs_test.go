package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/width"
	"sigs.k8s.io/yaml"
)

// testsOf are the names of the tests in a folder.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			if function, ok := declared.(*ast.FuncDecl); ok && function.Recv == nil {
				tests[function.Name.Name] = true
			}
		}
	}
	return tests
}

// The page of drills says which test proves what: each has to be where it says.
func TestDrillsNameTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "failure-drills.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted, rows := regexp.MustCompile("`([^`]+)`"), 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue // no row of the table
		}
		rows++
		folder, tests, named := "", map[string]bool{}, 0
		for _, match := range quoted.FindAllStringSubmatch(cells[3], -1) {
			word := match[1]
			if !strings.HasPrefix(word, "Test") {
				folder, tests = word, testsOf(t, word)
				continue
			}
			if named++; !tests[word] {
				t.Errorf("%s: there is no %s in %q", strings.TrimSpace(cells[1]), word, folder)
			}
		}
		if named == 0 && rows > 2 { // the heading is two rows
			t.Errorf("%s: no test is named", strings.TrimSpace(cells[1]))
		}
	}
	if rows < 10 {
		t.Errorf("%d rows: the table is not read", rows)
	}
}

// The page on testing shows a test of a module that is built and run as those of other projects are.
func TestSuiteInDocsIsTheOneThatRuns(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	suite, err := os.ReadFile(filepath.Join("controllers", "gatetest", "testdata", "suite", "chat_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```go\n")
	shown, _, _ := strings.Cut(rest, "```\n")
	if diff := cmp.Diff(string(suite), shown); diff != "" {
		t.Errorf("docs/testing.md (-want,+got)\n%s", diff)
	}
}

// Every alert leads to a section of the page of alerts, and uses metrics that the page of operations explains.
func TestAlertsAreDocumented(t *testing.T) {
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page, metrics := read("docs", "alerts.md"), read("docs", "operations.md")
	sections := map[string]int{}
	for _, heading := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(page, -1) {
		sections[heading[1]]++
	}
	var rule struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr         string
					Labels, Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read("config", "prometheus", "alerts.yaml")), &rule); err != nil {
		t.Fatal(err)
	}
	const url = "https://github.com/groupgate/groupgate/blob/main/docs/alerts.md#"
	metric := regexp.MustCompile(`(?:groupgate|controller_runtime)_[a-z_]+`)
	alerts := map[string]bool{}
	for _, alert := range rule.Spec.Groups[0].Rules {
		alerts[alert.Alert] = true
		if got, want := alert.Annotations["runbook_url"], url+strings.ToLower(alert.Alert); got != want {
			t.Errorf("%s: runbook_url %s, want %s", alert.Alert, got, want)
		}
		if alert.Labels["severity"] == "" || alert.Annotations["summary"] == "" {
			t.Errorf("%s has no severity or no summary", alert.Alert)
		}
		if sections[alert.Alert] != 1 {
			t.Errorf("%s has %d sections in docs/alerts.md", alert.Alert, sections[alert.Alert])
		}
		for _, name := range metric.FindAllString(alert.Expr, -1) {
			name = strings.TrimSuffix(strings.TrimPrefix(name, "groupgate_"), "_bucket")
			if !strings.Contains(metrics, "`"+name) {
				t.Errorf("%s: docs/operations.md does not explain %s", alert.Alert, name)
			}
		}
	}
	for section := range sections {
		if !alerts[section] {
			t.Errorf("docs/alerts.md: there is no alert %s", section)
		}
	}
}

// columns is how wide a line is in an editor: Chinese characters and full-width punctuation take two columns.
func columns(line string) (columns int) {
	for _, r := range line {
		columns++
		if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
			columns++
		}
	}
	return columns
}

// Prose wraps at 120 columns, so that diffs are readable. Tables, code, generated parts and lines that consist of a
// link cannot be wrapped.
func TestWidthOfMarkdown(t *testing.T) {
	const most = 120
	link := regexp.MustCompile(`^\s*(- )?(\[[^\]]*\]: ?|!?\[[^\]]*\]\()\S+$`)
	pages := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (path == "bin" || path == ".git" || path == filepath.Join("docs", "reference")):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		pages++
		page, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		number, code, generated := 0, false, false
		for line := range strings.Lines(string(page)) {
			number++
			line = strings.TrimRight(line, "\n")
			switch {
			case strings.HasPrefix(strings.TrimSpace(line), "```"):
				code = !code
			case strings.HasPrefix(line, "<!--"):
				generated = strings.Contains(line, "begin")
			case code, generated, strings.HasPrefix(line, "|"), link.MatchString(line):
			case columns(line) > most:
				t.Errorf("%s:%d: the line has more than %d columns", path, number, most)
			}
		}
		return nil
	})
	if err != nil || pages < 10 {
		t.Errorf("%d pages read: %v", pages, err)
	}
}
