package docs

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// place is where the commands of a page run: a folder that looks like the top of the repository, a shell, a cluster.
type place struct {
	lab.World
	t     *testing.T
	dir   string
	shell *shell
	log   lab.Log // of manager and emulator
	// The addresses of emulator, callback server and metrics; free ones unless they were started.
	emulator, callbacks, metrics string
	// addresses turns the addresses of pages into those of this run, documented turns them back.
	addresses, documented *strings.Replacer
}

// setups are what a page may find when it begins.
var setups = map[string]func(context.Context, *place){
	// A cluster without Groupgate.
	"empty": func(context.Context, *place) {},
	// config/default is installed.
	"installed": func(context.Context, *place) {},
	// It is, a manager serves the namespace chat, which is empty, and the emulator is its backend.
	"chat": func(ctx context.Context, p *place) { p.serve(ctx) },
	// The same with config/samples.
	"samples": func(ctx context.Context, p *place) {
		p.serve(ctx)
		p.applySamples(ctx)
	},
	// The groups of the demo besides, and a run of club-oslo that awaits approval.
	"demo": func(ctx context.Context, p *place) {
		vip, club := lab.DemoGroups()
		p.fill(ctx, vip, club)
	},
	// Also one of another club.
	"plan-waits": func(ctx context.Context, p *place) {
		vip, club := lab.DemoGroups()
		rome := emulator.GroupSpec{
			ID: "club-rome", Type: "Public", Owner: "olivia", MaxMembers: 30, ApplyJoinOption: "FreeAccess",
			CreatedAgo: "400d",
			Members: []emulator.MemberSpec{
				{Accounts: []string{"emil", "fred"}, InactiveFor: "150d"},
				{Prefix: "busy-", Count: 27, JoinedAgo: "100d", SpokeAgo: "2d"},
			},
		}
		p.fill(ctx, vip, club, rome)
	},
}

// fill serves config/samples and makes groups; runs of those that are full await approval.
func (p *place) fill(ctx context.Context, groups ...emulator.GroupSpec) {
	backend := p.serve(ctx)
	p.applySamples(ctx)
	full := 0
	for _, group := range groups {
		_, err := backend.CreateGroup(ctx, group)
		p.must(err)
		outcome, err := backend.Apply(ctx, group.ID, "nina")
		p.must(err)
		if outcome.Result != emulator.ResultFull {
			continue
		}
		full++
		// One after the other: lists are in the order of the plans.
		p.must(lab.Await(ctx, "the run to await approval", func(ctx context.Context) (bool, error) {
			out, err := p.Kubectl(ctx, "", "get", "pruneruns")
			return strings.Count(out, "AwaitingApproval") == full, err
		}))
	}
}

func newPlace(t *testing.T, j *janitor, setup string) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	p.World = lab.World{ControlPlane: j.cluster.ControlPlane, Namespace: "chat", Binary: j.cluster.Binary}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("manager and emulator:\n%s", p.log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	prepare := j.makeInstalled
	if setup == "empty" {
		prepare = j.makeEmpty
	}
	p.must(prepare(ctx))
	for _, address := range []*string{&p.emulator, &p.callbacks, &p.metrics} {
		free, err := lab.FreeAddress()
		p.must(err)
		*address = free
	}
	setups[setup](ctx, p)
	var there, back []string
	for documented, address := range map[string]string{
		"127.0.0.1:8090": p.emulator, "127.0.0.1:8443": p.callbacks, "127.0.0.1:8080": p.metrics,
	} {
		there, back = append(there, documented, address), append(back, address, documented)
	}
	p.addresses, p.documented = strings.NewReplacer(there...), strings.NewReplacer(back...)
	p.startShell()
	return p
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// serve starts the emulator and a manager.
func (p *place) serve(ctx context.Context) *lab.Emulator {
	backend, err := lab.StartEmulator(ctx, &p.log, p.Binary, "--app="+sampleApp)
	p.must(err)
	p.t.Cleanup(func() { p.must(backend.Stop(patience)) })
	p.IMEndpoint = backend.BaseURL
	manager, err := p.StartManager(&p.log, "", "--shutdown-delay=0s")
	p.must(err)
	p.t.Cleanup(func() { p.must(manager.Stop(patience)) })
	p.must(manager.AwaitReady(ctx))
	p.must(backend.SendCallbacksTo(ctx, manager.CallbackURL))
	p.emulator, p.callbacks = p.host(backend.BaseURL), p.host(manager.CallbackURL)
	p.metrics = p.host(manager.MetricsURL)
	return backend
}

// sampleApp is the emulator's app: that of config/samples, with its credentials.
const sampleApp = "1400000000:replace-with-the-secret-key-of-the-app:replace-with-the-callback-token"

func (p *place) host(address string) string {
	parsed, err := url.Parse(address)
	p.must(err)
	return parsed.Host
}

// answer is the path of a terminal at which somebody has typed text.
func (p *place) answer(text string) string {
	person, program, err := lab.Terminal()
	if errors.Is(err, errors.ErrUnsupported) {
		p.t.Skip("a terminal is needed: ", err)
	}
	p.must(err)
	p.t.Cleanup(func() { _, _ = person.Close(), program.Close() })
	_, err = person.WriteString(text + "\n")
	p.must(err)
	return program.Name()
}

func (p *place) applySamples(ctx context.Context) {
	_, err := p.Kubectl(ctx, "", "apply", "--server-side", "-k", "config/samples")
	p.must(err)
	_, err = p.Kubectl(ctx, "", "wait", "--for=condition=Ready", "--timeout=30s", "imapps,grouppolicies", "--all")
	p.must(err)
}

// startShell starts the shell in a folder with the top of the repository, in which pages may write files.
func (p *place) startShell() {
	work, home, tools := filepath.Join(p.dir, "work"), filepath.Join(p.dir, "home"), p.tools()
	for _, dir := range []string{work, filepath.Join(work, "bin"), home, tools} {
		p.must(os.Mkdir(dir, 0o750))
	}
	// Copies: pages may edit files.
	for _, name := range []string{"config", "docs", "hack", "testdata"} {
		p.must(os.CopyFS(filepath.Join(work, name), os.DirFS(filepath.Join(lab.Root(), name))))
	}
	makefile, err := os.ReadFile(filepath.Join(lab.Root(), "Makefile"))
	p.must(err)
	p.write("Makefile", string(makefile))
	for path, target := range map[string]string{
		filepath.Join(work, "bin", "groupgate"):   p.Binary,
		filepath.Join(tools, "groupgate"):         p.Binary,
		filepath.Join(tools, "kubectl-groupgate"): p.Binary,
		filepath.Join(tools, "kubectl"):           p.KubectlPath(),
	} {
		p.must(os.Symlink(target, path))
	}
	// An answer that is an error fails.
	p.must(os.WriteFile(filepath.Join(home, ".curlrc"), []byte("fail-with-body\nsilent\nshow-error\n"), 0o600))
	// A copy: pages may change the context.
	kubeconfig := filepath.Join(home, "kubeconfig")
	text, err := os.ReadFile(p.Kubeconfig)
	p.must(err)
	p.must(os.WriteFile(kubeconfig, text, 0o600))
	manager, err := p.ManagerKubeconfig("")
	p.must(err)
	p.shell, err = startShell(p.dir, work, append(os.Environ(), "HOME="+home, "KUBECONFIG="+kubeconfig,
		"MANAGER_KUBECONFIG="+manager, "E=http://"+p.emulator+"/emulator",
		"PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C.UTF-8"))
	p.must(err)
	p.t.Cleanup(p.shell.stop)
}

// tools is the first folder of the PATH.
func (p *place) tools() string { return filepath.Join(p.dir, "tools") }

// tool puts a tool of hack/tools on the PATH. It is built if need be.
func (p *place) tool(name string) {
	cmd := exec.CommandContext(p.t.Context(), "go", "tool", "-modfile=hack/tools/"+name+"/go.mod", "-n", name)
	cmd.Dir = lab.Root()
	path, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("build %s: %v", name, err)
	}
	p.must(os.Symlink(strings.TrimSpace(string(path)), filepath.Join(p.tools(), name)))
}

// write writes a file of a page.
func (p *place) write(name, text string) {
	path := filepath.Join(p.dir, "work", filepath.FromSlash(name))
	if !filepath.IsLocal(name) {
		p.t.Fatalf("file: %s is not below the folder of the page", name)
	}
	p.must(os.MkdirAll(filepath.Dir(path), 0o750))
	p.must(os.WriteFile(path, []byte(text), 0o600))
}
