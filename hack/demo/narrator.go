package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/groupgate/groupgate/internal/lab"
)

// narrator tells the story: numbered chapters, the commands as a person would type them, and what came of them.
type narrator struct {
	out     io.Writer
	plane   *lab.ControlPlane
	chapter int
	bold    func(string) string
	dim     func(string) string
}

func newNarrator(out io.Writer, terminal bool) *narrator {
	n := &narrator{out: out, bold: plain, dim: plain}
	if terminal {
		n.bold = func(s string) string { return "\x1b[1m" + s + "\x1b[0m" }
		n.dim = func(s string) string { return "\x1b[2m" + s + "\x1b[0m" }
	}
	return n
}

func plain(s string) string { return s }

// begin opens a chapter.
func (n *narrator) begin(title string) {
	n.chapter++
	fmt.Fprintf(n.out, "\n%s\n", n.bold(fmt.Sprintf("%d. %s", n.chapter, title)))
}

// say prints a paragraph.
func (n *narrator) say(format string, args ...any) {
	fmt.Fprintln(n.out, indent(fmt.Sprintf(format, args...), "   "))
}

// kubectl shows the command, runs it and prints what it printed.
func (n *narrator) kubectl(ctx context.Context, args ...string) (string, error) {
	fmt.Fprintln(n.out, "\n   "+n.bold("$ kubectl "+quoteArgs(args)))
	out, err := n.plane.Kubectl(ctx, "", args...)
	if err != nil {
		return "", err
	}
	if out = strings.TrimRight(out, "\n"); out != "" {
		fmt.Fprintln(n.out, indent(n.dim(out), "   "))
	}
	return out, nil
}

// expect says what happened, and is an error when it is not what the story promises.
func (n *narrator) expect(what, got, want string) error {
	if got != want {
		return fmt.Errorf("%s: %s, but the story says: %s", what, got, want)
	}
	fmt.Fprintf(n.out, "   %-52s %s\n", what, n.bold(got))
	return nil
}

// indent puts margin before every line that is not empty.
func indent(s, margin string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = margin + line
		}
	}
	return strings.Join(lines, "\n")
}

// quoteArgs writes arguments so that a shell reads them back.
func quoteArgs(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		if strings.ContainsAny(arg, ` "'{}[]$*?#;&|<>()`) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		quoted[i] = arg
	}
	return strings.Join(quoted, " ")
}
