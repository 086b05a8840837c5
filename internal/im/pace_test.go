package im

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Calls whose turns fall into a pause must not all start when it ends: the vendor would find that too frequent once more.
func TestCallsDoNotRushOutOfAPause(t *testing.T) {
	const callers, gap = 10, 50 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now, sleep, int(time.Second/gap))
		if err := p.admit(t.Context(), call{api: apiMembers}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var starts []time.Time
		var calls sync.WaitGroup
		for range callers {
			calls.Go(func() {
				if err := p.admit(context.WithoutCancel(t.Context()), call{api: apiMembers}, time.Time{}); err != nil {
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
