package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

const (
	firstSDKAppID = 1400000000
	adminAccount  = "administrator"
	secretKey     = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	token         = "s3cr3t-token"
)

// world is what an episode plays in: a namespace of its own, an IM backend and two managers. It writes into the ledger what it does.
type world struct {
	t         *testing.T
	ctx       context.Context
	namespace string
	apps      []string
	api       client.WithWatch
	emulator  *emulator.Emulator
	backend   *httptest.Server
	replicas  [2]*replica
	ledger    *ledger

	mu         sync.Mutex
	complaints []string
}

// newWorld makes the namespace, the apps and the backend. The managers are started by the caller.
func newWorld(t *testing.T, e episodeDraft) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), rbacv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	api, err := client.NewWithWatch(plane.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, ctx: t.Context(), namespace: fmt.Sprintf("drill-%d", e.Seed), apps: e.Apps, api: api, ledger: newLedger(),
	}
	balancer := httptest.NewServer(w)
	t.Cleanup(balancer.Close)
	var served []emulator.App
	for i := range e.Apps {
		served = append(served, emulator.App{SDKAppID: uint64(firstSDKAppID + i), SecretKey: secretKey, CallbackToken: token})
	}
	w.emulator = emulator.New(emulator.Config{Apps: served, CallbackURL: balancer.URL + "/callback", Witness: w.witness})
	w.backend = httptest.NewServer(w.emulator)
	t.Cleanup(func() {
		_ = w.emulator.Close()
		w.backend.Close()
	})

	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "groupgate-manager"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "groupgate-manager"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "groupgate-manager", Namespace: "groupgate-system"}},
	})
	for i, name := range e.Apps {
		w.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
			StringData: map[string]string{v1alpha1.SecretKeySecretKey: secretKey, v1alpha1.SecretKeyCallbackToken: token},
		})
		w.create(&v1alpha1.IMApp{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
			Spec: v1alpha1.IMAppSpec{
				SDKAppID: int64(firstSDKAppID + i), Region: "Singapore", AdminAccount: adminAccount,
				CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: name},
				REST:                 v1alpha1.RESTSettings{RequestsPerSecond: int32(e.Rate)},
			},
		})
		w.ledger.note(func() { line(w.ledger.suspended, name).set(time.Time{}, time.Time{}, false) })
	}
	return w
}

// complain writes down something that must not happen, whoever is to blame.
func (w *world) complain(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.complaints) < 200 {
		w.complaints = append(w.complaints, fmt.Sprintf(format, args...))
	}
}

func (w *world) appNamed(sdkAppID uint64) string {
	if i := int(sdkAppID) - firstSDKAppID; i >= 0 && i < len(w.apps) {
		return w.apps[i]
	}
	return ""
}

// im is the control API of the emulator for an app.
func (w *world) im(app string) emulator.Client {
	return emulator.Client{BaseURL: w.backend.URL, SDKAppID: uint64(firstSDKAppID + slices.Index(w.apps, app))}
}

func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := w.api.Create(w.ctx, object); err != nil {
		w.t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

// putPolicy creates or changes a policy.
func (w *world) putPolicy(name string, r rule) {
	begin := time.Now()
	p := &v1alpha1.GroupPolicy{}
	err := w.api.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, p)
	switch {
	case apierrors.IsNotFound(err):
		p = &v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: r.spec()}
		err = w.api.Create(w.ctx, p)
	case err == nil:
		before := p.DeepCopy()
		p.Spec = r.spec()
		err = w.api.Patch(w.ctx, p, client.MergeFrom(before)) // a status that is written at the same time must not get in the way
	}
	if err != nil {
		w.complain("put policy %s: %v", name, err)
		return
	}
	w.ledger.note(func() {
		line(w.ledger.policies, name).set(begin, time.Now(), &version{uid: p.UID, generation: p.Generation, rule: r})
	})
}

func (w *world) dropPolicy(name string) {
	begin := time.Now()
	err := w.api.Delete(w.ctx, &v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}})
	if client.IgnoreNotFound(err) != nil {
		w.complain("delete policy %s: %v", name, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.policies, name).set(begin, time.Now(), nil) })
}

// policy is the policy as it was put last, nil if there is none.
func (w *world) policy(name string) *version {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	return line(w.ledger.policies, name).now()
}

func (w *world) putList(name string, accounts []string) {
	begin := time.Now()
	l := &v1alpha1.AccountList{}
	err := w.api.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, l)
	switch {
	case apierrors.IsNotFound(err):
		l = &v1alpha1.AccountList{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{"list": name}},
			Spec:       v1alpha1.AccountListSpec{Accounts: accounts},
		}
		err = w.api.Create(w.ctx, l)
	case err == nil:
		before := l.DeepCopy()
		l.Spec.Accounts = accounts
		err = w.api.Patch(w.ctx, l, client.MergeFrom(before))
	}
	if err != nil {
		w.complain("put list %s: %v", name, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.lists, name).set(begin, time.Now(), &accounts) })
}

func (w *world) dropList(name string) {
	begin := time.Now()
	err := w.api.Delete(w.ctx, &v1alpha1.AccountList{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}})
	if client.IgnoreNotFound(err) != nil {
		w.complain("delete list %s: %v", name, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.lists, name).set(begin, time.Now(), nil) })
}

func (w *world) list(name string) *[]string {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	return line(w.ledger.lists, name).now()
}

// suspend turns the pruning of an app off or on.
func (w *world) suspend(app string, off bool) {
	state := v1alpha1.PruningEnabled
	if off {
		state = v1alpha1.PruningSuspended
	}
	begin := time.Now()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"pruning":%q}}`, state))
	if err := w.api.Patch(w.ctx, &v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: app}}, patch); err != nil {
		w.complain("suspend app %s: %v", app, err)
		return
	}
	w.ledger.note(func() { line(w.ledger.suspended, app).set(begin, time.Now(), off) })
}

// say sets the approval of a run. What the schema does not allow is no error: the run may have ended meanwhile.
func (w *world) say(run *v1alpha1.PruneRun, word v1alpha1.Approval) {
	begin := time.Now()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"approval":%q}}`, word))
	err := w.api.Patch(w.ctx, &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name}}, patch)
	switch {
	case err == nil:
		w.ledger.note(func() { line(w.ledger.approvals, run.UID).set(begin, time.Now(), word) })
	case apierrors.IsInvalid(err), apierrors.IsNotFound(err):
	default:
		w.complain("set the approval of %s to %s: %v", run.Name, word, err)
	}
}

// requestUndo asks for the removals of a run to be undone.
func (w *world) requestUndo(run *v1alpha1.PruneRun) {
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"undo":"Requested"}}`))
	err := w.api.Patch(w.ctx, &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name}}, patch)
	if err != nil {
		w.complain("request the undo of %s: %v", run.Name, err)
	}
}

// pause waits, unless the test ends first.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
