package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// narrator tells the story: numbered chapters, the commands as a person would type them, and their results. After the
// first error, which err holds, its methods do nothing.
type narrator struct {
	out     io.Writer
	plane   *lab.ControlPlane
	binary  string // path of groupgate
	chapter int
	bold    func(string) string
	dim     func(string) string
	err     error
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

// check ends the story if err is not nil.
func (n *narrator) check(err error) {
	if n.err == nil {
		n.err = err
	}
}

func (n *narrator) fail(format string, args ...any) { n.check(fmt.Errorf(format, args...)) }

// begin opens a chapter.
func (n *narrator) begin(title string) {
	n.chapter++
	fmt.Fprintf(n.out, "\n%s\n", n.bold(fmt.Sprintf("%d. %s", n.chapter, title)))
}

// say prints a paragraph.
func (n *narrator) say(format string, args ...any) {
	if n.err == nil {
		fmt.Fprintln(n.out, indent(fmt.Sprintf(format, args...), "   "))
	}
}

// kubectl shows the command, runs it, and prints and returns its output.
func (n *narrator) kubectl(ctx context.Context, args ...string) string {
	if n.err != nil {
		return ""
	}
	fmt.Fprintln(n.out, "\n   "+n.bold("$ kubectl "+quoteArgs(args)))
	out, err := n.plane.Kubectl(ctx, "", args...)
	return n.show(out, err)
}

// groupgate is kubectl for a tool of groupgate itself.
func (n *narrator) groupgate(ctx context.Context, args ...string) {
	if n.err != nil {
		return
	}
	fmt.Fprintln(n.out, "\n   "+n.bold("$ groupgate "+quoteArgs(args)))
	cmd := exec.CommandContext(ctx, n.binary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.plane.Kubeconfig)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("groupgate %s: %w: %s", quoteArgs(args), err, out)
	}
	n.show(string(out), err)
}

// show prints what a command has printed, and returns it.
func (n *narrator) show(out string, err error) string {
	n.check(err)
	out = strings.TrimRight(out, "\n")
	if out != "" && err == nil {
		fmt.Fprintln(n.out, indent(n.dim(out), "   "))
	}
	return out
}

// expect prints a result. Another one than the story promises ends it.
func (n *narrator) expect(what, got, want string) {
	switch {
	case n.err != nil:
	case got != want:
		n.fail("%s: %s, but the story says: %s", what, got, want)
	default:
		fmt.Fprintf(n.out, "   %-52s %s\n", what, n.bold(got))
	}
}

// apply has an account apply to join a group, and expects a result.
func (n *narrator) apply(ctx context.Context, s *stage, group, account, want string) {
	if n.err == nil {
		n.expect(account+" applies to join "+group, describe(s.backend.Apply(ctx, group, account)), want)
	}
}

// members expects a number of members.
func (n *narrator) members(ctx context.Context, s *stage, group string, want, limit int) {
	g, err := s.backend.Group(ctx, group)
	n.check(err)
	n.say("")
	taken := func(members, limit int) string { return fmt.Sprintf("%d of %d", members, limit) }
	n.expect("members of "+group+" now", taken(g.Members, g.MaxMembers), taken(want, limit))
}

// accounts are those of the members of a group.
func (n *narrator) accounts(ctx context.Context, s *stage, group string) (accounts []string) {
	members, err := s.backend.Members(ctx, group)
	n.check(err)
	for _, m := range members {
		accounts = append(accounts, m.Account)
	}
	return accounts
}

// eventually waits a minute at most.
func (n *narrator) eventually(ctx context.Context, what string, holds func(context.Context) (bool, error)) {
	if n.err == nil {
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		n.check(lab.Await(bounded, what, holds))
	}
}

// describe is the outcome of an application as a client sees it.
func describe(outcome emulator.Outcome, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case outcome.Result == emulator.ResultJoined:
		return "admitted"
	case outcome.Result == emulator.ResultRefused:
		return fmt.Sprintf("refused: %d %q", outcome.Code, outcome.Info)
	case outcome.Result == emulator.ResultFull:
		return "the group is full"
	default:
		return fmt.Sprintf("%s: %d %s", outcome.Result, outcome.Code, outcome.Info)
	}
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
