package docs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/pages"
)

// Every command of the pages is run, or marked with the reason why not.
func TestCommandsOfPages(t *testing.T) {
	all, err := pages.All(os.DirFS(lab.Root()))
	if err != nil {
		t.Fatal(err)
	}
	j, err := newJanitor(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	// Every process that is built with the race detector would wait for a second before it ends.
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	ran, marked := 0, map[string]int{}
	for _, page := range all {
		if pages.Original(page.Path) != "" {
			continue // a test compares its commands with those of the page that it translates
		}
		s, err := read(page)
		if err != nil {
			t.Error(err)
			continue
		}
		for reason, commands := range s.marked {
			marked[reason] += len(commands)
		}
		if !slices.ContainsFunc(s.steps, func(s step) bool { return s.file == "" }) {
			continue
		}
		t.Run(page.Path, func(t *testing.T) { ran += s.run(t, j) })
	}
	total := 0
	for _, reason := range slices.Sorted(maps.Keys(marked)) {
		t.Logf("%3d not run: %s", marked[reason], reason)
		total += marked[reason]
	}
	t.Logf("%d commands run, %d marked as not run", ran, total)
}

// Targets of make that are marked as CI's are those that CI runs.
func TestTargetsOfMakeThatCIRuns(t *testing.T) {
	file := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{lab.Root()}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	runs := map[string]bool{}
	scripts := file(".ci", "run") + file("hack", "verify.sh") + file(".github", "workflows", "ci.yaml")
	for _, match := range regexp.MustCompile(`\b(?:make|timed)(?: --?[a-z-]+)* ([a-z-]+)`).FindAllStringSubmatch(scripts, -1) {
		runs[match[1]] = true
	}
	all, err := pages.All(os.DirFS(lab.Root()))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range all {
		s, err := read(page)
		if err != nil {
			continue // TestCommandsOfPages reports it
		}
		for _, command := range s.marked["CI runs it"] {
			checked++
			words := strings.Fields(command)
			if len(words) < 2 || words[0] != "make" || !runs[words[1]] {
				t.Errorf("%s: CI does not run %s", page.Path, command)
			}
		}
	}
	if checked == 0 {
		t.Error("no page has a command that CI runs")
	}
}

// needed are programs that pages use and that machines may lack.
var needed = regexp.MustCompile(`\b(curl|jq|openssl|sha256sum)\b`)

// run runs the commands of a page and returns how many of them readers see.
func (s *script) run(t *testing.T, j *janitor) (ran int) {
	for _, step := range s.steps {
		for _, program := range needed.FindAllString(step.code, -1) {
			if _, err := exec.LookPath(program); step.file == "" && err != nil {
				t.Skipf("%s:%d: there is no %s on this machine", s.path, step.line, program)
			}
		}
	}
	p := newPlace(t, j, s.setup)
	if slices.ContainsFunc(s.steps, func(s step) bool { return strings.Contains(s.code, "helm ") }) {
		p.tool("helm")
	}
	for _, step := range s.steps {
		code := p.addresses.Replace(step.code)
		if step.file != "" {
			p.write(step.file, code)
			continue
		}
		mode, stdin := "strict", os.DevNull
		if step.compared {
			mode = "any"
		}
		if step.answer != "" {
			stdin = p.answer(step.answer)
		}
		out, exit, err := p.shell.run(t.Context(), s.path, step.line, code, mode, stdin)
		out = p.documented.Replace(out)
		if step.answer != "" {
			out = strings.Replace(out, question, question+step.answer+"\n", 1) // the terminal's echo
		}
		switch {
		case err != nil:
		case exit != step.exit:
			err = fmt.Errorf("exit code %d, want %d", exit, step.exit)
		case step.compared:
			if difference := differ(step.output, out); difference != "" {
				err = errors.New(difference)
			}
		}
		if err != nil {
			t.Fatalf("%s:%d: %v\n--- command\n%s\n--- output\n%s", s.path, step.line, err, step.code, out)
		}
		if !step.hidden {
			ran += len(commands(strings.Split(strings.TrimSpace(step.code), "\n")))
		}
	}
	return ran
}
