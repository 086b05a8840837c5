package imrest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
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

// afterSuspension is the time d after t on the machine whose monotonic clock stood still meanwhile.
func afterSuspension(t time.Time, d time.Duration) time.Time {
	t = t.Add(d)
	clocks := (*struct { // what time.Time has been since Go 1.9
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t)) // there is no other way to have the clocks differ
	clocks.ext -= int64(d)
	return t
}

func TestCallIsLateAfterTheMachineWasSuspended(t *testing.T) {
	now := time.Now()
	slept := afterSuspension(now, time.Hour)
	if slept.Sub(now) != 0 || slept.Round(0).Sub(now.Round(0)) != time.Hour {
		t.Fatalf("%v after %v is no suspension", slept, now)
	}
	p := newPace(func() time.Time { return slept }, sleep, 20)
	if err := p.admit(t.Context(), call{notAfter: now.Add(5 * time.Second)}, time.Time{}); !errors.Is(err, ErrTooLate) {
		t.Errorf("a call that was due an hour ago: %v, want ErrTooLate", err)
	}
}
