package page

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// save sends the form of the settings with these values.
func save(t *testing.T, values url.Values) *httptest.ResponseRecorder {
	t.Helper()
	handler := new(world).handler(t)
	_, body := visitIn(t, handler, "/settings", "en")
	values.Set("csrf", regexp.MustCompile(`name="csrf" value="([^"]*)"`).FindStringSubmatch(body)[1])
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/settings", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	return answer
}

// cookies are those that an answer sets.
func cookies(answer *httptest.ResponseRecorder) []*http.Cookie {
	return (&http.Response{Header: answer.Header()}).Cookies()
}

func TestSettingsAreKeptInCookies(t *testing.T) {
	answer := save(t, url.Values{"language": {"zh-Hans"}, "zone": {"Asia/Shanghai"}})
	if answer.Code != http.StatusSeeOther || answer.Header().Get("Location") != "/settings" {
		t.Errorf("status %d", answer.Code)
	}
	kept := map[string]string{}
	for _, c := range cookies(answer) {
		kept[c.Name] = c.Value
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge <= 0 {
			t.Errorf("cookie %s", c)
		}
	}
	if kept[languageCookie] != "zh-Hans" || kept[zoneCookie] != "Asia/Shanghai" {
		t.Errorf("cookies %v", kept)
	}
	for _, c := range cookies(save(t, url.Values{"language": {""}, "zone": {""}})) {
		if c.MaxAge >= 0 {
			t.Errorf("cookie %s stays", c)
		}
	}
}

func TestSettingsThatDoNotExistAreNotKept(t *testing.T) {
	for _, tc := range []struct {
		language, zone string
		status         int
		want           string
	}{
		{"en", "Asia/Atlantis", http.StatusUnprocessableEntity, "There is no such time zone."},
		{"en", "../../etc/passwd", http.StatusUnprocessableEntity, "There is no such time zone."},
		{"en", "Local", http.StatusUnprocessableEntity, "There is no such time zone."},
		{"xx", "UTC", http.StatusBadRequest, "The page does not have this language."},
	} {
		answer := save(t, url.Values{"language": {tc.language}, "zone": {tc.zone}})
		if answer.Code != tc.status || len(cookies(answer)) > 0 {
			t.Errorf("%+v: status %d, cookies %v", tc, answer.Code, cookies(answer))
		}
		expect(t, answer.Body.String(), tc.want)
	}
}

func TestSettingsSayWhoTheViewerIs(t *testing.T) {
	w := &world{viewer: Viewer{Name: "maria", Groups: []string{"managers", "evil\u202e"}, ReadOnly: "It is too old."}}
	_, body := w.visit(t, "/settings", "en")
	expect(t, body, `<bdi class="id">maria</bdi>`, `<bdi class="id">managers</bdi>`, "U+202E", "It is too old.")
}

func TestZoneOfTheMachineIsNamed(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	if got, want := zoneName(time.Local, now), now.In(time.Local).Format("MST"); got != want || got == "Local" {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := zoneName(time.UTC, now); got != "UTC" {
		t.Errorf("got %q", got)
	}
}
