package main

import (
	"context"
	"runtime"

	"github.com/groupgate/groupgate/internal/policy"
)

// index measures what a snapshot with one list of 1,000,000 accounts holds, above their bytes.
func (b *bench) index(context.Context) error {
	w := world{namespace: "bench-index", population: population{sdkAppID: 1, groups: 1, accounts: 1_000_000}}
	in := w.input()
	for range b.rounds {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		snapshot := policy.Compile(in)
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(snapshot)
		runtime.KeepAlive(in)
		held := float64(after.HeapAlloc) - float64(before.HeapAlloc)
		b.results.add("index/overhead", held/float64(w.accounts)-float64(len(account(0))))
	}
	return nil
}
