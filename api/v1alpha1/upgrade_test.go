package v1alpha1_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Runs that were stored by a version without spec.approval are read as Pending, and can be approved like others. The
// test installs a copy of the kind in its own API group, first without the fields, then with the shipped schema.
func TestRunsStoredBeforeApprovalExisted(t *testing.T) {
	const group = "before.groupgate.io"
	shipped := readCRDs(t)["PruneRun"].DeepCopy()
	shipped.Spec.Group = group
	shipped.Name = shipped.Spec.Names.Plural + "." + group
	shipped.Annotations = nil

	old := shipped.DeepCopy()
	root := old.Spec.Versions[0].Schema.OpenAPIV3Schema
	root.XValidations = nil
	spec := root.Properties["spec"]
	delete(spec.Properties, "approval")
	delete(spec.Properties, "undo")
	spec.XValidations = nil
	root.Properties["spec"] = spec
	old.Spec.Versions[0].SelectableFields = nil

	c := newClient(t)
	must(t, apiextensionsv1.AddToScheme(c.Scheme()))
	must(t, c.Create(t.Context(), old))

	namespace := newNamespace(t, c)
	runs := map[string]*unstructured.Unstructured{}
	for _, name := range []string{"waiting", "ended"} {
		run := mutate(t, basePruneRun, `metadata: {name: `+name+`}`)
		run.SetNamespace(namespace)
		run.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v1alpha1", Kind: "PruneRun"})
		runs[name] = run
		// The kind is served shortly after the CRD is created.
		eventually(t, func(ctx context.Context) (bool, error) {
			err := c.Create(ctx, run)
			served := !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err)
			if !served {
				err = nil
			}
			return served, err
		})
	}
	if _, found, _ := unstructured.NestedString(runs["waiting"].Object, "spec", "approval"); found {
		t.Fatal("the old schema has an approval")
	}
	must(t, patchStatus(t, c, runs["waiting"].DeepCopy(), aPlan))
	must(t, patchStatus(t, c, runs["ended"].DeepCopy(), completed))

	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(old), old))
	old.Spec.Versions[0].Schema = shipped.Spec.Versions[0].Schema
	old.Spec.Versions[0].SelectableFields = shipped.Spec.Versions[0].SelectableFields
	must(t, c.Update(t.Context(), old))
	for _, run := range runs {
		eventually(t, func(ctx context.Context) (bool, error) {
			current := run.DeepCopy()
			err := c.Get(ctx, client.ObjectKeyFromObject(run), current)
			approval, _, _ := unstructured.NestedString(current.Object, "spec", "approval")
			return approval == "Pending", err
		})
	}

	for _, step := range []struct{ run, patch, want string }{
		{"waiting", `metadata: {labels: {a: b}}`, ``},
		{"waiting", waiting, ``},
		{"waiting", `spec: {groupID: other}`, `spec: Invalid value: ` + restImmutable},
		{"waiting", `spec: {undo: Requested}`, `spec.undo: Invalid value: ` + undoOnceEnded},
		{"waiting", `spec: {approval: Approved}`, ``},
		{"waiting", `spec: {approval: Pending}`, `spec.approval: Invalid value: "Pending": ` + onlyForward},
		{"waiting", `spec: {approval: Denied}`, ``},
		{"ended", `metadata: {labels: {a: b}}`, ``},
		{"ended", `spec: {approval: Approved}`, `[` + approveOncePlan + `, ` + approveBeforeEnd + `]`},
		{"ended", `spec: {undo: Requested}`, ``},
		{"ended", undoing, ``},
		{"ended", undone, ``},
	} {
		if diff := cmp.Diff(step.want, complaint(t, patchRun(t, c, runs[step.run], step.patch))); diff != "" {
			t.Fatalf("%s, %s: complaint (-want,+got):\n%s", step.run, step.patch, diff)
		}
	}
	must(t, c.Delete(t.Context(), old))
}

// eventually polls for an effect that the API server applies asynchronously.
func eventually(t *testing.T, done wait.ConditionWithContextFunc) {
	t.Helper()
	must(t, wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, done))
}
