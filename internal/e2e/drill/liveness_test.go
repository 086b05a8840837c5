package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// unfinishedWork lists what the managers still have to do for the groups, now that all faults are over. Without a sweep
// only the reported groups need a run.
func (w *world) unfinishedWork(runners []runner, sweep bool) (open []string) {
	for _, p := range runners {
		groups := map[string]emulator.Group{}
		all, err := w.im(p.Rule.App).Groups(w.ctx)
		if err != nil {
			return []string{err.Error()}
		}
		for _, g := range all {
			groups[g.ID] = g
		}
		for _, g := range p.Groups {
			for _, what := range p.unfinishedGroup(groups[g.ID], g.ID, sweep) {
				open = append(open, fmt.Sprintf("%s %q: %s", p.Name, g.ID, what))
			}
		}
	}
	return open
}

func (p runner) unfinishedGroup(g emulator.Group, id string, sweep bool) (open []string) {
	runs := p.ledger.runsOf(p.Rule.App, id)
	found := false // a run has handled the group as it is, or waits for a good reason
	for i := range runs {
		run := &runs[i]
		if !ended(run) {
			reason, good := p.waiting(run, runs)
			found = found || good
			if !good {
				open = append(open, fmt.Sprintf("run %s is not finished: %s", run.Name, reason))
			}
			continue
		}
		// Without a sweep it is enough that the report led to a run. NotFull counts only if a member has left.
		complete := apimeta.FindStatusCondition(run.Status.Conditions, "Complete")
		answered := !sweep && complete != nil && (complete.Reason != "NotFull" || p.memberLeft(id))
		s := run.Status.Group
		found = found || answered || apimeta.IsStatusConditionTrue(run.Status.Conditions, "Failed") ||
			s != nil && s.MaxMembers > 0 && s.Members >= s.MaxMembers
	}
	v := p.policy(p.Name)
	reported := slices.ContainsFunc(p.reported(), func(r report) bool { return r.app == p.Rule.App && r.group == id })
	switch {
	case found || g.ID == "" || !g.Full || modernType(g.Type) == "AVChatRoom":
	case v == nil || !v.rule.governs(p.Rule.App, g.ID, g.Type) || v.rule.Invalid:
	case reported || sweep:
		open = append(open, fmt.Sprintf("it is full (%d), reported %v, and no run has handled it", g.Members, reported))
	}
	return open
}

func (p runner) memberLeft(group string) bool {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	return slices.ContainsFunc(p.ledger.departures,
		func(d departure) bool { return d.app == p.Rule.App && d.group == group })
}

func (p runner) reported() []report {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	return slices.Clone(p.ledger.reports)
}

// waiting returns what a run waits for, and whether it should.
func (p runner) waiting(run *v1alpha1.PruneRun, runs []v1alpha1.PruneRun) (reason string, good bool) {
	condition := apimeta.FindStatusCondition(run.Status.Conditions, "Planned")
	if run.Status.Plan != nil {
		condition = apimeta.FindStatusCondition(run.Status.Conditions, "Complete")
	}
	if condition == nil {
		return "no condition", false
	}
	reason = condition.Reason + ": " + condition.Message
	v := p.policy(p.Name)
	switch condition.Reason {
	case "AwaitingApproval":
		return reason, (run.Status.Policy.Mode == v1alpha1.PruneModeApprove || run.Status.Plan.Breaker != "") &&
			run.Spec.Approval == v1alpha1.ApprovalPending
	case "BudgetExhausted":
		return reason, v != nil && p.spent(run.Spec.Purpose) >= v.rule.caps(run.Spec.Purpose).day
	case "ListUnresolved":
		return reason, p.unresolved(run)
	case "ProtectionUnresolved":
		return reason, v != nil && len(v.rule.Lists) > 0 && p.list(p.Name) == nil
	case "PolicyInvalid":
		return reason, v != nil && v.rule.Invalid
	case "Queued":
		return reason, slices.ContainsFunc(runs, func(other v1alpha1.PruneRun) bool {
			if ended(&other) || other.UID == run.UID {
				return false
			}
			if c := apimeta.FindStatusCondition(other.Status.Conditions, "Complete"); c != nil && c.Reason == "Queued" {
				return false
			}
			if c := apimeta.FindStatusCondition(other.Status.Conditions, "Planned"); c != nil && c.Reason == "Queued" {
				return false
			}
			_, good := p.waiting(&other, nil)
			return good
		})
	}
	return reason, false
}

// spent is how many removals the runs of a purpose have recorded under the name of the policy.
func (p runner) spent(purpose v1alpha1.PrunePurpose) (n int) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	for _, h := range p.ledger.runs {
		run := h.last()
		if run.Spec.Purpose != purpose {
			continue
		}
		if strings.HasSuffix(run.Name, yesterday) && !time.Now().Before(p.ledger.spent[p.Rule.App+"/"+p.Name].until) {
			continue
		}
		if run.Status.Policy != nil && run.Status.Policy.Name == p.Name {
			n += int(run.Status.Removed) + len(inFlight(run))
		}
	}
	return n
}
