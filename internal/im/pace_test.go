package im

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// Calls whose turns fall into a pause must not all start when it ends: the vendor would find that too frequent once more.
func TestCallsDoNotRushOutOfAPause(t *testing.T) {
	const callers, gap = 10, 50 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		p := pace{now: time.Now, sleep: sleep, limiter: rate.NewLimiter(rate.Every(gap), 1)}
		if err := p.admit(t.Context(), apiMembers, time.Time{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var starts []time.Time
		var calls sync.WaitGroup
		for range callers {
			calls.Go(func() {
				if err := p.admit(context.WithoutCancel(t.Context()), apiMembers, time.Time{}, time.Time{}); err != nil {
					t.Errorf("admit: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				starts = append(starts, time.Now())
			})
		}
		synctest.Wait() // all wait for their turns
		p.pause(time.Second, Error{Class: ClassThrottled})
		paused := time.Now()
		calls.Wait()

		slices.SortFunc(starts, time.Time.Compare)
		if got := starts[0].Sub(paused); got < time.Second {
			t.Errorf("the first call started %s after a pause of 1s began", got)
		}
		for i := 1; i < len(starts); i++ {
			if got := starts[i].Sub(starts[i-1]); got < gap {
				t.Errorf("call %d started %s after the one before, want at least %s", i, got, gap)
			}
		}
	})
}
