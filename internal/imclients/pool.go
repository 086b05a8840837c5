package imclients

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

// Pool holds one REST client per IMApp, so that all calls for an app share one limiter and one pause. Its fields are
// not changed once it is used.
type Pool struct {
	// Reader reads credentials Secrets from the cache, which holds those with the label only.
	Reader client.Reader
	// Endpoint, if set, is used instead of the hosts of the regions.
	Endpoint string
	Now      func() time.Time
	// Sleep is passed to the clients, and is what Pause uses; nil is a timer.
	Sleep func(context.Context, time.Duration) error
	// Metrics, if set, counts the requests.
	Metrics *Metrics

	mu      sync.Mutex
	entries map[types.UID]*entry // by the UID of the IMApp
	queues  []workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// entry is one client and the health of it that was last published to the queues.
type entry struct {
	app       types.NamespacedName
	rest      *imrest.Client
	published imrest.Health
}

// CredentialsError reports that an app cannot be called until its Secret is changed. Reason is one of ResolvedRefs.
type CredentialsError struct{ Reason, Message string }

func (e *CredentialsError) Error() string { return e.Message }

// Client returns the client of app, configured from app and from its Secret in the cache. The error is a
// *CredentialsError if the Secret or the key is missing.
func (p *Pool) Client(ctx context.Context, app *v1alpha1.IMApp) (*imrest.Client, error) {
	config, err := p.config(ctx, app)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.entries[app.UID]; have != nil {
		if err := have.rest.Update(config); err != nil {
			return nil, fmt.Errorf("configure the vendor's client: %w", err)
		}
		return have.rest, nil
	}
	rest, err := imrest.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("make the vendor's client: %w", err)
	}
	if p.entries == nil {
		p.entries = make(map[types.UID]*entry)
	}
	p.entries[app.UID] = &entry{app: client.ObjectKeyFromObject(app), rest: rest}
	return rest, nil
}

// Edited configures the client of app, if there is one, from the edited app. Calls that are under way go on with the
// new settings: listing a large group takes minutes, and must not go on for as long with a wrong rate or account. A
// missing key is not an error here; the next run reports it.
func (p *Pool) Edited(ctx context.Context, app *v1alpha1.IMApp) error {
	p.mu.Lock()
	exists := p.entries[app.UID] != nil
	p.mu.Unlock()
	if !exists {
		return nil
	}
	_, err := p.Client(ctx, app)
	if _, missing := errors.AsType[*CredentialsError](err); missing {
		return nil
	}
	return err
}

func (p *Pool) config(ctx context.Context, app *v1alpha1.IMApp) (imrest.Config, error) {
	key, err := p.secretKey(ctx, app)
	if err != nil {
		return imrest.Config{}, err
	}
	endpoint := p.Endpoint
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
		Now:               p.Now,
		Sleep:             p.Sleep,
		Observe:           p.Metrics.observe,
	}, nil
}

func (p *Pool) secretKey(ctx context.Context, app *v1alpha1.IMApp) (string, error) {
	name := app.Spec.CredentialsSecretRef.Name
	var secret corev1.Secret
	err := p.Reader.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return "", &CredentialsError{
			Reason: v1alpha1.ReasonSecretNotFound,
			Message: fmt.Sprintf("Secret %s was not found in namespace %s, or lacks the label %s=true.",
				name, app.Namespace, v1alpha1.LabelCredentials),
		}
	case err != nil:
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	key := convert.Credentials(secret.Data).SecretKey.Reveal()
	if key == "" {
		return "", &CredentialsError{
			Reason: v1alpha1.ReasonKeyMissing,
			Message: fmt.Sprintf("Secret %s has no %s: members can neither be listed nor removed without it.",
				name, v1alpha1.SecretKeySecretKey),
		}
	}
	return key, nil
}

// Pause waits for d or until ctx ends, and then returns the cause. It paces attempts between calls.
func (p *Pool) Pause(ctx context.Context, d time.Duration) error {
	if p.Sleep != nil {
		return p.Sleep(ctx, d)
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

// Reachability returns the reason and message of the app's condition VendorReachable. ok is false until a call was
// made.
func (p *Pool) Reachability(appUID string) (reason, message string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := p.entries[types.UID(appUID)]
	if have == nil {
		return "", "", false
	}
	health := have.rest.Health()
	return string(health.State), health.Message, health.State != imrest.HealthUnknown
}

// Notice enqueues the app on the queues of Source if the calls made since have changed the health of its client.
func (p *Pool) Notice(appUID types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := p.entries[appUID]
	if have == nil {
		return
	}
	health := have.rest.Health()
	if health == have.published {
		return
	}
	have.published = health
	for _, queue := range p.queues {
		queue.Add(reconcile.Request{NamespacedName: have.app})
	}
}

// Forget closes and drops the client of a deleted IMApp.
func (p *Pool) Forget(appUID types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.entries[appUID]; have != nil {
		have.rest.Close()
		delete(p.entries, appUID)
	}
}

// Source enqueues the name of an IMApp whenever its reachability has changed.
func (p *Pool) Source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.queues = append(p.queues, queue)
		return nil
	})
}
