package policy

import (
	"slices"
	"strings"
)

// selection is the compiled form of an [AccountSelector]: its own accounts, the lists it refers to, and prefixes. The zero
// value selects nobody.
type selection struct {
	sets     []PackedAccounts
	prefixes prefixSet
}

func (s *selection) contains(account string, hash uint64) bool {
	for _, set := range s.sets {
		if set.contains(account, hash) {
			return true
		}
	}
	return s.prefixes.contains(account)
}

func (s *selection) describe(t *transcript) {
	t.number(int64(len(s.sets)))
	for _, set := range s.sets {
		t.part(set.fingerprint())
	}
	t.number(int64(len(s.prefixes)))
	for _, prefix := range s.prefixes {
		t.text(prefix)
	}
}

// selectionPart is what a selector says by itself, before its references are looked up: what they stand for changes without a
// new version of the policy, because lists come and go, and their labels change.
type selectionPart struct {
	own      selection
	accounts int
	refs     []listRef
}

func newSelectionPart(a *AccountSelector) selectionPart {
	if a == nil {
		return selectionPart{}
	}
	part := selectionPart{own: selection{prefixes: newPrefixSet(a.Prefixes)}}
	if set := PackAccounts(a.Accounts); set != "" {
		part.own.sets = []PackedAccounts{set}
		part.accounts = set.Len()
	}
	for _, ref := range a.Lists {
		part.refs = append(part.refs, newListRef(ref))
	}
	return part
}

// bind looks the references up. missing names those that resolve to nothing, each once; they count as empty.
func (p *selectionPart) bind(namespace string, lists *listIndex) (bound selection, missing []string) {
	if len(p.refs) == 0 {
		return p.own, nil
	}
	bound = selection{sets: slices.Clone(p.own.sets), prefixes: p.own.prefixes}
	for i := range p.refs {
		r := lists.of(namespace, &p.refs[i])
		if !r.found && !slices.Contains(missing, p.refs[i].text) {
			missing = append(missing, p.refs[i].text)
		}
		bound.sets = append(bound.sets, r.sets...)
	}
	return bound, missing
}

// listRef is the compiled form of a [ListRef].
type listRef struct {
	name     string
	selector Selector
	// key is the same for references that are the same, and for no others.
	key  string
	text string
}

// selects reports whether the reference is one by labels.
func (r *listRef) selects() bool { return r.key[0] == 's' }

func nameKey(name string) string { return "n" + name }

func newListRef(ref ListRef) listRef {
	if ref.Selector == nil {
		return listRef{name: ref.Name, key: nameKey(ref.Name), text: "AccountList " + quote(ref.Name)}
	}
	compiled := listRef{text: "AccountLists selected by " + quote(abridged(ref.Selector.String()))}
	var key transcript
	for _, r := range *ref.Selector {
		compiled.selector = append(compiled.selector, Requirement{Key: r.Key, Op: r.Op, Values: slices.Clone(r.Values)})
		key.text(r.Key)
		key.text(string(r.Op))
		key.number(int64(len(r.Values)))
		for _, v := range r.Values {
			key.text(v)
		}
	}
	compiled.key = "s" + string(key)
	return compiled
}

// maxRefText bounds what a status says about one reference, in bytes; no name or ordinary selector is longer.
const maxRefText = 256

func abridged(text string) string {
	if len(text) <= maxRefText {
		return text
	}
	return strings.ToValidUTF8(text[:maxRefText], "") + "..."
}
