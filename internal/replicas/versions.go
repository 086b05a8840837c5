package replicas

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Watch names the watch of a kind in one namespace, or in all of them if Namespace is empty.
type Watch struct{ Kind, Namespace string }

// MarshalText makes a Watch a key in JSON: "AccountList/chat".
func (w Watch) MarshalText() ([]byte, error) { return []byte(w.Kind + "/" + w.Namespace), nil }

// UnmarshalText reads what MarshalText wrote.
func (w *Watch) UnmarshalText(text []byte) error {
	kind, namespace, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf("%q is not a kind and a namespace", text)
	}
	*w = Watch{kind, namespace}
	return nil
}

// String names the objects of the watch: "AccountLists of namespace chat".
func (w Watch) String() string {
	text := w.Kind + "s"
	if stem, ok := strings.CutSuffix(w.Kind, "y"); ok {
		text = stem + "ies"
	}
	if w.Namespace == "" {
		return text
	}
	return text + " of namespace " + w.Namespace
}

// Versions has, for each watch, the resourceVersion up to which a published snapshot contains its events. A watch that
// has delivered nothing yet is absent.
//
// Versions count over the whole store of the API server, but each watch has its own: with one number for all, a watch
// that is alive would hide one that is not.
type Versions map[Watch]string

// of returns the version for the objects of a kind in a namespace, by the watch of that namespace or of all.
func (v Versions) of(kind, namespace string) string {
	if version, ok := v[Watch{kind, namespace}]; ok {
		return version
	}
	return v[Watch{Kind: kind}]
}

// reaches reports whether version is at least as new as required. A version that is missing or malformed reaches
// nothing.
func reaches(version, required string) bool {
	order, err := resourceversion.CompareResourceVersion(version, required)
	return err == nil && order >= 0
}
