package convert

import (
	"cmp"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// openGate is what it means that an app refuses every callback.
const openGate = " Until then every callback is refused, and by default the vendor admits every user."

// The API server refuses a status with a message beyond 32,768 characters, and people stop reading long before.
const mostMessageBytes = 2000

// AppConditions are Accepted, ResolvedRefs and Ready of an IMApp, in this order, without transition times; Stalled if
// it is not accepted, and Warning if there is one.
func AppConditions(v policy.AppVerdict, app *v1alpha1.IMApp) []metav1.Condition {
	accepted := yes(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted,
		fmt.Sprintf("This IMApp holds sdkAppID %d.", app.Spec.SDKAppID))
	switch {
	case v.HeldBy != "" && v.Unconfirmed:
		accepted = no(v1alpha1.ConditionAccepted, v1alpha1.ReasonConflicted, fmt.Sprintf(
			"IMApp %s holds this sdkAppID, since the operator may no longer watch the IMApps of namespace %s: "+
				"restore its RoleBinding, and delete one of the two.", v.HeldBy, v.Namespace))
	case v.HeldBy != "":
		accepted = no(v1alpha1.ConditionAccepted, v1alpha1.ReasonConflicted, fmt.Sprintf(
			"The older IMApp %s holds this sdkAppID until it is deleted: delete one of the two.", v.HeldBy))
	}
	ready := fmt.Sprintf("Callbacks of SDKAppID %d are answered.", app.Spec.SDKAppID)
	return withWarning(complete(v.Object, ready, accepted, appRefs(v, app.Spec.CredentialsSecretRef.Name)),
		v.Generation, notAuthenticated(app))
}

func appRefs(v policy.AppVerdict, name string) metav1.Condition {
	keyMissing := !v.SecretKeyPresent && !v.PruningSuspended
	secret := fmt.Sprintf("Secret %s in namespace %s", name, v.Namespace)
	noKey := fmt.Sprintf("%s has no %s, so that no member can be removed: add it, or set pruning to Suspended.",
		secret, v1alpha1.SecretKeySecretKey)
	noToken := fmt.Sprintf("%s has no %s: add the token of the vendor's console.",
		secret, v1alpha1.SecretKeyCallbackToken)
	if v.CallbacksRefused {
		noToken += openGate
	} else {
		noToken += fmt.Sprintf(" Until then only callbacks that are signed with %s are accepted.",
			v1alpha1.SecretKeyPreviousCallbackToken)
	}
	switch {
	case !v.SecretFound:
		message := fmt.Sprintf("Secret %s was not found in namespace %s, or lacks the label %s=true: "+
			"create it, or label it.", name, v.Namespace, v1alpha1.LabelCredentials)
		if v.CallbacksRefused {
			message += openGate
		}
		return no(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonSecretNotFound, message)
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

// ListConditions are Accepted and Ready of an AccountList, in this order, without transition times, and Warning if
// there is one. The list may be packed.
func ListConditions(v policy.ListVerdict, list *v1alpha1.AccountList) []metav1.Condition {
	accepted := yes(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "The list is accepted as it is written.")
	return withWarning(complete(v.Object, "In force for the policies that refer to this list.", accepted),
		v.Generation, suspiciousInList(list))
}

// PolicyConditions are the conditions of a GroupPolicy, without transition times: Accepted, ResolvedRefs if the policy
// has references (see HasReferences), Ready, Stalled if it is not accepted, PruneOverridden if another policy's rule
// goes first in every group of one of its matchers, and Warning if there is one.
func PolicyConditions(v policy.PolicyVerdict, p *v1alpha1.GroupPolicy) []metav1.Condition {
	parts := []metav1.Condition{policyAccepted(v)}
	if HasReferences(p) {
		parts = append(parts, policyRefs(v))
	}
	conditions := complete(v.Object, inForce(p), parts...)
	if v.Acceptance == policy.Accepted && v.AppRefusal != policy.NotRefused {
		appNotReady(conditions, v, p.Spec.AppRef.Name)
	}
	if v.OverriddenBy != "" {
		overridden := yes(v1alpha1.ConditionPruneOverridden, v1alpha1.ReasonOverridden, fmt.Sprintf(
			"GroupPolicy %s ranks higher: its prune rule holds for every group of the matcher %s.", v.OverriddenBy,
			v.OverriddenMatcher))
		overridden.ObservedGeneration = v.Generation
		conditions = append(conditions, overridden)
	}
	return withWarning(conditions, v.Generation,
		noGate(p), literalAsterisk(p), suspiciousInPolicy(p), smallerBudget(p))
}

func inForce(p *v1alpha1.GroupPolicy) string {
	message := "In force for groups " + PolicyGroups(p)
	if PolicyGate(p) == v1alpha1.GateAudit {
		message += "; the mode of join is Audit, which rejects nobody"
	}
	return message + "."
}

// appNotReady replaces Ready: that the app decides nothing matters more than a missing list.
func appNotReady(conditions []metav1.Condition, v policy.PolicyVerdict, app string) {
	ready := no(v1alpha1.ConditionReady, v1alpha1.ReasonAppNotReady, fmt.Sprintf(
		"IMApp %s refuses every callback (%s), so that this policy decides nothing and, by default, the vendor admits "+
			"every user. The condition ResolvedRefs of the IMApp says what to change.", app, v.AppRefusal))
	ready.ObservedGeneration = v.Generation
	for i := range conditions {
		if conditions[i].Type == v1alpha1.ConditionReady {
			conditions[i] = ready
		}
	}
}

func policyAccepted(v policy.PolicyVerdict) metav1.Condition {
	switch v.Acceptance {
	case policy.Accepted:
		return yes(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted,
			"The policy is accepted, and governs the groups that it matches.")
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

// complete adds Ready, which has the message if nothing is in its way and otherwise repeats the first condition that
// is; Stalled, if Accepted, the first part, is False; and the generation.
func complete(o policy.Object, message string, parts ...metav1.Condition) []metav1.Condition {
	ready := yes(v1alpha1.ConditionReady, v1alpha1.ReasonReady, message)
	for _, part := range parts {
		if part.Status != metav1.ConditionTrue {
			ready = no(v1alpha1.ConditionReady, part.Reason, part.Message)
			break
		}
	}
	conditions := append(parts, ready)
	if accepted := parts[0]; accepted.Status != metav1.ConditionTrue {
		conditions = append(conditions, yes(v1alpha1.ConditionStalled, accepted.Reason, accepted.Message))
	}
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
