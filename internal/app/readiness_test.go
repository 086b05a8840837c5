package app

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbeSaysWhyItIsNotReady(t *testing.T) {
	var problem error
	probes := newProbes("", readiness{
		{"snapshot", func() error { return problem }}, {"other", func() error { return nil }},
	}).Handler
	waiting := errors.New("waiting for PruneRuns of namespace chat: connection refused")
	for _, tc := range []struct {
		problem error
		path    string
		status  int
		body    string
	}{
		{nil, "/readyz", http.StatusOK, "ok"},
		{nil, "/readyz?verbose", http.StatusOK, "[+]other ok\n[+]snapshot ok\nhealthz check passed\n"},
		{nil, "/readyz/snapshot", http.StatusOK, "ok"},
		{waiting, "/readyz", http.StatusInternalServerError, "snapshot: " + waiting.Error() + "\n"},
		{waiting, "/readyz/", http.StatusInternalServerError, "snapshot: " + waiting.Error() + "\n"},
		{waiting, "/readyz?verbose", http.StatusInternalServerError, "snapshot: " + waiting.Error() + "\n"},
		{
			waiting, "/readyz/snapshot", http.StatusInternalServerError,
			"internal server error: " + waiting.Error() + "\n",
		},
		{waiting, "/readyz/other", http.StatusOK, "ok"},
		{waiting, "/healthz", http.StatusOK, "ok"},
		{nil, "/readyz/nothing", http.StatusNotFound, "404 page not found\n"},
	} {
		problem = tc.problem
		recorder := httptest.NewRecorder()
		probes.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, tc.path, http.NoBody))
		if recorder.Code != tc.status || recorder.Body.String() != tc.body {
			t.Errorf("%s with %v: %d %q, want %d %q",
				tc.path, tc.problem, recorder.Code, recorder.Body, tc.status, tc.body)
		}
	}
}
