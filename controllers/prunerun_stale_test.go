package controllers

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestPolicyThatTheSnapshotLacksIsNotOverlooked(t *testing.T) {
	for name, tc := range map[string]struct {
		before      string // what the policy comes just before
		wantRemoved int32
		wantEnd     string
	}{
		"planning":        {before: apiGroup, wantEnd: "Previewed"},
		"the first batch": {before: apiDelete, wantRemoved: 100, wantEnd: "Superseded"},
	} {
		t.Run(name, func(t *testing.T) {
			w := enforcing(t)
			change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
			})
			w.publish()
			w.once(tc.before, 1, func() { w.policyFor("b-exact", fullGroup, v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview}) })
			r := w.process()
			result, err := w.reconcile(r, "one")
			if err != nil || result.RequeueAfter == 0 || prunerun.Finished(w.get("one")) {
				t.Errorf("result = %v, %v, want to wait for the snapshot", result, err)
			}
			w.publish()
			run := w.finish(r, "one")
			if end, _ := prunerun.Completion(run); end.Reason != tc.wantEnd || run.Status.Removed != tc.wantRemoved {
				t.Errorf("%s, removed %d, want %s, %d", end.Reason, run.Status.Removed, tc.wantEnd, tc.wantRemoved)
			}
		})
	}
}

func TestSuspensionDuringASlowReadOfTheGroupIsNotOverlooked(t *testing.T) {
	w := enforcing(t)
	w.once(apiGroup, 2, func() { // the first one is that of planning
		w.clock.forward(time.Minute)
		change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
	})
	run := w.finish(w.process(), "one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Suspended")
	if got := w.happened(apiDelete); got != 0 {
		t.Errorf("%d deletions a minute after the suspension", got)
	}
}

// appAgain deletes the app and makes another one of its name, later than everything else by the clock of the API server.
func (w *world) appAgain() {
	w.t.Helper()
	began := w.get("one").CreationTimestamp
	eventually(w.t, func() error {
		app := &v1alpha1.IMApp{}
		must(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: pruneApp}, app))
		must(w.t, w.client.Delete(w.t.Context(), app))
		again := &v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: pruneApp}, Spec: app.Spec}
		must(w.t, w.client.Create(w.t.Context(), again))
		if !again.CreationTimestamp.After(began.Time) {
			return errors.New("still the same second")
		}
		return nil
	})
	w.publish()
}

func TestPlanForAnotherAppOfTheSameNameIsVoid(t *testing.T) {
	t.Run("between two batches", func(t *testing.T) {
		w := enforcing(t)
		w.once(apiDelete, 1, w.appAgain)
		run := w.finish(w.process(), "one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
		if got := w.happened(apiDelete); got != 1 || run.Status.Removed != 100 {
			t.Errorf("%d deletions, removed %d, want 1, 100", got, run.Status.Removed)
		}
	})
	t.Run("with a batch in flight", func(t *testing.T) {
		w := enforcing(t)
		first := w.process()
		w.once(apiDelete, 1, func() { w.kill(first) })
		_, err := w.reconcile(first, "one")
		must(t, err)
		w.serving.Wait()
		w.once(apiDelete, 0, nil)
		w.appAgain()
		w.forget()
		run := w.finish(w.process(), "one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
		if len(w.calls) != 1 || run.Status.Progress.InFlight != 100 || run.Status.Removed != 0 {
			t.Errorf("calls %v, progress %+v, removed %d: another app's group tells nothing of the batch in flight", w.calls, run.Status.Progress, run.Status.Removed)
		}
	})
}
