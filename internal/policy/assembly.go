package policy

import (
	"maps"
	"slices"
)

// appState is what a compiler remembers of an app from build to build, whether the app exists or is only named by
// policies and refusals. Its index is kept in either case; only that of an app that holds its SDKAppID is published.
type appState struct {
	name objectName
	app  *App // nil if it does not exist
	// heldBy is the "namespace/name" of the app that holds the SDKAppID, if another one does. problem says why policies
	// that name the app are not accepted; empty if they are.
	heldBy  string
	problem string
	// refusal says why the app refuses every callback.
	refusal AppRefusal

	groups       *groupIndex
	left, joined []*resolvedPolicy // since groups was made
	policies     multiset
	refusals     map[string]groupRefusals // by group
	refused      multiset
}

// assembly is a snapshot while it is made.
type assembly struct {
	*Compiler
	before *Snapshot
	next   *Snapshot
	// unjudged are the policies that need a new verdict, by name; nil stands for one that is gone.
	unjudged map[objectName]*resolvedPolicy
}

func assemble(c *Compiler, replaced []replacement) *Snapshot {
	a := assembly{
		Compiler: c, before: c.snapshot.orEmpty(), next: &Snapshot{}, unjudged: map[objectName]*resolvedPolicy{},
	}
	a.replacePolicies(replaced)
	a.groupRefusals()
	a.updateApps()
	a.updateIndexes()
	a.judgePolicies()
	a.publishApps()
	a.next.lists = withLists(a.before.lists, c.changes.lists)
	a.next.accounts = c.lists.accounts + c.named
	maps.DeleteFunc(c.states, func(_ objectName, s *appState) bool { return s.abandoned() })
	return a.next
}

// state returns the state of the app of that name.
func (a *assembly) state(name objectName) *appState {
	s, ok := a.states[name]
	if !ok {
		s = &appState{name: name, groups: &groupIndex{}}
		if a.states == nil {
			a.states = map[objectName]*appState{}
		}
		a.states[name] = s
	}
	return s
}

// abandoned reports whether the app does not exist and nothing names it.
func (s *appState) abandoned() bool {
	return s.app == nil && s.policies.size == 0 && s.refused.size == 0
}

func (a *assembly) replacePolicies(replaced []replacement) {
	for _, r := range replaced {
		if p := r.before; p != nil {
			s := a.state(p.app)
			s.left = append(s.left, p)
			s.policies.remove(p.fingerprint)
			a.named -= p.accounts
			a.unjudged[p.object.objectName()] = nil
		}
	}
	for _, r := range replaced {
		if p := r.after; p != nil {
			s := a.state(p.app)
			s.joined = append(s.joined, p)
			s.policies.add(p.fingerprint)
			a.named += p.accounts
			a.unjudged[p.object.objectName()] = p
		}
	}
}

// sdkAppKey names an app of the vendor in a namespace, where several IMApps may claim it.
type sdkAppKey struct {
	namespace string
	sdkAppID  uint64
}

// groupRefusals binds each refusal to its app, and groups them.
func (a *assembly) groupRefusals() {
	for _, s := range a.states {
		s.refusals, s.refused = nil, multiset{}
	}
	bySDKAppID := map[sdkAppKey][]objectName{}
	for name, app := range a.apps {
		key := sdkAppKey{name.namespace, app.SDKAppID}
		bySDKAppID[key] = append(bySDKAppID[key], name)
	}
	for _, r := range a.Compiler.refusals {
		if !r.matters() {
			continue
		}
		bound := []objectName{r.app}
		if r.sdkAppID != 0 {
			bound = bySDKAppID[sdkAppKey{r.app.namespace, r.sdkAppID}]
		}
		for _, name := range bound {
			s := a.state(name)
			if s.refusals == nil {
				s.refusals = map[string]groupRefusals{}
			}
			s.refusals[r.group] = append(s.refusals[r.group], r)
			s.refused.add(r.fingerprint)
		}
	}
	for _, s := range a.states {
		for _, ofGroup := range s.refusals {
			slices.SortFunc(ofGroup, byEnd)
		}
	}
}

// updateApps finds the app that holds each SDKAppID: the oldest of those that are known to exist, else the oldest.
func (a *assembly) updateApps() {
	holders := make(map[uint64]*App, len(a.apps))
	for _, app := range a.apps {
		if holder, ok := holders[app.SDKAppID]; !ok || holdsBefore(app, holder) {
			holders[app.SDKAppID] = app
		}
	}
	for name := range a.apps {
		a.state(name)
	}
	changed := map[objectName]bool{}
	for name, s := range a.states {
		problem, refusal := s.problem, s.refusal
		s.app, s.heldBy, s.problem, s.refusal = a.apps[name], "", "", NotRefused
		if s.app == nil {
			s.problem = "IMApp " + quote(name.name) + " does not exist in namespace " + quote(name.namespace)
		} else if holder := holders[s.app.SDKAppID]; holder != s.app {
			s.heldBy = holder.Key()
			s.problem = "IMApp " + quote(name.name) + " is not accepted: " + s.heldBy + " holds its SDKAppID"
		}
		if s.app != nil {
			s.refusal = s.app.refusal()
		}
		if (s.problem != problem || s.refusal != refusal) && s.policies.size > 0 {
			changed[name] = true
		}
	}
	if len(changed) == 0 {
		return
	}
	for _, p := range a.Compiler.policies {
		if changed[p.app] {
			a.unjudged[p.objectName()] = p.resolved
		}
	}
}

func holdsBefore(a, b *App) bool {
	if a.Unconfirmed != b.Unconfirmed {
		return b.Unconfirmed
	}
	return byAge(&a.Object, &b.Object) < 0
}

func (a *assembly) updateIndexes() {
	for _, s := range a.states {
		if len(s.left)+len(s.joined) == 0 {
			continue
		}
		var retold []*resolvedPolicy
		s.groups, retold = s.groups.with(s.left, s.joined)
		s.left, s.joined = nil, nil
		for _, p := range retold {
			a.unjudged[p.object.objectName()] = p
		}
	}
}

// judgePolicies needs the indexes. A verdict that is the same as before stays the same object, by which
// PolicyVerdictsSince finds what is new.
func (a *assembly) judgePolicies() {
	a.next.acceptances = a.before.acceptances
	judged := make(map[objectName]*PolicyVerdict, len(a.unjudged))
	for name, p := range a.unjudged {
		before := a.before.policies.find(name)
		if before != nil {
			a.next.acceptances[before.Acceptance]--
		}
		if p == nil {
			judged[name] = nil
			continue
		}
		verdict := a.states[p.app].verdictOn(p)
		a.next.acceptances[verdict.Acceptance]++
		if before == nil || *before != verdict {
			judged[name] = &verdict
		}
	}
	a.next.policies = a.before.policies.with(judged)
}

func (a *assembly) publishApps() {
	states := slices.SortedFunc(maps.Values(a.states), func(p, q *appState) int { return p.name.compare(q.name) })
	s := a.next
	s.bySDKAppID = make(map[uint64]*CompiledApp, len(states))
	s.byName = make(map[objectName]*CompiledApp, len(states))
	var rules, refusals transcript
	for _, app := range states {
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
		compiled.groups, compiled.refusals = app.groups, app.refusals
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

func (s *appState) verdict() *AppVerdict {
	isCurrent := func(t Token) bool { return t.Name == TokenCurrent && t.Value != "" }
	return &AppVerdict{
		Object:           s.app.Object.comparable(),
		HeldBy:           s.heldBy,
		Unconfirmed:      s.app.Unconfirmed,
		SecretFound:      s.app.SecretFound,
		SecretKeyPresent: s.app.SecretKeyPresent,
		TokenMissing: s.app.Authentication != AuthenticateNone &&
			!slices.ContainsFunc(s.app.Tokens, isCurrent),
		CallbacksRefused: s.refusal != NotRefused,
		PruningSuspended: s.app.PruningSuspended,
	}
}

func (s *appState) verdictOn(p *resolvedPolicy) PolicyVerdict {
	v := PolicyVerdict{Object: p.object, MissingRefs: p.missing}
	switch {
	case s.problem != "":
		v.Acceptance, v.Message = TargetNotFound, s.problem
		return v
	case p.invalid != "":
		v.Acceptance, v.Message = Invalid, p.invalid
	}
	v.AppRefusal = s.refusal
	if winner, matcher := s.groups.override(p); winner != nil {
		v.OverriddenBy, v.OverriddenMatcher = winner.policy.Name, matcher.String()
	}
	return v
}
