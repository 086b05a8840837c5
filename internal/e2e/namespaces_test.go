package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// otherID is the SDKAppID of the app of another namespace.
const otherID = lab.SDKAppID + 1

// namespace is another one that the manager may watch, with an app of its own. Requests for it may be denied.
func (w *world) namespace(name string) lab.World {
	w.t.Helper()
	other := w.World
	other.Namespace = w.Namespace + "-" + name
	mayBeDenied.Store(other.Namespace, true)
	w.applyIn(other, lab.NamespaceManifests(other.Namespace), lab.App{SDKAppID: otherID}.Manifests())
	return other
}

func (w *world) applyIn(other lab.World, manifests ...string) {
	w.t.Helper()
	if err := other.Apply(w.t.Context(), manifests...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) unbind(other lab.World) {
	w.t.Helper()
	if _, err := other.Kubectl(w.t.Context(), "", "delete", "rolebinding", "groupgate-manager"); err != nil {
		w.t.Fatal(err)
	}
}

// answerTo is the status of a callback of the app.
func (r *replica) answerTo(sdkAppID uint64) int {
	r.t.Helper()
	a, err := lab.PostSigned(r.t.Context(), r.CallbackURL, sdkAppID, lab.CommandApply,
		map[string]any{"GroupId": "club", "Type": "Public", "Requestor_Account": "mallory"})
	if err != nil {
		r.t.Fatal(err)
	}
	return a.Status
}

// failing is for how long the watch has not been in order.
func (r *replica) failing(namespace, kind string) float64 {
	r.t.Helper()
	return r.metric("groupgate_watch_failing_seconds",
		fmt.Sprintf("namespace=%q", namespace), fmt.Sprintf("kind=%q", kind))
}

func TestRestartedReplicaServesTheNamespacesThatItMayRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}")
	other := w.namespace("other")
	both := "--namespace=" + other.Namespace
	before := w.startReady(nil, both)
	if got := before.answerTo(otherID); got != http.StatusOK {
		t.Fatalf("callbacks of the other namespace get %d", got)
	}
	w.unbind(other)
	if err := before.Kill(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	after := w.startReady(nil, both)
	took := time.Since(begun)
	t.Logf("ready %s after the start", took)
	if took > 20*time.Second { // 10 s for the namespace, and a start on a busy machine
		t.Error("the namespace held back the others for too long")
	}
	if got := after.apply("club", "mallory"); got.Status != http.StatusOK || got.ErrorCode != 1 {
		t.Errorf("a stranger in the namespace that may be read: %+v", got)
	}
	if got := after.answerTo(otherID); got != http.StatusForbidden {
		t.Errorf("callbacks of the namespace that may not be read get %d, want 403", got)
	}
	lost, sound := after.failing(other.Namespace, "IMApp"), after.failing(w.Namespace, "IMApp")
	if lost < 5 || sound != 0 {
		t.Errorf("the watches fail for %v s and %v s, want the time since the start and 0", lost, sound)
	}
	w.applyIn(other, lab.NamespaceManifests(other.Namespace))
	bound := time.Now()
	within(t, 15*time.Second, "the namespace to be served again", func() bool {
		return after.answerTo(otherID) == http.StatusOK
	})
	t.Logf("the namespace was served %s after its binding was back", time.Since(bound))
	eventually(t, "its watches to be in order", func() bool { return after.failing(other.Namespace, "IMApp") == 0 })
}

func TestKindThatMayNoLongerBeReadShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.namespace("other")
	wire := newWire(t)
	r := w.startReady(wire, "--namespace="+other.Namespace)
	w.applyIn(other, roleWithoutLists)
	w.unbind(other)
	// A watch that is open goes on.
	wire.Cut()
	wire.Mend()
	begun := time.Now()
	within(t, time.Minute, "the metric to name the kind", func() bool {
		return r.failing(other.Namespace, "AccountList") > 0 && r.failing(other.Namespace, "GroupPolicy") == 0
	})
	t.Logf("the metric named the kind %s after the watches ended", time.Since(begun))
	if !r.Ready(t.Context()) || r.answerTo(otherID) != http.StatusOK {
		t.Errorf("ready %t, callbacks of the app get %d", r.Ready(t.Context()), r.answerTo(otherID))
	}
}

func TestProbeNamesWhatAReplicaWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wire := newWire(t)
	wire.Cut()
	r := w.start(wire)
	body := func() string {
		_, body := get(t, http.DefaultClient, r.ReadyURL, "")
		return body
	}
	eventually(t, "the probe to answer", func() bool {
		return strings.Contains(body(), "waiting for ") && strings.Contains(body(), " of namespace "+w.Namespace+": ")
	})
	t.Logf("the probe says: %s", body())
	wire.Mend()
	eventually(t, "the replica to be ready", func() bool { return body() == "ok" })
}

// The metrics of an outage are needed in it. 60 s are more than any cache of verdicts lasts.
func TestMetricsAreServedInAnOutageToWhomTheyWereBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(fmt.Sprintf(`apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s-prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: groupgate-metrics-reader}
subjects:
- {kind: ServiceAccount, name: prometheus, namespace: %[1]s}
`, w.Namespace))
	token := strings.TrimSpace(w.kubectl("create", "token", "prometheus"))
	wire := newWire(t)
	r := w.start(wire, "--metrics-secure=true")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	client := insecureClient()
	url := "https" + strings.TrimPrefix(r.MetricsURL, "http")
	scrape := func(token string) (int, string) { return get(t, client, url, token) }
	eventually(t, "the metrics to be served", func() bool {
		status, _ := scrape(token)
		return status == http.StatusOK
	})
	for _, wrong := range []string{"", "wrong"} {
		if status, _ := scrape(wrong); status != http.StatusUnauthorized {
			t.Errorf("a scrape with the token %q gets %d", wrong, status)
		}
	}

	wire.Cut()
	begun := time.Now()
	throughout(t, 65*time.Second, func() error {
		asked := time.Now()
		status, text := scrape(token)
		failing, err := lab.SumMetric(text, "groupgate_watch_failing_seconds", `kind="IMApp"`)
		if status != http.StatusOK || err != nil || time.Since(asked) > 10*time.Second {
			return fmt.Errorf("a scrape gets %d after %s: %w", status, time.Since(asked), err)
		}
		if want := time.Since(begun).Seconds(); failing < want-5 {
			return fmt.Errorf("the watch fails for %v s, want %v", failing, want)
		}
		return nil
	})
	if status, _ := scrape("wrong"); status == http.StatusOK {
		t.Error("a stranger may read the metrics in an outage")
	}
	wire.Mend()
	w.kubectl("delete", "clusterrolebinding", w.Namespace+"-prometheus")
	within(t, 10*time.Second, "the revoked client to be refused", func() bool {
		status, _ := scrape(token)
		return status == http.StatusForbidden
	})
}

// insecureClient accepts the self-signed certificate of the metrics endpoint.
func insecureClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// get returns the answer to a request with a bearer token, if it is not empty; status 0 if there is none.
func get(t *testing.T, client *http.Client, url, token string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}
