package informers

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

func bulky() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "chat", Name: "x", UID: "uid", ResourceVersion: "7", Generation: 3,
		Labels:        map[string]string{"label": "yes"},
		Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: "everything again", "other": "yes"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		Finalizers:    []string{"chart"}, OwnerReferences: []metav1.OwnerReference{{Name: "chart"}},
	}
}

func TestTransformsDropWhatNoReaderNeeds(t *testing.T) {
	trimmed := bulky()
	trimmed.ManagedFields, trimmed.Annotations = nil, map[string]string{"other": "yes"}
	secret := trimmed
	secret.Annotations = nil
	identity := metav1.ObjectMeta{Namespace: "chat", Name: "x", UID: "uid", ResourceVersion: "7", Generation: 3}
	labelled := identity
	labelled.Labels = map[string]string{"label": "yes"}
	conditions := []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady},
	}
	policySpec := v1alpha1.GroupPolicySpec{
		AppRef: v1alpha1.AppReference{Name: "prod"},
		Groups: append(make([]v1alpha1.GroupMatcher, 0, 4), v1alpha1.GroupMatcher{Value: "lounge"}),
		Join: &v1alpha1.JoinSection{
			Triggers: []v1alpha1.JoinTrigger{v1alpha1.JoinTriggerApply}, Allow: &v1alpha1.AccountSelector{},
			Reject: &v1alpha1.Rejection{Code: new(int32(10110)), Message: "Members only"},
		},
	}
	policyStatus := v1alpha1.GroupPolicyStatus{Conditions: conditions}
	list := func(meta metav1.ObjectMeta) *v1alpha1.AccountList {
		return &v1alpha1.AccountList{
			ObjectMeta: meta, Spec: v1alpha1.AccountListSpec{Accounts: []string{"jared"}},
			Status: v1alpha1.AccountListStatus{Conditions: conditions},
		}
	}
	packedList := list(labelled)
	convert.PackList(packedList, "")
	run := func(meta metav1.ObjectMeta) *v1alpha1.PruneRun {
		return &v1alpha1.PruneRun{ObjectMeta: meta, Status: v1alpha1.PruneRunStatus{
			Plan: &v1alpha1.PrunePlan{Candidates: 1, Removals: []v1alpha1.PlannedRemoval{{Account: "u1"}}},
			Kept: []v1alpha1.KeptAccount{{Account: "u2"}}, Removed: 1, Conditions: conditions,
		}}
	}
	packedRun := run(trimmed)
	convert.PackRun(packedRun, time.Now())
	data := func(keys ...string) map[string][]byte {
		data := map[string][]byte{}
		for _, key := range keys {
			data[key] = []byte("value of " + key)
		}
		return data
	}
	trim := trim(&interner{}, &policy.Store{}, time.Now)
	unknown := toolscache.DeletedFinalStateUnknown{Key: "a/x"}
	cases := map[string]struct{ in, want any }{
		"IMApp": {&v1alpha1.IMApp{ObjectMeta: bulky()}, &v1alpha1.IMApp{ObjectMeta: trimmed}},
		"GroupPolicy": {
			&v1alpha1.GroupPolicy{ObjectMeta: bulky(), Spec: *policySpec.DeepCopy(), Status: policyStatus},
			&v1alpha1.GroupPolicy{ObjectMeta: identity, Spec: policySpec, Status: policyStatus},
		},
		"AccountList": {list(bulky()), packedList},
		"Secret": {
			&corev1.Secret{
				ObjectMeta: bulky(), Data: data("secretKey", "callbackToken", "previousCallbackToken", "other"),
			},
			&corev1.Secret{ObjectMeta: secret, Data: data("secretKey", "callbackToken", "previousCallbackToken")},
		},
		"PruneRun": {run(bulky()), packedRun},
		"Deleted":  {unknown, unknown},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.in
			for _, time := range []string{"once", "twice"} { // as informers do with objects that they stream
				var err error
				got, err = trim(got)
				must(t, err)
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("transformed %s (-want,+got):\n%s", time, diff)
				}
			}
		})
	}
}

func TestCachedObjectsShareTheirTexts(t *testing.T) {
	transform := trimDeclared(&interner{}, &policy.Store{})
	decoded := func(name string) *v1alpha1.AccountList { // shares nothing
		condition := metav1.Condition{Message: strings.Clone("The list is in the snapshot.")}
		return &v1alpha1.AccountList{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: strings.Clone("chat"), Name: name, Labels: map[string]string{"list": "vip"},
			},
			Status: v1alpha1.AccountListStatus{Conditions: append(make([]metav1.Condition, 0, 4), condition)},
		}
	}
	a, b := decoded("a"), decoded("b")
	for _, list := range []*v1alpha1.AccountList{a, b} {
		_, err := transform(list)
		must(t, err)
	}
	if unsafe.StringData(a.Namespace) != unsafe.StringData(b.Namespace) {
		t.Error("the namespaces are two strings")
	}
	if unsafe.StringData(a.Status.Conditions[0].Message) != unsafe.StringData(b.Status.Conditions[0].Message) {
		t.Error("the messages are two strings")
	}
	if reflect.ValueOf(a.Labels).Pointer() != reflect.ValueOf(b.Labels).Pointer() {
		t.Error("the labels are two maps")
	}
	if cap(a.Status.Conditions) != 1 {
		t.Errorf("room for %d conditions, want 1", cap(a.Status.Conditions))
	}
}

func TestInternerIsBounded(t *testing.T) {
	var shared interner
	for i := range 3 * mostInterned {
		text := fmt.Sprint(i)
		if got := shared.text(text); got != text {
			t.Fatalf("%q became %q", text, got)
		}
		labels := map[string]string{"n": text}
		if diff := cmp.Diff(labels, shared.labelSet(labels)); diff != "" {
			t.Fatalf("labels (-want,+got):\n%s", diff)
		}
	}
	if len(shared.texts) > mostInterned || len(shared.labels) > mostInterned {
		t.Errorf("%d texts and %d sets of labels, want at most %d", len(shared.texts), len(shared.labels), mostInterned)
	}
}

// A list comes again with every write of its status. Its accounts must not be in memory a second time.
func TestListThatComesAgainSharesTheAccountsOfTheSnapshot(t *testing.T) {
	var (
		store    policy.Store
		compiler policy.Compiler
	)
	transform := trimDeclared(&interner{}, &store)
	come := func(members ...string) policy.List {
		list := &v1alpha1.AccountList{
			ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "vip"},
			Spec:       v1alpha1.AccountListSpec{Accounts: members},
		}
		_, err := transform(list)
		must(t, err)
		return convert.List(list)
	}
	memory := func(list policy.List) *byte { return unsafe.StringData(string(list.Accounts)) }
	first := come("jared", "tommy")
	compiler.SetList(first)
	store.Publish(compiler.Build())
	if memory(come("jared", "tommy")) != memory(first) {
		t.Error("the same accounts are in memory twice")
	}
	if diff := cmp.Diff(accounts.NewSet([]string{"jared", "ann"}), come("jared", "ann").Accounts); diff != "" {
		t.Errorf("other accounts (-want,+got):\n%s", diff)
	}
	compiler.DeleteList("chat", "vip")
	store.Publish(compiler.Build())
	if memory(come("jared", "tommy")) == memory(first) {
		t.Error("the accounts of a deleted list stay in memory")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
