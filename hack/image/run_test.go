package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/node"
)

// cluster is what config/default is installed in.
var cluster *lab.Cluster

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(lab.RunWithCluster(m, lab.ClusterOptions{}, func(c *lab.Cluster) { cluster = c }))
}

const (
	namespace  = "groupgate-system"
	deployment = "deployment/groupgate-manager"
	patience   = "2m"
)

// pods are those of the manager that are not about to end.
func pods(t *testing.T) []corev1.Pod {
	t.Helper()
	c, err := client.New(cluster.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var list corev1.PodList
	if err := c.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	var alive []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			alive = append(alive, pod)
		}
	}
	return alive
}

func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := cluster.Kubectl(t.Context(), stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The image runs config/default as it is shipped: under its limits, replicas refuse a join, and a rollout loses no
// answer.
func TestImageRunsUnderTheShippedLimits(t *testing.T) {
	if err := node.Check(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	log := &lab.Log{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the node:\n%s", log)
		}
	})
	dir := t.TempDir()
	image, err := node.BuildImage(t.Context(), dir, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var callbacks atomic.Pointer[[]string]
	callbacks.Store(&[]string{})
	backend := lab.NewBackend([]lab.App{{}}, func() []string { return *callbacks.Load() }, nil)
	t.Cleanup(func() { _ = backend.Close() })

	n, err := node.Start(t.Context(), node.Options{
		Plane: cluster.ControlPlane, Dir: filepath.Join(dir, "pods"),
		Images: map[string]*node.Image{"groupgate:latest": image},
		Args:   []string{"--im-endpoint=" + backend.URL}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubectl(t, "", "apply", "--server-side", "-k", "config/default")
	kubectl(t, certificate(t), "apply", "--server-side", "-n", namespace, "-f", "-")
	kubectl(t, lab.App{}.Manifests()+"---\n"+lab.PolicyManifest("members",
		"groups: [{value: club}]\njoin: {allow: {accounts: [alice]}, reject: {code: 10110, message: Members only}}"),
		"apply", "--server-side", "-n", "chat", "-f", "-")
	kubectl(t, "", "wait", "-n", namespace, "--for=condition=Available", "--timeout="+patience, deployment)
	kubectl(t, "", "wait", "-n", "chat", "--for=condition=Programmed", "--timeout="+patience, "grouppolicy/members")

	for _, pod := range pods(t) {
		checkLimits(t, n.PodPID(pod.UID))
	}
	address, err := n.Expose(t.Context(), namespace, "groupgate-callback", "https")
	if err != nil {
		t.Fatal(err)
	}
	callbacks.Store(&[]string{"https://" + address + "/callback"})
	im := &emulator.Client{BaseURL: backend.URL}
	club := emulator.GroupSpec{ID: "club", Type: "Public", Owner: "olivia", ApplyJoinOption: "FreeAccess"}
	if _, err := im.CreateGroup(t.Context(), club); err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]string{
		"alice": emulator.ResultJoined, "mallory": emulator.ResultRefused,
	} {
		outcome, err := im.Apply(t.Context(), "club", account)
		if err != nil || outcome.Result != want {
			t.Errorf("%s applies to join: %+v, %v; want %s", account, outcome, err, want)
		}
	}
	t.Run("a rollout loses no answer", func(t *testing.T) { checkRollout(t, "https://"+address+"/callback") })
	t.Run("an image that is not there does not replace one that is", func(t *testing.T) { checkMissingImage(t) })
}

// certificate is the Secret of the shipped Deployment, and has this process trust what is in it.
func certificate(t *testing.T) string {
	t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t.Fatal("the default transport is not that of net/http")
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	return fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: groupgate-callback-tls}, "+
		"type: kubernetes.io/tls, stringData: {tls.crt: %q, tls.key: %q}}\n", cert, key)
}

// checkLimits reads what the kernel says about a manager.
func checkLimits(t *testing.T, pid int) {
	t.Helper()
	read := func(name string) string {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	got := map[string]string{}
	for line := range strings.Lines(read("status")) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs":
			got[name] = strings.TrimSpace(value)
		case "NSpid": // the last is the id in the container's own namespace
			ids := strings.Fields(value)
			got[name] = ids[len(ids)-1]
		case "Uid", "Gid":
			got[name] = strings.Fields(value)[1]
		}
	}
	const none = "0000000000000000"
	want := map[string]string{
		"CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "1", "NSpid": "1",
		"Uid": "65532", "Gid": "65532",
	}
	if os.Geteuid() != 0 {
		t.Log("not root: a user namespace maps uid 65532 to this user")
		want["Uid"], want["Gid"] = fmt.Sprint(os.Geteuid()), fmt.Sprint(os.Getegid())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("limits of the manager (-want,+got)\n%s", diff)
	}
	rootMounts := 0
	for line := range strings.Lines(read("mountinfo")) {
		fields := strings.Fields(line)
		if fields[4] == "/proc" {
			continue
		}
		if !strings.HasPrefix(fields[5], "ro,") {
			t.Errorf("%s is mounted %s, want read-only", fields[4], fields[5])
		}
		if fields[4] == "/" {
			rootMounts++
		}
	}
	if rootMounts != 1 {
		t.Errorf("%d mounts of /, want the image's only", rootMounts)
	}
}

// checkRollout sends callbacks while every Pod is replaced, with the strategy of the shipped Deployment.
func checkRollout(t *testing.T, url string) {
	before := pods(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var answers atomic.Int64
	failed := make(chan error, 1)
	go func() { // ends with ctx
		defer close(failed)
		// Connections are not kept, so that each callback is balanced anew.
		http.DefaultTransport.(*http.Transport).DisableKeepAlives = true
		for ctx.Err() == nil {
			a, err := lab.PostSigned(context.WithoutCancel(ctx), url, lab.SDKAppID, lab.CommandApply,
				map[string]any{"GroupId": "club", "Type": "Public", "Requestor_Account": "mallory"})
			if err != nil || a.Status != http.StatusOK || a.ErrorCode == 0 {
				failed <- fmt.Errorf("after %d answers: %+v, %w", answers.Load(), a, err)
				return
			}
			answers.Add(1)
		}
	}()
	began := time.Now()
	kubectl(t, "", "set", "env", "-n", namespace, deployment, "GROUPGATE_LOG_FORMAT=json")
	kubectl(t, "", "rollout", "status", "-n", namespace, deployment, "--timeout="+patience)
	took := time.Since(began)
	cancel()
	if err := <-failed; err != nil {
		t.Error(err)
	}
	t.Logf("%d callbacks were answered in a rollout of %s", answers.Load(), took.Round(100*time.Millisecond))
	if answers.Load() < 100 {
		t.Errorf("only %d callbacks were sent: this proves nothing", answers.Load())
	}
	after := map[string]bool{}
	for _, pod := range pods(t) {
		after[pod.Name] = true
	}
	for _, pod := range before {
		if after[pod.Name] {
			t.Errorf("Pod %s was not replaced", pod.Name)
		}
	}
}

// checkMissingImage has the same result as on a cluster.
func checkMissingImage(t *testing.T) {
	before := pods(t)
	kubectl(t, "", "set", "image", "-n", namespace, deployment, "manager=groupgate:v9")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := lab.Await(ctx, "a Pod to say what it lacks", func(context.Context) (bool, error) {
		for _, pod := range pods(t) { //nolint:contextcheck // the test's is the same
			for _, c := range pod.Status.ContainerStatuses {
				if w := c.State.Waiting; w != nil && w.Reason == "ErrImagePull" {
					if !strings.Contains(w.Message, `"groupgate:v9"`) {
						t.Errorf("message %q", w.Message)
					}
					return true, nil
				}
			}
		}
		return false, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ready := kubectl(t, "", "get", deployment, "-n", namespace, "-o=jsonpath={.status.readyReplicas}")
	if ready != fmt.Sprint(len(before)) {
		t.Errorf("%s replicas are ready, want %d", ready, len(before))
	}
}
