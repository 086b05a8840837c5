package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

// Vendor holds one REST client per IMApp, so that all calls for an app share one limiter and one pause, whoever makes them. A
// client lives as long as its IMApp: an edited key, rate or admin account changes it in place, and an edit is no way around a pause.
type Vendor struct {
	// Reader reads credentials Secrets from the cache, which holds those with the label only.
	Reader client.Reader
	// Endpoint, if set, is used instead of the hosts of the regions.
	Endpoint string
	Now      func() time.Time
	// Sleep is passed to the clients, and paces what is tried again between calls; nil is a timer.
	Sleep func(context.Context, time.Duration) error
	// Metrics, if set, counts the requests.
	Metrics *VendorMetrics

	mu      sync.Mutex
	clients map[types.UID]*vendorClient
	queues  []workqueue.TypedRateLimitingInterface[reconcile.Request]
}

type vendorClient struct {
	app      types.NamespacedName
	rest     *imrest.Client
	reported imrest.Health
}

// credentialsError says that an app cannot be called until somebody changes its Secret. Reason is one of ResolvedRefs.
type credentialsError struct{ Reason, Message string }

func (e *credentialsError) Error() string { return e.Message }

// Client returns the client of app, as app and its Secret are now. The error is a *credentialsError where the Secret or the key
// is missing.
func (v *Vendor) Client(ctx context.Context, app *v1alpha1.IMApp) (*imrest.Client, error) {
	config, err := v.config(ctx, app)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if have := v.clients[app.UID]; have != nil {
		if err := have.rest.Update(config); err != nil {
			return nil, fmt.Errorf("configure the vendor's client: %w", err)
		}
		return have.rest, nil
	}
	rest, err := imrest.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("make the vendor's client: %w", err)
	}
	if v.clients == nil {
		v.clients = make(map[types.UID]*vendorClient)
	}
	v.clients[app.UID] = &vendorClient{app: client.ObjectKeyFromObject(app), rest: rest}
	return rest, nil
}

// Edited gives the client of app, if it has one, the settings as they are now: a list of a large group takes minutes, and what was
// wrong with the rate or the account is not to go on for as long. A key that is missing is for the next run to complain about.
func (v *Vendor) Edited(ctx context.Context, app *v1alpha1.IMApp) error {
	v.mu.Lock()
	called := v.clients[app.UID] != nil
	v.mu.Unlock()
	if !called {
		return nil
	}
	_, err := v.Client(ctx, app)
	if _, missing := errors.AsType[*credentialsError](err); missing {
		return nil
	}
	return err
}

func (v *Vendor) config(ctx context.Context, app *v1alpha1.IMApp) (imrest.Config, error) {
	key, err := v.secretKey(ctx, app)
	if err != nil {
		return imrest.Config{}, err
	}
	endpoint := v.Endpoint
	if endpoint == "" {
		if endpoint, err = imrest.Endpoint(string(app.Spec.Region)); err != nil {
			return imrest.Config{}, fmt.Errorf("find the host of the region: %w", err)
		}
	}
	return imrest.Config{
		Endpoint:          endpoint,
		SDKAppID:          uint64(app.Spec.SDKAppID), //nolint:gosec // G115: the schema wants at least 1
		AdminAccount:      app.Spec.AdminAccount,
		SecretKey:         key,
		RequestsPerSecond: int(app.Spec.REST.RequestsPerSecond),
		Now:               v.Now,
		Sleep:             v.Sleep,
		Observe:           v.Metrics.request,
	}, nil
}

func (v *Vendor) secretKey(ctx context.Context, app *v1alpha1.IMApp) (string, error) {
	name := app.Spec.CredentialsSecretRef.Name
	var secret corev1.Secret
	err := v.Reader.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return "", &credentialsError{
			Reason:  v1alpha1.ReasonSecretNotFound,
			Message: fmt.Sprintf("Secret %s was not found, or lacks the label %s: \"true\".", name, v1alpha1.LabelCredentials),
		}
	case err != nil:
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	key := convert.Credentials(secret.Data).SecretKey.Reveal()
	if key == "" {
		return "", &credentialsError{
			Reason:  v1alpha1.ReasonKeyMissing,
			Message: fmt.Sprintf("Secret %s has no %s: members can neither be listed nor removed without it.", name, v1alpha1.SecretKeySecretKey),
		}
	}
	return key, nil
}

// sleep waits for d or until ctx ends, then with the cause.
func (v *Vendor) sleep(ctx context.Context, d time.Duration) error {
	if v.Sleep != nil {
		return v.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Reachability says how the calls of the app fare, as reason and message of its condition VendorReachable. ok is false as long
// as no call was made.
func (v *Vendor) Reachability(appUID string) (reason, message string, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	have := v.clients[types.UID(appUID)]
	if have == nil {
		return "", "", false
	}
	health := have.rest.Health()
	return string(health.State), health.Message, health.State != imrest.HealthUnknown
}

// Notice looks at the health of an app's client after calls were made with it, and pokes the sources if it changed.
func (v *Vendor) Notice(appUID types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	have := v.clients[appUID]
	if have == nil {
		return
	}
	health := have.rest.Health()
	if health == have.reported {
		return
	}
	have.reported = health
	for _, queue := range v.queues {
		queue.Add(reconcile.Request{NamespacedName: have.app})
	}
}

// Forget drops the client of an IMApp that is gone.
func (v *Vendor) Forget(appUID types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if have := v.clients[appUID]; have != nil {
		have.rest.Close()
		delete(v.clients, appUID)
	}
}

// Source enqueues the name of an IMApp whenever its reachability has changed.
func (v *Vendor) Source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.queues = append(v.queues, queue)
		return nil
	})
}
