package policy

import (
	"iter"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Acceptance says whether a policy is in force.
type Acceptance uint8

// The acceptances.
const (
	// Accepted policies govern their groups.
	Accepted Acceptance = iota
	// TargetNotFound policies name an IMApp that is missing or conflicted. They govern nothing.
	TargetNotFound
	// Invalid policies hold a value that the schema could not rule out. They still rank among the others, admit no
	// account by themselves, and remove none.
	Invalid
)

var acceptanceNames = [...]string{"Accepted", "TargetNotFound", "Invalid"}

// String returns the reason of the API's Accepted condition.
func (a Acceptance) String() string {
	if int(a) < len(acceptanceNames) {
		return acceptanceNames[a]
	}
	return "Unknown"
}

// AppRefusal says why an app refuses every callback.
type AppRefusal uint8

// The reasons; NotRefused is none.
const (
	NotRefused AppRefusal = iota
	RefusedSecretNotFound
	RefusedTokenMissing
)

var appRefusalNames = [...]string{"", "SecretNotFound", "TokenMissing"}

// String returns the reason of the API's ResolvedRefs condition.
func (r AppRefusal) String() string {
	if int(r) < len(appRefusalNames) {
		return appRefusalNames[r]
	}
	return "Unknown"
}

// PolicyVerdict is the status of one policy. Verdicts are compared with ==.
type PolicyVerdict struct {
	Object
	Acceptance Acceptance
	// Message says why a policy is not accepted; empty when it is.
	Message string
	// MissingRefs lists the references that resolve to no AccountList, in the order of the fields, separated by "; ";
	// of more than 10 it names the first and counts the rest.
	MissingRefs string
	// OverriddenBy is the name of a higher-ranked policy whose rule goes before this one's in every group of
	// OverriddenMatcher, a matcher of this policy. Both are empty when there is none.
	OverriddenBy      string
	OverriddenMatcher string
	// AppRefusal says that the app refuses every callback, so that the policy decides nothing.
	AppRefusal AppRefusal
}

// AppVerdict is the status of one app. Verdicts are compared with ==.
type AppVerdict struct {
	Object
	// HeldBy is the "namespace/name" of the app that holds the SDKAppID, when that is another one.
	HeldBy string
	// Unconfirmed is that of the App: it may be why another one holds the SDKAppID.
	Unconfirmed      bool
	SecretFound      bool
	SecretKeyPresent bool
	// TokenMissing says that callbacks need a token and the current one is missing. CallbacksRefused says that there is
	// no previous one either, so that every callback is refused.
	TokenMissing     bool
	CallbacksRefused bool
	// PruningSuspended says that no key for REST calls is needed.
	PruningSuspended bool
}

// ListVerdict is the status of one list. Verdicts are compared with ==.
type ListVerdict struct {
	Object
	// Accounts is the number of distinct accounts.
	Accounts int
}

type (
	policyVerdicts = ordered[PolicyVerdict, *PolicyVerdict]
	appVerdicts    = ordered[AppVerdict, *AppVerdict]
	compiledLists  = ordered[compiledList, *compiledList]
)

// compiledList is a list in a snapshot.
type compiledList struct {
	ListVerdict
	set accounts.Set
}

func verdictsOn(lists iter.Seq[compiledList]) iter.Seq[ListVerdict] {
	return func(yield func(ListVerdict) bool) {
		for l := range lists {
			if !yield(l.ListVerdict) {
				return
			}
		}
	}
}
