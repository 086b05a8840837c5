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

	// evictDelay is how long after the end of an eviction the next one of the group may be created, and evictCooldown
	// after one that failed, or after an undo.
	evictDelay    = time.Minute
	evictCooldown = 10 * time.Minute
)

// Cooldown returns the cooldown after a run, by the rule that frees seats in its group now.
type Cooldown func(run *v1alpha1.PruneRun) time.Duration

// HoldOff is what the finished runs of a group ask of the next one with a purpose. Times in the past ask nothing.
type HoldOff struct {
	// CoolingUntil is the end of the cooldown. The run that started the cooldown answers callbacks that arrive before
	// it.
	CoolingUntil time.Time
	// Undoing is set while accounts are being added back, or are about to be.
	Undoing bool
	// NotFullUntil is when a callback that followed a run which ended NotFull may have its run.
	NotFullUntil time.Time
}

// HoldOffAfter derives from the finished among runs when the next run with the purpose may be created.
//
// Runs with another purpose ask for nothing, except by their undo. While accounts are being added back, no run is to
// remove members; and since an addition that takes the last seat makes the vendor report a full group, a cooldown
// starts when the undo ends.
func HoldOffAfter(
	purpose v1alpha1.PrunePurpose, runs []v1alpha1.PruneRun, cooldown Cooldown, now time.Time,
) HoldOff {
	if purpose == v1alpha1.PrunePurposeEvict {
		cooldown = func(*v1alpha1.PruneRun) time.Duration { return evictCooldown }
	}
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
		if !finished || PurposeOf(run) != purpose {
			continue
		}
		switch at := Happened(run, end.LastTransitionTime.Time, now); {
		case end.Type == v1alpha1.ConditionFailed:
			h.CoolingUntil = later(h.CoolingUntil, at.Add(cooldown(run)))
		case purpose == v1alpha1.PrunePurposeEvict:
			h.CoolingUntil = later(h.CoolingUntil, at.Add(evictDelay))
		case startsCooldown(run, end.Reason):
			h.CoolingUntil = later(h.CoolingUntil, at.Add(cooldown(run)))
		case end.Reason == v1alpha1.ReasonNotFull:
			h.NotFullUntil = later(h.NotFullUntil, at.Add(NotFullDelay))
		}
	}
	return h
}

// startsCooldown reports whether the cooldown of FreeSeats starts with the end of a run that did not fail: if it found
// the group full, so that a rule that frees few seats is not carried out at the rate of callbacks. After one that
// failed it starts in any case, so that a wrong key is not tried at that rate.
//
// A run that ended CoolingDown does not count, since it would prolong the cooldown that it obeyed; nor does one that
// Expired, whose plan was older than any cooldown need be.
func startsCooldown(run *v1alpha1.PruneRun, reason string) bool {
	return FoundFull(run) && reason != v1alpha1.ReasonCoolingDown && reason != v1alpha1.ReasonExpired
}

// coolingUntil is until when some of runs hold off the next run, for each purpose.
func coolingUntil(
	runs []v1alpha1.PruneRun, cooldown Cooldown, now time.Time,
) map[v1alpha1.PrunePurpose]time.Time {
	until := make(map[v1alpha1.PrunePurpose]time.Time, len(purposes))
	for _, purpose := range purposes {
		until[purpose] = HoldOffAfter(purpose, runs, cooldown, now).CoolingUntil
	}
	return until
}
