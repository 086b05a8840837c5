package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/groupgate/groupgate/internal/lab"
)

// newKubelet stands in for a kubelet that forwards ports of Pods, which here are those of this machine. It returns its
// port.
func newKubelet(t *testing.T) string {
	t.Helper()
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/portForward/") {
			http.NotFound(w, r)
			return
		}
		if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
			t.Error(err)
			return
		}
		streams := make(chan httpstream.Stream, 2)
		connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r,
			func(stream httpstream.Stream, _ <-chan struct{}) error {
				streams <- stream
				return nil
			})
		if connection == nil {
			return
		}
		defer func() { _ = connection.Close() }()
		var data, failures httpstream.Stream
		for data == nil || failures == nil {
			select {
			case stream := <-streams:
				if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeData {
					data = stream
				} else {
					failures = stream
				}
			case <-connection.CloseChan():
				return
			}
		}
		forwarded, err := net.Dial("tcp", "127.0.0.1:"+data.Headers().Get(corev1.PortHeader))
		if err != nil {
			_, _ = fmt.Fprint(failures, err)
			_, _ = failures.Close(), data.Close()
		} else {
			go func() { // ends with the connection
				_, _ = io.Copy(forwarded, data)
				_ = forwarded.Close()
			}()
			_, _ = io.Copy(data, forwarded)
			_, _ = failures.Close(), data.Close()
		}
		<-connection.CloseChan()
	}))
	t.Cleanup(kubelet.Close)
	_, port, err := net.SplitHostPort(kubelet.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// A kubeconfig is all that it takes: no address of a replica, and no certificate.
func TestRefusedAndNowReachThePodsThroughTheAPIServer(t *testing.T) {
	t.Parallel()
	w := newRefusalWorld(t, 1)
	node := w.Namespace
	pod := func(name, port string) string {
		return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app.kubernetes.io/name: groupgate}}
spec:
  nodeName: %s
  containers: [{name: manager, image: groupgate, ports: [{name: metrics, containerPort: %s}]}]
---
`, name, node, port)
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(w.urls[0], "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = w.Kubectl(t.Context(), "", "delete", "node", node) })
	w.apply("apiVersion: v1\nkind: Node\nmetadata: {name: " + node + "}\n---\n" + pod("manager-0", port) + `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: forward}
rules:
- {apiGroups: [""], resources: [pods], verbs: [list]}
- {apiGroups: [""], resources: [pods/portforward], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: forward}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: forward}
subjects: [{kind: ServiceAccount, name: viewer, namespace: ` + w.Namespace + `}]
`)
	w.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", `{"status":{"addresses":[`+
		`{"type":"InternalIP","address":"127.0.0.1"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":`+newKubelet(t)+`}}}}`)
	w.kubectl("patch", "pod", "manager-0", "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Running"}}`)

	kubeconfig, err := cluster.AccountKubeconfig(t.Context(), w.Namespace, "viewer")
	if err != nil {
		t.Fatal(err)
	}
	run := func(kubeconfig string, args ...string) (string, error) {
		args = append(args, "--kubeconfig="+kubeconfig, "-n", w.Namespace, "--system-namespace="+w.Namespace)
		out, err := exec.CommandContext(t.Context(), w.Binary, args...).CombinedOutput()
		return string(out), err
	}
	out := ""
	eventually(t, "the refusal to be printed", func() bool {
		out, err = run(kubeconfig, "refused", "lounge")
		return err == nil && strings.Contains(out, "mallory")
	})
	for _, want := range []string{
		"Refusals: 1. Leaks: 0. Replicas that answered: 1,", "members NotListed   10120   Members only",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("refused prints\n%s\nwithout %q", out, want)
		}
	}
	eventually(t, "the gate to be closed", func() bool {
		out, err = run(kubeconfig, "now")
		return err == nil && strings.Contains(out, "the gate is closed.")
	})
	t.Logf("now prints\n%s", out)

	// A Pod that does not listen, and one that is not there any more.
	address, err := lab.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(address)
	w.apply(pod("manager-1", port))
	w.kubectl("patch", "pod", "manager-1", "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Running"}}`)
	out, err = run(kubeconfig, "now", "-o", "json")
	var answer struct {
		Apps []struct {
			State    string
			Replicas int
			Findings []struct{ Message string }
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &answer) != nil || len(answer.Apps) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	if app := answer.Apps[0]; app.State != "Unknown" || app.Replicas != 1 || len(app.Findings) != 1 ||
		!strings.HasPrefix(app.Findings[0].Message, "manager-1: ") ||
		!strings.Contains(app.Findings[0].Message, "connection refused") {
		t.Errorf("with a Pod that does not answer: %+v", app)
	}
	out, err = run(cluster.Kubeconfig, "refused")
	if err == nil || !strings.Contains(out, "no bearer token") || !strings.Contains(out, "no replica could say") {
		t.Errorf("with a client certificate: %v, %s", err, out)
	}
	w.kubectl("delete", "rolebinding", "forward")
	eventually(t, "the missing rights to be named", func() bool {
		out, err = run(kubeconfig, "refused", "--app=prod")
		return err != nil && strings.Contains(out, "rights to list pods, and")
	})
}
