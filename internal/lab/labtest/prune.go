package labtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// FullGroup is the id of the group of Policy and Run: it holds everything that a field selector has to escape.
const FullGroup = "lounge #2, a=b\\"

// Seats is a number of seats, as a rule has it.
func Seats(n int) *intstr.IntOrString { s := intstr.FromInt32(int32(n)); return &s }

// Policy applies a policy for FullGroup and publishes it.
func (w *World) Policy(name string, rule v1alpha1.PruneRule) {
	w.t.Helper()
	w.PolicyFor(name, FullGroup, rule)
	w.Publish()
}

// PolicyFor applies a policy for a group, by default one that enforces. Inactive is who was silent for 30 days.
func (w *World) PolicyFor(name, group string, rule v1alpha1.PruneRule) {
	w.t.Helper()
	if rule.Mode == "" {
		rule.Mode = v1alpha1.PruneModeEnforce
	}
	rule.InactiveFor = "30d"
	w.create(&v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef:   v1alpha1.AppReference{Name: App},
			Groups:   []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherExact, Value: group}},
			WhenFull: &v1alpha1.WhenFullSection{Prune: &rule},
		},
	})
}

// Group makes a full group: the owner, an admin, talkers who spoke today, and idlers i1, i2, ... who have not for 40
// days.
func (w *World) Group(id string, talkers, idlers int) {
	w.t.Helper()
	spec := emulator.GroupSpec{
		ID: id, Type: "Public", Owner: "owner", MaxMembers: 2 + talkers + idlers, CreatedAgo: "400d",
		Members: []emulator.MemberSpec{{Accounts: []string{"boss"}, Role: "Admin", InactiveFor: "300d"}},
	}
	if talkers > 0 {
		spec.Members = append(spec.Members,
			emulator.MemberSpec{Prefix: "t", Count: talkers, JoinedAgo: "100d", SpokeAgo: "2h"})
	}
	if idlers > 0 {
		spec.Members = append(spec.Members, emulator.MemberSpec{Prefix: "i", Count: idlers, InactiveFor: "40d"})
	}
	_, err := w.Emulator.CreateGroup(w.t.Context(), spec)
	Must(w.t, err)
}

// Members are the accounts of a group, sorted.
func (w *World) Members(id string) []string {
	w.t.Helper()
	list, err := w.Emulator.Members(w.t.Context(), id)
	Must(w.t, err)
	accounts := make([]string, len(list))
	for i := range list {
		accounts[i] = list[i].Account
	}
	slices.Sort(accounts)
	return accounts
}

// Put makes accounts members of a group.
func (w *World) Put(id string, members emulator.MemberSpec) {
	w.t.Helper()
	_, err := w.Emulator.PutMembers(w.t.Context(), id, members)
	Must(w.t, err)
}

// Resize changes the number of seats of a group.
func (w *World) Resize(id string, seats int) {
	w.t.Helper()
	_, err := w.Emulator.ChangeGroup(w.t.Context(), id, emulator.GroupChange{MaxMembers: &seats})
	Must(w.t, err)
}

// Fault makes calls of the backend fail.
func (w *World) Fault(fault emulator.Fault) {
	w.t.Helper()
	_, err := w.Emulator.AddFault(w.t.Context(), fault)
	Must(w.t, err)
}

// Run makes a PruneRun for FullGroup.
func (w *World) Run(name string, trigger v1alpha1.PruneTrigger) {
	w.t.Helper()
	w.RunFor(name, FullGroup, trigger)
}

// RunFor makes a PruneRun for a group.
func (w *World) RunFor(name, group string, trigger v1alpha1.PruneTrigger) {
	w.t.Helper()
	w.create(&v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec:       v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: App}, GroupID: group, Trigger: trigger},
	})
}

// Get reads a PruneRun.
func (w *World) Get(name string) *v1alpha1.PruneRun {
	w.t.Helper()
	run := &v1alpha1.PruneRun{}
	Must(w.t, w.Client.Get(w.t.Context(), w.Key(name), run))
	return run
}

// Exists reports whether a PruneRun of that name exists.
func (w *World) Exists(name string) bool {
	w.t.Helper()
	err := w.Client.Get(w.t.Context(), w.Key(name), &v1alpha1.PruneRun{})
	Must(w.t, client.IgnoreNotFound(err))
	return !apierrors.IsNotFound(err)
}

// RunNames are the names of all PruneRuns.
func (w *World) RunNames() []string {
	w.t.Helper()
	var list v1alpha1.PruneRunList
	Must(w.t, w.Client.List(w.t.Context(), &list, client.InNamespace(w.Namespace)))
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names
}

// Decide sets spec.approval of a run.
func (w *World) Decide(name string, approval v1alpha1.Approval) {
	w.t.Helper()
	Edit(w, &v1alpha1.PruneRun{}, name, func(run *v1alpha1.PruneRun) { run.Spec.Approval = approval })
}

// RequestUndo sets spec.undo of a run.
func (w *World) RequestUndo(name string) {
	w.t.Helper()
	Edit(w, &v1alpha1.PruneRun{}, name, func(run *v1alpha1.PruneRun) { run.Spec.Undo = v1alpha1.UndoRequested })
}

// Conditions are "type=status/reason", in order.
func Conditions(run *v1alpha1.PruneRun) []string {
	var all []string
	for _, c := range run.Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
	}
	return all
}

// WantConditions compares the conditions of run. All have to be about its generation, and every message a sentence.
func WantConditions(t *testing.T, run *v1alpha1.PruneRun, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, Conditions(run)); diff != "" {
		t.Errorf("conditions (-want,+got)\n%s\n%+v", diff, run.Status.Conditions)
	}
	for _, c := range run.Status.Conditions {
		if c.ObservedGeneration != run.Generation {
			t.Errorf("%s is about generation %d, want %d", c.Type, c.ObservedGeneration, run.Generation)
		}
		first, _ := utf8.DecodeRuneInString(c.Message)
		if unicode.IsLower(first) || !strings.HasSuffix(c.Message, ".") || strings.HasSuffix(c.Message, "..") {
			t.Errorf("the message of %s is no sentence: %q", c.Type, c.Message)
		}
	}
}

// Planned are the accounts that the plan of run removes.
func Planned(run *v1alpha1.PruneRun) []string {
	if run.Status.Plan == nil {
		return nil
	}
	accounts := make([]string, len(run.Status.Plan.Removals))
	for i, removal := range run.Status.Plan.Removals {
		accounts[i] = removal.Account
	}
	return accounts
}

// Kept are the accounts that run kept, and why.
func Kept(run *v1alpha1.PruneRun) map[string]v1alpha1.KeptReason {
	all := map[string]v1alpha1.KeptReason{}
	for _, kept := range run.Status.Kept {
		all[kept.Account] = kept.Reason
	}
	return all
}

// Without returns all less gone, sorted.
func Without(all, gone []string) []string {
	rest := slices.DeleteFunc(slices.Clone(all), func(account string) bool { return slices.Contains(gone, account) })
	slices.Sort(rest)
	return rest
}
