package controllers

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// A list is kept packed by a real informer, which streams the first objects, and whatever somebody has made its
// accounts look like.
func TestCacheKeepsListsPacked(t *testing.T) {
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	model := newList(namespace, "model", nil)
	convert.PackList(model)
	mark := model.Spec.Accounts[0]
	if err := labtest.Client(t).Create(t.Context(), newList(namespace, "marked", nil, mark, "looks packed")); !apierrors.IsInvalid(err) {
		t.Errorf("what is packed can be written to the API: %v", err)
	}
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID),
		newList(namespace, "plain", nil, "jared", "tommy", "jared"), newList(namespace, "lookalike", nil, mark[:1], "looks packed"),
		newPolicy(namespace, "gate", "lounge", byName("plain")), newPolicy(namespace, "odd", "odd", byName("lookalike")))
	again := startReplica(t, namespace, replicaOptions{}) // gets them as its first objects
	for _, r := range []*replica{r, again} {
		r.published(t, admits("tommy", "lounge", true))
		r.published(t, admits("looks packed", "odd", true))
		r.published(t, admits("\ufffd", "odd", true)) // what the API made of the mark
		for name, want := range map[string]int{"plain": 2, "lookalike": 2} {
			var cached v1alpha1.AccountList
			labtest.Must(t, r.cache.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &cached))
			if len(cached.Spec.Accounts) != 2 || cached.Spec.Accounts[0] != mark {
				t.Errorf("%s is cached as %q", name, cached.Spec.Accounts)
			}
			if got := convert.List(&cached).Accounts.Len(); got != want {
				t.Errorf("%s: %d accounts, want %d", name, got, want)
			}
		}
	}
}
