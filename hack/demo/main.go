// Command demo tells the story of Groupgate on one machine: a real control plane, an IM backend, the manager, and
// accounts that join.
//
// It needs the binaries of `make control-plane` and bin/groupgate; `make demo` builds both. With --once it ends after
// the last chapter, with exit code 0 if every result was as expected; otherwise everything stays up until Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

func main() {
	once := flag.Bool("once", false, "end after the story instead of staying up until Ctrl-C")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: unknown argument %q; there is only --once\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Stdout, filepath.Join(lab.Root(), "bin", "groupgate"), *once)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	case interrupted:
		fmt.Println("\nStopped; no process is left behind.")
	}
}

// run sets the stage, tells the story, and clears the stage also after an error.
func run(ctx context.Context, out io.Writer, binary string, once bool) (err error) {
	dir, err := os.MkdirTemp("", "groupgate-demo-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		// After an error the logs are kept.
		if err == nil || ctx.Err() != nil {
			err = errors.Join(err, os.RemoveAll(dir))
			return
		}
		err = fmt.Errorf("%w\nThe log is in %s", err, dir)
	}()

	n := newNarrator(out, isTerminal(os.Stdout))
	s := &stage{dir: dir, narrator: n, World: lab.World{Namespace: "chat", Binary: binary}}
	defer func() { err = errors.Join(err, s.clear()) }()
	err = show(ctx, n, s, once)
	if ctx.Err() == nil {
		return err
	}
	// The error is the interrupt's. Only --once promises to get to the end.
	if once {
		return errors.New("interrupted before the story was told")
	}
	return nil
}

// show tells the story on the stage, and stays up unless once is set.
func show(ctx context.Context, n *narrator, s *stage, once bool) error {
	if err := s.set(ctx); err != nil {
		return err
	}
	if err := tell(ctx, n, s); err != nil {
		return err
	}
	if once {
		n.say("\nThat was the whole story.")
		return nil
	}
	if err := s.invite(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.manager.Done():
		return errors.New("the manager has ended")
	case <-s.backend.Done():
		return errors.New("the emulator has ended")
	case <-s.page.Done():
		return errors.New("the page has ended")
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}

// sampleApp is the emulator's app: that of config/samples, with its credentials.
const sampleApp = "1400000000:replace-with-the-secret-key-of-the-app:replace-with-the-callback-token"

// stage is what the story is shown on.
type stage struct {
	lab.World
	dir      string
	narrator *narrator
	log      *os.File // of both processes
	manager  *lab.Manager
	backend  *lab.Emulator
	page     *lab.Page
	maria    string // her kubeconfig
}

// set brings up the control plane, installs the manifests and starts the two processes.
func (s *stage) set(ctx context.Context) (err error) {
	n := s.narrator
	if s.log, err = os.Create(filepath.Join(s.dir, "processes.log")); err != nil {
		return fmt.Errorf("make a log file: %w", err)
	}
	n.begin("A control plane")
	began := time.Now()
	plane, err := lab.StartControlPlane(s.dir, nil)
	if err != nil {
		return err
	}
	s.ControlPlane = plane
	n.plane, n.binary = plane, s.Binary
	took := time.Since(began).Round(100 * time.Millisecond)
	n.say("A real kube-apiserver and etcd, up in %s at %s.", took, plane.Config.Host)
	n.say("Groupgate's CustomResourceDefinitions, its roles, and a namespace for the chat app:")
	if err := ctx.Err(); err != nil {
		return err
	}
	n.kubectl(ctx, "apply", "--server-side", "-k", "config/default")
	n.say("\nAnd a policy by which the API server writes down who decides about a removal:")
	if n.kubectl(ctx, "apply", "--server-side", "-k", "config/admission/decisions"); n.err != nil {
		return n.err
	}

	n.begin("An IM backend and Groupgate")
	if _, err := os.Stat(s.Binary); err != nil {
		return fmt.Errorf("no groupgate (%w): run `make build`", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s.backend, err = lab.StartEmulator(ctx, s.log, s.Binary, "--app="+sampleApp, "--log-format=console")
	if err != nil {
		return err
	}
	s.IMEndpoint = s.backend.BaseURL
	if err := s.startManager(ctx); err != nil {
		return err
	}
	n.say("An emulated IM backend   %s", s.IMEndpoint)
	n.say("groupgate manager        %s   (ready, with nothing to enforce yet)", s.manager.CallbackURL)
	return nil
}

// startManager starts a manager, to which the backend sends its callbacks. It runs as its ServiceAccount: a missing
// right would show.
func (s *stage) startManager(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	secured, err := lab.SecureMetrics(s.dir)
	if err != nil {
		return err
	}
	flags := append(secured, "--shutdown-delay=0s", "--log-format=console")
	if s.manager, err = s.StartManager(s.log, "", flags...); err != nil {
		return err
	}
	if err := s.manager.AwaitReady(ctx); err != nil {
		return err
	}
	return s.backend.SendCallbacksTo(ctx, s.manager.CallbackURL)
}

// invite lists commands to go on with.
func (s *stage) invite() error {
	n := s.narrator
	bin := filepath.Join(s.dir, "bin")
	err := os.Mkdir(bin, 0o700)
	for name, path := range map[string]string{
		"kubectl": s.KubectlPath(), "groupgate": s.Binary, "kubectl-groupgate": s.Binary,
	} {
		err = errors.Join(err, os.Symlink(path, filepath.Join(bin, name)))
	}
	if err != nil {
		return fmt.Errorf("make a folder of commands: %w", err)
	}
	n.begin("Your turn: everything stays up until Ctrl-C")
	n.say("maria's page   %s\n", n.bold(s.page.URL))
	n.say("%s", strings.Join([]string{
		"export KUBECONFIG=" + s.Kubeconfig,
		"export PATH=" + bin + ":$PATH",
		"export E=" + s.IMEndpoint + "/emulator",
		"",
		"kubectl get groupgate -n chat",
		"groupgate explain vip-berlin stranger -n chat",
		"kubectl groupgate runs -n chat",
		"groupgate check -n chat --im-endpoint=" + s.IMEndpoint,
		"kubectl explain grouppolicy.spec.join",
		"kubectl edit grouppolicy vip-lounge -n chat",
		"kubectl describe pruneruns -n chat",
		"curl -s $E/",
		"curl -s $E/groups/vip-berlin/apply -d '{\"account\":\"alice\"}'",
		"tail -f " + s.log.Name(),
		"",
		"# as maria, whose token the replicas take; the other kubeconfig has a certificate",
		"groupgate now " + s.asMaria(),
		"groupgate refused " + s.asMaria(),
	}, "\n"))
	return nil
}

// asMaria are flags of the tools that ask the replicas, too.
func (s *stage) asMaria() string {
	flags := []string{"-n", "chat", "--kubeconfig=" + s.maria}
	return strings.Join(append(flags, lab.ReplicaFlags(s.dir, s.manager)...), " ")
}

// clear ends all processes, the last one first.
func (s *stage) clear() error {
	var errs []error
	if s.page != nil {
		errs = append(errs, s.page.Stop(30*time.Second))
	}
	if s.manager != nil {
		errs = append(errs, s.manager.Stop(30*time.Second))
	}
	if s.backend != nil {
		errs = append(errs, s.backend.Stop(10*time.Second))
	}
	if s.ControlPlane != nil {
		errs = append(errs, s.ControlPlane.Stop())
	}
	return errors.Join(append(errs, s.log.Close())...)
}
