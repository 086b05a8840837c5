package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/groupgate/groupgate/internal/policy"
)

// decide times CompiledApp.DecideJoin alone, half of the accounts listed, groups and accounts at random.
func (b *bench) decide(ctx context.Context) error {
	growth := b.results.table("How DecideJoin grows, in ns:", "lists", "accounts", "a decision")
	for _, accounts := range []int{10_000, 100_000, 1_000_000, 10_000_000} {
		w := manyWorld
		w.groups, w.accounts = accounts/100, 100
		median, err := b.timeDecisions(ctx, w, accounts == 1_000_000, "decide/lists")
		if err != nil {
			return err
		}
		growth.add("one a policy, 100 accounts each", accounts, median)
	}
	for _, accounts := range []int{20_000, 200_000, 2_000_000, 10_000_000} {
		w := shardsWorld
		w.accounts, w.shards = accounts, accounts/20_000
		median, err := b.timeDecisions(ctx, w, accounts == 10_000_000, "decide/shards")
		if err != nil {
			return err
		}
		growth.add("one policy over a selector of shards, 20,000 accounts each", accounts, median)
	}
	return nil
}

// timeDecisions returns the median of the rounds in nanoseconds, and adds it to the results where it is a figure of its
// own.
func (b *bench) timeDecisions(ctx context.Context, w world, figure bool, key string) (float64, error) {
	defer debug.FreeOSMemory()
	app := policy.Compile(w.input()).App(w.sdkAppID)
	queries, drawn := w.queries(1 << 16)
	for i := range queries {
		if got := app.DecideJoin(queries[i]); got.Admit != drawn[i].listed {
			return 0, fmt.Errorf("wrong verdict %+v on %+v", got, queries[i])
		}
	}
	runtime.GC() // what making the input left behind is not collected while we measure
	var times []float64
	for range b.rounds {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		each, allocations, err := timeEach(queries, func(q *policy.JoinQuery) { app.DecideJoin(*q) })
		if err != nil {
			return 0, err
		}
		times = append(times, each)
		if figure {
			b.results.add(key, each)
			b.results.add(key+"/allocations", allocations)
		}
	}
	b.say("DecideJoin, %d policies, %d accounts: %.0f ns", w.groups, w.groups*w.accounts, median(times))
	return median(times), nil
}

// timeEach calls do with one query after the other for a second, and returns nanoseconds and allocations of a call. It
// reads the clock of the thread, which stands still while others have the CPU.
func timeEach[T any](queries []T, do func(*T)) (nanoseconds, allocations float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun, err := threadTime()
	if err != nil {
		return 0, 0, err
	}
	for calls := 0.0; ; {
		for i := range queries {
			do(&queries[i])
		}
		calls += float64(len(queries))
		now, err := threadTime()
		if err != nil {
			return 0, 0, err
		}
		if took := now - begun; took >= time.Second {
			runtime.ReadMemStats(&after)
			// In whole ones: the runtime allocates now and then, too.
			return float64(took) / calls, math.Floor(float64(after.Mallocs-before.Mallocs) / calls), nil
		}
	}
}

// threadTime is the CPU time of this thread.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read the clock of the thread: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
