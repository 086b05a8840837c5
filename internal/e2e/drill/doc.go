// Package drill prunes groups at random and checks the outcome with a naive model that shares no code with the product.
//
// An episode is a pair of manager processes with a real API server and an emulated IM backend. In it run a dozen
// scenarios or two side by side, each a policy with its groups, drawn from the seed, while faults hit all of them:
// errors of the vendor, kill -9 of the leader, outages of the API server, wrong clocks, deletions that are carried out
// after an error was answered, watches that are behind, keys that change, a leader that is stopped and goes on. Groups
// are created anew under their ids, and undos are requested while later runs go on. The ledger records every event (a
// removal, an addition, or a recheck of members) at the moment at which it takes effect, as the emulator sees it,
// everything that the drill does itself, and every version of every PruneRun, as a watch sees it. In the end the model
// reads the ledger and reports violations of the contract: an episode without any is clean.
//
// TestEvictDrill does the same for evictions: accounts join while the gate is down, at creation and by import, and
// lists slip and are restored. When the faults are over, rounds pass until the model would evict no member.
//
// An episode depends on nothing but its seed. `go test -run TestDrill ./internal/e2e/drill -drill.seed=N` repeats it,
// as far as processes that race each other can be repeated.
package drill
