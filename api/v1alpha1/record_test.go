package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A record above 1.5 MiB ("etcdserver: request is too large") would block its run forever. So here every list and
// account has its maximum length; a real record never has both kept and undo in full.
func TestLongestRecordFits(t *testing.T) {
	const items = 1000
	account := func(i int) string { return fmt.Sprintf("%0255d", i) }
	list := func(format string) string {
		var list []string
		for i := range items {
			list = append(list, fmt.Sprintf(format, account(i)))
		}
		return `[` + strings.Join(list, ", ") + `]`
	}
	c := newClient(t)
	namespace := newNamespace(t, c)
	object := mutate(t, basePruneRun, `spec: {groupID: "`+strings.Repeat("a", 255)+`"}`)
	object.SetNamespace(namespace)
	must(t, c.Create(t.Context(), object))

	var conditions []string
	for i, name := range []string{"Planned", "Complete", "Failed", "Undone"} {
		status := map[bool]string{true: "True", false: "False"}[i == 0]
		conditions = append(conditions, strings.Replace(condition(name, status, "ProtectionUnresolved"), `message: ""`, `message: "`+strings.Repeat("m", 32768)+`"`, 1))
	}
	// One patch for each step, in the order of a run.
	for _, patch := range []string{
		planWith(`removals: ` + list(`{account: "%s", lastActiveAt: "2026-08-01T09:30:00Z", reason: NeverSpoke}`)),
		`status: {progress: {settled: 1000, inFlight: 100, lastBatchAt: "2026-11-20T09:31:00Z"}, removed: 1000, kept: ` + list(`{account: "%s", reason: BudgetExhausted}`) + `}`,
		refuseWith(`code: 10200, message: "` + strings.Repeat("久", 256) + `"`),
		undoWith(`accounts: ` + list(`{account: "%s", result: AwaitingConfirmation}`)),
		`status: {conditions: [` + strings.Join(conditions, ", ") + `]}`,
	} {
		must(t, patchStatus(t, c, object.DeepCopy(), patch))
	}
	must(t, c.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"labels": {"groupgate.io/app": "prod"}}}`))))

	data, err := json.Marshal(object)
	must(t, err)
	for _, at := range [][]string{{"status", "plan", "removals"}, {"status", "kept"}, {"status", "undo", "accounts"}} {
		got, _, err := unstructured.NestedSlice(object.Object, at...)
		must(t, err)
		if len(got) != items {
			t.Errorf("%s: %d are stored, want %d", strings.Join(at, "."), len(got), items)
		}
	}
	t.Logf("the longest record is of %d bytes", len(data))
}
