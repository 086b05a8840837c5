package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	pruneApp       = "prod"
	pruneSDKAppID  = 1400000000
	pruneSecretKey = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	fullGroup      = "lounge #2, a=b\\" // everything that a field selector has to escape

	apiDelete = "delete_group_member"
	apiLook   = "get_specified_group_member_info"
	apiList   = "get_group_member_info"
	apiGroup  = "get_group_info"
)

// testClock stands still until it is moved, unless it is real; whoever sleeps by it moves it.
type testClock struct {
	mu   sync.Mutex
	now  time.Time
	real bool
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real {
		return time.Now()
	}
	return c.now
}

func (c *testClock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *testClock) sleep(ctx context.Context, d time.Duration) error {
	c.forward(d)
	return context.Cause(ctx)
}

// testEvents keeps the reasons of events.
type testEvents struct {
	mu      sync.Mutex
	reasons []string
}

func (e *testEvents) Eventf(_, _ runtime.Object, _, reason, _, _ string, _ ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reasons = append(e.reasons, reason)
}

func (e *testEvents) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.reasons)
}

// world is a real API server and an emulated vendor, one app with its Secret, and a clock that all of them share. Nothing in it is
// cached: what a cache does is the business of the tests that start a manager.
type world struct {
	t         *testing.T
	namespace string
	clock     *testClock
	store     *policy.Store
	events    *testEvents
	emulator  emulator.Client
	url       string
	client    client.Client

	serving sync.WaitGroup // REST calls that the vendor still works on, whether or not somebody waits for the answer

	mu     sync.Mutex
	lives  map[*PruneRunReconciler]life
	before map[string]func() // by API or "patch": called before it takes effect
	calls  []string          // status patches ("patch") and REST calls (by API) that took effect, in order
	patch  func(run *v1alpha1.PruneRun, send func() error) error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, namespace: newNamespace(t), clock: &testClock{now: time.Now().UTC().Truncate(time.Second)},
		store: &policy.Store{}, events: &testEvents{}, before: map[string]func(){},
		lives: map[*PruneRunReconciler]life{},
	}
	backend := emulator.New(emulator.Config{Apps: []emulator.App{{SDKAppID: pruneSDKAppID, SecretKey: pruneSecretKey}}, Now: w.clock.Now})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v4/") {
			w.serving.Add(1)
			defer w.serving.Done()
			w.happens(path.Base(r.URL.Path))
		}
		backend.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		server.Close()
		must(t, backend.Close())
	})
	w.url, w.emulator = server.URL, emulator.Client{BaseURL: server.URL}
	w.client = w.intercepted()

	must(t, w.client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "prod-im", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		StringData: map[string]string{v1alpha1.SecretKeySecretKey: pruneSecretKey + "\n"},
	}))
	must(t, w.client.Create(t.Context(), &v1alpha1.IMApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: pruneApp},
		Spec: v1alpha1.IMAppSpec{
			SDKAppID: pruneSDKAppID, Region: "Singapore", AdminAccount: "administrator", CallbackAuthentication: v1alpha1.CallbackAuthenticationNone,
			CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: "prod-im"}, REST: v1alpha1.RESTSettings{RequestsPerSecond: 200},
		},
	}))
	w.publish()
	return w
}

// life is that of a process.
type life struct {
	ctx     context.Context
	end     context.CancelCauseFunc
	endTerm func()
}

// intercepted reads live what production reads from the cache, and lets a test stand between a status patch and the API server.
func (w *world) intercepted() client.Client {
	live, err := client.NewWithWatch(apiServer, client.Options{Scheme: testScheme(w.t)})
	must(w.t, err)
	return interceptor.NewClient(live, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			var options client.ListOptions
			options.ApplyOptions(opts)
			index, indexed := "", false
			if options.FieldSelector != nil {
				index, indexed = options.FieldSelector.RequiresExactMatch(groupIndex)
			}
			if !indexed {
				return c.List(ctx, list, opts...)
			}
			app, group, _ := strings.Cut(index, "/")
			return c.List(ctx, list, client.InNamespace(options.Namespace), client.MatchingFields{"spec.appRef.name": app, "spec.groupID": group})
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			run, ok := obj.(*v1alpha1.PruneRun)
			if !ok {
				return fmt.Errorf("patched a %T", obj)
			}
			send := func() error {
				if err := ctx.Err(); err != nil {
					return err // nothing is sent
				}
				w.happens("patch")
				return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
			}
			w.mu.Lock()
			hook := w.patch
			w.mu.Unlock()
			if hook == nil {
				return send()
			}
			return hook(run, send)
		},
	})
}

// happens records what is about to take effect, and calls its hook.
func (w *world) happens(what string) {
	w.mu.Lock()
	w.calls = append(w.calls, what)
	hook := w.before[what]
	w.mu.Unlock()
	if hook != nil {
		hook()
	}
}

// once calls hook before the nth next time that something happens.
func (w *world) once(what string, nth int, hook func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before[what] = func() {
		w.mu.Lock()
		nth--
		now := nth == 0
		w.mu.Unlock()
		if now {
			hook()
		}
	}
}

func (w *world) happened(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, call := range w.calls {
		if call == what {
			n++
		}
	}
	return n
}

func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = nil
}

// publish compiles what the API server has now.
func (w *world) publish() {
	w.t.Helper()
	ctx, in := w.t.Context(), policy.Input{}
	var (
		apps     v1alpha1.IMAppList
		lists    v1alpha1.AccountListList
		policies v1alpha1.GroupPolicyList
	)
	must(w.t, errors.Join(w.client.List(ctx, &apps, client.InNamespace(w.namespace)),
		w.client.List(ctx, &lists, client.InNamespace(w.namespace)), w.client.List(ctx, &policies, client.InNamespace(w.namespace))))
	for i := range apps.Items {
		var secret corev1.Secret
		err := w.client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: apps.Items[i].Spec.CredentialsSecretRef.Name}, &secret)
		must(w.t, client.IgnoreNotFound(err))
		in.Apps = append(in.Apps, convert.App(&apps.Items[i], secret.Data))
	}
	for i := range lists.Items {
		in.Lists = append(in.Lists, convert.List(&lists.Items[i]))
	}
	for i := range policies.Items {
		in.Policies = append(in.Policies, convert.Policy(&policies.Items[i]))
	}
	w.store.Publish(policy.Compile(in))
}

// policy applies a policy for fullGroup and publishes it.
func (w *world) policy(name string, rule v1alpha1.PruneRule) {
	w.t.Helper()
	w.policyFor(name, fullGroup, rule)
	w.publish()
}

func (w *world) policyFor(name, group string, rule v1alpha1.PruneRule) {
	w.t.Helper()
	if rule.Mode == "" {
		rule.Mode = v1alpha1.PruneModeEnforce
	}
	rule.InactiveFor = "30d"
	must(w.t, w.client.Create(w.t.Context(), &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: pruneApp}, Groups: []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherExact, Value: group}},
			WhenFull: &v1alpha1.WhenFullSection{Prune: &rule},
		},
	}))
}

func seats(n int) *intstr.IntOrString { s := intstr.FromInt32(int32(n)); return &s }

// change edits an object of the namespace.
func change[T client.Object](w *world, object T, name string, edit func(T)) {
	w.t.Helper()
	must(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, object))
	edit(object)
	must(w.t, w.client.Update(w.t.Context(), object))
}

func remove[T client.Object](w *world, object T, name string) {
	w.t.Helper()
	object.SetNamespace(w.namespace)
	object.SetName(name)
	must(w.t, w.client.Delete(w.t.Context(), object))
}

// group makes a full group: the owner, an admin, talkers who spoke today, and idlers i1, i2, ... who have not for 40 days.
func (w *world) group(id string, talkers, idlers int) {
	w.t.Helper()
	spec := emulator.GroupSpec{
		ID: id, Type: "Public", Owner: "owner", MaxMembers: 2 + talkers + idlers, CreatedAgo: "400d",
		Members: []emulator.MemberSpec{{Accounts: []string{"boss"}, Role: "Admin", InactiveFor: "300d"}},
	}
	if talkers > 0 {
		spec.Members = append(spec.Members, emulator.MemberSpec{Prefix: "t", Count: talkers, JoinedAgo: "100d", SpokeAgo: "2h"})
	}
	if idlers > 0 {
		spec.Members = append(spec.Members, emulator.MemberSpec{Prefix: "i", Count: idlers, InactiveFor: "40d"})
	}
	_, err := w.emulator.CreateGroup(w.t.Context(), spec)
	must(w.t, err)
}

func (w *world) members(id string) []string {
	w.t.Helper()
	// Not the test's context: a hook may ask after the test has begun to end.
	list, err := w.emulator.Members(w.t.Context(), id)
	must(w.t, err)
	accounts := make([]string, len(list))
	for i := range list {
		accounts[i] = list[i].Account
	}
	slices.Sort(accounts)
	return accounts
}

func (w *world) fault(fault emulator.Fault) {
	w.t.Helper()
	_, err := w.emulator.AddFault(w.t.Context(), fault)
	must(w.t, err)
}

// run makes a PruneRun for fullGroup.
func (w *world) run(name string, trigger v1alpha1.PruneTrigger) {
	w.t.Helper()
	w.runFor(name, fullGroup, trigger)
}

func (w *world) runFor(name, group string, trigger v1alpha1.PruneTrigger) {
	w.t.Helper()
	must(w.t, w.client.Create(w.t.Context(), &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: pruneApp}, GroupID: group, Trigger: trigger},
	}))
}

func (w *world) get(name string) *v1alpha1.PruneRun {
	w.t.Helper()
	run := &v1alpha1.PruneRun{}
	must(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, run))
	return run
}

func (w *world) exists(name string) bool {
	w.t.Helper()
	err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &v1alpha1.PruneRun{})
	must(w.t, client.IgnoreNotFound(err))
	return !apierrors.IsNotFound(err)
}

func (w *world) runNames() []string {
	w.t.Helper()
	var list v1alpha1.PruneRunList
	must(w.t, w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace)))
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names
}

// process is one replica: a reconciler in a term of its own.
func (w *world) process() *PruneRunReconciler {
	w.t.Helper()
	held, endTerm := heldTerm(w.t)
	r := &PruneRunReconciler{
		Client: w.client, Live: w.client, Snapshots: w.store, Term: held, Events: w.events, Now: w.clock.Now, TTL: 7 * 24 * time.Hour,
		Vendor: &imclients.Pool{Reader: w.client, Endpoint: w.url, Now: w.clock.Now, Sleep: w.clock.sleep},
	}
	ctx, end := context.WithCancelCause(w.t.Context())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[r] = life{ctx, end, endTerm}
	return r
}

// kill ends the term of a process for good. Contexts that were joined with a term end a moment after it; here they do at once.
func (w *world) kill(r *PruneRunReconciler) {
	w.endTerm(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[r].end(term.ErrEnded)
}

func (w *world) endTerm(r *PruneRunReconciler) {
	w.mu.Lock()
	end := w.lives[r].endTerm
	w.mu.Unlock()
	end()
}

func (w *world) reconcile(r *PruneRunReconciler, name string) (reconcile.Result, error) {
	w.mu.Lock()
	ctx := w.lives[r].ctx
	w.mu.Unlock()
	return r.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: w.namespace, Name: name}})
}

// once more than enough: a run that is not at its end after as many looks is at none.
func (w *world) finish(r *PruneRunReconciler, name string) *v1alpha1.PruneRun {
	w.t.Helper()
	var last error
	for range 20 {
		_, last = w.reconcile(r, name)
		if run := w.get(name); prunerun.Finished(run) {
			return run
		}
	}
	w.t.Fatalf("run %s does not end: %v\n%+v", name, last, w.get(name).Status.Conditions)
	return nil
}

// conditions are "type=status/reason", in order.
func conditions(run *v1alpha1.PruneRun) []string {
	var all []string
	for _, c := range run.Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
	}
	return all
}

func wantConditions(t *testing.T, run *v1alpha1.PruneRun, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, conditions(run)); diff != "" {
		t.Errorf("conditions (-want,+got)\n%s\n%+v", diff, run.Status.Conditions)
	}
	for _, c := range run.Status.Conditions {
		if c.ObservedGeneration != run.Generation {
			t.Errorf("%s is about generation %d, want %d", c.Type, c.ObservedGeneration, run.Generation)
		}
		if first, _ := utf8.DecodeRuneInString(c.Message); unicode.IsLower(first) || !strings.HasSuffix(c.Message, ".") || strings.HasSuffix(c.Message, "..") {
			t.Errorf("the message of %s is no sentence: %q", c.Type, c.Message)
		}
	}
}

func planAccounts(run *v1alpha1.PruneRun) []string {
	if run.Status.Plan == nil {
		return nil
	}
	accounts := make([]string, len(run.Status.Plan.Removals))
	for i, removal := range run.Status.Plan.Removals {
		accounts[i] = removal.Account
	}
	return accounts
}

func kept(run *v1alpha1.PruneRun) map[string]v1alpha1.KeptReason {
	all := map[string]v1alpha1.KeptReason{}
	for _, k := range run.Status.Kept {
		all[k.Account] = k.Reason
	}
	return all
}

// without returns all less gone, sorted.
func without(all, gone []string) []string {
	rest := slices.DeleteFunc(slices.Clone(all), func(account string) bool { return slices.Contains(gone, account) })
	slices.Sort(rest)
	return rest
}

func (w *world) appUID() string {
	w.t.Helper()
	var app v1alpha1.IMApp
	must(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: pruneApp}, &app))
	return string(app.UID)
}

// requested says whether the run is among requests, which may hold those of other tests.
func requested(requests []reconcile.Request, namespace, name string) bool {
	return slices.Contains(requests, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}})
}

// storeNever has never seen a snapshot.
type storeNever struct{}

func (storeNever) Load() *policy.Snapshot { return nil }

var errBroken = errors.New("the API server is out of reach")

// brokenReader fails to read some objects.
type brokenReader struct {
	client.Reader
	broken func(any) bool
}

func (b brokenReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if b.broken(obj) {
		return errBroken
	}
	return b.Reader.Get(ctx, key, obj, opts...)
}
