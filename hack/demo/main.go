// Command demo tells the story of Groupgate on one machine: a real control plane, an IM backend, the manager, and people who join.
//
// It needs the binaries of `make control-plane` and bin/groupgate; `make demo` builds both. With --once it ends after the last chapter,
// with exit code 0 if everything went as told; otherwise everything stays up until Ctrl-C.
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

	"github.com/groupgate/groupgate/internal/im/emulator"
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
	err := run(ctx, os.Stdout, *once)
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

// run sets the stage, tells the story, and clears the stage, whatever happens.
func run(ctx context.Context, out io.Writer, once bool) (err error) {
	dir, err := os.MkdirTemp("", "groupgate-demo-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		// The logs are what one wants to read when something went wrong.
		if err == nil || ctx.Err() != nil {
			err = errors.Join(err, os.RemoveAll(dir))
			return
		}
		err = fmt.Errorf("%w\nThe logs are in %s", err, dir)
	}()

	n := newNarrator(out, isTerminal(os.Stdout))
	s := &stage{dir: dir, narrator: n}
	defer func() { err = errors.Join(err, s.clear()) }()
	err = show(ctx, n, s, once)
	if ctx.Err() == nil {
		return err
	}
	// Whatever failed, failed because it was interrupted. Only --once promises to get to the end.
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
	s.invite()
	select {
	case <-ctx.Done():
		return nil
	case <-s.manager.Done():
		return errors.New("the manager has ended")
	case <-s.backend.Done():
		return errors.New("the emulator has ended")
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}

// The credentials of the app in config/samples; the emulator knows the same.
const (
	sdkAppID      = "1400000000"
	secretKey     = "replace-with-the-secret-key-of-the-app"
	callbackToken = "replace-with-the-callback-token"
)

// stage is what the story plays on.
type stage struct {
	dir      string
	narrator *narrator

	plane   *lab.ControlPlane
	manager *lab.Manager
	backend *lab.Process
	im      emulator.Client
	logs    []*os.File
}

// set brings up the control plane, installs the manifests and starts the two processes.
func (s *stage) set(ctx context.Context) error {
	n := s.narrator
	n.begin("A control plane")
	began := time.Now()
	var err error
	if s.plane, err = lab.StartControlPlane(s.dir, nil); err != nil {
		return err
	}
	n.plane = s.plane
	n.say("A real kube-apiserver and etcd, up in %s at %s.", time.Since(began).Round(100*time.Millisecond), s.plane.Config.Host)
	n.say("Groupgate's CustomResourceDefinitions, its roles, and a namespace for the chat app:")
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "apply", "--server-side", "-k", "config/default"); err != nil {
		return err
	}

	n.begin("An IM backend and Groupgate")
	binary := filepath.Join(lab.Root(), "bin", "groupgate")
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("no bin/groupgate (%w): run `make build`", err)
	}
	address, err := lab.FreeAddress()
	if err != nil {
		return err
	}
	s.im.BaseURL = "http://" + address
	// The manager runs as its ServiceAccount, so that the demo would notice a right that is missing.
	kubeconfig, err := s.plane.ServiceAccountKubeconfig("groupgate-system", "groupgate-manager", "")
	if err != nil {
		return err
	}
	managerLog, err := s.logFile("manager.log")
	if err != nil {
		return err
	}
	s.manager, err = lab.StartManager(managerLog, binary, kubeconfig,
		"--namespace=chat", "--im-endpoint="+s.im.BaseURL, "--shutdown-delay=0s", "--log-format=console")
	if err != nil {
		return err
	}
	backendLog, err := s.logFile("emulator.log")
	if err != nil {
		return err
	}
	s.backend, err = lab.Start(backendLog, binary, "emulator", "--bind-address="+address, "--callback-url="+s.manager.CallbackURL,
		"--app="+sdkAppID+":"+secretKey+":"+callbackToken, "--log-format=console")
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.manager.AwaitReady(bounded); err != nil {
		return err
	}
	if err := lab.Await(bounded, "the emulator to answer", func(ctx context.Context) (bool, error) {
		_, err := s.im.Groups(ctx)
		return err == nil, nil
	}); err != nil {
		return err
	}
	n.say("An emulated IM backend   %s", s.im.BaseURL)
	n.say("groupgate manager        %s   (ready, with nothing to enforce yet)", s.manager.CallbackURL)
	return nil
}

// invite says where to look, now that the story is told.
func (s *stage) invite() {
	n := s.narrator
	n.begin("Your turn: everything stays up until Ctrl-C")
	n.say("%s", strings.Join([]string{
		"export KUBECONFIG=" + s.plane.Kubeconfig,
		"export PATH=" + filepath.Dir(s.plane.KubectlPath()) + ":$PATH",
		"",
		"kubectl get groupgate -n chat",
		"kubectl explain grouppolicy.spec.join",
		"kubectl edit grouppolicy vip-lounge -n chat",
		"kubectl describe pruneruns -n chat",
		"curl -s " + s.im.BaseURL + "/emulator/",
		"curl -s " + s.im.BaseURL + "/emulator/groups/vip-berlin/apply -d '{\"account\":\"alice\"}'",
		"curl -s " + s.manager.MetricsURL + " | grep ^groupgate_",
		"tail -f " + filepath.Join(s.dir, "manager.log"),
	}, "\n"))
}

// clear ends all processes, the last one first.
func (s *stage) clear() error {
	var errs []error
	if s.manager != nil {
		errs = append(errs, s.manager.Stop(30*time.Second))
	}
	if s.backend != nil {
		errs = append(errs, s.backend.Stop(10*time.Second))
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	for _, f := range s.logs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func (s *stage) logFile(name string) (*os.File, error) {
	f, err := os.Create(filepath.Join(s.dir, name))
	if err != nil {
		return nil, fmt.Errorf("make a log file: %w", err)
	}
	s.logs = append(s.logs, f)
	return f, nil
}
