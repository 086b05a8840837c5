package chat

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/controllers/gatetest"
)

func TestOnlyTheCrewMayJoin(t *testing.T) {
	env := &envtest.Environment{CRDs: gatetest.CRDs()}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop() })
	gate := gatetest.Start(t, config)

	policy := &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "crew"},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: "prod"},
			Groups: []v1alpha1.GroupMatcher{{Value: "crew"}},
			Join:   &v1alpha1.JoinSection{Allow: &v1alpha1.AccountSelector{Accounts: []string{"ann"}}},
		},
	}
	for _, object := range append(gatetest.App{}.Objects("default", "prod"), policy) {
		if err := gate.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	gate.AwaitProgrammed(t, policy)

	if err := gate.Emulator.CreateGroup(t.Context(), gatetest.Group{ID: "crew"}); err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]gatetest.Result{"ann": gatetest.Joined, "eve": gatetest.Refused} {
		if got, err := gate.Emulator.Apply(t.Context(), "crew", account); err != nil || got.Result != want {
			t.Errorf("%s: %+v %v, want %s", account, got, err, want)
		}
	}
}
