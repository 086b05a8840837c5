package policy

import (
	"cmp"
	"slices"
)

// Compiler compiles input after input. Its zero value is ready. It remembers what it made of each version of a policy
// and of a record and does not make it again; what it returns is the same as that of a new Compiler. It is not for concurrent
// use; the snapshots it returned are.
type Compiler struct {
	policies memo[*policyPart]
	records  memo[*recordPart]
}

// Compile compiles in from nothing. See [Compiler.Compile].
func Compile(in Input) *Snapshot { return new(Compiler).Compile(in) }

// Compile turns an input into a snapshot. It is total: any input has a snapshot, and an object that is wrong costs only
// itself. It is pure: nothing depends on the order of the input, the clock or chance. in may be changed afterwards.
//
// Of several objects of one kind and name, which Kubernetes rules out, the latest version counts.
func (c *Compiler) Compile(in Input) *Snapshot {
	b := build{
		snapshot: &Snapshot{},
		lists:    newListIndex(len(in.Lists)),
	}
	b.addLists(distinct(in.Lists, listObject, listContent))
	b.addApps(distinct(in.Apps, appObject, appContent))
	b.addPolicies(distinct(in.Policies, policyObject, policyContent), &c.policies)
	b.addRecords(in.Records, &c.records)
	b.finish()
	c.policies.endBuild()
	c.records.endBuild()
	return b.snapshot
}

// build assembles one snapshot.
type build struct {
	snapshot *Snapshot
	lists    *listIndex
	apps     []*appBuild
	byName   map[objectName]*appBuild
}

// appBuild is one app on the way into the snapshot.
type appBuild struct {
	app *App
	// compiled is nil for a conflicted app, holder the app that holds the SDKAppID.
	compiled *CompiledApp
	holder   *App
	policies []*boundPolicy
}

func (b *build) addLists(lists []*List) {
	b.snapshot.lists = newVerdicts[ListVerdict](len(lists))
	for _, l := range lists {
		b.lists.add(l)
		b.snapshot.lists.add(l.UID, ListVerdict{Object: l.Object.comparable(), Accounts: l.Accounts.Len()})
		b.snapshot.accounts += l.Accounts.Len()
	}
}

func (b *build) addApps(apps []*App) {
	holders := make(map[uint64]*App, len(apps))
	for _, a := range apps {
		if holder, ok := holders[a.SDKAppID]; !ok || byAge(&a.Object, &holder.Object) < 0 {
			holders[a.SDKAppID] = a
		}
	}
	s := b.snapshot
	s.bySDKAppID = make(map[uint64]*CompiledApp, len(holders))
	s.byName = make(map[objectName]*CompiledApp, len(holders))
	s.appsSeen = newVerdicts[AppVerdict](len(apps))
	b.byName = make(map[objectName]*appBuild, len(apps))
	for _, a := range apps {
		building := &appBuild{app: a, holder: holders[a.SDKAppID]}
		b.apps = append(b.apps, building)
		b.byName[a.objectName()] = building
		verdict := AppVerdict{
			Object:           a.Object.comparable(),
			SecretFound:      a.SecretFound,
			SecretKeyPresent: a.SecretKeyPresent,
			TokenMissing:     a.Authentication != AuthenticateNone && len(a.usableTokens()) == 0,
			PruningSuspended: a.PruningSuspended,
		}
		if building.holder != a {
			verdict.HeldBy = building.holder.Key()
			s.appsSeen.add(a.UID, verdict)
			continue
		}
		building.compiled = newCompiledApp(a)
		s.apps = append(s.apps, building.compiled)
		s.bySDKAppID[a.SDKAppID] = building.compiled
		s.byName[a.objectName()] = building.compiled
		s.appsSeen.add(a.UID, verdict)
	}
}

func (b *build) addPolicies(policies []*Policy, known *memo[*policyPart]) {
	bound := make([]boundPolicy, len(policies))
	for i, p := range policies {
		part := known.of(p.UID, p.version(), func() *policyPart { return newPolicyPart(p) })
		bound[i] = part.bind(b.lists)
		b.snapshot.accounts += part.allow.accounts + part.deny.accounts + part.protect.accounts
		if app := b.byName[part.app]; app != nil && app.compiled != nil {
			app.policies = append(app.policies, &bound[i])
		}
	}
	overrides := b.index()
	b.snapshot.policies = newVerdicts[PolicyVerdict](len(policies))
	for i := range bound {
		b.snapshot.policies.add(bound[i].object.UID, b.verdict(&bound[i], overrides))
	}
}

// override says which policy takes the place of a rule, and for which matcher.
type override struct {
	winner  string
	matcher GroupMatcher
}

// index makes the index of every app and finds the rules that are overridden: for each the first of its matchers that is.
func (b *build) index() map[*pruning]override {
	overrides := map[*pruning]override{}
	for _, app := range b.apps {
		if app.compiled == nil {
			continue
		}
		slices.SortFunc(app.policies, func(p, q *boundPolicy) int { return byAge(&p.object, &q.object) })
		app.compiled.groups, _ = new(groupIndex).edited(nil, app.policies)
		for _, p := range app.policies {
			if winner, m := app.compiled.groups.override(p); winner != nil {
				overrides[p.pruning] = override{winner: winner.policy.Name, matcher: m}
			}
		}
	}
	return overrides
}

func (b *build) verdict(p *boundPolicy, overrides map[*pruning]override) PolicyVerdict {
	v := PolicyVerdict{Object: p.object, MissingRefs: p.missing}
	app := b.byName[p.app]
	switch {
	case app == nil:
		v.Acceptance = TargetNotFound
		v.Message = "IMApp " + quote(p.app.name) + " does not exist in namespace " + quote(p.app.namespace)
	case app.compiled == nil:
		v.Acceptance = TargetNotFound
		v.Message = "IMApp " + quote(p.app.name) + " is not accepted: " + app.holder.Key() + " holds its SDKAppID"
	case p.invalid != "":
		v.Acceptance = Invalid
		v.Message = p.invalid
	}
	if o, ok := overrides[p.pruning]; ok {
		v.OverriddenBy, v.OverriddenMatcher = o.winner, o.matcher.String()
	}
	return v
}

func (b *build) finish() {
	var t transcript
	for _, app := range b.apps {
		if app.compiled == nil {
			continue
		}
		app.app.describe(&t)
		t.number(int64(len(app.policies)))
		for _, p := range app.policies {
			t.part(p.fingerprint)
		}
	}
	b.snapshot.rules = uint64(t.sum())
	for _, app := range b.apps {
		if app.compiled != nil {
			app.compiled.describeRecords(&t)
		}
	}
	b.snapshot.hash = uint64(t.sum())
}

func listObject(l *List) *Object     { return &l.Object }
func appObject(a *App) *Object       { return &a.Object }
func policyObject(p *Policy) *Object { return &p.Object }

func appContent(a *App) fingerprint {
	var t transcript
	a.describe(&t)
	return t.sum()
}

func policyContent(p *Policy) fingerprint { return newPolicyPart(p).fingerprint }

// distinct returns one object for each name, ordered by name: the latest version. Where even versions are the same, what
// they hold decides, so that the order of the input never does.
func distinct[T any](objects []T, identity func(*T) *Object, content func(*T) fingerprint) []*T {
	ordered := make([]*T, len(objects))
	for i := range objects {
		ordered[i] = &objects[i]
	}
	slices.SortFunc(ordered, func(p, q *T) int {
		a, b := identity(p), identity(q)
		if order := byName(a, b); order != 0 {
			return order
		}
		if order := cmp.Or(cmp.Compare(b.Generation, a.Generation), byAge(b, a)); order != 0 {
			return order
		}
		return cmp.Compare(content(p), content(q))
	})
	return slices.CompactFunc(ordered, func(p, q *T) bool { return byName(identity(p), identity(q)) == 0 })
}
