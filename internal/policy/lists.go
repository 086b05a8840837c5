package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/accounts"
)

// listIndex knows the lists, what the references of policies stand for, and so which policies a change of a list touches. Its zero
// value is empty.
type listIndex struct {
	namespaces map[string]*listNamespace
	// stale are the references that may stand for something else since they were resolved.
	stale map[*reference]struct{}
	// crowded are those that stand for many lists and found no room for a union.
	crowded map[*reference]struct{}
	unions  unions
	// accounts is how many all lists have together.
	accounts int
}

// listNamespace is one namespace. References never lead out of it.
type listNamespace struct {
	lists      map[string]*indexedList
	references map[string]*reference // by their keys
	// selecting are those of the references that select by labels.
	selecting map[*reference]struct{}
}

type indexedList struct {
	name   string
	labels map[string]string
	set    accounts.Set
}

// reference is one [ListRef]; all policies of a namespace that have it share it.
type reference struct {
	listRef
	namespace string
	// policies are the names of those that have the reference, once for each time. Nearly always it is one, and a map of one costs a
	// quarter of all that is kept of a policy.
	policies []string
	// lists are those that a selector selects, in the order of their names.
	lists []*indexedList
	resolved
	// union is an index over the sets where they are many; nil otherwise.
	union *sharedUnion
}

// resolved is what a reference stands for.
type resolved struct {
	// sets are those of the lists that have accounts, in the order of the lists' names.
	sets []accounts.Named
	// found says that at least one list exists, be it an empty one.
	found bool
	// content stands for the sets.
	content fingerprint
}

// put puts a list in the place of that of its name, or takes that away if list is nil.
func (x *listIndex) put(name objectName, list *indexedList) {
	n := x.namespace(name.namespace)
	before := n.lists[name.name]
	if list != nil {
		n.lists[name.name] = list
	} else {
		delete(n.lists, name.name)
	}
	x.accounts += list.len() - before.len()
	if r, ok := n.references[nameKey(name.name)]; ok {
		x.stale[r] = struct{}{}
	}
	for r := range n.selecting {
		if was, is := before.selectedBy(r), list.selectedBy(r); was || is {
			r.put(name.name, list, is)
			x.stale[r] = struct{}{}
		}
	}
	x.tidy(name.namespace)
}

// put notes what has become of a list that the selector selects, or has selected.
func (r *reference) put(name string, list *indexedList, selected bool) {
	at, known := slices.BinarySearchFunc(r.lists, name, func(l *indexedList, name string) int { return strings.Compare(l.name, name) })
	switch {
	case known && selected:
		r.lists[at] = list
	case known:
		r.lists = slices.Delete(r.lists, at, at+1)
	case selected:
		r.lists = slices.Insert(r.lists, at, list)
	}
}

func (l *indexedList) selectedBy(r *reference) bool { return l != nil && r.selector.Matches(l.labels) }

// of returns what a reference in use stands for.
func (x *listIndex) of(namespace string, ref *listRef) *reference {
	return x.namespaces[namespace].references[ref.key]
}

// use notes that a policy has its references. What is new of them is stale.
func (x *listIndex) use(p *policyPart) {
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
		r.policies = append(r.policies, p.object.Name)
	}
}

// release takes back a use.
func (x *listIndex) release(p *policyPart) {
	for ref := range p.refs() {
		n := x.namespace(p.object.Namespace)
		r := n.references[ref.key]
		at, last := slices.Index(r.policies, p.object.Name), len(r.policies)-1
		r.policies[at] = r.policies[last]
		r.policies = slices.Delete(r.policies, last, last+1)
		if len(r.policies) == 0 {
			delete(n.references, ref.key)
			delete(n.selecting, r)
			delete(x.stale, r)
			delete(x.crowded, r)
			x.unions.release(r.union)
			x.tidy(p.object.Namespace)
		}
	}
}

// resolveStale brings all references up to date, and returns the policies that have one that was not.
func (x *listIndex) resolveStale() []objectName {
	var policies []objectName
	touch := func(r *reference) {
		for _, policy := range r.policies {
			policies = append(policies, objectName{r.namespace, policy})
		}
	}
	for _, r := range slices.SortedFunc(maps.Keys(x.stale), byKey) {
		r.resolved = x.namespaces[r.namespace].resolve(r)
		r.union = x.unions.exchange(r.union, &r.resolved, x.accounts)
		x.crowd(r)
		touch(r)
	}
	clear(x.stale)
	// What has changed may have left room.
	for _, r := range slices.SortedFunc(maps.Keys(x.crowded), byKey) {
		if r.union = x.unions.exchange(nil, &r.resolved, x.accounts); r.union != nil {
			delete(x.crowded, r)
			touch(r)
		}
	}
	return policies
}

func (x *listIndex) crowd(r *reference) {
	delete(x.crowded, r)
	if r.union == nil && len(r.sets) >= minUnited {
		x.crowded[r] = struct{}{}
	}
}

// byKey orders references, so that which ones have a union is no matter of chance where not all can.
func byKey(r, s *reference) int {
	return cmp.Or(strings.Compare(r.namespace, s.namespace), strings.Compare(r.key, s.key))
}

func (n *listNamespace) resolve(r *reference) resolved {
	if r.selects() {
		return newResolved(r.lists)
	}
	if l, found := n.lists[r.name()]; found {
		return newResolved([]*indexedList{l})
	}
	return newResolved(nil)
}

// selected returns the lists that a selector selects, in the order of their names.
func (n *listNamespace) selected(selector Selector) []*indexedList {
	var selected []*indexedList
	for _, l := range n.lists {
		if selector.Matches(l.labels) {
			selected = append(selected, l)
		}
	}
	slices.SortFunc(selected, func(l, m *indexedList) int { return strings.Compare(l.name, m.name) })
	return selected
}

func newResolved(lists []*indexedList) resolved {
	r := resolved{found: len(lists) > 0}
	var t transcript
	for _, l := range lists {
		if l.set != "" {
			r.sets = append(r.sets, accounts.Named{Name: l.name, Accounts: l.set})
			t.part(fingerprint(l.set.Fingerprint()))
		}
	}
	r.content = t.sum()
	return r
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
	n = &listNamespace{lists: map[string]*indexedList{}, references: map[string]*reference{}, selecting: map[*reference]struct{}{}}
	x.namespaces[name] = n
	return n
}

// tidy forgets a namespace that holds nothing.
func (x *listIndex) tidy(name string) {
	if n := x.namespaces[name]; len(n.lists)+len(n.references) == 0 {
		delete(x.namespaces, name)
	}
}

func listContent(l *List) fingerprint {
	var t transcript
	t.number(int64(len(l.Labels)))
	for _, key := range slices.Sorted(maps.Keys(l.Labels)) {
		t.text(key)
		t.text(l.Labels[key])
	}
	t.part(fingerprint(l.Accounts.Fingerprint()))
	return t.sum()
}
