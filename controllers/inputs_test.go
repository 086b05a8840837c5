package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// lossy is a transport that can lose watches together with the events of that time: afterwards every watch is answered
// that its version is too old, as after a compaction, and only a new list shows which objects were deleted.
type lossy struct {
	mu    sync.Mutex
	lost  bool
	old   map[string]bool // by resource: the next watch is to be told so
	sever []context.CancelFunc
}

func (l *lossy) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		query := request.URL.Query()
		if query.Get("watch") != "true" {
			if l.isLost() {
				return nil, syscall.ECONNREFUSED
			}
			return next.RoundTrip(request)
		}
		ctx, sever := context.WithCancel(request.Context())
		tooOld, err := l.admit(request.URL.Path[strings.LastIndex(request.URL.Path, "/")+1:],
			query.Get("sendInitialEvents") == "", sever)
		switch {
		case err != nil:
			sever()
			return nil, err
		case tooOld:
			sever()
			return &http.Response{
				StatusCode: http.StatusGone, Header: http.Header{"Content-Type": {"application/json"}},
				Request: request,
				Body: io.NopCloser(strings.NewReader(
					`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)),
			}, nil
		}
		return next.RoundTrip(request.WithContext(ctx)) // severed by lose, or with the request
	})
}

func (l *lossy) isLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *lossy) admit(resource string, resumes bool, sever context.CancelFunc) (tooOld bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return false, syscall.ECONNREFUSED
	}
	l.sever = append(l.sever, sever)
	tooOld = resumes && l.old[resource]
	delete(l.old, resource)
	return tooOld, nil
}

// resumed returns the resources whose watch went on without a new list.
func (l *lossy) resumed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.old))
}

// lose interrupts all watches while during runs.
func (l *lossy) lose(during func()) {
	l.mu.Lock()
	l.lost = true
	for _, sever := range l.sever {
		sever()
	}
	l.sever = nil
	l.mu.Unlock()
	during()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = false
	l.old = map[string]bool{}
	for _, resource := range []string{"imapps", "accountlists", "grouppolicies", "secrets", "pruneruns"} {
		l.old[resource] = true
	}
}

// An object that was deleted without an event must leave the snapshot, and one that was created again under its name
// must replace it.
func TestChangesDuringALostWatchReachTheSnapshot(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	unseen := &lossy{}
	config := rest.CopyConfig(labtest.APIServer)
	config.Wrap(unseen.wrap)
	r := startReplica(t, namespace, replicaOptions{config: config})
	secret, app := newCredentials(namespace), newApp(namespace, "prod", testSDKAppID)
	vip, lounge, again := newList(namespace, "vip", nil, "jared"),
		newPolicy(namespace, "lounge", "lounge", byName("vip")), newPolicy(namespace, "again", "bar")
	run := refusingRun(namespace, "one", time.Time{})
	create(t, secret, app, vip, lounge, again, run)
	now := time.Now().Truncate(time.Second)
	writeStatus(t, run, func(s *v1alpha1.PruneRunStatus) { recordRefusal(s, now.Add(time.Hour), "i1") })
	r.published(t, admits("jared", "lounge", true))
	r.published(t, admits("jared", "bar", false))
	r.published(t, applies("i1", now, toldLater))

	unseen.lose(func() {
		for _, object := range []client.Object{secret, vip, lounge, again, run} {
			labtest.Must(t, labtest.Client(t).Delete(t.Context(), object))
		}
		again = newPolicy(namespace, "again", "garden")
		create(t, again)
	})
	r.published(t, func(snapshot *policy.Snapshot) error {
		verdicts := slices.Collect(snapshot.PolicyVerdicts())
		if len(verdicts) != 1 || verdicts[0].UID != string(again.UID) ||
			len(slices.Collect(snapshot.ListVerdicts())) > 0 {
			return fmt.Errorf("policies %+v, lists %+v", verdicts, slices.Collect(snapshot.ListVerdicts()))
		}
		if v, _ := snapshot.AppVerdict(namespace, "prod", string(app.UID)); v.SecretFound {
			return errors.New("the Secret is still known")
		}
		return errors.Join(
			admits("jared", "garden", false)(snapshot), admits("jared", "bar", true)(snapshot),
			admits("mallory", "lounge", true)(snapshot),
			applies("i1", now, policy.Verdict{Admit: true, Reason: policy.ReasonUnmatched})(snapshot))
	})
	labtest.Eventually(t, func() error {
		if left := unseen.resumed(); len(left) > 0 {
			return fmt.Errorf("the watches of %v went on as if nothing were lost", left)
		}
		return nil
	})
}

// A deletion counts whatever the last state of the object was.
func TestEveryDeletionIsCollected(t *testing.T) {
	r := &SnapshotReconciler{Store: &policy.Store{}, Now: time.Now}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	runs := r.changed.handler(refusalChanged)
	run := refusingRun("a", "one", time.Now().Add(time.Hour), "i1")
	run.UID = "uid"
	r.changed.add(newApp("a", "prod", testSDKAppID), false)
	build(t, r)
	without := r.Store.Load().Hash()
	runs.Create(t.Context(), event.CreateEvent{Object: run}, queue)
	build(t, r)
	if r.Store.Load().Hash() == without || queue.Len() != 1 {
		t.Fatalf("the record is not in the snapshot, or nobody asked for one: %d", queue.Len())
	}
	silent := run.DeepCopy()
	silent.Status.Plan.Removals = nil
	runs.Delete(t.Context(), event.DeleteEvent{Object: silent}, queue)
	build(t, r)
	if r.Store.Load().Hash() != without {
		t.Error("the record outlived its run")
	}
}

// Between two builds an object may change its Secret, be created, deleted and created again: only its last state
// counts.
func TestOnlyTheLastStateOfAnObjectCounts(t *testing.T) {
	credentials := func(name, token string) *corev1.Secret {
		s := newCredentials("a")
		s.Name, s.Data = name, map[string][]byte{v1alpha1.SecretKeyCallbackToken: []byte(token)}
		return s
	}
	app := func(secret string, uid types.UID) *v1alpha1.IMApp {
		a := newApp("a", "prod", testSDKAppID)
		a.Spec.CredentialsSecretRef.Name, a.UID = secret, uid
		return a
	}
	same := func(o client.Object) changedObject { return changedObject{object: o} }
	gone := func(o client.Object) changedObject { return changedObject{object: o, deleted: true} }
	unlabelled := credentials("one", "")
	unlabelled.Data = nil
	tests := map[string]struct {
		before, after []changedObject
		found         bool
		tokens        []string
	}{
		"the Secret comes first": {before: []changedObject{same(credentials("one", "x"))},
			after: []changedObject{same(app("one", "u"))}, found: true, tokens: []string{"x"}},
		"the Secret comes last": {before: []changedObject{same(app("one", "u"))},
			after: []changedObject{same(credentials("one", "x"))}, found: true, tokens: []string{"x"}},
		"another Secret": {before: []changedObject{same(app("one", "u")), same(credentials("one", "x"))},
			after: []changedObject{same(app("two", "u"))}},
		"an empty Secret": {after: []changedObject{same(app("one", "u")), same(unlabelled)}, found: true},
		"the Secret goes": {before: []changedObject{same(app("one", "u")), same(credentials("one", "x"))},
			after: []changedObject{gone(credentials("one", "x"))}},
		"the Secret rotates": {before: []changedObject{same(app("one", "u")), same(credentials("one", "x"))},
			after: []changedObject{same(credentials("one", "y"))}, found: true, tokens: []string{"y"}},
		"a Secret comes and goes": {before: []changedObject{same(app("one", "u"))},
			after: []changedObject{same(credentials("one", "x")), gone(credentials("one", "x"))}},
		"a Secret goes and comes back": {before: []changedObject{same(app("one", "u")), same(credentials("one", "x"))},
			after: []changedObject{gone(credentials("one", "x")), same(credentials("one", "y"))}, found: true,
			tokens: []string{"y"}},
		"the app is made again at once": {before: []changedObject{same(app("one", "old")),
			same(credentials("one", "x"))}, after: []changedObject{gone(app("one", "old")), same(app("one", "u"))},
			found: true, tokens: []string{"x"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := &SnapshotReconciler{Store: &policy.Store{}, Now: time.Now}
			for _, step := range [][]changedObject{tc.before, tc.after} {
				for _, n := range step {
					r.changed.add(n.object, n.deleted)
				}
				build(t, r)
			}
			v, ok := r.Store.Load().AppVerdict("a", "prod", "u")
			var tokens []string
			for _, token := range r.Store.Load().App(testSDKAppID).Tokens() {
				tokens = append(tokens, token.Value.Reveal())
			}
			if !ok || v.SecretFound != tc.found || !slices.Equal(tokens, tc.tokens) {
				t.Errorf("known %t, verdict %+v, tokens %q", ok, v, tokens)
			}
		})
	}
}

// BenchmarkEdit measures an edit of one policy of 10,000, from its event to the requests for its status.
func BenchmarkEdit(b *testing.B) {
	const policies = 10_000
	r := &SnapshotReconciler{Store: &policy.Store{}, Now: time.Now, Metrics: NewMetrics(prometheus.NewRegistry())}
	r.changed.add(newApp("a", "prod", testSDKAppID), false)
	edits := make([]*v1alpha1.GroupPolicy, policies)
	for i := range edits {
		name := fmt.Sprintf("policy-%06d", i)
		list := newList("a", name, nil, "jared", "tommy")
		edits[i] = newPolicy("a", name, name, byName(name))
		edits[i].UID, list.UID = types.UID(name), types.UID("list-"+name)
		r.changed.add(list, false)
		r.changed.add(edits[i], false)
	}
	statuses := kindOf("", nil, r.Store, (*policy.Snapshot).PolicyVerdicts,
		(*policy.Snapshot).PolicyVerdictsSince).changed
	edit := func() {
		r.notBefore = time.Time{} // builds without pauses
		if _, err := r.Reconcile(b.Context(), buildRequest()); err != nil {
			b.Fatal(err)
		}
	}
	edit()
	statuses()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		edited := edits[i%policies].DeepCopy()
		edited.Generation = int64(i + 2)
		r.changed.add(edited, false)
		edit()
		if got := statuses(); len(got) != 1 {
			b.Fatalf("%d statuses", len(got))
		}
	}
}

// A list of accounts that was split while the watch was lost comes as one list of the API server: the shard that was
// emptied, and those that have its accounts. No snapshot must have the one without the others.
func TestListThatWasSplitDuringALostWatchMissesNoAccount(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	unseen := &lossy{}
	config := rest.CopyConfig(labtest.APIServer)
	config.Wrap(unseen.wrap)
	whole := newList(namespace, "all", map[string]string{v1alpha1.LabelList: "all"})
	for i := range 16 {
		whole.Spec.Accounts = append(whole.Spec.Accounts, fmt.Sprintf("account-%x", i))
	}
	create(t, whole)
	listed := byLabel(v1alpha1.LabelList, "all")
	members, banned := newPolicy(namespace, "members", "lounge", listed), newPolicy(namespace, "banned", "bar")
	banned.Spec.Join = &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{
		Lists: []v1alpha1.AccountListReference{listed},
	}}
	r := &SnapshotReconciler{Store: &policy.Store{}, Now: time.Now}
	for _, object := range []client.Object{newApp(namespace, "prod", testSDKAppID), members, banned} {
		r.changed.add(object, false)
	}
	var one sync.Mutex
	check := func() (err error) {
		one.Lock()
		defer one.Unlock()
		build(t, r)
		for _, account := range whole.Spec.Accounts {
			err = errors.Join(err, admits(account, "lounge", true)(r.Store.Load()),
				admits(account, "bar", false)(r.Store.Load()))
		}
		return err
	}
	var relists atomic.Bool
	afterEach := predicate.NewPredicateFuncs(func(client.Object) bool { // before this event, and after the previous one
		if err := check(); relists.Load() && err != nil {
			t.Error(err)
		}
		return true
	})
	mgr, _ := newManager(t, namespace, r.Store, replicaOptions{config: config})
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(queue.ShutDown)
	counting := informers.Counting(mgr.GetCache(), r.changed.together)
	source := source.Kind(counting, client.Object(&v1alpha1.AccountList{}), r.changed.handler(afterEach))
	labtest.Must(t, source.Start(t.Context(), queue))
	start(t, mgr.Start)
	labtest.Eventually(t, check)

	relists.Store(true)
	unseen.lose(func() {
		for i, account := range whole.Spec.Accounts {
			create(t, newList(namespace, fmt.Sprintf("all.%x", i), whole.Labels, account))
		}
		emptied := whole.DeepCopy()
		emptied.Labels, emptied.Spec.Accounts = nil, []string{}
		labtest.Must(t, labtest.Client(t).Update(t.Context(), emptied))
	})
	labtest.Eventually(t, func() error {
		if err := check(); err != nil {
			t.Fatal(err)
		}
		if got := len(slices.Collect(r.Store.Load().ListVerdicts())); got != 17 {
			return fmt.Errorf("%d AccountLists in the snapshot, want the one and its 16 shards", got)
		}
		return nil
	})
}
