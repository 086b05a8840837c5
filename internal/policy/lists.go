package policy

import (
	"maps"
	"slices"
)

// listIndex finds the lists that policies refer to. It lives for one build.
type listIndex struct {
	byName      map[objectName]*indexedList
	byNamespace map[string][]*indexedList
	// selected remembers what a selector selects, since many policies share one.
	selected map[selectorKey]*selectedLists
}

type indexedList struct {
	labels map[string]string
	set    PackedAccounts
}

type selectorKey struct{ namespace, key string }

type selectedLists struct {
	sets  []PackedAccounts
	found bool
}

func newListIndex(capacity int) *listIndex {
	return &listIndex{
		byName:      make(map[objectName]*indexedList, capacity),
		byNamespace: map[string][]*indexedList{},
		selected:    map[selectorKey]*selectedLists{},
	}
}

// add must be called in the order of names, so that what a selector selects has an order.
func (x *listIndex) add(l *List) {
	indexed := &indexedList{labels: l.Labels, set: l.Accounts}
	x.byName[l.objectName()] = indexed
	x.byNamespace[l.Namespace] = append(x.byNamespace[l.Namespace], indexed)
}

// resolve returns the sets that a reference stands for; found says that at least one list exists, be it an empty one.
func (x *listIndex) resolve(namespace string, ref *listRef) (sets []PackedAccounts, found bool) {
	if ref.key == "" {
		l, found := x.byName[objectName{namespace, ref.name}]
		if !found || l.set == "" {
			return nil, found
		}
		return []PackedAccounts{l.set}, true
	}
	key := selectorKey{namespace, ref.key}
	selected, again := x.selected[key]
	if !again {
		selected = x.selects(namespace, ref.selector)
		x.selected[key] = selected
	}
	return selected.sets, selected.found
}

func (x *listIndex) selects(namespace string, selector Selector) *selectedLists {
	selected := &selectedLists{}
	for _, l := range x.byNamespace[namespace] {
		if !selector.Matches(l.labels) {
			continue
		}
		selected.found = true
		if l.set != "" {
			selected.sets = append(selected.sets, l.set)
		}
	}
	return selected
}

func listContent(l *List) fingerprint {
	var t transcript
	t.number(int64(len(l.Labels)))
	for _, key := range slices.Sorted(maps.Keys(l.Labels)) {
		t.text(key)
		t.text(l.Labels[key])
	}
	t.part(l.Accounts.fingerprint())
	return t.sum()
}
