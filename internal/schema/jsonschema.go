package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// draft is the dialect that editors and kubeconform understand.
const draft = "http://json-schema.org/draft-07/schema#"

// Documents returns a JSON schema for each kind, by the kind, for editors and kubeconform. Unlike the API server they
// know no CEL rules.
func Documents() (map[string]map[string]any, error) {
	definitions, err := definitions()
	if err != nil {
		return nil, err
	}
	documents := map[string]map[string]any{}
	for _, definition := range definitions {
		document, err := documentOf(definition)
		if err != nil {
			return nil, fmt.Errorf("CustomResourceDefinition %s: %w", definition.Name, err)
		}
		documents[definition.Spec.Names.Kind] = document
	}
	return documents, nil
}

func documentOf(definition *apiextensionsv1.CustomResourceDefinition) (map[string]any, error) {
	version := definition.Spec.Versions[0]
	text, err := json.Marshal(version.Schema.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	plain(document)
	document["$schema"] = draft
	properties := document["properties"].(map[string]any)
	properties["apiVersion"] = map[string]any{
		"type": "string", "const": definition.Spec.Group + "/" + version.Name,
		"description": "apiVersion is the group and the version of the object.",
	}
	properties["kind"] = map[string]any{
		"type": "string", "const": definition.Spec.Names.Kind, "description": "kind is the kind of the object.",
	}
	properties["metadata"] = map[string]any{
		"type": "object", "description": "metadata is the standard object metadata.",
	}
	required, _ := document["required"].([]any)
	document["required"] = append([]any{"apiVersion", "kind", "metadata"}, required...)
	return document, nil
}

// plain turns a structural schema into a JSON schema: objects have no other fields, and what only Kubernetes
// understands is gone.
func plain(node any) {
	switch node := node.(type) {
	case map[string]any:
		for key, child := range node {
			if properties, ok := child.(map[string]any); ok && key == "properties" {
				node["additionalProperties"] = false
				for _, property := range properties { // whose names are no keywords
					plain(property)
				}
				continue
			}
			plain(child)
			if strings.HasPrefix(key, "x-kubernetes-") {
				delete(node, key)
			}
		}
	case []any:
		for _, child := range node {
			plain(child)
		}
	}
}

// Any returns one schema for a file with an object of any of the kinds of these schemas.
func Any(documents map[string]map[string]any) map[string]any {
	var kinds, versions, branches []any
	for _, kind := range slices.Sorted(maps.Keys(documents)) {
		properties := documents[kind]["properties"].(map[string]any)
		version := properties["apiVersion"].(map[string]any)["const"]
		branch := map[string]any{}
		for key, value := range documents[kind] {
			if key != "$schema" {
				branch[key] = value
			}
		}
		branches = append(branches, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"kind": map[string]any{"const": kind}}},
			"then": branch,
		})
		kinds = append(kinds, kind)
		if !slices.Contains(versions, version) {
			versions = append(versions, version)
		}
	}
	return map[string]any{
		"$schema": draft, "type": "object", "required": []any{"apiVersion", "kind"}, "allOf": branches,
		"properties": map[string]any{
			"apiVersion": map[string]any{"type": "string", "enum": versions},
			"kind":       map[string]any{"type": "string", "enum": kinds},
		},
	}
}
