package policy

// ListVersions is which versions of which lists there are, as a hash that does not depend on their order. Its zero
// value is none.
type ListVersions struct{ of multiset }

// Add adds a list.
func (v *ListVersions) Add(name, uid string, generation int64) {
	v.of.add(versionOf(name, uid, generation))
}

func versionOf(name, uid string, generation int64) fingerprint {
	var t transcript
	t.text(name)
	t.text(uid)
	t.number(generation)
	return t.sum()
}

// ListUse is a reference of a protection or of a gate, and what the snapshot resolved it to: the snapshot is behind the
// API server if other versions of lists are found there, or other lists.
type ListUse struct {
	// Name is the name of the list; empty if the reference selects lists by labels.
	Name string
	// Selector selects lists by labels, as kubectl spells it; an empty one selects all lists of the namespace.
	Selector string
	// Versions are those in the snapshot.
	Versions ListVersions
}

func (r *listRef) use(versions ListVersions) ListUse {
	if r.selects() {
		return ListUse{Selector: r.selector.String(), Versions: versions}
	}
	return ListUse{Name: r.name(), Versions: versions}
}
