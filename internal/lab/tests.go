package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// CRDs is the folder with the CustomResourceDefinitions.
func CRDs() string { return filepath.Join(Root(), "config", "crd", "bases") }

// RunTests is for TestMain: it runs the tests of a package against a control plane of their own that has the CustomResourceDefinitions
// installed, and returns the exit code. config is that of an admin.
func RunTests(run func(config *rest.Config) int) int {
	code, err := runTests(run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func runTests(run func(*rest.Config) int) (code int, err error) {
	dir, err := os.MkdirTemp("", "groupgate-test-")
	if err != nil {
		return 0, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	plane, err := StartControlPlane(dir, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	if _, err := envtest.InstallCRDs(plane.Config, envtest.CRDInstallOptions{Paths: []string{CRDs()}, ErrorIfPathMissing: true}); err != nil {
		return 0, fmt.Errorf("install the CustomResourceDefinitions: %w", err)
	}
	return run(plane.Config), nil
}
