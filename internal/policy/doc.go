// Package policy decides which accounts may join a group, which members leave a full one, and which leave any group
// because its gates refuse them.
//
// It is pure: it reads no clock, no file and no network, and imports the standard library and the account sets only.
// All input is passed in, so that every rule of the product can be tested without Kubernetes, HTTP or the vendor.
//
// # Vocabulary
//
// A [Snapshot] is the compiled form of apps, account lists, policies and refusals. It never changes. A [Compiler] is
// told which objects changed and builds one snapshot after another; [Compile] makes one from an [Input], which holds
// all objects in any order. A [Store] holds the snapshot that is served now; "never built" is a nil snapshot, which is
// not the same as an empty one.
//
// An *app* is one SDKAppID of the vendor. When two objects name the same one, the older *holds* it and the other is
// conflicted: it serves nothing. An app that may have been deleted, since it is not watched, is *unconfirmed*: it holds
// an SDKAppID only if no other app names it. A [CompiledApp] is an app that holds its SDKAppID, together with the
// policies that name it.
//
// A policy *governs* a group when one of its matchers matches the group's id and its types, if it has any, contain the
// group's type. *Rank* orders the governing policies of a group: an exact matcher before a prefix, a longer prefix
// before a shorter one, a prefix before "all"; then the older policy, then its name. Rank chooses the code and the
// message of a refusal and the rule by which a full group is pruned; it never chooses which accounts are admitted.
//
// A join section *speaks* about a join when its policy governs the group, it is not in audit mode, and it lists the
// trigger. The accounts that are admitted are the union of what the speaking sections allow minus the union of what
// they deny. See [CompiledApp.DecideJoin] for the steps.
//
// A *rule* says which members to remove from a full group; it is that of the highest-ranked governing policy that has
// one. A *protected* account is never removed; the protection of every governing policy that has a rule counts. See
// [CompiledApp.GoverningRule], [PlanPrune] and [GoverningRule.Recheck].
//
// A *gate*, where members are judged, is the join section of a governing policy that is not in audit mode. Members are
// *evicted* by the highest-ranked governing policy with an eviction rule, and judged by all gates: a member is
// *refused* if they would reject its account now, however it came in. Gates are *uncertain* if a governing policy is
// invalid, or a reference of a gate resolves to no account: no member is evicted then. A *breaker* is why a plan is
// more than a routine. See [CompiledApp.GoverningEviction], [GoverningEviction.Judge], [PlanEviction] and
// [NewlyRefused].
//
// A *reference* names a list or selects lists by their labels. To *resolve* it is to find the accounts that it stands
// for now. A policy is *parsed* when it arrives, and resolved again whenever one of its lists changes.
//
// A *refusal* is what a prune run has recorded: the accounts that it removed from a group, and either how long they are
// refused there or that they are being added back. Refusals are data, not policy: they outlive the policy by which the
// run was planned. See [Refusal], and [CompiledApp.DecideJoin] for their place among the steps.
//
// A *verdict* ([PolicyVerdict], [AppVerdict], [ListVerdict]) is the compiler's finding on one object, for its status. A
// [Verdict], without a kind, is the answer to one join.
//
// # Safety
//
// If an input is doubtful, the answer is the one that does least harm: a value that cannot be read closes a gate and
// stops pruning, and never opens a gate or removes a member.
package policy
