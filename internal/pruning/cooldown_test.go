package pruning

import (
	"testing"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestPreviewIsNotRepeatedForHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 5, 20)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, Cooldown: "10m"})
	r := w.replica()
	ends := func(name, reason string) *v1alpha1.PruneRun {
		t.Helper()
		w.Run(name, v1alpha1.PruneTriggerGroupFull)
		run := r.finish(name)
		if end, _ := prunerun.Completion(run); end.Reason != reason {
			t.Errorf("%s ended %s, want %s", name, end.Reason, reason)
		}
		return run
	}
	ends("one", v1alpha1.ReasonPreviewed)
	w.Clock.Forward(previewLife - time.Minute)
	ends("two", v1alpha1.ReasonCoolingDown)
	w.Clock.Forward(2 * time.Minute)
	ends("three", v1alpha1.ReasonPreviewed)

	// Another rule makes another plan.
	w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.InactiveFor = "40d" })
	w.Publish()
	w.Clock.Forward(11 * time.Minute)
	ends("four", v1alpha1.ReasonPreviewed)
}
