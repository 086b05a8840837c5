package policy

import (
	"maps"
	"slices"
)

// Build makes the snapshot of the world as it is now. It is the one before if nothing changed.
func (c *Compiler) Build() *Snapshot {
	if c.snapshot == nil {
		c.snapshot = &Snapshot{}
	} else if c.changes.none() {
		return c.snapshot
	}
	next := *c.snapshot
	b := build{Compiler: c, snapshot: &next, judge: map[objectName]struct{}{}}
	b.settleApps()
	b.settlePolicies()
	b.settleRecords()
	b.index()
	b.judgePolicies()
	b.snapshot.lists = b.snapshot.lists.edited(c.changes.lists)
	b.snapshot.accounts = c.accounts + c.lists.accounts
	b.publishApps()
	c.snapshot, c.changes = &next, changes{}
	return c.snapshot
}

// build is one build under way.
type build struct {
	*Compiler
	// snapshot begins as a copy of the one before.
	snapshot *Snapshot
	// judge holds the names of the policies whose verdicts may have changed.
	judge map[objectName]struct{}
}

// settleApps finds out which app holds which SDKAppID, when the apps have changed.
func (b *build) settleApps() {
	if len(b.changes.apps) == 0 {
		return
	}
	verdicts := make(map[objectName]*AppVerdict, len(b.apps))
	for name, app := range b.changes.apps {
		b.app(name).become(app)
		verdicts[name] = nil
	}
	holders := holders(b.apps)
	reviewed := map[objectName]bool{}
	for name, app := range b.apps {
		before := app.refusal
		if app.app == nil {
			app.concede(nil)
		} else {
			app.concede(holders[app.app.SDKAppID])
			verdicts[name] = app.verdict()
		}
		if app.refusal != before {
			app.changed, reviewed[name] = true, true
		}
	}
	b.snapshot.appsSeen = b.snapshot.appsSeen.edited(verdicts)
	if len(reviewed) == 0 {
		return
	}
	for name, p := range b.policies {
		if reviewed[p.app] {
			b.judge[name] = struct{}{}
		}
	}
}

// settlePolicies binds the policies that changed, and those that refer to lists that did.
func (b *build) settlePolicies() {
	for name, part := range b.changes.policies {
		if part != nil {
			b.lists.use(part)
		}
		// After the use, so that references that stay need not be resolved again.
		if before, ok := b.policies[name]; ok {
			b.lists.release(before.policyPart)
		}
	}
	for _, name := range b.lists.resolveStale() {
		if _, changed := b.changes.policies[name]; !changed {
			note(&b.changes.policies, name, b.policies[name].policyPart)
		}
	}
	for name, part := range b.changes.policies {
		b.replace(name, part)
	}
}

// replace puts a policy in the place of the one of its name; a nil part takes that away.
func (b *build) replace(name objectName, part *policyPart) {
	b.judge[name] = struct{}{}
	if before, ok := b.policies[name]; ok {
		delete(b.policies, name)
		b.app(before.app).leave(before)
		b.accounts -= before.accounts()
	}
	if part == nil {
		return
	}
	if b.policies == nil {
		b.policies = map[objectName]*boundPolicy{}
	}
	bound := part.bind(&b.lists)
	b.policies[name] = bound
	b.app(part.app).join(bound)
	b.accounts += part.accounts()
}

func (b *build) settleRecords() {
	for uid, record := range b.changes.records {
		if before, ok := b.records[uid]; ok {
			delete(b.records, uid)
			b.app(before.app).drop(before)
		}
		if record == nil || !record.matters() {
			continue
		}
		if b.records == nil {
			b.records = map[string]*recordPart{}
		}
		b.records[uid] = record
		b.app(record.app).keep(record)
	}
}

// index brings the indexes of the apps up to date.
func (b *build) index() {
	for _, app := range b.apps {
		for _, p := range app.indexChanges() {
			b.judge[p.object.objectName()] = struct{}{}
		}
	}
}

// judgePolicies needs the indexes.
func (b *build) judgePolicies() {
	verdicts := make(map[objectName]*PolicyVerdict, len(b.judge))
	for name := range b.judge {
		if before := b.snapshot.policies.find(name); before != nil {
			b.snapshot.acceptances[before.Acceptance]--
		}
		verdicts[name] = nil
		if p, ok := b.policies[name]; ok {
			verdicts[name] = b.apps[p.app].verdictOn(p)
			b.snapshot.acceptances[verdicts[name].Acceptance]++
		}
	}
	b.snapshot.policies = b.snapshot.policies.edited(verdicts)
}

// publishApps compiles the apps that changed, and makes the hashes of the snapshot.
func (b *build) publishApps() {
	changed := false
	for name, app := range b.apps {
		changed = changed || app.changed
		if app.changed {
			app.compile()
		}
		if app.abandoned() {
			delete(b.apps, name)
		}
	}
	if !changed && b.snapshot.bySDKAppID != nil {
		return
	}
	s := b.snapshot
	s.apps = make([]*CompiledApp, 0, len(b.apps))
	s.bySDKAppID = make(map[uint64]*CompiledApp, len(b.apps))
	s.byName = make(map[objectName]*CompiledApp, len(b.apps))
	var rules, records transcript
	for _, app := range b.appsInOrder() {
		s.apps = append(s.apps, app.compiled)
		s.bySDKAppID[app.app.SDKAppID] = app.compiled
		s.byName[app.name] = app.compiled
		rules.part(app.content)
		rules.multiset(app.policies)
		records.multiset(app.records)
	}
	s.rules = uint64(rules.sum())
	s.hash = uint64(fingerprintOf(append(rules, records...)))
}

// appsInOrder returns the apps that hold an SDKAppID, ordered by name.
func (b *build) appsInOrder() []*appState {
	apps := slices.Collect(maps.Values(b.apps))
	apps = slices.DeleteFunc(apps, func(s *appState) bool { return s.compiled == nil })
	slices.SortFunc(apps, func(p, q *appState) int { return p.name.compare(q.name) })
	return apps
}

// app returns the state of the app of that name, from the first time on that something names it.
func (b *build) app(name objectName) *appState {
	app, ok := b.apps[name]
	if !ok {
		if b.apps == nil {
			b.apps = map[objectName]*appState{}
		}
		app = &appState{name: name, groups: &groupIndex{}}
		app.concede(nil)
		b.apps[name] = app
	}
	return app
}
