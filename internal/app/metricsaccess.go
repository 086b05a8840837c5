package app

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// metricsPath is that of the metrics, which controller-runtime serves.
	metricsPath = "/metrics"
	// accessTTL is how long a client that was allowed to read the metrics may go on while the API server gives no
	// answer. Otherwise the alert on an outage could not fire in one.
	accessTTL = time.Hour
	// maxAllowed bounds the clients that are remembered. There are a few, each with a new token once in a while.
	maxAllowed = 1000
)

// metricsAccess lets a client read the metrics if the API server authenticates its bearer token, and allows it to.
// Every answer counts at once; the last one that allowed it counts while there is none.
//
// The filter of controller-runtime refuses every client a minute after the API server became unreachable.
type metricsAccess struct {
	*reviews
	now func() time.Time

	mu      sync.Mutex
	allowed map[accessKey]time.Time // when the API server last said so
}

// accessKey is a hash of a token, and a request.
type accessKey struct {
	token      [sha256.Size]byte
	verb, path string
}

// metricsFilter is a metricsserver.Options.FilterProvider. Paths other than that of the metrics are of people.
func (o *Options) metricsFilter(config *rest.Config, client *http.Client) (metricsserver.Filter, error) {
	reviews, err := newReviews(config, client)
	if err != nil {
		return nil, err
	}
	scrapers := &metricsAccess{reviews: reviews, now: o.Now, allowed: map[accessKey]time.Time{}}
	viewers := newViewerAccess(reviews)
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		scraped, viewed := scrapers.filter(log, next), viewers.filter(log, next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == metricsPath {
				scraped.ServeHTTP(w, r)
				return
			}
			viewed.ServeHTTP(w, r)
		}), nil
	}, nil
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
	token := bearerToken(r)
	if token == "" {
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
	user, err := m.user(ctx, token, "")
	if err != nil {
		return http.StatusInternalServerError, err
	}
	if user == nil {
		return http.StatusUnauthorized, nil
	}
	allowed, err := m.reviews.allowed(ctx, user, authorizationv1.SubjectAccessReviewSpec{
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: key.verb, Path: key.path},
	})
	switch {
	case err != nil:
		return http.StatusInternalServerError, err
	case !allowed:
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
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
