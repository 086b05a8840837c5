package v1alpha1_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/lab"
)

// kubectl runs kubectl as the admin in one namespace.
type kubectl struct {
	path, kubeconfig, namespace string
}

func newKubectl(t *testing.T, namespace string) kubectl {
	t.Helper()
	assets, err := lab.Assets()
	must(t, err)
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: apiServer.Host, CertificateAuthorityData: apiServer.CAData}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: apiServer.CertData, ClientKeyData: apiServer.KeyData,
	}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin", Namespace: namespace}
	config.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, clientcmd.WriteToFile(*config, path))
	return kubectl{path: filepath.Join(assets, "kubectl"), kubeconfig: path, namespace: namespace}
}

// run returns the output and the error output of kubectl.
func (k kubectl) run(t *testing.T, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), k.path, append([]string{"--kubeconfig", k.kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil && complaints.Len() == 0 {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), complaints.String()
}

// must is run for commands that succeed without a warning.
func (k kubectl) must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr := k.run(t, stdin, args...)
	if stderr != "" {
		t.Fatalf("kubectl %s: %s", strings.Join(args, " "), stderr)
	}
	return stdout
}

// The merge patches of the documentation.
const (
	approve = `{"spec":{"approval":"Approved"}}`
	deny    = `{"spec":{"approval":"Denied"}}`
	undo    = `{"spec":{"undo":"Requested"}}`
)

// The documentation shows the commands that these tests run.
func TestDocumentedCommands(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "kinds", "prunerun.md"))
	must(t, err)
	for _, merge := range []string{approve, deny, undo} {
		want := "\nkubectl patch prunerun $RUN -n chat --type=merge -p '" + merge + "'\n"
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/kinds/prunerun.md does not say %q", want)
		}
	}
}

// Applying the manifest of a run again does not withdraw an approval or an undo that was patched in, and the manifest
// may contain both.
func TestKubectlApproves(t *testing.T) {
	for name, apply := range map[string][]string{
		"client-side": {"apply", "-f", "-"},
		"server-side": {"apply", "--server-side", "-f", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			namespace := newNamespace(t, c)
			k := newKubectl(t, namespace)
			patch := func(merge string) string {
				t.Helper()
				_, stderr := k.run(t, "", "patch", "prunerun", "base", "--type=merge", "-p", merge)
				return stderr
			}
			said := func() string {
				t.Helper()
				return k.must(t, "", "get", "prunerun", "base", "-o", "jsonpath={.spec.approval} {.spec.undo}")
			}
			record := func(status string) {
				t.Helper()
				object := mutate(t, basePruneRun, `{}`)
				object.SetNamespace(namespace)
				must(t, patchStatus(t, c, object, status))
			}

			k.must(t, basePruneRun, apply...)
			const want = "a run can be approved only once its plan is recorded"
			if got := patch(approve); !strings.Contains(got, want) {
				t.Errorf("approved before there is a plan: %q, want %q", got, want)
			}
			record(aPlan)
			if got := patch(approve); got != "" {
				t.Fatal(got)
			}
			k.must(t, basePruneRun, apply...)
			if got, want := said(), "Approved "; got != want {
				t.Errorf("after the request was applied again: %q, want %q", got, want)
			}
			if got := patch(deny); got != "" {
				t.Fatal(got)
			}
			if got, want := patch(approve), "approval can change only from"; !strings.Contains(got, want) {
				t.Errorf("approved once denied: %q, want %q", got, want)
			}
			record(completed)
			if got := patch(undo); got != "" {
				t.Fatal(got)
			}
			k.must(t, basePruneRun, apply...)
			if got, want := said(), "Denied Requested"; got != want {
				t.Errorf("after the request was applied again: %q, want %q", got, want)
			}
		})
	}
}

// A manifest may contain the approval: it is accepted once there is a plan.
func TestApplyManifestWithApproval(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	manifest := func(patch string) *unstructured.Unstructured {
		object := mutate(t, basePruneRun, patch)
		object.SetNamespace(namespace)
		return object
	}
	send := func(patch string) string {
		t.Helper()
		object := manifest(patch)
		config := client.ApplyConfigurationFromUnstructured(object)
		return complaint(t, c.Apply(t.Context(), config, client.FieldOwner("gitops")))
	}
	record := func(status string) func(string) string {
		return func(string) string { return complaint(t, patchStatus(t, c, manifest(`{}`), status)) }
	}
	for _, tc := range []struct {
		name  string
		do    func(string) string
		patch string
		want  string
	}{
		{"approved from the first", send, `spec: {approval: Approved}`, `spec.approval: Invalid value: "Approved": ` + beginsPending},
		{"the request", send, `{}`, ``},
		{"approved unplanned", send, `spec: {approval: Approved}`, approveOncePlan},
		{"planned", record(aPlan), ``, ``},
		{"approved", send, `spec: {approval: Approved}`, ``},
		{"no word of it any more", send, `{}`, `spec.approval: Invalid value: "Pending": ` + onlyForward},
		{"still approved", send, `spec: {approval: Approved}`, ``},
		{"ended", record(completed), ``, ``},
		{"approved as before", send, `spec: {approval: Approved}`, ``},
		{"to be undone", send, `spec: {approval: Approved, undo: Requested}`, ``},
		{"undo left out", send, `spec: {approval: Approved}`, undoForGood},
	} {
		if diff := cmp.Diff(tc.want, tc.do(tc.patch)); diff != "" {
			t.Fatalf("%s: complaint (-want,+got):\n%s", tc.name, diff)
		}
	}
}

// kubectl replace sends the whole object, as kubectl edit does.
func TestKubectlReplacesApproval(t *testing.T) {
	c := newClient(t)
	k := newKubectl(t, newNamespace(t, c))
	k.must(t, basePruneRun, "create", "-f", "-")
	object := mutate(t, basePruneRun, `{}`)
	object.SetNamespace(k.namespace)
	must(t, patchStatus(t, c, object, aPlan))

	edited := func(old, text string) string {
		t.Helper()
		current := k.must(t, "", "get", "prunerun", "base", "-o", "yaml")
		if strings.Count(current, old) != 1 {
			t.Fatalf("%q is not once in\n%s", old, current)
		}
		return strings.Replace(current, old, text, 1)
	}
	k.must(t, edited("approval: Pending", "approval: Approved"), "replace", "-f", "-")
	_, stderr := k.run(t, edited("approval: Approved", "approval: Pending"), "replace", "-f", "-")
	if !strings.Contains(stderr, onlyForward) {
		t.Errorf("back to Pending: %q, want %q", stderr, onlyForward)
	}
	k.must(t, edited("approval: Approved", "approval: Denied"), "replace", "-f", "-")
}

// kubectl describe shows which members would be removed, since when they are inactive, and why.
func TestDescribeShowsThePlan(t *testing.T) {
	c := newClient(t)
	k := newKubectl(t, newNamespace(t, c))
	k.must(t, basePruneRun, "create", "-f", "-")
	object := mutate(t, basePruneRun, `{}`)
	object.SetNamespace(k.namespace)
	must(t, patchStatus(t, c, object, wholeRecord))
	must(t, patchStatus(t, c, object, `status: {conditions: [`+planned+`, `+condition("Complete", "False", "AwaitingApproval")+`]}`))

	text := strings.Join(strings.Fields(k.must(t, "", "describe", "pruneruns", "base")), " ")
	for _, want := range []string{
		"Group ID: @TGS#2J4SZEAEL",
		"Approval: Pending",
		"Account: u1 Last Active At: 2026-08-01T09:30:00Z Reason: NeverSpoke Account: u2 Reason: Inactive",
		"Created At: 2026-11-20T09:30:00Z",
		"Stay: Active: 1652 Admin: 5 Protected: 3 Unknown: 0",
		"Reason: AwaitingApproval",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("kubectl describe does not say %q:\n%s", want, text)
		}
	}
}
