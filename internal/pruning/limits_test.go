package pruning

import (
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

func TestLargePlansLeaveRoomForSmallOnes(t *testing.T) {
	t.Parallel()
	var limiter planLimiter
	var release func()
	for range maxLargePlans {
		var ok bool
		if release, ok = limiter.acquire(largeGroup); !ok {
			t.Fatal("too few large plans at once")
		}
	}
	if _, ok := limiter.acquire(1_000_000); ok || limiter.fits(1_000_000) {
		t.Error("too many large plans at once")
	}
	if _, ok := limiter.acquire(200); !ok || !limiter.fits(200) {
		t.Error("a small group waits for large ones")
	}
	release()
	release() // once is enough
	if !limiter.fits(largeGroup) {
		t.Error("a released slot is not free")
	}
	if _, ok := limiter.acquire(largeGroup); !ok || limiter.fits(largeGroup) {
		t.Error("one slot was released, so that one more plan fits")
	}
}

func TestLargeGroupWaitsForThePlanLimiter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Group(fullGroup, 0, largeGroup)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	r.plans.large = maxLargePlans
	for range 3 {
		if next, err := r.step("one"); err != nil || next.After != planRecheck {
			t.Errorf("next = %v, %v, want another Step in %s", next, err, planRecheck)
		}
	}
	wantConditions(t, w.Get("one"), "Planned=False/Queued")
	if w.Happened(apiList) != 0 || w.Happened(apiGroup) != 1 {
		t.Errorf("%v: want no list, and the group read once", w.Calls())
	}
	r.plans.large--
	wantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Previewed")
}
