package policy

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// parsedPolicy is the compiled form of a [Policy] before its references are resolved. It never changes.
type parsedPolicy struct {
	object  Object
	app     objectName
	groups  []GroupMatcher
	types   TypeSet
	invalid string

	section *section // nil if the policy has none
	allow   *parsedSelector
	deny    *parsedSelector
	reject  Rejection

	eviction *eviction // nil if the policy has none

	pruning *pruning // nil if the policy has none
	protect *parsedSelector

	// accounts is how many the policy names itself.
	accounts    int
	fingerprint fingerprint
	// gate is the part of the fingerprint on which it depends which members are evicted; 0 if nothing in the policy
	// matters to that.
	gate fingerprint
}

func parsePolicy(p *Policy) *parsedPolicy {
	parsed := &parsedPolicy{
		object:  p.Object.comparable(),
		app:     objectName{p.Namespace, p.App},
		groups:  distinctMatchers(p.Groups),
		types:   p.Types,
		invalid: p.problem(),
		allow:   noSelector,
		deny:    noSelector,
		protect: noSelector,
	}
	if p.Join != nil {
		parsed.parseJoin(p.Join)
	}
	if p.Prune != nil {
		parsed.parsePrune(p.Prune)
	}
	parsed.accounts = parsed.allow.accounts + parsed.deny.accounts + parsed.protect.accounts
	parsed.fingerprint = parsed.computeFingerprint()
	parsed.gate = parsed.computeGate()
	return parsed
}

// distinctMatchers leaves out repeated matchers, and those of an unknown kind, which match nothing.
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

func (p *parsedPolicy) parseJoin(j *JoinSection) {
	p.section = &section{
		policy:   p,
		types:    p.types,
		triggers: j.Triggers,
		audit:    j.Audit,
		gated:    j.Allow != nil || p.invalid != "",
	}
	p.reject = j.Reject.normal()
	// An invalid policy admits no account by itself. What it denies is still denied.
	if p.invalid == "" {
		p.allow = parseSelector(j.Allow)
	}
	p.deny = parseSelector(j.Deny)
	p.section.allow = p.allow.own.selection()
	p.section.deny = p.deny.own.selection()
	if j.Evict != nil {
		p.eviction = newEviction(j.Evict)
	}
}

func (p *parsedPolicy) parsePrune(r *PruneRule) {
	p.pruning = &pruning{policy: p.object, types: p.types, rule: *r, invalid: p.invalid}
	p.pruning.rule.Protect = nil
	p.protect = parseSelector(r.Protect)
	p.pruning.protect = p.protect.own.selection()
	if problem := r.Protect.problem(); problem != "" {
		p.pruning.unresolved = []string{p.named(problem)}
	}
	var t transcript
	t.rule(r)
	t.selector(p.protect)
	p.pruning.fingerprint = t.sum()
}

func (p *parsedPolicy) named(problem string) string {
	return "GroupPolicy " + quote(p.object.Name) + ": " + problem
}

// refs yields all references of the policy; one that it has twice comes twice.
func (p *parsedPolicy) refs() iter.Seq[*listRef] {
	return func(yield func(*listRef) bool) {
		for _, selector := range []*parsedSelector{p.allow, p.deny, p.protect} {
			for i := range selector.refs {
				if !yield(&selector.refs[i]) {
					return
				}
			}
		}
	}
}

// resolvedPolicy is a policy with its references resolved. It does not change once it is made, and snapshots share it
// until the policy or one of its lists changes.
type resolvedPolicy struct {
	*parsedPolicy
	sections []section  // one or none
	prunings []*pruning // one or none
	// references are those of allow, followed by those of deny.
	references []resolvedReference
	// gate is that of the parsed policy, together with the accounts that the references resolve to.
	gate fingerprint
	// buckets has one for each matcher, of this policy alone: nearly every matcher belongs to one policy.
	buckets     []bucket
	missing     string
	fingerprint fingerprint
}

// bucketOf returns the policy's own bucket of one of its matchers.
func (p *resolvedPolicy) bucketOf(m GroupMatcher) *bucket {
	return &p.buckets[slices.Index(p.groups, m)]
}

// compiledPolicy is what a compiler remembers of a policy from build to build.
type compiledPolicy struct {
	*parsedPolicy
	references []*reference
	resolved   *resolvedPolicy // nil until it is resolved for the first time
}

func (p *compiledPolicy) objectName() objectName { return p.object.objectName() }

// refersToChanged reports whether this build resolved a reference of the policy anew.
func (p *compiledPolicy) refersToChanged() bool {
	return slices.ContainsFunc(p.references, func(r *reference) bool { return r.changed })
}

// resolve resolves the references, which are those of refs, in the same order.
func (p *parsedPolicy) resolve(references []*reference) *resolvedPolicy {
	resolved := &resolvedPolicy{parsedPolicy: p, fingerprint: p.fingerprint, gate: p.gate}
	section, pruning := p.section, p.pruning
	if len(references) > 0 {
		section, pruning = resolved.lookUp(references)
	}
	if section != nil {
		resolved.sections = append(resolved.sections, *section)
	}
	if pruning != nil {
		resolved.prunings = append(resolved.prunings, pruning)
	}
	resolved.buckets = make([]bucket, len(p.groups))
	policies := []*resolvedPolicy{resolved}
	for i, m := range p.groups {
		resolved.buckets[i] = bucket{
			matcher: m, policies: policies, sections: resolved.sections, prunings: resolved.prunings,
			evicts: resolved.evicts(),
		}
	}
	return resolved
}

// lookUp returns the section and the rule with their references resolved, and records what is missing.
func (p *resolvedPolicy) lookUp(references []*reference) (*section, *pruning) {
	var missing []string
	gateReferences := references[:len(p.allow.refs)+len(p.deny.refs)]
	t := make(transcript, 0, 256)
	t.hash(p.parsedPolicy.fingerprint)
	collect := func(field string, selector *parsedSelector) (selection, []string) {
		found, absent := selector.collect(references[:len(selector.refs)], &t)
		references = references[len(selector.refs):]
		for _, ref := range absent {
			missing = append(missing, field+": "+ref)
		}
		return found, absent
	}
	resolvedSection, resolvedPruning := p.section, p.pruning
	if len(p.allow.refs)+len(p.deny.refs) > 0 {
		s := *p.section
		s.allow, _ = collect("join.allow", p.allow)
		s.deny, _ = collect("join.deny", p.deny)
		resolvedSection = &s
		p.references, p.gate = p.resolveGate(gateReferences)
	}
	if len(p.protect.refs) > 0 {
		r := *p.pruning
		r.lists = make([]ListUse, len(p.protect.refs))
		for i := range r.lists {
			r.lists[i] = references[i].use(references[i].versions)
		}
		protect, absent := collect("whenFull.prune.protect", p.protect)
		r.protect = protect
		r.unresolved = slices.Clone(r.unresolved)
		for _, ref := range absent {
			r.unresolved = append(r.unresolved, p.named(ref+" not found"))
		}
		resolvedPruning = &r
	}
	p.missing = enumerate(missing)
	for _, m := range missing {
		t.text(m)
	}
	p.fingerprint = t.sum()
	return resolvedSection, resolvedPruning
}

// maxNamedRefs bounds how many references a status names: the API server refuses a message of more than 32 KiB.
const maxNamedRefs = 10

func enumerate(refs []string) string {
	if len(refs) <= maxNamedRefs {
		return strings.Join(refs, "; ")
	}
	return strings.Join(refs[:maxNamedRefs], "; ") + "; and " + strconv.Itoa(len(refs)-maxNamedRefs) + " more"
}

// computeFingerprint covers everything in the policy that a decision or a plan depends on.
func (p *parsedPolicy) computeFingerprint() fingerprint {
	var t transcript
	t.object(p.object)
	t.text(p.app.name)
	t.governed(p)
	t.flag(p.section != nil)
	if s := p.section; s != nil {
		t.flag(s.audit)
		t.flag(s.gated)
		t.number(int64(s.triggers))
		t.rejection(p.reject)
		t.selector(p.allow)
		t.selector(p.deny)
	}
	if e := p.eviction; e != nil { // policies without one keep the fingerprint that older versions give them
		t.text("evict")
		t.hash(e.fingerprint)
	}
	t.flag(p.pruning != nil)
	if pr := p.pruning; pr != nil {
		t.hash(pr.fingerprint)
		t.rejection(pr.rule.Reject)
		t.number(int64(len(pr.unresolved)))
		for _, u := range pr.unresolved {
			t.text(u)
		}
	}
	return t.sum()
}
