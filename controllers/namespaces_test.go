package controllers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// fakeWatches are the watches of two namespaces, which a test changes.
type fakeWatches map[string]informers.WatchState

func (w fakeWatches) States() (states []informers.WatchState) {
	for _, namespace := range []string{"a", "b"} {
		for _, kind := range []string{"IMApp", "PruneRun"} {
			state, ok := w[kind+"/"+namespace]
			if !ok {
				state.Synced = true
			}
			state.Kind, state.Namespace = kind, namespace
			states = append(states, state)
		}
	}
	return states
}

// The first app is in a namespace that was taken from the operator, and may be gone. The second one is younger.
func TestAppOfALostNamespaceMakesWayAfterFiveMinutes(t *testing.T) {
	const other = testSDKAppID + 1
	now := time.Unix(1700000000, 0)
	watches := fakeWatches{}
	r := &SnapshotReconciler{Store: &policy.Store{}, Now: func() time.Time { return now }, Watches: watches}
	for i, app := range []struct {
		namespace, name string
		sdkAppID        int64
	}{{"a", "old", testSDKAppID}, {"a", "alone", other}, {"b", "successor", testSDKAppID}} {
		object := newApp(app.namespace, app.name, app.sdkAppID)
		object.UID = types.UID(app.name)
		object.CreationTimestamp.Time = now.Add(time.Duration(i) * time.Hour)
		r.changed.add(object, false)
	}
	refusedFor := func(d time.Duration) informers.WatchState {
		return informers.WatchState{
			Synced: true, FailingSince: now, Problem: "forbidden", RefusedSince: now, RefusedAt: now.Add(d),
		}
	}
	for _, step := range []struct {
		name   string
		watch  informers.WatchState
		holder string
	}{
		{"in order", informers.WatchState{Synced: true}, "a/old"},
		{"refused for a minute", refusedFor(time.Minute), "a/old"},
		{"refused for almost five minutes", refusedFor(lostAfter - time.Nanosecond), "a/old"},
		{"cut off for an hour", informers.WatchState{Synced: true, FailingSince: now.Add(-time.Hour)}, "a/old"},
		{"refused for five minutes", refusedFor(lostAfter), "b/successor"},
		{"still refused", refusedFor(time.Hour), "b/successor"},
		{"in order again", informers.WatchState{Synced: true}, "a/old"},
	} {
		watches["IMApp/a"] = step.watch
		build(t, r)
		snapshot := r.Store.Load()
		if got := snapshot.App(testSDKAppID).Object().Key(); got != step.holder {
			t.Errorf("%s: held by %s, want %s", step.name, got, step.holder)
		}
		v, _ := snapshot.AppVerdict("b", "successor", "successor")
		if (v.HeldBy == "") != (step.holder == "b/successor") {
			t.Errorf("%s: the verdict on the successor says that %q holds the SDKAppID", step.name, v.HeldBy)
		}
		if got := snapshot.App(other).Object().Key(); got != "a/alone" {
			t.Errorf("%s: an app without a rival is served by %s", step.name, got)
		}
	}

	// The list after the return of the watch says that the app has been deleted.
	r.changed.add(newApp("a", "old", testSDKAppID), true)
	build(t, r)
	if got := r.Store.Load().App(testSDKAppID).Object().Key(); got != "b/successor" {
		t.Errorf("held by %s after the deletion", got)
	}
}

// A part of a namespace's objects would admit whom the other part refuses.
func TestObjectsOfANamespaceThatIsNotCompleteArePending(t *testing.T) {
	watches := fakeWatches{"PruneRun/a": {}, "PruneRun/b": {}}
	cached := fake.NewClientBuilder().WithScheme(labtest.Scheme()).Build()
	r := &SnapshotReconciler{Client: cached, Store: &policy.Store{}, Now: time.Now, Watches: watches}
	for i, namespace := range []string{"a", "b"} {
		app := newApp(namespace, "prod", testSDKAppID+int64(i))
		labtest.Must(t, cached.Create(t.Context(), app))
		r.changed.add(app, false)
	}
	knows := func(want ...bool) {
		t.Helper()
		for i, want := range want {
			if got := r.Store.Load().App(testSDKAppID+uint64(i)) != nil; got != want {
				t.Errorf("app %d is known: %t, want %t", i, got, want)
			}
		}
	}
	build(t, r)
	if r.Store.Load() != nil {
		t.Fatal("published without one complete namespace")
	}
	delete(watches, "PruneRun/a")
	build(t, r)
	knows(true, false)
	r.building = true // as after a build that panicked
	build(t, r)
	knows(true, false)
	delete(watches, "PruneRun/b")
	build(t, r)
	knows(true, true)
	if len(r.pending) > 0 {
		t.Errorf("still pending: %v", r.pending)
	}
}

func TestNamespaceThatMayNotBeReadCostsOnlyItself(t *testing.T) {
	t.Parallel()
	one, other := labtest.NewNamespace(t), labtest.NewNamespace(t)
	const otherID = testSDKAppID + 1
	create(t, newCredentials(one), newApp(one, "prod", testSDKAppID), newPolicy(one, "gate", "lounge"))
	create(t, newCredentials(other), newApp(other, "prod", otherID))
	grant(t, one)
	grant(t, other, "imapps", "accountlists", "grouppolicies", "secrets") // not pruneruns
	_, config := limited(t)
	began := time.Now()
	r := startReplica(t, one, replicaOptions{config: config, namespaces: []string{other}})
	knows := func(want bool) func(*policy.Snapshot) error {
		return func(snapshot *policy.Snapshot) error {
			if got := snapshot.App(otherID) != nil; got != want {
				return fmt.Errorf("the app of the other namespace is known: %t, want %t", got, want)
			}
			return admits("mallory", "lounge", false)(snapshot)
		}
	}
	r.published(t, knows(false))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("published after %s", took)
	} else {
		t.Logf("published after %s", took)
	}
	if got, want := r.watches.Waiting(), "PruneRuns of namespace "+other+": forbidden"; got != want {
		t.Errorf("waiting for %q, want %q", got, want)
	}
	grant(t, other, "pruneruns")
	r.published(t, knows(true))
	if got := r.watches.Waiting(); got != "" {
		t.Errorf("waiting for %q", got)
	}
}

// A namespace that gives no answer may be back in a second, with rules that were never read.
func TestNamespaceWithoutAnAnswerIsWaitedFor(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID),
		newPolicy(namespace, "gate", "lounge"))
	cut, config := newProxy(t, labtest.APIServer)
	cut.Cut()
	r := startReplica(t, namespace, replicaOptions{config: config})
	pause(t, 12*time.Second)
	if r.store.Load() != nil {
		t.Error("published without having read anything")
	}
	cut.Restore()
	r.published(t, admits("mallory", "lounge", false))
	labtest.Eventually(t, func() error {
		if waiting := r.watches.Waiting(); waiting != "" {
			return errors.New(waiting)
		}
		return nil
	})
}
