package v1alpha1

// Condition types. Every condition carries the generation that it was computed from.
const (
	// ConditionAccepted reports whether the snapshot contains an object as it is written.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs reports whether all objects that an object refers to were found.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionReady summarises the other conditions: the leader has published this generation, and nothing is wrong
	// with it.
	ConditionReady = "Ready"
	// ConditionStalled is True while Accepted is False, and absent otherwise: only a change of the object, or of one
	// that it refers to, can mend that. GitOps tools stop waiting for the object. With the reason TargetNotFound it is
	// 10 seconds late, since the IMApp may be applied after its policies.
	ConditionStalled = "Stalled"
	// ConditionWarning is True, and names the fields, where an object does something else than what it seems to say; it
	// is absent otherwise, and never part of Ready.
	ConditionWarning = "Warning"
	// ConditionPruneOverridden is True on a policy whose prune rule is overridden by a higher-ranked policy; the policy
	// stays Ready.
	ConditionPruneOverridden = "PruneOverridden"
	// ConditionRoundBehind is True on a policy with join.evict if its groups are not all looked at within its interval;
	// it is absent otherwise, and never part of Ready.
	ConditionRoundBehind = "RoundBehind"
	// ConditionVendorReachable reports the results of the REST calls of an IMApp; it is never part of Ready.
	ConditionVendorReachable = "VendorReachable"
	// ConditionProgrammed reports whether every replica that may be answering callbacks enforces this generation; it is
	// never part of Ready.
	ConditionProgrammed = "Programmed"
	// ConditionCallbacksVerified reports whether the callbacks of an IMApp carry the right Sign; it is never part of
	// Ready.
	ConditionCallbacksVerified = "CallbacksVerified"
	// ConditionPlanned reports whether a PruneRun has a plan, and what it waits for while it has none.
	ConditionPlanned = "Planned"
	// ConditionComplete is True on a PruneRun that ended as intended.
	ConditionComplete = "Complete"
	// ConditionFailed is True on a PruneRun that cannot end as intended. Temporary failures never set it.
	ConditionFailed = "Failed"
	// ConditionUndone reports the progress of the undo of a PruneRun, from its request on.
	ConditionUndone = "Undone"
)

// Reasons of Accepted and Ready. A Ready that is False has the reason of the first other condition that is False.
const (
	// ReasonReady means that the leader has published this generation.
	ReasonReady = "Ready"
	// ReasonAccepted means that the object is in the snapshot as it is written.
	ReasonAccepted = "Accepted"
	// ReasonConflicted means that an older IMApp holds the SDKAppID; the message names it. It is also a reason of
	// Planned: a run of the newer app waits.
	ReasonConflicted = "Conflicted"
	// ReasonTargetNotFound means that the IMApp of a policy is missing or not accepted: the policy governs nothing.
	ReasonTargetNotFound = "TargetNotFound"
	// ReasonInvalid means a value that the schema cannot rule out: the policy keeps its rank, admits no account by
	// itself, and its rule removes no member.
	ReasonInvalid = "Invalid"
	// ReasonAppNotReady means that the IMApp of a policy lacks its Secret or its token and refuses every callback: the
	// policy is in the snapshot, but decides nothing.
	ReasonAppNotReady = "AppNotReady"
)

// Reasons of Warning. If several apply, the first one of this list is the reason; the message has all of them.
const (
	// ReasonNotAuthenticated means that callbackAuthentication of an IMApp is None.
	ReasonNotAuthenticated = "NotAuthenticated"
	// ReasonNoGate means that a join section has neither allow nor deny, as when all entries of allow are commented out
	// and its value is null.
	ReasonNoGate = "NoGate"
	// ReasonLiteralAsterisk means that the value of a matcher contains a *, which stands for itself.
	ReasonLiteralAsterisk = "LiteralAsterisk"
	// ReasonSuspiciousCharacters means that an account or a prefix begins or ends with a blank, or contains a character
	// that cannot be seen. Accounts are compared byte for byte.
	ReasonSuspiciousCharacters = "SuspiciousCharacters"
	// ReasonSmallerBudget means that maxRemovals is above maxRemovalsPerDay: the smaller one governs.
	ReasonSmallerBudget = "SmallerBudget"
)

// Reasons of ResolvedRefs.
const (
	// ReasonResolvedRefs means that all references were found.
	ReasonResolvedRefs = "ResolvedRefs"
	// ReasonSecretNotFound means that the credentials Secret was not found, or lacks the label.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonKeyMissing means that the Secret has no secretKey while pruning is Enabled.
	ReasonKeyMissing = "KeyMissing"
	// ReasonTokenMissing means that callbacks must be signed and the Secret has no token: every callback is refused.
	ReasonTokenMissing = "TokenMissing"
	// ReasonListNotFound means that a list reference matches no AccountList.
	ReasonListNotFound = "ListNotFound"
)

// ReasonOverridden is the reason of PruneOverridden; the message names the overriding policy.
const ReasonOverridden = "Overridden"

// ReasonRateTooLow is the reason of RoundBehind: a quarter of the rate of REST calls is too little for the round. Other
// reasons are those of VendorReachable and of Complete: the vendor is out of reach, or pruning is Suspended.
const ReasonRateTooLow = "RateTooLow"

// Reasons of Programmed. One that is False because the object is not accepted has the reason of Accepted.
const (
	// ReasonProgrammed means that every replica enforces this generation.
	ReasonProgrammed = "Programmed"
	// ReasonReplicasBehind means that a replica that may be answering callbacks does not enforce this generation; the
	// message names it.
	ReasonReplicasBehind = "ReplicasBehind"
)

// Reasons of CallbacksVerified. NotAuthenticated and ClockSkew are used likewise.
const (
	// ReasonNeverSeen means that no replica has received a callback of the app.
	ReasonNeverSeen = "NeverSeen"
	// ReasonVerified means that the last callbacks carried a right Sign.
	ReasonVerified = "Verified"
	// ReasonWrongToken means that callbacks carry a Sign of none of the app's tokens, or none at all, and that none was
	// right for 10 minutes.
	ReasonWrongToken = "WrongToken"
)

// Reasons of VendorReachable.
const (
	// ReasonReachable means that the last REST calls were answered.
	ReasonReachable = "Reachable"
	// ReasonThrottled means that the vendor rejected calls as too frequent.
	ReasonThrottled = "Throttled"
	// ReasonUnauthorized means that the vendor does not accept the key or the admin account.
	ReasonUnauthorized = "Unauthorized"
	// ReasonUnreachable means that REST calls get no usable answer.
	ReasonUnreachable = "Unreachable"
)

// Reasons of Planned, and of Complete once there is a plan, while a run waits. Conflicted, SecretNotFound and
// KeyMissing are used likewise.
const (
	// ReasonPending means that no controller has processed the run yet. It is also the reason of Ready of the other
	// kinds until then.
	ReasonPending = "Pending"
	// ReasonPlanned means that the plan is recorded.
	ReasonPlanned = "Planned"
	// ReasonProtectionUnresolved means that a protect reference matches no AccountList: the run waits and removes no
	// member.
	ReasonProtectionUnresolved = "ProtectionUnresolved"
	// ReasonListUnresolved means that it is not certain whom the gate of the group refuses, since a reference of an
	// allow or a deny resolves to nothing or to an empty list, or a governing policy is invalid: the run waits and
	// evicts nobody.
	ReasonListUnresolved = "ListUnresolved"
	// ReasonInGrace means that the plan of an eviction has not stood for the grace of the rule yet; before there is a
	// plan, that all accounts of the run joined less than that ago.
	ReasonInGrace = "InGrace"
	// ReasonPolicyInvalid means that the governing policy is invalid: the run waits and removes no member.
	ReasonPolicyInvalid = "PolicyInvalid"
	// ReasonClockSkew means that the clocks of the vendor and of Groupgate differ by more than 5 minutes, or that an
	// answer of the vendor has no Date to compare with: the run waits and removes no member.
	ReasonClockSkew = "ClockSkew"
	// ReasonSnapshotBehind means that the leader has not seen for 10 seconds what the API server has: the run waits and
	// removes no member.
	ReasonSnapshotBehind = "SnapshotBehind"
	// ReasonQueued means that another run of the group comes first, or that too many large groups are being planned.
	ReasonQueued = "Queued"
	// ReasonVendorUnavailable means a temporary failure of a REST call; the message has the vendor's code and text.
	ReasonVendorUnavailable = "VendorUnavailable"
	// ReasonAwaitingApproval means that the plan is recorded and the run waits for spec.approval, in mode Approve, or
	// in mode Enforce as well if the plan evicts more members than a routine does.
	ReasonAwaitingApproval = "AwaitingApproval"
	// ReasonBudgetExhausted means that the removals of the last 24 hours leave nothing of maxRemovalsPerDay.
	ReasonBudgetExhausted = "BudgetExhausted"
)

// Reasons of Complete.
const (
	// ReasonRemoving means that the run is removing members: Complete is False.
	ReasonRemoving = "Removing"
	// ReasonRemoved means that the plan was carried out.
	ReasonRemoved = "Removed"
	// ReasonPreviewed means that the plan was recorded and, in mode Preview, no member was removed.
	ReasonPreviewed = "Previewed"
	// ReasonNothingToRemove means that no member is to be removed.
	ReasonNothingToRemove = "NothingToRemove"
	// ReasonNotFull means that the group had free seats when it was read.
	ReasonNotFull = "NotFull"
	// ReasonNotGoverned means that no policy with a rule for the purpose of the run governs the group.
	ReasonNotGoverned = "NotGoverned"
	// ReasonCoolingDown means that the cooldown of the group's last run is not over.
	ReasonCoolingDown = "CoolingDown"
	// ReasonSuperseded means that another policy governs the group now, that its rule (whenFull.prune or
	// join.evict) was edited, or that the type of the group changed.
	ReasonSuperseded = "Superseded"
	// ReasonSuspended means that pruning of the app is Suspended.
	ReasonSuspended = "Suspended"
	// ReasonDenied means that a person set spec.approval to Denied.
	ReasonDenied = "Denied"
	// ReasonExpired means that the plan was older than 24 hours.
	ReasonExpired = "Expired"
)

// ReasonApproved is the reason of an event: a person approved the plan.
const ReasonApproved = "Approved"

// ReasonLeaked is the reason of an event on a GroupPolicy: an account that the policy refuses is in a group.
const ReasonLeaked = "Leaked"

// Reasons of Failed.
const (
	// ReasonGroupNotFound means that the vendor does not know the group.
	ReasonGroupNotFound = "GroupNotFound"
	// ReasonUnsupportedGroupType means that members of a group of this type cannot be listed or removed, or that the
	// type is unknown.
	ReasonUnsupportedGroupType = "UnsupportedGroupType"
	// ReasonVendorRefused means that the vendor refused permanently; the message has its code and text.
	ReasonVendorRefused = "VendorRefused"
	// ReasonActivityUnknown means that silence proves nothing in this group, since no ordinary member ever spoke, all
	// are muted, or they speak in topics: no member is removed.
	ReasonActivityUnknown = "ActivityUnknown"
	// ReasonAppNotFound means that the IMApp is missing.
	ReasonAppNotFound = "AppNotFound"
)

// Reasons of Undone. While an undo waits, AppNotFound, Queued, VendorUnavailable and those of a missing Secret are used
// likewise; those of Failed if it ended early.
const (
	// ReasonUndoing means that accounts are being added back: Undone is False.
	ReasonUndoing = "Undoing"
	// ReasonUndone means that the undo has ended; status.undo has the result for each account.
	ReasonUndone = "Undone"
	// ReasonNothingToUndo means that the run removed no member.
	ReasonNothingToUndo = "NothingToUndo"
)

// Labels.
const (
	// LabelApp is the name of the IMApp, on a PruneRun.
	LabelApp = "groupgate.io/app"
	// LabelGroupHash is the first 16 hex digits of the SHA-256 of the group id, on a PruneRun.
	LabelGroupHash = "groupgate.io/group-hash"
	// LabelCredentials is "true" on a Secret that an IMApp may refer to; others are never read.
	LabelCredentials = "groupgate.io/credentials"
)

// On the AccountLists of a list that `groupgate lists` keeps.
const (
	// LabelList is the name of the list, on each AccountList with accounts of it: policies select it by this label.
	LabelList = "list"
	// LabelManagedList is the name of the list, on each AccountList that `groupgate lists` keeps.
	LabelManagedList = "groupgate.io/list"
	// AnnotationSplit is "no" on an AccountList that takes accounts. On one that has been split, it is how many hex
	// digits the names of the AccountLists end in that took over.
	AnnotationSplit = "groupgate.io/split"
	// AnnotationSplitFrom is the UID of the AccountList that was split; empty on the first one of a list.
	AnnotationSplitFrom = "groupgate.io/split-from"
)

// On the Lease of a replica.
const (
	// LabelReplica is "true" on the Lease that each replica keeps.
	LabelReplica = "groupgate.io/replica"
	// AnnotationReport is what the replica enforces, for the leader.
	AnnotationReport = "groupgate.io/report"
)

// Keys of a credentials Secret. One trailing newline is cut from every value; an empty value is an absent key.
const (
	// SecretKeySecretKey holds the key that signs UserSigs; pruning needs it.
	SecretKeySecretKey = "secretKey"
	// SecretKeyCallbackToken holds the token that callbacks are signed with.
	SecretKeyCallbackToken = "callbackToken"
	// SecretKeyPreviousCallbackToken holds the previous token during a rotation.
	SecretKeyPreviousCallbackToken = "previousCallbackToken"
)
