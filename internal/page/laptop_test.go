package page

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
)

// keyed is a page on loopback that asks for a key, and a browser that has not been there.
func keyed(t *testing.T) (*Key, *http.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	origin := &url.URL{Scheme: "http", Host: server.Listener.Addr().String()}
	key := NewKey(origin)
	handler, err := New(Options{
		Identity: &viewers{Viewer{Name: "maria", Client: new(world).client(t), Tables: new(world).tables()}},
		Origin:   origin, Key: key, Zone: time.UTC, Now: time.Now, Log: testr.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = handler
	server.Start()
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key, &http.Client{Jar: jar}
}

// visit is the status and the final address of a visit.
func (k *Key) visit(t *testing.T, browser *http.Client, address string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode, strings.TrimPrefix(response.Request.URL.String(), k.address.String())
}

func TestKeyBecomesACookieAndLeavesTheAddress(t *testing.T) {
	key, browser := keyed(t)
	if status, _ := key.visit(t, browser, key.address.String()+"/runs"); status != http.StatusForbidden {
		t.Errorf("status %d without key and cookie", status)
	}
	if status, _ := key.visit(t, browser, key.address.String()+"/healthz"); status != http.StatusForbidden {
		t.Errorf("status %d for a probe, whom the page would tell the name of its user", status)
	}
	if status, path := key.visit(t, browser, key.URL()); status != http.StatusOK || path != "/" {
		t.Errorf("status %d at %s", status, path)
	}
	if status, _ := key.visit(t, browser, key.address.String()+"/"); status != http.StatusOK {
		t.Errorf("status %d with the cookie", status)
	}
	cookie := browser.Jar.Cookies(&key.address)[0]
	if cookie.Name != "groupgate-"+key.address.Port() || strings.Contains(key.URL(), cookie.Value) {
		t.Errorf("cookie %s", cookie)
	}
}

func TestAddressThatABrowserIsStartedWithWorksOnce(t *testing.T) {
	key, mine := keyed(t)
	launch := key.LaunchURL()
	if status, path := key.visit(t, mine, launch); status != http.StatusOK || path != "/" {
		t.Errorf("status %d at %s", status, path)
	}
	if status, _ := key.visit(t, mine, launch); status != http.StatusOK {
		t.Errorf("status %d for the browser that knows the cookie", status)
	}
	if status, _ := key.visit(t, &http.Client{}, launch); status != http.StatusForbidden {
		t.Errorf("status %d for somebody who read the arguments of the browser", status)
	}
}

func TestCookieIsForThisSiteAndNotForScripts(t *testing.T) {
	key, browser := keyed(t)
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, key.URL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	cookies := response.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("cookies %v", cookies)
	}
	if got := response.Header.Get("Location"); got != "/" {
		t.Errorf("redirected to %q", got)
	}
}

func TestPageOnALaptopRefusesOthers(t *testing.T) {
	key, browser := keyed(t)
	if status, _ := key.visit(t, browser, key.URL()); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	cookie := browser.Jar.Cookies(&key.address)[0]
	port := key.address.Port()
	const refused, elsewhere = http.StatusForbidden, http.StatusMisdirectedRequest
	right := cookie.String()
	for name, tc := range map[string]struct {
		host, path, cookie string
		want               int
	}{
		"the browser of the user":        {cookie: right, want: http.StatusOK},
		"a cookie before the right one":  {cookie: cookie.Name + "=x; " + right, want: http.StatusOK},
		"no cookie":                      {want: refused},
		"the key as a cookie":            {cookie: cookie.Name + "=" + key.printed, want: refused},
		"the cookie of another page":     {cookie: "groupgate-1=" + cookie.Value, want: refused},
		"a key that is wrong":            {path: "/?key=" + strings.Repeat("A", 26), want: refused},
		"an empty key":                   {path: "/?key=", want: refused},
		"a key elsewhere":                {path: "/runs?key=" + key.printed, want: refused},
		"two keys":                       {path: "/?key=" + key.printed + "&key=x", want: http.StatusBadRequest},
		"the cookie as a key":            {path: "/?key=" + cookie.Value, want: refused},
		"a name that points to loopback": {host: "evil.example:" + port, cookie: right, want: elsewhere},
		"localhost":                      {host: "localhost:" + port, cookie: right, want: elsewhere},
		"another port":                   {host: "127.0.0.1:1", cookie: right, want: elsewhere},
		"no port":                        {host: "127.0.0.1", cookie: right, want: elsewhere},
	} {
		if tc.path == "" {
			tc.path = "/runs"
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, key.address.String()+tc.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tc.host
		r.Header.Set("Cookie", tc.cookie)
		response, err := (&http.Client{}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _ = response.Body.Close(); response.StatusCode != tc.want {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, tc.want)
		}
	}
}
