package pruning

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// The watch of AccountLists is behind while all other watches, and the Lease's, are not.
func TestListThatTheSnapshotIsBehindOnProtectsMembers(t *testing.T) {
	t.Parallel()
	vip := map[string]string{"kind": "vip"}
	byName := v1alpha1.AccountListReference{Name: "vip"}
	byLabels := v1alpha1.AccountListReference{Selector: &metav1.LabelSelector{MatchLabels: vip}}
	put := func(w *world, name string, labels map[string]string, accounts ...string) {
		list := &v1alpha1.AccountList{Spec: v1alpha1.AccountListSpec{Accounts: accounts}}
		list.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: name, Labels: labels}
		must(w.t, w.Client.Create(w.t.Context(), list))
	}
	edit := func(w *world) {
		change(w, &v1alpha1.AccountList{}, "vip", func(l *v1alpha1.AccountList) {
			l.Spec.Accounts = append(l.Spec.Accounts, "i1")
		})
	}
	tests := map[string]struct {
		ref       v1alpha1.AccountListReference
		meanwhile func(w *world)
	}{
		"edited, by name":   {byName, edit},
		"edited, by labels": {byLabels, edit},
		"made anew": {byName, func(w *world) {
			w.Remove(&v1alpha1.AccountList{}, "vip")
			put(w, "vip", vip, "i1")
		}},
		"another list with the labels": {byLabels, func(w *world) { put(w, "vip-too", vip, "i1") }},
		"relabelled": {byLabels, func(w *world) {
			change(w, &v1alpha1.AccountList{}, "other", func(l *v1alpha1.AccountList) { l.Labels = vip })
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Group(fullGroup, 5, 10)
			put(w, "vip", vip, "t1")
			put(w, "other", nil, "i1")
			// The rule of the second policy is overridden, its protection is not.
			w.PolicyFor("b-all", "b", v1alpha1.PruneRule{
				Protect: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{tc.ref}},
			})
			w.editPolicy("b-all", func(p *v1alpha1.GroupPolicy) {
				p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
			})
			w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(10)})
			w.Run("one", v1alpha1.PruneTriggerGroupFull)
			w.OnPatch(1, func(_ *v1alpha1.PruneRun, send func() error) error {
				tc.meanwhile(w)
				return send()
			})
			r := w.replica()
			for range 3 {
				if next, err := r.step("one"); err != nil || next.After == 0 {
					t.Errorf("next = %v, %v, want another Step", next, err)
				}
			}
			if got := w.Happened(apiDelete); got != 0 {
				t.Fatalf("%d deletions; i1 is still a member: %t", got, slices.Contains(w.Members(fullGroup), "i1"))
			}
			w.Publish()
			run := r.finish("one")
			if diff := cmp.Diff(map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonProtected},
				labtest.Kept(run)); diff != "" || run.Status.Removed != 9 {
				t.Errorf("removed %d, kept (-want,+got)\n%s", run.Status.Removed, diff)
			}
		})
	}
}
