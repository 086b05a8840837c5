package drill

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// gate is the join section of a policy, in mode Enforce.
type gate struct {
	Triggers    []string  `json:",omitempty"` // none: all three
	Allow, Deny *accounts `json:",omitempty"`
	Evict       *eviction `json:",omitempty"`
}

// accounts are those of an allow or a deny.
type accounts struct {
	Accounts, Prefixes []string `json:",omitempty"`
	// List is an AccountList in Shards objects, named List-0 and so on. The policy picks them by their label, or names
	// each.
	List       string `json:",omitempty"`
	Shards     int    `json:",omitempty"`
	BySelector bool   `json:",omitempty"`
}

// eviction is join.evict.
type eviction struct {
	Mode        string
	Grace       int // minutes
	MaxRemovals int
	PerDay      int
}

func (e eviction) grace() time.Duration { return time.Duration(e.Grace) * time.Minute }

// evictsLike reports whether both say the same under join.evict: only an edit of that voids a plan.
func (r rule) evictsLike(other rule) bool {
	return r.evicts() && other.evicts() && *r.Gate.Evict == *other.Gate.Evict && r.Invalid == other.Invalid
}

func (r rule) evicts() bool { return r.Gate != nil && r.Gate.Evict != nil }

func (g gate) spec(invalid bool) *v1alpha1.JoinSection {
	join := &v1alpha1.JoinSection{Allow: g.Allow.spec(), Deny: g.Deny.spec()}
	for _, trigger := range g.Triggers {
		join.Triggers = append(join.Triggers, v1alpha1.JoinTrigger(trigger))
	}
	if invalid {
		if join.Deny == nil {
			join.Deny = &v1alpha1.AccountSelector{}
		}
		join.Deny.Lists = append(join.Deny.Lists, invalidReference())
	}
	if e := g.Evict; e != nil {
		join.Evict = &v1alpha1.EvictRule{
			Mode: v1alpha1.PruneMode(e.Mode), Grace: fmt.Sprintf("%dm", e.Grace), MaxRemovals: int32(e.MaxRemovals),
			MaxRemovalsPerDay: int32(e.PerDay), Notification: v1alpha1.NotificationSilent,
		}
	}
	return join
}

func (a *accounts) spec() *v1alpha1.AccountSelector {
	if a == nil {
		return nil
	}
	s := &v1alpha1.AccountSelector{Accounts: a.Accounts, AccountPrefixes: a.Prefixes}
	switch {
	case a.BySelector:
		s.Lists = append(s.Lists, v1alpha1.AccountListReference{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"list": a.List}},
		})
	default:
		for i := range a.Shards {
			s.Lists = append(s.Lists, v1alpha1.AccountListReference{Name: shard(a.List, i)})
		}
	}
	return s
}

func shard(list string, i int) string { return fmt.Sprintf("%s-%d", list, i) }

// moment is one of the states of the API server that are possible at a moment: the policies and lists by name, nil for
// one that does not exist (or that no selector picks, if the gate has one).
type moment struct {
	policies map[string]*version
	lists    map[string]*[]string
	resolved map[*accounts]resolved
}

// resolved are the accounts of the lists of an allow or a deny, with the list that has each. unresolved: a reference
// resolves to nothing, or to an empty list.
type resolved struct {
	listed     map[string]string
	unresolved bool
}

// states are all states that are possible at any of the moments, of the policies that govern a group.
func (l *ledger) states(app, group, groupType string, moments ...time.Time) (states []moment) {
	for _, at := range moments {
		choices, lists := map[string][]*version{}, map[string][]*[]string{}
		for name, versions := range l.policies {
			values := versions.at(at)
			if !slices.ContainsFunc(values, func(v *version) bool {
				return v != nil && v.rule.governs(app, group, groupType)
			}) {
				continue
			}
			choices[name] = values
			for _, v := range values {
				if v == nil || v.rule.Gate == nil {
					continue
				}
				for _, a := range []*accounts{v.rule.Gate.Allow, v.rule.Gate.Deny} {
					for i := range a.shards() {
						lists[shard(a.List, i)] = line(l.lists, shard(a.List, i)).at(at)
					}
				}
			}
		}
		each(choices, func(policies map[string]*version) {
			each(lists, func(lists map[string]*[]string) {
				states = append(states, moment{policies, lists, map[*accounts]resolved{}})
			})
		})
	}
	return states
}

// each calls yield with every choice of one value for each key.
func each[T any](choices map[string][]T, yield func(map[string]T)) {
	names := slices.Sorted(maps.Keys(choices))
	names = slices.DeleteFunc(names, func(name string) bool { return len(choices[name]) == 0 })
	var rest func(chosen map[string]T, names []string)
	rest = func(chosen map[string]T, names []string) {
		if len(names) == 0 {
			yield(maps.Clone(chosen))
			return
		}
		for _, value := range choices[names[0]] {
			chosen[names[0]] = value
			rest(chosen, names[1:])
		}
	}
	rest(map[string]T{}, names)
}

func (a *accounts) shards() int {
	if a == nil {
		return 0
	}
	return a.Shards
}

// resolve reads the lists.
func (m moment) resolve(a *accounts) resolved {
	if r, known := m.resolved[a]; known {
		return r
	}
	r, found := resolved{listed: map[string]string{}}, false
	for i := range a.shards() {
		list := m.lists[shard(a.List, i)]
		empty := list == nil || len(*list) == 0
		r.unresolved = r.unresolved || empty && !a.BySelector
		found = found || !empty
		if list == nil {
			continue
		}
		for _, account := range *list {
			if r.listed[account] == "" {
				r.listed[account] = shard(a.List, i)
			}
		}
	}
	r.unresolved = r.unresolved || a.shards() > 0 && a.BySelector && !found
	m.resolved[a] = r
	return r
}

// names reports whether the accounts have this one, and in which list.
func (m moment) names(a *accounts, account string) (list string, named bool) {
	if a == nil {
		return "", false
	}
	listed := m.resolve(a).listed
	begins := func(prefix string) bool { return strings.HasPrefix(account, prefix) }
	if slices.Contains(a.Accounts, account) || slices.ContainsFunc(a.Prefixes, begins) {
		return "", true
	}
	list, named = listed[account]
	return list, named
}

// verdict is what section 10 of the design says of a member: refused by a section for each trigger.
type verdict struct {
	refused    bool
	unresolved bool   // it is not certain, and no member may go
	reason     string // Denied or NotListed
	policy     string // whose deny, or whose allow, refuses it: the highest-ranked
	list       string // by which the deny names it
}

// ranked are the policies that govern a group, highest rank first. The drill has none of equal rank.
func (m moment) ranked(app, group, groupType string) (names []string) {
	for name, v := range m.policies {
		if v != nil && v.rule.governs(app, group, groupType) {
			names = append(names, name)
		}
	}
	rank := map[string]int{"Exact": 0, "Prefix": 1, "All": 2}
	slices.SortFunc(names, func(a, b string) int {
		return rank[m.policies[a].rule.Match] - rank[m.policies[b].rule.Match]
	})
	return names
}

// evictor is the policy by whose rule members of a group are evicted; "" if there is none.
func (m moment) evictor(app, group, groupType string) string {
	for _, name := range m.ranked(app, group, groupType) {
		if m.policies[name].rule.evicts() {
			return name
		}
	}
	return ""
}

// judge is the verdict about an account. The reason is Denied if a deny has it for one of the triggers.
func (m moment) judge(app, group, groupType, account string) (v verdict) {
	names := m.ranked(app, group, groupType)
	v.refused = true
	for _, name := range names {
		r := m.policies[name].rule
		v.unresolved = v.unresolved || r.Invalid
		if r.Gate == nil {
			continue
		}
		for _, a := range []*accounts{r.Gate.Allow, r.Gate.Deny} {
			v.unresolved = v.unresolved || m.resolve(a).unresolved
		}
		list, denied := m.names(r.Gate.Deny, account)
		switch {
		case denied && v.reason != "Denied":
			v.reason, v.policy, v.list = "Denied", name, list
		case r.Gate.Allow != nil && v.reason == "":
			v.reason, v.policy = "NotListed", name
		}
	}
	for _, trigger := range []string{"Apply", "Invite", "RESTAPI"} {
		v.refused = v.refused && m.refuses(names, trigger, account)
	}
	return v
}

// refuses reports whether the sections of the policies refuse an account that comes in by a trigger.
func (m moment) refuses(names []string, trigger, account string) bool {
	gated, allowed := false, false
	for _, name := range names {
		g := m.policies[name].rule.Gate
		if g == nil || len(g.Triggers) > 0 && !slices.Contains(g.Triggers, trigger) {
			continue
		}
		if _, denied := m.names(g.Deny, account); denied {
			return true
		}
		_, named := m.names(g.Allow, account)
		gated, allowed = gated || g.Allow != nil, allowed || named
	}
	return gated && !allowed
}
