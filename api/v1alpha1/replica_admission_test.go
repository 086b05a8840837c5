package v1alpha1_test

import (
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/applyconfigurations/coordination/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A replica that could write the report of another one could make Programmed say that a revocation is in force.
func TestReplicaWritesNoReportButItsOwn(t *testing.T) {
	admin := newClient(t)
	namespace := newNamespace(t, admin)
	for _, object := range readObjects(t, filepath.Join("..", "..", "config", "rbac", "replica_role.yaml")) {
		object.SetNamespace(namespace)
		subjects, bound := object.Object["subjects"].([]any)
		if bound {
			subjects[0].(map[string]any)["namespace"] = namespace
		}
		apply(t, admin, object)
	}
	installAdmission(t, newKubectl(t, namespace))
	replica := func(pods ...string) client.Client {
		config := rest.CopyConfig(apiServer)
		config.Impersonate = rest.ImpersonationConfig{
			UserName: "system:serviceaccount:" + namespace + ":groupgate-manager",
			Groups:   []string{"system:serviceaccounts", "system:authenticated"},
			Extra:    map[string][]string{"authentication.kubernetes.io/pod-name": pods},
		}
		c, err := client.New(config, client.Options{})
		must(t, err)
		return c
	}
	lease := func(name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{"groupgate.io/replica": "true"},
		}}
	}
	const denied = "is the report of another replica"
	check := func(err error, want string) {
		t.Helper()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a, b, unknown := replica("a"), replica("b"), replica()
	inForce(t, func() string {
		if err := a.Create(t.Context(), lease("replica-b"), client.DryRunAll); err != nil {
			return err.Error()
		}
		return ""
	})
	renew := client.RawPatch("application/merge-patch+json", []byte(`{"spec": {"holderIdentity": "x"}}`))
	unlabel := client.RawPatch("application/merge-patch+json",
		[]byte(`{"metadata": {"labels": {"groupgate.io/replica": null}}}`))

	report := func(c client.Client, name string) error { // as a replica does, to create and to renew
		applied := coordination.Lease(name, namespace).WithLabels(map[string]string{"groupgate.io/replica": "true"})
		return c.Apply(t.Context(), applied, client.FieldOwner("groupgate-replica"), client.ForceOwnership)
	}
	check(report(a, "replica-a"), "")
	check(report(a, "replica-a"), "")
	check(report(a, "replica-b"), denied)
	check(b.Create(t.Context(), lease("replica-b")), "")
	check(report(a, "replica-b"), denied)
	check(unknown.Create(t.Context(), lease("replica-c")), denied)
	check(a.Patch(t.Context(), lease("replica-a"), renew), "")
	check(a.Patch(t.Context(), lease("replica-b"), renew), denied)
	check(a.Patch(t.Context(), lease("replica-b"), unlabel), denied)
	check(a.Delete(t.Context(), lease("replica-b")), denied)
	check(a.Delete(t.Context(), lease("replica-a")), "")
	check(admin.Delete(t.Context(), lease("replica-b")), "") // as the garbage collector does
	// Other Leases, that of the election among them, are not its business.
	check(a.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "groupgate-manager"},
	}), "")
}
