package policy

import (
	"cmp"
	"maps"
	"slices"
)

// assembly is a snapshot while it is made of the compiler's apps, resolved policies and refusals.
type assembly struct {
	*Compiler
	before *Snapshot
	apps   map[objectName]*appAssembly
	last   *appAssembly // that app returned last
}

// appAssembly is one app in an assembly, whether it exists or is only named by policies and refusals.
type appAssembly struct {
	name objectName
	app  *App // nil if it does not exist
	// heldBy is the "namespace/name" of the app that holds the SDKAppID, if another one does. problem says why policies
	// that name the app are not accepted; empty if they are.
	heldBy  string
	problem string

	index    indexBuilder
	policies multiset
	refusals map[string]groupRefusals // by group
	refused  multiset
}

func assemble(c *Compiler) *Snapshot {
	a := assembly{Compiler: c, before: c.snapshot.orEmpty(), apps: make(map[objectName]*appAssembly, len(c.apps))}
	a.addApps()
	s := &Snapshot{accounts: c.lists.accounts, lists: withLists(a.before.lists, c.changes.lists)}
	a.addPolicies(s)
	a.addRefusals()
	for _, app := range a.apps {
		app.index.finish()
	}
	a.publishPolicyVerdicts(s)
	a.publishApps(s)
	return s
}

// addApps finds the app that holds each SDKAppID: the oldest.
func (a *assembly) addApps() {
	holders := make(map[uint64]*App, len(a.Compiler.apps))
	for _, app := range a.Compiler.apps {
		if holder, ok := holders[app.SDKAppID]; !ok || byAge(&app.Object, &holder.Object) < 0 {
			holders[app.SDKAppID] = app
		}
	}
	for name, app := range a.Compiler.apps {
		added := &appAssembly{name: name, app: app}
		if holder := holders[app.SDKAppID]; holder != app {
			added.heldBy = holder.Key()
			added.problem = "IMApp " + quote(name.name) + " is not accepted: " + added.heldBy + " holds its SDKAppID"
		} else if before := a.before.byName[name]; before != nil {
			added.index.sizeLike(before.groups)
		}
		a.apps[name] = added
	}
}

// app returns the app of that name. One that does not exist is added, so that its policies get a verdict. Neighbours by
// name nearly always belong to one app, which is found without a search.
func (a *assembly) app(name objectName) *appAssembly {
	if a.last != nil && a.last.name == name {
		return a.last
	}
	app, ok := a.apps[name]
	if !ok {
		problem := "IMApp " + quote(name.name) + " does not exist in namespace " + quote(name.namespace)
		app = &appAssembly{name: name, problem: problem}
		a.apps[name] = app
	}
	a.last = app
	return app
}

func (a *assembly) addPolicies(s *Snapshot) {
	for _, p := range a.Compiler.policies {
		app := a.app(p.app)
		app.policies.add(p.resolved.fingerprint)
		if app.problem == "" {
			app.index.add(p.resolved)
		}
		s.accounts += p.accounts
	}
}

func (a *assembly) addRefusals() {
	for _, r := range a.Compiler.refusals {
		if !r.matters() {
			continue
		}
		app := a.app(r.app)
		if app.refusals == nil {
			app.refusals = map[string]groupRefusals{}
		}
		app.refusals[r.group] = append(app.refusals[r.group], r)
		app.refused.add(r.fingerprint)
	}
	for _, app := range a.apps {
		for _, ofGroup := range app.refusals {
			slices.SortFunc(ofGroup, byEnd)
		}
	}
}

// publishPolicyVerdicts needs the indexes. A verdict that is the same as before stays the same object, by which
// PolicyVerdictsSince finds what is new.
func (a *assembly) publishPolicyVerdicts(s *Snapshot) {
	s.policies = make(policyVerdicts, len(a.Compiler.policies))
	for i, p := range a.Compiler.policies {
		if verdict := a.app(p.app).verdictOn(p); p.verdict == nil || *p.verdict != verdict {
			changed := verdict
			p.verdict = &changed
		}
		s.policies[i] = p.verdict
		s.acceptances[p.verdict.Acceptance]++
	}
}

func (a *assembly) publishApps(s *Snapshot) {
	apps := slices.SortedFunc(maps.Values(a.apps), func(p, q *appAssembly) int { return p.name.compare(q.name) })
	s.bySDKAppID = make(map[uint64]*CompiledApp, len(apps))
	s.byName = make(map[objectName]*CompiledApp, len(apps))
	var rules, refusals transcript
	for _, app := range apps {
		if app.app == nil {
			continue
		}
		verdict := app.verdict()
		if before := a.before.appVerdicts.find(app.name); before != nil && *before == *verdict {
			verdict = before
		}
		s.appVerdicts = append(s.appVerdicts, verdict)
		if app.problem != "" {
			continue
		}
		compiled := newCompiledApp(app.app)
		compiled.groups, compiled.refusals = &app.index.groupIndex, app.refusals
		s.apps = append(s.apps, compiled)
		s.bySDKAppID[compiled.sdkAppID] = compiled
		s.byName[app.name] = compiled
		rules.hash(app.app.fingerprint())
		rules.multiset(app.policies)
		refusals.multiset(app.refused)
	}
	s.rules = uint64(rules.sum())
	s.hash = uint64(fingerprintOf(append(rules, refusals...)))
}

func (a *appAssembly) verdict() *AppVerdict {
	return &AppVerdict{
		Object:           a.app.Object.comparable(),
		HeldBy:           a.heldBy,
		SecretFound:      a.app.SecretFound,
		SecretKeyPresent: a.app.SecretKeyPresent,
		TokenMissing:     a.app.Authentication != AuthenticateNone && len(a.app.usableTokens()) == 0,
		PruningSuspended: a.app.PruningSuspended,
	}
}

func (a *appAssembly) verdictOn(p *compiledPolicy) PolicyVerdict {
	v := PolicyVerdict{Object: p.object, MissingRefs: p.resolved.missing}
	switch {
	case a.problem != "":
		v.Acceptance, v.Message = TargetNotFound, a.problem
		return v
	case p.invalid != "":
		v.Acceptance, v.Message = Invalid, p.invalid
	}
	if winner, matcher := a.index.override(p.resolved); winner != nil {
		v.OverriddenBy, v.OverriddenMatcher = winner.policy.Name, matcher.String()
	}
	return v
}

// indexBuilder is a group index while policies are added to it.
type indexBuilder struct {
	groupIndex
	// shared are the buckets of several policies: those that the builder made, and completes.
	shared []*bucket
	// overridden holds every rule that another one overrides in some bucket.
	overridden map[*pruning]bool
}

// sizeLike makes room for as many groups as another index has.
func (x *indexBuilder) sizeLike(before *groupIndex) {
	x.exact = make(map[string]*bucket, len(before.exact))
	x.prefixes = make(map[string]*bucket, len(before.prefixes))
}

func (x *indexBuilder) add(p *resolvedPolicy) {
	for i := range p.buckets {
		own := &p.buckets[i]
		switch own.matcher.Kind {
		case MatchExact:
			x.addTo(&x.exact, own)
		case MatchPrefix:
			x.addTo(&x.prefixes, own)
		default:
			x.all = x.join(x.all, own)
		}
	}
}

func (x *indexBuilder) addTo(buckets *map[string]*bucket, own *bucket) {
	if *buckets == nil {
		*buckets = map[string]*bucket{}
	}
	(*buckets)[own.matcher.Value] = x.join((*buckets)[own.matcher.Value], own)
}

// join returns the bucket with the policy of own added. A policy's own bucket belongs to earlier snapshots as well and
// is never written to.
func (x *indexBuilder) join(b, own *bucket) *bucket {
	if b == nil {
		return own
	}
	if len(b.policies) == 1 {
		b = &bucket{matcher: b.matcher, policies: slices.Clone(b.policies)}
		x.shared = append(x.shared, b)
	}
	b.policies = append(b.policies, own.policies...)
	return b
}

// finish completes the shared buckets and the lengths of the prefixes.
func (x *indexBuilder) finish() {
	for _, b := range x.shared {
		slices.SortFunc(b.policies, func(p, q *resolvedPolicy) int { return byAge(&p.object, &q.object) })
		for _, p := range b.policies {
			b.sections = append(b.sections, p.sections...)
			b.prunings = append(b.prunings, p.prunings...)
		}
		b.findOverridden()
		for p := range b.overridden {
			if x.overridden == nil {
				x.overridden = map[*pruning]bool{}
			}
			x.overridden[p] = true
		}
	}
	lengths := map[int]bool{}
	for prefix := range x.prefixes {
		if !lengths[len(prefix)] {
			lengths[len(prefix)] = true
			x.prefixLengths = append(x.prefixLengths, len(prefix))
		}
	}
	slices.SortFunc(x.prefixLengths, func(a, b int) int { return cmp.Compare(b, a) })
}

// override returns the rule that overrides the policy's, and the first of the policy's matchers for which it does; nil
// if none does.
func (x *indexBuilder) override(p *resolvedPolicy) (winner *pruning, m GroupMatcher) {
	for _, rule := range p.prunings {
		if !x.overridden[rule] {
			continue
		}
		for _, m := range p.groups {
			if winner := x.bucketOf(m).overridden[rule]; winner != nil {
				return winner, m
			}
		}
	}
	return nil, m
}
