package lint

import (
	"regexp"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/groupgate/groupgate/internal/manifests"
)

// cut is a value that ends where a comment begins.
type cut struct {
	value string
	line  int
}

// cutOff returns the values that are followed by a # without a blank after it: group ids hold a #, and comments of
// people begin with a blank.
func cutOff(d *manifests.Document) (found []cut) {
	if !cutting.Match(d.Text) {
		return nil
	}
	var visit func(node *yaml.Node)
	visit = func(node *yaml.Node) {
		quoted := node.Style & (yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle)
		if node.Kind == yaml.ScalarNode && quoted == 0 && cutting.MatchString(" "+node.LineComment) {
			found = append(found, cut{node.Value, d.Line + node.Line - 1})
		}
		for _, child := range node.Content {
			visit(child)
		}
	}
	if root := d.Node(); root != nil {
		visit(root)
	}
	return found
}

// cutting is a # that begins a comment, with neither a blank nor another # after it.
var cutting = regexp.MustCompile(`[ \t]#[^\s#!]`)
