package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Region is the data center of an app. It selects the REST host; it is never a
// URL, so that whoever writes an IMApp cannot aim signed requests at a host of
// their choice.
//
// +kubebuilder:validation:Enum=China;Singapore;Seoul;Tokyo;Frankfurt;SiliconValley;Jakarta;Riyadh
type Region string

// The regions of Tencent Cloud Chat.
const (
	RegionChina         Region = "China"
	RegionSingapore     Region = "Singapore"
	RegionSeoul         Region = "Seoul"
	RegionTokyo         Region = "Tokyo"
	RegionFrankfurt     Region = "Frankfurt"
	RegionSiliconValley Region = "SiliconValley"
	RegionJakarta       Region = "Jakarta"
	RegionRiyadh        Region = "Riyadh"
)

// CallbackAuthentication says how callbacks of an app prove where they come from.
//
// +kubebuilder:validation:Enum=Token;None
type CallbackAuthentication string

const (
	// CallbackAuthenticationToken demands a signature made with a callback token of the credentials Secret.
	CallbackAuthenticationToken CallbackAuthentication = "Token"
	// CallbackAuthenticationNone believes every callback that names the SDKAppID.
	CallbackAuthenticationNone CallbackAuthentication = "None"
)

// UnmatchedGroups is the answer to a join that no join section speaks about.
//
// +kubebuilder:validation:Enum=Allow;Reject
type UnmatchedGroups string

const (
	// UnmatchedGroupsAllow admits.
	UnmatchedGroupsAllow UnmatchedGroups = "Allow"
	// UnmatchedGroupsReject rejects with code 1.
	UnmatchedGroupsReject UnmatchedGroups = "Reject"
)

// PruningState is the kill switch of pruning.
//
// +kubebuilder:validation:Enum=Enabled;Suspended
type PruningState string

const (
	// PruningEnabled lets runs remove members.
	PruningEnabled PruningState = "Enabled"
	// PruningSuspended ends every run before its next removal.
	PruningSuspended PruningState = "Suspended"
)

// CredentialsSecretReference names a Secret of the same namespace.
type CredentialsSecretReference struct {
	// name is the name of the Secret, 1 to 253 characters.
	// No default. Example: prod-im.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// RESTSettings bounds how the IM REST API is used.
type RESTSettings struct {
	// requestsPerSecond is the most REST calls per second of this app, all kinds
	// of calls together, 1 to 200.
	// Default: 20. Example: 50.
	//
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=200
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`
}

// NoticeLanguage is the language of messages into the group of NotifySettings.
//
// +kubebuilder:validation:Enum=English;Chinese
type NoticeLanguage string

const (
	// NoticeLanguageEnglish is English.
	NoticeLanguageEnglish NoticeLanguage = "English"
	// NoticeLanguageChinese is Simplified Chinese.
	NoticeLanguageChinese NoticeLanguage = "Chinese"
)

// NotifySettings says which group is told of plans that await approval.
type NotifySettings struct {
	// group is the id of a group of this app, 1 to 255 characters, into which the
	// adminAccount sends one message for each plan that awaits approval: the group,
	// how many members are to go, and until when. All its members read that, so
	// take a group of moderators that nobody else can join. A plan for this group
	// itself is not told of.
	// No default. Example: moderators.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Group string `json:"group"`

	// language is that of the messages: English, or Chinese (simplified).
	// Default: English. Example: Chinese.
	//
	// +optional
	// +kubebuilder:default=English
	Language NoticeLanguage `json:"language,omitempty"`
}

// IMAppSpec describes one Tencent Cloud Chat app.
type IMAppSpec struct {
	// sdkAppID is the number of the app in the vendor's console, 1 to
	// 9007199254740991; it cannot be changed. Two IMApps with one sdkAppID: the
	// older (then namespace, then name) holds it until it is gone; the other is
	// Accepted=False with reason Conflicted.
	// No default. Example: 1400000000.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="sdkAppID cannot be changed: create another IMApp for another app"
	SDKAppID int64 `json:"sdkAppID"`

	// region is the data center of the app and selects the host that REST calls
	// go to: China, Singapore, Seoul, Tokyo, Frankfurt, SiliconValley, Jakarta or
	// Riyadh.
	// No default. Example: Singapore.
	//
	// +required
	Region Region `json:"region"`

	// adminAccount is the account that REST calls are signed for, 1 to 32 bytes:
	// an app administrator in the vendor's console. It is never removed from a
	// group.
	// No default. Example: administrator.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 32",message="adminAccount must be at most 32 bytes of UTF-8"
	AdminAccount string `json:"adminAccount"`

	// credentialsSecretRef names the Secret of the same namespace that holds the
	// app's credentials. The Secret must carry the label
	// groupgate.io/credentials: "true". Keys: secretKey (signs REST calls; needed
	// to prune), callbackToken and, while a token is being replaced,
	// previousCallbackToken. One trailing newline is cut from every value; an
	// empty value counts as an absent key.
	// No default. Example: {name: prod-im}.
	//
	// +required
	CredentialsSecretRef CredentialsSecretReference `json:"credentialsSecretRef"`

	// callbackAuthentication is Token (callbacks must be signed with a token of
	// the Secret; without a token there, every callback is refused) or None
	// (whoever knows the URL and the SDKAppID is believed).
	// Default: Token. Example: Token.
	//
	// +optional
	// +kubebuilder:default=Token
	CallbackAuthentication CallbackAuthentication `json:"callbackAuthentication,omitempty"`

	// unmatchedGroups is the answer to a join that no policy's join section
	// speaks about: Allow or Reject.
	// Default: Allow. Example: Reject.
	//
	// +optional
	// +kubebuilder:default=Allow
	UnmatchedGroups UnmatchedGroups `json:"unmatchedGroups,omitempty"`

	// rest bounds how the IM REST API is used for this app.
	// Default: {requestsPerSecond: 20}. Example: {requestsPerSecond: 50}.
	//
	// +optional
	// +kubebuilder:default={}
	REST RESTSettings `json:"rest,omitzero"`

	// pruning is the kill switch of the app: Enabled, or Suspended, which removes
	// nobody, starts only manual runs, and ends every run before its next
	// removal. Read live before every removal.
	// Default: Enabled. Example: Suspended.
	//
	// +optional
	// +kubebuilder:default=Enabled
	Pruning PruningState `json:"pruning,omitempty"`

	// notify has a message sent into a group whenever a plan awaits approval.
	// Default: absent, no messages. Example: {group: moderators}.
	//
	// +optional
	Notify *NotifySettings `json:"notify,omitempty"`
}

// EvictRound is the look at all members of all groups of an app that join.evict of a policy governs.
type EvictRound struct {
	// startedAt is when the round began, in UTC.
	// No default. Example: "2026-11-20T09:30:00Z".
	//
	// +required
	StartedAt metav1.Time `json:"startedAt"`

	// finishedAt is when every governed group had been looked at, in UTC.
	// Default: absent, under way. Example: "2026-11-20T10:10:00Z".
	//
	// +optional
	FinishedAt metav1.Time `json:"finishedAt,omitzero"`

	// lastFinishedStart is when the last round began that came to its end, in UTC:
	// every governed group has been looked at since.
	// Default: absent, none yet. Example: "2026-11-19T09:30:00Z".
	//
	// +optional
	LastFinishedStart metav1.Time `json:"lastFinishedStart,omitzero"`

	// lastTookSeconds is how long that round took, in seconds, at least 0.
	// Default: absent, none yet. Example: 2400.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	LastTookSeconds int64 `json:"lastTookSeconds,omitempty"`

	// why is what the round was started by: Interval, Gap (no replica was ready
	// for a time) or RulesChanged (a policy with join.evict is new or was edited,
	// the adminAccount was edited, or a list that was missing is there again).
	// No default. Example: Interval.
	//
	// +required
	// +kubebuilder:validation:Enum=Interval;Gap;RulesChanged
	Why string `json:"why"`

	// groups is how many groups were looked at so far, at least 0.
	// No default. Example: 812.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Groups int64 `json:"groups"`

	// runs is how many of them needed a PruneRun, at least 0.
	// No default. Example: 2.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Runs int64 `json:"runs"`

	// position is where the round goes on if another replica takes over, at most
	// 512 characters; written about once a minute. Groups that policies name
	// exactly come first, then the pages of the app's groups.
	// Default: absent, at the beginning. Example: "page 4711 after lounge".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Position string `json:"position,omitempty"`

	// rules identifies what was enforced when the round began, or since then when
	// all groups that a change concerns had been looked at: the policies with
	// join.evict, and what the gates of their groups say, 16 hex digits.
	// Default: absent, not known, or groups were left out whose lists were missing
	// or empty. Example: 6f1c2a9b3d41e07f.
	//
	// +optional
	// +kubebuilder:validation:Pattern="^[0-9a-f]{16}$"
	// +kubebuilder:validation:MaxLength=16
	Rules string `json:"rules,omitempty"`
}

// IMAppStatus is what the controllers found out about an IMApp.
type IMAppStatus struct {
	// observedGeneration is the metadata.generation that the conditions speak
	// about; -1 until a controller has looked.
	// Default: -1. Example: 3.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// round is the latest look at all members of all groups that a policy with
	// join.evict governs.
	// Default: absent, no policy has join.evict, or none was looked at yet.
	// Example: see the fields.
	//
	// +optional
	Round *EvictRound `json:"round,omitempty"`

	// conditions are Accepted, ResolvedRefs, Ready, VendorReachable, Stalled while
	// Accepted is False, and Warning where callbacks are not authenticated. Ready
	// means that the leader has published this generation; other replicas follow
	// within a second. VendorReachable says how REST calls fare and is never part
	// of Ready.
	// Default: Ready=Unknown with reason Pending. Example: Accepted=False with
	// reason Conflicted.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:default={{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator: is this namespace among those it watches?", lastTransitionTime: "1970-01-01T00:00:00Z"}}
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IMApp is one Tencent Cloud Chat app: its number, its credentials and its switches.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=imapps,singular=imapp,categories=groupgate
// +kubebuilder:printcolumn:name="SDKAppID",type=integer,format=int64,JSONPath=`.spec.sdkAppID`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.region`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must be at most 63 characters: it becomes a label value of every PruneRun"
type IMApp struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata; metadata.name is at most 63
	// characters. Example: {name: prod}.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec describes the app.
	// No default. Example: see the fields.
	//
	// +required
	Spec IMAppSpec `json:"spec"`

	// status is what the controllers found out.
	// Default: Ready=Unknown with reason Pending. Example: see the fields.
	//
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status IMAppStatus `json:"status,omitzero"`
}

// IMAppList is a list of IMApps.
//
// +kubebuilder:object:root=true
type IMAppList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []IMApp `json:"items"`
}
