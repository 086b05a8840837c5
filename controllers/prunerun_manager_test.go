package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/replicas"
)

// startManager starts every controller, on caches and by the real clock.
func (w *world) startManager() *Intake {
	w.t.Helper()
	w.Clock.UseRealTime()
	store := &policy.Store{}
	mgr, watches := newManager(w.t, w.Namespace, store, replicaOptions{})
	controllers, err := Setup(w.t.Context(), mgr, Config{
		Store: store, Watches: watches, Members: replicas.NewMembers(replicas.Pod{}, time.Now),
		Health: new(callbackhealth.Recorder), IMEndpoint: w.URL,
		SweepInterval: time.Hour, PruneRunTTL: 7 * 24 * time.Hour,
		Now: time.Now, Registerer: prometheus.NewRegistry(),
	})
	labtest.Must(w.t, err)
	start(w.t, mgr.Start)
	labtest.Eventually(w.t, func() error {
		if store.Load() == nil {
			return errors.New("no snapshot yet")
		}
		return nil
	})
	return controllers.Intake
}

// reaches polls until the last condition of a run has this reason.
func (w *world) reaches(name, reason string) *v1alpha1.PruneRun {
	w.t.Helper()
	var run *v1alpha1.PruneRun
	labtest.Eventually(w.t, func() error {
		run = w.Get(name)
		if all := run.Status.Conditions; len(all) == 0 || all[len(all)-1].Reason != reason {
			return fmt.Errorf("run %s: %v", name, labtest.Conditions(run))
		}
		return nil
	})
	return run
}

func TestFullGroupIsPrunedFromCallbackToRecord(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 5, 250)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: labtest.Seats(230), MaxRemovals: 1000,
		Protect: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "vip"}}}})
	before := w.Members(labtest.FullGroup)
	intake := w.startManager()

	intake.GroupFull(w.object(), labtest.FullGroup)
	name := prunerun.Key{App: labtest.App, Group: labtest.FullGroup}.Name(1)
	labtest.Eventually(t, func() error {
		if !w.Exists(name) {
			return errors.New("no run yet")
		}
		return nil
	})
	w.reaches(name, v1alpha1.ReasonProtectionUnresolved)
	w.Run("z-manual", v1alpha1.PruneTriggerManual)
	w.reaches("z-manual", v1alpha1.ReasonQueued)

	// The list is all that was missing: the next snapshot wakes the run, and its end wakes the one behind it.
	labtest.Must(t, w.Client.Create(t.Context(), &v1alpha1.AccountList{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "vip"},
		Spec:       v1alpha1.AccountListSpec{Accounts: []string{"i1"}},
	}))
	run := w.reaches(name, v1alpha1.ReasonRemoved)
	if diff := cmp.Diff(labtest.Without(before, labtest.Planned(run)), w.Members(labtest.FullGroup)); diff != "" ||
		run.Status.Removed != 230 {
		t.Errorf("removed %d, members (-want,+got)\n%s", run.Status.Removed, diff)
	}
	w.reaches("z-manual", v1alpha1.ReasonNothingToRemove)

	labtest.Eventually(t, func() error {
		var app v1alpha1.IMApp
		labtest.Must(t, w.Client.Get(t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: labtest.App}, &app))
		if c := apimeta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionVendorReachable); c == nil ||
			c.Reason != v1alpha1.ReasonReachable {
			return fmt.Errorf("VendorReachable = %+v", c)
		}
		return nil
	})
	labtest.Eventually(t, func() error {
		var list eventsv1.EventList
		labtest.Must(t, w.Client.List(t.Context(), &list, client.InNamespace(w.Namespace)))
		reasons := map[string]bool{}
		for _, e := range list.Items {
			if e.Regarding.Name == name {
				reasons[e.Reason] = true
			}
		}
		if diff := cmp.Diff(map[string]bool{"Planned": true, "Removed": true}, reasons); diff != "" {
			return fmt.Errorf("events (-want,+got)\n%s", diff)
		}
		return nil
	})
}

func TestFinishedRunsAreCollectedAsTheyEnd(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.startManager()
	for i := range 5 {
		name := fmt.Sprintf("run-%d", i)
		w.Run(name, v1alpha1.PruneTriggerManual)
		w.reaches(name, v1alpha1.ReasonPreviewed)
	}
	labtest.Eventually(t, func() error {
		if got := w.RunNames(); !slices.Equal(got, []string{"run-4"}) {
			return fmt.Errorf("runs = %v", got)
		}
		return nil
	})
}

func TestEditedRateAppliesDuringAListing(t *testing.T) {
	w := newWorld(t)
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.REST.RequestsPerSecond = 1 })
	w.Group(labtest.FullGroup, 2, 20_000) // 201 pages: at the old rate more than three minutes
	w.Policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.startManager()
	w.Run("look", v1alpha1.PruneTriggerManual)
	labtest.Eventually(t, func() error {
		if pages := w.Happened(labtest.ListMembers); pages < 2 {
			return fmt.Errorf("%d pages were read", pages)
		}
		return nil
	})
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.REST.RequestsPerSecond = 200 })
	w.reaches("look", v1alpha1.ReasonPreviewed)
}

// forbid makes the API server refuse with 422 what the expression is false for, in the namespace of the world, until
// lift is called. attempt is something that is refused once the API server knows.
func (w *world) forbid(resource string, operation admissionv1.OperationType, expression, message string,
	attempt func() error) (lift func()) {
	w.t.Helper()
	name := metav1.ObjectMeta{Name: "drill-" + w.Namespace}
	refusal := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: w.Namespace},
			},
			ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{operation},
				Rule: admissionv1.Rule{APIGroups: []string{"groupgate.io"}, APIVersions: []string{"*"},
					Resources: []string{resource}},
			}}},
		},
		Validations: []admissionv1.Validation{{Expression: expression, Message: message}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: name,
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		}}
	labtest.Must(w.t, w.Client.Create(w.t.Context(), refusal))
	labtest.Must(w.t, w.Client.Create(w.t.Context(), binding))
	lifted := false
	lift = func() {
		if lifted {
			return
		}
		lifted = true
		ctx := context.WithoutCancel(w.t.Context()) // it has ended when this is called for the clean-up
		labtest.Must(w.t, errors.Join(w.Client.Delete(ctx, binding), w.Client.Delete(ctx, refusal)))
	}
	w.t.Cleanup(lift)
	labtest.Eventually(w.t, func() error { // the API server reads its policies from a cache
		if err := attempt(); !apierrors.IsInvalid(err) {
			return fmt.Errorf("err = %w, want 422 Invalid", err)
		}
		return nil
	})
	return lift
}

// A record that the API server refuses is tried again ever more rarely, since each try asks the vendor again.
func TestRefusedPlanIsRetriedWithBackoff(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: labtest.Seats(2)})
	before := w.Members(labtest.FullGroup)
	w.RunFor("other", "another", v1alpha1.PruneTriggerManual)
	attempt := func() error {
		run := w.Get("other")
		run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.Now()}
		return labtest.Client(t).Status().Update(t.Context(), run, client.DryRunAll)
	}
	lift := w.forbid("pruneruns/status", admissionv1.Update, "!has(object.status.plan)", "no plans this week", attempt)
	tries := make(chan time.Time, 100)
	w.Before(labtest.ListMembers, func() { tries <- time.Now() })
	w.Run("one", v1alpha1.PruneTriggerManual)
	w.startManager()
	// Events of the start may add a try or two. From then on the pauses between tries grow.
	for n, last := 1, <-tries; ; n++ {
		next := <-tries
		if next.Sub(last) >= 2*firstRetry {
			break
		}
		if last = next; n > 5 {
			t.Fatalf("%d tries without a longer pause", n)
		}
	}
	if got := w.Happened(labtest.Delete); got != 0 {
		t.Errorf("%d deletions without a plan on record", got)
	}
	lift()
	run := w.reaches("one", v1alpha1.ReasonRemoved)
	want := labtest.Without(before, labtest.Planned(run))
	if diff := cmp.Diff(want, w.Members(labtest.FullGroup)); diff != "" || run.Status.Removed != 2 {
		t.Errorf("removed %d, members (-want,+got)\n%s", run.Status.Removed, diff)
	}
}

// When the last addition of an undo fills the group, the vendor reports that. No run may follow which removes others.
func TestGroupThatAnUndoFillsIsNotPruned(t *testing.T) {
	w := newWorld(t)
	w.Group(labtest.FullGroup, 2, 5)
	w.Policy("lounge", v1alpha1.PruneRule{FreeSeats: labtest.Seats(3)})
	w.Run("one", v1alpha1.PruneTriggerGroupFull)
	before := w.Members(labtest.FullGroup)
	one := w.finish(w.process(), "one")
	for i := range one.Status.Conditions { // so that its own cooldown is over
		one.Status.Conditions[i].LastTransitionTime = metav1.NewTime(w.Clock.Now().Add(-time.Hour))
	}
	labtest.Must(t, w.Client.Status().Update(t.Context(), one))
	intake := w.startManager()
	var fulls atomic.Int32
	gate := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if got, parseErr := callback.Parse(body); err != nil || parseErr != nil {
			t.Errorf("callback: %v, %v", err, parseErr)
		} else if got.Command == callback.CommandAfterGroupFull {
			fulls.Add(1)
			intake.GroupFull(w.object(), labtest.FullGroup)
		}
		_, _ = io.WriteString(rw, `{"ActionStatus":"OK","ErrorCode":0}`)
	}))
	t.Cleanup(gate.Close)
	_, err := w.Emulator.Configure(t.Context(), func(s *emulator.Settings) { s.CallbackURL = gate.URL })
	labtest.Must(t, err)

	w.RequestUndo("one")
	undone := w.reaches("one", v1alpha1.ReasonUndone)
	labtest.Must(t, w.Emulator.Settle(t.Context(), time.Minute))
	labtest.Eventually(t, intake.empty)
	intake.GroupFull(w.object(), labtest.FullGroup) // one that comes late
	labtest.Eventually(t, intake.empty)

	if diff := cmp.Diff(before, w.Members(labtest.FullGroup)); diff != "" || undone.Status.Undo.Added != 3 {
		t.Errorf("added %d, members (-want,+got)\n%s", undone.Status.Undo.Added, diff)
	}
	if fulls.Load() == 0 {
		t.Error("the vendor reported no full group")
	}
	if diff := cmp.Diff([]string{"one"}, w.RunNames()); diff != "" {
		t.Errorf("runs (-want,+got)\n%s", diff)
	}
	// A manual run is carried out all the same. Members that have just come back are not inactive.
	w.Run("two", v1alpha1.PruneTriggerManual)
	for _, account := range labtest.Planned(w.reaches("two", v1alpha1.ReasonRemoved)) {
		if slices.Contains(labtest.Planned(undone), account) {
			t.Errorf("%s goes again", account)
		}
	}
}
