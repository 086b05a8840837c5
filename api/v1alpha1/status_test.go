package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// wholeRecord is a status of a run with every field set.
const wholeRecord = `
status:
  policy:
    {name: vip-lounge, uid: 0b6a1c1e-4c2e-4b5c-9b1f-0d1e2f3a4b5c, generation: 3, mode: Enforce,
      ruleHash: 6f1c2a9b3d41e07f}
  group: {type: Public, members: 2000, maxMembers: 2000}
  plan:
    createdAt: "2026-11-20T09:30:00Z"
    candidates: 340
    size: 2
    stay: {protected: 3, admin: 5, active: 1652, unknown: 0}
    removals:
    - {account: u1, lastActiveAt: "2026-08-01T09:30:00Z", reason: NeverSpoke}
    - {account: u2, reason: Inactive}
  progress: {settled: 1, inFlight: 1, lastBatchAt: "2026-11-20T09:31:00Z"}
  removed: 1
  kept: [{account: u7, reason: ActiveAgain}, {account: u8, reason: BudgetExhausted}]
  refuse: {until: "2026-11-27T09:31:00Z", code: 10110, message: "Members only"}
  undo:
    startedAt: "2026-11-20T10:00:00Z"
    finishedAt: "2026-11-20T10:00:09Z"
    added: 1
    accounts: [{account: u1, result: Added}]
`

// The schema of a status rejects what the operator could not decode again.
func TestStatusSchema(t *testing.T) {
	removal := `{account: a%031d, reason: Inactive}`
	tests := map[string]struct {
		base string
		mutation
	}{
		"a whole record":        {basePruneRun, mutation{wholeRecord, ``}},
		"1000 removals":         {basePruneRun, mutation{planWith(`removals: [` + repeat(1000, removal) + `]`), ``}},
		"1001 removals":         {basePruneRun, mutation{planWith(`removals: [` + repeat(1001, removal) + `]`), `status.plan.removals: Too many: 1001: must have at most 1000 items`}},
		"removal reason":        {basePruneRun, mutation{planWith(`removals: [{account: u1, reason: Rude}]`), `status.plan.removals[0].reason: Unsupported value: "Rude": supported values: "NeverSpoke", "Inactive", "Denied", "NotListed"`}},
		"removal of nobody":     {basePruneRun, mutation{planWith(`removals: [{reason: Inactive}]`), `status.plan.removals[0].account: Required value`}},
		"candidates -1":         {basePruneRun, mutation{planWith(`candidates: -1`), `status.plan.candidates: Invalid value: -1: plan.candidates in body should be greater than or equal to 0`}},
		"members, no int32":     {basePruneRun, mutation{`status: {group: {members: 1, maxMembers: 2147483648}}`, `[status: Invalid value: "": Checked value must be of type integer with format int32 in group.maxMembers, status.group.maxMembers: Invalid value: 2147483648: group.maxMembers in body should be less than or equal to 2147483647]`}},
		"settled 1001":          {basePruneRun, mutation{`status: {progress: {settled: 1001, inFlight: 0}}`, `status.progress.settled: Invalid value: 1001: progress.settled in body should be less than or equal to 1000`}},
		"inFlight 101":          {basePruneRun, mutation{`status: {progress: {settled: 0, inFlight: 101}}`, `status.progress.inFlight: Invalid value: 101: progress.inFlight in body should be less than or equal to 100`}},
		"inFlight unsaid":       {basePruneRun, mutation{`status: {progress: {settled: 0}}`, `status.progress.inFlight: Required value`}},
		"removed 1001":          {basePruneRun, mutation{`status: {removed: 1001}`, `status.removed: Invalid value: 1001: removed in body should be less than or equal to 1000`}},
		"kept reason":           {basePruneRun, mutation{`status: {kept: [{account: u1, reason: Nice}]}`, `status.kept[0].reason: Unsupported value: "Nice": supported values: "Left", "RoleChanged", "ActiveAgain", "Protected", "Admitted", "Unknown", "BudgetExhausted", "VendorRefused", "RunEnded"`}},
		"1001 kept":             {basePruneRun, mutation{`status: {kept: [` + repeat(1001, `{account: u%d, reason: Left}`) + `]}`, `status.kept: Too many: 1001: must have at most 1000 items`}},
		"policy mode":           {basePruneRun, mutation{`status: {policy: {name: p, uid: u, generation: 1, mode: Other}}`, `status.policy.mode: Unsupported value: "Other": supported values: "Preview", "Approve", "Enforce"`}},
		"rule hash":             {basePruneRun, mutation{`status: {policy: {name: p, uid: u, generation: 1, mode: Enforce, ruleHash: 6f1c}}`, `status.policy.ruleHash: Invalid value: "6f1c": policy.ruleHash in body should match '^[0-9a-f]{16}$'`}},
		"other gate":            {baseGroupPolicy, mutation{`status: {gate: Open}`, `status.gate: Unsupported value: "Open": supported values: "Allow", "Deny", "Allow+Deny", "Audit", "None"`}},
		"group type":            {basePruneRun, mutation{`status: {group: {type: Private, members: 1, maxMembers: 1}}`, `status.group.type: Unsupported value: "Private": supported values: "Work", "Public", "Meeting", "AVChatRoom", "Community"`}},
		"the app's number":      {basePruneRun, mutation{`status: {group: {members: 1, maxMembers: 1, sdkAppID: 1400000000, createdAt: "2025-03-01T09:30:00Z"}}`, ``}},
		"the app's number is 0": {basePruneRun, mutation{`status: {group: {members: 1, maxMembers: 1, sdkAppID: 0}}`, `status.group.sdkAppID: Invalid value: 0: group.sdkAppID in body should be greater than or equal to 1`}},
		"group type not known":  {basePruneRun, mutation{`status: {group: {members: 1, maxMembers: 1}}`, ``}},
		"mode Approve":          {basePruneRun, mutation{`status: {policy: {name: p, uid: u, generation: 1, mode: Approve}}`, ``}},
		"refuse 1":              {basePruneRun, mutation{refuseWith(`code: 1`), ``}},
		"refuse 10100":          {basePruneRun, mutation{refuseWith(`code: 10100`), ``}},
		"refuse 10200":          {basePruneRun, mutation{refuseWith(`code: 10200, message: ` + strings.Repeat("久", 256)), ``}},
		"refuse 0":              {basePruneRun, mutation{refuseWith(`code: 0`), `[status.refuse.code: Invalid value: 0: refuse.code in body should be greater than or equal to 1, status.refuse.code: Invalid value: 0: code must be 1, or from 10100 to 10200]`}},
		"refuse 2":              {basePruneRun, mutation{refuseWith(`code: 2`), `status.refuse.code: Invalid value: 2: code must be 1, or from 10100 to 10200`}},
		"refuse 10099":          {basePruneRun, mutation{refuseWith(`code: 10099`), `status.refuse.code: Invalid value: 10099: code must be 1, or from 10100 to 10200`}},
		"refuse 10201":          {basePruneRun, mutation{refuseWith(`code: 10201`), `status.refuse.code: Invalid value: 10201: refuse.code in body should be less than or equal to 10200`}},
		"refuse without code":   {basePruneRun, mutation{refuseWith(`message: x`), `status.refuse.code: Required value`}},
		"refuse for how long":   {basePruneRun, mutation{`status: {refuse: {code: 1}}`, `status.refuse.until: Required value`}},
		"refuse 257 characters": {basePruneRun, mutation{refuseWith(`code: 10110, message: ` + strings.Repeat("a", 257)), `status.refuse.message: Too long: may not be more than 256 bytes`}},
		"every result":          {basePruneRun, mutation{undoWith(`accounts: [` + everyResult() + `]`), ``}},
		"other result":          {basePruneRun, mutation{undoWith(`accounts: [{account: u1, result: Lost}]`), `status.undo.accounts[0].result: Unsupported value: "Lost": supported values: "Pending", "Adding", "Added", "AlreadyMember", "AwaitingConfirmation", "Refused", "NotFound", "GroupLimit", "NoSeat", "RemovedAgain", "StillRefused", "Failed"`}},
		"undo of nobody":        {basePruneRun, mutation{undoWith(`accounts: [{result: Added}]`), `status.undo.accounts[0].account: Required value`}},
		"1001 undone":           {basePruneRun, mutation{undoWith(`accounts: [` + repeat(1001, `{account: u%d, result: Added}`) + `]`), `status.undo.accounts: Too many: 1001: must have at most 1000 items`}},
		"1001 added":            {basePruneRun, mutation{`status: {undo: {startedAt: "2026-11-20T10:00:00Z", added: 1001}}`, `status.undo.added: Invalid value: 1001: undo.added in body should be less than or equal to 1000`}},
		"undo begun when":       {basePruneRun, mutation{`status: {undo: {added: 0}}`, `status.undo.startedAt: Required value`}},
		"last batch when":       {basePruneRun, mutation{`status: {progress: {settled: 0, inFlight: 0, lastBatchAt: yesterday}}`, `status.progress.lastBatchAt: Invalid value: "yesterday": progress.lastBatchAt in body must be of type date-time: "yesterday"`}},
		"two conditions alike":  {basePruneRun, mutation{`status: {conditions: [` + condition("Planned", "True", "Planned") + `, ` + condition("Planned", "True", "Planned") + `]}`, `status.conditions[1]: Duplicate value: {"type":"Planned"}`}},
		"-2 observed":           {baseIMApp, mutation{`status: {observedGeneration: -2}`, `status.observedGeneration: Invalid value: -2: observedGeneration in body should be greater than or equal to -1`}},
		"more accounts than 20": {baseAccountList, mutation{`status: {accounts: 20001}`, `status.accounts: Invalid value: 20001: accounts in body should be less than or equal to 20000`}},
	}
	c := newClient(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			object := mutate(t, tc.base, `{}`)
			object.SetNamespace(newNamespace(t, c))
			must(t, c.Create(t.Context(), object))
			if diff := cmp.Diff(tc.want, complaint(t, patchStatus(t, c, object, tc.patch))); diff != "" {
				t.Errorf("complaint (-want,+got):\n%s", diff)
			}
		})
	}
}

func refuseWith(fields string) string {
	return `status: {refuse: {until: "2026-11-27T09:30:00Z", ` + fields + `}}`
}

func undoWith(fields string) string {
	return `status: {undo: {startedAt: "2026-11-20T10:00:00Z", added: 0, ` + fields + `}}`
}

// everyResult has one account for each RestoreResult.
func everyResult() string {
	var accounts []string
	for _, result := range []v1alpha1.RestoreResult{
		v1alpha1.RestoreResultPending, v1alpha1.RestoreResultAdding, v1alpha1.RestoreResultAdded,
		v1alpha1.RestoreResultAlreadyMember,
		v1alpha1.RestoreResultAwaitingConfirmation, v1alpha1.RestoreResultRefused, v1alpha1.RestoreResultNotFound,
		v1alpha1.RestoreResultGroupLimit, v1alpha1.RestoreResultNoSeat, v1alpha1.RestoreResultRemovedAgain,
		v1alpha1.RestoreResultFailed,
	} {
		accounts = append(accounts, fmt.Sprintf(`{account: u%d, result: %s}`, len(accounts), result))
	}
	return strings.Join(accounts, ", ")
}

func planWith(fields string) string {
	const plan = `createdAt: "2026-11-20T09:30:00Z", candidates: 1, stay: {protected: 0, admin: 0, active: 0, unknown: 0}`
	if field, _, _ := strings.Cut(fields, ":"); field == "candidates" {
		return `status: {plan: {` + strings.Replace(plan, "candidates: 1", fields, 1) + `}}`
	}
	return `status: {plan: {` + plan + `, ` + fields + `}}`
}

// Decoding and encoding a record with the Go types loses nothing.
func TestRecordRoundTrip(t *testing.T) {
	c := newClient(t)
	object := mutate(t, basePruneRun, `{}`)
	object.SetNamespace(newNamespace(t, c))
	must(t, c.Create(t.Context(), object))
	must(t, patchStatus(t, c, object, wholeRecord))

	run := &v1alpha1.PruneRun{}
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(object), run))
	must(t, c.Status().Update(t.Context(), run))
	after := object.DeepCopy()
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(object), after))
	if diff := cmp.Diff(object.Object["status"], after.Object["status"]); diff != "" {
		t.Errorf("status (-before,+after):\n%s", diff)
	}
}

func TestSelectableFields(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	for _, objects := range []struct {
		base    string
		patches map[string]string
	}{
		{basePruneRun, map[string]string{
			"a": `{}`, "b": `spec: {groupID: other}`, "c": `spec: {appRef: {name: test}}`,
		}},
		{baseGroupPolicy, map[string]string{"a": `{}`, "b": `spec: {appRef: {name: test}}`}},
	} {
		for name, patch := range objects.patches {
			object := mutate(t, objects.base, patch)
			object.SetNamespace(namespace)
			object.SetName(name)
			must(t, c.Create(t.Context(), object))
		}
	}
	must(t, c.Patch(t.Context(), &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "c"}},
		client.RawPatch(types.MergePatchType, []byte(`{"spec": {"approval": "Denied"}}`))))
	tests := map[string]struct {
		list   client.ObjectList
		fields client.MatchingFields
		want   []string
	}{
		"group": {&v1alpha1.PruneRunList{},
			client.MatchingFields{"spec.groupID": "@TGS#2J4SZEAEL"}, []string{"a", "c"}},
		"app": {&v1alpha1.PruneRunList{}, client.MatchingFields{"spec.appRef.name": "prod"}, []string{"a", "b"}},
		"both": {&v1alpha1.PruneRunList{},
			client.MatchingFields{"spec.groupID": "@TGS#2J4SZEAEL", "spec.appRef.name": "prod"}, []string{"a"}},
		"approval": {&v1alpha1.PruneRunList{}, client.MatchingFields{"spec.approval": "Pending"}, []string{"a", "b"}},
		"app of a policy": {&v1alpha1.GroupPolicyList{},
			client.MatchingFields{"spec.appRef.name": "test"}, []string{"b"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			must(t, c.List(t.Context(), tc.list, client.InNamespace(namespace), tc.fields))
			var got []string
			must(t, meta.EachListItem(tc.list, func(object runtime.Object) error {
				got = append(got, object.(client.Object).GetName())
				return nil
			}))
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("runs (-want,+got):\n%s", diff)
			}
		})
	}
}

// kubectl get shows these columns; those of priority 1 with -o wide only.
func TestColumns(t *testing.T) {
	const recorded = "App=prod Group=@TGS#2J4SZEAEL Purpose=FreeSeats Policy=vip-lounge Mode=Enforce " +
		"Planned=2 Removed=1 Restored=1 Result="
	const wide = " (Members=2000) (Planned At=2026-11-20T09:30:00Z) (Not Before=<nil>) (Breaker=<nil>)"
	const noPlan = " (Members=<nil>) (Planned At=<nil>) (Not Before=<nil>) (Breaker=<nil>)"
	planned, removing := condition("Planned", "True", "Planned"), condition("Complete", "False", "Removing")
	record := func(conditions ...string) string {
		return wholeRecord + "  conditions: [" + strings.Join(conditions, ", ") + "]\n"
	}
	ready := `status: {gate: Allow, groups: "@TGS#2J4SZEAEL", observedGeneration: 1, conditions: [` +
		condition("Accepted", "True", "Accepted") + `, ` + condition("Ready", "False", "ListNotFound") + `]}`
	tests := map[string]struct {
		resource, base, status string
		want                   string
	}{
		"imapps": {"imapps", baseIMApp, strings.Replace(ready, `gate: Allow, groups: "@TGS#2J4SZEAEL", `, "", 1),
			"SDKAppID=1400000000 Region=Singapore Ready=False (Reason=ListNotFound)"},
		"imapps, fresh": {"imapps", baseIMApp, `{}`, "SDKAppID=1400000000 Region=Singapore Ready=Unknown (Reason=Pending)"},
		"accountlists":  {"accountlists", baseAccountList, `status: {accounts: 3, conditions: [` + condition("Ready", "False", "Pending") + `]}`, "Accounts=3 Ready=False"},
		// A merge patch contains only differences, so a count of 0 is not sent.
		"accountlists, empty": {"accountlists", baseAccountList, `status: {conditions: [` + condition("Ready", "True", "Ready") + `]}`, "Accounts=0 Ready=True"},
		"grouppolicies": {"grouppolicies", baseGroupPolicy, ready,
			"App=prod Gate=Allow Prune=<nil> Evict=<nil> Ready=False (Groups=@TGS#2J4SZEAEL) (Reason=ListNotFound)"},
		"grouppolicies, pruning": {"grouppolicies", basePrunePolicy, `{}`,
			"App=prod Gate=<nil> Prune=Preview Evict=<nil> Ready=Unknown (Groups=<nil>) (Reason=Pending)"},
		"pruneruns, fresh":   {"pruneruns", basePruneRun, `{}`, "App=prod Group=@TGS#2J4SZEAEL Purpose=FreeSeats Policy=<nil> Mode=<nil> Planned=<nil> Removed=0 Restored=<nil> Result=Pending" + noPlan},
		"pruneruns, waiting": {"pruneruns", basePruneRun, `status: {conditions: [` + condition("Planned", "False", "ProtectionUnresolved") + `]}`, "App=prod Group=@TGS#2J4SZEAEL Purpose=FreeSeats Policy=<nil> Mode=<nil> Planned=<nil> Removed=0 Restored=<nil> Result=ProtectionUnresolved" + noPlan},
		"pruneruns, planned": {"pruneruns", basePruneRun, record(planned), recorded + "Planned" + wide},
		"pruneruns, at work": {"pruneruns", basePruneRun, record(planned, removing), recorded + "Removing" + wide},
		"pruneruns, complete": {"pruneruns", basePruneRun,
			record(planned, condition("Complete", "True", "Removed")), recorded + "Removed" + wide},
		"pruneruns, to approve": {"pruneruns", basePruneRun,
			record(planned, condition("Complete", "False", "AwaitingApproval")), recorded + "AwaitingApproval" + wide},
		"pruneruns, undone": {"pruneruns", basePruneRun,
			record(planned, condition("Complete", "True", "Removed"),
				condition("Undone", "True", "Undone")), recorded + "Undone" + wide},
		"pruneruns, failed midway": {"pruneruns", basePruneRun,
			record(planned, removing, condition("Failed", "True", "VendorRefused")), recorded + "VendorRefused" + wide},
		"pruneruns, never planned": {"pruneruns", basePruneRun, `status: {conditions: [` + condition("Planned", "False", "GroupNotFound") + `, ` + condition("Failed", "True", "GroupNotFound") + `]}`, "App=prod Group=@TGS#2J4SZEAEL Purpose=FreeSeats Policy=<nil> Mode=<nil> Planned=<nil> Removed=0 Restored=<nil> Result=GroupNotFound" + noPlan},
	}
	c := newClient(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			object := mutate(t, tc.base, `{}`)
			object.SetNamespace(newNamespace(t, c))
			must(t, c.Create(t.Context(), object))
			must(t, patchStatus(t, c, object, tc.status))
			if diff := cmp.Diff(tc.want, row(t, tc.resource, object)); diff != "" {
				t.Errorf("row (-want,+got):\n%s", diff)
			}
		})
	}
}

// row is the line of an object in kubectl get, without its name and age.
func row(t *testing.T, resource string, object client.Object) string {
	t.Helper()
	config := rest.CopyConfig(apiServer)
	config.APIPath, config.GroupVersion = "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = clientgoscheme.Codecs.WithoutConversion()
	server, err := rest.RESTClientFor(config)
	must(t, err)
	data, err := server.Get().Namespace(object.GetNamespace()).Resource(resource).Name(object.GetName()).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Do(t.Context()).Raw()
	must(t, err)
	table := &metav1.Table{}
	must(t, json.Unmarshal(data, table))

	columns := table.ColumnDefinitions
	if first, last := columns[0].Name, columns[len(columns)-1].Name; first != "Name" || last != "Age" {
		t.Errorf("columns begin with %s and end with %s, want Name and Age", first, last)
	}
	var cells []string
	for i := 1; i < len(columns)-1; i++ {
		cell := fmt.Sprintf("%s=%v", columns[i].Name, table.Rows[0].Cells[i])
		if number, ok := table.Rows[0].Cells[i].(float64); ok {
			cell = fmt.Sprintf("%s=%.0f", columns[i].Name, number)
		}
		if columns[i].Priority == 1 {
			cell = "(" + cell + ")"
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, " ")
}

func TestShortNameAndCategory(t *testing.T) {
	for kind, crd := range readCRDs(t) {
		if diff := cmp.Diff([]string{"groupgate"}, crd.Spec.Names.Categories); diff != "" {
			t.Errorf("%s: categories (-want,+got):\n%s", kind, diff)
		}
		var want []string
		if kind == "GroupPolicy" {
			want = []string{"ggp"}
		}
		if diff := cmp.Diff(want, crd.Spec.Names.ShortNames); diff != "" {
			t.Errorf("%s: short names (-want,+got):\n%s", kind, diff)
		}
	}
}

// GitOps tools must not report an object as ready before a controller has processed it.
func TestReadinessForGitOpsTools(t *testing.T) {
	c := newClient(t)
	ready := func(status string) string {
		return `status: {observedGeneration: 1, conditions: [` + condition("Ready", status, "Whatever") + `]}`
	}
	stalled := `status: {observedGeneration: 1, conditions: [` + condition("Accepted", "False", "Invalid") + `, ` +
		condition("Ready", "False", "Invalid") + `, ` + condition("Stalled", "True", "Invalid") + `]}`
	bases := map[string]string{"IMApp": baseIMApp, "AccountList": baseAccountList, "GroupPolicy": baseGroupPolicy}
	for kind, base := range bases {
		t.Run(kind, func(t *testing.T) {
			object := mutate(t, base, `{}`)
			object.SetNamespace(newNamespace(t, c))
			must(t, c.Create(t.Context(), object))
			got := []string{"fresh: " + kstatus(t, object)}
			must(t, patchStatus(t, c, object, ready("True")))
			got = append(got, "ready: "+kstatus(t, object))
			must(t, patchStatus(t, c, object, ready("False")))
			got = append(got, "not ready: "+kstatus(t, object))
			must(t, patchStatus(t, c, object, stalled))
			got = append(got, "not accepted: "+kstatus(t, object))
			must(t, patchStatus(t, c, object, ready("True")))
			spec := map[string]string{
				"IMApp":       `{"spec": {"pruning": "Suspended"}}`,
				"AccountList": `{"spec": {"accounts": ["jared"]}}`,
				"GroupPolicy": `{"spec": {"groups": [{"type": "All"}]}}`,
			}[kind]
			must(t, c.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(spec))))
			got = append(got, "edited: "+kstatus(t, object))

			want := []string{"fresh: InProgress", "ready: Current", "not ready: InProgress", "not accepted: Failed",
				"edited: InProgress"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("readiness (-want,+got):\n%s", diff)
			}
		})
	}
}

// kstatus computes the status of an object like the library of that name, which Flux and others use, does for custom
// kinds.
func kstatus(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	var parsed struct {
		Status struct {
			ObservedGeneration *int64             `json:"observedGeneration"`
			Conditions         []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	data, err := json.Marshal(object)
	must(t, err)
	must(t, json.Unmarshal(data, &parsed))
	status := parsed.Status
	ready := meta.FindStatusCondition(status.Conditions, "Ready")
	switch {
	case object.GetDeletionTimestamp() != nil:
		return "Terminating"
	case status.ObservedGeneration != nil && *status.ObservedGeneration != object.GetGeneration():
		return "InProgress"
	case meta.IsStatusConditionTrue(status.Conditions, "Reconciling"):
		return "InProgress"
	case meta.IsStatusConditionTrue(status.Conditions, "Stalled"):
		return "Failed"
	case ready != nil && ready.Status != metav1.ConditionTrue:
		return "InProgress"
	}
	return "Current"
}

// patchStatus applies a merge patch in YAML to the status of an object.
func patchStatus(t *testing.T, c client.Client, object *unstructured.Unstructured, patch string) error {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(patch))
	must(t, err)
	return c.Status().Patch(t.Context(), object, client.RawPatch(types.MergePatchType, data))
}

func condition(name, status, reason string) string {
	return fmt.Sprintf(`{type: %s, status: %q, reason: %s, message: "", lastTransitionTime: "2026-11-20T09:30:00Z"}`, name, status, reason)
}
