package convert

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
)

// CallbacksVerified is the condition of an app whose callbacks looked like this.
func CallbacksVerified(app *v1alpha1.IMApp, seen callbackhealth.Seen) metav1.Condition {
	condition := callbacksVerified(app, seen)
	condition.ObservedGeneration = app.Generation
	return condition
}

func callbacksVerified(app *v1alpha1.IMApp, seen callbackhealth.Seen) metav1.Condition {
	const conditionType = v1alpha1.ConditionCallbacksVerified
	if app.Spec.CallbackAuthentication == v1alpha1.CallbackAuthenticationNone {
		return no(conditionType, v1alpha1.ReasonNotAuthenticated,
			"callbackAuthentication is None: anybody who knows the SDKAppID can send callbacks. So a callback that "+
				"reports a full group creates nothing, and the sweep finds the group. Set it to Token.")
	}
	const (
		noneRight = ", and none was right for 10 minutes. "
		public    = " Anybody who knows the SDKAppID can cause this, and it is public. A right Sign ends it."
	)
	secret, key := app.Spec.CredentialsSecretRef.Name, v1alpha1.SecretKeyCallbackToken
	switch seen.Verdict() {
	case callbackhealth.Verified:
		return yes(conditionType, v1alpha1.ReasonVerified, "Callbacks carry a right Sign.")
	case callbackhealth.WrongToken:
		return no(conditionType, v1alpha1.ReasonWrongToken, fmt.Sprintf(
			"Callbacks carry a Sign of none of the tokens in Secret %s"+noneRight+
				"Enter the token of the vendor's console as %s in the Secret.", secret, key)+openGate+public)
	case callbackhealth.Unsigned:
		return no(conditionType, v1alpha1.ReasonWrongToken, fmt.Sprintf(
			"Callbacks carry no Sign"+noneRight+
				"Enter the %s of Secret %s in the vendor's console.", key, secret)+openGate+public)
	case callbackhealth.ClockSkew:
		return no(conditionType, v1alpha1.ReasonClockSkew, fmt.Sprintf(
			"Callbacks carry a right Sign, but a RequestTime that differs from the clock here by %s"+noneRight+
				"Correct the clocks of the nodes.", seen.Skew.Abs().Round(time.Second))+openGate)
	}
	condition := no(conditionType, v1alpha1.ReasonNeverSeen, fmt.Sprintf(
		"No callback of SDKAppID %d has arrived. Enter the URL in the vendor's console, and switch the callbacks on.",
		app.Spec.SDKAppID))
	condition.Status = metav1.ConditionUnknown
	return condition
}
