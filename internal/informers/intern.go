package informers

import (
	"maps"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// These bound what an interner itself holds. Texts that thousands of objects have in common are short.
const (
	mostInterned    = 4096
	longestInterned = 256 // bytes
)

// interner stores equal strings and label sets of different objects once: every decoded object has its own copies of
// its namespace, its reasons and the defaults of its fields. Its zero value is ready. It is safe for concurrent use,
// since the informers of several kinds run at the same time.
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

// labelSet returns a map that is equal to labels. It is shared and must not be changed.
func (n *interner) labelSet(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		// Labels contain neither = nor a comma.
		key.WriteString(name + "=" + labels[name] + ",")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return remember(&n.labels, key.String(), labels)
}

// remember returns the value known under the key, or makes value known. When the map is full it is dropped, so that it
// stays bounded; values that objects share already stay shared.
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

// conditions returns conditions with shared texts and without spare capacity.
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

// exact returns s without spare capacity. Decoding allocates at least four elements.
func exact[E any](s []E) []E {
	if cap(s) == len(s) {
		return s
	}
	return append(make([]E, 0, len(s)), s...)
}
