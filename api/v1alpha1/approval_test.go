package v1alpha1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The messages of the API server for invalid changes of a run.
const (
	beginsPending    = `a run begins with approval Pending: look at its plan first, then approve or deny it`
	approveOncePlan  = `spec.approval: Invalid value: a run can be approved only once its plan is recorded: wait until its condition Planned is True, look at the plan, then approve or deny it`
	approveBeforeEnd = `spec.approval: Invalid value: a run that has ended cannot be approved: create another PruneRun`
	onlyForward      = `approval can change only from Pending to Approved or Denied, and from Approved to Denied: create another PruneRun`
	undoOnceEnded    = `undo can be requested once the run has ended: to stop a run, set approval to Denied`
	undoForGood      = `spec.undo: Invalid value: undo cannot be withdrawn: leave it Requested`
	restImmutable    = `only approval, undo and decision can be changed: for another app, group, purpose, trigger or other accounts create another PruneRun`
)

// The statuses of a run in its life.
const (
	aPlan = `status: {plan: {createdAt: "2026-11-20T09:30:00Z", candidates: 1, stay: {protected: 0, admin: 0, active: 0, unknown: 0}, removals: [{account: u1, reason: Inactive}]}}`
)

var (
	planned   = condition("Planned", "True", "Planned")
	waiting   = `status: {conditions: [` + planned + `, ` + condition("Complete", "False", "AwaitingApproval") + `]}`
	completed = `status: {removed: 1, conditions: [` + planned + `, ` + condition("Complete", "True", "Removed") + `]}`
	failed    = `status: {conditions: [` + planned + `, ` + condition("Complete", "False", "VendorRefused") + `, ` + condition("Failed", "True", "VendorRefused") + `]}`
	undoing   = `status: {undo: {startedAt: "2026-11-20T10:00:00Z", added: 0, accounts: [{account: u1, result: Adding}]}, conditions: [` + planned + `, ` + condition("Complete", "True", "Removed") + `, ` + condition("Undone", "False", "Undoing") + `]}`
	undone    = `status: {undo: {startedAt: "2026-11-20T10:00:00Z", finishedAt: "2026-11-20T10:00:09Z", added: 1, accounts: [{account: u1, result: Added}]}, conditions: [` + planned + `, ` + condition("Complete", "True", "Removed") + `, ` + condition("Undone", "True", "Undone") + `]}`
)

// A step is a merge patch of a run, or of its status, and the error of the API server; empty: accepted.
type step struct {
	patch string
	want  string
}

// TestApprovalAndUndo pins when spec.approval and spec.undo may change.
func TestApprovalAndUndo(t *testing.T) {
	const (
		pending = `spec: {approval: Pending}`
		forget  = `spec: {approval: null}`
	)
	tests := map[string][]step{
		"approved as planned":             {{aPlan, ``}, {waiting, ``}, {approve, ``}, {approve, ``}, {completed, ``}, {undo, ``}, {undoing, ``}, {undone, ``}},
		"approved before it was planned":  {{approve, approveOncePlan}, {waiting, ``}, {approve, approveOncePlan}, {aPlan, ``}, {approve, ``}},
		"approved after it completed":     {{aPlan, ``}, {completed, ``}, {approve, approveBeforeEnd}},
		"approved after it failed":        {{aPlan, ``}, {failed, ``}, {approve, approveBeforeEnd}},
		"approved after it never planned": {{failed, ``}, {approve, `[` + approveOncePlan + `, ` + approveBeforeEnd + `]`}},
		"denied before it was planned":    {{deny, ``}, {aPlan, ``}, {completed, ``}},
		"denied while it waits":           {{aPlan, ``}, {waiting, ``}, {deny, ``}, {completed, ``}},
		"denied at work":                  {{aPlan, ``}, {approve, ``}, {`status: {progress: {settled: 0, inFlight: 1}}`, ``}, {deny, ``}, {completed, ``}},
		"denied after it completed":       {{aPlan, ``}, {completed, ``}, {deny, ``}},
		"approved once denied":            {{aPlan, ``}, {deny, ``}, {approve, `spec.approval: Invalid value: "Approved": ` + onlyForward}},
		"approved, then pending":          {{aPlan, ``}, {approve, ``}, {pending, `spec.approval: Invalid value: "Pending": ` + onlyForward}},
		"approved, then forgotten":        {{aPlan, ``}, {approve, ``}, {forget, `spec.approval: Invalid value: "Pending": ` + onlyForward}},
		"denied, then pending":            {{deny, ``}, {pending, `spec.approval: Invalid value: "Pending": ` + onlyForward}},
		"pending, then forgotten":         {{forget, ``}},
		"another word":                    {{aPlan, ``}, {`spec: {approval: approved}`, `spec.approval: Unsupported value: "approved": supported values: "Pending", "Approved", "Denied"`}},

		"approved and of another app":       {{aPlan, ``}, {`spec: {approval: Approved, appRef: {name: test}}`, `spec: Invalid value: ` + restImmutable}},
		"approved and of another group":     {{aPlan, ``}, {`spec: {approval: Approved, groupID: other}`, `spec: Invalid value: ` + restImmutable}},
		"approved and another trigger":      {{aPlan, ``}, {`spec: {approval: Approved, trigger: Sweep}`, `spec: Invalid value: ` + restImmutable}},
		"denied and of another group":       {{`spec: {approval: Denied, groupID: other}`, `spec: Invalid value: ` + restImmutable}},
		"undone and of another group":       {{completed, ``}, {`spec: {undo: Requested, groupID: other}`, `spec: Invalid value: ` + restImmutable}},
		"approved with a plan of one's own": {{`{spec: {approval: Approved}, ` + aPlan + `}`, approveOncePlan}},

		"undo before it was planned":  {{undo, `spec.undo: Invalid value: ` + undoOnceEnded}},
		"undo while it waits":         {{aPlan, ``}, {waiting, ``}, {undo, `spec.undo: Invalid value: ` + undoOnceEnded}},
		"undo at work":                {{aPlan, ``}, {approve, ``}, {undo, `spec.undo: Invalid value: ` + undoOnceEnded}},
		"undo and denied at once":     {{aPlan, ``}, {`spec: {approval: Denied, undo: Requested}`, `spec.undo: Invalid value: ` + undoOnceEnded}},
		"undo after it failed":        {{aPlan, ``}, {failed, ``}, {undo, ``}, {`status: {undo: {startedAt: "2026-11-20T10:00:00Z", added: 0}}`, ``}},
		"undo of what removed nobody": {{`status: {conditions: [` + condition("Complete", "True", "NotFull") + `]}`, ``}, {undo, ``}},
		"undo asked for twice":        {{completed, ``}, {undo, ``}, {undo, ``}},
		"undo withdrawn":              {{completed, ``}, {undo, ``}, {`spec: {undo: null}`, undoForGood}},
		"undo withdrawn at its end":   {{completed, ``}, {undo, ``}, {undoing, ``}, {undone, ``}, {`spec: {undo: null}`, undoForGood}},
		"undo emptied":                {{completed, ``}, {undo, ``}, {`spec: {undo: ""}`, `spec.undo: Unsupported value: "": supported values: "Requested"`}},
		"undo another word":           {{completed, ``}, {`spec: {undo: Please}`, `spec.undo: Unsupported value: "Please": supported values: "Requested"`}},
		"denied after an undo":        {{completed, ``}, {undo, ``}, {deny, ``}},

		// The rules for people never reject a status write of the operator.
		"a record without a plan, approved":     {{aPlan, ``}, {approve, ``}, {`status: {plan: null}`, ``}},
		"a record without an end, to be undone": {{completed, ``}, {undo, ``}, {`status: {conditions: null}`, ``}},
		"a label of a run that is to be undone": {{completed, ``}, {undo, ``}, {`status: {conditions: []}`, ``}, {`metadata: {labels: {a: b}}`, ``}},
		"a label of an approved run":            {{aPlan, ``}, {approve, ``}, {completed, ``}, {`metadata: {labels: {a: b}}`, ``}},
	}
	c := newClient(t)
	namespace := newNamespace(t, c)
	testSteps(t, c, namespace, tests)
}

// newRun creates a run from basePruneRun under a generated name.
func newRun(t *testing.T, c client.Client, namespace string) *unstructured.Unstructured {
	t.Helper()
	object := mutate(t, basePruneRun, `metadata: {name: null, generateName: run-}`)
	object.SetNamespace(namespace)
	must(t, c.Create(t.Context(), object))
	return object
}

// patchObject applies a merge patch in YAML, to the status if the patch has nothing else. It discards the returned
// object, so that the next patch does not depend on it.
func patchObject(t *testing.T, c client.Client, object *unstructured.Unstructured, patch string) error {
	t.Helper()
	fields := map[string]any{}
	must(t, yaml.Unmarshal([]byte(patch), &fields))
	if _, ok := fields["status"]; ok && len(fields) == 1 {
		return patchStatus(t, c, object.DeepCopy(), patch)
	}
	data, err := yaml.YAMLToJSON([]byte(patch))
	must(t, err)
	return c.Patch(t.Context(), object.DeepCopy(), client.RawPatch(types.MergePatchType, data))
}

// An update of the whole object, as by kubectl edit and kubectl replace, is validated like a patch.
func TestApprovalByUpdate(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	object := newRun(t, c, namespace)
	before := object.DeepCopy()
	must(t, patchStatus(t, c, object.DeepCopy(), aPlan))

	// Replacing the run with a manifest from before the approval does not withdraw the approval.
	update := func(edit func(spec map[string]any)) error {
		current := object.DeepCopy()
		must(t, c.Get(t.Context(), client.ObjectKeyFromObject(object), current))
		spec, _, err := unstructured.NestedMap(current.Object, "spec")
		must(t, err)
		edit(spec)
		must(t, unstructured.SetNestedMap(current.Object, spec, "spec"))
		return c.Update(t.Context(), current)
	}
	for _, tc := range []struct {
		name string
		edit func(spec map[string]any)
		want string
	}{
		{"nothing", func(map[string]any) {}, ``},
		{"approved", func(spec map[string]any) { spec["approval"] = "Approved" }, ``},
		{"another group", func(spec map[string]any) { spec["groupID"] = "other" }, `spec: Invalid value: ` + restImmutable},
		{"no word of it", func(spec map[string]any) { delete(spec, "approval") }, `spec.approval: Invalid value: "Pending": ` + onlyForward},
		{"denied", func(spec map[string]any) { spec["approval"] = "Denied" }, ``},
	} {
		if diff := cmp.Diff(tc.want, complaint(t, update(tc.edit))); diff != "" {
			t.Fatalf("%s: complaint (-want,+got):\n%s", tc.name, diff)
		}
	}

	// An approval based on an earlier resourceVersion is a conflict.
	must(t, unstructured.SetNestedField(before.Object, "Approved", "spec", "approval"))
	if err := c.Update(t.Context(), before); err == nil {
		t.Error("an update of an outdated object was taken")
	}
}

// testSteps takes a new run through each list of steps.
func testSteps(t *testing.T, c client.Client, namespace string, tests map[string][]step) {
	t.Helper()
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			object := newRun(t, c, namespace)
			for i, step := range steps {
				if diff := cmp.Diff(step.want, complaint(t, patchObject(t, c, object, step.patch))); diff != "" {
					t.Fatalf("step %d, %s: complaint (-want,+got):\n%s", i, step.patch, diff)
				}
			}
		})
	}
}
