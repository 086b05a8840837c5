package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// cluster is shared by all tests. Each has a namespace of its own.
var cluster *lab.Cluster

func TestMain(m *testing.M) {
	os.Exit(lab.RunWithCluster(m, lab.ClusterOptions{Manager: true}, func(c *lab.Cluster) { cluster = c }))
}

// world is a namespace with an IM backend, and the command line of a person in it.
type world struct {
	lab.World
	t  *testing.T
	im *emulator.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	backend := lab.NewBackend([]lab.App{{}}, func() []string { return nil }, nil)
	t.Cleanup(func() { w.must(backend.Close()) })
	w.World = lab.World{
		ControlPlane: cluster.ControlPlane, Binary: cluster.Binary, IMEndpoint: backend.URL,
		Namespace: strings.ToLower(t.Name()),
	}
	w.im = &emulator.Client{BaseURL: backend.URL}
	leases, err := lab.LeaseManifests(w.Namespace)
	w.must(err)
	w.apply(lab.NamespaceManifests(w.Namespace) + "---\n" + leases)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) apply(manifests string) {
	w.t.Helper()
	w.must(w.Apply(w.t.Context(), manifests))
}

// kubectl runs kubectl in the world's namespace and returns what it printed.
func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	out, err := w.Kubectl(w.t.Context(), "", args...)
	w.must(err)
	return out
}

// await waits until kubectl prints what is wanted.
func (w *world) await(want string, args ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.must(lab.Await(ctx, fmt.Sprintf("%q from kubectl %s", want, strings.Join(args, " ")),
		func(ctx context.Context) (bool, error) {
			out, err := w.Kubectl(ctx, "", args...)
			return err == nil && strings.Contains(out, want), nil
		}))
}

// eventually waits until something holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.must(lab.Await(ctx, what, func(context.Context) (bool, error) { return holds(), nil }))
}

// startManager starts a manager of the world and waits until it is ready.
func (w *world) startManager() *lab.Manager {
	w.t.Helper()
	var log lab.Log
	manager, err := w.StartManager(&log, "", append([]string{"--leader-election-namespace=" + w.Namespace},
		lab.FastElection...)...)
	w.must(err)
	w.t.Cleanup(func() {
		w.must(manager.Stop(patience))
		if w.t.Failed() {
			w.t.Logf("manager:\n%s", log.String())
		}
	})
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.must(manager.AwaitReady(ctx))
	return manager
}

// command is the binary under test, with the kubeconfig of the admin and the namespace of the world.
func (w *world) command(args ...string) *exec.Cmd {
	return w.plain(append(args, "-n", w.Namespace)...)
}

// plain is the binary under test, with the kubeconfig of the admin.
func (w *world) plain(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), w.Binary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.Kubeconfig)
	return cmd
}

// tool runs the binary without a terminal, and returns its exit code and what it printed.
func (w *world) tool(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	return finish(w.t, w.command(args...))
}

func finish(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return code, out.String(), problems.String()
}

// wants checks an exit code, and what is to be found in the output.
func (w *world) wants(wantCode, code int, output string, want ...string) {
	w.t.Helper()
	if code != wantCode {
		w.t.Errorf("exit code %d, want %d:\n%s", code, wantCode, output)
	}
	for _, part := range want {
		if !strings.Contains(output, part) {
			w.t.Errorf("the output lacks %q:\n%s", part, output)
		}
	}
}

// waitingRun makes a run with a plan that awaits approval, without a manager: account after account goes.
func (w *world) waitingRun(name, group string, accounts ...string) {
	w.t.Helper()
	w.apply(fmt.Sprintf(`apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: %s}
spec: {appRef: {name: prod}, groupID: %q}
`, name, group))
	w.patchStatus(name, plan(accounts...))
}

func (w *world) patch(run, patch string) {
	w.t.Helper()
	w.kubectl("patch", "prunerun", run, "--type=merge", "-p", patch)
}

func (w *world) patchStatus(run, patch string) {
	w.t.Helper()
	w.kubectl("patch", "prunerun", run, "--subresource=status", "--type=merge", "-p", patch)
}

// plan is a patch with the status of a run that awaits approval.
func plan(accounts ...string) string {
	now := time.Now().UTC()
	var removals []string
	for i, account := range accounts {
		removals = append(removals, fmt.Sprintf(`{"account":%q,"reason":"Inactive","lastActiveAt":%q}`,
			account, now.AddDate(0, 0, i-100).Format(time.RFC3339)))
	}
	condition := func(kind, status, reason string) string {
		return fmt.Sprintf(`{"type":%q,"status":%q,"reason":%q,"message":"","lastTransitionTime":%q}`,
			kind, status, reason, now.Format(time.RFC3339))
	}
	return fmt.Sprintf(`{"status":{"awaitsApproval":true,"policy":{"name":"club","uid":"1","generation":1,"mode":"Approve"},
		"group":{"type":"Public","members":60,"maxMembers":60},
		"plan":{"createdAt":%q,"candidates":9,"size":%d,"stay":{"protected":0,"admin":1,"active":50,"unknown":0},
		"removals":[%s]},"conditions":[%s,%s]}}`, now.Format(time.RFC3339), len(accounts), strings.Join(removals, ","),
		condition("Planned", "True", "Planned"), condition("Complete", "False", "AwaitingApproval"))
}

// plugin is the command line of kubectl with the binary as its plugin.
func (w *world) plugin(args ...string) *exec.Cmd {
	w.t.Helper()
	dir := w.t.TempDir()
	w.must(os.Symlink(w.Binary, filepath.Join(dir, "kubectl-groupgate")))
	cmd := exec.CommandContext(w.t.Context(), w.KubectlPath(), append([]string{"groupgate"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.Kubeconfig, "PATH="+dir+":"+os.Getenv("PATH"))
	return cmd
}
