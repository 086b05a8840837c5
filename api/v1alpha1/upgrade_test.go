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
	"k8s.io/apimachinery/pkg/types"
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
		createOnceServed(t, c, run)
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
		if diff := cmp.Diff(step.want, complaint(t, patchObject(t, c, runs[step.run], step.patch))); diff != "" {
			t.Fatalf("%s, %s: complaint (-want,+got):\n%s", step.run, step.patch, diff)
		}
	}
	must(t, c.Delete(t.Context(), old))
}

// Objects of a namespace that is not watched are Pending, too, where an edit has stored the default status of a version
// that had no default condition.
func TestObjectsEditedBeforePendingExisted(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	bases := map[string]string{"IMApp": baseIMApp, "AccountList": baseAccountList, "GroupPolicy": baseGroupPolicy}
	for kind, base := range bases {
		t.Run(kind, func(t *testing.T) {
			const group = "edited.groupgate.io"
			upgrade := installEarlier(t, c, kind, group, func(root *apiextensionsv1.JSONSchemaProps) {
				status := root.Properties["status"]
				status.Default = &apiextensionsv1.JSON{Raw: []byte(`{"observedGeneration": -1}`)}
				conditions := status.Properties["conditions"]
				conditions.Default = nil
				status.Properties["conditions"] = conditions
				root.Properties["status"] = status
			})
			object := mutate(t, base, `{}`)
			object.SetNamespace(namespace)
			object.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v1alpha1", Kind: kind})
			createOnceServed(t, c, object)
			must(t, patchObject(t, c, object, `metadata: {labels: {a: b}}`))
			upgrade()
			eventually(t, func(ctx context.Context) (bool, error) {
				err := c.Get(ctx, client.ObjectKeyFromObject(object), object)
				found, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
				if len(found) != 1 {
					return false, err
				}
				pending := found[0].(map[string]any)
				return pending["type"] == "Ready" && pending["reason"] == "Pending", err
			})
		})
	}
}

// Earlier versions accepted a policy whose reject applies to no account. It keeps its status, and can be edited once it
// is corrected.
func TestPolicyStoredBeforeItsRejectWasRefused(t *testing.T) {
	c := newClient(t)
	const group = "reject.groupgate.io"
	upgrade := installEarlier(t, c, "GroupPolicy", group, func(root *apiextensionsv1.JSONSchemaProps) {
		spec := root.Properties["spec"]
		spec.XValidations = nil
		root.Properties["spec"] = spec
	})
	object := mutate(t, baseGroupPolicy, `spec: {join: {reject: {code: 10110}}}`)
	object.SetNamespace(newNamespace(t, c))
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v1alpha1", Kind: "GroupPolicy"})
	createOnceServed(t, c, object)
	upgrade()
	edit := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"groups": [{"value": "other"}]}}`))
	eventually(t, func(ctx context.Context) (bool, error) {
		return complaint(t, c.Patch(ctx, object.DeepCopy(), edit)) == rejectsNobody, nil
	})
	must(t, patchStatus(t, c, object, `status: {observedGeneration: 1}`))
	must(t, patchObject(t, c, object, `metadata: {labels: {a: b}}`))
	must(t, patchObject(t, c, object, `spec: {groups: [{value: other}], join: {allow: {}}}`))
}

// installEarlier installs a copy of a kind in an API group of its own, with what earlier makes of the shipped schema,
// until the test ends. upgrade gives the kind the shipped schema.
func installEarlier(
	t *testing.T, c client.Client, kind, group string, earlier func(root *apiextensionsv1.JSONSchemaProps),
) (upgrade func()) {
	t.Helper()
	must(t, apiextensionsv1.AddToScheme(c.Scheme()))
	shipped := readCRDs(t)[kind].DeepCopy()
	shipped.Spec.Group = group
	shipped.Name = shipped.Spec.Names.Plural + "." + group
	shipped.Annotations = nil
	installed := shipped.DeepCopy()
	earlier(installed.Spec.Versions[0].Schema.OpenAPIV3Schema)
	must(t, c.Create(t.Context(), installed))
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { must(t, c.Delete(ctx, installed)) })
	return func() {
		t.Helper()
		must(t, c.Get(t.Context(), client.ObjectKeyFromObject(installed), installed))
		installed.Spec.Versions[0].Schema = shipped.Spec.Versions[0].Schema
		must(t, c.Update(t.Context(), installed))
	}
}

// createOnceServed creates an object of a kind that is served shortly after its CRD was created.
func createOnceServed(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	eventually(t, func(ctx context.Context) (bool, error) {
		err := c.Create(ctx, object)
		served := !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err)
		if !served {
			err = nil
		}
		return served, err
	})
}

// eventually polls for an effect that the API server applies asynchronously.
func eventually(t *testing.T, done wait.ConditionWithContextFunc) {
	t.Helper()
	must(t, wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, done))
}
