package pruning

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestPolicyThatTheSnapshotLacksIsNotOverlooked(t *testing.T) {
	for name, tc := range map[string]struct {
		before      string // what the policy comes just before
		wantRemoved int32
		wantEnd     string
	}{
		"planning":        {before: labtest.GetGroup, wantEnd: "Previewed"},
		"the first batch": {before: labtest.Delete, wantRemoved: 100, wantEnd: "Superseded"},
	} {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
			})
			w.Publish()
			w.Once(tc.before, 1, func() { w.PolicyFor("b-exact", labtest.FullGroup, v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview}) })
			r := w.replica()
			next, err := r.step("one")
			if err != nil || next.After == 0 || prunerun.Finished(w.Get("one")) {
				t.Errorf("next = %v, %v, want to wait for the snapshot", next, err)
			}
			w.Publish()
			run := r.finish("one")
			if end, _ := prunerun.Completion(run); end.Reason != tc.wantEnd || run.Status.Removed != tc.wantRemoved {
				t.Errorf("%s, removed %d, want %s, %d", end.Reason, run.Status.Removed, tc.wantEnd, tc.wantRemoved)
			}
		})
	}
}

func TestSuspensionDuringASlowReadOfTheGroupIsNotOverlooked(t *testing.T) {
	w := enforcing(t)
	w.Once(labtest.GetGroup, 2, func() { // the first one is that of planning
		w.Clock.Forward(time.Minute)
		change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
	})
	run := w.replica().finish("one")
	labtest.WantConditions(t, run, "Planned=True/Planned", "Complete=True/Suspended")
	if got := w.Happened(labtest.Delete); got != 0 {
		t.Errorf("%d deletions a minute after the suspension", got)
	}
}

// appAgain deletes the app and makes another one of its name, later than everything else by the clock of the API server.
func (w *world) appAgain() {
	w.t.Helper()
	began := w.Get("one").CreationTimestamp
	labtest.Eventually(w.t, func() error {
		app := &v1alpha1.IMApp{}
		labtest.Must(w.t, w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: labtest.App}, app))
		labtest.Must(w.t, w.Client.Delete(w.t.Context(), app))
		again := &v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: labtest.App}, Spec: app.Spec}
		labtest.Must(w.t, w.Client.Create(w.t.Context(), again))
		if !again.CreationTimestamp.After(began.Time) {
			return errors.New("still the same second")
		}
		return nil
	})
	w.Publish()
}

func TestPlanForAnotherAppOfTheSameNameIsVoid(t *testing.T) {
	t.Run("between two batches", func(t *testing.T) {
		w := enforcing(t)
		w.Once(labtest.Delete, 1, w.appAgain)
		run := w.replica().finish("one")
		labtest.WantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
		if got := w.Happened(labtest.Delete); got != 1 || run.Status.Removed != 100 {
			t.Errorf("%d deletions, removed %d, want 1, 100", got, run.Status.Removed)
		}
	})
	t.Run("with a batch in flight", func(t *testing.T) {
		w := enforcing(t)
		first := w.replica()
		w.Once(labtest.Delete, 1, func() { first.kill() })
		_, err := first.step("one")
		labtest.Must(t, err)
		w.Serving.Wait()
		w.Once(labtest.Delete, 0, nil)
		w.appAgain()
		w.Forget()
		run := w.replica().finish("one")
		labtest.WantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
		if len(w.Calls()) != 1 || run.Status.Progress.InFlight != 100 || run.Status.Removed != 0 {
			t.Errorf("calls %v, progress %+v, removed %d: another app's group tells nothing of the batch in flight", w.Calls(), run.Status.Progress, run.Status.Removed)
		}
	})
}
