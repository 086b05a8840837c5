package convert

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
)

func TestProgrammedNamesReplicas(t *testing.T) {
	const advice = ` It may still be answering callbacks: restart it, or delete its Pod.`
	accepted := metav1.Condition{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalid,
		Message: "Correct groups.", ObservedGeneration: 3,
	}
	for name, tc := range map[string]struct {
		got             metav1.Condition
		status          metav1.ConditionStatus
		reason, message string
	}{
		"Everywhere": {Programmed(3), metav1.ConditionTrue, v1alpha1.ReasonProgrammed,
			"Every replica enforces this generation."},
		"One": {ReplicasBehind(1, 3, "b, last heard of at noon", 3),
			metav1.ConditionFalse, v1alpha1.ReasonReplicasBehind,
			`1 of 3 replicas does not enforce this generation: b, last heard of at noon.` + advice},
		"Two": {ReplicasBehind(2, 3, "b, last heard of at noon", 3),
			metav1.ConditionFalse, v1alpha1.ReasonReplicasBehind,
			`2 of 3 replicas do not enforce this generation: b, last heard of at noon, and 1 more.` + advice},
		"Leader": {LeaderBehind("the AccountLists since noon", 3), metav1.ConditionFalse, v1alpha1.ReasonReplicasBehind,
			`The leader has not been able to read the AccountLists since noon, so that there may be a newer version, or a replica, that it does not know. Check its roles; groupgate_watch_failing_seconds tells which of its watches fail.`},
		"NotAccepted": {NotProgrammed(accepted),
			metav1.ConditionFalse, v1alpha1.ReasonInvalid, "Correct groups."},
	} {
		t.Run(name, func(t *testing.T) {
			want := metav1.Condition{
				Type: v1alpha1.ConditionProgrammed, Status: tc.status, Reason: tc.reason, Message: tc.message,
				ObservedGeneration: 3,
			}
			if diff := cmp.Diff(want, tc.got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestCallbacksVerifiedSaysWhatToChange(t *testing.T) {
	const gate = ` Until then every callback is refused, and by default the vendor admits every user.`
	const public = ` Anybody who knows the SDKAppID can cause this, and it is public. A right Sign ends it.`
	now := time.Unix(1700000000, 0)
	for name, tc := range map[string]struct {
		authentication  v1alpha1.CallbackAuthentication
		seen            callbackhealth.Seen
		status          metav1.ConditionStatus
		reason, message string
	}{
		"None": {v1alpha1.CallbackAuthenticationNone, callbackhealth.Seen{}, metav1.ConditionFalse,
			v1alpha1.ReasonNotAuthenticated, `callbackAuthentication is None: anybody who knows the SDKAppID can send callbacks. So a callback that reports a full group creates nothing, and the sweep finds the group. Set it to Token.`},
		"Nothing": {"Token", callbackhealth.Seen{}, metav1.ConditionUnknown, v1alpha1.ReasonNeverSeen,
			`No callback of SDKAppID 1400000000 has arrived. Enter the URL in the vendor's console, and switch the callbacks on.`},
		"Right": {"Token", callbackhealth.Seen{Right: now}, metav1.ConditionTrue, v1alpha1.ReasonVerified,
			"Callbacks carry a right Sign."},
		"Wrong": {"Token", callbackhealth.Seen{Wrong: now}, metav1.ConditionFalse, v1alpha1.ReasonWrongToken,
			`Callbacks carry a Sign of none of the tokens in Secret prod-im, and none was right for 10 minutes. Enter the token of the vendor's console as callbackToken in the Secret.` + gate + public},
		"Unsigned": {"Token", callbackhealth.Seen{Unsigned: now}, metav1.ConditionFalse, v1alpha1.ReasonWrongToken,
			`Callbacks carry no Sign, and none was right for 10 minutes. Enter the callbackToken of Secret prod-im in the vendor's console.` + gate + public},
		"Skewed": {"Token", callbackhealth.Seen{Skewed: now, Skew: -90 * time.Second}, metav1.ConditionFalse,
			v1alpha1.ReasonClockSkew, `Callbacks carry a right Sign, but a RequestTime that differs from the clock here by 1m30s, and none was right for 10 minutes. Correct the clocks of the nodes.` + gate},
	} {
		t.Run(name, func(t *testing.T) {
			app := &v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Generation: 3}, Spec: v1alpha1.IMAppSpec{
				SDKAppID: 1400000000, CallbackAuthentication: tc.authentication,
				CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: "prod-im"},
			}}
			want := metav1.Condition{
				Type: v1alpha1.ConditionCallbacksVerified, Status: tc.status, Reason: tc.reason, Message: tc.message,
				ObservedGeneration: 3,
			}
			if diff := cmp.Diff(want, CallbacksVerified(app, tc.seen)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}
