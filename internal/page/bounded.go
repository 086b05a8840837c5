package page

// bounded is a map that forgets: of the keys that were used, it has at least the last n and at most 2n.
type bounded[V any] struct {
	n          int
	young, old map[string]V
}

func (b *bounded[V]) get(key string) (value V, ok bool) {
	if value, ok = b.young[key]; ok {
		return value, true
	}
	if value, ok = b.old[key]; ok {
		b.put(key, value)
	}
	return value, ok
}

func (b *bounded[V]) put(key string, value V) {
	if b.young == nil || len(b.young) >= b.n {
		b.old, b.young = b.young, map[string]V{}
	}
	b.young[key] = value
}
