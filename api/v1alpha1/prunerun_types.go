package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// PrunePurpose says what a run is for.
//
// +kubebuilder:validation:Enum=FreeSeats;Evict
type PrunePurpose string

const (
	// PrunePurposeFreeSeats removes inactive members from a full group, by whenFull.prune of a policy.
	PrunePurposeFreeSeats PrunePurpose = "FreeSeats"
	// PrunePurposeEvict removes members whom the gate of the group would refuse now, by join.evict of a policy.
	PrunePurposeEvict PrunePurpose = "Evict"
)

// PruneTrigger says who asked for a run.
//
// +kubebuilder:validation:Enum=GroupFull;Sweep;Manual;Leak;VerdictChange;Round
type PruneTrigger string

const (
	// PruneTriggerGroupFull is a group-full callback.
	PruneTriggerGroupFull PruneTrigger = "GroupFull"
	// PruneTriggerSweep is the periodic look for full groups whose callback was lost.
	PruneTriggerSweep PruneTrigger = "Sweep"
	// PruneTriggerManual is a person. Manual runs skip the cooldown and the test for being full, nothing else.
	PruneTriggerManual PruneTrigger = "Manual"
	// PruneTriggerLeak is a callback that reported a new member whom the gate refuses.
	PruneTriggerLeak PruneTrigger = "Leak"
	// PruneTriggerVerdictChange is an edit of a list or a policy by which the gate refuses a member now.
	PruneTriggerVerdictChange PruneTrigger = "VerdictChange"
	// PruneTriggerRound is the periodic look at all members of all groups that join.evict governs.
	PruneTriggerRound PruneTrigger = "Round"
)

// Approval is what a person says about a run.
//
// +kubebuilder:validation:Enum=Pending;Approved;Denied
type Approval string

const (
	// ApprovalPending is nobody's word yet: a run in mode Approve waits.
	ApprovalPending Approval = "Pending"
	// ApprovalApproved lets a run in mode Approve carry out its plan. In the other modes it changes nothing.
	ApprovalApproved Approval = "Approved"
	// ApprovalDenied stops a run, in any mode.
	ApprovalDenied Approval = "Denied"
)

// UndoRequest asks for the removals of a run to be undone.
//
// +kubebuilder:validation:Enum=Requested
type UndoRequest string

// UndoRequested adds the removed accounts back while seats are free.
const UndoRequested UndoRequest = "Requested"

// RestoreResult is what became of adding an account back.
//
// +kubebuilder:validation:Enum=Pending;Adding;Added;AlreadyMember;AwaitingConfirmation;Refused;NotFound;GroupLimit;NoSeat;RemovedAgain;StillRefused;Failed
type RestoreResult string

const (
	// RestoreResultPending is an account whose turn has not come.
	RestoreResultPending RestoreResult = "Pending"
	// RestoreResultAdding is an account that an addition is under way for. It is written before the addition is sent.
	RestoreResultAdding RestoreResult = "Adding"
	// RestoreResultAdded is an account that is back in the group.
	RestoreResultAdded RestoreResult = "Added"
	// RestoreResultAlreadyMember is an account that had come back by itself.
	RestoreResultAlreadyMember RestoreResult = "AlreadyMember"
	// RestoreResultAwaitingConfirmation is an account that the vendor has asked whether it wants to come back.
	RestoreResultAwaitingConfirmation RestoreResult = "AwaitingConfirmation"
	// RestoreResultRefused is an account that was refused, by a join section that denies it or by the vendor.
	RestoreResultRefused RestoreResult = "Refused"
	// RestoreResultNotFound is an account that no longer exists.
	RestoreResultNotFound RestoreResult = "NotFound"
	// RestoreResultGroupLimit is an account that is in as many groups as the vendor allows it.
	RestoreResultGroupLimit RestoreResult = "GroupLimit"
	// RestoreResultNoSeat is an account for which no seat was free.
	RestoreResultNoSeat RestoreResult = "NoSeat"
	// RestoreResultRemovedAgain is an account that is not added back, because a later run of the group removed it as well
	// and was not undone.
	RestoreResultRemovedAgain RestoreResult = "RemovedAgain"
	// RestoreResultStillRefused is an account that is not added back, because the gate of the group refuses it still.
	RestoreResultStillRefused RestoreResult = "StillRefused"
	// RestoreResultFailed is an account that was not added because the undo ended early; the condition Undone says why.
	RestoreResultFailed RestoreResult = "Failed"
)

// RemovalReason says why a member is on the plan.
//
// +kubebuilder:validation:Enum=NeverSpoke;Inactive;Denied;NotListed
type RemovalReason string

const (
	// RemovalReasonNeverSpoke is a member that joined longer ago than inactiveFor and never sent a message.
	RemovalReasonNeverSpoke RemovalReason = "NeverSpoke"
	// RemovalReasonInactive is a member whose last message is older than inactiveFor.
	RemovalReasonInactive RemovalReason = "Inactive"
	// RemovalReasonDenied is a member whom join.deny of a policy names.
	RemovalReasonDenied RemovalReason = "Denied"
	// RemovalReasonNotListed is a member whom no join.allow names, in a group that has one.
	RemovalReasonNotListed RemovalReason = "NotListed"
)

// KeptReason says why a planned removal did not happen.
//
// +kubebuilder:validation:Enum=Left;RoleChanged;ActiveAgain;Protected;Admitted;Unknown;BudgetExhausted;VendorRefused;RunEnded
type KeptReason string

const (
	// KeptReasonLeft is an account that was no longer in the group.
	KeptReasonLeft KeptReason = "Left"
	// KeptReasonRoleChanged is an account that became owner, admin or something unknown.
	KeptReasonRoleChanged KeptReason = "RoleChanged"
	// KeptReasonActiveAgain is an account that spoke or joined since the plan was made.
	KeptReasonActiveAgain KeptReason = "ActiveAgain"
	// KeptReasonProtected is an account that a policy protects by now.
	KeptReasonProtected KeptReason = "Protected"
	// KeptReasonAdmitted is an account that the gate of the group admits by now.
	KeptReasonAdmitted KeptReason = "Admitted"
	// KeptReasonUnknown is an account whose activity the vendor no longer tells.
	KeptReasonUnknown KeptReason = "Unknown"
	// KeptReasonBudgetExhausted is an account for whose removal nothing was left of maxRemovalsPerDay when a batch that was
	// interrupted was taken up again.
	KeptReasonBudgetExhausted KeptReason = "BudgetExhausted"
	// KeptReasonVendorRefused is an account that the vendor refuses to remove, or that is still a member after a removal
	// that succeeded.
	KeptReasonVendorRefused KeptReason = "VendorRefused"
	// KeptReasonRunEnded is an account that was still there when the run ended with its removal under way.
	KeptReasonRunEnded KeptReason = "RunEnded"
)

// PruneDecision says who decided something about a run, and why.
type PruneDecision struct {
	// by is the user who decided, 1 to 256 characters. In spec.decision, the
	// MutatingAdmissionPolicy of config/admission/decisions writes it from the
	// user of the request, over what the request says. Where that policy is not
	// installed, a by is not believed: the status then leaves it out.
	// Default: absent, not known. Example: alice@example.com.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	By string `json:"by,omitempty"`

	// reason is why, in the words of that user, 1 to 256 characters.
	// Default: absent, none given. Example: "agreed with the moderators".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`
}

// RecordedDecision is a decision as the leader recorded it.
type RecordedDecision struct {
	PruneDecision `json:",inline"`

	// recordedAt is when the leader recorded the decision, by its clock: mostly
	// within a second of the request, later if there was no leader then or it was
	// busy. No request can set it. When the request came in is in the audit log of
	// the API server.
	// Default: absent, the decision was recorded before the field existed.
	// Example: "2026-11-20T09:30:00Z".
	//
	// +optional
	RecordedAt metav1.Time `json:"recordedAt,omitzero"`
}

// PruneRunSpec names the group, and holds what people say about the run. It names no policy: which one governs is settled
// when the run is planned, from the group as it is then, and recorded.
//
// +kubebuilder:validation:XValidation:rule="self.appRef == oldSelf.appRef && self.groupID == oldSelf.groupID && self.trigger == oldSelf.trigger && self.purpose == oldSelf.purpose && has(self.accounts) == has(oldSelf.accounts) && (!has(self.accounts) || self.accounts == oldSelf.accounts)",message="only approval, undo and decision can be changed: for another app, group, purpose, trigger or other accounts create another PruneRun"
// +kubebuilder:validation:XValidation:rule="!has(self.accounts) || self.purpose == 'Evict'",message="accounts needs purpose Evict: who leaves a full group is decided among all its members",fieldPath=".accounts"
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || !has(self.decision)",optionalOldSelf=true,message="decision is about a change of approval or undo: create the run without it",fieldPath=".decision"
// +kubebuilder:validation:XValidation:rule="has(self.decision) == has(oldSelf.decision) && (!has(self.decision) || self.decision == oldSelf.decision) || self.approval != oldSelf.approval || has(self.undo) && !has(oldSelf.undo)",message="decision can be changed only together with approval or undo",fieldPath=".decision"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.undo) || has(self.undo)",message="undo cannot be withdrawn: leave it Requested",fieldPath=".undo"
type PruneRunSpec struct {
	// appRef names the IMApp of this namespace whose group it is.
	// No default. Example: {name: prod}.
	//
	// +required
	AppRef AppReference `json:"appRef"`

	// groupID is the id of the group, 1 to 255 characters, compared byte for
	// byte.
	// No default. Example: "@TGS#2J4SZEAEL".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	GroupID string `json:"groupID"`

	// purpose is FreeSeats (remove inactive members from a full group, by
	// whenFull.prune of a policy) or Evict (remove members whom the gate of the
	// group would refuse now, by join.evict of a policy). A group has at most one
	// unfinished run of each purpose that the operator makes.
	// Default: FreeSeats. Example: Evict.
	//
	// +optional
	// +kubebuilder:default=FreeSeats
	Purpose PrunePurpose `json:"purpose,omitempty"`

	// accounts are the only members that a run with purpose Evict looks at, at
	// most 1,000, each 1 to 255 characters, compared byte for byte: they are asked
	// for by name, and the list of members is not read.
	// Default: absent, all members. Example: [mallory].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	Accounts []string `json:"accounts,omitempty"`

	// trigger is who asked for the run: GroupFull (a callback), Sweep (the
	// periodic look for full groups) or Manual (a person); with purpose Evict,
	// Leak (a callback reported a new member whom the gate refuses), VerdictChange
	// (an edit of a list or a policy) or Round (the periodic look at all members).
	// Manual runs skip the cooldown and the test for being full, nothing else.
	// Default: Manual. Example: Manual.
	//
	// +optional
	// +kubebuilder:default=Manual
	Trigger PruneTrigger `json:"trigger,omitempty"`

	// approval is Pending, Approved or Denied. A run begins Pending. In mode
	// Approve it waits with its plan, and Approved lets it carry out this very
	// plan, less those that the last look keeps; the plan is void 24 hours after
	// plan.createdAt. Denied stops a run in any mode. It can be Approved only once
	// a plan is recorded and before the run has ended, and changes from Pending to
	// Approved or Denied and from Approved to Denied, in no other way.
	// Default: Pending. Example: Approved.
	//
	// +optional
	// +kubebuilder:default=Pending
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || self == 'Pending'",optionalOldSelf=true,message="a run begins with approval Pending: look at its plan first, then approve or deny it"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf || self == 'Denied' || oldSelf == 'Pending'",message="approval can change only from Pending to Approved or Denied, and from Approved to Denied: create another PruneRun"
	Approval Approval `json:"approval,omitempty"`

	// undo is Requested to add the accounts that the run removed back to the
	// group, without a notice, while seats are free; those that were active last
	// come first. It can be set once the run has ended, cannot be withdrawn, and
	// ends the refusal of these accounts (status.refuse). The condition Undone and
	// status.undo tell what came of it.
	// Default: absent. Example: Requested.
	//
	// +optional
	Undo UndoRequest `json:"undo,omitempty"`

	// decision says who made the last change of approval or undo, and why. It can
	// be changed only together with one of them. status.decisions keeps what it
	// said about each.
	// Default: absent. Example: {reason: "agreed with the moderators"}.
	//
	// +optional
	Decision *PruneDecision `json:"decision,omitempty"`
}

// PrunePolicyRecord is the policy that governed the group when the run was planned.
type PrunePolicyRecord struct {
	// name is the metadata.name of the GroupPolicy, 1 to 253 characters.
	// No default. Example: vip-lounge.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// uid is the metadata.uid of the GroupPolicy, 1 to 64 characters.
	// No default. Example: 0b6a1c1e-4c2e-4b5c-9b1f-0d1e2f3a4b5c.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid"`

	// generation is the metadata.generation of the GroupPolicy, at least 0.
	// No default. Example: 3.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Generation int64 `json:"generation"`

	// mode is the mode of the rule, whenFull.prune or join.evict: Preview, Approve
	// or Enforce.
	// No default. Example: Enforce.
	//
	// +required
	Mode PruneMode `json:"mode"`

	// ruleHash identifies what whenFull.prune of the GroupPolicy said, or
	// join.evict, by the purpose of the run, 16 hex digits. The plan stays valid while this GroupPolicy governs the group and
	// says the same there; edits of its other fields change nothing.
	// Default: absent, in records of older versions, for which the generation
	// counts. Example: 6f1c2a9b3d41e07f.
	//
	// +optional
	// +kubebuilder:validation:Pattern="^[0-9a-f]{16}$"
	// +kubebuilder:validation:MaxLength=16
	RuleHash string `json:"ruleHash,omitempty"`
}

// PruneGroupRecord is the group as it was when the run was planned.
type PruneGroupRecord struct {
	// type is the type of the group: Work, Public, Meeting, AVChatRoom or
	// Community; absent where the vendor names another.
	// Default: absent. Example: Public.
	//
	// +optional
	Type GroupType `json:"type,omitempty"`

	// members is the number of members, at least 0.
	// No default. Example: 2000.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Members int32 `json:"members"`

	// maxMembers is the most members that the group can hold, at least 0.
	// No default. Example: 2000.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	MaxMembers int32 `json:"maxMembers"`

	// sdkAppID is the sdkAppID of the IMApp, 1 to 9007199254740991. The record
	// binds the app with this number, whatever the IMApp is named or whenever it
	// was created.
	// Default: absent, in records of older versions, for which the name of the
	// IMApp counts. Example: 1400000000.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	SDKAppID int64 `json:"sdkAppID,omitempty"`

	// createdAt is when the group was created, as the vendor says, in UTC. A group
	// of the same id that was created at another time is another group: members
	// are neither removed from it nor added to it.
	// Default: absent, where the vendor does not say, and in records of older
	// versions. Example: "2025-03-01T09:30:00Z".
	//
	// +optional
	CreatedAt metav1.Time `json:"createdAt,omitzero"`
}

// PlanStay counts the members that stay, by reason.
type PlanStay struct {
	// protected is the number of members that a policy protects, at least 0; 0
	// with purpose Evict.
	// No default. Example: 3.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Protected int32 `json:"protected"`

	// admin is the number of owners, admins and admin accounts, at least 0.
	// No default. Example: 5.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Admin int32 `json:"admin"`

	// active is the number of members that joined or spoke within inactiveFor, at
	// least 0; 0 with purpose Evict.
	// No default. Example: 1652.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Active int32 `json:"active"`

	// unknown is the number of members who are muted, or whose role or activity the
	// vendor does not tell, at least 0. With purpose Evict, it is that of members
	// whose role or time of joining the vendor does not tell.
	// No default. Example: 0.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Unknown int32 `json:"unknown"`

	// admitted is the number of members whom the gate of the group admits, at
	// least 0, with purpose Evict.
	// Default: absent, 0. Example: 388.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Admitted int32 `json:"admitted,omitempty"`

	// inGrace is the number of members whom the gate refuses and who joined less
	// than grace ago, at least 0, with purpose Evict.
	// Default: absent, 0. Example: 2.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	InGrace int32 `json:"inGrace,omitempty"`
}

// PlannedRemoval is one member that is to go.
type PlannedRemoval struct {
	// account is the member, 1 to 255 characters.
	// No default. Example: u1.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Account string `json:"account"`

	// lastActiveAt is when the member last spoke or joined, whichever is later,
	// in UTC.
	// Default: absent, not known. Example: "2026-08-01T09:30:00Z".
	//
	// +optional
	LastActiveAt metav1.Time `json:"lastActiveAt,omitzero"`

	// reason is NeverSpoke (no message since joining) or Inactive (the last
	// message is too old); with purpose Evict, Denied (join.deny of a policy names
	// the account) or NotListed (no join.allow does).
	// No default. Example: NeverSpoke.
	//
	// +required
	Reason RemovalReason `json:"reason"`

	// policy is the name of the GroupPolicy whose join.deny, or whose join.allow,
	// refuses the account: of several, the highest-ranked; at most 253 characters.
	// Default: absent, with purpose FreeSeats. Example: vip-lounge.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Policy string `json:"policy,omitempty"`

	// list is the name of the AccountList by which join.deny names the account, at
	// most 253 characters.
	// Default: absent, where join.deny names the account itself, and with any
	// other reason. Example: banned-0.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	List string `json:"list,omitempty"`
}

// PrunePlan is who is to go; it is written once and never changed.
type PrunePlan struct {
	// createdAt is when the plan was made, in UTC; it is void 24 hours later, or 24
	// hours after notBefore.
	// No default. Example: "2026-11-20T09:30:00Z".
	//
	// +required
	CreatedAt metav1.Time `json:"createdAt"`

	// notBefore is when the first member may be removed, in UTC: grace after
	// createdAt, with purpose Evict.
	// Default: absent, at once. Example: "2026-11-20T09:40:00Z".
	//
	// +optional
	NotBefore metav1.Time `json:"notBefore,omitzero"`

	// breaker says why the plan awaits approval in every mode, 1 to 1,024
	// characters: with purpose Evict, it would remove more members than a routine
	// does.
	// Default: absent, the mode decides. Example: "would remove 340 of 400
	// members: is the list complete?".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Breaker string `json:"breaker,omitempty"`

	// candidates is the number of members that may go, before maxRemovals and
	// freeSeats cap it, at least 0.
	// No default. Example: 340.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Candidates int32 `json:"candidates"`

	// size is the number of removals, 0 to 1000.
	// Default: absent, in records of older versions. Example: 100.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Size *int32 `json:"size,omitempty"`

	// stay counts the members that stay whatever the caps say, each once, under
	// the first reason that holds: admin, unknown role, protected, unknown
	// activity, active.
	// No default. Example: {protected: 3, admin: 5, active: 1652, unknown: 0}.
	//
	// +required
	Stay PlanStay `json:"stay"`

	// removals are the members that are to go, complete, at most maxRemovals of
	// them (never more than 1000), oldest activity first, ties by account; with
	// purpose Evict, latest joined first, ties by account.
	// Default: none. Example: [{account: u1, reason: NeverSpoke}].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Removals []PlannedRemoval `json:"removals,omitempty"`
}

// PruneProgress says how far a run has come, as positions in plan.removals.
type PruneProgress struct {
	// settled is the number of planned removals that are done with, removed or
	// kept, 0 to 1000.
	// No default. Example: 300.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Settled int32 `json:"settled"`

	// inFlight is the number of planned removals after those that a deletion is
	// under way for, 0 to 100. It is written before the deletion is sent.
	// No default. Example: 100.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	InFlight int32 `json:"inFlight"`

	// lastBatchAt is when the last batch was recorded, in UTC. The removals of the
	// run count for maxRemovalsPerDay until 24 hours later.
	// Default: absent, no batch yet. Example: "2026-11-20T09:30:00Z".
	//
	// +optional
	LastBatchAt metav1.Time `json:"lastBatchAt,omitzero"`
}

// KeptAccount is one planned removal that did not happen.
type KeptAccount struct {
	// account is the member, 1 to 255 characters.
	// No default. Example: u7.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Account string `json:"account"`

	// reason is why it stayed: Left, RoleChanged, ActiveAgain, Protected, Admitted,
	// Unknown, BudgetExhausted, VendorRefused or RunEnded.
	// No default. Example: ActiveAgain.
	//
	// +required
	Reason KeptReason `json:"reason"`
}

// PruneRefusal keeps removed accounts from coming straight back.
type PruneRefusal struct {
	// until is when the accounts that the run removed may join the group again, in
	// UTC: rejoinAfter after its last batch was recorded; before the first, after
	// the plan was.
	// No default. Example: "2026-11-27T09:30:00Z".
	//
	// +required
	Until metav1.Time `json:"until"`

	// code is the error code of the refusal: 10100 to 10200, which reaches the
	// client together with the message, or 1, for which the client sees 10016.
	// No default. Example: 10110.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10200
	// +kubebuilder:validation:XValidation:rule="self == 1 || self >= 10100",message="code must be 1, or from 10100 to 10200"
	Code int32 `json:"code"`

	// message is what the client sees with the code, 1 to 256 characters; it is
	// seen only with a code from 10100 to 10200.
	// Default: none. Example: "You were inactive; come back next week".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// RestoredAccount is one account that is to be added back.
type RestoredAccount struct {
	// account is the account, 1 to 255 characters.
	// No default. Example: u1.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Account string `json:"account"`

	// result is what became of it: Pending, Adding, Added, AlreadyMember,
	// AwaitingConfirmation, Refused, NotFound, GroupLimit, NoSeat, RemovedAgain,
	// StillRefused or Failed.
	// No default. Example: Added.
	//
	// +required
	Result RestoreResult `json:"result"`
}

// PruneUndo is the record of an undo.
type PruneUndo struct {
	// startedAt is when the accounts were recorded, before the first was added, in
	// UTC.
	// No default. Example: "2026-11-20T10:00:00Z".
	//
	// +required
	StartedAt metav1.Time `json:"startedAt"`

	// finishedAt is when the undo ended, early or not, in UTC.
	// Default: absent, under way. Example: "2026-11-20T10:00:09Z".
	//
	// +optional
	FinishedAt metav1.Time `json:"finishedAt,omitzero"`

	// added is the exact number of accounts that were added back, 0 to 1000.
	// No default. Example: 97.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Added int32 `json:"added"`

	// accounts are those that the run removed, or may have removed, last active
	// first, each with what became of it, at most 1000.
	// Default: none. Example: [{account: u1, result: Added}].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Accounts []RestoredAccount `json:"accounts,omitempty"`
}

// PruneDecisions says who approved, denied and undid a run, and when. An empty decision was made by an unknown user, for
// an unknown reason.
type PruneDecisions struct {
	// approved is who let a run in mode Approve carry out its plan.
	// Default: absent, not approved. Example: {by: alice@example.com, reason:
	// "agreed with the moderators", recordedAt: "2026-11-20T09:30:00Z"}.
	//
	// +optional
	Approved *RecordedDecision `json:"approved,omitempty"`

	// denied is who stopped the run.
	// Default: absent, not denied. Example: {by: bob@example.com, reason: "not
	// before the election"}.
	//
	// +optional
	Denied *RecordedDecision `json:"denied,omitempty"`

	// undo is who requested that the removals be undone.
	// Default: absent, not requested. Example: {by: bob@example.com, reason:
	// "wrong group"}.
	//
	// +optional
	Undo *RecordedDecision `json:"undo,omitempty"`
}

// NoticeReceiver is who is told that a plan awaits approval.
//
// +kubebuilder:validation:Enum=Webhook;Group
type NoticeReceiver string

const (
	// NoticeReceiverWebhook is the webhook that the manager's flags name.
	NoticeReceiverWebhook NoticeReceiver = "Webhook"
	// NoticeReceiverGroup is the group that spec.notify of the IMApp names.
	NoticeReceiverGroup NoticeReceiver = "Group"
)

// NoticeResult is what became of a notice.
//
// +kubebuilder:validation:Enum=Sending;Sent;NotSent;Unknown;Withheld
type NoticeResult string

const (
	// NoticeResultSending is a notice that is under way. It is written before the notice is sent.
	NoticeResultSending NoticeResult = "Sending"
	// NoticeResultSent is a notice that its receiver has accepted.
	NoticeResultSent NoticeResult = "Sent"
	// NoticeResultNotSent is a notice that its receiver has not got; it is sent again while the plan awaits approval.
	NoticeResultNotSent NoticeResult = "NotSent"
	// NoticeResultUnknown is a notice that its receiver may have got. It is not sent again.
	NoticeResultUnknown NoticeResult = "Unknown"
	// NoticeResultWithheld is a notice that its receiver must not get.
	NoticeResultWithheld NoticeResult = "Withheld"
)

// PruneNotice is one notice that the plan awaits approval.
type PruneNotice struct {
	// to is who is told: Webhook (of the manager's flags) or Group (that the IMApp
	// names).
	// No default. Example: Webhook.
	//
	// +required
	To NoticeReceiver `json:"to"`

	// result is what became of the notice: Sending, Sent, NotSent (it is tried
	// again while the plan awaits approval), Unknown (it may have arrived, and is
	// not sent again) or Withheld (the plan is one for the group itself).
	// No default. Example: Sent.
	//
	// +required
	Result NoticeResult `json:"result"`

	// at is when the result was recorded, in UTC.
	// No default. Example: "2026-11-20T09:30:01Z".
	//
	// +required
	At metav1.Time `json:"at"`

	// message says why the notice was not sent, or what is unknown, 1 to 512
	// characters.
	// Default: absent. Example: "The receiver of the webhook answered 503."
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// PruneRunStatus is the plan and the record of a run.
type PruneRunStatus struct {
	// policy is the GroupPolicy that governed the group when the run was planned.
	// Default: absent, not planned yet. Example: {name: vip-lounge, generation:
	// 3, mode: Enforce}.
	//
	// +optional
	Policy *PrunePolicyRecord `json:"policy,omitempty"`

	// group is the group as it was when the run was planned.
	// Default: absent, not planned yet. Example: {type: Public, members: 2000,
	// maxMembers: 2000}.
	//
	// +optional
	Group *PruneGroupRecord `json:"group,omitempty"`

	// plan is who is to go and who stays; it is written once and never changed.
	// Default: absent, not planned yet. Example: see the fields.
	//
	// +optional
	Plan *PrunePlan `json:"plan,omitempty"`

	// progress is how far the run has come, as positions in plan.removals.
	// Default: absent, nothing begun. Example: {settled: 300, inFlight: 100}.
	//
	// +optional
	Progress *PruneProgress `json:"progress,omitempty"`

	// awaitsApproval is true while the plan waits for a person: it is recorded, the
	// run has not ended, and spec.approval is Pending, as far as the leader has seen
	// it. The field selector status.awaitsApproval=true,spec.approval=Pending finds
	// such runs among any number of others.
	// Default: absent, no plan waits. Example: true.
	//
	// +optional
	AwaitsApproval bool `json:"awaitsApproval,omitempty"`

	// removed is the exact number of members that this run removed, 0 to 1000.
	// Default: 0. Example: 297.
	//
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Removed int32 `json:"removed"`

	// kept are the accounts of the plan that were not removed, because the last
	// look before their removal kept them or the run ended first, at most 1000.
	// Default: none. Example: [{account: u7, reason: ActiveAgain}].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Kept []KeptAccount `json:"kept,omitempty"`

	// refuse says how long, and with which words, the accounts that the run
	// removed are refused when they apply or are invited to the group again:
	// rejoinAfter and join.reject of the policy, as they were when the run was
	// planned. A request to undo the run ends it early.
	// Default: absent, nobody is refused. Example: {until:
	// "2026-11-27T09:30:00Z", code: 10110, message: "Members only"}.
	//
	// +optional
	Refuse *PruneRefusal `json:"refuse,omitempty"`

	// undo is the record of adding the removed accounts back.
	// Default: absent, not requested. Example: see the fields.
	//
	// +optional
	Undo *PruneUndo `json:"undo,omitempty"`

	// decisions are who approved, denied and undid the run, when, and why, as
	// spec.decision said when the leader recorded it. Each is recorded once.
	// Default: absent, none yet. Example: {approved: {by: alice@example.com,
	// recordedAt: "2026-11-20T09:30:00Z"}}.
	//
	// +optional
	Decisions *PruneDecisions `json:"decisions,omitempty"`

	// notices are what became of telling others that the plan awaits approval, at
	// most one for each receiver.
	// Default: none. Example: [{to: Webhook, result: Sent, at:
	// "2026-11-20T09:30:01Z"}].
	//
	// +optional
	// +listType=map
	// +listMapKey=to
	// +kubebuilder:validation:MaxItems=2
	Notices []PruneNotice `json:"notices,omitempty"`

	// conditions are Planned, Complete, Failed and Undone, in this order, each
	// from when there is something to say about it. The reason of the last one is
	// the Result column. A run ends with Complete=True or Failed=True, never both.
	// Undone is there once an undo was requested, and True once nothing is left to
	// add back; an undo that ended early leaves it False, with undo.finishedAt.
	// Default: Planned=Unknown with reason Pending. Example: Complete=True with
	// reason Removed.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PruneRun is one pass that removes members from one group, inactive ones from a
// full group or those whom its gate refuses: the request, the plan, the approval
// and the record of it. A person makes one with trigger Manual; the operator
// makes them for full groups, and for groups with members that should not be
// there. It has no owner and outlives the policies and apps it names.
//
// +kubebuilder:object:root=true
// +kubebuilder:validation:XValidation:rule="self.spec.approval != 'Approved' || oldSelf.spec.approval == 'Approved' || has(self.status) && has(self.status.plan)",message="a run can be approved only once its plan is recorded: wait until its condition Planned is True, look at the plan, then approve or deny it",fieldPath=".spec.approval"
// +kubebuilder:validation:XValidation:rule="self.spec.approval != 'Approved' || oldSelf.spec.approval == 'Approved' || !has(self.status) || !has(self.status.conditions) || !self.status.conditions.exists(c, (c.type == 'Complete' || c.type == 'Failed') && c.status == 'True')",message="a run that has ended cannot be approved: create another PruneRun",fieldPath=".spec.approval"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.undo) || oldSelf.hasValue() && has(oldSelf.value().spec.undo) || has(self.status) && has(self.status.conditions) && self.status.conditions.exists(c, (c.type == 'Complete' || c.type == 'Failed') && c.status == 'True')",optionalOldSelf=true,message="undo can be requested once the run has ended: to stop a run, set approval to Denied",fieldPath=".spec.undo"
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=pruneruns,singular=prunerun,categories=groupgate
// +kubebuilder:selectablefield:JSONPath=`.spec.groupID`
// +kubebuilder:selectablefield:JSONPath=`.spec.appRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.approval`
// +kubebuilder:selectablefield:JSONPath=`.spec.purpose`
// +kubebuilder:selectablefield:JSONPath=`.status.awaitsApproval`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.appRef.name`
// +kubebuilder:printcolumn:name="Group",type=string,JSONPath=`.spec.groupID`
// +kubebuilder:printcolumn:name="Purpose",type=string,JSONPath=`.spec.purpose`
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.status.policy.name`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.policy.mode`
// +kubebuilder:printcolumn:name="Planned",type=integer,JSONPath=`.status.plan.size`
// +kubebuilder:printcolumn:name="Removed",type=integer,JSONPath=`.status.removed`
// +kubebuilder:printcolumn:name="Restored",type=integer,JSONPath=`.status.undo.added`
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.conditions[-1:].reason`
// +kubebuilder:printcolumn:name="Members",type=integer,priority=1,JSONPath=`.status.group.members`
// +kubebuilder:printcolumn:name="Planned At",type=string,priority=1,JSONPath=`.status.plan.createdAt`
// +kubebuilder:printcolumn:name="Not Before",type=string,priority=1,JSONPath=`.status.plan.notBefore`
// +kubebuilder:printcolumn:name="Breaker",type=string,priority=1,JSONPath=`.status.plan.breaker`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PruneRun struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata; the name is free. The operator
	// names its own runs after the app and the group. Example: {name:
	// lounge-by-hand}.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec names the group; only approval, undo and decision can be changed.
	// No default. Example: {appRef: {name: prod}, groupID: "@TGS#2J4SZEAEL"}.
	//
	// +required
	Spec PruneRunSpec `json:"spec"`

	// status is the plan and the record of the run.
	// Default: no plan, Planned=Unknown with reason Pending. Example: see the
	// fields.
	//
	// +optional
	// +kubebuilder:default={removed: 0, conditions: {{type: "Planned", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PruneRunStatus `json:"status,omitzero"`
}

// PruneRunList is a list of PruneRuns.
//
// +kubebuilder:object:root=true
type PruneRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []PruneRun `json:"items"`
}
