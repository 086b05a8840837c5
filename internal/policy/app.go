package policy

import (
	"iter"
	"slices"
)

// CompiledApp is an app that holds its SDKAppID, together with the policies that name it. It never changes.
type CompiledApp struct {
	object         Object
	sdkAppID       uint64
	adminAccount   string
	authentication Authentication
	// tokens is a function because package fmt walks into every unexported field, past all methods that hide a secret, but
	// cannot look into a function.
	tokens           func() []Token
	rejectUnmatched  bool
	pruningSuspended bool
	groups           *groupIndex
}

func newCompiledApp(a *App) *CompiledApp {
	tokens := a.usableTokens()
	return &CompiledApp{
		object:           a.Object.comparable(),
		sdkAppID:         a.SDKAppID,
		adminAccount:     a.AdminAccount,
		authentication:   a.Authentication,
		tokens:           func() []Token { return tokens },
		rejectUnmatched:  a.RejectUnmatched,
		pruningSuspended: a.PruningSuspended,
	}
}

// usableTokens leaves out empty tokens, which must never verify anything.
func (a *App) usableTokens() []Token {
	var usable []Token
	for _, t := range a.Tokens {
		if t.Value != "" {
			usable = append(usable, t)
		}
	}
	return slices.Clip(usable)
}

// Object is the IMApp.
func (a *CompiledApp) Object() Object { return a.object }

// SDKAppID is the vendor's number of the app.
func (a *CompiledApp) SDKAppID() uint64 { return a.sdkAppID }

// AdminAccount is the identifier that REST calls are signed for.
func (a *CompiledApp) AdminAccount() string { return a.adminAccount }

// Authentication says how callbacks prove that they are the vendor's.
func (a *CompiledApp) Authentication() Authentication { return a.authentication }

// Tokens returns the tokens that verify a callback; none of them is empty. The slice is shared: do not change it.
func (a *CompiledApp) Tokens() []Token { return a.tokens() }

// PruningSuspended is the kill switch: nobody is removed from any group of the app.
func (a *CompiledApp) PruningSuspended() bool { return a.pruningSuspended }

// MayPrune reports whether an accepted policy with a prune rule matches the group's id, whatever the group's type.
func (a *CompiledApp) MayPrune(group string) bool {
	for b := a.groups.find(group); b != nil; b = b.next {
		if b.mayPrune() {
			return true
		}
	}
	return false
}

func (b *bucket) mayPrune() bool {
	return slices.ContainsFunc(b.prunings, func(p *pruning) bool { return p.invalid == "" })
}

// ExactPruneGroups returns the groups that accepted policies with a prune rule name exactly, each once, sorted.
func (a *CompiledApp) ExactPruneGroups() iter.Seq[string] {
	var groups []string
	for id, b := range a.groups.exact {
		if b.mayPrune() {
			groups = append(groups, id)
		}
	}
	slices.Sort(groups)
	return slices.Values(groups)
}

// Governing returns the rule by which a group of this id and type is pruned: that of the highest-ranked governing policy
// that has one. There is none for a group of unknown type.
func (a *CompiledApp) Governing(group string, t GroupType) (Governing, bool) {
	g := Governing{adminAccount: a.adminAccount}
	visited := map[*pruning]bool{}
	for b := a.groups.find(group); b != nil; b = b.next {
		for _, p := range b.prunings {
			if visited[p] || !p.types.admitsPruning(t) {
				continue
			}
			if len(visited) == 0 {
				g.Policy, g.Rule, g.Invalid = p.policy, p.rule, p.invalid
			}
			visited[p] = true
			g.Unresolved = append(g.Unresolved, p.unresolved...)
			g.protect = append(g.protect, &p.protect)
		}
	}
	return g, len(visited) > 0
}

func (a *App) describe(t *transcript) {
	t.object(a.Object)
	t.number(int64(a.SDKAppID))
	t.text(a.AdminAccount)
	t.number(int64(a.Authentication))
	tokens := a.usableTokens()
	t.number(int64(len(tokens)))
	for _, token := range tokens {
		t.text(string(token.Name))
		t.text(token.Value.Reveal())
	}
	t.flag(a.RejectUnmatched)
	t.flag(a.PruningSuspended)
	t.flag(a.SecretFound)
	t.flag(a.SecretKeyPresent)
}
