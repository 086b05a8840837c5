package runs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// MaxShown is how many members a review has, unless all are asked for.
const MaxShown = 20

// Review is what a person sees of a run before deciding about it.
type Review struct {
	run   *v1alpha1.PruneRun
	verb  Verb
	most  int
	now   time.Time
	later string
}

// NewReview shows run for a decision, with all its members or the first MaxShown of them. runs are those among which it
// was found.
func NewReview(run *v1alpha1.PruneRun, v Verb, all bool, runs []v1alpha1.PruneRun, now time.Time) *Review {
	r := &Review{run: run, verb: v, most: MaxShown, now: now}
	if all {
		r.most = len(r.members())
	}
	if v == Undo {
		for i := range runs {
			if prunerun.KeyOf(&runs[i]) == prunerun.KeyOf(run) && prunerun.MayHaveRemovedAgain(&runs[i], run) {
				r.later = runs[i].Name
			}
		}
	}
	return r
}

// members are those whom the decision is about, as they are shown.
func (r *Review) members() []v1alpha1.PlannedRemoval { return Members(r.run, r.verb) }

// Members are those whom a decision is about: those to be removed, in the order of the plan, or those to be added back,
// in the order of the undo.
func Members(run *v1alpha1.PruneRun, v Verb) []v1alpha1.PlannedRemoval {
	if !prunerun.HasPlan(run) {
		return nil
	}
	if v != Undo {
		return prunerun.NextBatch(run, prunerun.OpenPositions(run))
	}
	removed := map[string]bool{}
	for _, account := range prunerun.RemovedAccounts(run) {
		removed[account] = true
	}
	back := slices.DeleteFunc(slices.Clone(run.Status.Plan.Removals), func(m v1alpha1.PlannedRemoval) bool {
		return !removed[m.Account]
	})
	slices.Reverse(back)
	return back
}

// Sentence says what the run is about, and what becomes of the others.
func (r *Review) Sentence() string {
	run, plan := r.run, r.run.Status.Plan
	d := Describe(run, r.now)
	who := fmt.Sprintf("Run %s of app %s", run.Name, d.App)
	if plan == nil {
		return fmt.Sprintf("%s has no plan for group %s yet (%s).\n", who, quoted(d.Group), d.State)
	}
	var text strings.Builder
	n := len(r.members())
	switch {
	case r.verb == Undo:
		back := "Those who were active last come back first, while seats are free."
		if prunerun.Evicts(run) {
			back = "The gate of the group decides who comes back: accounts that it still refuses stay out. " +
				"Correct the list or the policy first."
		}
		fmt.Fprintf(&text, "%s removed %s from %s, by policy %s.\n%s\n", who,
			prunerun.Count(n, "member", "members"), quoted(d.Group), d.Policy, back)
		text.WriteString(r.approved())
		return text.String()
	case d.Removed > 0 || prunerun.Progress(run).InFlight > 0:
		fmt.Fprintf(&text, "%s has removed %d of %d members of %s, and is about to remove %d more, by policy %s.\n",
			who, d.Removed, d.Members, quoted(d.Group), n, d.Policy)
	default:
		fmt.Fprintf(&text, "%s would remove %d of %s of %s, by policy %s.\n",
			who, n, prunerun.Count(d.Members, "member", "members"), quoted(d.Group), d.Policy)
	}
	text.WriteString(r.approved())
	text.WriteString(stay(plan, prunerun.Evicts(run)))
	if plan.Breaker != "" {
		fmt.Fprintf(&text, "It is no routine: the plan %s\n", printable(plan.Breaker))
	}
	text.WriteString(r.next(&d))
	if d.VoidAt != nil {
		fmt.Fprintf(&text, "The plan is void in %s.\n", duration.HumanDuration(max(d.VoidAt.Sub(r.now), 0)))
	}
	return text.String()
}

// approved says who approved the plan, and when; it is empty as long as no approval is recorded.
func (r *Review) approved() string {
	approved := prunerun.Decisions(r.run).Approved
	if approved == nil {
		return ""
	}
	past := "approved it"
	if at := approved.RecordedAt; !at.IsZero() {
		past += " on " + at.UTC().Format("Jan 2, 2006, 15:04 UTC")
	}
	return printable(prunerun.DecisionMessage(&approved.PruneDecision, past)) + "\n"
}

// stay says who stays, and why.
func stay(plan *v1alpha1.PrunePlan, evicts bool) string {
	s, later := plan.Stay, max(int(plan.Candidates)-len(plan.Removals), 0)
	if !evicts {
		return fmt.Sprintf("Stay: %d active, %d owner and admins, %d protected, %d whose activity is not known, "+
			"%d inactive.\n", s.Active, s.Admin, s.Protected, s.Unknown, later)
	}
	return fmt.Sprintf("Stay: %d admitted, %d owner and admins, %d in grace, %d whose role or time of joining is not "+
		"known, %d for a later run.\n", s.Admitted, s.Admin, s.InGrace, s.Unknown, later)
}

// next says what becomes of the plan of an eviction; it is empty for other runs.
func (r *Review) next(d *Run) string {
	if !prunerun.Evicts(r.run) || prunerun.Finished(r.run) {
		return ""
	}
	when := ""
	if d.NotBefore != nil && d.NotBefore.After(r.now) {
		when = ", in " + duration.HumanDuration(d.NotBefore.Sub(r.now)) + " at the earliest"
	}
	if d.AwaitsApproval {
		return "Once approved, the leader removes those whom the gate still refuses" + when + ".\n"
	}
	return "The leader removes those whom the gate still refuses" + when + ", unless the run is denied.\n"
}

// Table has the members, each with the last activity, as far as they are shown.
func (r *Review) Table() [][]string {
	all := r.members()
	if len(all) == 0 {
		return nil
	}
	rows := [][]string{{"ACCOUNT", "LAST ACTIVE", "WHY"}}
	for i := range all[:min(r.most, len(all))] {
		member := &all[i]
		active := "not known"
		if at := member.LastActiveAt.Time; !at.IsZero() {
			active = fmt.Sprintf("%s (%s)", at.UTC().Format("Jan 2, 2006"), ago(at, r.now))
		}
		rows = append(rows, []string{quoted(member.Account), active, why(member)})
	}
	if more := len(all) - r.most; more > 0 {
		rows = append(rows, []string{fmt.Sprintf("and %d more; --show-all lists them", more)})
	}
	return rows
}

// why says why a member is on the plan.
func why(m *v1alpha1.PlannedRemoval) string {
	switch {
	case m.Reason == v1alpha1.RemovalReasonNeverSpoke:
		return "joined then, and never wrote"
	case m.Reason == v1alpha1.RemovalReasonInactive:
		return "has not written since"
	case m.Reason == v1alpha1.RemovalReasonDenied && m.List != "":
		return fmt.Sprintf("policy %s denies it, by AccountList %s", m.Policy, m.List)
	case m.Reason == v1alpha1.RemovalReasonDenied:
		return fmt.Sprintf("policy %s denies it", m.Policy)
	case m.Reason == v1alpha1.RemovalReasonNotListed:
		return fmt.Sprintf("policy %s does not list it", m.Policy)
	}
	return string(m.Reason)
}

// Advice names a later run whose removals this undo leaves alone.
func (r *Review) Advice() []string {
	if r.later == "" {
		return nil
	}
	return []string{fmt.Sprintf("run %s removed members of the group later: those whom it removed again stay out, "+
		"unless it is undone first.", r.later)}
}

// Question asks for the decision; the answer is yes or no.
func (r *Review) Question() string {
	n, group := len(r.members()), quoted(r.run.Spec.GroupID)
	members := prunerun.Count(n, "member", "members")
	switch {
	case r.verb == Approve:
		return fmt.Sprintf("%s will be removed from %s. Approve?", members, group)
	case r.verb == Undo && prunerun.Evicts(r.run):
		return fmt.Sprintf("Of %s, those whom the gate admits will be added back to %s. Undo?", members, group)
	case r.verb == Undo:
		return fmt.Sprintf("%s will be added back to %s. Undo?", members, group)
	case n == 0:
		return fmt.Sprintf("The run of %s will be stopped. Deny?", group)
	}
	return fmt.Sprintf("%s of %s will stay. Deny?", members, group)
}

// Done says what the decision has started.
func (r *Review) Done() string {
	n, group := len(r.members()), quoted(r.run.Spec.GroupID)
	evicts := prunerun.Evicts(r.run)
	switch {
	case r.verb == Approve && evicts:
		return fmt.Sprintf("Run %s is approved: the leader removes the members whom the gate still refuses from %s.",
			r.run.Name, group)
	case r.verb == Approve:
		return fmt.Sprintf("Run %s is approved: the leader removes the members who are still inactive from %s.",
			r.run.Name, group)
	case r.verb == Undo && evicts:
		return fmt.Sprintf("The undo of run %s is requested: the leader adds the members back to %s whom the gate "+
			"admits now, while seats are free.", r.run.Name, group)
	case r.verb == Undo:
		return fmt.Sprintf("The undo of run %s is requested: the leader adds the members back to %s, while seats are "+
			"free.", r.run.Name, group)
	case n == 0:
		return fmt.Sprintf("Run %s is denied: the leader ends it.", r.run.Name)
	}
	return fmt.Sprintf("Run %s is denied: the leader ends it, and removes no more members of %s.", r.run.Name, group)
}
