package chart

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/groupgate/groupgate/internal/lab"
)

const namespace = "groupgate-system"

var (
	cluster *lab.Cluster
	// The tools that the modules below hack/tools pin.
	helm, kubeconform, kubeScore string
)

func TestMain(m *testing.M) {
	// The tests mostly wait for the API server, so more of them run side by side than there are CPUs.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	for module, tools := range map[string]map[string]*string{
		"helm":       {"helm": &helm, "kubeconform": &kubeconform},
		"kube-score": {"kube-score": &kubeScore},
	} {
		for name, path := range tools {
			var err error
			if *path, err = lab.Tool(module, name); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(lab.RunWithCluster(m, lab.ClusterOptions{}, func(c *lab.Cluster) { cluster = c }))
}

// run returns the standard output of a tool, and an error with its standard error.
func run(ctx context.Context, tool string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(tool), args[0], err, stderr.String())
	}
	return stdout.String(), nil
}

// chart is a copy of the chart. The copy has go test notice every change of it: helm reads it in another process.
func chart(t *testing.T) string {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "groupgate")
	if err := os.CopyFS(directory, os.DirFS("groupgate")); err != nil {
		t.Fatal(err)
	}
	return directory
}

// render is what the chart makes of a file of values on the cluster of these tests.
func render(t *testing.T, chart, values string) (string, error) {
	t.Helper()
	return run(t.Context(), helm, "template", "groupgate", chart, "--namespace="+namespace, "--values="+values,
		"--kube-version=1.37.0")
}

func objects(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := lab.Objects(manifests)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// valueSets are the files in testdata/FOLDER by name, and what their first line says.
func valueSets(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		if !strings.HasPrefix(first, "# ") {
			t.Errorf("%s: the first line is no comment", file)
		}
		sets[file] = strings.TrimPrefix(first, "# ")
	}
	return sets
}
