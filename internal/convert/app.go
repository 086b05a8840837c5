package convert

import (
	"bytes"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// SecretKeys is what a credentials Secret holds. An empty value is an absent key.
type SecretKeys struct {
	// SecretKey signs REST calls.
	SecretKey policy.Secret
	// CallbackToken and PreviousCallbackToken verify callbacks.
	CallbackToken         policy.Secret
	PreviousCallbackToken policy.Secret
}

// Credentials reads the data of a credentials Secret. One trailing newline ("\n" or "\r\n", what editors and echo leave
// behind) is cut from every value.
func Credentials(data map[string][]byte) SecretKeys {
	return SecretKeys{
		SecretKey:             secretValue(data, v1alpha1.SecretKeySecretKey),
		CallbackToken:         secretValue(data, v1alpha1.SecretKeyCallbackToken),
		PreviousCallbackToken: secretValue(data, v1alpha1.SecretKeyPreviousCallbackToken),
	}
}

func secretValue(data map[string][]byte, key string) policy.Secret {
	value, cut := bytes.CutSuffix(data[key], []byte("\n"))
	if cut {
		value = bytes.TrimSuffix(value, []byte("\r"))
	}
	return policy.Secret(value)
}

// App converts an IMApp and the data of its Secret; nil data means that the Secret was not found or lacks the label. A
// switch whose value this version does not know is taken as the one that admits and removes no account.
func App(app *v1alpha1.IMApp, secret map[string][]byte) policy.App {
	keys := Credentials(secret)
	converted := policy.App{
		Object:           object(app),
		SDKAppID:         uint64(max(0, app.Spec.SDKAppID)),
		AdminAccount:     app.Spec.AdminAccount,
		RejectUnmatched:  !isOrDefault(app.Spec.UnmatchedGroups, v1alpha1.UnmatchedGroupsAllow),
		PruningSuspended: !isOrDefault(app.Spec.Pruning, v1alpha1.PruningEnabled),
		SecretFound:      secret != nil,
		SecretKeyPresent: keys.SecretKey != "",
	}
	if app.Spec.CallbackAuthentication == v1alpha1.CallbackAuthenticationNone {
		converted.Authentication = policy.AuthenticateNone
	}
	for _, token := range []policy.Token{
		{Name: policy.TokenCurrent, Value: keys.CallbackToken},
		{Name: policy.TokenPrevious, Value: keys.PreviousCallbackToken},
	} {
		if token.Value != "" {
			converted.Tokens = append(converted.Tokens, token)
		}
	}
	return converted
}

func object(o metav1.Object) policy.Object {
	return policy.Object{
		Namespace:  o.GetNamespace(),
		Name:       o.GetName(),
		UID:        string(o.GetUID()),
		Generation: o.GetGeneration(),
		Created:    o.GetCreationTimestamp().Time,
	}
}

// isOrDefault says whether got is the default, written out or left out.
func isOrDefault[T ~string](got, def T) bool { return got == "" || got == def }
