package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/internal/schema"
)

// offline is what validation without an API server says to the creation of an object; "" if it accepts it.
func offline(t *testing.T, object *unstructured.Unstructured, namespace string) string {
	t.Helper()
	validators, err := schema.Validators()
	must(t, err)
	document, err := json.Marshal(object)
	must(t, err)
	_, problems := validators[object.GetKind()].Create(t.Context(), document, namespace)
	var said []error
	for _, p := range problems {
		said = append(said, errors.New(p.Message))
	}
	if len(said) == 0 {
		return ""
	}
	return utilerrors.NewAggregate(said).Error()
}

// online is what the API server says to it.
func online(t *testing.T, c client.Client, object *unstructured.Unstructured) string {
	t.Helper()
	// A dry run skips only etcd.
	return refusal(t, c.Create(t.Context(), object.DeepCopy(), client.DryRunAll))
}

// TestManifestsAreValidatedInTheWordsOfTheAPIServer: without one, all that TestSchema tests, and the mistakes that
// people made, have the very answer of the API server.
func TestManifestsAreValidatedInTheWordsOfTheAPIServer(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	compare := func(name string, object *unstructured.Unstructured) {
		t.Run(name, func(t *testing.T) {
			object.SetNamespace(namespace)
			want := online(t, c, object)
			if diff := cmp.Diff(want, offline(t, object, namespace)); diff != "" {
				t.Errorf("(-API server,+offline):\n%s", diff)
			}
		})
	}
	for kind, tc := range mutations {
		for name, m := range tc.mutations {
			compare(kind+", "+name, mutate(t, tc.base, m.patch))
		}
	}
	for name, object := range mistakes(t) {
		compare(name, object)
	}
}

// mistakes are the manifests of package lint's test that the API server refuses.
func mistakes(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "internal", "lint", "testdata", "refused.yaml"))
	must(t, err)
	found := map[string]*unstructured.Unstructured{}
	for document := range strings.SplitSeq(string(text), "---\n") {
		object := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal([]byte(document), &object.Object))
		name, _, _ := strings.Cut(strings.TrimPrefix(document, "# "), "\n")
		found[name] = object
	}
	if len(found) < 50 {
		t.Fatalf("%d mistakes", len(found))
	}
	return found
}
