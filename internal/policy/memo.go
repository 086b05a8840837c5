package policy

import "maps"

// memo keeps what was made of a version of an object from one build to the next, and forgets what the last build did not
// ask for.
type memo[T any] struct {
	byUID map[string]*memoised[T]
	build uint64
}

type memoised[T any] struct {
	name       objectName
	generation int64
	part       T
	// build is the last one that asked.
	build uint64
}

// of returns what compile returns, or returned for the same version in an earlier build: the same UID and generation always
// have the same spec. An object without a UID has no identity to remember it by.
func (m *memo[T]) of(o *Object, compile func() T) T {
	if o.UID == "" {
		return compile()
	}
	// The name is compared, too, so that objects that share a UID, which Kubernetes rules out, do not share parts.
	known, ok := m.byUID[o.UID]
	if ok && known.generation == o.Generation && known.name == o.objectName() {
		known.build = m.build
		return known.part
	}
	made := &memoised[T]{name: o.objectName(), generation: o.Generation, part: compile(), build: m.build}
	if m.byUID == nil {
		m.byUID = map[string]*memoised[T]{}
	}
	m.byUID[o.UID] = made
	return made.part
}

// endBuild forgets what the build that ends did not ask for.
func (m *memo[T]) endBuild() {
	maps.DeleteFunc(m.byUID, func(_ string, known *memoised[T]) bool { return known.build != m.build })
	m.build++
}
