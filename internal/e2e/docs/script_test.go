package docs

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/groupgate/groupgate/internal/pages"
)

// script is what a page asks to be run.
type script struct {
	path  string
	setup string
	steps []step
	// marked are the commands that are not run, by reason.
	marked map[string][]string
}

// step is a piece of a page that is run as one: a block of sh, a command of a block of console, commands in a comment,
// or a file to be written.
type step struct {
	line int
	// code begins in this line of the page.
	code string
	// file is the path of a file to be written with code, instead of running it.
	file string
	// hidden commands are not shown to readers.
	hidden bool
	// exit is the wanted exit code.
	exit int
	// compared is set where output is what the page shows, from its line after the command on.
	compared bool
	output   []string
	// answer is what is typed at a terminal when the command asks, empty if it does not.
	answer string
}

// question is how commands ask.
const question = "[y/N] "

var directive = regexp.MustCompile(`(?s)^(setup|not run|run|file|exit): *(.*)$`)

// misspelled are comments that are no directives, and look like ones.
var misspelled = regexp.MustCompile(`(?i)^(setup|not[ -_]?run|run|file|exit)\b`)

// languages are those that a fenced block may have, and whether their blocks are run. A block without language could
// have commands that are not tested.
var languages = map[string]bool{
	"sh": true, "console": true,
	"yaml": false, "json": false, "csv": false, "go": false, "text": false, "mermaid": false, "lua": false,
	"nginx": false, "promql": false,
}

// read finds out what a page asks to be run.
func read(p *pages.Page) (*script, error) {
	s := &script{path: p.Path, setup: "chat", marked: map[string][]string{}}
	var errs []error
	fail := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s", p.Path, line, fmt.Sprintf(format, args...)))
	}
	comments := p.Comments
	// Comments are taken in the order of the page: hidden commands run where they stand.
	until := func(line int) {
		for len(comments) > 0 && comments[0].Line < line {
			c := comments[0]
			comments = comments[1:]
			switch match := directive.FindStringSubmatch(c.Text); {
			case match == nil && misspelled.MatchString(c.Text):
				fail(c.Line, "%q is no directive: write setup:, not run:, run:, file: or exit:", c.Text)
			case match == nil:
			case strings.TrimSpace(match[2]) == "":
				fail(c.Line, "the directive %q has no value", match[1])
			case match[1] == "setup":
				if s.setup = match[2]; len(s.steps) > 0 || setups[s.setup] == nil {
					fail(c.Line, "setup %q: it is not known, or comes after the first command", s.setup)
				}
			case match[1] == "run":
				s.steps = append(s.steps, step{line: c.Line, code: match[2], hidden: true})
			}
		}
	}
	for _, block := range p.Blocks {
		until(block.Line)
		runs, known := languages[block.Language]
		if !known {
			fail(block.Line, "language %q is not known: use sh or console for commands, else text", block.Language)
			continue
		}
		about := map[string]string{}
		for _, c := range block.Comments {
			if match := directive.FindStringSubmatch(c.Text); match != nil {
				about[match[1]] = match[2]
			}
		}
		reason, notRun := about["not run"]
		file, isFile := about["file"]
		exits := strings.Fields(about["exit"])
		if len(exits) > 0 && block.Language != "console" {
			fail(block.Line, "exit: is for blocks of console")
		}
		switch {
		case isFile && runs, notRun && !runs:
			fail(block.Line, "file: is for blocks that are not run, and not run: for those that are")
		case isFile:
			s.steps = append(s.steps, step{line: block.Line + 1, code: block.Text(), file: file})
		case !runs:
		case block.Language == "sh" && notRun:
			s.marked[reason] = append(s.marked[reason], commands(block.Lines)...)
		case block.Language == "sh":
			s.steps = append(s.steps, step{line: block.Line + 1, code: block.Text()})
		default:
			session, err := console(block)
			if err != nil {
				fail(block.Line, "%v", err)
				continue
			}
			if len(exits) > 0 && len(exits) != len(session) {
				fail(block.Line, "exit: has %d numbers for %d commands", len(exits), len(session))
				continue
			}
			for i := range exits {
				if session[i].exit, err = strconv.Atoi(exits[i]); err != nil {
					fail(block.Line, "exit: %v", err)
				}
			}
			if !notRun {
				s.steps = append(s.steps, session...)
				continue
			}
			for _, step := range session {
				s.marked[reason] = append(s.marked[reason], step.code)
			}
		}
	}
	until(1 << 30)
	return s, errors.Join(errs...)
}

// console splits a block into its commands, each with its output.
func console(block pages.Block) (session []step, err error) {
	for i := 0; i < len(block.Lines); i++ {
		line := block.Lines[i]
		command, ok := strings.CutPrefix(line, "$ ")
		switch {
		case ok:
			s := step{line: block.Line + 1 + i, code: command, compared: true}
			for unfinished(s.code) && i+1 < len(block.Lines) {
				i++
				s.code += "\n" + block.Lines[i]
			}
			session = append(session, s)
		case len(session) == 0:
			return nil, errors.New("a block of console begins with a command: `$ kubectl ...`")
		default:
			last := &session[len(session)-1]
			last.output = append(last.output, line)
			if _, answer, asks := strings.Cut(line, question); asks {
				last.answer = answer
			}
		}
	}
	if len(session) == 0 {
		return nil, errors.New("a block of console has a command: `$ kubectl ...`")
	}
	return session, nil
}

var hereDocument = regexp.MustCompile(`<<-?\s*['"]?(\w+)['"]?`)

// unfinished reports whether the next line belongs to the same command: after a backslash, a pipe or an operator, and
// in a here-document.
func unfinished(code string) bool {
	lines := strings.Split(code, "\n")
	if match := hereDocument.FindStringSubmatch(code); match != nil {
		return len(lines) == 1 || strings.TrimSpace(lines[len(lines)-1]) != match[1]
	}
	last := strings.TrimRight(lines[len(lines)-1], " ")
	for _, end := range []string{`\`, "|", "&&", "||"} {
		if strings.HasSuffix(last, end) {
			return true
		}
	}
	return strings.Count(code, "'")%2 == 1
}

// commands are those of a block of sh, for the count of them: what is between quotes or in a here-document, comments,
// and the words of compound commands that stand alone are none.
func commands(lines []string) (found []string) {
	for i := 0; i < len(lines); i++ {
		code := strings.TrimSpace(lines[i])
		switch code {
		case "", "do", "done", "then", "else", "fi", "{", "}", "(", ")", ";;", "esac":
			continue
		}
		if strings.HasPrefix(code, "#") {
			continue
		}
		for unfinished(code) && i+1 < len(lines) {
			i++
			code += "\n" + lines[i]
		}
		found = append(found, code)
	}
	return found
}
