package v1alpha1_test

import (
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
)

// apiServer is the control plane that all tests of this package share.
var apiServer *rest.Config

func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard())
	os.Exit(lab.RunWithCluster(m, lab.ClusterOptions{}, func(c *lab.Cluster) { apiServer = c.Config }))
}

// newClient is an uncached client that rejects unknown fields, as kubectl does.
func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	c, err := client.New(apiServer, client.Options{Scheme: scheme})
	must(t, err)
	return client.WithFieldValidation(c, "Strict")
}

// newNamespace creates a namespace for one test. It is never deleted, since no namespace controller runs here.
func newNamespace(t *testing.T, c client.Client) string {
	t.Helper()
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"generateName": "api-"},
	}}
	must(t, c.Create(t.Context(), namespace))
	return namespace.GetName()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
