// Package controllers watches, enqueues and writes the objects of the API server.
//
// Everything runs on every replica. Work that only one replica may do is done in a term; see package term. Losing a
// term never ends the process.
//
//   - SnapshotReconciler passes what the watches deliver to the policy compiler, and publishes the snapshot; every
//     replica does.
//   - StatusReconciler writes the verdicts of the published snapshot as conditions, in a term.
//   - PruneRunReconciler has package pruning plan and carry out runs, and deletes old runs, in a term.
//   - Intake creates a run for every full group that a callback reports, on the replica that answered the callback.
//     Sweeper finds full groups whose callback was lost, in a term.
//
// The build never waits for a status write, and serving never reads the status of an object that it enforces.
package controllers
