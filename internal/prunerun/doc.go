// Package prunerun reads the record of a PruneRun: what the object alone says about its group, its state, its plan and
// its place among the other runs of the group. Every function is pure: nothing here calls the API server or the vendor,
// or knows the rules in force.
//
//   - A Key names the group that a run is about.
//   - A run is finished once Complete or Failed is True, active until then. A finished run may have an undo: requested
//     in the spec, begun once the status records the accounts to restore, ended once it records a time.
//   - Progress counts positions of the plan. The settled positions are done with; the batch in flight, which follows
//     them, is recorded and may have been deleted. Accounts recorded as kept stay in the group, whatever the progress
//     says.
//   - The hold-off is what finished runs of a group ask of the next one, and the retention is how long their records
//     are kept.
package prunerun
