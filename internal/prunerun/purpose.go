package prunerun

import (
	"slices"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// purposes are all of them.
var purposes = [...]v1alpha1.PrunePurpose{v1alpha1.PrunePurposeFreeSeats, v1alpha1.PrunePurposeEvict}

// PurposeOf is what the run is for. Runs of older versions, which say nothing about it, free seats.
func PurposeOf(run *v1alpha1.PruneRun) v1alpha1.PrunePurpose {
	if run.Spec.Purpose == "" {
		return v1alpha1.PrunePurposeFreeSeats
	}
	return run.Spec.Purpose
}

// Evicts reports whether the run removes members whom the gate of their group refuses.
func Evicts(run *v1alpha1.PruneRun) bool { return PurposeOf(run) == v1alpha1.PrunePurposeEvict }

// WithPurpose returns those of runs that have the purpose.
func WithPurpose(purpose v1alpha1.PrunePurpose, runs []v1alpha1.PruneRun) []v1alpha1.PruneRun {
	return slices.DeleteFunc(slices.Clone(runs), func(run v1alpha1.PruneRun) bool { return PurposeOf(&run) != purpose })
}
