package gatetest

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// App is an app of the IM backend. Fields that are zero have the defaults below.
type App struct {
	// SDKAppID is the vendor's id of the app. Default: 1400000000.
	SDKAppID int64
	// SecretKey signs REST calls. Default: some key.
	SecretKey string
	// CallbackToken signs callbacks. Default: some token.
	CallbackToken string
}

func (a App) withDefaults() App {
	return App{
		SDKAppID:      cmp.Or(a.SDKAppID, 1400000000),
		SecretKey:     cmp.Or(a.SecretKey, "gatetest-secret-key"),
		CallbackToken: cmp.Or(a.CallbackToken, "gatetest-callback-token"),
	}
}

func (a App) emulated() emulator.App {
	a = a.withDefaults()
	return emulator.App{SDKAppID: uint64(max(a.SDKAppID, 0)), SecretKey: a.SecretKey, CallbackToken: a.CallbackToken}
}

// Objects are an IMApp for the app, and its Secret, which is called name-im. Groupgate needs both.
func (a App) Objects(namespace, name string) []client.Object {
	a = a.withDefaults()
	return []client.Object{
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: name + "-im", Labels: map[string]string{v1alpha1.LabelCredentials: "true"},
			},
			StringData: map[string]string{
				v1alpha1.SecretKeySecretKey:     a.SecretKey,
				v1alpha1.SecretKeyCallbackToken: a.CallbackToken,
			},
		},
		&v1alpha1.IMApp{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: v1alpha1.IMAppSpec{
				SDKAppID: a.SDKAppID, Region: v1alpha1.RegionSingapore, AdminAccount: "administrator",
				CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: name + "-im"},
			},
		},
	}
}
