package page

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// impersonator is the right of config/page to impersonate.
const impersonator = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: impersonator}
rules:
- {apiGroups: [authentication.k8s.io], resources: [users, groups], verbs: ["impersonate:user-info"]}
- {apiGroups: [groupgate.io], resources: [pruneruns], verbs: ["impersonate-on:user-info:list"]}
`

// The rights of config/page mean nothing to an API server that does not know constrained impersonation, and neither
// does the page decide there, nor show more than its own account may read.
func TestClusterWithoutConstrainedImpersonationIsReadOnly(t *testing.T) {
	flags := map[string]string{"feature-gates": "ConstrainedImpersonation=false"}
	cluster, err := lab.StartControlPlane(t.TempDir(), flags)
	must(t, err)
	t.Cleanup(func() { must(t, cluster.Stop()) })
	kubectl := func(stdin string, args ...string) {
		t.Helper()
		_, err := cluster.Kubectl(t.Context(), stdin, args...)
		must(t, err)
	}
	kubectl("", "apply", "--server-side", "-f", "config/crd/bases")
	kubectl("", "wait", "--for=condition=Established", "crd/pruneruns.groupgate.io")
	kubectl(impersonator, "apply", "--server-side", "-f", "-")
	// Any account will do, and lab has a kubeconfig of the manager's. It has no rights before config/default is there.
	path, err := cluster.ManagerKubeconfig("")
	must(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	must(t, err)
	const account = "--serviceaccount=groupgate-system:groupgate-manager"
	kubectl("", "create", "clusterrolebinding", "impersonator", "--clusterrole=impersonator", account)
	mapper := apimeta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("PruneRun"), apimeta.RESTScopeNamespace)
	clients, err := NewClients(config, labtest.Scheme(), mapper)
	must(t, err)
	proxy := &Proxy{
		Clients: clients, Namespace: "default", UserHeader: "X-User", GroupsHeader: "X-Groups", Now: time.Now,
	}
	request := sends(map[string][]string{"X-User": {"maria"}, "X-Groups": {"managers"}})
	viewer, err := proxy.Viewer(request)
	must(t, err)
	if viewer.ReadOnly == "" {
		t.Error("the page offers decisions")
	}
	list := &v1alpha1.PruneRunList{}
	if err := viewer.Client.List(t.Context(), list); err == nil {
		t.Error("the page reads without a role")
	}
	kubectl("", "create", "clusterrole", "reader", "--verb=get,list", "--resource=pruneruns.groupgate.io")
	kubectl("", "create", "clusterrolebinding", "reader", "--clusterrole=reader", account)
	labtest.Eventually(t, func() error { return viewer.Client.List(t.Context(), list) }) // the API server caches roles
}
