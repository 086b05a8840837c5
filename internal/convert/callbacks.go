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
	secret := app.Spec.CredentialsSecretRef.Name
	const anybody = " Anybody who knows the SDKAppID, which is public, can cause this; a callback with a right Sign ends it."
	switch seen.Verdict() {
	case callbackhealth.Verified:
		return yes(conditionType, v1alpha1.ReasonVerified, "Callbacks carry a right Sign.")
	case callbackhealth.WrongToken:
		return no(conditionType, v1alpha1.ReasonWrongToken, fmt.Sprintf(
			"Callbacks carry a Sign of none of the tokens in Secret %s, and none was right for 10 minutes. Enter one token "+
				"in the vendor's console and as %s in the Secret.%s%s",
			secret, v1alpha1.SecretKeyCallbackToken, openGate, anybody))
	case callbackhealth.Unsigned:
		return no(conditionType, v1alpha1.ReasonWrongToken, fmt.Sprintf(
			"Callbacks carry no Sign, and none was right for 10 minutes. Switch authentication on in the vendor's console, "+
				"with the %s of Secret %s.%s%s", v1alpha1.SecretKeyCallbackToken, secret, openGate, anybody))
	case callbackhealth.ClockSkew:
		return no(conditionType, v1alpha1.ReasonClockSkew, fmt.Sprintf(
			"Callbacks carry a right Sign, but their RequestTime differs from the clock of the replicas by %s, and none "+
				"was right for 10 minutes. Correct the clock of the nodes.%s", seen.Skew.Abs().Round(time.Second), openGate))
	}
	condition := no(conditionType, v1alpha1.ReasonNeverSeen, fmt.Sprintf(
		"No callback of SDKAppID %d has arrived. Enter the URL in the vendor's console, and switch the callbacks on.",
		app.Spec.SDKAppID))
	condition.Status = metav1.ConditionUnknown
	return condition
}
