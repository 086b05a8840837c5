package v1alpha1_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What the spec of a run says about a decision changes only with the decision.
func TestDecisionChangesOnlyWithApprovalOrUndo(t *testing.T) {
	const (
		notOnCreate = `spec.decision: Invalid value: decision is about a change of approval or undo: create the run without it`
		notAlone    = `spec.decision: Invalid value: decision can be changed only together with approval or undo`
	)
	tests := map[string][]step{
		"by itself":                   {{aPlan, ``}, {`spec: {decision: {by: eve}}`, notAlone}},
		"with an approval":            {{aPlan, ``}, {`spec: {approval: Approved, decision: {reason: agreed}}`, ``}},
		"with a denial":               {{`spec: {approval: Denied, decision: {reason: "not now"}}`, ``}},
		"changed afterwards":          {{aPlan, ``}, {`spec: {approval: Approved, decision: {by: bob}}`, ``}, {`spec: {decision: {by: eve}}`, notAlone}},
		"withdrawn":                   {{aPlan, ``}, {`spec: {approval: Approved, decision: {by: bob}}`, ``}, {`spec: {decision: null}`, notAlone}},
		"with the same approval":      {{aPlan, ``}, {approve, ``}, {`spec: {approval: Approved, decision: {by: eve}}`, notAlone}},
		"with a request for the undo": {{completed, ``}, {`spec: {undo: Requested, decision: {reason: "wrong group"}}`, ``}, {`spec: {decision: {reason: other}}`, notAlone}},
		"the undo after an approval":  {{aPlan, ``}, {`spec: {approval: Approved, decision: {reason: agreed}}`, ``}, {completed, ``}, {undo, ``}},
		"unchanged with a label":      {{aPlan, ``}, {`spec: {approval: Approved, decision: {reason: agreed}}`, ``}, {`{metadata: {labels: {a: b}}, spec: {decision: {reason: agreed}}}`, ``}},
		"no words": {{aPlan, ``}, {`spec: {approval: Approved, decision: {reason: ""}}`,
			`spec.decision.reason: Invalid value: "": spec.decision.reason in body should be at least 1 chars long`}},
	}
	c := newClient(t)
	namespace := newNamespace(t, c)
	testSteps(t, c, namespace, tests)
	object := mutate(t, basePruneRun, `{metadata: {name: decided}, spec: {decision: {by: eve}}}`)
	object.SetNamespace(namespace)
	if diff := cmp.Diff(notOnCreate, complaint(t, c.Create(t.Context(), object))); diff != "" {
		t.Errorf("complaint (-want,+got):\n%s", diff)
	}
}

// With the policy of config/admission/decisions, nobody decides in the name of somebody else.
func TestDecisionNamesTheUserOfTheRequest(t *testing.T) {
	admin := newClient(t)
	namespace := newNamespace(t, admin)
	installAdmission(t, newKubectl(t, namespace))
	readUserRoles(t)
	alice := boundTo(t, admin, namespace, "groupgate-prune-approver")
	name := "user-of-" + namespace
	decision := func(run *unstructured.Unstructured) map[string]any {
		t.Helper()
		live := run.DeepCopy()
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(run), live))
		got, _, err := unstructured.NestedMap(live.Object, "spec", "decision")
		must(t, err)
		return got
	}
	want := func(run *unstructured.Unstructured, want map[string]any) {
		t.Helper()
		if diff := cmp.Diff(want, decision(run)); diff != "" {
			t.Errorf("decision (-want,+got):\n%s", diff)
		}
	}
	inForce(t, func() string {
		run := newRun(t, admin, namespace)
		if patchObject(t, admin, run, deny) != nil {
			return "" // soon after its start, the API server lacks the schema that the policy needs
		}
		by, _ := decision(run)["by"].(string)
		return by
	})

	run := newRun(t, admin, namespace)
	want(run, nil)
	must(t, patchStatus(t, admin, run.DeepCopy(), aPlan))
	must(t, patchObject(t, alice, run, `spec: {approval: Approved, decision: {by: bob, reason: agreed}}`))
	want(run, map[string]any{"by": name, "reason": "agreed"})
	must(t, patchObject(t, admin, run, `metadata: {labels: {a: b}}`))
	must(t, patchStatus(t, admin, run.DeepCopy(), completed))
	want(run, map[string]any{"by": name, "reason": "agreed"})
	// The reason of the approval is not that of the undo, which comes without one.
	must(t, patchObject(t, alice, run, undo))
	want(run, map[string]any{"by": name})

	run = newRun(t, admin, namespace)
	must(t, patchObject(t, alice, run, deny))
	want(run, map[string]any{"by": name})

	long := rest.CopyConfig(apiServer)
	long.Impersonate = rest.ImpersonationConfig{UserName: strings.Repeat("ü", 300), Groups: []string{"system:masters"}}
	longName, err := client.New(long, client.Options{})
	must(t, err)
	run = newRun(t, admin, namespace)
	must(t, patchObject(t, longName, run, `spec: {approval: Denied, decision: {reason: "too long"}}`))
	want(run, map[string]any{"by": strings.Repeat("ü", 256), "reason": "too long"})
}

// The manager may read the policy of decisions, under the names that the leader asks for, and no other.
func TestManagerMayReadThePolicyOfDecisions(t *testing.T) {
	admin := newClient(t)
	namespace := newNamespace(t, admin)
	installAdmission(t, newKubectl(t, namespace))
	config := rest.CopyConfig(apiServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:groupgate-system:groupgate-manager"}
	manager, err := client.New(config, client.Options{})
	must(t, err)
	read := func(kind, name string) error {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(schema.GroupVersionKind{
			Group: "admissionregistration.k8s.io", Version: "v1", Kind: kind,
		})
		return manager.Get(t.Context(), client.ObjectKey{Name: name}, object)
	}
	for _, kind := range []string{"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		eventually(t, func(context.Context) (bool, error) { // the API server authorizes from a cache
			err := read(kind, "groupgate-decisions")
			return err == nil, client.IgnoreNotFound(ignoreForbidden(err))
		})
		if err := read(kind, "other"); !apierrors.IsForbidden(err) {
			t.Errorf("another %s: %v, want Forbidden", kind, err)
		}
	}
}

func ignoreForbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}
