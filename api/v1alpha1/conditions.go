package v1alpha1

// Condition types. Every condition carries the generation that it speaks about.
const (
	// ConditionAccepted says whether an object is taken into the snapshot as it is written.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs says whether everything that an object refers to was found.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionReady sums up the others: the leader has published this generation and nothing is wrong with it.
	ConditionReady = "Ready"
	// ConditionPruneOverridden is True on a policy whose prune rule a higher-ranked policy goes before; the policy stays Ready.
	ConditionPruneOverridden = "PruneOverridden"
	// ConditionVendorReachable says how the REST calls of an IMApp fare; it is never part of Ready.
	ConditionVendorReachable = "VendorReachable"
	// ConditionPlanned says whether a PruneRun has a plan, and what it waits for while it has none.
	ConditionPlanned = "Planned"
	// ConditionComplete is True on a PruneRun that came to an end as intended.
	ConditionComplete = "Complete"
	// ConditionFailed is True on a PruneRun that cannot come to an end as intended. Trouble that may pass never sets it.
	ConditionFailed = "Failed"
	// ConditionUndone says how the undo of a PruneRun fares, from when it was requested.
	ConditionUndone = "Undone"
)

// Reasons of Accepted and Ready. A Ready that is False has the reason of the first condition that is in its way.
const (
	// ReasonReady means that the leader has published this generation.
	ReasonReady = "Ready"
	// ReasonAccepted means that the object is taken as it is written.
	ReasonAccepted = "Accepted"
	// ReasonConflicted means that an older IMApp holds the SDKAppID; the message names it. It is a reason of Planned, too:
	// a run of the app that came second waits.
	ReasonConflicted = "Conflicted"
	// ReasonTargetNotFound means that the IMApp of a policy is missing or not accepted: the policy governs nothing.
	ReasonTargetNotFound = "TargetNotFound"
	// ReasonInvalid means a value that the schema could not rule out: the policy keeps its place and rejects, and its
	// rule removes nobody.
	ReasonInvalid = "Invalid"
)

// Reasons of ResolvedRefs.
const (
	// ReasonResolvedRefs means that everything was found.
	ReasonResolvedRefs = "ResolvedRefs"
	// ReasonSecretNotFound means that the credentials Secret was not found, or lacks the label.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonKeyMissing means that the Secret has no secretKey while pruning is Enabled.
	ReasonKeyMissing = "KeyMissing"
	// ReasonTokenMissing means that callbacks must be signed and the Secret has no token: every callback is refused.
	ReasonTokenMissing = "TokenMissing"
	// ReasonListNotFound means that a list reference resolves to nothing.
	ReasonListNotFound = "ListNotFound"
)

// ReasonOverridden is the reason of PruneOverridden; the message names the policy that goes first.
const ReasonOverridden = "Overridden"

// Reasons of VendorReachable.
const (
	// ReasonReachable means that the last REST calls were answered.
	ReasonReachable = "Reachable"
	// ReasonThrottled means that the vendor asked to slow down.
	ReasonThrottled = "Throttled"
	// ReasonUnauthorized means that the vendor does not accept the key or the admin account.
	ReasonUnauthorized = "Unauthorized"
	// ReasonUnreachable means that REST calls get no usable answer.
	ReasonUnreachable = "Unreachable"
)

// Reasons of Planned, and of Complete once there is a plan, while a run waits. Conflicted, SecretNotFound, KeyMissing and
// ClockSkew may be such reasons, too.
const (
	// ReasonPending means that no controller has looked at the run yet.
	ReasonPending = "Pending"
	// ReasonPlanned means that the plan is recorded.
	ReasonPlanned = "Planned"
	// ReasonProtectionUnresolved means that a protect reference resolves to nothing: the run waits and removes nobody.
	ReasonProtectionUnresolved = "ProtectionUnresolved"
	// ReasonPolicyInvalid means that the governing policy is not valid: the run waits and removes nobody.
	ReasonPolicyInvalid = "PolicyInvalid"
	// ReasonQueued means that another run of the group is past planning.
	ReasonQueued = "Queued"
	// ReasonVendorUnavailable means trouble with a REST call that may pass; the message has the vendor's code and words.
	ReasonVendorUnavailable = "VendorUnavailable"
	// ReasonAwaitingApproval means that the plan is recorded, and that mode Approve waits for spec.approval.
	ReasonAwaitingApproval = "AwaitingApproval"
	// ReasonBudgetExhausted means that the removals of the last 24 hours leave nothing of maxRemovalsPerDay.
	ReasonBudgetExhausted = "BudgetExhausted"
)

// Reasons of Complete.
const (
	// ReasonRemoving means that the run is at work: Complete is False.
	ReasonRemoving = "Removing"
	// ReasonRemoved means that the plan was carried out.
	ReasonRemoved = "Removed"
	// ReasonPreviewed means that the plan was recorded and nobody was removed, as mode Preview says.
	ReasonPreviewed = "Previewed"
	// ReasonNothingToRemove means that no member may go.
	ReasonNothingToRemove = "NothingToRemove"
	// ReasonNotFull means that the group had free seats by the time it was looked at.
	ReasonNotFull = "NotFull"
	// ReasonNotGoverned means that no policy with a prune rule governs the group.
	ReasonNotGoverned = "NotGoverned"
	// ReasonCoolingDown means that the cooldown of the group's last run is not over.
	ReasonCoolingDown = "CoolingDown"
	// ReasonSuperseded means that another policy or generation governs by now, or the group's type changed.
	ReasonSuperseded = "Superseded"
	// ReasonSuspended means that pruning of the app is Suspended.
	ReasonSuspended = "Suspended"
	// ReasonDenied means that a person set spec.approval to Denied.
	ReasonDenied = "Denied"
	// ReasonExpired means that the plan was older than 24 hours.
	ReasonExpired = "Expired"
)

// Reasons of Failed.
const (
	// ReasonGroupNotFound means that the vendor does not know the group.
	ReasonGroupNotFound = "GroupNotFound"
	// ReasonUnsupportedGroupType means that members of a group of this type cannot be listed or removed, or that the type is unknown.
	ReasonUnsupportedGroupType = "UnsupportedGroupType"
	// ReasonVendorRefused means that the vendor refused for good; the message has its code and words.
	ReasonVendorRefused = "VendorRefused"
	// ReasonActivityUnknown means that the vendor tells the last message of no member: nobody goes.
	ReasonActivityUnknown = "ActivityUnknown"
	// ReasonClockSkew means that the vendor's clock and ours differ by more than 5 minutes: nothing is planned, and a run
	// that has a plan waits.
	ReasonClockSkew = "ClockSkew"
	// ReasonAppNotFound means that the IMApp is missing.
	ReasonAppNotFound = "AppNotFound"
)

// Reasons of Undone. While an undo waits, Queued, VendorUnavailable and those of a missing Secret are such reasons, too; so
// are those of Failed where it ended early.
const (
	// ReasonUndoing means that accounts are being added back: Undone is False.
	ReasonUndoing = "Undoing"
	// ReasonUndone means that the undo has ended; status.undo tells what became of each account.
	ReasonUndone = "Undone"
	// ReasonNothingToUndo means that the run removed nobody.
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

// Keys of a credentials Secret. One trailing newline is cut from every value; an empty value is an absent key.
const (
	// SecretKeySecretKey holds the key that UserSigs are made with; needed to prune.
	SecretKeySecretKey = "secretKey"
	// SecretKeyCallbackToken holds the token that callbacks are signed with.
	SecretKeyCallbackToken = "callbackToken"
	// SecretKeyPreviousCallbackToken holds the token before that, while the vendor's console is being changed.
	SecretKeyPreviousCallbackToken = "previousCallbackToken"
)
