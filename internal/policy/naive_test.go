package policy

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// The naive model: the words of the contract, by linear scans over the input, sharing nothing with the package but the
// types of its input and output. It is slow and meant to be obviously right.

type naive struct{ in Input }

func (n naive) holder(sdkAppID uint64) *App {
	var holder *App
	for i := range n.in.Apps {
		a := &n.in.Apps[i]
		if a.SDKAppID != sdkAppID {
			continue
		}
		older := holder == nil || a.Created.Before(holder.Created)
		if holder != nil && a.Created.Equal(holder.Created) {
			older = a.Namespace < holder.Namespace || a.Namespace == holder.Namespace && a.Name < holder.Name
		}
		if holder != nil && a.Unconfirmed != holder.Unconfirmed {
			older = holder.Unconfirmed
		}
		if older {
			holder = a
		}
	}
	return holder
}

// governing returns the policies of the app whose groups match the id, the highest-ranked first.
func (n naive) matching(a *App, group string) []Policy {
	type ranked struct {
		kind, length int
		policy       Policy
	}
	var found []ranked
	for _, p := range n.in.Policies {
		if p.Namespace != a.Namespace || p.App != a.Name {
			continue
		}
		best := ranked{kind: 99, policy: p}
		for _, m := range p.Groups {
			kind, length := 99, 0
			if m.Kind == MatchExact && m.Value == group {
				kind = 0
			}
			if m.Kind == MatchPrefix && len(group) >= len(m.Value) && group[:len(m.Value)] == m.Value {
				kind, length = 1, len(m.Value)
			}
			if m.Kind == MatchAll {
				kind = 2
			}
			if kind < best.kind || kind == best.kind && length > best.length {
				best.kind, best.length = kind, length
			}
		}
		if best.kind < 99 {
			found = append(found, best)
		}
	}
	sort.Slice(found, func(i, j int) bool {
		x, y := found[i], found[j]
		if x.kind != y.kind {
			return x.kind < y.kind
		}
		if x.length != y.length {
			return x.length > y.length
		}
		if !x.policy.Created.Equal(y.policy.Created) {
			return x.policy.Created.Before(y.policy.Created)
		}
		return x.policy.Name < y.policy.Name
	})
	var policies []Policy
	for _, f := range found {
		policies = append(policies, f.policy)
	}
	return policies
}

func (n naive) typeListed(p Policy, t GroupType) bool {
	return p.Types == 0 || (p.Types>>t)&1 == 1
}

func (n naive) invalid(p Policy) bool {
	if p.Invalid != "" {
		return true
	}
	if p.Join != nil && (p.Join.Allow != nil && p.Join.Allow.Invalid != "" || p.Join.Deny != nil &&
		p.Join.Deny.Invalid != "") {
		return true
	}
	if p.Join != nil && p.Join.Reject.Code != 0 && (p.Join.Reject.Code < 10100 || p.Join.Reject.Code > 10200) {
		return true
	}
	if p.Join != nil && p.Join.Evict != nil {
		j := p.Join
		gated := j.Allow != nil &&
			(len(j.Allow.Accounts) > 0 || len(j.Allow.Prefixes) > 0 || len(j.Allow.Lists) > 0 || j.Allow.Invalid != "")
		if !gated && (j.Allow != nil || j.Deny == nil) || j.Audit || j.Triggers != 0 && j.Triggers != 7 ||
			j.Evict.Grace > 30*24*time.Hour || j.Evict.Interval < time.Hour {
			return true
		}
	}
	return p.Prune != nil && (p.Prune.InactiveFor < 24*time.Hour || p.Prune.Protect != nil &&
		p.Prune.Protect.Invalid != "")
}

// lists returns the lists that ref refers to.
func (n naive) lists(namespace string, ref ListRef) []List {
	var found []List
	for _, l := range n.in.Lists {
		if l.Namespace != namespace {
			continue
		}
		if ref.Selector == nil {
			if l.Name == ref.Name {
				found = append(found, l)
			}
			continue
		}
		every := true
		for _, r := range *ref.Selector {
			value, has := l.Labels[r.Key]
			in := false
			for _, v := range r.Values {
				in = in || has && v == value
			}
			switch r.Op {
			case "In":
				every = every && in
			case "NotIn":
				every = every && !in
			case "Exists":
				every = every && has
			case "DoesNotExist":
				every = every && !has
			}
		}
		if every {
			found = append(found, l)
		}
	}
	return found
}

func (n naive) selects(namespace string, a *AccountSelector, account string) bool {
	if a == nil {
		return false
	}
	for _, x := range a.Accounts {
		if x == account {
			return true
		}
	}
	for _, x := range a.Prefixes {
		if strings.Index(account, x) == 0 {
			return true
		}
	}
	for _, ref := range a.Lists {
		for _, l := range n.lists(namespace, ref) {
			for x := range l.Accounts.All() {
				if x == account {
					return true
				}
			}
		}
	}
	return false
}

// binds says whether the record is about the app: by its number, or by its name if none is recorded.
func binds(r *Refusal, a *App) bool {
	return r.Namespace == a.Namespace && (r.SDKAppID == a.SDKAppID || r.SDKAppID == 0 && r.App == a.Name)
}

// refusal returns what the records tell the account that would come back; nil where they do not refuse it.
func (n naive) refusal(a *App, q JoinQuery) *Verdict {
	var told *Verdict
	var until time.Time
	for _, r := range n.in.Refusals {
		if !binds(&r, a) || r.Group != q.Group || !r.Until.After(q.Now) || r.Restored ||
			!slices.Contains(r.Accounts, q.Account) {
			continue
		}
		v := Verdict{Reason: ReasonPruned, Code: 1}
		if r.Reject.Code >= 10100 && r.Reject.Code <= 10200 {
			v.Code, v.Message = r.Reject.Code, r.Reject.Message
		}
		first := told == nil || r.Until.After(until)
		if told != nil && r.Until.Equal(until) {
			first = v.Code < told.Code || v.Code == told.Code && v.Message < told.Message
		}
		if first {
			told, until = &v, r.Until
		}
	}
	return told
}

// restores reports whether the query is the operator adding back whom a run removed.
func (n naive) restores(a *App, q JoinQuery) bool {
	for _, r := range n.in.Refusals {
		holds := r.Restoring || r.Restored && q.Reported && r.Until.After(q.Now)
		if holds && binds(&r, a) && r.Group == q.Group &&
			slices.Contains(r.Accounts, q.Account) {
			return q.Trigger == TriggerRESTAPI && a.AdminAccount != "" && q.Operator == a.AdminAccount
		}
	}
	return false
}

func (n naive) join(a *App, q JoinQuery, audits bool) (v Verdict) {
	if q.Trigger == TriggerApply || q.Trigger == TriggerInvite {
		if told := n.refusal(a, q); told != nil {
			return *told
		}
	}
	var speaking []Policy
	for _, p := range n.matching(a, q.Group) {
		if p.Join == nil || p.Join.Audit && !audits {
			continue
		}
		if q.Type != TypeUnknown && !n.typeListed(p, q.Type) {
			continue
		}
		if p.Join.Triggers != 0 && (p.Join.Triggers>>q.Trigger)&1 == 0 {
			continue
		}
		speaking = append(speaking, p)
	}
	reject := func(p Policy, reason Reason) Verdict {
		if p.Join.Reject.Code >= 10100 && p.Join.Reject.Code <= 10200 {
			return Verdict{Reason: reason, Code: p.Join.Reject.Code, Message: p.Join.Reject.Message, Policy: &p.Object}
		}
		return Verdict{Reason: reason, Code: 1, Policy: &p.Object}
	}
	for _, p := range speaking {
		if n.selects(p.Namespace, p.Join.Deny, q.Account) {
			return reject(p, ReasonDenied)
		}
	}
	if n.restores(a, q) {
		return Verdict{Admit: true, Reason: ReasonRestored}
	}
	for _, p := range speaking {
		if !n.invalid(p) && n.selects(p.Namespace, p.Join.Allow, q.Account) {
			return Verdict{Admit: true, Reason: ReasonAllowed, Policy: &p.Object}
		}
	}
	for _, p := range speaking {
		if p.Join.Allow != nil || n.invalid(p) {
			return reject(p, ReasonNotListed)
		}
	}
	if len(speaking) > 0 {
		return Verdict{Admit: true, Reason: ReasonNotGated, Policy: &speaking[0].Object}
	}
	if a.RejectUnmatched {
		return Verdict{Reason: ReasonUnmatched, Code: 1}
	}
	return Verdict{Admit: true, Reason: ReasonUnmatched}
}

func (n naive) decide(a *App, q JoinQuery) Verdict {
	v := n.join(a, q, false)
	if other := n.join(a, q, true); other.Admit != v.Admit {
		v.AuditDiffers, v.AuditReason, v.AuditPolicy = true, other.Reason, other.Policy
	}
	return v
}

// pruning returns the governing policies with a rule, the highest-ranked first.
func (n naive) pruning(a *App, group string, t GroupType) []Policy {
	var found []Policy
	for _, p := range n.matching(a, group) {
		if t != TypeUnknown && p.Prune != nil && n.typeListed(p, t) {
			found = append(found, p)
		}
	}
	return found
}

func (n naive) mayPrune(a *App, group string) bool {
	for _, p := range n.matching(a, group) {
		if p.Prune != nil && !n.invalid(p) {
			return true
		}
	}
	return false
}

func (n naive) protects(a *App, group string, t GroupType, account string) bool {
	for _, p := range n.pruning(a, group, t) {
		if n.selects(p.Namespace, p.Prune.Protect, account) {
			return true
		}
	}
	return account == a.AdminAccount
}

// unresolved reports whether something is missing of the protection.
func (n naive) unresolved(a *App, group string, t GroupType) bool {
	for _, p := range n.pruning(a, group, t) {
		if p.Prune.Protect == nil {
			continue
		}
		if p.Prune.Protect.Invalid != "" {
			return true
		}
		for _, ref := range p.Prune.Protect.Lists {
			if len(n.lists(p.Namespace, ref)) == 0 {
				return true
			}
		}
	}
	return false
}

// overridden returns who overrides p, and in which matcher.
func (n naive) overridden(p Policy) (by string, m GroupMatcher) {
	if p.Prune == nil {
		return "", m
	}
	for _, m := range p.Groups {
		winner := Policy{}
		for _, q := range n.in.Policies {
			if q.Namespace != p.Namespace || q.App != p.App || q.Prune == nil || q.Name == p.Name {
				continue
			}
			stands := false
			for _, other := range q.Groups {
				stands = stands || other.Kind == m.Kind && (m.Kind == MatchAll || other.Value == m.Value)
			}
			covers := q.Types == 0
			if q.Types != 0 {
				covers = true
				for t := TypeWork; t <= TypeCommunity; t++ {
					covers = covers && (!n.typeListed(p, t) || n.typeListed(q, t))
				}
			}
			higher := q.Created.Before(p.Created) || q.Created.Equal(p.Created) && q.Name < p.Name
			best := winner.Name == "" || q.Created.Before(winner.Created) || q.Created.Equal(winner.Created) &&
				q.Name < winner.Name
			if stands && covers && higher && best {
				winner = q
			}
		}
		if winner.Name != "" {
			return winner.Name, m
		}
	}
	return "", m
}

// plan returns nil when there must be none.
func (n naive) plan(a *App, group string, state GroupState, budget int, members []Member, now time.Time) *Plan {
	rules := n.pruning(a, group, state.Type)
	if len(rules) == 0 || n.invalid(rules[0]) || n.unresolved(a, group, state.Type) {
		return nil
	}
	rule := rules[0].Prune
	plan := &Plan{}
	spoken := false
	done := map[string]bool{}
	for _, m := range members {
		ordinary := m.Role == RoleMember && m.Account != a.AdminAccount
		if ordinary && m.ActivityKnown && m.LastSpoke.Unix() > 0 {
			spoken = true
		}
		if done[m.Account] {
			plan.Repeated++
			continue
		}
		done[m.Account] = true
		last := m.Joined
		if m.LastSpoke.After(last) {
			last = m.LastSpoke
		}
		if m.Role == RoleOwner || m.Role == RoleAdmin || m.Account == a.AdminAccount {
			plan.Stay.Admin++
		} else if m.Role == RoleUnknown {
			plan.Stay.Unknown++
		} else if n.protects(a, group, state.Type, m.Account) {
			plan.Stay.Protected++
		} else if !m.ActivityKnown || m.Joined.IsZero() || m.Joined.After(now) || m.LastSpoke.After(now) ||
			m.MuteUntil.After(now) {
			plan.Stay.Unknown++
		} else if now.Sub(last) < rule.InactiveFor {
			plan.Stay.Active++
		} else {
			plan.Candidates++
			plan.Removals = append(plan.Removals, Removal{
				Account: m.Account, LastActive: last, NeverSpoke: m.LastSpoke.IsZero(),
			})
		}
	}
	if !spoken || state.MuteAllMember || state.SupportTopic {
		return nil
	}
	sort.Slice(plan.Removals, func(i, j int) bool {
		x, y := plan.Removals[i], plan.Removals[j]
		return x.LastActive.Before(y.LastActive) || x.LastActive.Equal(y.LastActive) && x.Account < y.Account
	})
	seats := rule.FreeSeats.Count
	for rule.FreeSeats.Percent > 0 && seats*100 < state.MaxMembers*rule.FreeSeats.Percent {
		seats++
	}
	if seats > state.MaxMembers {
		seats = state.MaxMembers
	}
	most := seats - (state.MaxMembers - state.Members)
	if most > rule.MaxRemovals {
		most = rule.MaxRemovals
	}
	if most > budget {
		most = budget
	}
	if most < 0 || state.MaxMembers == 0 {
		most = 0
	}
	if len(plan.Removals) > most {
		plan.Removals = plan.Removals[:most]
	}
	if len(plan.Removals) == 0 {
		plan.Removals = nil
	}
	return plan
}

// goes reports whether a planned removal is to happen, by the facts of now.
func (n naive) goes(a *App, group string, t GroupType, planned Removal, current map[string]Member, now time.Time) bool {
	m, present := current[planned.Account]
	if !present || m.Role != RoleMember || n.protects(a, group, t, m.Account) || !m.ActivityKnown ||
		m.Joined.IsZero() || m.MuteUntil.After(now) {
		return false
	}
	rules := n.pruning(a, group, t)
	if n.invalid(rules[0]) || n.unresolved(a, group, t) {
		return false
	}
	for _, at := range []time.Time{m.Joined, m.LastSpoke} {
		if at.After(now) || at.After(planned.LastActive) || now.Sub(at) < rules[0].Prune.InactiveFor {
			return false
		}
	}
	return true
}

// evicting returns the governing policies with an eviction rule, the highest-ranked first.
func (n naive) evicting(a *App, group string, t GroupType) []Policy {
	var found []Policy
	for _, p := range n.judging(a, group, t) {
		if p.Join != nil && p.Join.Evict != nil {
			found = append(found, p)
		}
	}
	return found
}

// judging returns the policies that govern a group of this type, which must be known.
func (n naive) judging(a *App, group string, t GroupType) []Policy {
	var found []Policy
	for _, p := range n.matching(a, group) {
		if t != TypeUnknown && n.typeListed(p, t) {
			found = append(found, p)
		}
	}
	return found
}

func (n naive) mayEvict(a *App, group string) bool {
	for _, p := range n.matching(a, group) {
		if p.Join != nil && p.Join.Evict != nil && !n.invalid(p) {
			return true
		}
	}
	return false
}

// uncertain reports whether it is not certain whom the gates refuse.
func (n naive) uncertain(a *App, group string, t GroupType) bool {
	for _, p := range n.judging(a, group, t) {
		if n.invalid(p) {
			return true
		}
		if p.Join == nil || p.Join.Audit {
			continue
		}
		for _, selector := range []*AccountSelector{p.Join.Allow, p.Join.Deny} {
			if selector == nil {
				continue
			}
			for _, ref := range selector.Lists {
				listed := 0
				for _, l := range n.lists(p.Namespace, ref) {
					listed += l.Accounts.Len()
				}
				if listed == 0 {
					return true
				}
			}
		}
	}
	return false
}

// refuses is the verdict on a member: by each trigger, a section refuses the account.
func (n naive) refuses(a *App, group string, t GroupType, account string) (reason Reason, by string) {
	if account == a.AdminAccount {
		return 0, ""
	}
	n.in.Refusals = nil
	deniers, closers := map[string]bool{}, map[string]bool{}
	for _, trigger := range []Trigger{TriggerApply, TriggerInvite, TriggerRESTAPI} {
		v := n.join(a, JoinQuery{Group: group, Type: t, Account: account, Trigger: trigger, Now: now}, false)
		if v.Reason != ReasonDenied && v.Reason != ReasonNotListed {
			return 0, ""
		}
		if v.Reason == ReasonDenied {
			deniers[v.Policy.Name] = true
		} else {
			closers[v.Policy.Name] = true
		}
	}
	reason, policies := ReasonNotListed, closers
	if len(deniers) > 0 {
		reason, policies = ReasonDenied, deniers
	}
	for _, p := range n.matching(a, group) {
		if policies[p.Name] {
			return reason, p.Name
		}
	}
	panic("a policy refused that does not match")
}

// evictionPlan returns nil when there must be none. Its removals have no list.
func (n naive) evictionPlan(a *App, group string, s EvictionState, members []Member, now time.Time) *Plan {
	rules := n.evicting(a, group, s.Group.Type)
	if len(rules) == 0 || n.uncertain(a, group, s.Group.Type) {
		return nil
	}
	rule := rules[0].Join.Evict
	plan := &Plan{}
	done := map[string]bool{}
	for _, m := range members {
		if done[m.Account] {
			plan.Repeated++
			continue
		}
		done[m.Account] = true
		if m.Role == RoleMember && m.Account != a.AdminAccount {
			plan.Ordinary++
		}
		if _, asked := s.Only[m.Account]; s.Only != nil && !asked {
			continue
		}
		reason, by := n.refuses(a, group, s.Group.Type, m.Account)
		if m.Role == RoleOwner || m.Role == RoleAdmin || m.Account == a.AdminAccount {
			plan.Stay.Admin++
		} else if m.Role == RoleUnknown {
			plan.Stay.Unknown++
		} else if reason == 0 {
			plan.Stay.Admitted++
		} else if m.Joined.IsZero() || m.Joined.After(now) {
			plan.Stay.Unknown++
		} else if m.Joined.Add(rule.Grace).After(now) {
			plan.Stay.InGrace++
			if out := m.Joined.Add(rule.Grace); out.After(plan.InGraceUntil) {
				plan.InGraceUntil = out
			}
		} else {
			plan.Candidates++
			r := Removal{Account: m.Account, Joined: m.Joined, LastActive: m.Joined, Reason: reason, Policy: by}
			if m.ActivityKnown && m.LastSpoke.After(m.Joined) && !m.LastSpoke.After(now) {
				r.LastActive = m.LastSpoke
			}
			plan.Removals = append(plan.Removals, r)
		}
	}
	if s.Named {
		plan.Ordinary = s.Group.Members - 21
		if plan.Ordinary < 0 {
			plan.Ordinary = 0
		}
	}
	sort.Slice(plan.Removals, func(i, j int) bool {
		x, y := plan.Removals[i], plan.Removals[j]
		return x.Joined.After(y.Joined) || x.Joined.Equal(y.Joined) && x.Account < y.Account
	})
	all := plan.Candidates + s.Recent
	if plan.Candidates > 0 && (float64(all) > 0.2*float64(plan.Ordinary)+1e-9 || all > rule.MaxRemovals ||
		all > 2 && s.Group.Members < 15) {
		plan.Breaker = "no routine"
	}
	most := rule.MaxRemovals
	if most > s.Budget {
		most = s.Budget
	}
	if most > 1000 {
		most = 1000
	}
	if most < 0 {
		most = 0
	}
	if len(plan.Removals) > most {
		plan.Removals = plan.Removals[:most]
	}
	if len(plan.Removals) == 0 {
		plan.Removals = nil
	}
	return plan
}

// evicts reports whether a planned eviction is to happen, by the facts of now.
func (n naive) evicts(
	a *App, group string, t GroupType, planned Removal, current map[string]Member, now time.Time,
) bool {
	m, present := current[planned.Account]
	if !present || m.Role != RoleMember || m.Account == a.AdminAccount || m.Joined.IsZero() || m.Joined.After(now) ||
		n.uncertain(a, group, t) {
		return false
	}
	reason, _ := n.refuses(a, group, t, m.Account)
	return reason != 0 && !m.Joined.After(planned.LastActive)
}
