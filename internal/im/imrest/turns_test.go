package imrest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const gap = 50 * time.Millisecond // 20 calls a second

// pass lets time pass, which is that of a bubble of synctest.
func pass(ctx context.Context, d time.Duration) { _ = sleep(ctx, d) }

// line is turns under test, and the order in which they were given.
type line struct {
	t     *testing.T
	turns turns
	calls sync.WaitGroup

	mu    sync.Mutex
	given []string
	at    []time.Duration
	start time.Time
}

// newLine gives the first turn away, so that everybody else has to wait.
func newLine(t *testing.T) *line {
	l := &line{t: t, turns: turns{now: time.Now, sleep: sleep, interval: gap}, start: time.Now()}
	if err := l.turns.wait(t.Context(), laneNormal, time.Time{}); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *line) note(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given = append(l.given, name)
	l.at = append(l.at, time.Since(l.start))
}

// join lets a call stand in the line, behind all that stand there.
func (l *line) join(ctx context.Context, name string, in lane, notAfter time.Time, want error) {
	l.calls.Go(func() {
		err := l.turns.wait(ctx, in, notAfter)
		if errors.Is(err, ErrTooLate) && time.Now().After(notAfter) {
			l.t.Errorf("%s is told %s after its notAfter that this cannot be met", name, time.Since(notAfter))
		}
		if !errors.Is(err, want) {
			l.t.Errorf("%s: %v, want %v", name, err, want)
		} else if err == nil {
			l.note(name)
		}
	})
	synctest.Wait()
}

// check waits for all, and compares the order. The turns must be a gap apart.
func (l *line) check(want string) {
	l.t.Helper()
	l.calls.Wait()
	if got := strings.Join(l.given, " "); got != want {
		l.t.Errorf("turns: %s\nwant:  %s", got, want)
	}
	for i, at := range l.at {
		if want := time.Duration(i+1) * gap; at != want {
			l.t.Errorf("turn %d after %s, want %s: turns are lost or come early", i+1, at, want)
		}
	}
	for i, waiting := range l.turns.waiting {
		if len(waiting) > 0 || l.turns.keeper != nil {
			l.t.Errorf("lane %d is left with %d calls, keeper %v", i, len(waiting), l.turns.keeper)
		}
	}
}

func TestTurnsOrder(t *testing.T) {
	cases := map[string]struct{ arrivals, want string }{
		"in order of arrival":                     {"n1 n2 n3", "n1 n2 n3"},
		"urgent first":                            {"n1 u1 u2", "u1 u2 n1"},
		"3 urgent in a row, then another":         {"n1 n2 u1 u2 u3 u4 u5 u6 u7", "u1 u2 u3 n1 u4 u5 u6 n2 u7"},
		"as many as there are, if they are alone": {"u1 u2 u3 u4 u5", "u1 u2 u3 u4 u5"},
		"the sweep last":                          {"s1 n1 s2 n2 u1", "u1 n1 n2 s1 s2"},
		"the sweep waits for all urgent ones":     {"s1 u1 u2 u3 u4", "u1 u2 u3 u4 s1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(t)
				for arrival := range strings.FieldsSeq(tc.arrivals) {
					switch arrival[0] {
					case 'u':
						l.join(t.Context(), arrival, laneUrgent, time.Now().Add(time.Hour), nil)
					case 'n':
						l.join(t.Context(), arrival, laneNormal, time.Time{}, nil)
					default:
						l.join(t.Context(), arrival, laneSweep, time.Time{}, nil)
					}
				}
				l.check(tc.want)
			})
		})
	}
}

// Streams of calls that never end leave turns for each other, whoever is first: 3 of 4 are urgent.
func TestTurnsStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		over := errors.New("over")
		for range 5 {
			for name, in := range map[string]lane{"urgent": laneUrgent, "normal": laneNormal} {
				l.calls.Go(func() {
					for l.turns.wait(ctx, in, time.Now().Add(time.Hour)) == nil {
						l.note(name)
					}
				})
			}
		}
		pass(t.Context(), 400*gap+gap/2)
		cancel(over)
		l.calls.Wait()
		count := map[string]int{}
		for _, name := range l.given {
			count[name]++
		}
		if count["urgent"] != 300 || count["normal"] != 100 {
			t.Errorf("%v, want 300 urgent and 100 normal ones", count)
		}
	})
}

// A group that is read page after page delays the calls of other groups by a turn or two, however large it is.
func TestALargeGroupDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pages = 1000
		p := newPace(time.Now, sleep, 20)
		var groups sync.WaitGroup
		groups.Go(func() {
			for range pages {
				if err := p.admit(t.Context(), call{api: apiMembers}, time.Time{}); err != nil {
					t.Error(err)
				}
				pass(t.Context(), time.Millisecond) // the vendor answers
			}
		})
		small := 0
		for ; small < 100; small++ {
			pass(t.Context(), rand.N(10*gap))
			started := time.Now()
			if err := p.admit(t.Context(), call{api: apiGroupInfo}, time.Time{}); err != nil {
				t.Error(err)
			}
			if waited := time.Since(started); waited > 2*gap {
				t.Errorf("a call of a small group waited %s", waited)
			}
		}
		groups.Wait()
	})
}

// Who cannot start in time is told as soon as that is certain, and its turn is somebody else's.
func TestTurnsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		now := time.Now()
		l.join(t.Context(), "n0", laneNormal, time.Time{}, nil) // the keeper, who sleeps
		l.join(t.Context(), "now", laneUrgent, now, ErrTooLate)
		l.join(t.Context(), "u1", laneUrgent, now.Add(gap), nil)
		l.join(t.Context(), "second", laneUrgent, now.Add(2*gap-1), ErrTooLate) // u1 is before it
		l.join(t.Context(), "u2", laneUrgent, now.Add(2*gap), nil)
		l.join(t.Context(), "n1", laneNormal, time.Time{}, nil)
		l.check("u1 u2 n0 n1")
	})
}

func TestTurnsCancelled(t *testing.T) {
	for name, tc := range map[string]struct {
		victims []int
		want    string
	}{
		"the keeper":              {[]int{0}, "c1 c2 c3"},
		"in the middle":           {[]int{2}, "c0 c1 c3"},
		"the last":                {[]int{3}, "c0 c1 c2"},
		"the keeper and its heir": {[]int{0, 1}, "c2 c3"},
		"all but one":             {[]int{0, 3, 1}, "c2"},
		"everybody":               {[]int{0, 1, 2, 3}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := errors.New("term is over")
				l := newLine(t)
				var cancels []context.CancelCauseFunc
				for i, name := range []string{"c0", "c1", "c2", "c3"} {
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					cancels = append(cancels, cancel)
					var want error
					if slices.Contains(tc.victims, i) {
						want = over
					}
					l.join(ctx, name, laneNormal, time.Time{}, want)
				}
				pass(t.Context(), gap/2)
				for _, i := range tc.victims {
					cancels[i](over)
					synctest.Wait()
				}
				l.check(tc.want)
			})
		})
	}
}

// The keeper keeps for the others, too, when it is last itself.
func TestTurnsKeeperOfTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		over := errors.New("over")
		l.join(ctx, "s1", laneSweep, time.Time{}, over)
		for _, name := range []string{"n1", "n2", "n3", "n4"} {
			l.join(t.Context(), name, laneNormal, time.Time{}, nil)
		}
		pass(t.Context(), 2*gap+gap/2) // s1 has served two others
		cancel(over)
		l.check("n1 n2 n3 n4")
	})
}

func TestTurnsFollowTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now, sleep, 20)
		started := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				if err := p.admit(t.Context(), call{api: apiMembers}, time.Time{}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(started))
			})
		}
		pass(t.Context(), 2*gap+gap/2) // three have started
		p.setRate(2)
		pass(t.Context(), time.Second)
		p.setRate(100)
		calls.Wait()
		ms := func(n ...int) (want []time.Duration) {
			for _, n := range n {
				want = append(want, time.Duration(n)*time.Millisecond)
			}
			return want
		}
		// At 20 a second; then half a second after the last one, and again; then, once that is waited for, 10 ms apart.
		if want := ms(0, 50, 100, 600, 1100, 1600, 1610, 1620, 1630, 1640); !slices.Equal(at, want) {
			t.Errorf("turns at %v, want %v", at, want)
		}
	})
}

// A clock that was set back holds nobody up, and a clock that stands still while somebody sleeps by it does not either.
func TestTurnsWithOddClocks(t *testing.T) {
	now := time.Unix(1700000000, 0)
	var slept []time.Duration
	odd := &turns{interval: gap, now: func() time.Time { return now }, sleep: func(_ context.Context, d time.Duration) error {
		slept = append(slept, d)
		return nil
	}}
	for i := range 4 {
		if i == 2 {
			now = now.Add(-time.Hour)
		}
		if err := odd.wait(t.Context(), laneNormal, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []time.Duration{gap, gap, gap}; !slices.Equal(slept, want) {
		t.Errorf("slept %v, want %v", slept, want)
	}
	// The keeper has slept for somebody else, who came meanwhile; for itself it has to sleep again.
	slept = nil
	odd.sleep = func(_ context.Context, d time.Duration) error {
		slept = append(slept, d)
		if len(slept) == 1 {
			odd.waiting[laneNormal] = append(odd.waiting[laneNormal], &waiter{sign: make(chan struct{}, 1)})
		}
		return nil
	}
	if err := odd.wait(t.Context(), laneSweep, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{gap, gap}; !slices.Equal(slept, want) {
		t.Errorf("the keeper slept %v, want %v", slept, want)
	}
}

// sweepFor makes sweep calls of an app with 20 calls a second for a while, beside as many others as busy says.
func sweepFor(t *testing.T, d time.Duration, api string, busy int) (starts []time.Time) {
	p := newPace(time.Now, sleep, 20)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var calls sync.WaitGroup
	for range busy {
		calls.Go(func() {
			for p.admit(ctx, call{api: apiMembers}, time.Time{}) == nil {
				pass(ctx, time.Millisecond) // the vendor answers
			}
		})
	}
	for p.admit(ctx, call{api: api, sweep: true}, time.Time{}) == nil {
		starts = append(starts, time.Now())
	}
	calls.Wait()
	return starts
}

func TestTheSweepIsGentle(t *testing.T) {
	cases := map[string]struct {
		api      string
		busy     int
		least    time.Duration // between two calls
		min, max int
	}{
		"a quarter of the rate":      {apiGroupInfo, 0, sweepShare * gap, 50, 51},
		"a list a second":            {apiAppGroups, 0, listInterval, 9, 10},
		"yields to who always waits": {apiGroupInfo, 2, sweepShare * gap, 0, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				starts := sweepFor(t, 10*time.Second, tc.api, tc.busy)
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

// Whatever the rate, no second has more calls than it says: not even where it does not divide the second.
func TestNoSecondHasMoreCallsThanTheRate(t *testing.T) {
	for _, rate := range []int{1, 3, 7, 20, 150, 199, 200} {
		synctest.Test(t, func(t *testing.T) {
			p := newPace(time.Now, sleep, rate)
			var starts []time.Time
			for range 2*rate + 1 {
				if err := p.admit(t.Context(), call{api: apiMembers}, time.Time{}); err != nil {
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

// Calls of the sweep that wait together take no more turns than one after the other would, however long others were before them.
func TestSweepsTogetherTakeAQuarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now, sleep, 20)
		busy, rest := context.WithTimeout(t.Context(), 3*time.Second)
		defer rest()
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				for p.admit(busy, call{api: apiMembers}, time.Time{}) == nil {
					pass(busy, time.Millisecond) // the vendor answers
				}
			})
		}
		synctest.Wait()
		var mu sync.Mutex
		var starts []time.Time
		for range 6 {
			calls.Go(func() {
				if err := p.admit(t.Context(), call{api: apiGroupInfo, sweep: true}, time.Time{}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				starts = append(starts, time.Now())
			})
		}
		over, cancel := context.WithCancel(t.Context())
		calls.Go(func() {
			if err := p.admit(over, call{api: apiGroupInfo, sweep: true}, time.Time{}); !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled call of the sweep: %v", err)
			}
		})
		pass(t.Context(), time.Second)
		cancel()
		calls.Wait()
		for i := 1; i < len(starts); i++ {
			if got := starts[i].Sub(starts[i-1]); got < sweepShare*gap {
				t.Errorf("call %d started %s after the one before, want at least %s", i, got, sweepShare*gap)
			}
		}
	})
}

// What the sweep had to wait for others is not made up for by calls that follow closely.
func TestTheSweepDoesNotCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now, sleep, 20)
		ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				for p.admit(ctx, call{api: apiMembers}, time.Time{}) == nil {
					pass(ctx, time.Millisecond)
				}
			})
		}
		synctest.Wait()
		var starts []time.Time
		for range 3 {
			if err := p.admit(t.Context(), call{api: apiAppGroups, sweep: true}, time.Time{}); err != nil {
				t.Fatal(err)
			}
			starts = append(starts, time.Now())
		}
		for i := 1; i < len(starts); i++ {
			if got := starts[i].Sub(starts[i-1]); got < listInterval {
				t.Errorf("list %d started %s after the one before", i, got)
			}
		}
		calls.Wait()
	})
}

// The client puts each of its calls into the right lane.
func TestLanesOfCalls(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for name, tc := range map[string]struct {
		call call
		want lane
	}{
		"with a notAfter": {call{api: apiDeleteMembers, notAfter: soon}, laneUrgent},
		"without":         {call{api: apiDeleteMembers}, laneNormal},
		"of the sweep":    {call{api: apiGroupInfo, sweep: true}, laneSweep},
	} {
		if got := tc.call.lane(); got != tc.want {
			t.Errorf("%s: lane %d, want %d", name, got, tc.want)
		}
	}
	v := newVendor(t, always(200, `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":0,"GroupInfo":[{"GroupId":"g","Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`))
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

// Many calls come, go and are cancelled in real time: everybody gets an end, and turns stay apart. For the race detector.
func TestTurnsUnderLoad(t *testing.T) {
	const interval = 50 * time.Microsecond
	line := &turns{now: time.Now, sleep: sleep, interval: interval}
	over := errors.New("over")
	var calls sync.WaitGroup
	var mu sync.Mutex
	var at []time.Time
	for i := range 300 {
		calls.Go(func() {
			for range 10 {
				ctx, cancel := context.WithCancelCause(t.Context())
				if i%3 == 0 {
					stop := time.AfterFunc(rand.N(40*interval), func() { cancel(over) })
					defer stop.Stop()
				}
				notAfter := time.Time{}
				if lane(i)%lanes == laneUrgent {
					notAfter = time.Now().Add(rand.N(400 * interval))
				}
				err := line.wait(ctx, lane(i)%lanes, notAfter)
				if err == nil {
					mu.Lock()
					at = append(at, time.Now())
					mu.Unlock()
				} else if !errors.Is(err, over) && !errors.Is(err, ErrTooLate) {
					t.Errorf("wait: %v", err)
				}
				if i == 7 {
					line.setInterval(interval + rand.N(interval))
				}
				cancel(nil)
			}
		})
	}
	calls.Wait()
	if len(at) == 0 || line.keeper != nil {
		t.Errorf("%d turns, keeper %v", len(at), line.keeper)
	}
	if took := slices.MaxFunc(at, time.Time.Compare).Sub(slices.MinFunc(at, time.Time.Compare)); took < time.Duration(len(at)/2)*interval {
		t.Errorf("%d turns in %s", len(at), took)
	}
}
