// Package drill prunes groups at random and judges what happened by a naive model that shares no code with the product.
//
// An episode is a pair of real manager processes before a real API server and an emulated IM backend. A dozen scenarios or two are
// played in it side by side, each a policy with its groups, drawn from the seed, while chaos strikes all of them: faults of the vendor,
// kill -9 of who holds the term, outages of the API server, clocks that go wrong. The emulator tells a ledger of every removal and
// addition at the moment at which it takes effect, and of every look before it; the harness writes down what it did itself, and a watch
// every version of every PruneRun. When all is over, the model reads the ledger.
//
// An episode is its seed: what is drawn depends on nothing else. `go test -run TestDrill ./internal/e2e/drill -drill.seed=N` replays it,
// as far as processes that race each other do anything twice.
package drill
