package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// How long what allowed a removal may be gone when the removal takes effect. A removal begins with live reads, is followed by a last look at the
// members, and has to start within 5 s of that look; then it is on its way. Nobody can do better than that without a lock that is shared
// with the vendor.
const (
	lookLife = 5 * time.Second
	// delivery is what the way to the vendor takes: a call is given up after 5 s, and a busy machine is slow.
	delivery = 7 * time.Second
	// lookPatience is how long the live reads and the look may take together while calls are repeated.
	lookPatience = 15 * time.Second

	// snapshotLag is how much later than the API server a snapshot may know something, or the watch of the drill; outageLag is that after an
	// outage, whose end nobody need have noticed for 5 s.
	snapshotLag = 2 * time.Second
	outageLag   = 7 * time.Second

	// calmGrace is enough where no call has failed; troubledGrace covers repetitions, and the 5 s of a snapshot after an outage.
	calmGrace     = lookLife + delivery
	troubledGrace = lookPatience + lookLife + delivery
)

// model judges a ledger. It knows the contract and nothing of the code.
type model struct {
	*ledger
	adminAccount string
	verdicts     []string
}

// blame writes down what must not have happened.
func (m *model) blame(format string, args ...any) {
	if len(m.verdicts) < 100 {
		m.verdicts = append(m.verdicts, fmt.Sprintf(format, args...))
	}
}

// judge reads the whole ledger of an episode that is over.
func (m *model) judge() []string {
	removed := map[types.UID]map[string]bool{}
	perPolicy := map[string]int{}
	for _, d := range m.removals {
		m.removal(d, removed, perPolicy)
	}
	for uid, h := range m.runs {
		m.record(h, removed[uid])
	}
	m.undos(removed)
	slices.Sort(m.verdicts)
	return m.verdicts
}

func (m *model) grace(at time.Time) time.Duration {
	if slices.ContainsFunc(m.faults, func(f time.Time) bool { return f.Before(at) && f.After(at.Add(-troubledGrace-5*time.Second)) }) {
		return troubledGrace
	}
	return calmGrace
}

// begin is a moment before which everything must have been taken into account. A removal is recorded under optimistic lock, so that what it rests on
// was read after the version of the run before that record was written.
func (m *model) begin(run *v1alpha1.PruneRun, at time.Time) time.Time {
	grace, lag := m.grace(at), snapshotLag
	if slices.ContainsFunc(m.outages, func(o time.Time) bool { return o.Before(at) && o.After(at.Add(-2*outageLag)) }) {
		lag = outageLag
	}
	from := at.Add(-grace)
	h := m.runs[run.UID]
	if h == nil {
		return from
	}
	i := slices.IndexFunc(h.versions, func(v v1alpha1.PruneRun) bool { return v.ResourceVersion == run.ResourceVersion })
	for i > 0 && cmp.Equal(h.versions[i].Status, h.versions[i-1].Status) {
		i-- // what people say of a run is a version of it, too
	}
	if i < 1 {
		return from
	}
	if before := h.seen[i-1].Add(-lag); before.After(from) {
		return before
	}
	return from
}

// removal judges one call of delete_group_member that took effect.
func (m *model) removal(d deed, removed map[types.UID]map[string]bool, perPolicy map[string]int) {
	blame := func(format string, args ...any) {
		m.blame("%s: removal of %v from %q at %s: %s", d.app, accountsOf(d.Found), d.Group.ID, d.at.Format("15:04:05.000"), fmt.Sprintf(format, args...))
	}
	// The record comes first: a run of the group has these accounts in flight.
	i := slices.IndexFunc(d.runs, func(run v1alpha1.PruneRun) bool { return !ended(&run) && subset(d.Named, inFlight(&run)) })
	if i < 0 {
		blame("no run of the group has %v in flight", d.Named)
		return
	}
	run := &d.runs[i]
	if len(d.Found) == 0 {
		return // nobody was harmed
	}
	from := m.begin(run, d.at)
	switch modernType(d.Group.Type) {
	case "Work", "Public", "Meeting", "Community":
	default:
		blame("the group is of type %s", d.Group.Type)
	}

	if m.suspendedThroughout(d.app, from, d.at) {
		blame("pruning is Suspended")
	}
	v := m.version(run)
	if v == nil {
		blame("nobody ever wrote the policy %+v of run %s", run.Status.Policy, run.Name)
		return
	}
	if !m.policies[run.Status.Policy.Name].possible(from, d.at, func(now *version) bool { return now != nil && now.uid == v.uid && now.generation == v.generation }) {
		blame("policy %s, generation %d, is no more", run.Status.Policy.Name, v.generation)
	}
	m.consent(blame, run, v, from, d.at)
	if !v.rule.governs(d.app, d.Group.ID, d.Group.Type) || v.rule.Invalid {
		blame("policy %s does not govern the group, or is invalid", run.Status.Policy.Name)
	}
	m.seats(blame, d, v, from)

	if removed[run.UID] == nil {
		removed[run.UID] = map[string]bool{}
	}
	for _, member := range d.Found {
		m.member(blame, d, member, v, from)
		if removed[run.UID][member.Account] {
			blame("%s was removed by run %s before", member.Account, run.Name)
		}
		removed[run.UID][member.Account] = true
	}
	if n := len(removed[run.UID]); n > v.rule.MaxRemovals {
		blame("run %s has removed %d, maxRemovals is %d", run.Name, n, v.rule.MaxRemovals)
	}
	// An episode is shorter than 24 hours: everything counts.
	name := d.app + "/" + run.Status.Policy.Name
	if perPolicy[name] += len(d.Found); perPolicy[name] > v.rule.PerDay {
		blame("%d removed under policies named %s, maxRemovalsPerDay is %d", perPolicy[name], run.Status.Policy.Name, v.rule.PerDay)
	}
}

type blameFunc func(format string, args ...any)

// consent: what mode and approval say.
func (m *model) consent(blame blameFunc, run *v1alpha1.PruneRun, v *version, from, to time.Time) {
	said := line(m.approvals, run.UID)
	switch v.rule.Mode {
	case "Enforce":
	case "Approve":
		withdrawn := said.possible(from, to, func(word v1alpha1.Approval) bool { return word == v1alpha1.ApprovalApproved })
		if run.Spec.Approval != v1alpha1.ApprovalApproved && !withdrawn {
			blame("run %s is not approved but %s", run.Name, run.Spec.Approval)
		}
	default:
		blame("the mode is %s", v.rule.Mode)
	}
	if said.throughout(from, to, func(now v1alpha1.Approval) bool { return now == v1alpha1.ApprovalDenied }) {
		blame("run %s is denied", run.Name)
	}
}

// seats: no more than the group needs, as it was when the removal took effect, but for seats that others left meanwhile.
func (m *model) seats(blame blameFunc, d deed, v *version, from time.Time) {
	needed := max(0, v.rule.wanted(d.Group.MaxMembers)-max(0, d.Group.MaxMembers-d.Group.Members))
	meanwhile := 0
	for _, left := range m.departures {
		if left.app == d.app && left.group == d.Group.ID && !left.done.Before(from) && !left.begin.After(d.at) {
			meanwhile += left.seats
		}
	}
	if len(d.Found) > needed+meanwhile {
		blame("%d seats are needed (%d of %d taken, %d wanted, %d left by others), %d removed",
			needed, d.Group.Members, d.Group.MaxMembers, v.rule.wanted(d.Group.MaxMembers), meanwhile, len(d.Found))
	}
}

// member: only who was seen, shortly before, to be removable, and is not protected.
func (m *model) member(blame blameFunc, d deed, member emulator.Member, v *version, from time.Time) {
	if member.Account == m.adminAccount {
		blame("%s is the admin account", member.Account)
	}
	looked, seen := false, false
	var last string
	for _, look := range m.looks {
		if look.app != d.app || look.Group.ID != d.Group.ID || look.at.After(d.at) {
			continue
		}
		looked = looked || !look.at.Before(d.at.Add(-calmGrace))
		if look.at.Before(from) || !slices.Contains(look.Named, member.Account) {
			continue
		}
		complaint := unremovable(look, member.Account, v.rule, d.at)
		seen = seen || complaint == ""
		last = complaint
	}
	switch {
	case !looked:
		blame("nobody has looked at the members for %s", calmGrace)
	case !seen:
		blame("%s was not seen to be removable within %s: %s (now %+v)", member.Account, d.at.Sub(from), last, member)
	}
	for _, name := range m.protectors(d, member.Account, from) {
		blame("%s is protected by policy %s", member.Account, name)
	}
}

// unremovable says what a look has to say against the removal of an account, "" for nothing.
func unremovable(look deed, account string, r rule, at time.Time) string {
	i := slices.IndexFunc(look.Found, func(m emulator.Member) bool { return m.Account == account })
	if i < 0 {
		return "not in the group"
	}
	member := look.Found[i]
	active := member.JoinedAt
	if member.LastSpokeAt.After(active) {
		active = member.LastSpokeAt
	}
	switch {
	case member.Role != "Member":
		return "role " + member.Role
	case look.Group.Quirks.OmitLastSendMsgTime:
		return "activity unknown"
	case active.After(at.Add(time.Second - r.inactiveFor())):
		return "active at " + active.String()
	}
	return ""
}

// protectors are the policies that protect an account, or cannot say whether they do, all the time from then until the removal.
func (m *model) protectors(d deed, account string, from time.Time) (names []string) {
	for name, versions := range m.policies {
		moments := append(versions.changes(from, d.at), from, d.at)
		var lists []string
		for _, c := range *versions {
			if c.value != nil {
				lists = append(lists, c.value.rule.Lists...)
			}
		}
		for _, list := range lists {
			moments = append(moments, line(m.lists, list).changes(from, d.at)...)
		}
		if !slices.ContainsFunc(moments, func(at time.Time) bool {
			values := versions.at(at)
			return len(values) == 0 || slices.ContainsFunc(values, func(v *version) bool { return !m.protectsAt(v, d, account, at) })
		}) {
			names = append(names, name)
		}
	}
	return names
}

// protectsAt says whether a policy protects an account at a moment, or has a reference that resolves to nothing, for certain.
func (m *model) protectsAt(v *version, d deed, account string, at time.Time) bool {
	if v == nil || !v.rule.governs(d.app, d.Group.ID, d.Group.Type) {
		return false
	}
	if slices.Contains(v.rule.Accounts, account) || slices.ContainsFunc(v.rule.Prefixes, func(p string) bool { return strings.HasPrefix(account, p) }) {
		return true
	}
	for _, name := range v.rule.Lists {
		// A list that is not there protects everybody.
		if !slices.ContainsFunc(line(m.lists, name).at(at), func(accounts *[]string) bool {
			return accounts != nil && !slices.Contains(*accounts, account)
		}) {
			return true
		}
	}
	return false
}

func (m *model) suspendedThroughout(app string, from, to time.Time) bool {
	return line(m.suspended, app).throughout(from, to, func(off bool) bool { return off })
}

// version is the policy that a run was planned by, as it was written then.
func (m *model) version(run *v1alpha1.PruneRun) *version {
	if run.Status.Policy == nil {
		return nil
	}
	for _, c := range *line(m.policies, run.Status.Policy.Name) {
		if c.value != nil && c.value.uid == run.Status.Policy.UID && c.value.generation == run.Status.Policy.Generation {
			return c.value
		}
	}
	return nil
}

// ended says whether a run has come to its end.
func ended(run *v1alpha1.PruneRun) bool {
	return apimeta.IsStatusConditionTrue(run.Status.Conditions, "Complete") || apimeta.IsStatusConditionTrue(run.Status.Conditions, "Failed")
}

// settled are the planned removals that a run is done with.
func settled(run *v1alpha1.PruneRun) []string { return planned(run, 0, progress(run).Settled) }

// inFlight are the planned removals that a run has recorded to be under way, less those that it keeps.
func inFlight(run *v1alpha1.PruneRun) []string {
	p := progress(run)
	kept := keptBy(run)
	return slices.DeleteFunc(planned(run, p.Settled, p.Settled+p.InFlight), func(account string) bool { return slices.Contains(kept, account) })
}

func progress(run *v1alpha1.PruneRun) v1alpha1.PruneProgress {
	if run.Status.Progress == nil {
		return v1alpha1.PruneProgress{}
	}
	return *run.Status.Progress
}

func planned(run *v1alpha1.PruneRun, from, to int32) (accounts []string) {
	if run.Status.Plan == nil {
		return nil
	}
	all := run.Status.Plan.Removals
	for _, removal := range all[min(int(from), len(all)):min(int(to), len(all))] {
		accounts = append(accounts, removal.Account)
	}
	return accounts
}

func keptBy(run *v1alpha1.PruneRun) (accounts []string) {
	for _, k := range run.Status.Kept {
		accounts = append(accounts, k.Account)
	}
	return accounts
}

func accountsOf(members []emulator.Member) (accounts []string) {
	for _, m := range members {
		accounts = append(accounts, m.Account)
	}
	if len(accounts) > 5 {
		return append(accounts[:5:5], fmt.Sprintf("and %d more", len(accounts)-5))
	}
	return accounts
}

func subset(some, all []string) bool {
	in := make(map[string]bool, len(all))
	for _, s := range all {
		in[s] = true
	}
	return !slices.ContainsFunc(some, func(s string) bool { return !in[s] })
}
