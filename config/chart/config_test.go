package chart

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/groupgate/groupgate/internal/lab"
)

// The chart and config install the same objects, so that one text says what they are.
func TestTheChartRendersWhatConfigDoes(t *testing.T) {
	t.Parallel()
	chart := chart(t)
	for name, tc := range map[string]struct{ values, base, components string }{
		"default":        {values: "defaults", base: "default"},
		"cluster-wide":   {values: "cluster-wide", base: "cluster-wide"},
		"cert-manager":   {values: "cert-manager", base: "default", components: "certmanager"},
		"prometheus":     {values: "prometheus", base: "default", components: "prometheus"},
		"network policy": {values: "network-policy", base: "default", components: "network-policy"},
		"admission":      {values: "admission", base: "default", components: "admission"},
		"page":           {values: "page", base: "default", components: "page"},
		"page of all":    {values: "page-of-all-namespaces", base: "cluster-wide", components: "page/cluster-wide"},
		"page that only reads": {
			values: "page-read-only", base: "default",
			components: "page page/read-only network-policy page/network-policy",
		},
		"decisions": {values: "admission-decisions", base: "default", components: "admission admission/decisions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rendered, err := render(t, chart, filepath.Join("testdata", "values", tc.values+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			got, want := plain(objects(t, rendered)), plain(objects(t, kustomize(t, tc.base, tc.components)))
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if diff := cmp.Diff(want[name], got[name]); diff != "" {
					t.Errorf("%s: config, chart (-want,+got)\n%s", name, diff)
				}
				delete(got, name)
			}
			for name := range got {
				t.Errorf("%s is not in config", name)
			}
		})
	}
}

// kustomize renders config/BASE with components of config.
func kustomize(t *testing.T, base, components string) string {
	t.Helper()
	directory := t.TempDir()
	config := func(folder string) string {
		path, err := filepath.Rel(directory, filepath.Join(lab.Root(), "config", folder))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay := "resources: [" + config(base) + "]\ncomponents:\n"
	for component := range strings.FieldsSeq(components) {
		overlay += "- " + config(component) + "\n"
	}
	write(t, filepath.Join(directory, "kustomization.yaml"), overlay)
	return build(t, directory)
}

// plain are the objects by kind and name, without what is different on purpose: helm creates no namespaces, labels
// everything, keeps CustomResourceDefinitions, and names an image.
func plain(objects []*unstructured.Unstructured) map[string]any {
	plain := map[string]any{}
	for _, o := range objects {
		labels, annotations := o.GetLabels(), o.GetAnnotations()
		for _, label := range []string{"instance", "managed-by", "name", "version"} {
			delete(labels, "app.kubernetes.io/"+label)
		}
		delete(labels, "helm.sh/chart")
		delete(annotations, "helm.sh/resource-policy")
		o.SetLabels(labels)
		if len(labels) == 0 {
			o.SetLabels(nil)
		}
		o.SetAnnotations(annotations)
		switch o.GetKind() {
		case "Namespace":
			continue
		case "Deployment":
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			container, _ := containers[0].(map[string]any)
			delete(container, "image")
			delete(container, "imagePullPolicy")
			_ = unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers")
		}
		plain[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o.Object
	}
	return plain
}
