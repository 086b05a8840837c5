package lab

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Build compiles the groupgate binary into dir and returns its path. With race, it reports data races and then exits
// with 66.
func Build(dir string, race bool) (string, error) {
	path := filepath.Join(dir, "groupgate")
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build groupgate: %w: %s", err, out)
	}
	return path, nil
}

// Process is a child in a process group of its own, so that Ctrl-C in a terminal reaches the parent only. On Linux it
// is killed when its parent dies.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Start runs binary with args; both of its outputs go to log. env is added to the environment of this process.
func Start(log io.Writer, env []string, binary string, args ...string) (*Process, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	return StartCommand(cmd)
}

// StartCommand starts cmd as it is.
func StartCommand(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the process
		defer close(p.done)
		_ = cmd.Wait() // how it ended is read from ProcessState
	}()
	return p, nil
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode is how it ended: -1 by a signal. It waits for the end.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends one; to a process that has ended already that is no error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s: %w", s, err)
	}
	return nil
}

// Kill ends it as `kill -9` does, and waits until it is gone.
func (p *Process) Kill() error {
	err := p.Signal(syscall.SIGKILL)
	<-p.done
	return err
}

// Stop sends SIGTERM, and SIGKILL after grace. It fails if that was needed, or if the exit code is not 0.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(grace):
		return errors.Join(fmt.Errorf("process %d did not end within %s", p.PID(), grace), p.Kill())
	}
	if code := p.ExitCode(); code != 0 {
		return fmt.Errorf("process %d ended with exit code %d", p.PID(), code)
	}
	return nil
}

// FreeAddress is a loopback address on which nothing listens right now. Its port lies below the ephemeral range: an
// outgoing connection could otherwise take it before the intended process does.
func FreeAddress() (string, error) {
	const first, count, tries = 15000, 15000, 100
	var err error
	for range tries {
		var l net.Listener
		l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(count))))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
