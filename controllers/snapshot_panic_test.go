package controllers

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// A build that panics is recovered from by controller-runtime, and asked for again: nothing of what it had taken may be
// lost, and nobody may be let in meanwhile.
func TestAfterAPanicABuildStartsOverFromTheCache(t *testing.T) {
	const gates = 50
	cached := fake.NewClientBuilder().WithScheme(labtest.Scheme()).Build()
	r := &SnapshotReconciler{Client: cached, Store: &policy.Store{}, Now: time.Now}
	happens := func(object client.Object) {
		labtest.Must(t, cached.Create(t.Context(), object))
		r.changed.add(object, false)
	}
	app := newApp("a", "prod", testSDKAppID)
	app.UID = "app"
	happens(app)
	build(t, r)
	before := r.Store.Load()

	// Any bug will do: what says that it is packed, and holds no set.
	poison := newList("a", "poison", nil)
	convert.PackList(poison)
	poison.Spec.Accounts[1] = "x"
	r.changed.add(poison, false)
	for i := range gates {
		p := newPolicy("a", fmt.Sprint("gate-", i), fmt.Sprint("g-", i))
		p.UID, p.Generation = types.UID(p.Name), 1
		happens(p)
	}
	if !panics(func() { _, _ = r.Reconcile(t.Context(), buildRequest()) }) {
		t.Fatal("the list did no harm: the test needs another one")
	}
	if r.Store.Load() != before {
		t.Error("a build that panicked has published something")
	}

	gone := newPolicy("a", "gate-0", "g-0") // deleted after the panic, and still in the cache when the next build lists it
	r.changed.add(gone, true)
	build(t, r)
	for i := range gates {
		verdict := r.Store.Load().App(testSDKAppID).DecideJoin(policy.JoinQuery{Group: fmt.Sprint("g-", i), Account: "mallory"})
		if want := i == 0; verdict.Admit != want {
			t.Errorf("gate-%d: admits a stranger: %t, want %t", i, verdict.Admit, want)
		}
	}
	if got, want := r.Store.Load().Hash(), coldHash(t, cached, gone); got != want {
		t.Errorf("the snapshot has the hash %016x, a new process would have %016x", got, want)
	}
}

func panics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

// coldHash is that of a process that starts now, without what is gone.
func coldHash(t *testing.T, cached client.Client, gone client.Object) uint64 {
	t.Helper()
	labtest.Must(t, cached.Delete(t.Context(), gone))
	r := &SnapshotReconciler{Client: cached, Store: &policy.Store{}, Now: time.Now, building: true}
	build(t, r)
	return r.Store.Load().Hash()
}

// A clock that was ahead for one build must not let people back in for good.
func TestAClockPutBackRefusesAgain(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	at := now
	r := &SnapshotReconciler{Store: &policy.Store{}, Now: func() time.Time { return at }}
	app := newApp("a", "prod", testSDKAppID)
	app.UID = "app"
	run := refusingRun("a", "one", now.Add(time.Hour), "i1")
	run.UID = "run"
	r.changed.add(app, false)
	r.changed.add(run, false)
	build(t, r)
	labtest.Must(t, applies("i1", now, toldLater)(r.Store.Load()))
	hash := r.Store.Load().Hash()

	at = now.Add(2 * time.Hour)
	if result := build(t, r); result.RequeueAfter != 0 {
		t.Errorf("waits %s for a refusal that is over", result.RequeueAfter)
	}
	if r.Store.Load().Hash() == hash {
		t.Error("a refusal that is over still counts in the hash")
	}
	at = now.Add(time.Minute)
	build(t, r)
	labtest.Must(t, applies("i1", at, toldLater)(r.Store.Load()))
	if got := r.Store.Load().Hash(); got != hash {
		t.Errorf("hash %016x, and before the clock was wrong %016x", got, hash)
	}
}
