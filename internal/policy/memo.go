package policy

import "maps"

// memo keeps what was made of a version of an object from one build to the next, and forgets what the last build did not
// ask for.
type memo[T any] struct {
	parts map[version]*memoised[T]
	build uint64
}

type memoised[T any] struct {
	part T
	// build is the last one that asked.
	build uint64
}

// of returns what make returns, or returned for the same version in an earlier build. An object without a UID has no
// identity to remember it by.
func (m *memo[T]) of(o Object, make func() T) T {
	if o.UID == "" {
		return make()
	}
	v := o.version()
	if known, ok := m.parts[v]; ok {
		known.build = m.build
		return known.part
	}
	made := &memoised[T]{part: make(), build: m.build}
	if m.parts == nil {
		m.parts = map[version]*memoised[T]{}
	}
	m.parts[v] = made
	return made.part
}

// endBuild forgets what the build that ends did not ask for.
func (m *memo[T]) endBuild() {
	maps.DeleteFunc(m.parts, func(_ version, known *memoised[T]) bool { return known.build != m.build })
	m.build++
}
