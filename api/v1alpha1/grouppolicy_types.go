package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AppReference names an IMApp of the same namespace.
type AppReference struct {
	// name is the metadata.name of the IMApp, 1 to 63 characters.
	// No default. Example: prod.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// GroupMatcherType says how a matcher's value is compared with a group's id.
//
// +kubebuilder:validation:Enum=Exact;Prefix;All
type GroupMatcherType string

const (
	// GroupMatcherExact matches the one group whose id is the value, byte for byte.
	GroupMatcherExact GroupMatcherType = "Exact"
	// GroupMatcherPrefix matches every group whose id starts with the value, byte for byte.
	GroupMatcherPrefix GroupMatcherType = "Prefix"
	// GroupMatcherAll matches every group of the app.
	GroupMatcherAll GroupMatcherType = "All"
)

// GroupType is a type of group, under the vendor's current name. Aliases: Private=Work, ChatRoom=Meeting,
// Live=BChatRoom=AVChatRoom.
//
// +kubebuilder:validation:Enum=Work;Public;Meeting;AVChatRoom;Community
type GroupType string

// The types of group.
const (
	GroupTypeWork       GroupType = "Work"
	GroupTypePublic     GroupType = "Public"
	GroupTypeMeeting    GroupType = "Meeting"
	GroupTypeAVChatRoom GroupType = "AVChatRoom"
	GroupTypeCommunity  GroupType = "Community"
)

// JoinMode says whether a join section has a say.
//
// +kubebuilder:validation:Enum=Enforce;Audit
type JoinMode string

const (
	// JoinModeEnforce lets the section decide.
	JoinModeEnforce JoinMode = "Enforce"
	// JoinModeAudit evaluates and counts, and never rejects.
	JoinModeAudit JoinMode = "Audit"
)

// JoinTrigger is a way in which an account comes into a group.
//
// +kubebuilder:validation:Enum=Apply;Invite;RESTAPI
type JoinTrigger string

const (
	// JoinTriggerApply is an application by a client.
	JoinTriggerApply JoinTrigger = "Apply"
	// JoinTriggerInvite is an invitation by a client.
	JoinTriggerInvite JoinTrigger = "Invite"
	// JoinTriggerRESTAPI is an addition over the REST API.
	JoinTriggerRESTAPI JoinTrigger = "RESTAPI"
)

// PruneMode says what a run does with its plan.
//
// +kubebuilder:validation:Enum=Preview;Approve;Enforce
type PruneMode string

const (
	// PruneModePreview plans and removes nobody.
	PruneModePreview PruneMode = "Preview"
	// PruneModeApprove plans, and removes once a person has approved the run.
	PruneModeApprove PruneMode = "Approve"
	// PruneModeEnforce plans and removes.
	PruneModeEnforce PruneMode = "Enforce"
)

// Notification says who is told of a removal.
//
// +kubebuilder:validation:Enum=Group;Silent
type Notification string

const (
	// NotificationGroup lets the group see the notice of the removal.
	NotificationGroup Notification = "Group"
	// NotificationSilent removes without a notice.
	NotificationSilent Notification = "Silent"
)

// GroupMatcher picks groups by their id.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'All' || has(self.value)",message="value is required when type is Exact or Prefix",fieldPath=".value",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="self.type != 'All' || !has(self.value)",message="value must not be set when type is All",fieldPath=".value",reason=FieldValueForbidden
type GroupMatcher struct {
	// type is Exact (the id is the value), Prefix (the id starts with the value)
	// or All (every group; takes no value), all compared byte for byte.
	// Default: Exact. Example: Prefix.
	//
	// +optional
	// +kubebuilder:default=Exact
	Type GroupMatcherType `json:"type,omitempty"`

	// value is the group id or the prefix of group ids, 1 to 96 bytes; required
	// unless type is All, where it must be absent.
	// No default. Example: "@TGS#2J4SZEAEL".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=96
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 96",message="value must be at most 96 bytes of UTF-8"
	Value string `json:"value,omitempty"`
}

// AccountListReference picks AccountLists of the policy's namespace, by name or by label.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.selector)",message="set exactly one of name and selector"
type AccountListReference struct {
	// name is the metadata.name of one AccountList, 1 to 253 characters; exactly
	// one of name and selector is set.
	// No default. Example: vip-0.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// selector picks every AccountList whose labels match, at most 16 labels and
	// 16 expressions; exactly one of name and selector is set, and {} picks every
	// list of the namespace.
	// No default. Example: {matchLabels: {list: vip}}.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchLabels) || size(self.matchLabels) <= 16",message="matchLabels must have at most 16 labels",fieldPath=".matchLabels"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || size(self.matchExpressions) <= 16",message="matchExpressions must have at most 16 expressions",fieldPath=".matchExpressions"
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// AccountSelector is a set of accounts: the union of what its fields name. Server-side apply takes it as a whole.
//
// +structType=atomic
type AccountSelector struct {
	// accounts are accounts by name, at most 1,000, each 1 to 32 characters,
	// compared byte for byte. Longer lists are AccountLists.
	// Default: none. Example: [jared, tommy].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32
	Accounts []string `json:"accounts,omitempty"`

	// accountPrefixes name every account that starts with one of them, at most
	// 64, each 1 to 32 characters, compared byte for byte.
	// Default: none. Example: ["staff-"].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32
	AccountPrefixes []string `json:"accountPrefixes,omitempty"`

	// lists name AccountLists of this namespace, at most 64 references, each by
	// exactly one of name and selector. A reference that resolves to nothing
	// counts as empty in allow and deny; in protect it stops pruning of the
	// groups that the policy governs.
	// Default: none. Example: [{name: vip-0}, {selector: {matchLabels: {list:
	// vip}}}].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Lists []AccountListReference `json:"lists,omitempty"`
}

// Rejection is what a refused client gets to see.
//
// +kubebuilder:validation:XValidation:rule="!has(self.message) || has(self.code)",message="message needs a code: without one the client never sees the message; set code to a number from 10100 to 10200",fieldPath=".message"
type Rejection struct {
	// code is the error code that reaches the client together with the message,
	// 10100 to 10200.
	// Default: unset, which rejects with 1, and the client sees 10016. Example:
	// 10110.
	//
	// +optional
	// +kubebuilder:validation:Minimum=10100
	// +kubebuilder:validation:Maximum=10200
	Code *int32 `json:"code,omitempty"`

	// message is the text that reaches the client, 1 to 256 characters; it needs
	// a code.
	// Default: none. Example: "Members only".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// JoinSection says who may join the groups of a policy.
//
// +kubebuilder:validation:XValidation:rule="!has(self.evict) || has(self.allow) || has(self.deny)",message="evict needs allow or deny: without one this policy refuses nobody; an allow with nothing after it counts as absent",fieldPath=".evict"
// +kubebuilder:validation:XValidation:rule="!has(self.evict) || self.mode == 'Enforce'",message="evict needs mode Enforce: a gate in mode Audit refuses nobody",fieldPath=".evict"
// +kubebuilder:validation:XValidation:rule="!has(self.evict) || ['Apply', 'Invite', 'RESTAPI'].all(t, t in self.triggers)",message="evict needs all of the triggers Apply, Invite and RESTAPI: a member may have come in by any of them",fieldPath=".evict"
// +kubebuilder:validation:XValidation:rule="!has(self.evict) || !has(self.allow) || has(self.allow.accounts) && size(self.allow.accounts) > 0 || has(self.allow.accountPrefixes) && size(self.allow.accountPrefixes) > 0 || has(self.allow.lists) && size(self.allow.lists) > 0",message="evict cannot be combined with an empty allow: it admits nobody, so that every ordinary member would be evicted",fieldPath=".evict"
type JoinSection struct {
	// mode is Enforce, or Audit: evaluate, count, never reject. Audit never
	// speaks; its difference is the same steps with every Audit section speaking
	// as well.
	// Default: Enforce. Example: Audit.
	//
	// +optional
	// +kubebuilder:default=Enforce
	Mode JoinMode `json:"mode,omitempty"`

	// triggers are the ways into the group that this section speaks about, 1 to 3
	// of them: Apply (client application), Invite (client invitation), RESTAPI
	// (members added over REST). The trigger is Apply for an application; for an
	// invitation RESTAPI where OptPlatform is RESTAPI (any case), else Invite.
	// Default: [Apply, Invite, RESTAPI]. Example: [Apply, Invite].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:default={Apply,Invite,RESTAPI}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Triggers []JoinTrigger `json:"triggers,omitempty"`

	// allow names the accounts that are admitted. Absent: no gate. Present and
	// empty ({}): admits nobody by itself. An "allow:" with nothing after it is
	// null in YAML, which is absent.
	// Default: absent. Example: {lists: [{name: vip-0}]}.
	//
	// +optional
	Allow *AccountSelector `json:"allow,omitempty"`

	// deny names the accounts that are rejected, whatever any allow says.
	// Default: absent. Example: {accounts: [mallory]}.
	//
	// +optional
	Deny *AccountSelector `json:"deny,omitempty"`

	// reject is the code and message of this section's refusals.
	// Default: unset, which rejects with 1, and the client sees 10016. Example:
	// {code: 10110, message: "Members only"}.
	//
	// +optional
	Reject *Rejection `json:"reject,omitempty"`

	// evict makes membership what this gate says: ordinary members whom the join
	// verdict of their group refuses now, for each trigger, by a deny or for want
	// of an allow, are removed. It needs allow or deny, mode Enforce and all three
	// triggers. The rule of a group (mode and budget) is that of the
	// highest-ranked governing policy with evict; the verdict is that of all of
	// them. Owner, admins, adminAccount, unknown roles and members whose time of
	// joining is not known are never evicted.
	// Default: absent, members stay. Example: {mode: Preview}.
	//
	// +optional
	Evict *EvictRule `json:"evict,omitempty"`
}

// EvictRule says how members are removed whom the gate of their group would refuse now.
type EvictRule struct {
	// mode is Preview (plan, remove nobody), Approve (plan, then wait until a
	// person sets spec.approval of the PruneRun) or Enforce (plan, then remove). A
	// plan for more than a routine waits for a person in mode Enforce as well: one
	// whose candidates, together with the members evicted without approval in the
	// last 7 days, are more than 20 % of the ordinary members, more than
	// maxRemovals, or more than 2 in a group of fewer than 15 members.
	// No default. Example: Preview.
	//
	// +required
	Mode PruneMode `json:"mode"`

	// grace is how long somebody has been a member before eviction, and how long a
	// plan has stood before it is carried out, since lists may lag behind: days
	// (d), hours (h) and minutes (m), 0m to 30d.
	// Default: 10m. Example: 10m, 6h or 1d12h.
	//
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?$') && int('0' + self.find('[0-9]+d').replace('d', '')) * 1440 + int('0' + self.find('[0-9]+h').replace('h', '')) * 60 + int('0' + self.find('[0-9]+m').replace('m', '')) <= 43200",message="grace must be days, hours and minutes of at most 30d in all, such as 10m, 6h or 1d12h"
	Grace string `json:"grace,omitempty"`

	// interval is within which time every governed group is looked at, at least
	// once: days (d), hours (h) and minutes (m), at least 1h. The look uses at
	// most a quarter of the requestsPerSecond of the IMApp; where that is too
	// little, the condition RoundBehind is True.
	// Default: 24h. Example: 24h, 12h or 7d.
	//
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?$') && int('0' + self.find('[0-9]+d').replace('d', '')) * 1440 + int('0' + self.find('[0-9]+h').replace('h', '')) * 60 + int('0' + self.find('[0-9]+m').replace('m', '')) >= 60",message="interval must be days, hours and minutes of at least 1h in all, such as 24h, 12h or 7d"
	Interval string `json:"interval,omitempty"`

	// maxRemovals is the most members that one run evicts, 1 to 1000. A plan with
	// more candidates than that waits for a person in every mode.
	// Default: 100. Example: 500.
	//
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxRemovals int32 `json:"maxRemovals,omitempty"`

	// maxRemovalsPerDay is the most members that all runs under policies of this
	// name evict from groups of the app within any 24 hours, 1 to 1000000. Members
	// removed from full groups are counted apart. A run for which nothing is left
	// of it waits with the reason BudgetExhausted.
	// Default: 1000. Example: 200.
	//
	// +optional
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxRemovalsPerDay int32 `json:"maxRemovalsPerDay,omitempty"`

	// notification is Group (the group sees a notice of the removal) or Silent
	// (it does not; the vendor's pages disagree on whether the removed member
	// does).
	// Default: Group. Example: Silent.
	//
	// +optional
	// +kubebuilder:default=Group
	Notification Notification `json:"notification,omitempty"`

	// reason is the text that the removed member is shown, 1 to 256 characters.
	// Default: none. Example: "not a member of this list".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`
}

// PruneRule says whom a run removes from a full group, and how carefully.
type PruneRule struct {
	// mode is Preview (plan, remove nobody), Approve (plan, then wait until a
	// person sets spec.approval of the PruneRun) or Enforce (plan, then remove).
	// No default. Example: Preview.
	//
	// +required
	Mode PruneMode `json:"mode"`

	// inactiveFor is how long a member has neither joined nor spoken before it
	// may be removed: days (d) and hours (h), at least 24h. Sending a message and
	// joining count as activity; reading does not.
	// No default. Example: 30d, 36h or 1d12h.
	//
	// +required
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}d)?([0-9]{1,5}h)?$') && self.matches('[1-9][0-9]*d|([1-9][0-9]{2,}|[3-9][0-9]|2[4-9])h')",message="inactiveFor must be days and hours of at least 24h in all, such as 30d, 36h or 1d12h"
	InactiveFor string `json:"inactiveFor"`

	// freeSeats is the number of free seats at which a run stops: a number of
	// seats from 1 to 1000000, or a percentage of the group's limit from "1%" to
	// "100%", rounded up.
	// Default: "5%". Example: 50.
	//
	// +optional
	// +kubebuilder:default="5%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 1 && int(self) <= 1000000 : string(self).matches('^([1-9][0-9]?|100)%$')",message="freeSeats must be a number of seats from 1 to 1000000, or a percentage from 1% to 100% in quotes, such as 50 or \"5%\""
	FreeSeats *intstr.IntOrString `json:"freeSeats,omitempty"`

	// maxRemovals is the most members that one run removes, 1 to 1000.
	// Default: 100. Example: 500.
	//
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxRemovals int32 `json:"maxRemovals,omitempty"`

	// maxRemovalsPerDay is the most members that all runs under policies of this
	// name remove from groups of the app within any 24 hours, 1 to 1000000. It is
	// counted over the records that the runs leave, so that neither many groups
	// nor a policy that is deleted and made again add up to a purge. A run for
	// which nothing is left of it waits with the reason BudgetExhausted.
	// Default: 1000. Example: 200.
	//
	// +optional
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxRemovalsPerDay int32 `json:"maxRemovalsPerDay,omitempty"`

	// protect names accounts that are never removed. Owner, admins, adminAccount
	// and unknown roles never are. Protected are the accounts of the protect of
	// every governing policy with whenFull.prune. So a list reference that
	// resolves to nothing stops pruning of every group that this policy governs,
	// whichever policy's rule is used: runs wait and remove nobody.
	// Default: absent. Example: {accountPrefixes: ["staff-"]}.
	//
	// +optional
	Protect *AccountSelector `json:"protect,omitempty"`

	// cooldown is the least time between the end of a group's last run that found
	// it full, or failed, and the next run, in days (d), hours (h) and minutes
	// (m); manual runs skip it. In mode Preview it is 6 hours at least, unless the
	// rule was edited since that run.
	// Default: 10m. Example: 10m, 6h or 1d12h.
	//
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,7}m)?$')",message="cooldown must be days, hours and minutes, such as 10m, 6h or 1d12h"
	Cooldown string `json:"cooldown,omitempty"`

	// rejoinAfter is how long a removed account is refused when it applies or is
	// invited to the group again: days (d), hours (h), minutes (m) and seconds (s),
	// at most 30d in all. It is counted from the record of the run's last batch,
	// and refused with the code and message of this policy's join.reject, both as
	// they were when the run was planned. Members added over REST are not refused.
	// 0s refuses nobody.
	// Default: 0s. Example: 7d, 12h or 1h30m.
	//
	// +optional
	// +kubebuilder:default="0s"
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$') && int('0' + self.find('[0-9]+d').replace('d', '')) * 86400 + int('0' + self.find('[0-9]+h').replace('h', '')) * 3600 + int('0' + self.find('[0-9]+m').replace('m', '')) * 60 + int('0' + self.find('[0-9]+s').replace('s', '')) <= 2592000",message="rejoinAfter must be days, hours, minutes and seconds of at most 30d in all, such as 7d, 12h or 1h30m"
	RejoinAfter string `json:"rejoinAfter,omitempty"`

	// notification is Group (the group sees a notice of the removal) or Silent
	// (it does not; the vendor's pages disagree on whether the removed member
	// does).
	// Default: Group. Example: Silent.
	//
	// +optional
	// +kubebuilder:default=Group
	Notification Notification `json:"notification,omitempty"`

	// reason is the text that the removed member is shown, 1 to 256 characters.
	// Default: none. Example: "inactive".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`
}

// WhenFullSection says what happens when a group is full.
type WhenFullSection struct {
	// prune is the rule by which inactive members are removed. The rule of a
	// group is that of the highest-ranked governing policy with whenFull.prune;
	// the others are told so by the condition PruneOverridden.
	// No default. Example: {mode: Preview, inactiveFor: 30d}.
	//
	// +required
	Prune *PruneRule `json:"prune,omitempty"`
}

// GroupPolicySpec says which groups a policy governs, who may join them and what happens when one is full.
//
// +kubebuilder:validation:XValidation:rule="has(self.join) || has(self.whenFull)",message="set at least one of join and whenFull: a policy with neither does nothing"
// +kubebuilder:validation:XValidation:rule="!has(self.join) || !has(self.join.reject) || has(self.join.allow) || has(self.join.deny) || has(self.whenFull) && has(self.whenFull.prune.rejoinAfter) && self.whenFull.prune.rejoinAfter.matches('[1-9]')",message="reject needs an allow, a deny, or a rejoinAfter above 0s: without one this policy rejects nobody; an allow with nothing after it counts as absent, write {} to admit nobody",fieldPath=".join.reject"
type GroupPolicySpec struct {
	// appRef names the IMApp of this namespace whose groups the policy governs;
	// it cannot be changed.
	// No default. Example: {name: prod}.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="appRef cannot be changed: create another GroupPolicy for another app"
	AppRef AppReference `json:"appRef"`

	// groups pick the groups of the app by id, 1 to 256 matchers, any of which
	// may match. A policy governs the groups whose id matches and whose type is
	// among groupTypes, if set.
	//
	// Several policies may govern a group. Rank is a total order over the best
	// matcher that matches: Exact before Prefix, longer prefix before shorter,
	// Prefix before All; then older creationTimestamp; then name. Rank chooses
	// only the code, the message and the prune rule.
	// No default. Example: [{type: Prefix, value: "vip-"}].
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Groups []GroupMatcher `json:"groups"`

	// groupTypes narrow the policy to groups of these types, 1 to 5 of Work,
	// Public, Meeting, AVChatRoom, Community. Aliases: Private=Work,
	// ChatRoom=Meeting, Live=BChatRoom=AVChatRoom. If a callback about a join
	// names no group type, or one that Groupgate does not know, groupTypes does
	// not exclude the policy: the gate stays closed. A group of unknown type is
	// never pruned.
	// Default: unset, every type. Example: [Public, Community].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	GroupTypes []GroupType `json:"groupTypes,omitempty"`

	// join says who may join; at least one of join and whenFull is set. A join
	// section has a say in a join, and is said to speak, if its policy governs
	// the group, its mode is Enforce and triggers lists the way in. The verdict is
	// the first of these that holds:
	//
	// 0. a run removed the account from this group, its refuse.until lies ahead,
	// and the trigger is Apply or Invite: reject, with the code and message
	// recorded there; of several runs, those of the one that refuses for longest;
	// 1. a section that speaks denies: reject, with the reject of the
	// highest-ranked of those;
	// 1b. an undo is adding the account back to this group, the trigger is RESTAPI
	// and the operator is the adminAccount of the IMApp: admit;
	// 2. one allows: admit;
	// 3. one has allow: reject, with the reject of the highest-ranked of those;
	// 4. one speaks: admit;
	// 5. none speaks: unmatchedGroups of the IMApp.
	//
	// So who is admitted is the union of all allow minus the union of all deny;
	// rank chooses only the code, the message and the prune rule. Admission means
	// "the IM backend may go on": a group that needs an admin's approval still
	// needs it.
	// Default: absent, the policy has no say in joins. Example: {allow: {lists:
	// [{name: vip-0}]}}.
	//
	// +optional
	Join *JoinSection `json:"join,omitempty"`

	// whenFull says what happens when a governed group is full; at least one of
	// join and whenFull is set.
	// Default: absent, nothing happens. Example: {prune: {mode: Preview,
	// inactiveFor: 30d}}.
	//
	// +optional
	WhenFull *WhenFullSection `json:"whenFull,omitempty"`
}

// Gate says what a policy does to joins.
//
// +kubebuilder:validation:Enum=Allow;Deny;Allow+Deny;Audit;None
type Gate string

const (
	// GateAllow admits only the accounts of allow.
	GateAllow Gate = "Allow"
	// GateDeny rejects the accounts of deny.
	GateDeny Gate = "Deny"
	// GateAllowAndDeny admits only the accounts of allow that deny does not name.
	GateAllowAndDeny Gate = "Allow+Deny"
	// GateAudit evaluates and counts, and never rejects.
	GateAudit Gate = "Audit"
	// GateNone rejects no account.
	GateNone Gate = "None"
)

// GroupPolicyStatus is what the controllers found out about a GroupPolicy.
type GroupPolicyStatus struct {
	// observedGeneration is the metadata.generation that the conditions speak
	// about; -1 until a controller has looked.
	// Default: -1. Example: 3.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// gate sums up the join section: Allow or Allow+Deny (an allow is present, so
	// that only its accounts are admitted), Deny, Audit (the mode, which never
	// rejects) or None (the section is absent, or has neither).
	// Default: absent until a controller has looked. Example: Allow+Deny.
	//
	// +optional
	Gate Gate `json:"gate,omitempty"`

	// groups sums up the matchers: the first one, with a * for the rest of a
	// prefix, and how many more there are; at most 512 characters.
	// Default: absent until a controller has looked. Example: "vip-* and 2 more".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Groups string `json:"groups,omitempty"`

	// conditions are Accepted, ResolvedRefs, Ready, Stalled while Accepted is
	// False, PruneOverridden where another policy's prune rule goes first,
	// RoundBehind where the look at all members takes longer than join.evict.interval, and
	// Warning where the policy does something else than what it seems to say.
	// Ready means that the leader has published this generation; other replicas
	// follow within a second.
	// Default: Ready=Unknown with reason Pending. Example: ResolvedRefs=False with
	// reason ListNotFound.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:default={{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator: is this namespace among those it watches?", lastTransitionTime: "1970-01-01T00:00:00Z"}}
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GroupPolicy says who may join which groups of an app, and what happens when such a group is full.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=grouppolicies,singular=grouppolicy,shortName=ggp,categories=groupgate
// +kubebuilder:selectablefield:JSONPath=`.spec.appRef.name`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.appRef.name`
// +kubebuilder:printcolumn:name="Gate",type=string,JSONPath=`.status.gate`
// +kubebuilder:printcolumn:name="Prune",type=string,JSONPath=`.spec.whenFull.prune.mode`
// +kubebuilder:printcolumn:name="Evict",type=string,JSONPath=`.spec.join.evict.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Groups",type=string,JSONPath=`.status.groups`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type GroupPolicy struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. Example: {name: vip-lounge}.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says what the policy governs and how.
	// No default. Example: see the fields.
	//
	// +required
	Spec GroupPolicySpec `json:"spec"`

	// status is what the controllers found out.
	// Default: Ready=Unknown with reason Pending. Example: see the fields.
	//
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status GroupPolicyStatus `json:"status,omitzero"`
}

// GroupPolicyList is a list of GroupPolicies.
//
// +kubebuilder:object:root=true
type GroupPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []GroupPolicy `json:"items"`
}
