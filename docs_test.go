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
	"unicode/utf8"
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
			case utf8.RuneCountInString(line) > most:
				t.Errorf("%s:%d: the line has more than %d columns", path, number, most)
			}
		}
		return nil
	})
	if err != nil || pages < 10 {
		t.Errorf("%d pages read: %v", pages, err)
	}
}
