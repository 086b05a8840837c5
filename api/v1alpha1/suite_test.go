package v1alpha1_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// apiServer is the control plane that all tests of this package share.
var apiServer *rest.Config

func TestMain(m *testing.M) {
	code, err := withControlPlane(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withControlPlane(run func() int) (code int, err error) {
	logf.SetLogger(logr.Discard())
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = filepath.Join("..", "..", "bin", "k8s")
	}
	if _, err := os.Stat(filepath.Join(assets, "kube-apiserver")); err != nil {
		return 1, fmt.Errorf("no control plane to test against, run make control-plane: %w", err)
	}
	environment := &envtest.Environment{
		BinaryAssetsDirectory: assets,
		CRDDirectoryPaths:     []string{crdDirectory},
		ErrorIfCRDPathMissing: true,
	}
	apiServer, err = environment.Start()
	if err != nil {
		return 1, fmt.Errorf("start the control plane: %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	return run(), nil
}

var crdDirectory = filepath.Join("..", "..", "config", "crd", "bases")

// newClient talks to the API server directly, and refuses unknown fields as kubectl does.
func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	c, err := client.New(apiServer, client.Options{Scheme: scheme})
	must(t, err)
	return client.WithFieldValidation(c, "Strict")
}

// newNamespace makes a namespace for one test. It is never deleted: no namespace controller runs here.
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
