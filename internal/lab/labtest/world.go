package labtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/policy"
)

// Names of what a World holds, and of what happens in it: the REST APIs that removals use, and patches of statuses.
const (
	App    = "prod"
	Secret = "prod-im"

	StatusPatch  = "patch"
	GetGroup     = "get_group_info"
	ListMembers  = "get_group_member_info"
	NamedMembers = "get_specified_group_member_info"
	Delete       = "delete_group_member"
	Add          = "add_group_member"
)

// Clock stands still until it is moved, unless it is real. To sleep by it moves it.
type Clock struct {
	mu   sync.Mutex
	now  time.Time
	real bool
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real {
		return time.Now()
	}
	return c.now
}

// Forward moves the clock.
func (c *Clock) Forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Suspend moves the clock as it moves on a machine that is suspended for d: the monotonic clock stands still.
func (c *Clock) Suspend(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now.Add(d)
	clocks := (*struct { // what time.Time has been since Go 1.9
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&now)) // there is no other way to have the clocks differ
	clocks.ext -= int64(d)
	c.now = now
}

// Sleep moves the clock by d, and returns why ctx has ended, if it has.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	c.Forward(d)
	return context.Cause(ctx)
}

// UseRealTime makes the clock show the real time from now on.
func (c *Clock) UseRealTime() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.real = true
}

// Events is an EventRecorder that remembers the reasons and the notes.
type Events struct {
	mu             sync.Mutex
	reasons, notes []string
}

// Eventf implements events.EventRecorder.
func (e *Events) Eventf(_, _ runtime.Object, _, reason, _, note string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reasons, e.notes = append(e.reasons, reason), append(e.notes, reason+": "+fmt.Sprintf(note, args...))
}

// Notes returns "reason: note" of the events since the last Forget of the World.
func (e *Events) Notes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.notes)
}

// Reasons returns the reasons since the last Forget of the World.
func (e *Events) Reasons() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.reasons)
}

// World is a namespace with one app, its Secret and its emulated backend. Nothing in it is cached: that is tested with
// a manager.
type World struct {
	Namespace string
	Clock     *Clock
	Store     *policy.Store // holds what Publish compiled last
	Events    *Events
	Emulator  emulator.Client
	URL       string // of the backend
	Client    client.Client
	// Serving counts the REST calls that the backend is still working on, even if their callers have given up.
	Serving sync.WaitGroup

	t *testing.T

	mu     sync.Mutex
	before map[string]func()
	calls  []string
	patch  PatchHook
}

// PatchHook stands between a status patch of run and the API server.
type PatchHook func(run *v1alpha1.PruneRun, send func() error) error

// NewWorld makes a World, and publishes its snapshot.
func NewWorld(t *testing.T) *World {
	t.Helper()
	now := time.Now()
	now = now.Add(-time.Duration(now.Nanosecond())) // Truncate and UTC would drop the monotonic clock
	w := &World{
		Namespace: NewNamespace(t), Clock: &Clock{now: now}, Store: &policy.Store{},
		Events: &Events{}, t: t, before: map[string]func(){},
	}
	backend := emulator.New(emulator.Config{
		Apps: []emulator.App{{SDKAppID: lab.SDKAppID, SecretKey: lab.SecretKey}},
		Now:  func() time.Time { return w.Clock.Now().Round(0) },
	})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v4/") {
			w.Serving.Add(1)
			defer w.Serving.Done()
			// All of the request has come when something happens to its caller.
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the caller has given up
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			w.happens(path.Base(r.URL.Path))
		}
		backend.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		server.Close()
		Must(t, backend.Close())
	})
	w.URL, w.Emulator = server.URL, emulator.Client{BaseURL: server.URL}
	w.Client = w.intercepted()

	labels := map[string]string{v1alpha1.LabelCredentials: "true"}
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: Secret, Labels: labels},
		StringData: map[string]string{v1alpha1.SecretKeySecretKey: lab.SecretKey + "\n"},
	})
	w.create(&v1alpha1.IMApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: App},
		Spec: v1alpha1.IMAppSpec{
			SDKAppID: lab.SDKAppID, Region: v1alpha1.RegionSingapore, AdminAccount: lab.AdminAccount,
			CallbackAuthentication: v1alpha1.CallbackAuthenticationNone,
			CredentialsSecretRef:   v1alpha1.CredentialsSecretReference{Name: Secret},
			REST:                   v1alpha1.RESTSettings{RequestsPerSecond: 200},
		},
	})
	w.Publish()
	return w
}

// intercepted reads live what production reads from the cache.
func (w *World) intercepted() client.Client {
	return interceptor.NewClient(Client(w.t), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			var options client.ListOptions
			options.ApplyOptions(opts)
			if options.FieldSelector != nil {
				if index, ok := options.FieldSelector.RequiresExactMatch("appAndGroup"); ok {
					app, group, _ := strings.Cut(index, "/")
					opts = []client.ListOption{
						client.InNamespace(options.Namespace),
						client.MatchingFields{"spec.appRef.name": app, "spec.groupID": group},
					}
				}
			}
			runs, areRuns := list.(*v1alpha1.PruneRunList)
			if options.FieldSelector != nil && areRuns {
				if index, ok := options.FieldSelector.RequiresExactMatch("appWithoutPlan"); ok {
					app, purpose, _ := strings.Cut(index, "/")
					err := c.List(ctx, list, client.InNamespace(options.Namespace),
						client.MatchingFields{"spec.appRef.name": app, "spec.purpose": purpose})
					runs.Items = slices.DeleteFunc(runs.Items,
						func(run v1alpha1.PruneRun) bool { return run.Status.Plan != nil })
					return err
				}
			}
			return c.List(ctx, list, opts...)
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch,
			opts ...client.SubResourcePatchOption,
		) error {
			run, ok := obj.(*v1alpha1.PruneRun)
			if !ok {
				return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
			}
			send := func() error {
				if err := ctx.Err(); err != nil {
					return err // nothing is sent
				}
				w.happens(StatusPatch)
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

func (w *World) happens(what string) {
	w.mu.Lock()
	w.calls = append(w.calls, what)
	hook := w.before[what]
	w.mu.Unlock()
	if hook != nil {
		hook()
	}
}

// Before calls hook whenever something is about to take effect: a REST API, or StatusPatch. nil ends that.
func (w *World) Before(what string, hook func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before[what] = hook
}

// Once calls hook before the nth next time that something happens.
func (w *World) Once(what string, nth int, hook func()) {
	w.Before(what, func() {
		w.mu.Lock()
		nth--
		now := nth == 0
		w.mu.Unlock()
		if now {
			hook()
		}
	})
}

// EachPatch makes hook stand between every status patch and the API server; nil ends that.
func (w *World) EachPatch(hook PatchHook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patch = hook
}

// OnPatch makes hook stand between the nth status patch from now on and the API server.
func (w *World) OnPatch(nth int, hook PatchHook) {
	w.EachPatch(func(run *v1alpha1.PruneRun, send func() error) error {
		if nth--; nth == 0 {
			return hook(run, send)
		}
		return send()
	})
}

// Calls are the status patches and the REST calls that took effect since the last Forget, in order.
func (w *World) Calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// Happened counts what took effect since the last Forget.
func (w *World) Happened(what string) int {
	return len(slices.DeleteFunc(w.Calls(), func(call string) bool { return call != what }))
}

// Forget forgets what happened.
func (w *World) Forget() {
	w.mu.Lock()
	w.calls = nil
	w.mu.Unlock()
	w.Events.mu.Lock()
	w.Events.reasons, w.Events.notes = nil, nil
	w.Events.mu.Unlock()
}

// Publish compiles what the API server has now.
func (w *World) Publish() {
	w.t.Helper()
	ctx, in, inNamespace := w.t.Context(), policy.Input{}, client.InNamespace(w.Namespace)
	var (
		apps     v1alpha1.IMAppList
		lists    v1alpha1.AccountListList
		policies v1alpha1.GroupPolicyList
	)
	Must(w.t, errors.Join(
		w.Client.List(ctx, &apps, inNamespace), w.Client.List(ctx, &lists, inNamespace),
		w.Client.List(ctx, &policies, inNamespace)))
	for i := range apps.Items {
		var secret corev1.Secret
		err := w.Client.Get(ctx, w.Key(apps.Items[i].Spec.CredentialsSecretRef.Name), &secret)
		Must(w.t, client.IgnoreNotFound(err))
		in.Apps = append(in.Apps, convert.App(&apps.Items[i], secret.Data))
	}
	for i := range lists.Items {
		in.Lists = append(in.Lists, convert.List(&lists.Items[i]))
	}
	for i := range policies.Items {
		in.Policies = append(in.Policies, convert.Policy(&policies.Items[i]))
	}
	w.Store.Publish(policy.Compile(in))
}

// Key names an object of the World.
func (w *World) Key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.Namespace, Name: name}
}

func (w *World) create(object client.Object) {
	w.t.Helper()
	Must(w.t, w.Client.Create(w.t.Context(), object))
}

// Edit changes an object of the World.
func Edit[T client.Object](w *World, object T, name string, edit func(T)) {
	w.t.Helper()
	Must(w.t, w.Client.Get(w.t.Context(), w.Key(name), object))
	edit(object)
	Must(w.t, w.Client.Update(w.t.Context(), object))
}

// Remove deletes an object of the World.
func (w *World) Remove(object client.Object, name string) {
	w.t.Helper()
	object.SetNamespace(w.Namespace)
	object.SetName(name)
	Must(w.t, w.Client.Delete(w.t.Context(), object))
}

// AppUID is the UID of the app.
func (w *World) AppUID() string {
	w.t.Helper()
	var app v1alpha1.IMApp
	Must(w.t, w.Client.Get(w.t.Context(), w.Key(App), &app))
	return string(app.UID)
}

// Suspend makes pruning of the app Enabled or Suspended, and publishes that.
func (w *World) Suspend(state v1alpha1.PruningState) {
	w.t.Helper()
	Edit(w, &v1alpha1.IMApp{}, App, func(app *v1alpha1.IMApp) { app.Spec.Pruning = state })
	w.Publish()
}
