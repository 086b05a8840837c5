package controllers

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestLargePlansLeaveRoomForSmallOnes(t *testing.T) {
	var room planningRoom
	var leave func()
	for range maxLargePlans {
		var ok bool
		if leave, ok = room.enter(largeGroup); !ok {
			t.Fatal("no room")
		}
	}
	if _, ok := room.enter(1_000_000); ok || room.has(1_000_000) {
		t.Error("too many large plans at once")
	}
	if _, ok := room.enter(200); !ok {
		t.Error("a small group waits for large ones")
	}
	leave()
	leave() // once is enough
	if !room.has(largeGroup) {
		t.Error("who left still takes room")
	}
	if _, ok := room.enter(largeGroup); !ok || room.has(largeGroup) {
		t.Error("one left, so one may enter")
	}
}

func TestShortMemoryShedsPlanningFirst(t *testing.T) {
	w := enforcing(t)
	r := w.process()
	short := true
	r.room.short = func() bool { return short }
	for range 3 {
		w.look(r, "one")
	}
	wantConditions(t, w.get("one"), "Planned=False/Queued")
	if got := w.happened(apiList); got != 0 || w.happened(apiGroup) != 1 {
		t.Errorf("%v: want no list, and the group read once", w.calls)
	}
	short = false
	wantConditions(t, w.finish(r, "one"), "Planned=True/Planned", removedWord)
}

func TestMemoryIsShortNearItsLimitOnly(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	debug.SetMemoryLimit(math.MaxInt64)
	if memoryShort() {
		t.Error("short without a limit")
	}
	debug.SetMemoryLimit(1 << 40)
	if memoryShort() {
		t.Error("short of a terabyte")
	}
	debug.SetMemoryLimit(1 << 10)
	if !memoryShort() {
		t.Error("a kilobyte is enough")
	}
}
