package page

import (
	"net/http"
	"strings"
	"testing"
)

// viewers knows one viewer.
type viewers struct{ viewer Viewer }

func (v *viewers) Viewer(*http.Request) (*Viewer, error) { return &v.viewer, nil }

func TestPageIsInTheLanguageOfTheReader(t *testing.T) {
	for _, tc := range []struct{ accept, want string }{
		{"", `<html lang="en">`},
		{"fr", `<html lang="en">`},
		{"zh-CN,zh;q=0.9,en;q=0.8", `<html lang="zh-Hans">`},
	} {
		status, body := new(world).visit(t, "/settings", tc.accept)
		if status != http.StatusOK || !strings.Contains(body, tc.want) {
			t.Errorf("%q: status %d, want %s in:\n%s", tc.accept, status, tc.want, body)
		}
	}
}

func TestMissingPageSaysSo(t *testing.T) {
	status, body := new(world).visit(t, "/wp-admin", "en")
	if status != http.StatusNotFound || !strings.Contains(body, "There is no such page.") {
		t.Errorf("status %d: %s", status, body)
	}
}
