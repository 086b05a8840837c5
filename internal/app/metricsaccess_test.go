package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// reviewer is an API server that knows one token.
type reviewer struct {
	*httptest.Server
	authenticated, allowed atomic.Bool
	status                 atomic.Int32 // of its answers, if not 0
}

func newReviewer(t *testing.T) *reviewer {
	t.Helper()
	r := &reviewer{}
	r.authenticated.Store(true)
	r.allowed.Store(true)
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, review any) {
		w.Header().Set("Content-Type", "application/json")
		if status := int(r.status.Load()); status != 0 {
			w.WriteHeader(status)
			return
		}
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, request *http.Request) {
		var review authenticationv1.TokenReview
		if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		review.Status.Authenticated = r.authenticated.Load() && review.Spec.Token == "right"
		review.Status.User = authenticationv1.UserInfo{
			Username: "prometheus", Extra: map[string]authenticationv1.ExtraValue{"pod": {"p-0"}},
		}
		if !review.Status.Authenticated {
			review.Status.Error = "[invalid bearer token, token has expired]" // as a real one says
		}
		answer(w, review)
	})
	mux.HandleFunc("/apis/authorization.k8s.io/v1/subjectaccessreviews",
		func(w http.ResponseWriter, request *http.Request) {
			var review authorizationv1.SubjectAccessReview
			if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			spec := review.Spec
			review.Status.Allowed = r.allowed.Load() && spec.User == "prometheus" && len(spec.Extra["pod"]) == 1
			if asked := spec.NonResourceAttributes; asked != nil {
				metrics := authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"}
				review.Status.Allowed = review.Status.Allowed && *asked == metrics
			}
			answer(w, review)
		})
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func TestScraperOutlivesTheAPIServerByAnHour(t *testing.T) {
	now := time.Unix(1700000000, 0)
	server := newReviewer(t)
	options := &Options{Now: func() time.Time { return now }}
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	client, err := rest.HTTPClientFor(config)
	must(t, err)
	filter, err := options.metricsFilter(config, client)
	must(t, err)
	handler, err := filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	}))
	must(t, err)
	const refusals = "/namespaces/chat/imapps/prod/refusals"
	scrape := func(when, authorization, path string, want int) {
		t.Helper()
		request := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		if path == refusals {
			request.SetPathValue("namespace", "chat")
			request.SetPathValue("name", "prod")
		}
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != want {
			t.Errorf("%s: %q gets %d for %s, want %d", when, authorization, recorder.Code, path, want)
		}
	}
	const right, wrong, path = "Bearer right", "Bearer wrong", "/metrics"
	scrape("reachable", "", path, http.StatusUnauthorized)
	scrape("reachable", "Basic right", path, http.StatusUnauthorized)
	scrape("reachable", wrong, path, http.StatusUnauthorized)
	scrape("reachable", right, path, http.StatusOK)
	scrape("reachable", right, refusals, http.StatusOK)
	scrape("reachable", wrong, refusals, http.StatusUnauthorized)
	scrape("reachable", right, "/other", http.StatusNotFound)

	server.status.Store(http.StatusForbidden) // the roles of this process lack the reviews
	scrape("without the rights to ask", right, path, http.StatusInternalServerError)
	server.status.Store(http.StatusServiceUnavailable)
	scrape("API server without etcd", right, path, http.StatusOK)
	server.status.Store(0)
	server.allowed.Store(false)
	scrape("revoked", right, path, http.StatusForbidden)
	server.status.Store(http.StatusServiceUnavailable)
	scrape("down after it was revoked", right, path, http.StatusInternalServerError)
	server.status.Store(0)
	server.allowed.Store(true)
	scrape("granted again", right, path, http.StatusOK)
	server.authenticated.Store(false)
	scrape("expired", right, path, http.StatusUnauthorized)
	server.authenticated.Store(true)
	scrape("authenticated again", right, path, http.StatusOK)

	server.Close()
	scrape("outage", right, path, http.StatusOK)
	scrape("outage", wrong, path, http.StatusInternalServerError)
	scrape("outage", right, refusals, http.StatusServiceUnavailable) // they are personal data
	now = now.Add(time.Hour)
	scrape("an hour into the outage", right, path, http.StatusOK)
	now = now.Add(time.Nanosecond)
	scrape("after the hour", right, path, http.StatusInternalServerError)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
