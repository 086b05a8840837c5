package pruning

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// Somebody else writes to the run all the time, before two of three of our own writes.
func TestConflictStorm(t *testing.T) {
	writers := map[string]func(c client.Client, run *v1alpha1.PruneRun, n int) error{
		"labels": func(c client.Client, run *v1alpha1.PruneRun, n int) error {
			patch := fmt.Sprintf(`{"metadata": {"labels": {"example.com/scanned": "%d"}}}`, n)
			return c.Patch(t.Context(), run, client.RawPatch(types.MergePatchType, []byte(patch)))
		},
		"a condition of its own": func(c client.Client, run *v1alpha1.PruneRun, n int) error {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
				return err
			}
			apimeta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{
				Type: "example.com/Scanned", Status: metav1.ConditionTrue, Reason: "Scanned", Message: fmt.Sprint(n), ObservedGeneration: 1,
			})
			return c.Status().Update(t.Context(), run)
		},
	}
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			before := w.Members(labtest.FullGroup)
			other, n := labtest.Client(t), 0
			w.EachPatch(func(run *v1alpha1.PruneRun, send func() error) error {
				if n++; n%3 != 0 {
					labtest.Must(t, write(other, &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name}}, n))
				}
				return send()
			})
			r := w.replica()
			if _, err := r.step("one"); err != nil {
				t.Fatal(err)
			}
			run := w.Get("one")
			if !prunerun.Finished(run) || run.Status.Removed != plannedRemovals {
				t.Fatalf("removed %d, %v, want the run to end in one pass", run.Status.Removed, labtest.Conditions(run))
			}
			if diff := cmp.Diff(labtest.Without(before, labtest.Planned(run)), w.Members(labtest.FullGroup)); diff != "" {
				t.Errorf("members (-want,+got)\n%s", diff)
			}
			if lists, deletions := w.Happened(labtest.ListMembers), w.Happened(labtest.Delete); lists != 3 || deletions != 3 {
				t.Errorf("%d pages listed, %d deletions, want 3 of each: a lost write costs the vendor nothing", lists, deletions)
			}
			if name != "labels" && apimeta.FindStatusCondition(run.Status.Conditions, "example.com/Scanned") == nil {
				t.Error("the condition of somebody else was overwritten")
			}
		})
	}
}

// What a person or another holder of the term has written is no noise: the write is lost for good.
func TestConflictThatMattersIsOne(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(w *world)
		want      string
	}{
		"denied": {meanwhile: func(w *world) { w.Decide("one", v1alpha1.ApprovalDenied) }, want: "Denied"},
		"another fence": {meanwhile: func(w *world) {
			run := w.Get("one")
			run.Status.Progress = &v1alpha1.PruneProgress{InFlight: 7, LastBatchAt: metav1.NewTime(w.Clock.Now())}
			labtest.Must(w.t, labtest.Client(w.t).Status().Update(w.t.Context(), run))
		}, want: "Removed"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			r := w.replica()
			w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error { // the first fence
				tc.meanwhile(w)
				return send()
			})
			if next, err := r.step("one"); err != nil || next.After != soon {
				t.Errorf("next = %v, %v, want to look again soon", next, err)
			}
			if got := w.Happened(labtest.Delete); got != 0 {
				t.Errorf("%d deletions over what somebody else has written", got)
			}
			if end, _ := prunerun.Completion(r.finish("one")); end.Reason != tc.want {
				t.Errorf("ended %s, want %s", end.Reason, tc.want)
			}
		})
	}
}
