package drill

import (
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// replica is one of the two managers: a process that is killed and started again, with a wire of its own to the API
// server.
type replica struct {
	w     *world
	wire  *lab.Wire
	flags []string
	log   *lab.Log

	killing sync.Mutex
	mu      sync.Mutex
	process *lab.Manager
}

// newReplica starts the first process.
func (w *world) newReplica(flags ...string) (*replica, error) {
	wire, err := lab.NewWire(w.ctx, w.server.server.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = wire.Close() })
	kubeconfig, err := w.server.kubeconfig(w.t, wire.Address())
	if err != nil {
		return nil, err
	}
	r := &replica{w: w, wire: wire, log: &lab.Log{}}
	own := []string{"--shutdown-delay=100ms", "--log-format=console", "--kubeconfig=" + kubeconfig}
	r.flags = slices.Concat(own, lab.FastElection, flags)
	w.t.Cleanup(func() { _ = r.current().Kill() }) // no process is left behind, however the test ends
	return r, r.start()
}

func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	process, err := r.w.StartManager(r.log, r.wire.Address(), r.flags...)
	if err != nil {
		return err
	}
	r.process = process
	return nil
}

func (r *replica) current() *lab.Manager {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// killAndRestart ends the process as kill -9 does, and starts another one after a while.
func (r *replica) killAndRestart(ctx context.Context, after time.Duration) {
	r.killing.Lock()
	defer r.killing.Unlock()
	if !r.check() {
		return
	}
	if err := r.current().Kill(); err != nil {
		r.w.violation("kill a manager: %v", err)
	}
	pause(ctx, after)
	if err := r.start(); err != nil {
		r.w.violation("start a manager: %v", err)
	}
}

// stopFor stops the process as SIGSTOP does, and lets it go on after a while.
func (r *replica) stopFor(ctx context.Context, d time.Duration) {
	r.killing.Lock()
	defer r.killing.Unlock()
	if !r.check() {
		return
	}
	process := r.current()
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		r.w.violation("stop a manager: %v", err)
	}
	pause(ctx, d)
	if err := process.Signal(syscall.SIGCONT); err != nil {
		r.w.violation("let a manager go on: %v", err)
	}
}

// check reports whether the process runs. It is a violation if it has ended by itself.
func (r *replica) check() bool {
	p := r.current()
	if !p.Running() {
		r.w.violation("a manager has ended by itself with exit code %d", p.ExitCode())
		return false
	}
	return true
}

// stop ends the process for good.
func (r *replica) stop() {
	if !r.check() {
		return
	}
	if err := r.current().Stop(time.Minute); err != nil {
		r.w.violation("stop a manager: %v", err)
	}
	if strings.Contains(r.log.String(), "DATA RACE") {
		r.w.violation("a manager has a data race")
	}
}

// leads reports whether the process is the leader; false if it does not answer.
func (r *replica) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	leads, err := r.current().Leads(ctx)
	return err == nil && leads
}

// callback sends a signed callback to the process.
func (r *replica) callback(
	ctx context.Context, sdkAppID uint64, command string, fields map[string]any,
) (lab.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return lab.PostSigned(ctx, r.current().CallbackURL, sdkAppID, command, fields)
}
