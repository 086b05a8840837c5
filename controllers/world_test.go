package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/replicas"
	"github.com/groupgate/groupgate/internal/term"
)

// replica is a manager with the snapshot and the status controller, whose patches a test can count and refuse.
type replica struct {
	store   *policy.Store
	health  callbackhealth.Recorder
	metrics *Metrics
	term    *term.Term
	age     *term.WatchAge
	// wrote counts the status patches that the API server accepted, refused those that were not sent.
	wrote, refused atomic.Int64
	wroteOf        sync.Map // the same by the object's name
	watches        *informers.Watches
	// written holds the last status patch by the object's name, read its answer.
	written, read sync.Map
	cache         client.Reader
	// refuse makes every status patch fail.
	refuse atomic.Bool
	stop   func()
}

type replicaOptions struct {
	config       *rest.Config // nil: labtest.APIServer
	namespaces   []string     // besides that of the test
	election     term.Election
	reachability Reachability
	began        time.Time
}

// election has durations short enough for a test.
func election(namespace string) term.Election {
	return term.Election{
		Enabled: true, ID: "groupgate", Namespace: namespace,
		LeaseDuration: 4 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
	}
}

// newManager makes a manager with the cache of a namespace, as package app does.
func newManager(
	t *testing.T, namespace string, store *policy.Store, o replicaOptions,
) (ctrl.Manager, *informers.Watches) {
	t.Helper()
	namespaces := append([]string{namespace}, o.namespaces...)
	watches := informers.NewWatches(namespaces, time.Now)
	mgr, err := ctrl.NewManager(cmp.Or(o.config, labtest.APIServer), ctrl.Options{
		Scheme:         labtest.Scheme(),
		MapperProvider: informers.NewRESTMapper,
		Cache: informers.CacheOptions(informers.Options{
			Namespaces: namespaces, Lease: o.election.Lease(), Store: store, Now: time.Now, Watches: watches,
		}),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	labtest.Must(t, err)
	return mgr, watches
}

func startReplica(t *testing.T, namespace string, o replicaOptions) *replica {
	t.Helper()
	o.config = cmp.Or(o.config, labtest.APIServer)
	r := &replica{store: &policy.Store{}, metrics: NewMetrics(prometheus.NewRegistry())}
	var (
		mgr ctrl.Manager
		err error
	)
	mgr, r.watches = newManager(t, namespace, r.store, o)
	r.term, err = term.New(o.config, o.election, r.metrics.termHeld, mgr.GetLogger())
	labtest.Must(t, err)
	labtest.Must(t, mgr.Add(r.term))
	r.age = term.NewWatchAge(mgr.GetCache(), o.election.LeaseDuration, time.Now, prometheus.NewRegistry())
	if o.election.Enabled {
		labtest.Must(t, mgr.Add(r.age))
	}

	snapshots := &SnapshotReconciler{Store: r.store, Now: time.Now, Watches: r.watches, Metrics: r.metrics}
	snapshots.Replica = NewReplica(snapshots, replicas.NewMembers(replicas.Pod{}, time.Now), &r.health)
	labtest.Must(t, snapshots.SetupWithManager(t.Context(), mgr))
	labtest.Must(t, mgr.Add(snapshots.Replica.Enforcement))

	writer, err := client.NewWithWatch(o.config,
		client.Options{Scheme: labtest.Scheme(), Cache: &client.CacheOptions{Reader: mgr.GetCache()}})
	labtest.Must(t, err)
	statuses := &StatusReconciler{
		Client: interceptor.NewClient(writer, interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, subresource string, object client.Object,
				patch client.Patch, opts ...client.SubResourcePatchOption) error {
				if r.refuse.Load() {
					r.refused.Add(1)
					return errors.New("no status today")
				}
				body, err := patch.Data(object)
				if err != nil {
					return err
				}
				err = c.SubResource(subresource).Patch(ctx, object, patch, opts...)
				if err == nil {
					r.written.Store(object.GetName(), string(body))
					r.read.Store(object.GetName(), object)
					r.wrote.Add(1)
					count, _ := r.wroteOf.LoadOrStore(object.GetName(), &atomic.Int64{})
					count.(*atomic.Int64).Add(1)
				}
				return err
			},
		}),
		Snapshots:    r.store,
		Term:         r.term,
		Reachability: o.reachability,
		Replica:      snapshots.Replica,
		Began:        o.began,
		Events:       mgr.GetEventRecorder("groupgate"),
		Now:          time.Now,
	}
	labtest.Must(t, statuses.SetupWithManager(mgr, snapshots.Published))
	r.cache = mgr.GetCache()
	r.stop = start(t, mgr.Start)
	return r
}

// builds is how many snapshots were published.
func (r *replica) builds(t *testing.T) uint64 {
	t.Helper()
	var m dto.Metric
	labtest.Must(t, r.metrics.buildDuration.Write(&m))
	return m.GetHistogram().GetSampleCount()
}

// settledBuilds is builds once it has stood still for a while: an object can be in the cache, and so in a build, a
// moment before its event asks for one more.
func (r *replica) settledBuilds(t *testing.T) uint64 {
	t.Helper()
	last, still := r.builds(t), 0
	labtest.Eventually(t, func() error {
		now := r.builds(t)
		if now != last {
			last, still = now, 0
		}
		if still++; still < 15 {
			return errors.New("still building")
		}
		return nil
	})
	return last
}

// writes is how many status patches of the object of that name the API server took.
func (r *replica) writes(name string) int64 {
	count, ok := r.wroteOf.Load(name)
	if !ok {
		return 0
	}
	return count.(*atomic.Int64).Load()
}

// published polls until a snapshot satisfies check.
func (r *replica) published(t *testing.T, check func(*policy.Snapshot) error) {
	t.Helper()
	labtest.Eventually(t, func() error {
		snapshot := r.store.Load()
		if snapshot == nil {
			return errors.New("nothing published")
		}
		return check(snapshot)
	})
}

const testSDKAppID = 1400000000

func newApp(namespace, name string, sdkAppID int64) *v1alpha1.IMApp {
	return &v1alpha1.IMApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.IMAppSpec{
			SDKAppID:             sdkAppID,
			Region:               v1alpha1.RegionSingapore,
			AdminAccount:         "administrator",
			CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: "credentials"},
		},
	}
}

func newCredentials(namespace string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "credentials",
			Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		Data: map[string][]byte{v1alpha1.SecretKeySecretKey: []byte("key\n"),
			v1alpha1.SecretKeyCallbackToken: []byte("token\n")},
	}
}

func newList(namespace, name string, labels map[string]string, accounts ...string) *v1alpha1.AccountList {
	return &v1alpha1.AccountList{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       v1alpha1.AccountListSpec{Accounts: accounts},
	}
}

// newPolicy gates one group and admits whom the references name.
func newPolicy(namespace, name, group string, refs ...v1alpha1.AccountListReference) *v1alpha1.GroupPolicy {
	return &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: "prod"},
			Groups: []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherExact, Value: group}},
			Join:   &v1alpha1.JoinSection{Allow: &v1alpha1.AccountSelector{Lists: refs}},
		},
	}
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	c := labtest.Client(t)
	for _, object := range objects {
		labtest.Must(t, c.Create(t.Context(), object))
	}
}

// edit changes an object until no one else's write comes between.
func edit[T client.Object](t *testing.T, object T, change func(T)) {
	t.Helper()
	c := labtest.Client(t)
	labtest.Eventually(t, func() error {
		labtest.Must(t, c.Get(t.Context(), client.ObjectKeyFromObject(object), object))
		change(object)
		return c.Update(t.Context(), object)
	})
}

// status polls until the object has the condition, for its present generation.
func status(t *testing.T, object client.Object, conditionType string, want metav1.ConditionStatus,
	reason string) metav1.Condition {
	t.Helper()
	c := labtest.Client(t)
	var condition *metav1.Condition
	labtest.Eventually(t, func() error {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		condition = meta.FindStatusCondition(conditionsOf(object), conditionType)
		if condition == nil || condition.Status != want || condition.Reason != reason ||
			condition.ObservedGeneration != object.GetGeneration() {
			return fmt.Errorf("%s: %s is %+v, want %s/%s for generation %d", object.GetName(), conditionType, condition,
				want, reason, object.GetGeneration())
		}
		return nil
	})
	return *condition
}

// admits is a check that an account may or may not join a group.
func admits(account, group string, want bool) func(*policy.Snapshot) error {
	return func(snapshot *policy.Snapshot) error {
		app := snapshot.App(testSDKAppID)
		if app == nil {
			return errors.New("app unknown")
		}
		verdict := app.DecideJoin(policy.JoinQuery{Group: group, Type: policy.TypePublic, Account: account})
		if verdict.Admit != want {
			return fmt.Errorf("%s into %s: %+v, want admitted %t", account, group, verdict, want)
		}
		return nil
	}
}
