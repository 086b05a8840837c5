package lint

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// checkText reports what is gone once a manifest has been decoded: fields without a value, and values that a comment
// cuts off.
func (c *checking) checkText(at place, object *unstructured.Unstructured) {
	for _, field := range nullsIn("spec", object.Object["spec"]) {
		if strings.HasSuffix(field, ".allow") {
			c.add(at, Warning, field, "%s has no value, which counts as absent: there is no gate. "+
				"To admit nobody, write allow: {}. Server-side apply refuses it", field)
			continue
		}
		c.add(at, Warning, field, "%s has no value, which counts as absent: remove it, or give it a value. "+
			"Server-side apply refuses it", field)
	}
	for _, cut := range cutOff(at.document) {
		c.Problems = append(c.Problems, Problem{
			File: at.document.File, Line: cut.line, Object: at.object, Severity: Warning,
			Message: fmt.Sprintf("the value is %q, since a # after a blank begins a comment: "+
				"quote the value if the # belongs to it, or put a blank after it", cut.value),
		})
	}
}

// nullsIn returns the paths of the fields that are null, sorted.
func nullsIn(path string, value any) (found []string) {
	switch value := value.(type) {
	case nil:
		return []string{path}
	case map[string]any:
		for key, child := range value {
			found = append(found, nullsIn(path+"."+key, child)...)
		}
	case []any:
		for i, child := range value {
			found = append(found, nullsIn(fmt.Sprintf("%s[%d]", path, i), child)...)
		}
	}
	slices.Sort(found)
	return found
}
