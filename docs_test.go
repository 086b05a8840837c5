package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
