package policy

import (
	"iter"
	"maps"
	"slices"
)

// Compiler makes snapshots of a set of objects that changes. Its zero value has no objects. Call Set or Delete for
// every object that is new, changed or gone, in any order, and then Build. The snapshot depends only on the objects as
// they are, not on the order of edits: it is equal to that of a new Compiler with the same objects.
//
// Set parses the object and notes it, Delete notes that it is gone; neither edits a snapshot. Build resolves the
// references of policies anew where the policy or one of its lists changed, and makes the next snapshot from copies of
// the plain maps and slices of the one before, in which it changes what changed. See ADR 8.
//
// Build never fails: an object that is wrong affects only itself. It is pure: nothing depends on the clock or on
// chance. The arguments of Set may be changed afterwards. A Compiler is not for concurrent use; its snapshots are.
type Compiler struct {
	apps     map[objectName]*App
	lists    listIndex
	policies ordered[compiledPolicy, *compiledPolicy]
	refusals map[string]*compiledRefusal
	states   map[objectName]*appState // of the apps that exist, and of those that policies or refusals name
	// named counts the accounts that policies name themselves.
	named    int
	snapshot *Snapshot     // of the last build
	replaced []replacement // by the last build
	changes  changes
}

// changes are those since the last build, by name; nil stands for an object that is gone.
type changes struct {
	apps     map[objectName]*App
	lists    map[objectName]*labeledList
	policies map[objectName]*parsedPolicy
	refusals map[string]*compiledRefusal
}

func (c *changes) none() bool { return len(c.apps)+len(c.lists)+len(c.policies)+len(c.refusals) == 0 }

func note[K comparable, V any](changes *map[K]*V, key K, object *V) {
	if *changes == nil {
		*changes = map[K]*V{}
	}
	(*changes)[key] = object
}

// SetApp adds an app, or replaces the one of its name.
func (c *Compiler) SetApp(a App) {
	a.Tokens = slices.Clone(a.Tokens)
	note(&c.changes.apps, a.objectName(), &a)
}

// DeleteApp removes an app, if there is one of that name.
func (c *Compiler) DeleteApp(namespace, name string) {
	note(&c.changes.apps, objectName{namespace, name}, nil)
}

// SetPolicy adds a policy, or replaces the one of its name.
func (c *Compiler) SetPolicy(p Policy) {
	note(&c.changes.policies, p.objectName(), parsePolicy(&p))
}

// DeletePolicy removes a policy, if there is one of that name.
func (c *Compiler) DeletePolicy(namespace, name string) {
	note(&c.changes.policies, objectName{namespace, name}, nil)
}

// SetList adds a list, or replaces the one of its name.
func (c *Compiler) SetList(l List) {
	verdict := ListVerdict{Object: l.Object.comparable(), Accounts: l.Accounts.Len()}
	note(&c.changes.lists, l.objectName(), &labeledList{
		compiledList{verdict, l.Accounts}, maps.Clone(l.Labels), versionOf(l.Name, l.UID, l.Generation),
	})
}

// DeleteList removes a list, if there is one of that name.
func (c *Compiler) DeleteList(namespace, name string) {
	note(&c.changes.lists, objectName{namespace, name}, nil)
}

// SetRefusal adds a refusal, or replaces the one of its UID.
func (c *Compiler) SetRefusal(r Refusal) { note(&c.changes.refusals, r.UID, compileRefusal(&r)) }

// DeleteRefusal removes a refusal, if there is one of that UID.
func (c *Compiler) DeleteRefusal(uid string) { note(&c.changes.refusals, uid, nil) }

// Build returns the snapshot of the objects as they are now: the last one if nothing changed.
func (c *Compiler) Build() *Snapshot {
	c.replaced = nil
	if c.snapshot != nil && c.changes.none() {
		return c.snapshot
	}
	c.replaced = c.applyChanges()
	c.snapshot = assemble(c, c.replaced)
	c.changes = changes{}
	return c.snapshot
}

// Referring returns the policies with references that the last Build set, or whose references it resolved to other
// accounts.
func (c *Compiler) Referring() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for _, r := range c.replaced {
			if r.after == nil || r.before != nil && r.before.fingerprint == r.after.fingerprint {
				continue
			}
			for range r.after.refs() {
				if !yield(r.after.object) {
					return
				}
				break
			}
		}
	}
}

// replacement is a policy before and after a change; nil stands for one that is not there.
type replacement struct{ before, after *resolvedPolicy }

// applyChanges takes up what was set and deleted, and returns the policies that changed or whose lists did.
func (c *Compiler) applyChanges() []replacement {
	apply(&c.apps, c.changes.apps)
	apply(&c.refusals, c.changes.refusals)
	for name, list := range c.changes.lists {
		c.lists.put(name, list)
	}
	replaced := make([]replacement, 0, len(c.changes.policies))
	changed := make(map[objectName]*compiledPolicy, len(c.changes.policies))
	for name, parsed := range c.changes.policies {
		before := c.policies.find(name)
		changed[name] = nil
		if parsed != nil {
			changed[name] = &compiledPolicy{parsedPolicy: parsed, references: c.lists.use(parsed)}
		}
		if before != nil {
			replaced = append(replaced, replacement{before: before.resolved})
			// After use, so that a reference of both versions is not forgotten and resolved anew.
			c.lists.release(before.references)
		}
	}
	c.policies = c.policies.with(changed)
	return c.resolve(changed, replaced)
}

// resolve resolves the changed policies, and those that refer to changed lists.
func (c *Compiler) resolve(changed map[objectName]*compiledPolicy, replaced []replacement) []replacement {
	stale := c.lists.resolveStale()
	if len(stale) > 0 {
		for _, p := range c.policies {
			if before := p.resolved; before != nil && p.refersToChanged() {
				p.resolved = p.resolve(p.references)
				replaced = append(replaced, replacement{before, p.resolved})
			}
		}
	}
	for _, p := range changed {
		if p != nil {
			p.resolved = p.resolve(p.references)
			replaced = append(replaced, replacement{after: p.resolved})
		}
	}
	for _, r := range stale {
		r.changed = false
	}
	return replaced
}

func apply[K comparable, V any](objects *map[K]*V, changes map[K]*V) {
	if *objects == nil {
		*objects = map[K]*V{}
	}
	for key, object := range changes {
		if object == nil {
			delete(*objects, key)
			continue
		}
		(*objects)[key] = object
	}
}

// Compile returns the snapshot of an input, which may be changed afterwards.
func Compile(in Input) *Snapshot {
	var c Compiler
	c.Set(in)
	return c.Build()
}

// Set sets all objects of an input, and removes none. Of several objects of one name, which Kubernetes rules out, the
// last one counts.
func (c *Compiler) Set(in Input) {
	for _, l := range in.Lists {
		c.SetList(l)
	}
	for _, a := range in.Apps {
		c.SetApp(a)
	}
	for _, p := range in.Policies {
		c.SetPolicy(p)
	}
	for _, r := range in.Refusals {
		c.SetRefusal(r)
	}
}
