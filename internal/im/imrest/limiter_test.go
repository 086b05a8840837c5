package imrest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

const gap = 50 * time.Millisecond // 20 calls a second

// advance lets the time of a synctest bubble pass.
func advance(ctx context.Context, d time.Duration) { _ = sleep(ctx, d) }

// queue is a limiter under test, and the order in which it admits calls.
type queue struct {
	*limiter
	t     *testing.T
	calls sync.WaitGroup

	mu       sync.Mutex
	admitted []string
	at       []time.Duration
	begin    time.Time
}

// newQueue admits one call, so that those after it have to wait.
func newQueue(t *testing.T) *queue {
	q := &queue{t: t, limiter: newLimiter(time.Now, sleep, 20), begin: time.Now()}
	if err := q.admit(t.Context(), call{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	return q
}

func (q *queue) note(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.admitted = append(q.admitted, name)
	q.at = append(q.at, time.Since(q.begin))
}

// join adds a call behind those that wait.
func (q *queue) join(ctx context.Context, name string, call call, want error) {
	q.calls.Go(func() {
		err := q.admit(ctx, call, time.Time{})
		if errors.Is(err, ErrTooLate) && time.Now().After(call.notAfter) {
			q.t.Errorf("%s fails %s after its notAfter", name, time.Since(call.notAfter))
		}
		if !errors.Is(err, want) {
			q.t.Errorf("%s: %v, want %v", name, err, want)
		} else if err == nil {
			q.note(name)
		}
	})
	synctest.Wait()
}

// check waits for all calls, and compares the order. They must start a gap apart.
func (q *queue) check(want string) {
	q.t.Helper()
	q.calls.Wait()
	synctest.Wait()
	if got := strings.Join(q.admitted, " "); got != want {
		q.t.Errorf("admitted: %s\nwant:     %s", got, want)
	}
	for i, at := range q.at {
		if want := time.Duration(i+1) * gap; at != want {
			q.t.Errorf("call %d after %s, want %s", i+1, at, want)
		}
	}
	if q.wake != nil {
		q.t.Error("the goroutine of the limiter still runs")
	}
}

// sometime is a notAfter that is always met.
func sometime() time.Time { return time.Now().Add(time.Hour) }

// stream makes one call after the other until ctx ends. The vendor answers within a millisecond.
func (l *limiter) stream(ctx context.Context, call call) {
	for l.admit(ctx, call, time.Time{}) == nil {
		advance(ctx, time.Millisecond)
	}
}

func TestOrderOfWaitingCalls(t *testing.T) {
	cases := map[string]struct{ arrivals, want string }{
		"in order of arrival":                     {"n1 n2 n3", "n1 n2 n3"},
		"urgent first":                            {"n1 u1 u2", "u1 u2 n1"},
		"3 urgent in a row, then another":         {"n1 n2 u1 u2 u3 u4 u5 u6 u7", "u1 u2 u3 n1 u4 u5 u6 n2 u7"},
		"urgent ones only":                        {"u1 u2 u3 u4 u5", "u1 u2 u3 u4 u5"},
		"the sweep last":                          {"s1 n1 n2 u1", "u1 n1 n2 s1"},
		"the sweep after more than 3 urgent ones": {"s1 u1 u2 u3 u4", "u1 u2 u3 u4 s1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t)
				for arrival := range strings.FieldsSeq(tc.arrivals) {
					switch arrival[0] {
					case 'u':
						q.join(t.Context(), arrival, call{notAfter: sometime()}, nil)
					case 'n':
						q.join(t.Context(), arrival, call{}, nil)
					default:
						q.join(t.Context(), arrival, call{sweep: true}, nil)
					}
				}
				q.check(tc.want)
			})
		})
	}
}

func TestUrgentCallsLeaveAQuarterToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(time.Now, sleep, 20)
		ctx, cancel := context.WithTimeout(t.Context(), 400*gap-1)
		defer cancel()
		var calls sync.WaitGroup
		var urgent, normal atomic.Int32
		for range 5 {
			for count, call := range map[*atomic.Int32]call{&urgent: {notAfter: sometime()}, &normal: {}} {
				calls.Go(func() {
					for l.admit(ctx, call, time.Time{}) == nil {
						count.Add(1)
					}
				})
			}
		}
		calls.Wait()
		if u, n := urgent.Load(), normal.Load(); u < 299 || u > 301 || u+n != 400 {
			t.Errorf("%d urgent and %d normal calls, want 300 and 100", u, n)
		}
	})
}

// A group that is read page after page delays the calls of other groups by two slots at most.
func TestLargeGroupDoesNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(time.Now, sleep, 20)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go l.stream(ctx, call{api: apiMembers}) // ends with ctx
		for range 100 {
			advance(t.Context(), rand.N(10*gap))
			started := time.Now()
			if err := l.admit(t.Context(), call{api: apiGroupInfo}, time.Time{}); err != nil {
				t.Error(err)
			}
			if waited := time.Since(started); waited > 2*gap {
				t.Errorf("a call of a small group waited %s", waited)
			}
		}
	})
}

// A call that cannot start in time fails as soon as that is certain, and another call has its slot.
func TestCallsThatAreTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t)
		now := time.Now()
		q.join(t.Context(), "n0", call{}, nil)
		q.join(t.Context(), "now", call{notAfter: now}, ErrTooLate)
		q.join(t.Context(), "u1", call{notAfter: now.Add(gap)}, nil)
		q.join(t.Context(), "second", call{notAfter: now.Add(2*gap - 1)}, ErrTooLate) // u1 is before it
		q.join(t.Context(), "u2", call{notAfter: now.Add(2 * gap)}, nil)
		q.join(t.Context(), "n1", call{}, nil)
		q.check("u1 u2 n0 n1")
	})
}

func TestCancelledCallsTakeNoSlot(t *testing.T) {
	for name, tc := range map[string]struct {
		victims []int
		want    string
	}{
		"the first":     {[]int{0}, "c1 c2 c3"},
		"in the middle": {[]int{2}, "c0 c1 c3"},
		"the last":      {[]int{3}, "c0 c1 c2"},
		"all but one":   {[]int{0, 3, 1}, "c2"},
		"all":           {[]int{0, 1, 2, 3}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := errors.New("term is over")
				q := newQueue(t)
				var cancels []context.CancelCauseFunc
				for i, name := range []string{"c0", "c1", "c2", "c3"} {
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					cancels = append(cancels, cancel)
					var want error
					if slices.Contains(tc.victims, i) {
						want = over
					}
					q.join(ctx, name, call{}, want)
				}
				advance(t.Context(), gap/2)
				for _, i := range tc.victims {
					cancels[i](over)
					synctest.Wait()
				}
				q.check(tc.want)
			})
		})
	}
}

func TestNewRateAppliesToWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t)
		for range 9 {
			q.join(t.Context(), "", call{}, nil)
		}
		advance(t.Context(), 2*gap+gap/2) // three have started
		q.setRate(2)
		advance(t.Context(), time.Second)
		q.setRate(100)
		q.calls.Wait()
		var want []time.Duration
		for _, ms := range []int{50, 100, 600, 1100, 1125, 1135, 1145, 1155, 1165} {
			want = append(want, time.Duration(ms)*time.Millisecond)
		}
		if !slices.Equal(q.at, want) {
			t.Errorf("calls at %v, want %v", q.at, want)
		}
	})
}

// A clock that is set back blocks no call, and one that stands still does not make the limiter sleep again and again.
func TestOddClocks(t *testing.T) {
	now := time.Unix(1700000000, 0)
	var slept []time.Duration
	l := newLimiter(func() time.Time { return now }, func(_ context.Context, d time.Duration) error {
		slept = append(slept, d)
		return nil
	}, 20)
	for i := range 4 {
		if i == 2 {
			now = now.Add(-time.Hour)
		}
		if err := l.admit(t.Context(), call{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []time.Duration{gap, gap, gap}; !slices.Equal(slept, want) {
		t.Errorf("slept %v, want %v", slept, want)
	}
}

func TestSweepIsGentle(t *testing.T) {
	list, info := call{api: apiAppGroups, sweep: true}, call{api: apiGroupInfo, sweep: true}
	cases := map[string]struct {
		call     call
		busy     time.Duration // for how long others call
		callers  int           // of the sweep
		least    time.Duration // between two calls of the sweep
		min, max int           // within 10 s
	}{
		"a quarter of the rate":                       {info, 0, 1, sweepShare * gap, 50, 51},
		"one list a second":                           {list, 0, 1, listInterval, 9, 10},
		"no call while others wait":                   {info, 10 * time.Second, 1, sweepShare * gap, 0, 1},
		"concurrent callers share the quarter":        {info, 3 * time.Second, 6, sweepShare * gap, 30, 36},
		"lists do not catch up after others are done": {list, 3 * time.Second, 3, listInterval, 6, 8},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(time.Now, sleep, 20)
				busy, idle := context.WithTimeout(t.Context(), tc.busy)
				defer idle()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var calls sync.WaitGroup
				for range 3 {
					calls.Go(func() { l.stream(busy, call{api: apiMembers}) })
				}
				synctest.Wait()
				var mu sync.Mutex
				var starts []time.Time
				for range tc.callers {
					calls.Go(func() {
						for l.admit(ctx, tc.call, time.Time{}) == nil {
							mu.Lock()
							starts = append(starts, time.Now())
							mu.Unlock()
						}
					})
				}
				calls.Wait()
				if len(starts) < tc.min || len(starts) > tc.max {
					t.Errorf("%d calls in 10s, want %d to %d", len(starts), tc.min, tc.max)
				}
				for i := 1; i < len(starts); i++ {
					if got := starts[i].Sub(starts[i-1]); got < tc.least {
						t.Errorf("call %d started %s after the one before, want at least %s", i, got, tc.least)
					}
				}
			})
		})
	}
}

// A run calls, records, and calls again. Its calls must not wait behind those of a sweep that slipped in.
func TestSweepLeavesTheTimeBetweenTheCallsOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(time.Now, sleep, 20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var calls sync.WaitGroup
		runs, sweeps := 0, 0
		calls.Go(func() {
			for ; l.admit(ctx, call{api: apiMembers}, time.Time{}) == nil; runs++ {
				advance(ctx, gap+gap/5)
			}
		})
		calls.Go(func() {
			for ; l.admit(ctx, call{api: apiGroupInfo, sweep: true}, time.Time{}) == nil; sweeps++ {
				continue
			}
		})
		calls.Wait()
		if sweeps < 50 || sweeps > 61 {
			t.Errorf("%d calls of the sweep in a minute beside a run, want one in 20", sweeps)
		}
		if least := int(time.Minute / (gap + gap/5) * 95 / 100); runs < least {
			t.Errorf("%d calls of the run in a minute, want at least %d", runs, least)
		}
	})
}

// No second has more calls than the rate says, not even where the rate does not divide the second.
func TestNoSecondHasMoreCallsThanTheRate(t *testing.T) {
	for _, rate := range []int{1, 3, 7, 20, 150, 199, 200} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(time.Now, sleep, rate)
			var starts []time.Time
			for range 2*rate + 1 {
				if err := l.admit(t.Context(), call{api: apiMembers}, time.Time{}); err != nil {
					t.Fatal(err)
				}
				starts = append(starts, time.Now())
			}
			for i, start := range starts[rate:] {
				if took := start.Sub(starts[i]); took < time.Second {
					t.Fatalf("%d calls at a rate of %d start within %s", rate+1, rate, took)
				}
			}
		})
	}
}

// Calls that wait during a pause must not all start when it ends: the vendor would find that too frequent once more.
func TestCallsDoNotRushOutOfAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t)
		for range 10 {
			q.join(t.Context(), "", call{}, nil)
		}
		q.join(t.Context(), "urgent", call{notAfter: time.Now().Add(time.Second)}, ErrTooLate)
		q.pause(time.Second+1, Error{Class: ClassThrottled})
		q.calls.Wait()
		for i, at := range q.at {
			if want := time.Second + 1 + time.Duration(i)*gap; at != want {
				t.Errorf("call %d started after %s, want %s", i, at, want)
			}
		}
	})
}

func TestLongPauseFailsWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t)
		for _, waiting := range []call{
			{api: apiMembers},
			{api: apiMembers, notAfter: sometime()},
			{api: apiMembers, notAfter: q.begin.Add(15 * time.Second)}, // within the pause
			{api: apiMembers, sweep: true},
		} {
			q.calls.Go(func() {
				err := q.admit(t.Context(), waiting, time.Time{})
				failed, ok := errors.AsType[*Error](err)
				if !ok || failed.Code != 70050 || failed.API != apiMembers || failed.RetryAfter != time.Minute {
					t.Errorf("%+v: %#v", waiting, err)
				}
			})
		}
		synctest.Wait()
		q.pause(time.Minute, Error{API: apiGroupInfo, Code: 70050, Class: ClassThrottled})
		q.calls.Wait()
		if got := time.Since(q.begin); got != 0 {
			t.Errorf("the calls failed after %s", got)
		}
		q.resume()
		q.join(t.Context(), "after", call{}, nil)
		q.check("after")
	})
}

// 16 runs read groups and 3 remove members, at one call a second.
func TestUrgentCallDoesNotWaitForThoseOfOtherRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vendor := &backend{}
		vendor.answer.Store(&outageAnswer{200, groupAnswer, quick})
		client := bubbleClient(t, vendor)
		client.limiter.setRate(1)
		ctx, stop := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		for i := range 19 {
			notAfter := time.Time{}
			if i < 3 {
				notAfter = sometime()
			}
			runs.Go(func() {
				for ctx.Err() == nil {
					_, _ = client.Group(ctx, "g", notAfter)
				}
			})
		}
		advance(ctx, 30*time.Second)
		for range 4 {
			begun := time.Now()
			if _, err := client.Group(Urgent(ctx), "g", time.Time{}); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > 6*time.Second+quick { // after 3 removals and 2 others
				t.Errorf("an urgent call took %s", took)
			}
		}
		stop()
		runs.Wait()
	})
}

func TestLaneOfCall(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for name, tc := range map[string]struct {
		call call
		want lane
	}{
		"with a notAfter": {call{api: apiDeleteMembers, notAfter: soon}, laneUrgent},
		"without":         {call{api: apiDeleteMembers}, laneNormal},
		"for a person":    {call{api: apiGroupInfo, urgent: true}, laneUrgent},
		"of the sweep":    {call{api: apiGroupInfo, sweep: true}, laneSweep},
	} {
		if got := tc.call.lane(); got != tc.want {
			t.Errorf("%s: lane %d, want %d", name, got, tc.want)
		}
	}
	v := newVendor(t, always(200, `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":0,"GroupInfo":[{"GroupId":"g",`+
		`"Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`))
	client := v.client(t, func(c *Config) { c.RequestsPerSecond = 20 })
	start := v.clock.Now()
	for range 3 {
		if _, _, err := client.Groups(t.Context(), []string{"g"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := v.clock.Now().Sub(start), 2*sweepShare*gap; got != want {
		t.Errorf("3 Groups took %s, want %s", got, want)
	}
	start = v.clock.Now()
	for range 3 {
		if _, err := client.AppGroups(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := v.clock.Now().Sub(start), 2*listInterval+sweepShare*gap; got != want {
		t.Errorf("3 AppGroups took %s, want %s", got, want)
	}
}

// Many calls come, go and are cancelled in real time, for the race detector.
func TestLimiterUnderLoad(t *testing.T) {
	const interval = 50 * time.Microsecond
	l := newLimiter(time.Now, sleep, int(time.Second/interval))
	over := errors.New("over")
	var calls sync.WaitGroup
	var mu sync.Mutex
	var at []time.Time
	for i := range 100 {
		calls.Go(func() {
			for range 10 {
				ctx, cancel := context.WithCancelCause(t.Context())
				if i%3 == 0 {
					stop := time.AfterFunc(rand.N(40*interval), func() { cancel(over) })
					defer stop.Stop()
				}
				waiting := call{sweep: i%30 == 1}
				if i%2 == 0 {
					waiting.notAfter = time.Now().Add(rand.N(400 * interval))
				}
				switch err := l.admit(ctx, waiting, time.Time{}); {
				case err == nil:
					mu.Lock()
					at = append(at, time.Now())
					mu.Unlock()
				case !errors.Is(err, over) && !errors.Is(err, ErrTooLate):
					t.Errorf("admit: %v", err)
				}
				if i == 7 {
					l.setRate(15_000 + rand.N(5000))
				}
				cancel(nil)
			}
		})
	}
	calls.Wait()
	if len(at) == 0 {
		t.Fatal("no call was admitted")
	}
	if took := slices.MaxFunc(at, time.Time.Compare).Sub(slices.MinFunc(at,
		time.Time.Compare)); took < time.Duration(len(at)/2)*interval {
		t.Errorf("%d calls in %s", len(at), took)
	}
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
	l := newLimiter(func() time.Time { return slept }, sleep, 20)
	if err := l.admit(t.Context(), call{notAfter: now.Add(5 * time.Second)}, time.Time{}); !errors.Is(err, ErrTooLate) {
		t.Errorf("a call that was due an hour ago: %v, want ErrTooLate", err)
	}
}
