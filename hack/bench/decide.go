package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/groupgate/groupgate/internal/policy"
)

// decide times CompiledApp.DecideJoin alone, half of the accounts listed, groups and accounts at random.
func (b *bench) decide(ctx context.Context) error {
	lists := curve{Panel: panelDecision, Name: "one list a policy, 100 accounts each"}
	for _, accounts := range []int{10_000, 100_000, 1_000_000, 10_000_000} {
		w := manyWorld
		w.groups, w.accounts = accounts/100, 100
		median, err := b.timeDecisions(ctx, w, accounts == 1_000_000, "decide/lists")
		if err != nil {
			return err
		}
		lists.add(float64(accounts), median)
	}
	shards := curve{Panel: panelDecision, Name: "one policy over a selector of shards, 20,000 accounts each"}
	for _, accounts := range []int{20_000, 200_000, 2_000_000, 10_000_000} {
		w := shardsWorld
		w.accounts, w.shards = accounts, accounts/20_000
		median, err := b.timeDecisions(ctx, w, accounts == 10_000_000, "decide/shards")
		if err != nil {
			return err
		}
		shards.add(float64(accounts), median)
	}
	b.results.Curves = append(b.results.Curves, lists, shards)
	return nil
}

// timeDecisions returns the median of the rounds in nanoseconds, and adds it to the results where it is a figure of its own.
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
		r := testing.Benchmark(func(tb *testing.B) {
			i := 0
			for tb.Loop() {
				i++
				app.DecideJoin(queries[i%len(queries)])
			}
		})
		each := float64(r.T.Nanoseconds()) / float64(r.N)
		times = append(times, each)
		if figure {
			b.results.add(key, each)
			b.results.add(key+"/allocations", float64(r.AllocsPerOp()))
		}
	}
	b.say("DecideJoin, %d policies, %d accounts: %.0f ns", w.groups, w.groups*w.accounts, median(times))
	return median(times), nil
}
