package main

import (
	"context"
	"runtime"

	"github.com/groupgate/groupgate/internal/policy"
)

// index measures what one list of 1,000,000 accounts and a snapshot with it hold, above the bytes of the accounts.
func (b *bench) index(context.Context) error {
	w := world{namespace: "bench-index", population: population{sdkAppID: 1, groups: 1, accounts: 1_000_000}}
	for range b.rounds {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		in := w.input()
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
