package v1alpha1_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Manifests in the documentation are fenced as yaml, or lie between <<YAML and YAML in a command.
var manifests = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$|<<YAML\n(.*?)^YAML$")

// The API server accepts every manifest of the documentation, with strict field validation.
func TestDocumentationExamples(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	root := filepath.Join("..", "..")
	pages := []string{filepath.Join(root, "README.md"), filepath.Join(root, "README.zh-CN.md")}
	must(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ os.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			pages = append(pages, path)
		}
		return err
	}))
	seen := map[string]int{}
	for _, page := range pages {
		data, err := os.ReadFile(page)
		must(t, err)
		for _, match := range manifests.FindAllSubmatch(data, -1) {
			manifest := bytes.Join(match[1:], nil)
			if !bytes.Contains(manifest, []byte("apiVersion: groupgate.io/")) {
				continue
			}
			for _, object := range decodeObjects(t, manifest) {
				if object.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
					continue
				}
				seen[object.GetKind()]++
				object.SetNamespace(namespace)
				if err := c.Create(t.Context(), object, client.DryRunAll); err != nil {
					t.Errorf("%s: %s %s%s: %v", page, object.GetKind(), object.GetName(), object.GetGenerateName(), err)
				}
			}
		}
	}
	for _, kind := range []string{"IMApp", "AccountList", "GroupPolicy", "PruneRun"} {
		if seen[kind] == 0 {
			t.Errorf("no page shows an object of kind %s: the pages are not read", kind)
		}
	}
}
