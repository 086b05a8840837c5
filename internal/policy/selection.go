package policy

import (
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/accounts"
)

// selection is the compiled form of an [AccountSelector]: its own accounts, the lists that it refers to, and prefixes.
// The zero value selects no account.
type selection struct {
	// set is one of the sources and most often the only one. It is stored here because a pointer to it would cost
	// another cache miss, of which a decision among thousands of policies consists.
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

// parsedSelector is an [AccountSelector] before its references are resolved: they resolve to something else when lists
// come and go or their labels change, without a new version of the policy.
type parsedSelector struct {
	own sources
	// accounts is how many the selector names itself.
	accounts int
	refs     []listRef
}

// noSelector stands for an absent selector, so that the many policies without one share it. It is never written to.
var noSelector = &parsedSelector{}

func parseSelector(a *AccountSelector) *parsedSelector {
	if a == nil {
		return noSelector
	}
	parsed := &parsedSelector{own: sources{prefixes: accounts.NewPrefixes(a.Prefixes)}}
	if set := accounts.NewSet(a.Accounts); set != "" {
		parsed.own.sets = []accounts.Set{set}
		parsed.accounts = set.Len()
	}
	for _, ref := range a.Lists {
		parsed.refs = append(parsed.refs, newListRef(ref))
	}
	return parsed
}

// collect joins the selector's own accounts with those of its references, which are in the order of refs and resolved
// already, and writes to t what they resolve to. missing names those that resolve to no list, each once; they count as
// empty.
func (p *parsedSelector) collect(references []*reference, t *transcript) (found selection, missing []string) {
	all := p.own
	all.sets = slices.Clone(all.sets)
	for _, r := range references {
		if !r.found && !slices.Contains(missing, r.String()) {
			missing = append(missing, r.String())
		}
		t.hash(r.content)
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
	// key is equal for equal references, and for no others.
	key      string
	selector Selector
}

func nameKey(name string) string { return "n" + name }

// selects reports whether the reference selects by labels.
func (r *listRef) selects() bool { return r.key[0] == 's' }

// name is the list's, of a reference by name.
func (r *listRef) name() string { return r.key[1:] }

// String is how a status names the reference.
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

// maxRefText bounds the name of one reference in a status, in bytes; no list's name or ordinary selector is longer.
const maxRefText = 256

func abridged(text string) string {
	if len(text) <= maxRefText {
		return text
	}
	return strings.ToValidUTF8(text[:maxRefText], "") + "..."
}

func (t *transcript) selector(p *parsedSelector) {
	t.number(int64(len(p.own.sets)))
	for _, set := range p.own.sets {
		t.accounts(set)
	}
	t.number(int64(len(p.own.prefixes)))
	for _, prefix := range p.own.prefixes {
		t.text(prefix)
	}
	t.number(int64(len(p.refs)))
	for i := range p.refs {
		t.text(p.refs[i].key)
	}
}
