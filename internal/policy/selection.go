package policy

import (
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/accounts"
)

// selection is the compiled form of an [AccountSelector]: its own accounts, the lists it refers to, and prefixes. The zero
// value selects nobody.
type selection struct {
	// set is one of the sources and most often the only one: standing here it is found without another look at memory, which
	// is what a decision among thousands of policies costs.
	set accounts.Set
	// more are the other sources; nil if there are none.
	more *sources
}

// sources are what a selection is made of.
type sources struct {
	sets     []accounts.Set
	unions   []*accounts.Union
	prefixes accounts.Prefixes
}

func (s sources) selection() selection {
	var made selection
	if len(s.sets) > 0 {
		made.set, s.sets = s.sets[0], s.sets[1:]
	}
	if len(s.sets)+len(s.unions)+len(s.prefixes) > 0 {
		made.more = &s
	}
	return made
}

func (s *selection) contains(account string, hash uint64) bool {
	return s.set.Contains(account, hash) || s.more != nil && s.more.contain(account, hash)
}

func (s *sources) contain(account string, hash uint64) bool {
	for _, u := range s.unions {
		if u.Contains(account, hash) {
			return true
		}
	}
	for _, set := range s.sets {
		if set.Contains(account, hash) {
			return true
		}
	}
	return s.prefixes.Contains(account)
}

func (s *sources) describe(t *transcript) {
	t.number(int64(len(s.sets)))
	for _, set := range s.sets {
		t.part(fingerprint(set.Fingerprint()))
	}
	t.number(int64(len(s.prefixes)))
	for _, prefix := range s.prefixes {
		t.text(prefix)
	}
}

// selectionPart is what a selector says by itself, before its references are looked up: what they stand for changes without a
// new version of the policy, because lists come and go, and their labels change.
type selectionPart struct {
	own      sources
	accounts int
	refs     []listRef
}

// noSelection is what most policies have in place of one. It is never written.
var noSelection = &selectionPart{}

func newSelectionPart(a *AccountSelector) *selectionPart {
	if a == nil {
		return noSelection
	}
	part := &selectionPart{own: sources{prefixes: accounts.NewPrefixes(a.Prefixes)}}
	if set := accounts.NewSet(a.Accounts); set != "" {
		part.own.sets = []accounts.Set{set}
		part.accounts = set.Len()
	}
	for _, ref := range a.Lists {
		part.refs = append(part.refs, newListRef(ref))
	}
	return part
}

// bind looks the references up, and describes what they stand for. missing names those that resolve to nothing, each once;
// they count as empty.
func (p *selectionPart) bind(namespace string, lists *listIndex, t *transcript) (bound selection, missing []string) {
	all := p.own
	all.sets = slices.Clone(all.sets)
	for i := range p.refs {
		r := lists.of(namespace, &p.refs[i])
		if !r.found && !slices.Contains(missing, p.refs[i].String()) {
			missing = append(missing, p.refs[i].String())
		}
		t.part(r.content)
		if r.union != nil {
			all.unions = append(all.unions, r.union.Union)
			continue
		}
		for _, set := range r.sets {
			all.sets = append(all.sets, set.Accounts)
		}
	}
	return all.selection(), missing
}

// listRef is the compiled form of a [ListRef].
type listRef struct {
	// key is the same for references that are the same, and for no others.
	key      string
	selector Selector
}

func nameKey(name string) string { return "n" + name }

// selects reports whether the reference is one by labels.
func (r *listRef) selects() bool { return r.key[0] == 's' }

// name is that of the list, of a reference by name.
func (r *listRef) name() string { return r.key[1:] }

// String is what a status calls the reference.
func (r *listRef) String() string {
	if r.selects() {
		return "AccountLists selected by " + quote(abridged(r.selector.String()))
	}
	return "AccountList " + quote(r.name())
}

func newListRef(ref ListRef) listRef {
	if ref.Selector == nil {
		return listRef{key: nameKey(ref.Name)}
	}
	var compiled listRef
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
