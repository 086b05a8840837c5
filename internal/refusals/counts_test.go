package refusals

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestActivityIsWhatTheCountersGained(t *testing.T) {
	now := began.Add(2 * time.Minute)
	totals := map[string]Totals{"chat/prod": {Admitted: 5}}
	behind := time.Time{}
	counts := &Counts{
		Replica: "replica-0", Now: func() time.Time { return now },
		Totals:    func() map[string]Totals { return totals },
		Freshness: func() (time.Time, bool) { return behind, true },
	}
	at := func(minute int, total Totals) {
		now = began.Add(time.Duration(minute) * time.Minute)
		totals = map[string]Totals{"chat/prod": total}
		counts.sample()
	}
	counts.sample()
	at(3, Totals{Admitted: 6, Refused: 1})
	at(12, Totals{Admitted: 6, Refused: 3, Leaked: 1})
	behind = now.Add(-time.Minute)
	got, ok := counts.Activity("chat/prod")
	interval := func(minute int, a, r, l uint64) Interval {
		return Interval{Start: began.Add(time.Duration(minute) * time.Minute), Admitted: a, Refused: r, Leaked: l}
	}
	want := Activity{
		Replica: "replica-0", Since: began.Add(2 * time.Minute), Now: now, SnapshotAt: behind, Stale: true,
		Intervals: []Interval{interval(0, 6, 1, 0), interval(5, 0, 0, 0), interval(10, 0, 2, 1)},
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Error(ok, diff)
	}
	at(14, Totals{Admitted: 2}) // deleted, and created again
	if got, _ := counts.Activity("chat/prod"); got.Intervals[2] != interval(10, 2, 2, 1) {
		t.Errorf("after the counters began anew: %+v", got.Intervals[2])
	}
	if _, ok := counts.Activity("chat/other"); ok {
		t.Error("an app that the snapshot does not have is answered for")
	}
}

func TestActivityHasTheLastDay(t *testing.T) {
	now, total := began, uint64(0)
	counts := &Counts{
		Now:       func() time.Time { return now },
		Totals:    func() map[string]Totals { return map[string]Totals{"chat/prod": {Admitted: total}} },
		Freshness: func() (time.Time, bool) { return now, false },
	}
	for range 400 {
		total++
		counts.sample()
		now = now.Add(IntervalLength)
	}
	now = now.Add(-time.Second)
	got, _ := counts.Activity("chat/prod")
	first := now.Truncate(IntervalLength).Add(-(MaxIntervals - 1) * IntervalLength)
	if len(got.Intervals) != MaxIntervals || got.Intervals[0].Start != first {
		t.Errorf("%d intervals from %s", len(got.Intervals), got.Intervals[0].Start)
	}
	sum := uint64(0)
	for i, interval := range got.Intervals {
		sum += interval.Admitted
		if interval.Start != got.Intervals[0].Start.Add(time.Duration(i)*IntervalLength) {
			t.Errorf("gap before %s", interval.Start)
		}
	}
	if sum != MaxIntervals {
		t.Errorf("%d admitted, want one for each interval", sum)
	}
	if kept := len(counts.apps["chat/prod"].intervals); kept > MaxIntervals {
		t.Errorf("%d intervals are kept", kept)
	}
}

// TestCountsOfRequestsAtTheSameTime has no reading of the counters overtake an older one: that would look like counters
// that began again, and count everything twice.
func TestCountsOfRequestsAtTheSameTime(t *testing.T) {
	var admitted atomic.Uint64
	c := &Counts{
		Totals: func() map[string]Totals {
			n := admitted.Add(1)
			runtime.Gosched()
			return map[string]Totals{"chat/prod": {Admitted: n}}
		},
		Freshness: func() (time.Time, bool) { return began, false }, Now: func() time.Time { return began },
	}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 1000 {
				c.Activity("chat/prod")
			}
		})
	}
	asking.Wait()
	activity, _ := c.Activity("chat/prod")
	if got, want := activity.Intervals[0].Admitted, admitted.Load(); got != want {
		t.Errorf("%d were admitted, want %d", got, want)
	}
}

// A replica that starts knows no app yet: it must not say that there is none.
func TestReplicaThatStartsSaysSo(t *testing.T) {
	counts := &Counts{
		Replica: "replica-0", Now: func() time.Time { return began }, Totals: func() map[string]Totals { return nil },
		Freshness: func() (time.Time, bool) { return time.Time{}, true },
	}
	got, ok := counts.Activity("chat/prod")
	want := Activity{
		Replica: "replica-0", Since: began, Now: began, Stale: true, Intervals: []Interval{{Start: began}},
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("%v, (-want,+got)\n%s", ok, diff)
	}
}
