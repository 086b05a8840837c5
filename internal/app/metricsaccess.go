package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// accessTTL is how long a client that was allowed to read the metrics may go on while the API server gives no
	// answer. Otherwise the alert on an outage could not fire in one.
	accessTTL = time.Hour
	// reviewTimeout bounds what a scrape waits for the API server. Prometheus gives up after 10 s.
	reviewTimeout = 4 * time.Second
	// maxAllowed bounds the clients that are remembered. There are a few, each with a new token once in a while.
	maxAllowed = 1000
)

// metricsAccess lets a client read the metrics if the API server authenticates its bearer token, and allows it to.
// Every answer counts at once; the last one that allowed it counts while there is none.
//
// The filter of controller-runtime refuses every client a minute after the API server became unreachable.
type metricsAccess struct {
	tokens authenticationclient.TokenReviewInterface
	access authorizationclient.SubjectAccessReviewInterface
	now    func() time.Time

	mu      sync.Mutex
	allowed map[accessKey]time.Time // when the API server last said so
}

// accessKey is a hash of a token, and a request.
type accessKey struct {
	token      [sha256.Size]byte
	verb, path string
}

// metricsFilter is a metricsserver.Options.FilterProvider.
func (o *Options) metricsFilter(config *rest.Config, client *http.Client) (metricsserver.Filter, error) {
	tokens, err := authenticationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("create a client for token reviews: %w", err)
	}
	access, err := authorizationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("create a client for access reviews: %w", err)
	}
	m := &metricsAccess{
		tokens: tokens.TokenReviews(), access: access.SubjectAccessReviews(), now: o.Now,
		allowed: map[accessKey]time.Time{},
	}
	return func(log logr.Logger, next http.Handler) (http.Handler, error) { return m.filter(log, next), nil }, nil
}

// filter passes the requests on that are allowed.
func (m *metricsAccess) filter(log logr.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := m.decide(r)
		if err != nil {
			log.Error(err, "Access to the metrics cannot be decided")
		}
		if status != http.StatusOK {
			http.Error(w, http.StatusText(status), status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// decide returns StatusOK if the request is allowed.
func (m *metricsAccess) decide(r *http.Request) (status int, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return http.StatusUnauthorized, nil
	}
	key := accessKey{sha256.Sum256([]byte(token)), strings.ToLower(r.Method), r.URL.Path}
	status, err = m.review(r.Context(), token, key)
	switch {
	case err == nil:
		m.remember(key, status == http.StatusOK)
	case unanswered(err) && m.wasAllowed(key):
		return http.StatusOK, nil
	}
	return status, err
}

// review asks the API server.
func (m *metricsAccess) review(ctx context.Context, token string, key accessKey) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	authenticated, err := m.tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return http.StatusInternalServerError, fmt.Errorf("review the token of a client: %w", err)
	}
	if !authenticated.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := authenticated.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	authorized, err := m.access.Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: key.verb, Path: key.path},
		},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return http.StatusInternalServerError, fmt.Errorf("review the access of a client: %w", err)
	case !authorized.Status.Allowed:
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

// unanswered reports whether err says nothing about the client or the rights of this process: the API server is away,
// starting, or overloaded.
func unanswered(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true
	}
	code := answer.Status().Code
	return code == 0 || code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}

func (m *metricsAccess) remember(key accessKey, allowed bool) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !allowed {
		delete(m.allowed, key)
		return
	}
	if _, known := m.allowed[key]; !known && len(m.allowed) >= maxAllowed {
		clear(m.allowed)
	}
	m.allowed[key] = now
}

func (m *metricsAccess) wasAllowed(key accessKey) bool {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.allowed[key]
	return ok && now.Sub(at) <= accessTTL
}
