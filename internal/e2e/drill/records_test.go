package drill

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// record checks every version of a run, and the last one against the removals of the emulator. removed are the accounts
// that were removed while in flight in this run.
func (m *model) record(h *history, removed map[string]bool) {
	for i := range h.versions {
		before := &v1alpha1.PruneRun{}
		if i > 0 {
			before = &h.versions[i-1]
		}
		m.step(before, &h.versions[i])
	}
	run := h.last()
	if run.Status.Plan == nil {
		if len(removed) > 0 || run.Status.Removed != 0 {
			m.violation("run %s has no plan, removed %d and records %d", run.Name, len(removed), run.Status.Removed)
		}
		return
	}
	m.count(run, removed)
	m.refusal(run)
}

// step checks one version of a run against the one before.
func (m *model) step(before, after *v1alpha1.PruneRun) {
	violation := func(what string, details ...any) {
		m.violation("run %s, version %s: %s %v", after.Name, after.ResourceVersion, what, details)
	}
	was, is := before.Status, after.Status
	if apimeta.IsStatusConditionTrue(is.Conditions, "Complete") &&
		apimeta.IsStatusConditionTrue(is.Conditions, "Failed") {
		violation("both Complete and Failed")
	}
	if was.Plan != nil && !m.samePlan(before, after) {
		violation("the plan has changed", cmp.Diff(was.Plan, is.Plan))
	}
	if was.Policy != nil && !cmp.Equal(was.Policy, is.Policy) {
		violation("the policy has changed", cmp.Diff(was.Policy, is.Policy))
	}
	p, q := progress(before), progress(after)
	if q.Settled < p.Settled || is.Removed < was.Removed || len(is.Kept) < len(was.Kept) ||
		!slices.Equal(was.Kept, is.Kept[:len(was.Kept)]) {
		violation("progress, removed or kept goes back", p, q, was.Removed, is.Removed)
	}
	if q.InFlight < 0 || q.InFlight > 100 || is.Plan != nil && int(q.Settled+q.InFlight) > len(is.Plan.Removals) {
		violation("impossible progress", q)
	}
	if ended(before) {
		approved := before.Spec.Approval == "Pending" && after.Spec.Approval == "Approved"
		if !ended(after) || is.Removed != was.Removed || p != q || len(is.Kept) != len(was.Kept) || approved {
			violation("a run that has ended changes")
		}
	}
	m.plan(after, violation)
}

// samePlan reports whether two versions of a run have the same plan, but for its age if the drill has changed that.
func (m *model) samePlan(before, after *v1alpha1.PruneRun) bool {
	was, is := before.Status.Plan, after.Status.Plan
	if _, aged := m.expiries[after.UID]; aged && is != nil {
		was = was.DeepCopy()
		was.CreatedAt, was.NotBefore = is.CreatedAt, is.NotBefore
	}
	return cmp.Equal(was, is)
}

// plan checks the plan alone: its accounts and their order.
func (m *model) plan(run *v1alpha1.PruneRun, violation func(string, ...any)) {
	plan := run.Status.Plan
	if plan == nil {
		return
	}
	v := m.version(run)
	if v == nil {
		violation("planned by a policy that never existed", run.Status.Policy)
		return
	}
	caps := v.rule.caps(run.Spec.Purpose)
	if caps.mode != string(run.Status.Policy.Mode) {
		violation("planned in another mode", caps.mode, run.Status.Policy.Mode)
	}
	if len(plan.Removals) > caps.run || len(plan.Removals) > int(plan.Candidates) {
		violation("too many are planned", len(plan.Removals), caps.run, plan.Candidates)
	}
	if run.Spec.Purpose == v1alpha1.PrunePurposeEvict {
		m.planOfEviction(run, v, violation)
		return
	}
	seen := map[string]bool{}
	for i, r := range plan.Removals {
		if seen[r.Account] || r.Account == m.adminAccount || r.Account == owner {
			violation("planned twice, or never removable", r.Account)
		}
		seen[r.Account] = true
		if r.LastActiveAt.After(m.runs[run.UID].plannedAt().Add(time.Second - v.rule.inactiveFor())) {
			violation("planned although active", r)
		}
		if i == 0 {
			continue
		}
		before := plan.Removals[i-1]
		if c := before.LastActiveAt.Compare(r.LastActiveAt.Time); c > 0 || c == 0 && before.Account >= r.Account {
			violation("out of order", before, r)
		}
	}
}

// count checks the numbers of the last version.
func (m *model) count(run *v1alpha1.PruneRun, removed map[string]bool) {
	finished, open := done(run), inFlight(run)
	kept := keptBy(run)
	slices.Sort(kept)
	if unique := slices.Compact(slices.Clone(kept)); len(unique) != len(kept) || !subset(kept, planned(run, 0, 1000)) {
		m.violation("run %s keeps accounts twice, or accounts that are not planned: %v", run.Name, kept)
	}
	counted := slices.DeleteFunc(finished, func(account string) bool { return slices.Contains(kept, account) })
	if len(counted) != int(run.Status.Removed) {
		m.violation("run %s records %d removals; of its %d settled positions %d are not kept", run.Name,
			run.Status.Removed, progress(run).Settled, len(counted))
	}
	for account := range removed {
		switch {
		case slices.Contains(counted, account):
		case slices.Contains(open, account): // the run ended with the batch in flight, on record
		case m.replaced(run, account): // nobody can tell what came of it
		default:
			m.violation("run %s has removed %s without a record", run.Name, account)
		}
	}
	for _, account := range counted {
		if !removed[account] && !m.leftUnderway(run, account) {
			m.violation("run %s records the removal of %s, which did not happen", run.Name, account)
		}
	}
}

// replaced reports whether the group was made anew after the run had removed account from it.
func (m *model) replaced(run *v1alpha1.PruneRun, account string) bool {
	return slices.ContainsFunc(m.departures, func(left departure) bool {
		return left.anew && left.app == run.Spec.AppRef.Name && left.group == run.Spec.GroupID &&
			left.done.After(m.gone[run.UID][account])
	})
}

// leftUnderway reports whether an account left by itself after a recheck had found it: the product cannot tell that
// from its own removal.
func (m *model) leftUnderway(run *v1alpha1.PruneRun, account string) bool {
	for _, left := range m.departures {
		if left.app != run.Spec.AppRef.Name || left.group != run.Spec.GroupID ||
			left.account != "" && left.account != account {
			continue
		}
		if slices.ContainsFunc(m.rechecks, func(e event) bool {
			return e.app == left.app && e.Group.ID == left.group && e.at.Before(left.done) &&
				slices.ContainsFunc(e.Found, func(m emulator.Member) bool { return m.Account == account })
		}) {
			return true
		}
	}
	return false
}

// refusal checks status.refuse: present if the rule has rejoinAfter and a batch was begun, with that time and the
// rejection of the rule.
func (m *model) refusal(run *v1alpha1.PruneRun) {
	v := m.version(run)
	if v == nil {
		return
	}
	r := run.Status.Refuse
	if run.Spec.Purpose == v1alpha1.PrunePurposeEvict {
		if r != nil {
			m.violation("run %s evicts, and refuses rejoining: %+v", run.Name, r)
		}
		return
	}
	begun := run.Status.Progress != nil && !run.Status.Progress.LastBatchAt.IsZero()
	switch {
	case v.rule.RejoinAfter == 0 || !begun:
		if r != nil && v.rule.RejoinAfter == 0 {
			m.violation("run %s refuses rejoining without rejoinAfter: %+v", run.Name, r)
		}
		return
	case r == nil:
		m.violation("run %s refuses no account, rejoinAfter is %s", run.Name, v.rule.RejoinAfter)
		return
	}
	if off := r.Until.Sub(run.Status.Progress.LastBatchAt.Add(v.rule.RejoinAfter)); off.Abs() > time.Second {
		m.violation("run %s refuses until %s, its last batch was at %s and rejoinAfter is %s", run.Name, r.Until,
			run.Status.Progress.LastBatchAt, v.rule.RejoinAfter)
	}
	want := v1alpha1.PruneRefusal{Until: r.Until, Code: int32(max(v.rule.Code, 1)), Message: v.rule.Message}
	if diff := cmp.Diff(want, *r); diff != "" {
		m.violation("run %s refuses with another rejection (-want,+got):\n%s", run.Name, diff)
	}
}

// undos checks every addition, and the record of every undo.
func (m *model) undos(removed map[types.UID]map[string]bool) {
	added := map[types.UID]map[string]bool{}
	for _, d := range m.additions {
		for _, account := range d.Named {
			i := slices.IndexFunc(d.runs, func(run v1alpha1.PruneRun) bool {
				u := run.Status.Undo
				return run.Spec.Undo != "" && u != nil && u.FinishedAt.IsZero() &&
					slices.ContainsFunc(u.Accounts,
						func(a v1alpha1.RestoredAccount) bool { return a.Account == account })
			})
			if i < 0 {
				m.violation("%s was added to %q at %s without a record of an undo", account, d.Group.ID,
					d.at.Format("15:04:05.000"))
				continue
			}
			m.addition(&d.runs[i], account, d)
			if d.runs[i].Spec.Purpose == v1alpha1.PrunePurposeEvict {
				m.admitted(&d.runs[i], account, d)
			}
			uid := d.runs[i].UID
			if added[uid] == nil {
				added[uid] = map[string]bool{}
			}
			added[uid][account] = true
		}
	}
	for uid, h := range m.runs {
		m.undo(h.last(), removed[uid], added[uid])
	}
}

// addition checks whether the undo of run may add account: another run must not have removed it later, unless the undo
// of that one was requested, too; nor may the group be another one by now.
func (m *model) addition(run *v1alpha1.PruneRun, account string, d event) {
	begun := run.Status.Undo.StartedAt.Add(-snapshotLag)
	if at, anew := m.anew(run, d.at.Add(-quietGrace)); anew {
		m.violation("the undo of run %s adds %s to a group that was made anew at %s", run.Name, account, at)
	}
	for i := range d.runs {
		again := m.gone[d.runs[i].UID][account]
		if d.runs[i].UID != run.UID && d.runs[i].Spec.Undo == "" && again.Before(begun) &&
			again.After(m.gone[run.UID][account]) {
			m.violation("the undo of run %s adds %s, which run %s removed at %s", run.Name, account, d.runs[i].Name,
				again.Format("15:04:05.000"))
		}
	}
}

// undo checks the record of one undo.
func (m *model) undo(run *v1alpha1.PruneRun, removed, added map[string]bool) {
	u := run.Status.Undo
	if run.Spec.Undo == "" || u == nil {
		if u != nil {
			m.violation("run %s has an undo that was not requested", run.Name)
		}
		return
	}
	says := 0
	var listed []string
	m.stillRefused(run)
	for _, a := range u.Accounts {
		listed = append(listed, a.Account)
		if a.Result == v1alpha1.RestoreResultAdded {
			says++
		}
		if claims := a.Result == v1alpha1.RestoreResultAdded; claims != added[a.Account] {
			m.violation("run %s records %s for %s; it was added: %v", run.Name, a.Result, a.Account, added[a.Account])
		}
	}
	if says != int(u.Added) {
		m.violation("run %s records %d additions, and Added for %d accounts", run.Name, u.Added, says)
	}
	for account := range removed {
		if !slices.Contains(listed, account) {
			m.violation("run %s removed %s, which its undo lacks", run.Name, account)
		}
	}
	if counted := append(done(run), inFlight(run)...); !subset(listed, counted) {
		m.violation("the undo of run %s has accounts that the run did not remove", run.Name)
	}
}
