package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/accounts"
)

// listIndex resolves the references of policies to lists. It knows the lists of each reference, so that a list that
// changes is compared with every selector once, and not every selector with every list. Its zero value is empty.
type listIndex struct {
	namespaces map[string]*listNamespace
	// stale are the references whose lists changed since they were resolved.
	stale map[*reference]struct{}
	// crowded are those to many lists for which there was no room for a union.
	crowded map[*reference]struct{}
	unions  unions
	// accounts is how many all lists have together.
	accounts int
}

// listNamespace is one namespace. References never lead out of it.
type listNamespace struct {
	lists      map[string]*labeledList
	references map[string]*reference // by their keys
	// selecting are those of the references that select by labels.
	selecting map[*reference]struct{}
}

// labeledList is a list as the compiler knows it. Labels are no part of the verdict.
type labeledList struct {
	compiledList
	labels  map[string]string
	version fingerprint
}

// withLists returns the lists of a snapshot after changes. A list of which only the labels changed stays the same
// object, by which ListVerdictsSince finds what is new.
func withLists(before compiledLists, changes map[objectName]*labeledList) compiledLists {
	changed := make(map[objectName]*compiledList, len(changes))
	for name, list := range changes {
		known := before.find(name)
		switch {
		case list == nil:
			changed[name] = nil
		case known == nil || *known != list.compiledList:
			changed[name] = &list.compiledList
		}
	}
	return before.with(changed)
}

func (l *labeledList) size() int {
	if l == nil {
		return 0
	}
	return l.Accounts
}

func (l *labeledList) selectedBy(r *reference) bool { return l != nil && r.selector.Matches(l.labels) }

// reference is one [ListRef]; all policies of a namespace that have it share it.
type reference struct {
	listRef
	namespace string
	// users counts the policies that have the reference, once for each time.
	users int
	// lists are those that a selector selects, ordered by name.
	lists []*labeledList
	resolution
	// union is an index over the sets if they are many; nil otherwise.
	union *sharedUnion
	// changed says that this build resolved the reference anew, or gave it a union.
	changed bool
}

// resolution is the accounts that a reference resolves to.
type resolution struct {
	// sets are those of the lists that have accounts, ordered by the lists' names.
	sets []accounts.Named
	// found says that at least one list exists, even if it is empty.
	found bool
	// content is a hash of the sets, versions of the objects that they are from.
	content  fingerprint
	versions ListVersions
}

func resolutionOf(lists []*labeledList) resolution {
	r := resolution{found: len(lists) > 0}
	var t transcript
	for _, l := range lists {
		r.versions.of.add(l.version)
		if l.set != "" {
			r.sets = append(r.sets, accounts.Named{Name: l.Name, Accounts: l.set})
			t.accounts(l.set)
		}
	}
	r.content = t.sum()
	return r
}

// put adds a list, or replaces the one of its name, or removes that one if list is nil.
func (x *listIndex) put(name objectName, list *labeledList) {
	n := x.namespace(name.namespace)
	before := n.lists[name.name]
	if list != nil {
		n.lists[name.name] = list
	} else {
		delete(n.lists, name.name)
	}
	x.accounts += list.size() - before.size()
	if r, ok := n.references[nameKey(name.name)]; ok {
		x.stale[r] = struct{}{}
	}
	for r := range n.selecting {
		if was, is := before.selectedBy(r), list.selectedBy(r); was || is {
			r.put(name.name, list, is)
			x.stale[r] = struct{}{}
		}
	}
	x.dropIfEmpty(name.namespace)
}

// put updates a list that the selector selects or has selected.
func (r *reference) put(name string, list *labeledList, selected bool) {
	at, known := slices.BinarySearchFunc(r.lists, name, func(l *labeledList, name string) int {
		return strings.Compare(l.Name, name)
	})
	switch {
	case known && selected:
		r.lists[at] = list
	case known:
		r.lists = slices.Delete(r.lists, at, at+1)
	case selected:
		r.lists = slices.Insert(r.lists, at, list)
	}
}

// use returns the references of a policy, in the order of refs. New ones are stale.
func (x *listIndex) use(p *parsedPolicy) []*reference {
	var references []*reference
	for ref := range p.refs() {
		n := x.namespace(p.object.Namespace)
		r, known := n.references[ref.key]
		if !known {
			r = &reference{listRef: *ref, namespace: p.object.Namespace}
			n.references[ref.key] = r
			x.stale[r] = struct{}{}
			if ref.selects() {
				n.selecting[r] = struct{}{}
				r.lists = n.selected(ref.selector)
			}
		}
		r.users++
		references = append(references, r)
	}
	return slices.Clip(references)
}

// release undoes a use.
func (x *listIndex) release(references []*reference) {
	for _, r := range references {
		r.users--
		if r.users > 0 {
			continue
		}
		n := x.namespaces[r.namespace]
		delete(n.references, r.key)
		delete(n.selecting, r)
		delete(x.stale, r)
		delete(x.crowded, r)
		x.unions.release(r.union)
		x.dropIfEmpty(r.namespace)
	}
}

// resolveStale resolves the references whose lists changed, and returns those and the ones that got a union.
func (x *listIndex) resolveStale() (changed []*reference) {
	for _, r := range slices.SortedFunc(maps.Keys(x.stale), byKey) {
		r.resolution = x.namespaces[r.namespace].resolve(r)
		r.union = x.unions.swap(r.union, &r.resolution, x.accounts)
		delete(x.crowded, r)
		if r.union == nil && len(r.sets) >= minUnited {
			x.crowded[r] = struct{}{}
		}
		r.changed = true
		changed = append(changed, r)
	}
	clear(x.stale)
	// The changes may have made room.
	for _, r := range slices.SortedFunc(maps.Keys(x.crowded), byKey) {
		if r.union = x.unions.swap(nil, &r.resolution, x.accounts); r.union != nil {
			delete(x.crowded, r)
			r.changed = true
			changed = append(changed, r)
		}
	}
	return changed
}

// byKey orders references, so that which ones have a union does not depend on chance if there is no room for all.
func byKey(r, s *reference) int {
	return cmp.Or(strings.Compare(r.namespace, s.namespace), strings.Compare(r.key, s.key))
}

func (n *listNamespace) resolve(r *reference) resolution {
	if r.selects() {
		return resolutionOf(r.lists)
	}
	if l, found := n.lists[r.name()]; found {
		return resolutionOf([]*labeledList{l})
	}
	return resolutionOf(nil)
}

// selected returns the lists that a selector selects, ordered by name.
func (n *listNamespace) selected(selector Selector) []*labeledList {
	var selected []*labeledList
	for _, l := range n.lists {
		if selector.Matches(l.labels) {
			selected = append(selected, l)
		}
	}
	slices.SortFunc(selected, func(l, m *labeledList) int { return strings.Compare(l.Name, m.Name) })
	return selected
}

func (x *listIndex) namespace(name string) *listNamespace {
	n, ok := x.namespaces[name]
	if ok {
		return n
	}
	if x.namespaces == nil {
		x.namespaces = map[string]*listNamespace{}
		x.stale = map[*reference]struct{}{}
		x.crowded = map[*reference]struct{}{}
	}
	n = &listNamespace{
		lists:      map[string]*labeledList{},
		references: map[string]*reference{},
		selecting:  map[*reference]struct{}{},
	}
	x.namespaces[name] = n
	return n
}

func (x *listIndex) dropIfEmpty(namespace string) {
	if n := x.namespaces[namespace]; len(n.lists)+len(n.references) == 0 {
		delete(x.namespaces, namespace)
	}
}
