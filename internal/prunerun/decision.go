package prunerun

import (
	"fmt"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Decisions are the recorded decisions about the run.
func Decisions(run *v1alpha1.PruneRun) v1alpha1.PruneDecisions {
	if run.Status.Decisions == nil {
		return v1alpha1.PruneDecisions{}
	}
	return *run.Status.Decisions
}

// LatestDecision is what the spec says about the latest change of approval or undo. A patch that changes one of them
// and says nothing about the decision leaves the reason of an earlier change in place, which is not the reason of this
// one.
func LatestDecision(run *v1alpha1.PruneRun) v1alpha1.PruneDecision {
	if run.Spec.Decision == nil {
		return v1alpha1.PruneDecision{}
	}
	latest, recorded := *run.Spec.Decision, Decisions(run)
	for _, earlier := range []*v1alpha1.RecordedDecision{recorded.Approved, recorded.Denied} {
		if earlier != nil && earlier.Reason == latest.Reason {
			latest.Reason = ""
		}
	}
	return latest
}

// DecisionMessage says who decided, what, and why. verb is in the past tense.
func DecisionMessage(decision *v1alpha1.PruneDecision, verb string) string {
	who := "Somebody"
	if decision.By != "" {
		who = decision.By
	}
	if decision.Reason == "" {
		return fmt.Sprintf("%s %s.", who, verb)
	}
	return fmt.Sprintf("%s %s: %s", who, verb, sentence(decision.Reason))
}
