package controllers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	eventsv1 "k8s.io/api/events/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// startManager starts everything that main starts, on caches and by the real clock.
func (w *world) startManager() *Intake {
	w.t.Helper()
	w.clock.mu.Lock()
	w.clock.real = true
	w.clock.mu.Unlock()
	mgr, err := ctrl.NewManager(apiServer, ctrl.Options{
		Scheme:     testScheme(w.t),
		Cache:      informers.CacheOptions(informers.Options{Namespaces: []string{w.namespace}, Store: w.store, Now: time.Now}),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	must(w.t, err)
	intake, err := Setup(w.t.Context(), mgr, Config{
		Store: &policy.Store{}, IMEndpoint: w.url, SweepInterval: time.Hour, PruneRunTTL: 7 * 24 * time.Hour,
		Now: time.Now, Registerer: prometheus.NewRegistry(),
	})
	must(w.t, err)
	start(w.t, mgr.Start)
	eventually(w.t, func() error {
		if intake.Snapshots.Load() == nil {
			return errors.New("no snapshot yet")
		}
		return nil
	})
	return intake
}

// reaches polls until the last condition of a run has this reason.
func (w *world) reaches(name, reason string) *v1alpha1.PruneRun {
	w.t.Helper()
	var run *v1alpha1.PruneRun
	eventually(w.t, func() error {
		run = w.get(name)
		if all := run.Status.Conditions; len(all) == 0 || all[len(all)-1].Reason != reason {
			return fmt.Errorf("run %s: %v", name, conditions(run))
		}
		return nil
	})
	return run
}

func TestFullGroupIsPrunedFromCallbackToRecord(t *testing.T) {
	w := newWorld(t)
	w.group(fullGroup, 5, 250)
	w.policy("lounge", v1alpha1.PruneRule{FreeSeats: seats(plannedRemovals), MaxRemovals: 1000,
		Protect: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "vip"}}}})
	before := w.members(fullGroup)
	intake := w.startManager()

	intake.GroupFull(w.object(), fullGroup)
	name := prunerun.Key{App: pruneApp, Group: fullGroup}.Name(1)
	eventually(t, func() error {
		if !w.exists(name) {
			return errors.New("no run yet")
		}
		return nil
	})
	w.reaches(name, v1alpha1.ReasonProtectionUnresolved)
	w.run("z-manual", v1alpha1.PruneTriggerManual)
	w.reaches("z-manual", v1alpha1.ReasonQueued)

	// The list is all that was missing: the next snapshot wakes the run, and its end wakes the one behind it.
	must(t, w.client.Create(t.Context(), &v1alpha1.AccountList{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vip"}, Spec: v1alpha1.AccountListSpec{Accounts: []string{"i1"}},
	}))
	run := w.reaches(name, v1alpha1.ReasonRemoved)
	if diff := cmp.Diff(without(before, planAccounts(run)), w.members(fullGroup)); diff != "" || run.Status.Removed != plannedRemovals {
		t.Errorf("removed %d, members (-want,+got)\n%s", run.Status.Removed, diff)
	}
	w.reaches("z-manual", v1alpha1.ReasonNothingToRemove)

	eventually(t, func() error {
		var app v1alpha1.IMApp
		must(t, w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: pruneApp}, &app))
		if c := apimeta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionVendorReachable); c == nil || c.Reason != v1alpha1.ReasonReachable {
			return fmt.Errorf("VendorReachable = %+v", c)
		}
		return nil
	})
	eventually(t, func() error {
		var list eventsv1.EventList
		must(t, w.client.List(t.Context(), &list, client.InNamespace(w.namespace)))
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
	w.group(fullGroup, 2, 5)
	w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.startManager()
	for i := range 5 {
		name := fmt.Sprintf("run-%d", i)
		w.run(name, v1alpha1.PruneTriggerManual)
		w.reaches(name, v1alpha1.ReasonPreviewed)
	}
	eventually(t, func() error {
		if got := w.runNames(); len(got) != 3 {
			return fmt.Errorf("runs = %v", got)
		}
		return nil
	})
}

func TestAnEditedRateIsInForceInTheMiddleOfAList(t *testing.T) {
	w := newWorld(t)
	change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.REST.RequestsPerSecond = 1 })
	w.group(fullGroup, 2, 20_000) // 201 pages: at the old rate more than three minutes
	w.policy("lounge", v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
	w.startManager()
	w.run("look", v1alpha1.PruneTriggerManual)
	eventually(t, func() error {
		if pages := w.happened(apiList); pages < 2 {
			return fmt.Errorf("%d pages were read", pages)
		}
		return nil
	})
	change(w, &v1alpha1.IMApp{}, pruneApp, func(app *v1alpha1.IMApp) { app.Spec.REST.RequestsPerSecond = 200 })
	w.reaches("look", v1alpha1.ReasonPreviewed)
}
