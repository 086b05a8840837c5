package policy

import (
	"iter"
	"maps"
	"slices"

	"github.com/groupgate/groupgate/internal/accounts"
)

// ChangedGroup is a group whose gates refuse accounts that they did not refuse before.
type ChangedGroup struct {
	Group string
	// Accounts are those accounts, sorted, whether they are members or not.
	Accounts []string
	// Whole says that the accounts cannot be named, or are too many: whoever is a member may be one of them.
	Whole bool
}

// mostCompared is how many accounts that came off an allow, or onto a deny, are judged for one group: if there are
// more, it costs less to read the members.
const mostCompared = 100_000

// NewlyRefused compares an app with itself before a change, for the groups that policies name exactly and that an
// eviction rule governs in after. It yields those in which accounts are refused in after that were not in before,
// ordered by id. It goes by the gates alone: an edit of a rule refuses nobody.
//
// The accounts of a group are named, up to limit of them. They cannot be where a prefix left an allow or came into a
// deny, where a gate or a rule is new, and where it was not certain before whom the gates refuse. A group for which
// that is not certain in after is left out. The type of a group is not known here: its accounts are those of all types
// that can be listed. before is nil for an app that was not there.
//
// A list that many groups use is compared once.
func NewlyRefused(before, after *CompiledApp, limit int) iter.Seq[ChangedGroup] {
	return func(yield func(ChangedGroup) bool) {
		if after == nil || before != nil && before.groups == after.groups {
			return
		}
		c := comparison{before: before, after: after, limit: limit, differences: map[listDifference][]string{}}
		if before == nil {
			c.before = &CompiledApp{groups: &groupIndex{}}
		}
		for _, group := range c.changedGroups() {
			changed := c.compare(group)
			if (changed.Whole || len(changed.Accounts) > 0) && !yield(changed) {
				return
			}
		}
	}
}

// comparison is one comparison of an app with itself.
type comparison struct {
	before, after *CompiledApp
	limit         int
	differences   map[listDifference][]string
	// buckets are those of the group that is looked at, before and after.
	buckets [2][]*bucket
}

// listDifference is what a list, which has one content in each snapshot, lost or gained.
type listDifference struct {
	list   string
	gained bool
}

// changedGroups returns the groups with an eviction rule that a policy names exactly, before or after, and whose
// policies or lists changed.
func (c *comparison) changedGroups() []string {
	var groups []string
	add := func(group string) {
		if !c.sameBuckets(group) && c.after.MayEvict(group) {
			groups = append(groups, group)
		}
	}
	for group := range c.after.groups.exact {
		add(group)
	}
	for group := range c.before.groups.exact {
		if c.after.groups.exact[group] == nil {
			add(group)
		}
	}
	slices.Sort(groups)
	return groups
}

// sameBuckets compares addresses: a bucket whose policies and lists are the same is shared.
func (c *comparison) sameBuckets(group string) bool {
	for i, app := range []*CompiledApp{c.before, c.after} {
		c.buckets[i] = slices.AppendSeq(c.buckets[i][:0], app.groups.matching(group))
	}
	return slices.Equal(c.buckets[0], c.buckets[1])
}

func (c *comparison) compare(group string) ChangedGroup {
	changed := ChangedGroup{Group: group}
	var compared GoverningEviction // those of the type before
	var comparedWith GoverningEviction
	for _, t := range []GroupType{TypeWork, TypePublic, TypeMeeting, TypeCommunity} {
		now, governed := c.after.GoverningEviction(group, t)
		if !governed || !now.usable() {
			continue
		}
		was, governed := c.before.GoverningEviction(group, t)
		if !governed || !was.usable() {
			return ChangedGroup{Group: group, Whole: true}
		}
		if sameGates(&was, &now) || samePolicies(&was, &compared) && samePolicies(&now, &comparedWith) {
			continue
		}
		compared, comparedWith = was, now
		refused, named := c.newlyRefused(&was, &now)
		if !named {
			return ChangedGroup{Group: group, Whole: true}
		}
		changed.Accounts = append(changed.Accounts, refused...)
	}
	slices.Sort(changed.Accounts)
	changed.Accounts = slices.Compact(changed.Accounts)
	if len(changed.Accounts) > c.limit {
		return ChangedGroup{Group: group, Whole: true}
	}
	return changed
}

// sameGates reports whether the gates refuse the same accounts.
func sameGates(was, now *GoverningEviction) bool {
	return slices.EqualFunc(was.gates, now.gates, func(g, h gate) bool { return g.policy.gate == h.policy.gate })
}

func samePolicies(g, h *GoverningEviction) bool {
	return slices.EqualFunc(g.gates, h.gates, func(g, h gate) bool { return g.policy == h.policy })
}

// newlyRefused returns the accounts that are refused now and were not; named is false if they cannot be told, or are
// more than the limit.
//
// Such an account is refused now for a trigger for which it was not: it came onto a deny, or it came off an allow, or
// it needs an allow now.
func (c *comparison) newlyRefused(was, now *GoverningEviction) (refused []string, named bool) {
	if now.closed&^was.closed != 0 {
		return nil, false
	}
	known := map[string]bool{}
	for trigger := TriggerApply; int(trigger) < len(triggerNames); trigger++ {
		if trigger > 0 && was.speaksAlike(trigger-1, trigger) && now.speaksAlike(trigger-1, trigger) {
			continue
		}
		for _, change := range []struct {
			more, less *pool
			gained     bool
		}{
			{more: now.denying(trigger), less: was.denying(trigger), gained: true},
			{more: was.allowing(trigger), less: now.allowing(trigger)},
		} {
			if !change.less.coverPrefixes(change.more) {
				return nil, false
			}
			for account := range c.without(change.more, change.less, change.gained) {
				if known[account] {
					continue
				}
				known[account] = true
				if len(known) > mostCompared {
					return nil, false
				}
				if _, is := now.Judge(account); !is {
					continue
				}
				if _, before := was.Judge(account); before {
					continue
				}
				if refused = append(refused, account); len(refused) > c.limit {
					return nil, false
				}
			}
		}
	}
	return refused, true
}

// speaksAlike reports whether the same gates speak about both triggers.
func (g *GoverningEviction) speaksAlike(t, u Trigger) bool {
	return !slices.ContainsFunc(g.gates, func(gate gate) bool { return gate.speaks>>t&1 != gate.speaks>>u&1 })
}

// pool is what several selectors select together.
type pool struct {
	own      []accounts.Set
	prefixes []accounts.Prefixes
	lists    map[string]accounts.Set
}

func (g *GoverningEviction) denying(t Trigger) *pool {
	var p pool
	for _, gate := range g.gates {
		if gate.speaks&(1<<t) != 0 {
			p.add(gate.policy.deny, gate.policy.references[len(gate.policy.allow.refs):])
		}
	}
	return &p
}

func (g *GoverningEviction) allowing(t Trigger) *pool {
	var p pool
	for _, gate := range g.gates {
		if gate.speaks&(1<<t) != 0 {
			p.add(gate.policy.allow, gate.policy.references[:len(gate.policy.allow.refs)])
		}
	}
	return &p
}

func (p *pool) add(selector *parsedSelector, references []resolvedReference) {
	p.own = append(p.own, selector.own.sets...)
	p.prefixes = append(p.prefixes, selector.own.prefixes)
	for _, r := range references {
		for _, list := range r.sets {
			if p.lists == nil {
				p.lists = map[string]accounts.Set{}
			}
			p.lists[list.Name] = list.Accounts
		}
	}
}

// coverPrefixes reports whether p selects everything that the prefixes of q select.
func (p *pool) coverPrefixes(q *pool) bool {
	for _, prefixes := range q.prefixes {
		for _, prefix := range prefixes {
			if !slices.ContainsFunc(p.prefixes, func(in accounts.Prefixes) bool { return in.Contains(prefix) }) {
				return false
			}
		}
	}
	return true
}

// without yields the accounts that more names, itself or by lists, and that the same lists of less do not; some come
// more than once, or are selected by another part of less.
func (c *comparison) without(more, less *pool, gained bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, set := range more.own {
			if slices.Contains(less.own, set) {
				continue
			}
			for account := range set.All() {
				if !yield(account) {
					return
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(more.lists)) {
			for account := range c.listWithout(listDifference{name, gained}, more.lists[name], less.lists) {
				if !yield(account) {
					return
				}
			}
		}
	}
}

// listWithout yields the accounts of a list that it has not among less.
func (c *comparison) listWithout(
	key listDifference, list accounts.Set, less map[string]accounts.Set,
) iter.Seq[string] {
	other, ok := less[key.list]
	if !ok {
		return list.All()
	}
	if _, known := c.differences[key]; !known {
		c.differences[key] = slices.Collect(list.Without(other))
	}
	return slices.Values(c.differences[key])
}
