package schema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the API server says is compared in package v1alpha1, with an API server.

func TestCreateReturnsTheDefaultsAndNoStatus(t *testing.T) {
	validators, err := Validators()
	if err != nil {
		t.Fatal(err)
	}
	object, problems := validators["IMApp"].Create(t.Context(), []byte(`{
		"apiVersion": "groupgate.io/v1alpha1", "kind": "IMApp", "metadata": {"name": "prod"},
		"spec": {"sdkAppID": 1400000000, "region": "Tokyo", "adminAccount": "a", "credentialsSecretRef": {"name": "s"},
			"pruning": null},
		"status": {"observedGeneration": 7}}`), "chat")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := map[string]any{
		"apiVersion": "groupgate.io/v1alpha1", "kind": "IMApp",
		"metadata": map[string]any{"name": "prod", "namespace": "chat"},
		"spec": map[string]any{
			"sdkAppID": int64(1400000000), "region": "Tokyo", "adminAccount": "a",
			"credentialsSecretRef":   map[string]any{"name": "s"},
			"callbackAuthentication": "Token", "unmatchedGroups": "Allow", "pruning": "Enabled",
			"rest": map[string]any{"requestsPerSecond": int64(20)},
		},
	}
	if diff := cmp.Diff(want, object.Object); diff != "" {
		t.Errorf("the object (-want,+got):\n%s", diff)
	}
}

func TestGeneratedNamesAreValidated(t *testing.T) {
	validators, err := Validators()
	if err != nil {
		t.Fatal(err)
	}
	for name, valid := range map[string]bool{"by-hand-": true, "By-Hand-": false} {
		_, problems := validators["PruneRun"].Create(t.Context(), []byte(`{
			"apiVersion": "groupgate.io/v1alpha1", "kind": "PruneRun", "metadata": {"generateName": "`+name+`"},
			"spec": {"appRef": {"name": "prod"}, "groupID": "lobby"}}`), "chat")
		if (len(problems) == 0) != valid {
			t.Errorf("%s: %v", name, problems)
		}
	}
}
