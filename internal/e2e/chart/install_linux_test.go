package chart

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/node"
)

// What a platform engineer does with a release, with policies in force all along.
func TestAReleaseIsInstalledUpgradedAndUninstalled(t *testing.T) {
	if err := node.Check(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w := newWorld(t)
	var callbackURL atomic.Value
	callbackURL.Store("")
	backend := lab.NewBackend([]lab.App{{}}, func() []string { return []string{callbackURL.Load().(string)} }, nil)
	t.Cleanup(func() {
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
	n := w.startNode(backend.URL)
	w.kubectl("create", "namespace", "chat")
	w.kubectl("create", "namespace", namespace)
	w.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	w.trustedCertificate()
	before, after := w.pack("0.0.1"), w.pack("0.0.2")

	w.helm("install", "groupgate", before, "--wait", patience)
	address, err := n.Expose(t.Context(), namespace, "groupgate-callback", "https")
	if err != nil {
		t.Fatal(err)
	}
	callbackURL.Store("https://" + address + "/callback")
	checkCurl(t, "https://"+address+"/callback")
	w.apply(lab.App{}.Manifests(), lab.PolicyManifest("vip", `
groups: [{type: Prefix, value: "vip-"}]
join: {allow: {accounts: [jared]}, reject: {code: 10110, message: "Members only"}}`))
	w.kubectl("wait", "-n", "chat", "--for=condition=Ready", patience, "imapp/prod", "grouppolicy/vip")
	w.kubectl("wait", "-n", "chat", "--for=condition=Programmed", patience, "grouppolicy/vip")
	im := emulator.Client{BaseURL: backend.URL}
	group := emulator.GroupSpec{ID: "vip-1", Type: "Public", Owner: "olga"}
	if _, err := im.CreateGroup(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	refusesMallory(t, im)
	crds, policies := w.crds(), w.policies()

	load := startLoad(t, "https://"+address+"/callback")
	w.helm("upgrade", "groupgate", after, "--wait", patience, "--set=admission.policies=true,decisionLog.decisions=all")
	w.kubectl("rollout", "status", "-n", namespace, "deployment/groupgate-manager", patience)
	w.awaitGone("the old pods", "pods",
		"-o=jsonpath={.items[?(@.spec.containers[0].image=='"+repository+"v0.0.1')].metadata.name}")
	load.stop(t)
	refusesMallory(t, im)
	if diff := cmp.Diff(policies, w.policies()); diff != "" {
		t.Errorf("the upgrade has changed policies (-want,+got)\n%s", diff)
	}

	w.helm("uninstall", "groupgate", "--wait", patience)
	w.awaitGone("what the release created",
		"deployments,services,pods,serviceaccounts,poddisruptionbudgets,roles,rolebindings", "-o=name")
	if diff := cmp.Diff(crds, w.crds()); diff != "" {
		t.Errorf("CustomResourceDefinitions after the uninstall (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff(policies, w.policies()); diff != "" {
		t.Errorf("policies after the uninstall (-want,+got)\n%s", diff)
	}

	// Another release does not take them over unasked.
	out, err := w.tryHelm("install", "another", after)
	if err == nil || !strings.Contains(out, "meta.helm.sh/release-name") {
		t.Errorf("another release has taken over the definitions: %v", err)
	}
	w.helm("install", "groupgate", after, "--wait", patience)
	refusesMallory(t, im)
	if diff := cmp.Diff(policies, w.policies()); diff != "" {
		t.Errorf("policies after the second installation (-want,+got)\n%s", diff)
	}
}

// An installation with kustomize becomes a release, without a deletion.
func TestAReleaseTakesOverAnInstallationWithKustomize(t *testing.T) {
	w := newWorld(t)
	w.kubectl("apply", "--server-side", "-k", "config/default")
	w.apply(lab.App{}.Manifests(), lab.PolicyManifest("vip", `
groups: [{type: Prefix, value: "vip-"}]
join: {allow: {accounts: [jared]}}`))
	policies := w.policies()
	identity := []string{"get", "deployment/groupgate-manager", "-n", namespace, "-o=jsonpath={.metadata.uid}"}
	deployment := w.kubectl(identity...)
	chart := filepath.Join(lab.Root(), "config", "chart", "groupgate")
	if out, err := w.tryHelm("install", "groupgate", chart); err == nil {
		t.Errorf("taken over unasked: %s", out)
	}
	w.helm("install", "groupgate", chart, "--take-ownership", "--force-conflicts")
	if diff := cmp.Diff(policies, w.policies()); diff != "" {
		t.Errorf("policies (-want,+got)\n%s", diff)
	}
	if got := w.kubectl(identity...); got != deployment {
		t.Error("the Deployment was deleted")
	}
	w.helm("uninstall", "groupgate")
	if diff := cmp.Diff(policies, w.policies()); diff != "" {
		t.Errorf("policies after the uninstall (-want,+got)\n%s", diff)
	}
}

// What would end half-way, or cost policies, is refused before anything has changed.
func TestWhatTheClusterForbidsIsRefusedBeforehand(t *testing.T) {
	w := newWorld(t)
	chart := filepath.Join(lab.Root(), "config", "chart", "groupgate")
	refused := func(sentence string, args ...string) {
		t.Helper()
		if out, err := w.tryHelm(args...); err == nil || !strings.Contains(out, sentence) {
			t.Errorf("helm %v: %s\nwant %s", args, out, sentence)
		}
	}
	refused("watchNamespaces has chat, but there is no such namespace: kubectl create namespace chat",
		"install", "groupgate", chart, "--create-namespace")
	w.kubectl("create", "namespace", "chat")
	w.helm("install", "groupgate", chart, "--create-namespace", "--set=crds.keep=false",
		"--set=watchNamespaces={chat,"+namespace+"}")
	w.apply(lab.App{}.Manifests())
	policies := w.policies()

	refused("ALL policies with them: upgrade once with crds.enabled=true and crds.keep=true",
		"upgrade", "groupgate", chart, "--set=crds.enabled=false")
	w.helm("upgrade", "groupgate", chart, "--set=crds.keep=true")
	w.helm("upgrade", "groupgate", chart, "--set=crds.enabled=false")
	if diff := cmp.Diff(policies, w.policies()); diff != "" {
		t.Errorf("policies (-want,+got)\n%s", diff)
	}
	w.helm("upgrade", "groupgate", chart, "--set=crds.enabled=true")
}

const repository = "ghcr.io/groupgate/groupgate:"

// awaitGone waits until kubectl finds no such object of ours in the namespace of the pods.
func (w *world) awaitGone(what, kinds, output string) {
	w.t.Helper()
	eventually(w.t, what+" to be gone", func(ctx context.Context) (bool, error) {
		left, err := w.Kubectl(ctx, "", "get", kinds, "-n", namespace, "-l=app.kubernetes.io/name=groupgate", output)
		return strings.TrimSpace(left) == "", err
	})
}

// startNode has the pods of both releases run.
func (w *world) startNode(endpoint string) *node.Node {
	w.t.Helper()
	dir := w.t.TempDir()
	image, err := node.BuildImage(w.t.Context(), dir, "v0.0.1")
	if err != nil {
		w.t.Fatal(err)
	}
	log := &lab.Log{}
	files := filepath.Join(dir, "pods")
	if err := os.Mkdir(files, 0o755); err != nil {
		w.t.Fatal(err)
	}
	n, err := node.Start(w.t.Context(), node.Options{
		Plane: w.ControlPlane, Dir: files, Log: log, Args: []string{"--im-endpoint=" + endpoint},
		Images: map[string]*node.Image{repository + "v0.0.1": image, repository + "v0.0.2": image},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			w.t.Error(err)
		}
		if w.t.Failed() {
			w.t.Log(log.String())
		}
	})
	return n
}

// policies are what must survive everything that happens to a release.
func (w *world) policies() string {
	w.t.Helper()
	return w.kubectl("get", "imapps,grouppolicies", "-n", "chat",
		"-o=custom-columns=N:metadata.name,U:metadata.uid,G:metadata.generation")
}

// checkCurl compares the answer that docs/install.md promises to a request without an app.
func checkCurl(t *testing.T, url string) {
	t.Helper()
	response, err := http.Post(url, "", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(lab.Root(), "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := "$ curl -s -X POST https://gate.example.com/callback\n" + string(body) + "\n"
	if response.StatusCode != http.StatusForbidden || !strings.Contains(string(page), want) {
		t.Errorf("%s: %s, which the page does not say", response.Status, body)
	}
}

func refusesMallory(t *testing.T, im emulator.Client) {
	t.Helper()
	eventually(t, "a replica to refuse mallory", func(ctx context.Context) (bool, error) {
		outcome, err := im.Apply(ctx, "vip-1", "mallory")
		if err != nil {
			return false, err
		}
		return outcome.Code == 10110, nil
	})
}

// load sends callbacks, as the vendor does, and counts those without the answer that the policy demands.
type load struct {
	cancel   context.CancelFunc
	running  sync.WaitGroup
	answered atomic.Int64
	mu       sync.Mutex
	lost     []error
}

func startLoad(t *testing.T, url string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	for range 4 {
		l.running.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if err := refused(context.WithoutCancel(ctx), url); err != nil {
					l.mu.Lock()
					l.lost = append(l.lost, err)
					l.mu.Unlock()
					continue
				}
				l.answered.Add(1)
			}
		})
	}
	t.Cleanup(cancel)
	return l
}

var errAdmitted = errors.New("mallory was let in")

// refused sends the application of an account that the policy refuses.
func refused(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // the patience of the vendor
	defer cancel()
	answer, err := lab.PostSigned(ctx, url, lab.SDKAppID, lab.CommandApply, map[string]any{
		"GroupId": "vip-1", "Type": "Public", "Requestor_Account": "mallory",
	})
	if err == nil && answer.ErrorCode != 10110 {
		return errAdmitted
	}
	return err
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.running.Wait()
	t.Logf("%d callbacks answered during the upgrade", l.answered.Load())
	if len(l.lost) > 0 || l.answered.Load() < 100 {
		t.Errorf("%d answers lost, first: %v", len(l.lost), errors.Join(l.lost[:min(3, len(l.lost))]...))
	}
}
