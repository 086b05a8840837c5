package drill

import (
	"slices"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// What section 10 of the design says of evictions, as the model reads it.

// changesOf are the moments from one to another at which a policy or a list began to change, and the two ends.
func (m *model) changesOf(from, to time.Time) []time.Time {
	moments := []time.Time{from, to}
	for _, versions := range m.policies {
		moments = append(moments, versions.changes(from, to)...)
	}
	for _, versions := range m.lists {
		moments = append(moments, versions.changes(from, to)...)
	}
	return moments
}

// refusedBefore checks that at some moment from then until the removal the gates refused the account, all lists were
// resolved, and the rule of the run's policy was in force.
func (m *model) refusedBefore(
	violation violationFunc, d event, account string, run *v1alpha1.PruneRun, from time.Time,
) {
	states := m.states(d.app, d.Group.ID, d.Group.Type, m.changesOf(from, d.at)...)
	if !slices.ContainsFunc(states, func(s moment) bool {
		v := s.judge(d.app, d.Group.ID, d.Group.Type, account)
		return v.refused && !v.unresolved && s.evictor(d.app, d.Group.ID, d.Group.Type) == run.Status.Policy.Name
	}) {
		violation("the gates did not refuse %s at any moment since %s, or it was not certain", account,
			from.Format("15:04:05.000"))
	}
}

// unevictable is why, by a recheck, an account must not be evicted, whatever the gates say; "" if it may.
func (m *model) unevictable(recheck event, account string, r rule, at time.Time) string {
	i := slices.IndexFunc(recheck.Found, func(m emulator.Member) bool { return m.Account == account })
	if i < 0 {
		return "not in the group"
	}
	return unevictableMember(recheck.Found[i], r.Gate.Evict.grace(), at)
}

func unevictableMember(member emulator.Member, grace time.Duration, at time.Time) string {
	switch {
	case member.Role != "Member":
		return "role " + member.Role
	case member.JoinedAt.After(at.Add(time.Second - grace)):
		return "joined at " + member.JoinedAt.String()
	}
	return ""
}

// Breakers of section 10, on what the plan records.
func routine(total, ordinary, members, maxRemovals int) bool {
	return total*5 <= ordinary && total <= maxRemovals && (members >= 15 || total <= 2)
}

// eviction checks one call of a run with purpose Evict: it does not come before the plan has stood for grace, and
// without approval the group loses no more than a routine removes.
func (m *model) eviction(violation violationFunc, d event, run *v1alpha1.PruneRun, v *version) {
	planned := m.runs[run.UID].plannedAt()
	if until := planned.Add(v.rule.Gate.Evict.grace()); d.at.Before(until) {
		violation("the plan of %s has not stood for grace before %s", run.Name, until)
	}
	if approvedOnce(run) {
		return
	}
	total := m.evicted(d, d.at, false) + len(d.Found)
	members := d.Group.Members
	for _, e := range slices.Concat(m.rechecks, m.removals) { // the plan was made of more members, perhaps
		if e.app == d.app && e.Group.ID == d.Group.ID && e.at.After(planned.Add(-time.Second)) && e.at.Before(d.at) {
			members = max(members, e.Group.Members)
		}
	}
	for _, left := range m.departures {
		if left.app == d.app && left.group == d.Group.ID && !left.anew && left.done.After(planned.Add(-time.Second)) {
			members += left.seats
		}
	}
	if !routine(total, members, members, v.rule.Gate.Evict.MaxRemovals) {
		violation("%d of %d members have been evicted without approval, which is no routine", total, members)
	}
}

// approvedOnce reports whether a person had approved the run when its call was sent, although it may have been denied
// by the time at which the vendor carried it out.
func approvedOnce(run *v1alpha1.PruneRun) bool {
	return run.Spec.Approval == v1alpha1.ApprovalApproved ||
		run.Status.Decisions != nil && run.Status.Decisions.Approved != nil
}

// evicted is how many members runs without approval, or all runs, have evicted from the group of a call before a
// moment: at any time of the episode, which is shorter than 7 days.
func (m *model) evicted(d event, before time.Time, approved bool) (n int) {
	for _, e := range m.removals {
		if e.app != d.app || e.Group.ID != d.Group.ID || !e.at.Before(before) {
			continue
		}
		if slices.ContainsFunc(e.runs, func(run v1alpha1.PruneRun) bool {
			return run.Spec.Purpose == v1alpha1.PrunePurposeEvict &&
				(approved || !approvedOnce(&run)) && !ended(&run) &&
				subset(e.Named, inFlight(&run))
		}) {
			n += len(e.Found)
		}
	}
	return n
}

// planOfEviction checks the plan of a run with purpose Evict: the accounts, their order and reasons, and the breaker.
func (m *model) planOfEviction(run *v1alpha1.PruneRun, v *version, violation func(string, ...any)) {
	plan, h := run.Status.Plan, m.runs[run.UID]
	if !h.planned(run) {
		return // it never changes
	}
	at, grace := h.plannedAt(), v.rule.Gate.Evict.grace()
	// A plan is written some time after its members were read; the time has whole seconds.
	from, to := at.Add(-recheckPatience), h.planSeen()
	app, group, groupType := run.Spec.AppRef.Name, run.Spec.GroupID, string(run.Status.Group.Type)
	states := m.states(app, group, groupType, m.changesOf(from, to)...)
	if want := at.Add(grace); !plan.NotBefore.IsZero() && plan.NotBefore.Sub(want).Abs() > time.Second ||
		plan.NotBefore.IsZero() && grace > 0 {
		if _, aged := m.expiries[run.UID]; !aged {
			violation("may begin at another time", plan.NotBefore, want)
		}
	}
	joined := map[string]time.Time{}
	for _, member := range h.members {
		joined[member.Account] = member.JoinedAt
	}
	seen := map[string]bool{}
	for i, r := range plan.Removals {
		if seen[r.Account] || r.Account == m.adminAccount || r.Account == owner {
			violation("planned twice, or never evicted", r.Account)
		}
		seen[r.Account] = true
		if len(run.Spec.Accounts) > 0 && !slices.Contains(run.Spec.Accounts, r.Account) {
			violation("planned, and not named by the run", r.Account)
		}
		if !slices.ContainsFunc(states, func(s moment) bool {
			says := s.judge(app, group, groupType, r.Account)
			return says.refused && !says.unresolved && says.reason == string(r.Reason) &&
				says.policy == r.Policy && says.list == r.List
		}) {
			violation("planned for a reason that never held", r)
		}
		was, known := joined[r.Account]
		if known && was.After(at.Add(time.Second-grace)) {
			violation("planned in its grace", r, was)
		}
		if i == 0 {
			continue
		}
		before := plan.Removals[i-1].Account
		if b, ok := joined[before]; ok && known {
			if c := b.Compare(was); c < 0 || c == 0 && before >= r.Account {
				violation("out of order", before, b, r.Account, was)
			}
		}
	}
	// Those of whom it is not known when they joined are ordinary members, and those of an unknown role are not.
	ordinary := int(plan.Candidates + plan.Stay.Admitted + plan.Stay.InGrace)
	most := ordinary + int(plan.Stay.Unknown)
	if len(run.Spec.Accounts) > 0 {
		most = int(run.Status.Group.Members)
	}
	// What was removed shortly before may count or not: the record of a call comes after the call.
	d := event{app: app}
	d.Group.ID = group
	recent := m.evicted(d, from, false)
	if total := int(plan.Candidates) + recent; plan.Breaker == "" && plan.Candidates > 0 &&
		!routine(total, most, int(run.Status.Group.Members), v.rule.Gate.Evict.MaxRemovals) {
		violation("no routine, and no breaker", plan.Candidates, recent, most, run.Status.Group)
	}
	// A run that a person approved without need counts in the product, which is on the safe side.
	recent = m.evicted(d, to, true)
	if total := int(plan.Candidates) + recent; plan.Breaker != "" && len(run.Spec.Accounts) == 0 &&
		routine(total, ordinary, int(run.Status.Group.Members), v.rule.Gate.Evict.MaxRemovals) {
		violation("a breaker without need", plan.Breaker, recent, ordinary)
	}
	// Every member that certainly had to go is a candidate.
	if len(run.Spec.Accounts) > 0 {
		return
	}
	certain, refused := 0, m.refusedByVendor(app, group)
	for _, member := range h.members {
		spared := member.Account == m.adminAccount || slices.Contains(refused, member.Account) ||
			slices.ContainsFunc(m.imports, func(a arrival) bool {
				return a.app == app && a.group == group && a.account == member.Account &&
					a.at.After(from.Add(-2*time.Second))
			})
		if !spared && unevictableMember(member, grace, from.Add(-2*time.Second)) == "" &&
			!slices.ContainsFunc(states, func(s moment) bool {
				return !s.judge(app, group, groupType, member.Account).refused
			}) {
			certain++
		}
	}
	if certain > int(plan.Candidates) {
		violation("candidates are missing", certain, plan.Candidates)
	}
}

// refusedByVendor are the accounts that the vendor refused to remove from a group: later plans spare them.
func (m *model) refusedByVendor(app, group string) (accounts []string) {
	for _, h := range m.runs {
		if run := h.last(); run.Spec.AppRef.Name == app && run.Spec.GroupID == group {
			for _, kept := range run.Status.Kept {
				if kept.Reason == v1alpha1.KeptReasonVendorRefused {
					accounts = append(accounts, kept.Account)
				}
			}
		}
	}
	return accounts
}

// admitted checks that the gates admit an account that an undo adds back.
func (m *model) admitted(run *v1alpha1.PruneRun, account string, d event) {
	from := d.at.Add(-m.grace(d.at))
	states := m.states(d.app, d.Group.ID, d.Group.Type, m.changesOf(from, d.at)...)
	if !slices.ContainsFunc(states, func(s moment) bool {
		return !s.judge(d.app, d.Group.ID, d.Group.Type, account).refused
	}) {
		m.violation("the undo of run %s adds %s at %s, whom the gates refuse", run.Name, account,
			d.at.Format("15:04:05.000"))
	}
}

// stillRefused checks that the gates refused, at some time, those that an undo has left out for it.
func (m *model) stillRefused(run *v1alpha1.PruneRun) {
	u := run.Status.Undo
	if run.Status.Group == nil {
		return
	}
	app, group, groupType := run.Spec.AppRef.Name, run.Spec.GroupID, string(run.Status.Group.Type)
	states := m.states(app, group, groupType, m.changesOf(u.StartedAt.Add(-outageLag), time.Now())...)
	for _, a := range u.Accounts {
		if a.Result == v1alpha1.RestoreResultStillRefused && !slices.ContainsFunc(states, func(s moment) bool {
			v := s.judge(app, group, groupType, a.Account)
			return v.refused || v.unresolved
		}) {
			m.violation("the undo of run %s records StillRefused for %s, whom the gates admit", run.Name, a.Account)
		}
	}
}
