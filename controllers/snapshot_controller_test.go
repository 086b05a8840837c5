package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

func byName(name string) v1alpha1.AccountListReference {
	return v1alpha1.AccountListReference{Name: name}
}

func byLabel(key, value string) v1alpha1.AccountListReference {
	return v1alpha1.AccountListReference{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}}
}

func TestSnapshotIsPublishedWithoutAnyObject(t *testing.T) {
	t.Parallel()
	r := startReplica(t, labtest.NewNamespace(t), replicaOptions{})
	r.published(t, func(snapshot *policy.Snapshot) error {
		if snapshot.App(testSDKAppID) != nil {
			return errors.New("an app out of nowhere")
		}
		return nil
	})
	if got := testutil.ToFloat64(r.metrics.lastBuildSuccess); time.Since(time.Unix(int64(got), 0)) > time.Hour {
		t.Errorf("snapshot_last_build_success_timestamp_seconds = %f", got)
	}
}

// All five kinds matter: without the runs, removed members would be admitted after a restart.
func TestFirstBuildWaitsForAllInformers(t *testing.T) {
	t.Parallel()
	for _, resource := range []string{"imapps", "accountlists", "grouppolicies", "secrets", "pruneruns"} {
		t.Run(resource, func(t *testing.T) {
			namespace := labtest.NewNamespace(t)
			others := map[string]bool{}
			release, seen := make(chan struct{}), make(chan string, 100)
			through := rest.CopyConfig(labtest.APIServer)
			through.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(request *http.Request) (*http.Response, error) {
					asked := request.URL.Path[strings.LastIndex(request.URL.Path, "/")+1:]
					if asked == resource {
						select {
						case <-release:
						case <-request.Context().Done():
							return nil, request.Context().Err()
						}
					}
					select {
					case seen <- asked:
					default:
					}
					return next.RoundTrip(request)
				})
			})
			r := startReplica(t, namespace, replicaOptions{config: through})
			labtest.Eventually(t, func() error {
				for len(seen) > 0 {
					switch asked := <-seen; asked {
					case "imapps", "accountlists", "grouppolicies", "secrets", "pruneruns":
						others[asked] = true
					}
				}
				if len(others) < 4 {
					return fmt.Errorf("only %v are watched", others)
				}
				return nil
			})
			for range 25 {
				if r.store.Load() != nil {
					t.Fatalf("published without having seen %s", resource)
				}
				pause(t, 20*time.Millisecond)
			}
			close(release)
			r.published(t, func(*policy.Snapshot) error { return nil })
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// recordingManager keeps what is added to it.
type recordingManager struct {
	manager.Manager
	added []manager.Runnable
}

func (m *recordingManager) Add(runnable manager.Runnable) error {
	m.added = append(m.added, runnable)
	return m.Manager.Add(runnable)
}

// A controller with the default NeedLeaderElection would run on one replica only.
func TestControllersRunOnEveryReplica(t *testing.T) {
	inner, err := ctrl.NewManager(labtest.APIServer, ctrl.Options{
		Scheme:     labtest.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	labtest.Must(t, err)
	mgr := &recordingManager{Manager: inner}
	snapshots := &SnapshotReconciler{Store: &policy.Store{}, Now: time.Now}
	labtest.Must(t, snapshots.SetupWithManager(t.Context(), mgr))
	labtest.Must(t,
		(&StatusReconciler{Snapshots: snapshots.Store, Term: &term.Term{}, Now: time.Now}).SetupWithManager(mgr,
			snapshots.Published))
	if len(mgr.added) != 4 {
		t.Errorf("%d controllers, want 4", len(mgr.added))
	}
	for _, runnable := range append(mgr.added, &term.Term{}, &term.WatchAge{}) {
		elected, ok := runnable.(manager.LeaderElectionRunnable)
		if !ok || elected.NeedLeaderElection() {
			t.Errorf("%v would run on one replica only", runnable)
		}
	}
}

func TestEditsReachTheSnapshot(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	vip := newList(namespace, "vip", nil, "jared")
	shard := newList(namespace, "shard", map[string]string{"list": "other"}, "tommy")
	lounge := newPolicy(namespace, "lounge", "lounge", byName("vip"), byLabel("list", "vip"))
	app := newApp(namespace, "prod", testSDKAppID)
	create(t, newCredentials(namespace), vip, shard, lounge, app)
	r.published(t, admits("jared", "lounge", true))
	r.published(t, admits("tommy", "lounge", false))
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	status(t, lounge, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonListNotFound)
	status(t, vip, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	status(t, shard, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	// By now the four statuses were written; had one of those writes caused a build, the count below would be off.
	before := r.settledBuilds(t)
	edit(t, lounge, func(p *v1alpha1.GroupPolicy) { p.Labels = map[string]string{"team": "chat"} })
	edit(t, app, func(a *v1alpha1.IMApp) { a.Annotations = map[string]string{"note": "seen"} })
	edit(t, vip, func(l *v1alpha1.AccountList) { l.Annotations = map[string]string{"note": "seen"} })
	edit(t, shard, func(l *v1alpha1.AccountList) { l.Labels = map[string]string{"list": "vip"} })
	r.published(t, admits("tommy", "lounge", true))
	status(t, lounge, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := r.settledBuilds(t) - before; got != 1 {
		t.Errorf("%d builds, want 1: only the label that a selector reads matters", got)
	}

	hash := r.store.Load().Hash()
	edit(t, shard, func(l *v1alpha1.AccountList) { l.Spec.Accounts = []string{"ann"} })
	r.published(t, admits("tommy", "lounge", false))
	r.published(t, admits("ann", "lounge", true))
	if r.store.Load().Hash() == hash {
		t.Error("another snapshot has the same hash")
	}
	if got := r.settledBuilds(t) - before; got != 2 {
		t.Errorf("%d builds, want 2", got)
	}
	status(t, shard, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if shard.Status.Accounts != 1 || shard.Status.ObservedGeneration != 2 {
		t.Errorf("status of the list: %+v", shard.Status)
	}
}

func TestDeletedObjectsLeaveTheSnapshot(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	objects := []client.Object{
		newCredentials(namespace), newList(namespace, "vip", nil, "jared"),
		newPolicy(namespace, "lounge", "lounge", byName("vip")), newApp(namespace, "prod", testSDKAppID),
	}
	empty := func(snapshot *policy.Snapshot) error {
		verdicts := len(slices.Collect(snapshot.AppVerdicts())) + len(slices.Collect(snapshot.ListVerdicts())) +
			len(slices.Collect(snapshot.PolicyVerdicts()))
		if verdicts > 0 || snapshot.Stats().Accounts > 0 || snapshot.App(testSDKAppID) != nil {
			return fmt.Errorf("%d verdicts, %+v", verdicts, snapshot.Stats())
		}
		return nil
	}
	r.published(t, empty)
	hash := r.store.Load().Hash()
	create(t, objects...)
	r.published(t, admits("mallory", "lounge", false))
	if got := testutil.ToFloat64(r.metrics.snapshotAccounts); got != 1 {
		t.Errorf("snapshot_accounts = %v, want 1", got)
	}
	c := labtest.Client(t)
	labtest.Must(t, c.Delete(t.Context(), objects[2]))
	r.published(t, admits("mallory", "lounge", true))
	for _, object := range []client.Object{objects[0], objects[1], objects[3]} {
		labtest.Must(t, c.Delete(t.Context(), object))
	}
	r.published(t, empty)
	if got := r.store.Load().Hash(); got != hash {
		t.Errorf("hash of nothing is %x, and was %x", got, hash)
	}
}

func TestTokenRotationIsVisible(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	secret := newCredentials(namespace)
	create(t, secret, newApp(namespace, "prod", testSDKAppID))
	tokens := func(want map[policy.TokenName]string) func(*policy.Snapshot) error {
		return func(snapshot *policy.Snapshot) error {
			got := map[policy.TokenName]string{}
			if app := snapshot.App(testSDKAppID); app != nil {
				for _, token := range app.Tokens() {
					got[token.Name] = token.Value.Reveal()
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.New(diff)
			}
			return nil
		}
	}
	r.published(t, tokens(map[policy.TokenName]string{policy.TokenCurrent: "token"}))
	edit(t, secret, func(s *corev1.Secret) {
		s.Data[v1alpha1.SecretKeyPreviousCallbackToken] = s.Data[v1alpha1.SecretKeyCallbackToken]
		s.Data[v1alpha1.SecretKeyCallbackToken] = []byte("fresh")
	})
	r.published(t, tokens(map[policy.TokenName]string{policy.TokenCurrent: "fresh", policy.TokenPrevious: "token"}))
	edit(t, secret, func(s *corev1.Secret) { delete(s.Data, v1alpha1.SecretKeyPreviousCallbackToken) })
	r.published(t, tokens(map[policy.TokenName]string{policy.TokenCurrent: "fresh"}))
}

// feed delivers objects in their order, as the watches would.
func feed[T any, P interface {
	*T
	client.Object
}](r *SnapshotReconciler, objects []T) {
	for i := range objects {
		r.changed.add(P(&objects[i]), false)
	}
}

// build builds and publishes, without the pause after the last build.
func build(t *testing.T, r *SnapshotReconciler) reconcile.Result {
	t.Helper()
	r.notBefore = time.Time{}
	result, err := r.Reconcile(t.Context(), buildRequest())
	labtest.Must(t, err)
	return result
}

func TestEveryOrderGivesOneHash(t *testing.T) {
	made := func(object client.Object, n int) {
		object.SetUID(types.UID(fmt.Sprintf("uid-%d", n)))
		object.SetGeneration(1)
		object.SetCreationTimestamp(metav1.Unix(1700000000, 0)) // a tie
	}
	var (
		apps = []v1alpha1.IMApp{*newApp("a", "prod", testSDKAppID), *newApp("b", "prod", testSDKAppID),
			*newApp("a", "test", 2)}
		lists = []v1alpha1.AccountList{*newList("a", "vip", nil, "jared"),
			*newList("a", "x", map[string]string{"list": "vip"}, "tommy")}
		policies = []v1alpha1.GroupPolicy{
			*newPolicy("a", "one", "lounge", byName("vip")), *newPolicy("a", "two", "lounge", byLabel("list", "vip")),
			*newPolicy("a", "three", "lounge", byName("missing")), *newPolicy("b", "four", "lounge"),
		}
		runs = []v1alpha1.PruneRun{*refusingRun("a", "one", time.Now().Add(time.Hour), "i1"),
			*refusingRun("a", "two", time.Now().Add(time.Hour), "i2")}
	)
	for i := range apps {
		made(&apps[i], i)
	}
	for i := range lists {
		made(&lists[i], 10+i)
	}
	for i := range policies {
		made(&policies[i], 20+i)
	}
	hash := func() uint64 {
		r := &SnapshotReconciler{Store: &policy.Store{}, Now: time.Now}
		feed(r, policies)
		feed(r, runs)
		feed(r, lists)
		feed(r, apps)
		build(t, r)
		return r.Store.Load().Hash()
	}
	for i := range runs {
		made(&runs[i], 30+i)
	}
	want, orders := hash(), 0
	permute(apps, func() {
		permute(lists, func() {
			permute(policies, func() {
				permute(runs, func() {
					orders++
					if got := hash(); got != want {
						t.Fatalf("hash %x, want %x", got, want)
					}
				})
			})
		})
	})
	if orders != 6*2*24*2 {
		t.Errorf("%d orders tried", orders)
	}
}

// permute calls visit with every order of items.
func permute[T any](items []T, visit func()) {
	if len(items) < 2 {
		visit()
		return
	}
	for i := range items {
		items[0], items[i] = items[i], items[0]
		permute(items[1:], visit)
		items[0], items[i] = items[i], items[0]
	}
}

func TestChangesThatCauseABuild(t *testing.T) {
	was := func(uid types.UID, generation int64) *v1alpha1.GroupPolicy {
		return &v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{UID: uid, Generation: generation}}
	}
	secret := func(value string, annotations map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
			Data: map[string][]byte{"callbackToken": []byte(value)}}
	}
	soon := time.Now().Add(time.Hour)
	removed := func(change func(*v1alpha1.PruneRun)) *v1alpha1.PruneRun {
		run := refusingRun("a", "one", soon, "i1", "i2")
		change(run)
		return run
	}
	same := func(*v1alpha1.PruneRun) {}
	cases := map[string]struct {
		predicate interface{ Update(event.UpdateEvent) bool }
		from, to  client.Object
		want      bool
	}{
		"SameGeneration":      {specChanged, was("a", 1), was("a", 1), false},
		"Edited":              {specChanged, was("a", 1), was("a", 2), true},
		"RecreatedInAnOutage": {specChanged, was("a", 1), was("b", 1), true},
		"SecretTouched":       {dataChanged, secret("a", nil), secret("a", map[string]string{"touched": "yes"}), false},
		"SecretChanged":       {dataChanged, secret("a", nil), secret("b", nil), true},
		"RunTouched": {refusalChanged, removed(same), removed(func(r *v1alpha1.PruneRun) {
			r.ResourceVersion, r.Labels, r.Status.Removed = "9", map[string]string{"touched": "yes"}, 1
			r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}}
		}), false},
		"RunWithoutARecord": {refusalChanged, removed(func(r *v1alpha1.PruneRun) { r.Status.Refuse = nil }),
			removed(func(r *v1alpha1.PruneRun) {
				r.Status.Refuse, r.Status.Progress.Settled = nil, 1
			}), false},
		"RunSettled": {refusalChanged, removed(same),
			removed(func(r *v1alpha1.PruneRun) { r.Status.Progress = &v1alpha1.PruneProgress{Settled: 2} }), false},
		"RunBatchRecorded": {refusalChanged, removed(func(r *v1alpha1.PruneRun) { r.Status.Progress.InFlight = 1 }),
			removed(same), true},
		"RunBatchFirst": {refusalChanged, removed(func(r *v1alpha1.PruneRun) { r.Status.Progress = nil }),
			removed(same), true},
		"RunKeptSomebody": {refusalChanged, removed(same), removed(func(r *v1alpha1.PruneRun) {
			r.Status.Kept = []v1alpha1.KeptAccount{{Account: "i2"}}
		}), true},
		"RunKeptAnother": {refusalChanged, removed(func(r *v1alpha1.PruneRun) {
			r.Status.Kept = []v1alpha1.KeptAccount{{Account: "i1"}}
		}), removed(func(r *v1alpha1.PruneRun) { r.Status.Kept = []v1alpha1.KeptAccount{{Account: "i2"}} }), true},
		"RunRefusesLonger": {refusalChanged, removed(same),
			removed(func(r *v1alpha1.PruneRun) { r.Status.Refuse.Until = metav1.NewTime(soon.Add(time.Second)) }),
			true},
		"RunUndoRequested": {refusalChanged, removed(same),
			removed(func(r *v1alpha1.PruneRun) { r.Spec.Undo = v1alpha1.UndoRequested }), true},
		"RunUndoRecorded": {refusalChanged,
			removed(func(r *v1alpha1.PruneRun) { r.Spec.Undo = v1alpha1.UndoRequested }),
			removed(func(r *v1alpha1.PruneRun) {
				r.Status.Undo = &v1alpha1.PruneUndo{Accounts: []v1alpha1.RestoredAccount{{Account: "i1"}}}
			}), true},
		"RunUndoGoesOn": {refusalChanged, removed(func(r *v1alpha1.PruneRun) {
			r.Status.Undo = &v1alpha1.PruneUndo{Accounts: []v1alpha1.RestoredAccount{{Account: "i1",
				Result: v1alpha1.RestoreResultAdding}}}
		}), removed(func(r *v1alpha1.PruneRun) {
			r.Status.Undo = &v1alpha1.PruneUndo{Accounts: []v1alpha1.RestoredAccount{{Account: "i1",
				Result: v1alpha1.RestoreResultAdded}}}
		}), false},
		"RunUndone": {refusalChanged, removed(func(r *v1alpha1.PruneRun) {
			r.Status.Undo = &v1alpha1.PruneUndo{Accounts: []v1alpha1.RestoredAccount{{Account: "i1"}}}
		}), removed(func(r *v1alpha1.PruneRun) {
			r.Status.Undo = &v1alpha1.PruneUndo{FinishedAt: metav1.NewTime(soon),
				Accounts: []v1alpha1.RestoredAccount{{Account: "i1"}}}
		}), true},
		"RunRecreatedInAnOutage": {refusalChanged, removed(same),
			removed(func(r *v1alpha1.PruneRun) { r.UID = "another" }), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.predicate.Update(event.UpdateEvent{ObjectOld: tc.from, ObjectNew: tc.to}); got != tc.want {
				t.Errorf("builds %t, want %t", got, tc.want)
			}
		})
	}
}
