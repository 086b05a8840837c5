// Package term decides which replica may write.
//
// Every replica answers callbacks and builds snapshots. Statuses are written and members are removed by one replica at
// a time: the leader, which is the replica that holds the election Lease.
//
//   - A term is the time from one acquisition of the Lease to its loss. Terms of one process are numbered from 1.
//   - Work is done in a term by joining it: Join returns a context that ends with the term, and a function to leave it.
//   - Losing a term never ends the process: the caches and the callback server go on, and the process competes again.
//   - WatchAge measures, from the Lease's renewals, whether the watches of this replica are alive.
//   - A Notifier signals that something happened to any number of listeners, without a value.
package term
