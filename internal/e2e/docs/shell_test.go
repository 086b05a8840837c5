package docs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a step may take.
const patience = time.Minute

// driver runs one file after the other in one shell, and reports the exit code of each. Before it ends with a step that
// fails, the line that failed is written beside the step. One that may fail is run without -e, as a condition would.
const driver = `set -Eeuo pipefail
trap 'echo "$LINENO" >"$step.failed"' ERR
while IFS=' ' read -r -u 3 mode step stdin; do
  code=0
  if [[ $mode == any ]]; then
    set +e
    . "$step" >"$step.out" 2>&1 <"$stdin"; code=$?
    set -e
  else
    . "$step" >"$step.out" 2>&1 <"$stdin"
  fi
  echo "$code" >&4
done
`

// shell is the bash of a page, with its children in a process group of their own.
type shell struct {
	dir     string // of the files that it runs
	cmd     *exec.Cmd
	steps   io.WriteCloser
	reports chan string // exit codes
	ended   chan struct{}
	count   int
}

// startShell starts bash in the folder cwd.
func startShell(dir, cwd string, env []string) (*shell, error) {
	stepsIn, stepsOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	reportsIn, reportsOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	cmd := exec.Command("bash", "--norc", "--noprofile", "-c", driver)
	cmd.Dir, cmd.Env = cwd, env
	cmd.ExtraFiles = []*os.File{stepsIn, reportsOut}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bash: %w", err)
	}
	_, _ = stepsIn.Close(), reportsOut.Close()
	s := &shell{dir: dir, cmd: cmd, steps: stepsOut, reports: make(chan string, 1), ended: make(chan struct{})}
	go func() { // ends with the shell and its children
		for lines := bufio.NewScanner(reportsIn); lines.Scan(); {
			s.reports <- lines.Text()
		}
	}()
	go func() { // ends with the shell
		_ = cmd.Wait() // how it ended is read from ProcessState
		close(s.ended)
	}()
	return s, nil
}

// run runs the code of a step, whose first line is line of the page, and returns what it printed, and the exit code. An
// error says which line failed. In mode strict it is one if the code fails, in mode any it is not.
func (s *shell) run(ctx context.Context, page string, line int, code, mode, stdin string) (
	out string, exit int, err error,
) {
	s.count++
	path := filepath.Join(s.dir, fmt.Sprintf("%d.%s", s.count, filepath.Base(page)))
	// With as many lines before it as on the page, bash's own messages and LINENO name lines of the page.
	if err := os.WriteFile(path, []byte(strings.Repeat("\n", line-1)+code+"\n"), 0o600); err != nil {
		return "", 0, fmt.Errorf("write a step: %w", err)
	}
	if _, err := fmt.Fprintln(s.steps, mode, path, stdin); err != nil {
		return "", 0, fmt.Errorf("hand a step to the shell: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case report := <-s.reports:
		exit, err = strconv.Atoi(report)
	case <-s.ended:
		failed := strconv.Itoa(line)
		if number, err := os.ReadFile(path + ".failed"); err == nil {
			failed = strings.TrimSpace(string(number))
		}
		err = fmt.Errorf("line %s: exit code %d", failed, s.cmd.ProcessState.ExitCode())
	case <-ctx.Done():
		err = fmt.Errorf("no end within %s", patience)
	}
	output, readErr := os.ReadFile(path + ".out")
	return strings.ReplaceAll(string(output), path, page), exit, errors.Join(err, readErr)
}

// stop ends the shell and all that it has started.
func (s *shell) stop() {
	_ = s.steps.Close()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may have ended with all its children
	<-s.ended
}
