package page

import (
	"html/template"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/runs"
)

// next says what happens next with a run, in sentences.
func (v *visit) next(run *v1alpha1.PruneRun) (sentences []template.HTML) {
	add := func(sentence template.HTML) { sentences = append(sentences, sentence) }
	switch {
	case !run.DeletionTimestamp.IsZero():
		add(v.HTML("The run is being deleted, and does nothing more."))
	case prunerun.Finished(run):
		return v.nextAfterEnd(run)
	case run.Spec.Approval == v1alpha1.ApprovalDenied:
		add(v.HTML("It was denied: the leader ends it, and removes nobody any more."))
	case !prunerun.HasPlan(run):
		add(v.HTML("There is no plan yet. The leader makes one as soon as nothing stands in its way."))
	case prunerun.PlanExpired(run, v.now):
		add(v.HTML("The plan has been void since %s: nobody is removed by it any more.",
			v.When(prunerun.PlanEnd(run, v.now))))
		add(v.again(run))
	case runs.Waits(run, v.now):
		add(v.HTML("Nobody is removed unless somebody approves the plan."))
		add(v.onceApproved(run))
		add(v.HTML("Without a decision the plan becomes void on %s, and everybody stays.",
			v.When(prunerun.PlanEnd(run, v.now))))
		add(v.again(run))
	default:
		return v.nextUnasked(run)
	}
	return sentences
}

// again says what makes another run of the group.
func (v *visit) again(run *v1alpha1.PruneRun) template.HTML {
	if prunerun.Evicts(run) {
		return v.HTML("The next look at the members, or edit of a list, makes another run.")
	}
	return v.HTML("If the group is still full, another run is made after a pause that the rule sets.")
}

// onceApproved says what an approval starts.
func (v *visit) onceApproved(run *v1alpha1.PruneRun) template.HTML {
	from := prunerun.PlanBegin(run, v.now)
	switch {
	case prunerun.Evicts(run) && from.After(v.now):
		return v.HTML("Once it is approved, the leader looks at each of them again, on %s at the earliest, "+
			"and removes those whom the gate still refuses.", v.When(from))
	case prunerun.Evicts(run):
		return v.HTML("Once it is approved, the leader looks at each of them again, " +
			"and removes those whom the gate still refuses.")
	}
	return v.HTML("Once it is approved, the leader looks at each of them again, " +
		"and removes those who are still inactive.")
}

// nextUnasked says what happens with a plan that waits for nobody.
func (v *visit) nextUnasked(run *v1alpha1.PruneRun) []template.HTML {
	sentences := []template.HTML{
		v.HTML("The leader looks at each member again, and removes those who are still inactive, " +
			"unless the run is denied."),
	}
	if prunerun.Evicts(run) {
		sentences[0] = v.HTML("The leader looks at each member again, and removes those whom the gate still refuses, " +
			"unless the run is denied.")
	}
	if from := prunerun.PlanBegin(run, v.now); from.After(v.now) {
		sentences = append(sentences, v.HTML("It begins on %s at the earliest.", v.When(from)))
	}
	return append(sentences,
		v.HTML("What is not done by %s is not done at all.", v.When(prunerun.PlanEnd(run, v.now))))
}

// nextAfterEnd says what happens after the end of a run.
func (v *visit) nextAfterEnd(run *v1alpha1.PruneRun) []template.HTML {
	switch {
	case prunerun.UndoEnded(run):
		return []template.HTML{v.HTML("It was undone: %d members were added back.", run.Status.Undo.Added)}
	case prunerun.WantsUndo(run) && prunerun.Evicts(run):
		return []template.HTML{v.HTML("Its undo was requested: the leader adds back those whom the gate admits now, " +
			"while seats are free.")}
	case prunerun.WantsUndo(run):
		return []template.HTML{
			v.HTML("Its undo was requested: the leader adds the members back, while seats are free."),
		}
	case !prunerun.RemovedMembers(run):
		sentences := []template.HTML{v.HTML("It has ended, and removes nobody any more.")}
		switch end, _ := prunerun.Completion(run); end.Reason {
		case v1alpha1.ReasonDenied, v1alpha1.ReasonExpired:
			sentences = append(sentences, v.again(run))
		}
		return sentences
	}
	sentences := []template.HTML{
		v.HTML("It has ended. It can be undone once, for as long as its record is kept."),
	}
	if refuse := run.Status.Refuse; refuse != nil && refuse.Until.After(v.now) {
		sentences = append(sentences,
			v.HTML("Those who were removed are refused until %s when they want to come back.",
				v.When(refuse.Until.Time)))
	}
	return sentences
}
