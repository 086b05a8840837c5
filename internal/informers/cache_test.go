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
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

func bulky() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: "x", Labels: map[string]string{"kept": "yes"},
		Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: "everything again", "kept": "yes"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}
}

func TestCacheDropsWhatNobodyReads(t *testing.T) {
	plan := func() *v1alpha1.PrunePlan {
		return &v1alpha1.PrunePlan{Candidates: 1, Removals: []v1alpha1.PlannedRemoval{{Account: "u1"}}}
	}
	run := func(conditionType string, status metav1.ConditionStatus) *v1alpha1.PruneRun {
		return &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Status: v1alpha1.PruneRunStatus{
			Plan: plan(), Kept: []v1alpha1.KeptAccount{{Account: "u2"}}, Removed: 1,
			Conditions: []metav1.Condition{{Type: conditionType, Status: status}},
		}}
	}
	slimmed := func(conditionType string, status metav1.ConditionStatus) *v1alpha1.PruneRun {
		r := run(conditionType, status)
		r.Status.Plan.Removals, r.Status.Kept = nil, nil
		return r
	}
	slimRun, slim := slimPruneRun(time.Now), slimmer(&interner{}, &policy.Store{})
	identity := metav1.ObjectMeta{Namespace: "chat", Name: "x", UID: "uid", ResourceVersion: "7", Generation: 3}
	declared := bulky()
	declared.Namespace, declared.UID, declared.ResourceVersion, declared.Generation = identity.Namespace, identity.UID, identity.ResourceVersion, identity.Generation
	declared.OwnerReferences, declared.Finalizers = []metav1.OwnerReference{{Name: "chart"}}, []string{"chart"}
	labelled := identity
	labelled.Labels = declared.Labels
	conditions := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}}
	spec := v1alpha1.GroupPolicySpec{
		AppRef: v1alpha1.AppReference{Name: "prod"}, Groups: append(make([]v1alpha1.GroupMatcher, 0, 4), v1alpha1.GroupMatcher{Value: "lounge"}),
		Join: &v1alpha1.JoinSection{
			Triggers: []v1alpha1.JoinTrigger{v1alpha1.JoinTriggerApply}, Allow: &v1alpha1.AccountSelector{},
			Reject: &v1alpha1.Rejection{Code: new(int32(10110)), Message: "Members only"},
		},
	}
	packed := &v1alpha1.AccountList{ObjectMeta: labelled, Spec: v1alpha1.AccountListSpec{Accounts: []string{"jared"}}, Status: v1alpha1.AccountListStatus{Conditions: conditions}}
	convert.PackList(packed)
	light := metav1.ObjectMeta{Name: "x", Labels: map[string]string{"kept": "yes"}, Annotations: map[string]string{"kept": "yes"}}
	cases := map[string]struct {
		transform toolscache.TransformFunc
		in, want  any
	}{
		"Object": {slim, &v1alpha1.IMApp{ObjectMeta: bulky()}, &v1alpha1.IMApp{ObjectMeta: light}},
		"GroupPolicy": {
			slim,
			&v1alpha1.GroupPolicy{ObjectMeta: declared, Spec: *spec.DeepCopy(), Status: v1alpha1.GroupPolicyStatus{Conditions: conditions}},
			&v1alpha1.GroupPolicy{ObjectMeta: identity, Spec: spec, Status: v1alpha1.GroupPolicyStatus{Conditions: conditions}},
		},
		"AccountList": {
			slim,
			&v1alpha1.AccountList{ObjectMeta: declared, Spec: v1alpha1.AccountListSpec{Accounts: []string{"jared"}}, Status: v1alpha1.AccountListStatus{Conditions: conditions}},
			packed,
		},
		"Secret": {
			slimSecret,
			&corev1.Secret{ObjectMeta: bulky(), Data: map[string][]byte{"secretKey": []byte("k"), "callbackToken": []byte("t"), "previousCallbackToken": []byte("p"), "other": []byte("o")}},
			&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{"kept": "yes"}},
				Data:       map[string][]byte{"secretKey": []byte("k"), "callbackToken": []byte("t"), "previousCallbackToken": []byte("p")},
			},
		},
		"RunAtWork":    {slimRun, run(v1alpha1.ConditionComplete, metav1.ConditionFalse), slimmed(v1alpha1.ConditionComplete, metav1.ConditionFalse)},
		"RunComplete":  {slimRun, run(v1alpha1.ConditionComplete, metav1.ConditionTrue), slimmed(v1alpha1.ConditionComplete, metav1.ConditionTrue)},
		"RunFailed":    {slimRun, run(v1alpha1.ConditionFailed, metav1.ConditionTrue), slimmed(v1alpha1.ConditionFailed, metav1.ConditionTrue)},
		"BulkyRun":     {slimRun, &v1alpha1.PruneRun{ObjectMeta: bulky()}, &v1alpha1.PruneRun{ObjectMeta: light}},
		"Tombstone":    {slim, toolscache.DeletedFinalStateUnknown{Key: "a/x"}, toolscache.DeletedFinalStateUnknown{Key: "a/x"}},
		"TombstoneRun": {slimRun, toolscache.DeletedFinalStateUnknown{Key: "a/x"}, toolscache.DeletedFinalStateUnknown{Key: "a/x"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.in
			for _, time := range []string{"once", "twice"} { // as informers do with what they stream
				var err error
				got, err = tc.transform(got)
				must(t, err)
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("kept in memory, transformed %s (-want,+got):\n%s", time, diff)
				}
			}
		})
	}
}

func TestCachedObjectsShareTheirTexts(t *testing.T) {
	transform := slimmer(&interner{}, &policy.Store{})
	decoded := func(name string) *v1alpha1.AccountList { // nothing in it is shared
		return &v1alpha1.AccountList{
			ObjectMeta: metav1.ObjectMeta{Namespace: strings.Clone("chat"), Name: name, Labels: map[string]string{"list": "vip"}},
			Status:     v1alpha1.AccountListStatus{Conditions: append(make([]metav1.Condition, 0, 4), metav1.Condition{Message: strings.Clone("The list is in the snapshot.")})},
		}
	}
	a, b := decoded("a"), decoded("b")
	for _, list := range []*v1alpha1.AccountList{a, b} {
		_, err := transform(list)
		must(t, err)
	}
	if unsafe.StringData(a.Namespace) != unsafe.StringData(b.Namespace) {
		t.Error("each has its own namespace")
	}
	if unsafe.StringData(a.Status.Conditions[0].Message) != unsafe.StringData(b.Status.Conditions[0].Message) {
		t.Error("each has its own words")
	}
	if reflect.ValueOf(a.Labels).Pointer() != reflect.ValueOf(b.Labels).Pointer() {
		t.Error("each has its own labels")
	}
	if cap(a.Status.Conditions) != 1 {
		t.Errorf("room for %d conditions", cap(a.Status.Conditions))
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
		t.Errorf("%d texts and %d sets of labels", len(shared.texts), len(shared.labels))
	}
}

func TestCacheSelectsWhatItMayRead(t *testing.T) {
	all := CacheOptions(Options{Store: &policy.Store{}, Now: time.Now})
	if all.DefaultNamespaces != nil || len(all.ByObject) != 2 {
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
		case *v1alpha1.PruneRun:
			got["PruneRun"] = ""
		default:
			for namespace := range by.Namespaces {
				got["Lease"] = namespace + " " + by.Field.String()
			}
		}
	}
	want := map[string]string{"Secret": "groupgate.io/credentials=true", "PruneRun": "", "Lease": "groupgate-system metadata.name=groupgate-manager"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("selected (-want,+got):\n%s", diff)
	}
}

// A list comes again with every write of its status. Its accounts must not be in memory once more, beside those of the snapshot.
func TestListThatComesAgainSharesTheAccountsOfTheSnapshot(t *testing.T) {
	var (
		store    policy.Store
		compiler policy.Compiler
	)
	transform := slimmer(&interner{}, &store)
	come := func(members ...string) policy.List {
		list := &v1alpha1.AccountList{
			ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "vip"}, Spec: v1alpha1.AccountListSpec{Accounts: members},
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
		t.Error("the accounts of a list that is gone are held on to")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
