package drill

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// world is the namespace of an episode, with an IM backend and two managers. All of its changes are recorded in the
// ledger.
type world struct {
	lab.World
	t        *testing.T
	ctx      context.Context
	apps     []string
	api      client.WithWatch
	replicas [2]*replica
	server   *laggingServer
	ledger   *ledger

	mu         sync.Mutex
	violations []string
}

// newWorld makes the namespace, the apps and the backend. The caller starts the managers.
func newWorld(t *testing.T, kind string, e episodeDraft) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api, err := client.NewWithWatch(cluster.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		World: lab.World{
			ControlPlane: cluster.ControlPlane, Binary: cluster.Binary, Namespace: fmt.Sprintf("%s-%d", kind, e.Seed),
		},
		t: t, ctx: t.Context(), apps: e.Apps, api: api, ledger: newLedger(),
	}
	manifests := []string{lab.NamespaceManifests(w.Namespace)}
	var apps []lab.App
	for i, name := range e.Apps {
		app := lab.App{
			Name: name, SDKAppID: uint64(lab.SDKAppID + i), Spec: fmt.Sprintf("rest: {requestsPerSecond: %d}", e.Rate),
		}
		apps, manifests = append(apps, app), append(manifests, app.Manifests())
		w.ledger.note(func() { line(w.ledger.suspended, name).set(time.Time{}, time.Time{}, false) })
	}
	backend := lab.NewBackend(apps, w.callbackURLs, w.witness)
	t.Cleanup(func() { _ = backend.Close() })
	w.IMEndpoint = backend.URL
	w.server = newLaggingServer(t, w)
	if err := w.Apply(t.Context(), manifests...); err != nil {
		t.Fatal(err)
	}
	return w
}

// callbackURLs are those of both managers, whichever answers.
func (w *world) callbackURLs() (urls []string) {
	for _, r := range w.replicas {
		if r != nil {
			urls = append(urls, r.current().CallbackURL)
		}
	}
	return urls
}

// violation records something that must not happen, in the product or in the drill.
func (w *world) violation(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.violations) < 200 {
		w.violations = append(w.violations, fmt.Sprintf(format, args...))
	}
}

func (w *world) appNamed(sdkAppID uint64) string {
	if i := int(sdkAppID) - lab.SDKAppID; i >= 0 && i < len(w.apps) {
		return w.apps[i]
	}
	return ""
}

// im is the control API of the emulator for an app.
func (w *world) im(app string) emulator.Client {
	return emulator.Client{BaseURL: w.IMEndpoint, SDKAppID: uint64(lab.SDKAppID + slices.Index(w.apps, app))}
}

// putPolicy creates or changes a policy.
func (w *world) putPolicy(name string, r rule) {
	begin := time.Now()
	p := &v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
	_, err := controllerutil.CreateOrPatch(w.ctx, w.api, p, func() error {
		p.Spec = r.spec()
		return nil
	})
	if err != nil {
		w.violation("put policy %s: %v", name, err)
		return
	}
	w.ledger.note(func() {
		line(w.ledger.policies, name).set(begin, time.Now(), &version{uid: p.UID, generation: p.Generation, rule: r})
	})
}

func (w *world) dropPolicy(name string) {
	begin := time.Now()
	err := w.api.Delete(w.ctx, &v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}})
	if client.IgnoreNotFound(err) != nil {
		w.violation("delete policy %s: %v", name, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.policies, name).set(begin, time.Now(), nil) })
}

// policy is the current policy, nil if there is none.
func (w *world) policy(name string) *version {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	return line(w.ledger.policies, name).now()
}

func (w *world) putList(name string, accounts []string) {
	begin := time.Now()
	l := &v1alpha1.AccountList{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
	_, err := controllerutil.CreateOrPatch(w.ctx, w.api, l, func() error {
		l.Labels, l.Spec.Accounts = map[string]string{"list": name}, accounts
		return nil
	})
	if err != nil {
		w.violation("put list %s: %v", name, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.lists, name).set(begin, time.Now(), &accounts) })
}

func (w *world) dropList(name string) {
	begin := time.Now()
	err := w.api.Delete(w.ctx, &v1alpha1.AccountList{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}})
	if client.IgnoreNotFound(err) != nil {
		w.violation("delete list %s: %v", name, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.lists, name).set(begin, time.Now(), nil) })
}

func (w *world) list(name string) *[]string {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	return line(w.ledger.lists, name).now()
}

// suspend switches the pruning of an app off or on.
func (w *world) suspend(app string, off bool) {
	state := v1alpha1.PruningEnabled
	if off {
		state = v1alpha1.PruningSuspended
	}
	begin := time.Now()
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"pruning":%q}}`, state))
	object := &v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: app}}
	if err := w.api.Patch(w.ctx, object, patch); err != nil {
		w.violation("suspend app %s: %v", app, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.suspended, app).set(begin, time.Now(), off) })
}

// rotate gives an app another key: the vendor first, and the Secret second. The token is rotated together with it; the
// Secret keeps the previous one, which the drill goes on signing with.
func (w *world) rotate(app, key string, atVendor bool) {
	if atVendor {
		_, err := w.im(app).Configure(w.ctx, func(s *emulator.Settings) { s.SecretKey = &key })
		if err != nil {
			w.violation("rotate the key of app %s: %v", app, err)
		}
		return
	}
	_, err := w.Kubectl(w.ctx, "", "patch", "secret", app+"-im", "--type=merge", "--patch", fmt.Sprintf(
		`{"stringData":{"secretKey":%q,"callbackToken":%q,"previousCallbackToken":%q}}`, key, key[:16], lab.CallbackToken))
	if err != nil {
		w.violation("rotate the Secret of app %s: %v", app, err)
	}
	token := key[:16]
	if _, err := w.im(app).Configure(w.ctx, func(s *emulator.Settings) { s.CallbackToken = &token }); err != nil {
		w.violation("rotate the token of app %s: %v", app, err)
	}
}

// setApproval sets the approval of a run. A refusal by the schema is no violation: the run may have ended.
func (w *world) setApproval(run *v1alpha1.PruneRun, approval v1alpha1.Approval) {
	begin := time.Now()
	err := w.patchRun(run, `{"spec":{"approval":%q}}`, approval)
	switch {
	case err == nil:
		w.ledger.note(func() { line(w.ledger.approvals, run.UID).set(begin, time.Now(), approval) })
	case apierrors.IsInvalid(err), apierrors.IsNotFound(err):
	default:
		w.violation("set the approval of %s to %s: %v", run.Name, approval, err)
	}
}

// requestUndo requests the undo of a run.
func (w *world) requestUndo(run *v1alpha1.PruneRun) {
	if err := w.patchRun(run, `{"spec":{"undo":"Requested"}}`); err != nil {
		w.violation("request the undo of %s: %v", run.Name, err)
	}
}

func (w *world) patchRun(run *v1alpha1.PruneRun, patch string, args ...any) error {
	object := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name}}
	return w.api.Patch(w.ctx, object, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, patch, args...)))
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
