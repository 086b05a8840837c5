// Package controllers connects the API server to the pure core and to the vendor.
//
// Everything runs on every replica. What only one replica may do is done "in a term": under a context that Term hands out and that
// ends when the lease could not be renewed. Losing a term never ends the process.
//
//   - SnapshotReconciler takes up what the watches bring, builds a policy.Snapshot of it and publishes that; every replica does.
//   - StatusReconciler turns the verdicts of the published snapshot into conditions, in a term.
//   - PruneRunReconciler plans and carries out removals, in a term; Intake and Sweeper create the runs.
//
// The build never waits for a status write, and serving never reads the status of what it enforces.
package controllers
