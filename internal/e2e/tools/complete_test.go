package tools

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// Groups and runs complete a command line, of the binary and of kubectl.
func TestGroupsAndRunsAreCompleted(t *testing.T) {
	w := newWorld(t)
	w.waitingRun("first", "club-oslo", "anna", "boris")
	w.waitingRun("second", "club-ulm", "dora")
	w.patch("second", `{"spec":{"approval":"Denied"}}`)
	const want = "club-oslo\tAwaitingApproval, 2 to go\nfirst\tclub-oslo, AwaitingApproval, 2 to go\n:4\n"
	code, out, stderr := finish(t, w.plain("__complete", "approve", "-n", w.Namespace, ""))
	if code != 0 || out != want {
		t.Errorf("exit code %d, got %q, want %q\n%s", code, out, want, stderr)
	}
	kubectl := w.plugin("approve", "-n", w.Namespace, "")
	kubectl.Args = append([]string{kubectl.Args[0], "__complete"}, kubectl.Args[1:]...)
	folder, _, _ := strings.Cut(strings.TrimPrefix(kubectl.Env[len(kubectl.Env)-1], "PATH="), ":")
	w.must(os.Symlink("kubectl-groupgate", filepath.Join(folder, "kubectl_complete-groupgate")))
	code, out, stderr = finish(t, kubectl)
	if code != 0 || !strings.HasPrefix(out, strings.TrimSuffix(want, ":4\n")) {
		t.Errorf("kubectl: exit code %d, got %q, want %q\n%s", code, out, want, stderr)
	}
	for flag, want := range map[string]string{"-n": "groupgate-system\n", "--context": "envtest\n", "-o": "yaml\n"} {
		code, out, stderr := finish(t, w.plain("__complete", "runs", flag, ""))
		w.wants(0, code, out+stderr, want)
	}
}

// A cluster that does not answer costs a moment, and not the terminal.
func TestCompletionWithoutAnAnswerEnds(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	w := &world{t: t, World: lab.World{ControlPlane: cluster.ControlPlane, Binary: cluster.Binary}}
	kubeconfig, err := cluster.ManagerKubeconfig(silent.Addr().String())
	w.must(err)
	start := time.Now()
	code, out, stderr := finish(t, w.plain("__complete", "approve", "--kubeconfig", kubeconfig, ""))
	w.wants(0, code, out+stderr, ":4\n")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestCompletionScripts(t *testing.T) {
	w := &world{t: t, World: lab.World{ControlPlane: cluster.ControlPlane, Binary: cluster.Binary}}
	for shell, want := range map[string]string{
		"bash": "complete -o default", "zsh": "#compdef groupgate", "fish": "complete -c groupgate",
	} {
		code, out, stderr := finish(t, w.plain("completion", shell))
		w.wants(0, code, out+stderr, want)
		if path, err := exec.LookPath(shell); err == nil {
			check := exec.CommandContext(t.Context(), path, "-n")
			check.Stdin = strings.NewReader(out)
			if problems, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", shell, err, problems)
			}
		}
	}
}
