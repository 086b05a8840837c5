package policy

import (
	"strconv"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Input is everything that decisions depend on, in any order.
type Input struct {
	Apps     []App
	Lists    []List
	Policies []Policy
	Refusals []Refusal
}

// Refusal is what a prune run has written down that matters to joins: the accounts that it removed from a group, and either how
// long they are refused or that they are being added back.
type Refusal struct {
	// Namespace and App name the app, Group the group.
	Namespace, App, Group string
	// UID is that of the run. There is one record of a UID.
	UID string
	// Accounts longer than 255 bytes cannot be on it and are left out.
	Accounts []string
	// Until is when the accounts may apply and be invited again, Reject what they are told before. Zero: they are not refused.
	Until  time.Time
	Reject Rejection
	// Restoring says that the accounts are being added back: the app's admin account may add them over REST unless a section denies
	// them.
	Restoring bool
}

// App is one app of the vendor together with what was found in its Secret.
type App struct {
	Object
	SDKAppID uint64
	// AdminAccount signs REST calls and is never removed from a group.
	AdminAccount   string
	Authentication Authentication
	// Tokens verify callbacks; each one of them does. Tokens without a value are dropped.
	Tokens []Token
	// RejectUnmatched refuses a join that no join section speaks about.
	RejectUnmatched  bool
	PruningSuspended bool
	// SecretFound says that the Secret exists and may be read, SecretKeyPresent that it holds the key for REST calls.
	SecretFound      bool
	SecretKeyPresent bool
}

// Authentication says how callbacks prove that they are the vendor's.
type Authentication uint8

// The ways of authentication. AuthenticateToken without a token refuses every callback.
const (
	AuthenticateToken Authentication = iota
	AuthenticateNone
)

// TokenName tells the tokens of an app apart in metrics.
type TokenName string

// The tokens of an app; two of them hold during a rotation.
const (
	TokenCurrent  TokenName = "current"
	TokenPrevious TokenName = "previous"
)

// Token is one callback token.
type Token struct {
	Name  TokenName
	Value Secret
}

// List is an AccountList. Accounts longer than 255 bytes cannot be on it and are left out.
type List struct {
	Object
	Labels   map[string]string
	Accounts accounts.Set
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
	// Invalid says what is wrong with the policy; empty when nothing is. An invalid policy keeps its place: it admits
	// nobody by itself, still denies and protects what can be read of it, and removes nobody.
	Invalid string
}

// JoinSection says who may join.
type JoinSection struct {
	// Audit evaluates the section without ever letting it speak.
	Audit bool
	// Triggers are the ways of joining that the section speaks about; the zero value stands for all of them.
	Triggers TriggerSet
	// Allow nil is no gate. Present and empty it admits nobody by itself.
	Allow  *AccountSelector
	Deny   *AccountSelector
	Reject Rejection
}

// Trigger is the way in which somebody is about to join.
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

// NewTriggerSet returns the set of the given triggers; of none, the set that stands for all of them.
func NewTriggerSet(triggers ...Trigger) TriggerSet {
	var s TriggerSet
	for _, t := range triggers {
		s |= 1 << t
	}
	return s
}

// holds reports whether the set contains t. A trigger that does not exist is in every set, so that no gate opens for it.
func (s TriggerSet) holds(t Trigger) bool {
	return s == 0 || int(t) >= len(triggerNames) || s&(1<<t) != 0
}

// Rejection is what a refused user is told.
type Rejection struct {
	// Code 10100..10200 reaches the client together with the message. Any other value counts as unset: the answer is 1,
	// without a message.
	Code    int32
	Message string
}

// AccountSelector is a set of accounts, compared byte for byte: the union of its parts.
type AccountSelector struct {
	Accounts []string
	Prefixes []string
	Lists    []ListRef
	// Invalid says what could not be read of the selector; empty when nothing. It makes the policy invalid.
	Invalid string
}

// ListRef refers to lists of the policy's own namespace: exactly one of Name and Selector is set.
type ListRef struct {
	Name     string
	Selector *Selector
}

// PruneMode says what a plan is for.
type PruneMode uint8

// The modes. Preview, the zero value, plans and removes nobody; Approve removes once a person says so.
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

// PruneRule says whom to remove from a full group.
type PruneRule struct {
	Mode PruneMode
	// InactiveFor is how long a member has neither joined nor spoken; at least 24 hours.
	InactiveFor time.Duration
	FreeSeats   Seats
	// MaxRemovals bounds one run: 1..1000.
	MaxRemovals int
	// MaxRemovalsPerDay bounds all runs under policies of this name together, within any 24 hours: at least 1.
	MaxRemovalsPerDay int
	// Protect is never removed. In a rule handed out by [CompiledApp.GoverningRule] it is nil: ask [GoverningRule.Protects].
	Protect  *AccountSelector
	Cooldown time.Duration
	// RejoinAfter is how long removed accounts are refused: 0..30 days. Reject is what they are told, that of the policy's join section.
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
	// In two parts, so that no limit overflows.
	return limit/100*s.Percent + (limit%100*s.Percent+99)/100
}

func quote(s string) string { return strconv.Quote(s) }
