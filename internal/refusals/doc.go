// Package refusals is what a replica remembers of the joins that it refused and of the leaks that it saw, for people
// who look: a [Ring] of the last refusals of all apps together, and a [Counts] of the joins of each app in intervals of
// five minutes. Both are in memory only, and end with the process.
//
// Nothing here is called on the path of a callback: the queue of the decision log feeds the ring, and a ticker reads
// the counters of the callback server. A [Handler] serves both. Package replicaclient asks all replicas.
package refusals
