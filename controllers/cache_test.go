package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/groupgate/groupgate/api/v1alpha1"
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
	slimRun := slimPruneRun(time.Now)
	light := metav1.ObjectMeta{Name: "x", Labels: map[string]string{"kept": "yes"}, Annotations: map[string]string{"kept": "yes"}}
	cases := map[string]struct {
		transform toolscache.TransformFunc
		in, want  any
	}{
		"Object": {slim, &v1alpha1.GroupPolicy{ObjectMeta: bulky()}, &v1alpha1.GroupPolicy{ObjectMeta: light}},
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
			got, err := tc.transform(tc.in)
			must(t, err)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("kept in memory (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestCacheSelectsWhatItMayRead(t *testing.T) {
	all := CacheOptions(nil, ElectionConfig{}, time.Now)
	if all.DefaultNamespaces != nil || len(all.ByObject) != 2 {
		t.Errorf("without namespaces and election: %+v", all)
	}
	some := CacheOptions([]string{"chat", "games"}, ElectionConfig{Enabled: true, ID: "groupgate-manager", Namespace: "groupgate-system"}, time.Now)
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
