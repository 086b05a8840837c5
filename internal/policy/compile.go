package policy

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// Compiler makes a snapshot of a world that changes, again and again. Its zero value is an empty world. Tell it of every
// object that is new, changed or gone, in any order, and then Build: what the changes do not touch is shared with the
// snapshot before. The snapshot is the same as that of a new Compiler that was told of the same world; how it came to be
// leaves no trace.
//
// It is total: any world has a snapshot, and an object that is wrong costs only itself. It is pure: nothing depends on the
// clock or chance. What it is given may be changed afterwards. It is not for concurrent use; the snapshots that it
// returned are.
type Compiler struct {
	apps     map[objectName]*appState
	lists    listIndex
	policies map[objectName]*boundPolicy
	// accounts is how many the policies name themselves.
	accounts int
	records  map[string]*recordPart
	snapshot *Snapshot // that of the last build
	changes  changes
}

// changes are those since the last build, by the names of the objects; nil stands for an object that is gone.
type changes struct {
	apps     map[objectName]*App
	lists    map[objectName]*compiledList
	policies map[objectName]*policyPart
	records  map[string]*recordPart
}

func (c *changes) none() bool { return len(c.apps)+len(c.lists)+len(c.policies)+len(c.records) == 0 }

// note keeps what an object has become.
func note[K comparable, V any](changes *map[K]*V, key K, now *V) {
	if *changes == nil {
		*changes = map[K]*V{}
	}
	(*changes)[key] = now
}

// SetApp adds an app, or puts it in the place of the one of its name.
func (c *Compiler) SetApp(a App) {
	a.Tokens = slices.Clone(a.Tokens)
	note(&c.changes.apps, a.objectName(), &a)
}

// DeleteApp takes an app away. One that is not there stays away.
func (c *Compiler) DeleteApp(namespace, name string) {
	note(&c.changes.apps, objectName{namespace, name}, nil)
}

// SetPolicy adds a policy, or puts it in the place of the one of its name.
func (c *Compiler) SetPolicy(p Policy) {
	note(&c.changes.policies, p.objectName(), newPolicyPart(&p))
}

// DeletePolicy takes a policy away. One that is not there stays away.
func (c *Compiler) DeletePolicy(namespace, name string) {
	note(&c.changes.policies, objectName{namespace, name}, nil)
}

// SetList adds a list, or puts it in the place of the one of its name.
func (c *Compiler) SetList(l List) {
	now := &indexedList{name: l.Name, labels: maps.Clone(l.Labels), set: l.Accounts}
	c.lists.put(l.objectName(), now)
	note(&c.changes.lists, l.objectName(), &compiledList{
		ListVerdict: ListVerdict{Object: l.Object.comparable(), Accounts: now.len()},
		accounts:    l.Accounts,
	})
}

// DeleteList takes a list away. One that is not there stays away.
func (c *Compiler) DeleteList(namespace, name string) {
	c.lists.put(objectName{namespace, name}, nil)
	note(&c.changes.lists, objectName{namespace, name}, nil)
}

func (l *indexedList) len() int {
	if l == nil {
		return 0
	}
	return l.set.Len()
}

// SetRefusal adds a record, or puts it in the place of the one of its UID.
func (c *Compiler) SetRefusal(r Refusal) { note(&c.changes.records, r.UID, newRecordPart(&r)) }

// DeleteRefusal takes a record away. One that is not there stays away.
func (c *Compiler) DeleteRefusal(uid string) { note(&c.changes.records, uid, nil) }

// Compile makes the snapshot of an input, from nothing.
func Compile(in Input) *Snapshot {
	var c Compiler
	c.Set(in)
	return c.Build()
}

// Set sets all objects of an input, and takes nothing away. Of several of one kind and name, which Kubernetes rules out, the latest
// version counts.
func (c *Compiler) Set(in Input) {
	for _, l := range distinct(in.Lists, listObject, listContent) {
		c.SetList(*l)
	}
	for _, a := range distinct(in.Apps, appObject, appContent) {
		c.SetApp(*a)
	}
	for _, p := range distinct(in.Policies, policyObject, policyContent) {
		c.SetPolicy(*p)
	}
	for i, r := range distinctRecords(in.Refusals) {
		uid := r.UID
		if uid == "" {
			uid = "/" + strconv.Itoa(i) // one for itself
		}
		note(&c.changes.records, uid, newRecordPart(r))
	}
}

func listObject(l *List) *Object     { return &l.Object }
func appObject(a *App) *Object       { return &a.Object }
func policyObject(p *Policy) *Object { return &p.Object }

func appContent(a *App) fingerprint { return a.fingerprint() }

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
