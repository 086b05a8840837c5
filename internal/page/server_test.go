package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
)

// viewers knows one viewer.
type viewers struct{ viewer Viewer }

func (v *viewers) Viewer(*http.Request) (*Viewer, error) { return &v.viewer, nil }

// get is the answer to a request of maria.
func get(t *testing.T, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	handler, err := New(Options{
		Identity: &viewers{Viewer{Name: "maria"}}, Zone: time.UTC, Now: time.Now, Log: testr.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

func TestPageIsInTheLanguageOfTheReader(t *testing.T) {
	for _, tc := range []struct{ accept, want string }{
		{"", `<html lang="en">`},
		{"fr", `<html lang="en">`},
		{"zh-CN,zh;q=0.9,en;q=0.8", `<html lang="zh-Hans">`},
	} {
		response, body := get(t, "/settings", http.Header{"Accept-Language": {tc.accept}})
		if response.StatusCode != http.StatusOK || !strings.Contains(body, tc.want) {
			t.Errorf("%q: status %d, want %s in:\n%s", tc.accept, response.StatusCode, tc.want, body)
		}
	}
}

func TestMissingPageSaysSo(t *testing.T) {
	response, body := get(t, "/wp-admin", nil)
	if response.StatusCode != http.StatusNotFound || !strings.Contains(body, "There is no such page.") {
		t.Errorf("status %d: %s", response.StatusCode, body)
	}
}
