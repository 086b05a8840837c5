package pruning

import (
	"fmt"
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestOneAppLeavesWorkersToOthers(t *testing.T) {
	var locks groupLocks
	locked := 0
	for group := range MaxSteps {
		if locks.lock(prunerun.Key{Namespace: "ns", App: "slow", Group: fmt.Sprint(group)}) {
			locked++
		}
	}
	if locked != stepsPerApp || locked > MaxSteps/2 {
		t.Errorf("%d of %d workers are occupied by one app, want %d", locked, MaxSteps, stepsPerApp)
	}
	another := prunerun.Key{Namespace: "ns", App: "slow", Group: "k"}
	if locks.lock(another) || !locks.lock(prunerun.Key{Namespace: "other", App: "slow", Group: "a"}) {
		t.Error("an app of the same name in another namespace is another app")
	}
	locks.unlock(prunerun.Key{Namespace: "ns", App: "slow", Group: "0"})
	if !locks.lock(another) || locks.lock(prunerun.Key{Namespace: "ns", App: "slow", Group: "l"}) {
		t.Error("a Step that ends makes room for one")
	}
}

func TestLargePlansLeaveRoomForSmallOnes(t *testing.T) {
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
	w.Group(labtest.FullGroup, 0, largeGroup)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	r := w.replica()
	r.plans.large = maxLargePlans
	for range 3 {
		if next, err := r.step("one"); err != nil || next.After != planRecheck {
			t.Errorf("next = %v, %v, want another Step in %s", next, err, planRecheck)
		}
	}
	labtest.WantConditions(t, w.Get("one"), "Planned=False/Queued")
	if w.Happened(labtest.ListMembers) != 0 || w.Happened(labtest.GetGroup) != 1 {
		t.Errorf("%v: want no list, and the group read once", w.Calls())
	}
	r.plans.large--
	labtest.WantConditions(t, r.finish("one"), "Planned=True/Planned", "Complete=True/Previewed")
}
