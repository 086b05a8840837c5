package v1alpha1_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Manifests in the documentation are fenced as yaml, or lie between <<YAML and YAML in a command.
var manifests = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$|<<YAML\n(.*?)^YAML$")

// The API server accepts every manifest of the documentation, with strict field validation.
func TestDocumentationExamples(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	for page, want := range map[string]int{ // the number of objects on the page
		"README.md":                 3,
		"docs/kinds/accountlist.md": 1,
		"docs/kinds/grouppolicy.md": 1,
		"docs/kinds/imapp.md":       2,
		"docs/kinds/prunerun.md":    1,
	} {
		t.Run(page, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("..", "..", page))
			must(t, err)
			got := 0
			for _, match := range manifests.FindAllSubmatch(data, -1) {
				for _, object := range decodeObjects(t, bytes.Join(match[1:], nil)) {
					got++
					object.SetNamespace(namespace)
					if err := c.Create(t.Context(), object, client.DryRunAll); err != nil {
						t.Errorf("%s %s%s: %v", object.GetKind(), object.GetName(), object.GetGenerateName(), err)
					}
				}
			}
			if got != want {
				t.Errorf("%d objects, want %d", got, want)
			}
		})
	}
}

// Pages that are not in the list above contain no manifest.
func TestDocumentationExamplesAreComplete(t *testing.T) {
	known := map[string]bool{"accountlist.md": true, "grouppolicy.md": true, "imapp.md": true, "prunerun.md": true}
	must(t, filepath.WalkDir(filepath.Join("..", "..", "docs"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" || known[entry.Name()] {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range manifests.FindAll(data, -1) {
			if strings.Contains(string(match), "apiVersion: groupgate.io/") {
				t.Errorf("%s shows an object: add the page to TestDocumentationExamples", path)
			}
		}
		return nil
	}))
}
