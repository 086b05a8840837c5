package manifests

import (
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// LineOf returns the line of a field, such as spec.groups[0].type, in the file of a document: that of the deepest part
// of the path that is there. It is 0 if the document comes from no file, and the first line of the document if it is no
// YAML.
func (d *Document) LineOf(field string) int {
	root := d.Node()
	if root == nil {
		return d.Line
	}
	line := root.Line
	node := root
	for _, step := range steps.FindAllString(field, -1) {
		child, at := childOf(node, step)
		if child == nil {
			break
		}
		node, line = child, at
	}
	return d.Line + line - 1
}

// steps are the parts of a path: a name, or an index in brackets.
var steps = regexp.MustCompile(`[^.\[\]]+|\[[^\]]*\]`)

// childOf returns the value of a field or of an index, and the line where it begins.
func childOf(node *yaml.Node, step string) (*yaml.Node, int) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1], node.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		i, err := strconv.Atoi(strings.Trim(step, "[]"))
		if err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i].Line
		}
	}
	return nil, 0
}

// Node parses a document that comes from a file; nil if it does not, or is no YAML.
func (d *Document) Node() *yaml.Node {
	var document yaml.Node
	if d.Line == 0 || yaml.Unmarshal(d.Text, &document) != nil || len(document.Content) == 0 {
		return nil
	}
	return document.Content[0]
}
