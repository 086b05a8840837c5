package pruning

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestPauseHoldsOnlyWhatWaitsForTheVendor(t *testing.T) {
	app := types.NamespacedName{Namespace: "n", Name: "prod"}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	waiting := func(reason string, approval v1alpha1.Approval) *v1alpha1.PruneRun {
		run := &v1alpha1.PruneRun{}
		run.Spec.Approval = approval
		run.Status.Conditions = []metav1.Condition{
			{Type: prunerun.NextCondition(run), Status: metav1.ConditionFalse, Reason: reason},
		}
		return run
	}
	var p pauses
	p.begin(app, now.Add(time.Minute))
	for name, tc := range map[string]struct {
		run  *v1alpha1.PruneRun
		app  types.NamespacedName
		at   time.Time
		left time.Duration
	}{
		"one that waits for vendor":    {waiting("VendorUnavailable", ""), app, now.Add(time.Second), 59 * time.Second},
		"one that has not begun":       {waiting("Pending", ""), app, now, 0},
		"one that a person has denied": {waiting("VendorUnavailable", v1alpha1.ApprovalDenied), app, now, 0},
		"one of another app": {
			waiting("VendorUnavailable", ""), types.NamespacedName{Namespace: "n", Name: "test"}, now, 0,
		},
	} {
		if left := p.left(tc.app, tc.run, tc.at); left != tc.left {
			t.Errorf("%s: held for %s, want %s", name, left, tc.left)
		}
	}
	if left := p.left(app, waiting("VendorUnavailable", ""), now.Add(time.Minute)); left != 0 || len(p.until) > 0 {
		t.Errorf("after the pause: %s, %v", left, p.until)
	}
}
