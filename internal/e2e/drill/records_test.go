package drill

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// record judges what a run says of itself: every version of it, and the last one against what the emulator saw. removed are the accounts
// that calls took out of the group while they stood in this run's batch in flight.
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
			m.blame("run %s has no plan, removed %d and says %d", run.Name, len(removed), run.Status.Removed)
		}
		return
	}
	m.count(run, removed)
	m.refusal(run)
}

// step judges one version of a run by the one before.
func (m *model) step(before, after *v1alpha1.PruneRun) {
	blame := func(what string, details ...any) {
		m.blame("run %s, version %s: %s %v", after.Name, after.ResourceVersion, what, details)
	}
	was, is := before.Status, after.Status
	if apimeta.IsStatusConditionTrue(is.Conditions, "Complete") && apimeta.IsStatusConditionTrue(is.Conditions, "Failed") {
		blame("both Complete and Failed")
	}
	if was.Plan != nil && !cmp.Equal(was.Plan, is.Plan) {
		blame("the plan has changed", cmp.Diff(was.Plan, is.Plan))
	}
	if was.Policy != nil && !cmp.Equal(was.Policy, is.Policy) {
		blame("the policy has changed", cmp.Diff(was.Policy, is.Policy))
	}
	p, q := progress(before), progress(after)
	if q.Settled < p.Settled || is.Removed < was.Removed || len(is.Kept) < len(was.Kept) || !slices.Equal(was.Kept, is.Kept[:len(was.Kept)]) {
		blame("progress, removed or kept goes back", p, q, was.Removed, is.Removed)
	}
	if q.InFlight < 0 || q.InFlight > 100 || is.Plan != nil && int(q.Settled+q.InFlight) > len(is.Plan.Removals) {
		blame("impossible progress", q)
	}
	if ended(before) {
		if !ended(after) || is.Removed != was.Removed || p != q || len(is.Kept) != len(was.Kept) || before.Spec.Approval != "" && before.Spec.Approval != "Denied" && after.Spec.Approval == "Approved" && before.Spec.Approval != "Approved" {
			blame("a run that has ended changes")
		}
	}
	m.plan(after, blame)
}

// plan judges the plan alone: whom it names, and in which order.
func (m *model) plan(run *v1alpha1.PruneRun, blame func(string, ...any)) {
	plan := run.Status.Plan
	if plan == nil {
		return
	}
	v := m.version(run)
	if v == nil {
		blame("planned by a policy that nobody wrote", run.Status.Policy)
		return
	}
	if v.rule.Mode != string(run.Status.Policy.Mode) {
		blame("planned in another mode", v.rule.Mode, run.Status.Policy.Mode)
	}
	if len(plan.Removals) > v.rule.MaxRemovals || len(plan.Removals) > int(plan.Candidates) {
		blame("too many are planned", len(plan.Removals), v.rule.MaxRemovals, plan.Candidates)
	}
	seen := map[string]bool{}
	for i, r := range plan.Removals {
		if seen[r.Account] || r.Account == m.adminAccount || r.Account == owner {
			blame("who must not be planned, or twice", r.Account)
		}
		seen[r.Account] = true
		if r.LastActiveAt.After(plan.CreatedAt.Add(time.Second - v.rule.inactiveFor())) {
			blame("planned although active", r)
		}
		if i == 0 {
			continue
		}
		before := plan.Removals[i-1]
		if c := before.LastActiveAt.Compare(r.LastActiveAt.Time); c > 0 || c == 0 && before.Account >= r.Account {
			blame("out of order", before, r)
		}
	}
}

// count judges the numbers of the last version.
func (m *model) count(run *v1alpha1.PruneRun, removed map[string]bool) {
	done, open := settled(run), inFlight(run)
	kept := keptBy(run)
	slices.Sort(kept)
	if unique := slices.Compact(slices.Clone(kept)); len(unique) != len(kept) || !subset(kept, planned(run, 0, 1000)) {
		m.blame("run %s keeps accounts twice, or such as are not planned: %v", run.Name, kept)
	}
	counted := slices.DeleteFunc(done, func(account string) bool { return slices.Contains(kept, account) })
	if len(counted) != int(run.Status.Removed) {
		m.blame("run %s says that it removed %d; of its %d settled positions %d are not kept", run.Name, run.Status.Removed, progress(run).Settled, len(counted))
	}
	for account := range removed {
		switch {
		case slices.Contains(counted, account):
		case slices.Contains(open, account): // the end came while the vendor was out of reach, and the record says so
		default:
			m.blame("run %s has removed %s and does not say so", run.Name, account)
		}
	}
	for _, account := range counted {
		if !removed[account] && !m.leftUnderway(run, account) {
			m.blame("run %s says that it removed %s, which the vendor has not seen", run.Name, account)
		}
	}
}

// leftUnderway says whether an account left by itself after a look had found it: its removal was recorded then, and whose doing its absence
// is, nobody can tell.
func (m *model) leftUnderway(run *v1alpha1.PruneRun, account string) bool {
	for _, left := range m.departures {
		if left.app != run.Spec.AppRef.Name || left.group != run.Spec.GroupID || left.account != "" && left.account != account {
			continue
		}
		for _, look := range m.looks {
			if look.app == left.app && look.Group.ID == left.group && look.at.Before(left.done) && slices.Contains(accountsFound(look), account) {
				return true
			}
		}
	}
	return false
}

func accountsFound(d deed) (accounts []string) {
	for _, m := range d.Found {
		accounts = append(accounts, m.Account)
	}
	return accounts
}

// refusal judges status.refuse: there if the rule wants it and somebody may have been removed, until then and in these words.
func (m *model) refusal(run *v1alpha1.PruneRun) {
	v := m.version(run)
	if v == nil {
		return
	}
	r := run.Status.Refuse
	begun := run.Status.Progress != nil && !run.Status.Progress.LastBatchAt.IsZero()
	switch {
	case v.rule.RejoinAfter == 0 || !begun:
		if r != nil && v.rule.RejoinAfter == 0 {
			m.blame("run %s refuses rejoining, which nobody asked for: %+v", run.Name, r)
		}
		return
	case r == nil:
		m.blame("run %s refuses nobody, rejoinAfter is %s", run.Name, v.rule.RejoinAfter)
		return
	}
	if off := r.Until.Sub(run.Status.Progress.LastBatchAt.Add(v.rule.RejoinAfter)); off.Abs() > time.Second {
		m.blame("run %s refuses until %s, its last batch was at %s and rejoinAfter is %s", run.Name, r.Until, run.Status.Progress.LastBatchAt, v.rule.RejoinAfter)
	}
	want := v1alpha1.PruneRefusal{Until: r.Until, Code: int32(max(v.rule.Code, 1)), Message: v.rule.Message}
	if diff := cmp.Diff(want, *r); diff != "" {
		m.blame("run %s refuses in other words (-want,+got):\n%s", run.Name, diff)
	}
}

// undos judges every addition, and the record of every undo.
func (m *model) undos(removed map[types.UID]map[string]bool) {
	added := map[types.UID]map[string]bool{}
	for _, d := range m.additions {
		for _, account := range d.Named {
			i := slices.IndexFunc(d.runs, func(run v1alpha1.PruneRun) bool {
				u := run.Status.Undo
				return run.Spec.Undo != "" && u != nil && u.FinishedAt.IsZero() &&
					slices.ContainsFunc(u.Accounts, func(a v1alpha1.RestoredAccount) bool { return a.Account == account })
			})
			if i < 0 {
				m.blame("%s was added to %q at %s, which no undo has on record", account, d.Group.ID, d.at.Format("15:04:05.000"))
				continue
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

// undo judges the record of one undo.
func (m *model) undo(run *v1alpha1.PruneRun, removed, added map[string]bool) {
	u := run.Status.Undo
	if run.Spec.Undo == "" || u == nil {
		if u != nil {
			m.blame("run %s has an undo that nobody asked for", run.Name)
		}
		return
	}
	says := 0
	var listed []string
	for _, a := range u.Accounts {
		listed = append(listed, a.Account)
		if a.Result == v1alpha1.RestoreResultAdded {
			says++
		}
		if claims := a.Result == v1alpha1.RestoreResultAdded; claims != added[a.Account] {
			m.blame("run %s says %s of adding %s back, the vendor added it: %v", run.Name, a.Result, a.Account, added[a.Account])
		}
	}
	if says != int(u.Added) {
		m.blame("run %s says that %d were added back, and of %d accounts that they were", run.Name, u.Added, says)
	}
	for account := range removed {
		if !slices.Contains(listed, account) {
			m.blame("run %s removed %s, its undo knows nothing of that", run.Name, account)
		}
	}
	if counted := append(settled(run), inFlight(run)...); !subset(listed, counted) {
		m.blame("the undo of run %s is about others than those that it removed", run.Name)
	}
}
