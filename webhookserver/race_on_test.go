//go:build race

package webhookserver

// lossyPools says that the race detector is on: sync.Pool then drops some values at random.
const lossyPools = true
