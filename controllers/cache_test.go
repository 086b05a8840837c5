package controllers

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// The informer streams the first objects and watches later ones: both are packed.
func TestCachedListsArePacked(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	packed := newList(namespace, "packed", nil, "jared")
	convert.PackList(packed, "")
	packed.Spec.Accounts = []string{"jared"} // which is required
	if err := labtest.Client(t).Create(t.Context(), packed); !apierrors.IsInvalid(err) {
		t.Errorf("a packed list can be written to the API: %v", err)
	}
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID),
		newList(namespace, "plain", nil, "jared", "tommy", "jared"),
		newPolicy(namespace, "gate", "lounge", byName("plain")))
	again := startReplica(t, namespace, replicaOptions{}) // gets them as its first objects
	for _, r := range []*replica{r, again} {
		r.published(t, admits("tommy", "lounge", true))
		var cached v1alpha1.AccountList
		labtest.Must(t, r.cache.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "plain"}, &cached))
		if cached.Spec.Accounts != nil {
			t.Errorf("spec.accounts is cached as %q", cached.Spec.Accounts)
		}
		if got := convert.List(&cached).Accounts.Len(); got != 2 {
			t.Errorf("%d accounts, want 2", got)
		}
	}
}
