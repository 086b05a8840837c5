package prunerun

import (
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	// DefaultCooldown applies to a group that no rule governs any more, and to a run that failed before it read the
	// group.
	DefaultCooldown = 10 * time.Minute
	// NotFullDelay is how long after a run that ended NotFull the next one may be created: a stale or forged callback
	// must not keep the vendor busy, and must not delay a genuine one for long either.
	NotFullDelay = time.Minute
)

// Cooldown returns the cooldown after a run, by the rule that governs its group now.
type Cooldown func(run *v1alpha1.PruneRun) time.Duration

// HoldOff is what the finished runs of a group ask of the next one. Times in the past ask nothing.
type HoldOff struct {
	// CoolingUntil is the end of the cooldown. The run that started the cooldown answers callbacks that arrive before
	// it.
	CoolingUntil time.Time
	// Undoing is set while accounts are being added back, or are about to be.
	Undoing bool
	// NotFullUntil is when a callback that followed a run which ended NotFull may have its run.
	NotFullUntil time.Time
}

// HoldOffAfter derives the hold-off from the finished among runs.
//
// The cooldown starts when a run that found the group full completes, so that a rule that frees few seats is not
// carried out at the rate of callbacks, and when any run fails, so that a wrong key is not tried at that rate. It
// starts as well when an undo ends: an addition that takes the last seat makes the vendor report a full group, and that
// must not make a run that removes other members.
//
// A run that ended CoolingDown does not count, since it would prolong the cooldown that it obeyed; nor does one that
// Expired, whose plan was older than any cooldown need be.
func HoldOffAfter(runs []v1alpha1.PruneRun, cooldown Cooldown, now time.Time) HoldOff {
	var h HoldOff
	for i := range runs {
		run := &runs[i]
		switch {
		case WantsUndo(run):
			h.Undoing = true
		case UndoEnded(run):
			at := Happened(run, run.Status.Undo.FinishedAt.Time, now)
			h.CoolingUntil = later(h.CoolingUntil, at.Add(cooldown(run)))
		}
		end, finished := Completion(run)
		if !finished || end.Reason == v1alpha1.ReasonCoolingDown || end.Reason == v1alpha1.ReasonExpired {
			continue
		}
		switch at := Happened(run, end.LastTransitionTime.Time, now); {
		case end.Type == v1alpha1.ConditionFailed || FoundFull(run):
			h.CoolingUntil = later(h.CoolingUntil, at.Add(cooldown(run)))
		case end.Reason == v1alpha1.ReasonNotFull:
			h.NotFullUntil = later(h.NotFullUntil, at.Add(NotFullDelay))
		}
	}
	return h
}
