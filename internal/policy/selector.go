package policy

import (
	"slices"
	"strings"
)

// Selector selects lists by their labels: every requirement must hold. Without requirements it selects every list.
type Selector []Requirement

// Requirement is one condition on one label, with the meaning that Kubernetes gives it.
type Requirement struct {
	Key    string
	Op     Operator
	Values []string
}

// Operator relates a label to the values of a requirement, in the spelling of Kubernetes.
type Operator string

// The operators. OpNotIn holds for objects without the label, too.
const (
	OpIn           Operator = "In"
	OpNotIn        Operator = "NotIn"
	OpExists       Operator = "Exists"
	OpDoesNotExist Operator = "DoesNotExist"
)

// Matches reports whether an object with these labels is selected. A requirement with an unknown operator never holds.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s {
		if !r.matches(labels) {
			return false
		}
	}
	return true
}

func (r Requirement) matches(labels map[string]string) bool {
	value, present := labels[r.Key]
	switch r.Op {
	case OpIn:
		return present && slices.Contains(r.Values, value)
	case OpNotIn:
		return !present || !slices.Contains(r.Values, value)
	case OpExists:
		return present
	case OpDoesNotExist:
		return !present
	}
	return false
}

// String writes the selector as kubectl does.
func (s Selector) String() string {
	terms := make([]string, len(s))
	for i, r := range s {
		terms[i] = r.String()
	}
	return strings.Join(terms, ",")
}

// String writes the requirement as kubectl does.
func (r Requirement) String() string {
	switch {
	case r.Op == OpExists:
		return r.Key
	case r.Op == OpDoesNotExist:
		return "!" + r.Key
	case r.Op == OpIn && len(r.Values) == 1:
		return r.Key + "=" + r.Values[0]
	case r.Op == OpIn:
		return r.Key + " in (" + strings.Join(r.Values, ",") + ")"
	case r.Op == OpNotIn:
		return r.Key + " notin (" + strings.Join(r.Values, ",") + ")"
	}
	return r.Key + " " + string(r.Op)
}
