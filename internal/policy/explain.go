package policy

import (
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// JoinExplanation is a [Verdict] together with what led to it.
type JoinExplanation struct {
	Verdict Verdict
	// Run is the run whose record refuses the account until Until or, where Verdict.Reason is ReasonRestored, that adds
	// it back; "" if there is none.
	Run   string
	Until time.Time
	// Opinions are those of the policies with a join section whose matchers match the group, each once, in the order of
	// their rank. There are none if a run refuses the account: then no policy is asked.
	Opinions []Opinion
}

// Opinion is what the join section of one policy says about a join.
type Opinion struct {
	Policy Object
	// Matcher is the one that matches the group; of several, the most specific one.
	Matcher GroupMatcher
	// TypeDiffers and TriggerDiffers say that the section does not speak about groups of this type, or about this
	// trigger. Audit says that it is evaluated without having a say.
	TypeDiffers, TriggerDiffers, Audit bool
	// Gated says that the section has an allow, even if it is empty, or that the policy is Invalid, which allows no
	// account.
	Gated, Invalid bool
	Allows, Denies bool
	// AllowedBy and DeniedBy are what names the account, as a field of the policy.
	AllowedBy, DeniedBy []string
	Reject              Rejection
}

// Speaks reports whether the opinion counts.
func (o *Opinion) Speaks() bool { return !o.TypeDiffers && !o.TriggerDiffers && !o.Audit }

// Step returns the number of the step of DecideJoin that decided, as documented there.
func (v *Verdict) Step() int {
	switch v.Reason {
	case ReasonPruned:
		return 0
	case ReasonDenied, ReasonRestored:
		return 1
	case ReasonAllowed:
		return 2
	case ReasonNotListed:
		return 3
	case ReasonNotGated:
		return 4
	}
	return 5
}

// ExplainJoin is DecideJoin with what led to the verdict, by the last Build. It returns false if no app of that name
// holds its SDKAppID. It must not run while the Compiler is changed.
func (c *Compiler) ExplainJoin(namespace, app string, q JoinQuery) (JoinExplanation, bool) {
	compiled := c.snapshot.orEmpty().AppNamed(namespace, app)
	if compiled == nil {
		return JoinExplanation{}, false
	}
	var e JoinExplanation
	e.Verdict = compiled.decideJoin(&q, &e)
	for i := range e.Opinions {
		o := &e.Opinions[i]
		p := c.policies.find(o.Policy.objectName())
		o.Invalid = p.invalid != ""
		allow, deny := len(p.allow.refs), len(p.deny.refs)
		if o.Allows {
			o.AllowedBy = p.allow.naming("join.allow", p.references[:allow], q.Account)
		}
		if o.Denies {
			o.DeniedBy = p.deny.naming("join.deny", p.references[allow:allow+deny], q.Account)
		}
	}
	return e, true
}

// hear notes what a section says, unless a more specific matcher of its policy has brought it up.
func (e *JoinExplanation) hear(s *section, by GroupMatcher, q *JoinQuery, denies, allows bool) {
	if slices.ContainsFunc(e.Opinions, func(o Opinion) bool { return o.Policy == s.policy.object }) {
		return
	}
	e.Opinions = append(e.Opinions, Opinion{
		Policy: s.policy.object, Matcher: by,
		TypeDiffers: !s.types.holdsForJoin(q.Type), TriggerDiffers: !s.triggers.holds(q.Trigger), Audit: s.audit,
		Gated: s.gated, Allows: allows, Denies: denies, Reject: s.policy.reject,
	})
}

// naming returns what in the selector, which is the field of that name, names the account.
func (p *parsedSelector) naming(field string, references []*reference, account string) (found []string) {
	hash := accounts.Hash(account)
	for _, set := range p.own.sets {
		if set.Contains(account, hash) {
			found = append(found, field+".accounts")
		}
	}
	for _, prefix := range p.own.prefixes {
		if (accounts.Prefixes{prefix}).Contains(account) {
			found = append(found, field+".accountPrefixes "+strconv.Quote(prefix))
		}
	}
	for _, r := range references {
		for _, set := range r.sets {
			if !set.Accounts.Contains(account, hash) {
				continue
			}
			source := field + ".lists: AccountList " + set.Name
			if r.selects() {
				source += ", selected by " + abridged(r.selector.String())
			}
			found = append(found, source)
		}
	}
	return found
}

// Governing yields the policies whose matchers match the group, each once with the most specific of them, in the order
// of their rank. Which of them say something depends on the type of the group.
func (a *CompiledApp) Governing(group string) iter.Seq2[Object, GroupMatcher] {
	return func(yield func(Object, GroupMatcher) bool) {
		seen := map[Object]bool{}
		for b := range a.groups.matching(group) {
			for _, p := range b.policies {
				if !seen[p.object] && !yield(p.object, b.matcher) {
					return
				}
				seen[p.object] = true
			}
		}
	}
}
