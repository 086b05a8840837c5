package chart

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"

	"github.com/groupgate/groupgate/internal/lab"
)

const namespace = "groupgate-system"

// patience bounds every wait for something that must happen.
const patience = "--timeout=3m"

// world is a control plane with the namespaces that an installation needs, and helm.
type world struct {
	*lab.ControlPlane
	t    *testing.T
	tool string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	if w.tool, err = lab.Tool("helm", "helm"); err != nil {
		t.Fatal(err)
	}
	if w.ControlPlane, err = lab.StartControlPlane(t.TempDir(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// kubectl runs it as the admin.
func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	out, err := w.Kubectl(w.t.Context(), "", args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) apply(manifests ...string) {
	w.t.Helper()
	text := strings.Join(manifests, "\n---\n")
	if _, err := w.Kubectl(w.t.Context(), text, "apply", "--server-side", "--namespace=chat", "-f", "-"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) helm(args ...string) {
	w.t.Helper()
	if _, err := w.tryHelm(args...); err != nil {
		w.t.Fatal(err)
	}
}

// tryHelm runs helm in the namespace, and returns its output also with an error.
func (w *world) tryHelm(args ...string) (string, error) {
	cmd := exec.CommandContext(w.t.Context(), w.tool, append(args, "--namespace="+namespace)...)
	home := filepath.Join(filepath.Dir(w.Kubeconfig), "helm")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.Kubeconfig,
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	w.t.Logf("helm %s: %s", strings.Join(args, " "), time.Since(start).Round(100*time.Millisecond))
	if err != nil {
		return out.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}

// pack makes a release of the chart. The chart of an earlier version is the same with that version.
func (w *world) pack(version string) (archive string) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.helm("package", filepath.Join(lab.Root(), "config", "chart", "groupgate"), "--version="+version,
		"--app-version=v"+version, "--destination="+dir)
	return filepath.Join(dir, "groupgate-"+version+".tgz")
}

// trustedCertificate creates the Secret with a certificate of 127.0.0.1, which all clients of this process trust.
func (w *world) trustedCertificate() {
	w.t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	for name, data := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.kubectl("create", "secret", "tls", "groupgate-callback-tls", "-n", namespace,
		"--cert="+filepath.Join(dir, "tls.crt"), "--key="+filepath.Join(dir, "tls.key"))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		w.t.Fatal("the certificate cannot be read")
	}
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
}

// crds are the names of our CustomResourceDefinitions.
func (w *world) crds() string {
	w.t.Helper()
	return w.kubectl("get", "crd", "-o=name")
}

// eventually waits for what must happen.
func eventually(t *testing.T, what string, holds func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := lab.Await(ctx, what, holds); err != nil {
		t.Fatal(err)
	}
}
