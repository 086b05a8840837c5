//go:build race

package webhookserver

// lossyPools says that the race detector is on: sync.Pool then forgets some of what it is given, at random.
const lossyPools = true
