package policy

import (
	"iter"
	"slices"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Acceptance says what became of a policy.
type Acceptance uint8

// The acceptances.
const (
	// Accepted policies govern their groups.
	Accepted Acceptance = iota
	// TargetNotFound policies name an IMApp that is missing or conflicted. They govern nothing.
	TargetNotFound
	// Invalid policies hold a value that the schema could not rule out. They keep their place, admit nobody by
	// themselves, and remove nobody.
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

// PolicyVerdict says what became of one policy. Verdicts are compared with ==.
type PolicyVerdict struct {
	Object
	Acceptance Acceptance
	// Message says why a policy is not accepted; empty when it is.
	Message string
	// MissingRefs lists the references that resolve to no AccountList, in the order of the fields, separated by "; ";
	// of more than 10 it names the first and counts the rest.
	MissingRefs string
	// OverriddenBy is the name of a higher-ranked policy whose rule takes every group of OverriddenMatcher, a matcher of
	// this policy. Both are empty when there is none.
	OverriddenBy      string
	OverriddenMatcher string
}

// AppVerdict says what became of one app. Verdicts are compared with ==.
type AppVerdict struct {
	Object
	// HeldBy is the "namespace/name" of the app that holds the SDKAppID, when that is another one.
	HeldBy           string
	SecretFound      bool
	SecretKeyPresent bool
	// TokenMissing says that callbacks need a token and there is none, so that every callback is refused.
	TokenMissing bool
	// PruningSuspended says that no key for REST calls is needed.
	PruningSuspended bool
}

// ListVerdict says what became of one list. Verdicts are compared with ==.
type ListVerdict struct {
	Object
	// Accounts is the number of distinct accounts.
	Accounts int
}

// verdicts are those on all objects of one kind, ordered by name. They never change; edited returns others.
type verdicts[V comparable, P interface {
	*V
	objectName() objectName
}] []*V

type (
	policyVerdicts = verdicts[PolicyVerdict, *PolicyVerdict]
	appVerdicts    = verdicts[AppVerdict, *AppVerdict]
	compiledLists  = verdicts[compiledList, *compiledList]
)

// compiledList is a list as a snapshot holds it.
type compiledList struct {
	ListVerdict
	accounts accounts.Set
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

// edited returns the verdicts with those that changed in their places; nil stands for an object that is gone. What is the same
// as before stays the very same, which since tells by its address.
func (v verdicts[V, P]) edited(changed map[objectName]*V) verdicts[V, P] {
	names := make([]objectName, 0, len(changed))
	for name, now := range changed {
		if before := v.find(name); before != now && (before == nil || now == nil || *before != *now) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return v
	}
	slices.SortFunc(names, objectName.compare)
	edited := make(verdicts[V, P], 0, len(v)+len(names))
	for _, name := range names {
		at, found := v.search(name)
		edited = append(edited, v[:at]...)
		if now := changed[name]; now != nil {
			edited = append(edited, now)
		}
		if found {
			at++
		}
		v = v[at:]
	}
	return append(edited, v...)
}

func (v verdicts[V, P]) search(name objectName) (at int, found bool) {
	return slices.BinarySearchFunc(v, name, func(v *V, name objectName) int { return P(v).objectName().compare(name) })
}

// find returns the verdict on the object of that name, or nil.
func (v verdicts[V, P]) find(name objectName) *V {
	at, found := v.search(name)
	if !found {
		return nil
	}
	return v[at]
}

// all yields the verdicts in their order.
func (v verdicts[V, P]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, verdict := range v {
			if !yield(*verdict) {
				return
			}
		}
	}
}

// since yields the verdicts that are not the same in before, which costs no more than a look at the addresses of both.
func (v verdicts[V, P]) since(before verdicts[V, P]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, verdict := range v {
			for len(before) > 0 && before[0] != verdict && P(before[0]).objectName().compare(P(verdict).objectName()) < 0 {
				before = before[1:]
			}
			if len(before) > 0 && before[0] == verdict {
				before = before[1:]
				continue
			}
			if !yield(*verdict) {
				return
			}
		}
	}
}
