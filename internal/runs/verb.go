package runs

import (
	"fmt"
	"strings"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// Verb is what a person decides about a run.
type Verb string

// The verbs.
const (
	Approve Verb = "approve"
	Deny    Verb = "deny"
	Undo    Verb = "undo"
)

// Past is the verb in the past tense.
func (v Verb) Past() string {
	switch v {
	case Approve:
		return "approved"
	case Deny:
		return "denied"
	}
	return "undone"
}

// Possible reports whether the run can be decided so.
func (v Verb) Possible(run *v1alpha1.PruneRun, now time.Time) bool { return v.refuses(run, now) == "" }

// refuses says why the run cannot be decided so; it is empty if it can. It is a sentence without its end, about "it".
func (v Verb) refuses(run *v1alpha1.PruneRun, now time.Time) string {
	end, finished := prunerun.Completion(run)
	switch {
	case !run.DeletionTimestamp.IsZero():
		return "it is being deleted"
	case v == Undo:
		return refusesUndo(run, finished)
	case finished:
		return fmt.Sprintf("it has ended (%s): %s", end.Reason, printable(end.Message))
	case run.Spec.Approval == v1alpha1.ApprovalDenied:
		return "it was denied already"
	case v == Deny:
		return ""
	case !prunerun.HasPlan(run):
		return fmt.Sprintf("it has no plan yet (%s)", state(run, now))
	case run.Spec.Approval == v1alpha1.ApprovalApproved:
		return "it was approved already"
	case prunerun.PlanExpired(run, now):
		again := "the next callback of the full group makes another run"
		if prunerun.Evicts(run) {
			again = "the next round, leak or edit of a list makes another run"
		}
		return fmt.Sprintf("its plan has been void since %s: %s", voidAt(run, now).Format(time.RFC3339), again)
	case !Waits(run, now):
		return fmt.Sprintf("its mode is %s, in which nothing awaits approval", Describe(run, now).Mode)
	}
	return ""
}

func refusesUndo(run *v1alpha1.PruneRun, finished bool) string {
	switch {
	case prunerun.UndoEnded(run):
		return "it was undone already; a run can be undone once" + leftOut(run)
	case run.Spec.Undo != "":
		return "its undo was requested already"
	case !finished:
		return "it has not ended: deny it to stop it, and undo it then"
	case !prunerun.RemovedMembers(run):
		return "it removed no member"
	}
	return ""
}

// leftOut says which accounts an undo left out, since the gate refused them still.
func leftOut(run *v1alpha1.PruneRun) string {
	accounts := stillRefused(run)
	n := len(accounts)
	if n == 0 {
		return ""
	}
	names := make([]string, 0, maxCandidates)
	for _, account := range accounts[:min(n, maxCandidates)] {
		names = append(names, quoted(account))
	}
	if n > maxCandidates {
		names = append(names, fmt.Sprintf("%d more", n-maxCandidates))
	}
	return fmt.Sprintf(". It left out %s, since the gate of the group still refused them (StillRefused): once a list "+
		"admits them, they may apply, or the app's server adds them", strings.Join(names, ", "))
}

// stillRefused are the accounts that an undo left out, since the gate refused them still.
func stillRefused(run *v1alpha1.PruneRun) []string {
	if run.Status.Undo == nil {
		return nil
	}
	return prunerun.AccountsWith(run.Status.Undo, v1alpha1.RestoreResultStillRefused)
}

// byGroup reports whether the run is one that is meant by its group. A run that has no plan yet is meant by its name
// only: what is shown and decided then is not a plan.
func (v Verb) byGroup(run *v1alpha1.PruneRun, now time.Time) bool {
	return v.refuses(run, now) == "" && (v == Undo || prunerun.HasPlan(run))
}
