package policy

import (
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Input is everything that decisions depend on, in any order. Objects of one kind have different names, and refusals
// different UIDs.
type Input struct {
	Apps     []App
	Lists    []List
	Policies []Policy
	Refusals []Refusal
}

// Object is the identity of one version of one API object.
type Object struct {
	Namespace  string
	Name       string
	UID        string
	Generation int64
	// Created is the creation timestamp. Kubernetes records whole seconds, so that ties are common.
	Created time.Time
}

// Names returns what names the object among those of its kind. Verdicts, which embed an Object, have it too.
func (o Object) Names() (namespace, name string) { return o.Namespace, o.Name }

// Key is "namespace/name".
func (o Object) Key() string { return o.Namespace + "/" + o.Name }

// objectName identifies an object among those of its kind at any one time.
type objectName struct{ namespace, name string }

func (n objectName) compare(other objectName) int {
	if order := strings.Compare(n.namespace, other.namespace); order != 0 {
		return order
	}
	return strings.Compare(n.name, other.name)
}

func (o *Object) objectName() objectName { return objectName{o.Namespace, o.Name} }

// comparable returns o with its time in a form that == compares as [time.Time.Equal] does.
func (o Object) comparable() Object {
	o.Created = o.Created.Round(0).UTC()
	return o
}

// byAge orders objects that compete for something: the older first, then by name. The UID makes the order total.
func byAge(a, b *Object) int {
	if order := a.Created.Compare(b.Created); order != 0 {
		return order
	}
	if order := a.objectName().compare(b.objectName()); order != 0 {
		return order
	}
	return strings.Compare(a.UID, b.UID)
}

// App is one app of the vendor together with the content of its Secret.
type App struct {
	Object
	SDKAppID uint64
	// AdminAccount signs REST calls and is never removed from a group.
	AdminAccount   string
	Authentication Authentication
	// Tokens verify callbacks; each one of them does. Tokens without a value are dropped.
	Tokens []Token
	// RejectUnmatched refuses a join for which no join section speaks.
	RejectUnmatched  bool
	PruningSuspended bool
	// SecretFound says that the Secret exists and may be read, SecretKeyPresent that it holds the key for REST calls.
	SecretFound      bool
	SecretKeyPresent bool
	// Unconfirmed says that the app has not been watched for so long that it may have been deleted. It serves as
	// before, but holds its SDKAppID against no app that is known to exist.
	Unconfirmed bool
}

// Authentication says how a callback proves that the vendor sent it.
type Authentication uint8

// The ways of authentication. AuthenticateToken without a token refuses every callback.
const (
	AuthenticateToken Authentication = iota
	AuthenticateNone
)

// TokenName tells the tokens of an app apart in metrics.
type TokenName string

// The tokens of an app; both are valid during a rotation.
const (
	TokenCurrent  TokenName = "current"
	TokenPrevious TokenName = "previous"
)

// Token is one callback token.
type Token struct {
	Name  TokenName
	Value Secret
}

// List is an AccountList.
type List struct {
	Object
	Labels   map[string]string
	Accounts accounts.Set
}

// Refusal is the part of a PruneRun's record that concerns joins: the accounts that the run removed from a group, and
// either how long they are refused or that an undo is adding them back.
type Refusal struct {
	// Namespace and App name the app, Group the group.
	Namespace, App, Group string
	// SDKAppID, if it is known, says which app it is, whatever its name is now; 0 goes by the name.
	SDKAppID uint64
	// UID is that of the run, which has at most one refusal, and Run its name.
	UID, Run string
	// Accounts longer than [accounts.MaxBytes] are left out.
	Accounts []string
	// Until is when the accounts may apply and be invited again; zero if they are not refused. Reject answers them
	// before. If Restored, it is when no additions of theirs are reported any more.
	Until  time.Time
	Reject Rejection
	// Restoring says that the accounts are being added back: the app's admin account may add them over REST unless a
	// section denies them.
	Restoring bool
	// Restored says that an undo has added the accounts back. They are not refused, and reports of their additions may
	// still come.
	Restored bool
}

// Policy is a GroupPolicy.
type Policy struct {
	Object
	// App is the name of the IMApp, in the policy's own namespace.
	App    string
	Groups []GroupMatcher
	// Types filters the groups; the zero value lets every type pass.
	Types TypeSet
	// Join is nil when the policy says nothing about joins, Prune when it says nothing about full groups.
	Join  *JoinSection
	Prune *PruneRule
	// Invalid says which fields cannot be read; empty if all can. An invalid policy still ranks among the others,
	// denies and protects with the fields that can be read, admits no account by itself and removes none.
	Invalid string
}

// JoinSection says who may join.
type JoinSection struct {
	// Audit evaluates the section without ever letting it speak.
	Audit bool
	// Triggers are the ways of joining that the section speaks about; the zero value stands for all of them.
	Triggers TriggerSet
	// Allow nil is no gate. An empty one is a gate that admits no account by itself.
	Allow  *AccountSelector
	Deny   *AccountSelector
	Reject Rejection
	// Evict is nil when members stay whom the section refuses.
	Evict *EvictRule
}

// EvictRule says how members are removed whom the gate of their group refuses.
type EvictRule struct {
	Mode PruneMode
	// Grace is how long an account must have been a member: 0..30 days.
	Grace time.Duration
	// Interval is within which time every governed group is looked at: at least 1 hour.
	Interval time.Duration
	// MaxRemovals bounds one run: 1..1000.
	MaxRemovals int
	// MaxRemovalsPerDay bounds all runs under policies of this name together, within any 24 hours: 1..1,000,000.
	MaxRemovalsPerDay int
	Silent            bool
	Reason            string
}

// Trigger is the way in which an account is about to join.
type Trigger uint8

// The triggers: an application, an invitation by a client, members added over the vendor's REST API.
const (
	TriggerApply Trigger = iota
	TriggerInvite
	TriggerRESTAPI
)

var triggerNames = [...]string{"Apply", "Invite", "RESTAPI"}

// String returns the spelling of the API.
func (t Trigger) String() string {
	if int(t) < len(triggerNames) {
		return triggerNames[t]
	}
	return "Unknown"
}

// TriggerSet is a set of triggers. The zero value stands for all of them.
type TriggerSet uint8

// everyTrigger holds all the triggers there are.
const everyTrigger TriggerSet = 1<<TriggerApply | 1<<TriggerInvite | 1<<TriggerRESTAPI

// NewTriggerSet returns the set of the given triggers; of none, the set that stands for all of them.
func NewTriggerSet(triggers ...Trigger) TriggerSet {
	var s TriggerSet
	for _, t := range triggers {
		s |= 1 << t
	}
	return s
}

// holds reports whether the set contains t. A trigger that does not exist is in every set, so that no gate opens for
// it.
func (s TriggerSet) holds(t Trigger) bool {
	return s == 0 || int(t) >= len(triggerNames) || s&(1<<t) != 0
}

// known returns the triggers of the set that exist; none of them stands for none.
func (s TriggerSet) known() TriggerSet {
	if s == 0 {
		return everyTrigger
	}
	return s & everyTrigger
}

// Rejection is the answer to a refused join.
type Rejection struct {
	// Code 10100..10200 reaches the client together with the message. Any other value counts as unset: the answer is 1,
	// without a message.
	Code    int32
	Message string
}

// AccountSelector is a set of accounts, compared byte for byte: the union of its fields.
type AccountSelector struct {
	Accounts []string
	Prefixes []string
	Lists    []ListRef
	// Invalid says which fields cannot be read; empty if all can. It makes the policy invalid.
	Invalid string
}

// ListRef refers to lists of the policy's own namespace: exactly one of Name and Selector is set.
type ListRef struct {
	Name     string
	Selector *Selector
}

// PruneMode says what a plan is for.
type PruneMode uint8

// The modes. Preview, the zero value, only plans; Approve removes once the plan is approved.
const (
	ModePreview PruneMode = iota
	ModeApprove
	ModeEnforce
)

// String returns the spelling of the API.
func (m PruneMode) String() string {
	switch m {
	case ModePreview:
		return "Preview"
	case ModeApprove:
		return "Approve"
	case ModeEnforce:
		return "Enforce"
	}
	return "Unknown"
}

// PruneRule says which members to remove from a full group.
type PruneRule struct {
	Mode PruneMode
	// InactiveFor is how long a member must neither have joined nor spoken: at least 24 hours.
	InactiveFor time.Duration
	FreeSeats   Seats
	// MaxRemovals bounds one run: 1..1000.
	MaxRemovals int
	// MaxRemovalsPerDay bounds all runs under policies of this name together, within any 24 hours: 1..1,000,000.
	MaxRemovalsPerDay int
	// Protect is never removed. It is nil in the rule of a [GoverningRule]: ask [GoverningRule.Protects].
	Protect  *AccountSelector
	Cooldown time.Duration
	// RejoinAfter is how long removed accounts are refused: 0..30 days. Reject, that of the policy's join section,
	// answers them.
	RejoinAfter time.Duration
	Reject      Rejection
	Silent      bool
	Reason      string
}

// Seats is a number of seats, absolute or as a percentage of the group's limit. Exactly one of the two is set.
type Seats struct {
	Count   int
	Percent int
}

// Of returns the number of seats in a group of the given limit: never more than the limit, percentages rounded up.
func (s Seats) Of(limit int) int {
	switch {
	case limit <= 0:
		return 0
	case s.Count > 0:
		return min(s.Count, limit)
	case s.Percent <= 0:
		return 0
	case s.Percent >= 100:
		return limit
	}
	// Computed in two steps, so that no limit overflows.
	return limit/100*s.Percent + (limit%100*s.Percent+99)/100
}

func quote(s string) string { return strconv.Quote(s) }
