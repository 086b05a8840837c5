package informers

import (
	"maps"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// These bound what an interner itself holds. What thousands say alike is short.
const (
	mostInterned    = 4096
	longestInterned = 256 // bytes
)

// interner lets objects share what thousands of them say alike: every one that is decoded brings its own copies of its namespace,
// of its reasons, of the defaults of its fields. Its zero value is ready. It is for the transforms of the cache, which run at the
// same time for several kinds.
type interner struct {
	mu     sync.Mutex
	texts  map[string]string
	labels map[string]map[string]string
}

// text returns a string that is equal to s.
func (n *interner) text(s string) string {
	if len(s) > longestInterned {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return remember(&n.texts, s, s)
}

// shareText is text in place.
func shareText[S ~string](n *interner, s *S) { *s = S(n.text(string(*s))) }

// labelSet returns a map that is equal to labels; nobody may write to it.
func (n *interner) labelSet(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		// A label holds neither of the two.
		key.WriteString(name + "=" + labels[name] + ",")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return remember(&n.labels, key.String(), labels)
}

// remember returns what is known under the key, or makes value known. When too much is known all is forgotten; what has been
// handed out goes on being shared by those who have it.
func remember[V any](known *map[string]V, key string, value V) V {
	if v, ok := (*known)[key]; ok {
		return v
	}
	if *known == nil || len(*known) == mostInterned {
		*known = map[string]V{}
	}
	(*known)[key] = value
	return value
}

// conditions returns conditions without room for more, whose texts are shared.
func (n *interner) conditions(conditions []metav1.Condition) []metav1.Condition {
	conditions = exact(conditions)
	for i := range conditions {
		c := &conditions[i]
		shareText(n, &c.Type)
		shareText(n, &c.Status)
		shareText(n, &c.Reason)
		shareText(n, &c.Message)
	}
	return conditions
}

// exact returns s without room for more. Decoding makes room for four elements at least.
func exact[E any](s []E) []E {
	if cap(s) == len(s) {
		return s
	}
	return append(make([]E, 0, len(s)), s...)
}
