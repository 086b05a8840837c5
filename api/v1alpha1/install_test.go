package v1alpha1_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/lab"
)

// limitedPriority is what Google Kubernetes Engine has: pods of this priority need a quota that names it.
const limitedPriority = `
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - resource: pods
      matchScopes:
      - {scopeName: PriorityClass, operator: In, values: [system-cluster-critical]}
`

// The default installation starts where the priority class of its pods is limited, too.
func TestPodsStartWhereTheirPriorityIsLimited(t *testing.T) {
	directory := t.TempDir()
	config := filepath.Join(directory, "admission.yaml")
	must(t, os.WriteFile(config, []byte(limitedPriority), 0o600))
	cluster, err := lab.StartControlPlane(directory, map[string]string{"admission-control-config-file": config})
	must(t, err)
	t.Cleanup(func() { must(t, cluster.Stop()) })
	c, err := client.New(cluster.Config, client.Options{})
	must(t, err)

	manager := filepath.Join("..", "..", "config", "manager")
	apply(t, c, readObjects(t, filepath.Join(manager, "namespace.yaml"))[0])
	deployment := readObjects(t, filepath.Join(manager, "deployment.yaml"))[0]
	template, _, err := unstructured.NestedMap(deployment.Object, "spec", "template")
	must(t, err)
	start := func() error {
		pod := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
			"metadata": map[string]any{"name": "manager", "namespace": deployment.GetNamespace()},
		}}
		return c.Create(t.Context(), pod, client.DryRunAll)
	}
	// Without the quota it is refused, once the API server has created the priority class.
	eventually(t, func(context.Context) (bool, error) {
		err := start()
		if err == nil {
			t.Fatal("the pod needs no quota: this test tests nothing")
		}
		return strings.Contains(err.Error(), "insufficient quota"), nil
	})

	quota := &corev1.ResourceQuota{}
	object := readObjects(t, filepath.Join(manager, "quota.yaml"))[0]
	apply(t, c, object)
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(object), quota))
	// What the quota controller does, which does not run here.
	quota.Status.Hard = quota.Spec.Hard
	quota.Status.Used = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	must(t, c.Status().Update(t.Context(), quota))
	eventually(t, func(context.Context) (bool, error) {
		return start() == nil, nil
	})
}
