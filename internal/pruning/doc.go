// Package pruning carries out PruneRuns: it plans removals, waits for approval, removes members, and undoes removals.
//
// Engine.Step takes one run as far as it gets. What a Step decides on is never taken from the cache: the run, its
// siblings, the app and the policies are read live, the group from the vendor. Only the published snapshot is taken as
// it is, once it is known to hold the live policy and the live lists that protect, since rules and protections are
// compiled into it.
//
//   - facts is a value: what was read for one decision. gather returns it, through a listed chain of checks; a check
//     that fails ends the run (endError), makes it wait (waitError), or is an error to retry.
//   - journal is the record of one run, and its only writer.
//   - The fence is the record of a batch that precedes its deletion. It is written under optimistic lock, so that of
//     two replicas that both believe to be the leader only one gets past it.
//   - A look is what the vendor says of a batch right before its deletion. Its age is taken by both clocks.
//   - deletions knows how long the vendor may still be at work on a deletion without a clear answer.
//   - ledger knows what the runs of an app have taken of the removals that a policy allows a day.
//
// No member is removed twice for one position of a plan, and none without live facts: a batch whose deletion may have
// been sent is found in flight by the next Step, and its members are rechecked first.
package pruning
