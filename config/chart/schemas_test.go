package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// definition is a schema in the OpenAPI document of the API server.
type definition map[string]any

// schemas writes JSON schemas of all kinds that the API server knows, for kubeconform: those that it would download are
// made from the same document.
func schemas(t *testing.T) (directory string) {
	t.Helper()
	text, err := cluster.Kubectl(t.Context(), "", "get", "--raw", "/openapi/v2")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Definitions map[string]definition `json:"definitions"`
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	// Two types that are written as text or as a number.
	for _, name := range []string{"util.intstr.IntOrString", "api.resource.Quantity"} {
		document.Definitions["io.k8s.apimachinery.pkg."+name]["type"] = []string{"string", "number"}
	}
	directory = t.TempDir()
	write := func(name string, content any) {
		data, err := json.Marshal(content)
		if err == nil {
			err = os.WriteFile(filepath.Join(directory, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, schema := range document.Definitions {
		strict(map[string]any(schema))
		kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
		for _, kind := range kinds {
			gvk, _ := kind.(map[string]any)
			version, _ := gvk["version"].(string)
			kind, _ := gvk["kind"].(string)
			write(strings.ToLower(kind)+"-"+version+".json", map[string]string{"$ref": "all.json#/definitions/" + name})
		}
	}
	write("all.json", document)
	return directory
}

// strict refuses fields that a schema does not name.
func strict(schema any) {
	switch schema := schema.(type) {
	case map[string]any:
		_, open := schema["x-kubernetes-preserve-unknown-fields"]
		if _, named := schema["properties"].(map[string]any); named && !open && schema["additionalProperties"] == nil {
			schema["additionalProperties"] = false
		}
		for _, inner := range schema {
			strict(inner)
		}
	case []any:
		for _, inner := range schema {
			strict(inner)
		}
	}
}
