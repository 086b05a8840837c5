// Package policy decides who may join a group and who leaves a full one.
//
// It is pure: it reads no clock, no file and no network, and imports the standard library only. What it needs is passed
// in, so that every rule of the product can be tested without Kubernetes, HTTP or the vendor.
//
// # Vocabulary
//
// A [Snapshot] is what the rules make of a world of apps, account lists, policies and records. It never changes. A [Compiler] is
// told what changed in the world and builds snapshot after snapshot, each of which shares with the one before what no change
// touched; [Compile] makes one from an [Input], which holds a whole world in any order. A [Store] holds the snapshot that is served
// now; "never built" is a nil snapshot and something else than an empty one.
//
// An *app* is one SDKAppID of the vendor. When two objects name the same one, the older is its *holder* and the other is
// conflicted: it serves nothing. A [CompiledApp] is a holder together with the policies that name it.
//
// A policy *governs* a group when one of its matchers matches the group's id and its types, if it has any, contain the
// group's type. *Rank* orders the governing policies of a group: an exact matcher before a prefix, a longer prefix before
// a shorter one, a prefix before "all"; then the older policy, then its name. Rank chooses the code and the message of a
// refusal and the rule by which a full group is pruned; it never chooses who is admitted.
//
// A join section *speaks* about a join when its policy governs the group, it is not in audit mode, and it lists the
// trigger. Those who are admitted are the union of what the speaking sections allow minus the union of what they deny.
// See [CompiledApp.DecideJoin] for the steps.
//
// A *rule* says whom to remove from a full group; it is that of the highest-ranked governing policy that has one. A
// *protected* account is never removed; the protection of every governing policy that has a rule counts. See
// [CompiledApp.GoverningRule], [PlanPrune] and [GoverningRule.Recheck].
//
// An *account set* is an [accounts.Set]: the accounts of a list, or of a policy's own, in one string that is its own index.
// Where a selector selects many lists, a *accounts.Union* says which of them may hold an account, so that they are not asked one after
// the other. Neither ever guesses: every answer compares all bytes of an account.
//
// A *record* is what a prune run has written down: the accounts that it removed from a group, and either how long they are
// refused there or that they are being added back. Refusals are data, not policy: they outlive the policy by which the run
// was planned. See [Refusal], and [CompiledApp.DecideJoin] for where they stand among the steps.
//
// A *verdict* ([PolicyVerdict], [AppVerdict], [ListVerdict]) says what became of one object, for its status.
//
// # Safety
//
// Where an input is doubtful the answer is the one that does least harm: a value that cannot be understood closes a gate
// and stops pruning, and never opens a gate or removes a person.
package policy
