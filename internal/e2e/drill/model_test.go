package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// How long a fact that allowed a removal may be outdated when the removal takes effect. A batch begins with live reads,
// then rechecks the members, and has to be sent within 5 s of the recheck. Without a lock shared with the vendor no
// product can do better.
const (
	recheckValidity = 5 * time.Second
	// delivery bounds the way to the vendor: a call times out after 5 s, and a busy machine is slow.
	delivery = 7 * time.Second
	// recheckPatience bounds the live reads and the recheck together, with repeated calls.
	recheckPatience = 15 * time.Second

	// snapshotLag is how far a snapshot, or the watch of the drill, may be behind the API server; outageLag is that
	// after an outage, whose end may go unnoticed for 5 s.
	snapshotLag = 2 * time.Second
	outageLag   = 7 * time.Second

	// quietGrace is enough if no call has failed; faultGrace covers repetitions, and the 5 s of a snapshot after an
	// outage.
	quietGrace = recheckValidity + delivery
	faultGrace = recheckPatience + recheckValidity + delivery
)

// model checks a ledger. It knows the contract, and nothing of the code.
type model struct {
	*ledger
	adminAccount string
	violations   []string
	gone         map[types.UID]map[string]time.Time // the accounts that each run removed, and when
}

// violation records something that must not happen.
func (m *model) violation(format string, args ...any) {
	if len(m.violations) < 100 {
		m.violations = append(m.violations, fmt.Sprintf(format, args...))
	}
}

// check reads the whole ledger of an episode that is over.
func (m *model) check() []string {
	removed := map[types.UID]map[string]bool{}
	m.gone = map[types.UID]map[string]time.Time{}
	perPolicy := map[string]int{}
	for _, d := range m.removals {
		m.removal(d, removed, perPolicy)
	}
	for uid, h := range m.runs {
		if !strings.HasSuffix(h.last().Name, yesterday) {
			m.record(h, removed[uid])
		}
	}
	m.undos(removed)
	slices.Sort(m.violations)
	return m.violations
}

func (m *model) grace(at time.Time) time.Duration {
	since := at.Add(-faultGrace - 5*time.Second)
	if slices.ContainsFunc(m.faults, func(f time.Time) bool { return f.Before(at) && f.After(since) }) {
		return faultGrace
	}
	return quietGrace
}

// begin is a moment of which a removal must respect every earlier change. A batch is recorded under optimistic locking:
// what it rests on was read after the version before that record was written.
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
	i := slices.IndexFunc(h.versions,
		func(v v1alpha1.PruneRun) bool { return v.ResourceVersion == run.ResourceVersion })
	for i > 0 && progress(&h.versions[i]) == progress(&h.versions[i-1]) {
		i-- // an edit of the spec is a version, too, and so is what the run waits for after a deletion has failed
	}
	if i < 1 {
		return from
	}
	if before := h.seen[i-1].Add(-lag); before.After(from) {
		return before
	}
	return from
}

// removal checks one call of delete_group_member that took effect.
func (m *model) removal(d event, removed map[types.UID]map[string]bool, perPolicy map[string]int) {
	violation := func(format string, args ...any) {
		m.violation("%s: removal of %v from %q at %s: %s", d.app, accountsOf(d.Found), d.Group.ID,
			d.at.Format("15:04:05.000"), fmt.Sprintf(format, args...))
	}
	// The record comes first: a run of the group has these accounts in flight.
	i := slices.IndexFunc(d.runs,
		func(run v1alpha1.PruneRun) bool { return !ended(&run) && subset(d.Named, inFlight(&run)) })
	if i < 0 {
		violation("no run of the group has %v in flight", d.Named)
		return
	}
	run := &d.runs[i]
	if len(d.Found) == 0 {
		return // no member was removed
	}
	from := m.begin(run, d.at)
	switch modernType(d.Group.Type) {
	case "Work", "Public", "Meeting", "Community":
	default:
		violation("the group is of type %s", d.Group.Type)
	}

	if m.suspendedThroughout(d.app, from, d.at) {
		violation("pruning is Suspended")
	}
	if line(m.silent, d.app+"/"+d.Group.ID).throughout(from, d.at, func(on bool) bool { return on }) {
		violation("nobody may speak in the group, or may in topics")
	}
	if e, aged := m.expiries[run.UID]; aged && !e.known.IsZero() && e.known.Before(from) && e.at.Before(from) {
		violation("the plan of run %s expired at %s", run.Name, e.at)
	}
	v := m.version(run)
	if v == nil {
		violation("the policy %+v of run %s never existed", run.Status.Policy, run.Name)
		return
	}
	evicts, caps := run.Spec.Purpose == v1alpha1.PrunePurposeEvict, v.rule.caps(run.Spec.Purpose)
	unchanged := func(now *version) bool {
		return now != nil && now.uid == v.uid &&
			(evicts && now.rule.evictsLike(v.rule) || !evicts && now.rule.prunesLike(v.rule))
	}
	if !m.policies[run.Status.Policy.Name].possible(from, d.at, unchanged) {
		violation("policy %s, generation %d, was replaced", run.Status.Policy.Name, v.generation)
	}
	m.approval(violation, run, caps.mode, from, d.at)
	if !v.rule.governs(d.app, d.Group.ID, d.Group.Type) || v.rule.Invalid {
		violation("policy %s does not govern the group, or is invalid", run.Status.Policy.Name)
	}
	if evicts {
		m.eviction(violation, d, run, v)
	} else {
		m.seats(violation, d, v, from)
	}

	if removed[run.UID] == nil {
		removed[run.UID], m.gone[run.UID] = map[string]bool{}, map[string]time.Time{}
	}
	for _, member := range d.Found {
		m.member(violation, d, member, from, func(recheck event) string {
			if evicts {
				return m.unevictable(recheck, member.Account, v.rule, d.at)
			}
			return unremovable(recheck, member.Account, v.rule, d.at)
		})
		if evicts {
			m.refusedBefore(violation, d, member.Account, run, from)
		} else {
			for _, name := range m.protectors(d, member.Account, from) {
				violation("%s is protected by policy %s", member.Account, name)
			}
		}
		if removed[run.UID][member.Account] {
			violation("%s was removed by run %s before", member.Account, run.Name)
		}
		removed[run.UID][member.Account], m.gone[run.UID][member.Account] = true, d.at
	}
	if at, anew := m.anew(run, from); anew {
		violation("run %s was planned for the group that was disbanded at %s", run.Name, at)
	}
	if n := len(removed[run.UID]); n > caps.run {
		violation("run %s has removed %d, maxRemovals is %d", run.Name, n, caps.run)
	}
	// An episode is shorter than 24 hours: everything counts, and yesterday's record until it is a day old.
	name := d.app + "/" + run.Status.Policy.Name
	key := name + "/" + string(run.Spec.Purpose)
	perPolicy[key] += len(d.Found)
	count := perPolicy[key]
	if before := m.spent[name]; d.at.Before(before.until) && !evicts {
		count += before.n
	}
	if count > caps.day {
		violation("%d removed under policies named %s, maxRemovalsPerDay is %d", count,
			run.Status.Policy.Name, caps.day)
	}
}

type violationFunc func(format string, args ...any)

// caps is what a rule allows a run of one purpose.
type caps struct {
	mode     string
	run, day int
}

func (r rule) caps(purpose v1alpha1.PrunePurpose) caps {
	if purpose != v1alpha1.PrunePurposeEvict {
		return caps{r.Mode, r.MaxRemovals, r.PerDay}
	}
	if !r.evicts() {
		return caps{mode: "without join.evict"}
	}
	return caps{r.Gate.Evict.Mode, r.Gate.Evict.MaxRemovals, r.Gate.Evict.PerDay}
}

// approval checks mode and approval.
func (m *model) approval(violation violationFunc, run *v1alpha1.PruneRun, mode string, from, to time.Time) {
	approvals := line(m.approvals, run.UID)
	if mode == "Enforce" && run.Status.Plan.Breaker != "" {
		mode = "Approve"
	}
	switch mode {
	case "Enforce":
	case "Approve":
		approved := func(now v1alpha1.Approval) bool { return now == v1alpha1.ApprovalApproved }
		if run.Spec.Approval != v1alpha1.ApprovalApproved && !approvals.possible(from, to, approved) {
			violation("run %s is not approved but %s", run.Name, run.Spec.Approval)
		}
	default:
		violation("the mode is %s", mode)
	}
	if approvals.throughout(from, to, func(now v1alpha1.Approval) bool { return now == v1alpha1.ApprovalDenied }) {
		violation("run %s is denied", run.Name)
	}
}

// seats checks that no more were removed than the group needed at that moment; seats freed by departures in between are
// allowed for.
func (m *model) seats(violation violationFunc, d event, v *version, from time.Time) {
	needed := max(0, v.rule.wanted(d.Group.MaxMembers)-max(0, d.Group.MaxMembers-d.Group.Members))
	meanwhile := 0
	for _, left := range m.departures {
		if left.app == d.app && left.group == d.Group.ID && !left.done.Before(from) && !left.begin.After(d.at) {
			meanwhile += left.seats
		}
	}
	for _, other := range m.removals { // evictions take seats as well, but none that a batch can have known of
		if other.app == d.app && other.Group.ID == d.Group.ID && !other.at.Before(from) && other.at.Before(d.at) &&
			slices.ContainsFunc(other.runs, func(run v1alpha1.PruneRun) bool {
				return run.Spec.Purpose == v1alpha1.PrunePurposeEvict && !ended(&run) && len(inFlight(&run)) > 0
			}) {
			meanwhile += len(other.Found)
		}
	}
	if len(d.Found) > needed+meanwhile {
		violation("%d seats are needed (%d of %d taken, %d wanted, %d freed by departures), %d removed",
			needed, d.Group.Members, d.Group.MaxMembers, v.rule.wanted(d.Group.MaxMembers), meanwhile, len(d.Found))
	}
}

// anew reports whether the group of a run was made anew after its plan and before a moment, and when.
func (m *model) anew(run *v1alpha1.PruneRun, before time.Time) (at time.Time, anew bool) {
	for _, left := range m.departures {
		if left.anew && left.app == run.Spec.AppRef.Name && left.group == run.Spec.GroupID &&
			left.begin.After(m.runs[run.UID].plannedAt().Add(time.Second)) && left.done.Before(before) {
			return left.begin, true
		}
	}
	return time.Time{}, false
}

// member checks that a recheck shortly before found the member removable. unremovable is why one recheck did not.
func (m *model) member(
	violation violationFunc, d event, member emulator.Member, from time.Time, unremovable func(event) string,
) {
	if member.Account == m.adminAccount {
		violation("%s is the admin account", member.Account)
	}
	rechecked, removable := false, false
	var last string
	for _, recheck := range m.rechecks {
		if recheck.app != d.app || recheck.Group.ID != d.Group.ID || recheck.at.After(d.at) {
			continue
		}
		rechecked = rechecked || !recheck.at.Before(d.at.Add(-quietGrace))
		if recheck.at.Before(from) || !slices.Contains(recheck.Named, member.Account) {
			continue
		}
		last = unremovable(recheck)
		removable = removable || last == ""
	}
	switch {
	case !rechecked:
		violation("no recheck of the members for %s", quietGrace)
	case !removable:
		violation("no recheck found %s removable within %s: %s (now %+v)", member.Account, d.at.Sub(from), last, member)
	}
}

// unremovable is why an account must not be removed by a recheck; "" if it may.
func unremovable(recheck event, account string, r rule, at time.Time) string {
	i := slices.IndexFunc(recheck.Found, func(m emulator.Member) bool { return m.Account == account })
	if i < 0 {
		return "not in the group"
	}
	member := recheck.Found[i]
	active := member.JoinedAt
	if member.LastSpokeAt.After(active) {
		active = member.LastSpokeAt
	}
	switch {
	case member.Role != "Member":
		return "role " + member.Role
	case recheck.Group.Quirks.OmitLastSendMsgTime:
		return "activity unknown"
	case member.MutedUntil.After(at.Add(time.Hour)):
		return "muted until " + member.MutedUntil.String()
	case active.After(at.Add(time.Second - r.inactiveFor())):
		return "active at " + active.String()
	}
	return ""
}

// protectors are the policies that protect an account, or whose protection is unresolved, all the time from then until
// the removal.
func (m *model) protectors(d event, account string, from time.Time) (names []string) {
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
			return len(values) == 0 ||
				slices.ContainsFunc(values, func(v *version) bool { return !m.protectsAt(v, d, account, at) })
		}) {
			names = append(names, name)
		}
	}
	return names
}

// protectsAt reports whether at a moment a policy certainly protects an account, or has an unresolved reference.
func (m *model) protectsAt(v *version, d event, account string, at time.Time) bool {
	if v == nil || v.rule.NoPrune || !v.rule.governs(d.app, d.Group.ID, d.Group.Type) {
		return false
	}
	begins := func(prefix string) bool { return strings.HasPrefix(account, prefix) }
	if slices.Contains(v.rule.Accounts, account) || slices.ContainsFunc(v.rule.Prefixes, begins) {
		return true
	}
	for _, name := range v.rule.Lists {
		// A list that does not exist protects every account.
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

// version is the policy that a run was planned by.
func (m *model) version(run *v1alpha1.PruneRun) *version {
	if run.Status.Policy == nil {
		return nil
	}
	for _, c := range *line(m.policies, run.Status.Policy.Name) {
		if c.value != nil && c.value.uid == run.Status.Policy.UID &&
			c.value.generation == run.Status.Policy.Generation {
			return c.value
		}
	}
	return nil
}

// ended reports whether a run is finished.
func ended(run *v1alpha1.PruneRun) bool {
	return apimeta.IsStatusConditionTrue(run.Status.Conditions, "Complete") ||
		apimeta.IsStatusConditionTrue(run.Status.Conditions, "Failed")
}

// done are the planned removals that a run has finished.
func done(run *v1alpha1.PruneRun) []string { return planned(run, 0, progress(run).Settled) }

// inFlight are the planned removals of the batch in flight, without those that the run keeps.
func inFlight(run *v1alpha1.PruneRun) []string {
	p := progress(run)
	kept := keptBy(run)
	return slices.DeleteFunc(planned(run, p.Settled, p.Settled+p.InFlight),
		func(account string) bool { return slices.Contains(kept, account) })
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
