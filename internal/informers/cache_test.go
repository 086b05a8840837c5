package informers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/policy"
)

func TestCacheSelectsWhatItMayRead(t *testing.T) {
	all := CacheOptions(Options{Store: &policy.Store{}, Now: time.Now})
	if all.DefaultNamespaces != nil || len(all.ByObject) != 1 {
		t.Errorf("without namespaces and election: %+v", all)
	}
	some := CacheOptions(Options{
		Namespaces: []string{"chat", "games"}, Store: &policy.Store{}, Now: time.Now,
		Lease: types.NamespacedName{Namespace: "groupgate-system", Name: "groupgate-manager"},
	})
	if len(some.DefaultNamespaces) != 2 {
		t.Errorf("namespaces: %+v", some.DefaultNamespaces)
	}
	got := map[string]string{}
	for object, by := range some.ByObject {
		switch object.(type) {
		case *corev1.Secret:
			got["Secret"] = by.Label.String()
		default:
			for namespace := range by.Namespaces {
				got["Lease"] = namespace + " " + by.Field.String()
			}
		}
	}
	want := map[string]string{
		"Secret": "groupgate.io/credentials=true",
		"Lease":  "groupgate-system metadata.name=groupgate-manager",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("selected (-want,+got):\n%s", diff)
	}
}
