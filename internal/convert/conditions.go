package convert

import (
	"cmp"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// The API server refuses a status with a message beyond 32,768 characters, and people stop reading long before.
const mostMessageBytes = 2000

// AppConditions are Accepted, ResolvedRefs and Ready of an IMApp, in this order, without transition times.
func AppConditions(v policy.AppVerdict) []metav1.Condition {
	accepted := yes(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "The app is in the snapshot.")
	switch {
	case v.HeldBy != "" && v.Unconfirmed:
		accepted = no(v1alpha1.ConditionAccepted, v1alpha1.ReasonConflicted, fmt.Sprintf(
			"IMApp %s holds this sdkAppID, since the operator may no longer watch the IMApps of namespace %s: "+
				"restore its RoleBinding, and delete one of the two.", v.HeldBy, v.Namespace))
	case v.HeldBy != "":
		accepted = no(v1alpha1.ConditionAccepted, v1alpha1.ReasonConflicted, fmt.Sprintf(
			"The older IMApp %s holds this sdkAppID until it is deleted: delete one of the two.", v.HeldBy))
	}
	return complete(v.Object, accepted, appRefs(v))
}

func appRefs(v policy.AppVerdict) metav1.Condition {
	keyMissing := !v.SecretKeyPresent && !v.PruningSuspended
	noKey := fmt.Sprintf("The Secret has no %s, so that nobody can be removed: add it, or set pruning to Suspended.",
		v1alpha1.SecretKeySecretKey)
	noToken := fmt.Sprintf("The Secret has no %s, so that every callback is refused: "+
		"add the token of the vendor's console, or set callbackAuthentication to None.",
		v1alpha1.SecretKeyCallbackToken)
	switch {
	case !v.SecretFound:
		return no(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonSecretNotFound, fmt.Sprintf(
			"The Secret of credentialsSecretRef was not found in namespace %s, or lacks the label %s: \"true\": "+
				"create it, or label it.",
			v.Namespace, v1alpha1.LabelCredentials))
	case v.TokenMissing && keyMissing:
		return no(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonTokenMissing, noToken+" "+noKey)
	case v.TokenMissing:
		return no(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonTokenMissing, noToken)
	case keyMissing:
		return no(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonKeyMissing, noKey)
	}
	return yes(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "The Secret has what the app needs.")
}

// VendorCondition is VendorReachable of an IMApp; reason is one of those that v1alpha1 lists for it. message may be
// empty where nothing is wrong.
func VendorCondition(reason, message string, generation int64) metav1.Condition {
	condition := no(v1alpha1.ConditionVendorReachable, reason, message)
	if reason == v1alpha1.ReasonReachable {
		condition = yes(v1alpha1.ConditionVendorReachable, reason, cmp.Or(message, "The REST API answers."))
	}
	condition.ObservedGeneration = generation
	return condition
}

// ListConditions are Accepted and Ready of an AccountList, in this order, without transition times.
func ListConditions(v policy.ListVerdict) []metav1.Condition {
	return complete(v.Object, yes(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "The list is in the snapshot."))
}

// PolicyConditions are the conditions of a GroupPolicy, without transition times: Accepted, ResolvedRefs if the policy
// has references (see HasReferences), Ready, and PruneOverridden if another policy's rule goes first in every group of
// one of its matchers.
func PolicyConditions(v policy.PolicyVerdict, hasReferences bool) []metav1.Condition {
	parts := []metav1.Condition{policyAccepted(v)}
	if hasReferences {
		parts = append(parts, policyRefs(v))
	}
	conditions := complete(v.Object, parts...)
	if v.OverriddenBy == "" {
		return conditions
	}
	overridden := yes(v1alpha1.ConditionPruneOverridden, v1alpha1.ReasonOverridden, fmt.Sprintf(
		"GroupPolicy %s ranks higher: its prune rule holds for every group of the matcher %s.", v.OverriddenBy,
		v.OverriddenMatcher))
	overridden.ObservedGeneration = v.Generation
	return append(conditions, overridden)
}

func policyAccepted(v policy.PolicyVerdict) metav1.Condition {
	switch v.Acceptance {
	case policy.Accepted:
		return yes(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "The policy is in the snapshot.")
	case policy.TargetNotFound:
		return no(v1alpha1.ConditionAccepted, v1alpha1.ReasonTargetNotFound, fmt.Sprintf(
			"The policy governs nothing, since %s.", v.Message))
	default:
		return no(v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalid, fmt.Sprintf(
			"The policy keeps its rank, but admits no account and removes no member. Correct %s.", v.Message))
	}
}

func policyRefs(v policy.PolicyVerdict) metav1.Condition {
	switch {
	case v.MissingRefs == "" && v.Acceptance == policy.Invalid:
		// What cannot be read may be a reference; Accepted says so.
		return yes(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs,
			"Every reference that can be read resolves to an AccountList.")
	case v.MissingRefs == "":
		return yes(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs,
			"Every reference resolves to an AccountList.")
	}
	// The advice comes first: a long text is cut at its end.
	return no(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonListNotFound, fmt.Sprintf(
		"Create these AccountLists in namespace %s, or correct the references "+
			"(until then they count as empty, and in protect they stop pruning): %s.",
		v.Namespace, v.MissingRefs))
}

// complete adds Ready, which repeats the first condition that is in its way, and the generation.
func complete(o policy.Object, parts ...metav1.Condition) []metav1.Condition {
	ready := yes(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "The leader has published this generation.")
	for _, part := range parts {
		if part.Status != metav1.ConditionTrue {
			ready = no(v1alpha1.ConditionReady, part.Reason, part.Message)
			break
		}
	}
	conditions := append(parts, ready)
	for i := range conditions {
		conditions[i].ObservedGeneration = o.Generation
	}
	return conditions
}

func yes(conditionType, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: metav1.ConditionTrue, Reason: reason, Message: bounded(message),
	}
}

func no(conditionType, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: metav1.ConditionFalse, Reason: reason, Message: bounded(message),
	}
}

// bounded cuts a message that is too long, and drops what is not UTF-8 (half a character at the cut included).
func bounded(message string) string {
	if len(message) > mostMessageBytes {
		message = message[:mostMessageBytes] + "..."
	}
	return strings.ToValidUTF8(message, "")
}
