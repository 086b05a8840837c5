package policy

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// section is the compiled form of a [JoinSection].
type section struct {
	types    TypeSet
	triggers TriggerSet
	audit    bool
	// gated says that the section has an allow, be it an empty one.
	gated  bool
	allow  selection
	deny   selection
	reject Rejection
}

// pruning is the compiled form of a [PruneRule].
type pruning struct {
	policy Object
	types  TypeSet
	rule   PruneRule
	// invalid says what is wrong with the policy, unresolved what is missing of its protection.
	invalid    string
	unresolved []string
	protect    selection
}

// policyPart is what a policy says by itself, before its references are looked up.
type policyPart struct {
	object  Object
	app     objectName
	groups  []GroupMatcher
	types   TypeSet
	invalid string

	section *section
	allow   *selectionPart
	deny    *selectionPart

	pruning *pruning
	protect *selectionPart

	fingerprint fingerprint
}

func newPolicyPart(p *Policy) *policyPart {
	part := &policyPart{
		object:  p.Object.comparable(),
		app:     objectName{p.Namespace, p.App},
		groups:  distinctMatchers(p.Groups),
		types:   p.Types,
		invalid: p.problem(),
		allow:   noSelection,
		deny:    noSelection,
		protect: noSelection,
	}
	if p.Join != nil {
		part.addJoin(p.Join)
	}
	if p.Prune != nil {
		part.addPrune(p.Prune)
	}
	part.fingerprint = part.content()
	return part
}

// distinctMatchers leaves out what matches nothing or twice.
func distinctMatchers(groups []GroupMatcher) []GroupMatcher {
	var distinct []GroupMatcher
	for _, m := range groups {
		if m.Kind == MatchAll {
			m.Value = ""
		}
		if m.Kind <= MatchAll && !slices.Contains(distinct, m) {
			distinct = append(distinct, m)
		}
	}
	return distinct
}

func (p *policyPart) addJoin(j *JoinSection) {
	p.section = &section{
		types:    p.types,
		triggers: j.Triggers,
		audit:    j.Audit,
		gated:    j.Allow != nil || p.invalid != "",
		reject:   j.Reject.normal(),
	}
	// An invalid policy admits nobody by itself. What it denies is still denied.
	if p.invalid == "" {
		p.allow = newSelectionPart(j.Allow)
	}
	p.deny = newSelectionPart(j.Deny)
	p.section.allow = p.allow.own.selection()
	p.section.deny = p.deny.own.selection()
}

func (p *policyPart) addPrune(r *PruneRule) {
	p.pruning = &pruning{policy: p.object, types: p.types, rule: *r, invalid: p.invalid}
	p.pruning.rule.Protect = nil
	p.protect = newSelectionPart(r.Protect)
	p.pruning.protect = p.protect.own.selection()
	if problem := r.Protect.problem(); problem != "" {
		p.pruning.unresolved = []string{p.unresolved(problem)}
	}
}

func (p *policyPart) unresolved(what string) string {
	return "GroupPolicy " + quote(p.object.Name) + ": " + what
}

// normal returns the rejection as the vendor understands it.
func (r Rejection) normal() Rejection {
	if r.Code < firstClientCode || r.Code > lastClientCode {
		return Rejection{Code: RefuseCode}
	}
	return r
}

// Codes with which the answer to a before-join callback refuses (page 34370).
const (
	// RefuseCode refuses without a message: the client sees 10016.
	RefuseCode = 1
	// From firstClientCode to lastClientCode, code and message reach the client.
	firstClientCode = 10100
	lastClientCode  = 10200
)

// boundPolicy is a policy with its references looked up. It never changes.
type boundPolicy struct {
	*policyPart
	section     *section
	pruning     *pruning
	missing     string
	fingerprint fingerprint
}

func (p *policyPart) bind(lists *listIndex) *boundPolicy {
	bound := &boundPolicy{policyPart: p, section: p.section, pruning: p.pruning, fingerprint: p.fingerprint}
	if len(p.allow.refs)+len(p.deny.refs)+len(p.protect.refs) == 0 {
		return bound
	}
	var missing []string
	t := make(transcript, 0, 256)
	t.part(p.fingerprint)
	look := func(field string, part *selectionPart) (selection, []string) {
		found, absent := part.bind(p.object.Namespace, lists, &t)
		for _, ref := range absent {
			missing = append(missing, field+": "+ref)
		}
		return found, absent
	}
	if len(p.allow.refs)+len(p.deny.refs) > 0 {
		section := *p.section
		section.allow, _ = look("join.allow", p.allow)
		section.deny, _ = look("join.deny", p.deny)
		bound.section = &section
	}
	if len(p.protect.refs) > 0 {
		pruning := *p.pruning
		protect, absent := look("whenFull.prune.protect", p.protect)
		pruning.protect = protect
		pruning.unresolved = slices.Clone(pruning.unresolved)
		for _, ref := range absent {
			pruning.unresolved = append(pruning.unresolved, p.unresolved(ref+" not found"))
		}
		bound.pruning = &pruning
	}
	bound.missing = enumerate(missing)
	for _, m := range missing {
		t.text(m)
	}
	bound.fingerprint = t.sum()
	return bound
}

// maxNamedRefs bounds how many references a status names: the API server refuses a message of more than 32 KiB, and people
// stop reading long before.
const maxNamedRefs = 10

func enumerate(refs []string) string {
	if len(refs) <= maxNamedRefs {
		return strings.Join(refs, "; ")
	}
	return strings.Join(refs[:maxNamedRefs], "; ") + "; and " + strconv.Itoa(len(refs)-maxNamedRefs) + " more"
}

// content fingerprints everything about the policy that a decision or a plan depends on.
func (p *policyPart) content() fingerprint {
	var t transcript
	t.object(p.object)
	t.text(p.app.name)
	t.number(int64(len(p.groups)))
	for _, m := range p.groups {
		t.number(int64(m.Kind))
		t.text(m.Value)
	}
	t.number(int64(p.types))
	t.text(p.invalid)
	t.flag(p.section != nil)
	if s := p.section; s != nil {
		t.flag(s.audit)
		t.flag(s.gated)
		t.number(int64(s.triggers))
		t.number(int64(s.reject.Code))
		t.text(s.reject.Message)
		p.allow.describe(&t)
		p.deny.describe(&t)
	}
	t.flag(p.pruning != nil)
	if pr := p.pruning; pr != nil {
		t.rule(&pr.rule)
		t.number(int64(len(pr.unresolved)))
		for _, u := range pr.unresolved {
			t.text(u)
		}
		p.protect.describe(&t)
	}
	return t.sum()
}

func (t *transcript) rule(r *PruneRule) {
	t.number(int64(r.Mode))
	t.number(int64(r.InactiveFor))
	t.number(int64(r.FreeSeats.Count))
	t.number(int64(r.FreeSeats.Percent))
	t.number(int64(r.MaxRemovals))
	t.number(int64(r.MaxRemovalsPerDay))
	t.number(int64(r.Cooldown))
	t.number(int64(r.RejoinAfter))
	t.number(int64(r.Reject.Code))
	t.text(r.Reject.Message)
	t.flag(r.Silent)
	t.text(r.Reason)
}

func (p *selectionPart) describe(t *transcript) {
	p.own.describe(t)
	t.number(int64(len(p.refs)))
	for i := range p.refs {
		t.text(p.refs[i].key)
	}
}

// refs yields all references of the policy, one that it has twice twice.
func (p *policyPart) refs() iter.Seq[*listRef] {
	return func(yield func(*listRef) bool) {
		for _, part := range []*selectionPart{p.allow, p.deny, p.protect} {
			for i := range part.refs {
				if !yield(&part.refs[i]) {
					return
				}
			}
		}
	}
}

// accounts is how many the policy names itself.
func (p *policyPart) accounts() int { return p.allow.accounts + p.deny.accounts + p.protect.accounts }
