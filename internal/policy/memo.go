package policy

import "maps"

// memo keeps what was made of a version of an object from one build to the next, and forgets what the last build did not
// ask for.
type memo[T any] struct {
	byUID map[string]*memoised[T]
	build uint64
}

// version tells the versions of an object apart: by generation, or, where status counts, by resource version. The name is
// compared, too, so that objects that share a UID, which Kubernetes rules out, do not share parts.
type version struct {
	name       objectName
	generation int64
	resource   string
}

func (o *Object) version() version { return version{name: o.objectName(), generation: o.Generation} }

type memoised[T any] struct {
	version version
	part    T
	// build is the last one that asked.
	build uint64
}

// of returns what compile returns, or returned for the same version in an earlier build: the same UID and version always
// hold the same. An object without a UID has no identity to remember it by.
func (m *memo[T]) of(uid string, v version, compile func() T) T {
	if uid == "" {
		return compile()
	}
	known, ok := m.byUID[uid]
	if ok && known.version == v {
		known.build = m.build
		return known.part
	}
	made := &memoised[T]{version: v, part: compile(), build: m.build}
	if m.byUID == nil {
		m.byUID = map[string]*memoised[T]{}
	}
	m.byUID[uid] = made
	return made.part
}

// endBuild forgets what the build that ends did not ask for.
func (m *memo[T]) endBuild() {
	maps.DeleteFunc(m.byUID, func(_ string, known *memoised[T]) bool { return known.build != m.build })
	m.build++
}
