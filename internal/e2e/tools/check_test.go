package tools

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

type line struct{ Check, Result, Message, ToDo string }

// check runs `groupgate check -o json` and returns its lines, by check.
func (w *world) check(wantCode int, env []string, args ...string) map[string][]line {
	w.t.Helper()
	cmd := w.command(append([]string{
		"check", "-o", "json", "--leader-election-namespace", w.Namespace, "--im-endpoint", w.IMEndpoint,
	}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	code, out, stderr := finish(w.t, cmd)
	for _, secret := range []string{lab.SecretKey, lab.CallbackToken, "Sign="} {
		if strings.Contains(out+stderr, secret) {
			w.t.Errorf("a secret is printed:\n%s%s", out, stderr)
		}
	}
	var report struct {
		Checks             []line
		Failures, Warnings int
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != wantCode {
		w.t.Fatalf("exit code %d, want %d, %v:\n%s%s", code, wantCode, err, out, stderr)
	}
	lines, failures := map[string][]line{}, 0
	for _, l := range report.Checks {
		lines[l.Check] = append(lines[l.Check], l)
		if l.Result == "failure" {
			failures++
		}
		if (l.ToDo == "") != (l.Result == "ok") {
			w.t.Errorf("what is to do? %+v", l)
		}
	}
	if failures != report.Failures {
		w.t.Errorf("%d failures are counted, and %d shown", report.Failures, failures)
	}
	return lines
}

// has checks that one of the lines has this result and message.
func (w *world) has(lines []line, result, message string) {
	w.t.Helper()
	for _, l := range lines {
		if l.Result == result && strings.Contains(l.Message, message) {
			return
		}
	}
	w.t.Errorf("no %s with %q in %+v", result, message, lines)
}

// replica is the Lease of a replica that reports a version.
func replica(name, version string, renewed time.Time) string {
	return fmt.Sprintf(`apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: replica-%[1]s
  labels: {groupgate.io/replica: "true"}
  annotations: {groupgate.io/report: '{"versions":{"IMApp/chat":"%[2]s"}}'}
spec: {holderIdentity: %[1]s, renewTime: %[3]q}
`, name, version, renewed.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

// An installation without a fault has no failure; then one thing after the other breaks.
func TestInstallationIsChecked(t *testing.T) {
	w := newWorld(t)
	w.apply(lab.App{}.Manifests() + "---\n" +
		lab.PolicyManifest("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}"))
	manager := w.startManager()
	w.kubectl("wait", "imapp/prod", "grouppolicy/gate", "--for=condition=Programmed", "--timeout="+patience.String())
	target, err := url.Parse(manager.CallbackURL)
	w.must(err)
	target.Path = ""
	proxy := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(target))
	t.Cleanup(proxy.Close)
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	w.must(os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw,
	}), 0o600))
	trust := []string{"SSL_CERT_FILE=" + trusted}
	callbackURL := "--url=" + proxy.URL + "/callback"

	lines := w.check(0, trust, callbackURL)
	w.has(lines["CustomResourceDefinitions"], "ok", "4 are installed, as this binary knows them")
	w.has(lines["Rights"], "ok", "groupgate-manager may do all that it needs")
	w.has(lines["Leader"], "ok", "renewed the Lease")
	w.has(lines["Replicas"], "warning", "no replica reports")
	w.has(lines["IMApp"], "ok", "prod is in force")
	w.has(lines["Callbacks"], "warning", "")
	w.has(lines["GroupPolicy"], "ok", "1 in force on every replica")
	w.has(lines["Callback URL"], "ok", "is trusted")
	w.has(lines["Callback URL"], "ok", "a signed probe was answered in")
	w.has(lines["Vendor"], "ok", "accepts the UserSig of administrator")
	w.has(lines["Clock"], "ok", "differ by")
	// The probe is no callback of the vendor's.
	if seen := w.kubectl("get", "imapp", "prod", "-o",
		`jsonpath={.status.conditions[?(@.type=="CallbacksVerified")].reason}`); seen != "NeverSeen" {
		t.Errorf("CallbacksVerified is %s after a probe", seen)
	}

	now := time.Now()
	w.apply(replica("a", "100", now) + "---\n" + replica("b", "100", now))
	w.has(w.check(0, trust)["Replicas"], "ok", "2 agree")
	w.apply(replica("a", "101", time.Now()) + "---\n" + replica("c", "101", now.Add(-time.Minute)))
	lines = w.check(1, nil, callbackURL)
	w.has(lines["Replicas"], "failure", "b is behind with the IMApps of namespace chat")
	w.has(lines["Replicas"], "failure", "c was last heard of")
	w.has(lines["Callback URL"], "failure", "is not trusted")
	w.has(lines["Callback URL"], "warning", "not checked, since a Sign is sent to nobody")
	w.kubectl("delete", "leases", "-l", "groupgate.io/replica=true")

	w.apply(lab.PolicyManifest("gate", "groups: [{type: All}]\njoin: {allow: {lists: [{name: absent}]}}"))
	w.kubectl("wait", "grouppolicy/gate", "--for=condition=Ready=False", "--timeout="+patience.String())
	w.has(w.check(1, nil)["GroupPolicy"], "failure", "gate: Ready is False (ListNotFound)")
	w.kubectl("delete", "grouppolicy", "gate")
	w.kubectl("patch", "secret", "prod-im", "-p", `{"stringData":{"secretKey":"another"}}`)
	lines = w.check(1, nil)
	w.has(lines["GroupPolicy"], "warning", "there is none")
	w.has(lines["Vendor"], "failure", "does not accept the UserSig")
	w.has(lines["Callback URL"], "warning", "not checked: no URL is given")

	// A viewer reads what a viewer may, and the rest is not called well.
	w.kubectl("create", "rolebinding", "viewers", "--clusterrole=groupgate-policy-viewer", "--user=viktor")
	w.await("prod", "get", "imapps", "--as=viktor")
	lines = w.check(0, trust, callbackURL, "--as=viktor")
	for _, check := range []string{"CustomResourceDefinitions", "Leader", "Replicas", "Vendor", "Callback URL"} {
		w.has(lines[check], "warning", "not checked")
	}
	w.has(lines["IMApp"], "ok", "prod is in force")
	other := "--service-account=other/robot"
	w.has(w.check(1, nil, other)["Rights"], "failure", "system:serviceaccount:other:robot may not")
	// The ServiceAccount itself needs nobody to speak for it, and may speak for no other.
	kubeconfig, err := cluster.ManagerKubeconfig("")
	w.must(err)
	lines = w.check(1, nil, "--kubeconfig", kubeconfig)
	w.has(lines["Rights"], "ok", "may do all that it needs")
	w.has(lines["Vendor"], "failure", "does not accept the UserSig")
	w.has(w.check(1, nil, "--kubeconfig", kubeconfig, other)["Rights"], "warning", "not checked")

	w.must(manager.Stop(patience))
	w.eventually("the Lease of the leader to lapse", func() bool {
		for _, l := range w.check(1, nil)["Leader"] {
			if l.Result == "failure" {
				return true
			}
		}
		return false
	})
	code, out, stderr := w.tool("check", "--leader-election-namespace", w.Namespace)
	w.wants(1, code, out+stderr, "failure   Leader: ", "          To do: ", " failures\n", "checks failed")
}

func TestCheckRefusesBadInput(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ arg, want string }{
		{"--url=gate.example.com", "--url: "},
		{"--url=https://user:password@gate.example.com/callback", "leave out user"},
		{"--service-account=robot", "use NAMESPACE/NAME"},
		{"--im-endpoint=http://im.example.com", "--im-endpoint"},
		{"--output=xml", "use json or yaml"},
		{"now", "takes no argument"},
	} {
		code, out, stderr := w.tool("check", tc.arg)
		w.wants(2, code, out+stderr, tc.want)
		if strings.Contains(out+stderr, "password") {
			t.Errorf("a password is printed: %s", out+stderr)
		}
	}
}
