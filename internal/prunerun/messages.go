package prunerun

import (
	"fmt"
	"strings"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// The messages of a run are read by people who manage a community, with kubectl describe: they are whole sentences, and
// name what to change.

// PlanMessage says what a plan comes to, for a reader who did not write the rule.
func PlanMessage(candidates, removals int, inactiveFor time.Duration) string {
	var sum string
	switch {
	case candidates == 0:
		sum = "No member that may go is inactive"
	case removals == 0:
		inactive := Count(candidates, "inactive member", "inactive members")
		sum = fmt.Sprintf("Enough seats are free, so that none of %s is to go", inactive)
	case removals == 1:
		sum = fmt.Sprintf("1 of %s is to go", Count(candidates, "inactive member", "inactive members"))
	default:
		sum = fmt.Sprintf("%d of %d inactive members are to go", removals, candidates)
	}
	return fmt.Sprintf("%s. A member is inactive if it neither joined nor spoke for %s.", sum, spelled(inactiveFor))
}

// EvictionMessage says what a plan of evictions comes to. inGrace members are refused as well, and joined less than
// grace ago.
func EvictionMessage(candidates, removals, inGrace int, grace time.Duration) string {
	message := "The gate of the group refuses no member that could be evicted now."
	if candidates > 0 {
		are := "are"
		if removals == 1 {
			are = "is"
		}
		message = fmt.Sprintf("%d of %s refused by the gate of the group %s to be evicted.",
			removals, Count(candidates, "member", "members"), are)
	}
	if inGrace > 0 {
		message += " " + LateMessage(inGrace, grace)
	}
	return message
}

// LateMessage says how many members are refused that joined less than grace ago.
func LateMessage(inGrace int, grace time.Duration) string {
	return fmt.Sprintf("%s refused by the gate joined less than %s ago.",
		Count(inGrace, "member", "members"), spelled(grace))
}

// ApprovalMessage says what a run whose plan awaits approval asks for. page is the URL of the page, or empty. The
// message is cut to limit bytes where it quotes the breaker, so that what to do remains.
func ApprovalMessage(run *v1alpha1.PruneRun, page string, limit int) string {
	plan := run.Status.Plan
	message := fmt.Sprintf("Awaiting approval: review status.plan.removals (%s), "+
		"then set spec.approval to Approved or Denied. The plan is void after %s.",
		Count(len(plan.Removals), "member", "members"),
		later(plan.CreatedAt.Time, plan.NotBefore.Time).Add(PlanLife).UTC().Format(time.RFC3339))
	if url := PageURL(page, run); url != "" {
		message += " On the page: " + url
	}
	if plan.Breaker != "" {
		return Clip(BreakerMessage(plan.Breaker), max(limit-len(message)-1, len("…"))) + " " + message
	}
	return message
}

// BreakerMessage says why a plan is for a person to decide, in every mode.
func BreakerMessage(breaker string) string { return "This plan " + sentence(breaker) }

// GraceMessage says when a plan may be carried out.
func GraceMessage(begin time.Time) string {
	return fmt.Sprintf("No member is evicted before %s: until then, lists may be corrected.",
		begin.UTC().Format(time.RFC3339))
}

// ProgressMessage says how much of the plan is settled.
func ProgressMessage(run *v1alpha1.PruneRun) string {
	status := &run.Status
	return fmt.Sprintf("%d of %d positions of the plan are settled, %s.",
		status.Progress.Settled, len(status.Plan.Removals), gone(run))
}

// RemovalMessage says how many members of the plan were removed, and how many kept.
func RemovalMessage(run *v1alpha1.PruneRun) string {
	if kept := len(run.Status.Kept); kept > 0 {
		return fmt.Sprintf("%s, and %s kept.", gone(run), Count(kept, "was", "were"))
	}
	return gone(run) + "."
}

// gone says how many members the run has removed.
func gone(run *v1alpha1.PruneRun) string {
	return Count(int(run.Status.Removed), "member was", "members were") + " " + GoneVerb(run)
}

// GoneVerb is what the run does to members, in the past tense.
func GoneVerb(run *v1alpha1.PruneRun) string {
	if Evicts(run) {
		return "evicted"
	}
	return "removed"
}

// UndoMessage says what became of the accounts of an undo.
func UndoMessage(undo *v1alpha1.PruneUndo) string {
	count := map[v1alpha1.RestoreResult]int{}
	for _, restored := range undo.Accounts {
		count[restored.Result]++
	}
	already := count[v1alpha1.RestoreResultAlreadyMember]
	back, are := count[v1alpha1.RestoreResultAdded]+already, "are"
	if back == 1 {
		are = "is"
	}
	parts := []string{fmt.Sprintf("%d of %d accounts %s back", back, len(undo.Accounts), are)}
	for _, other := range []struct {
		n         int
		one, many string
	}{
		{already, "%d of them came back by itself", "%d of them came back by themselves"},
		{count[v1alpha1.RestoreResultAwaitingConfirmation], "%d has yet to confirm", "%d have yet to confirm"},
		{count[v1alpha1.RestoreResultRefused], "%d was refused", "%d were refused"},
		{count[v1alpha1.RestoreResultNotFound], "%d no longer exists", "%d no longer exist"},
		{count[v1alpha1.RestoreResultGroupLimit], "%d is in too many groups", "%d are in too many groups"},
		{count[v1alpha1.RestoreResultNoSeat], "for %d no seat was free", "for %d no seat was free"},
		{count[v1alpha1.RestoreResultRemovedAgain],
			"%d was removed again by a later run", "%d were removed again by later runs"},
		{count[v1alpha1.RestoreResultStillRefused],
			"%d is still refused by the gate of the group", "%d are still refused by the gate of the group"},
		{count[v1alpha1.RestoreResultFailed], "%d was not added", "%d were not added"},
	} {
		switch {
		case other.n == 1:
			parts = append(parts, fmt.Sprintf(other.one, other.n))
		case other.n > 1:
			parts = append(parts, fmt.Sprintf(other.many, other.n))
		}
	}
	left, adding := count[v1alpha1.RestoreResultPending], count[v1alpha1.RestoreResultAdding]
	switch {
	case undo.FinishedAt.IsZero() && left+adding > 0:
		parts = append(parts, Count(left+adding, "is", "are")+" still to come")
	case adding > 0:
		parts = append(parts, fmt.Sprintf("for %d the result is not known", adding))
	}
	if len(parts) == 1 {
		return parts[0] + "."
	}
	return parts[0] + "; " + strings.Join(parts[1:], ", ") + "."
}

// EarlyEndMessage says why an undo ended early, and what became of the accounts.
func EarlyEndMessage(why string, undo *v1alpha1.PruneUndo) string {
	return Clip(why, MaxMessage/2) + " " + UndoMessage(undo)
}

// FailureMessage makes a sentence of a failed step, which is an infinitive. The vendor's text may end in full stops
// already.
func FailureMessage(step string, err error) string {
	return fmt.Sprintf("Could not %s: %s", step, sentence(err.Error()))
}

// sentence ends text with one full stop, unless it ends like a sentence already.
func sentence(text string) string {
	text = strings.TrimRight(text, ". ")
	if strings.HasSuffix(text, "!") || strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

// Count is a number with what it counts.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Clip cuts text to at most limit bytes, between characters.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}

// spelled writes whole minutes as the API does.
func spelled(d time.Duration) string {
	text := ""
	for _, unit := range []struct {
		length time.Duration
		suffix string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := d / unit.length; n > 0 {
			text += fmt.Sprintf("%d%s", n, unit.suffix)
			d %= unit.length
		}
	}
	if text == "" {
		return "0m"
	}
	return text
}
