package v1alpha1_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
)

var (
	samplesDirectory = filepath.Join("..", "..", "config", "samples")
	rolesDirectory   = filepath.Join("..", "..", "config", "rbac")
)

func TestSamples(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	files, err := filepath.Glob(filepath.Join(samplesDirectory, "*.yaml"))
	must(t, err)
	kinds := map[string]bool{}
	var names []string
	for _, file := range files {
		name := filepath.Base(file)
		if name == "kustomization.yaml" {
			continue
		}
		names = append(names, name)
		t.Run(name, func(t *testing.T) {
			for _, object := range readObjects(t, file) {
				kinds[object.GetKind()] = true
				if got, want := object.GetNamespace(), "chat"; got != want {
					t.Errorf("%s %s: namespace %q, want %q", object.GetKind(), object.GetName(), got, want)
				}
				if object.GetKind() == "AccountList" &&
					object.GetAnnotations()["argocd.argoproj.io/sync-options"] != "ServerSideApply=true" {
					t.Errorf("AccountList %s: does not tell Argo CD to apply it on the server", object.GetName())
				}
				object.SetNamespace(namespace)
				apply(t, c, object)
			}
		})
	}

	want := []string{"AccountList", "GroupPolicy", "IMApp", "PruneRun", "Secret"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(kinds))); diff != "" {
		t.Errorf("kinds of the samples (-want,+got):\n%s", diff)
	}
	// A run is a request, so it must not be part of what is applied repeatedly.
	listed := append(resources(t, samplesDirectory), "prunerun.yaml")
	slices.Sort(listed)
	if diff := cmp.Diff(listed, names); diff != "" {
		t.Errorf("samples (-kustomization,+files):\n%s", diff)
	}
}

// The longest list fits into etcd, and its managed fields for server-side apply do not grow with it.
func TestLongestListIsStored(t *testing.T) {
	c := newClient(t)
	list := mutate(t, baseAccountList, `spec: {accounts: [`+accounts(20000)+`]}`)
	list.SetNamespace(newNamespace(t, c))
	apply(t, c, list)

	got := &v1alpha1.AccountList{}
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(list), got))
	if len(got.Spec.Accounts) != 20000 {
		t.Errorf("%d accounts are stored, want 20000", len(got.Spec.Accounts))
	}
	for _, fields := range got.ManagedFields {
		if size := len(fields.FieldsV1.GetRawBytes()); size > 1000 {
			t.Errorf("managed fields of %s: %d bytes, want them not to grow with the list", fields.Manager, size)
		}
	}
}

func apply(t *testing.T, c client.Client, object *unstructured.Unstructured) {
	t.Helper()
	err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"))
	if err != nil {
		t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

// readObjects reads every object of a YAML file.
func readObjects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	return decodeObjects(t, data)
}

// decodeObjects reads every object of a YAML stream.
func decodeObjects(t *testing.T, data []byte) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		must(t, err)
		objects = append(objects, object)
	}
}

// resources lists the files of a kustomization.
func resources(t *testing.T, directory string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(directory, "kustomization.yaml"))
	must(t, err)
	var kustomization struct {
		Resources []string `json:"resources"`
	}
	must(t, yaml.Unmarshal(data, &kustomization))
	return kustomization.Resources
}

func TestEveryCRDIsInstalled(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(lab.CRDs(), "*.yaml"))
	must(t, err)
	var want []string
	for _, file := range files {
		want = append(want, "bases/"+filepath.Base(file))
	}
	got := resources(t, filepath.Dir(lab.CRDs()))
	slices.Sort(got)
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		t.Errorf("config/crd (-want,+got):\n%s", diff)
	}
}
