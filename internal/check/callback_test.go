package check

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/callback"
)

const token = "s3cr3t"

func served(t *testing.T, answer http.HandlerFunc) (*Checker, *httptest.Server) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	c := &Checker{URL: server.URL + "/callback", Now: time.Now, Roots: x509.NewCertPool()}
	c.Roots.AddCert(server.Certificate())
	return c, server
}

func wants(t *testing.T, lines []Line, want Result, message string) {
	t.Helper()
	for _, line := range lines {
		if strings.Contains(line.Message+line.ToDo, token) || strings.Contains(line.Message, "Sign=") {
			t.Errorf("a secret is printed: %+v", line)
		}
	}
	last := lines[len(lines)-1]
	if last.Result != want || !strings.Contains(last.Message, message) || (last.ToDo == "") != (want == OK) {
		t.Errorf("got %+v, want %s with %q", lines, want, message)
	}
}

func TestCertificateIsThatOfTheURL(t *testing.T) {
	c, server := served(t, func(http.ResponseWriter, *http.Request) {})
	wants(t, c.checkURL(t.Context()), OK, "the certificate of 127.0.0.1 is trusted")
	until := server.Certificate().NotAfter
	c.Now = func() time.Time { return until.Add(-13 * 24 * time.Hour) }
	wants(t, c.checkURL(t.Context()), Warning, "ends at "+until.UTC().Format(time.RFC3339))
	c.Now = func() time.Time { return until.Add(time.Hour) }
	wants(t, c.checkURL(t.Context()), Failure, "the certificate is valid from")
	c.Now = time.Now
	c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
	wants(t, c.checkURL(t.Context()), Failure, "not for localhost")
	c.URL, c.Roots = server.URL, x509.NewCertPool()
	wants(t, c.checkURL(t.Context()), Failure, "not trusted")
	if lines := c.checkCallback(t.Context(), &v1alpha1.IMApp{}, token, nil); lines[0].Result != Warning {
		t.Errorf("a Sign for a server that is not trusted: %+v", lines)
	}
	c.URL = "http" + strings.TrimPrefix(server.URL, "https")
	c.untrusted = false
	wants(t, c.checkURL(t.Context()), Failure, "is not encrypted")
	if lines := c.checkCallback(t.Context(), &v1alpha1.IMApp{}, token, nil); lines[0].Result != Warning {
		t.Errorf("a Sign that is sent in plain text: %+v", lines)
	}
	c.URL = "https://gate.invalid/callback"
	wants(t, c.checkURL(t.Context()), Failure, "has no address")
	server.Close()
	c.URL = server.URL
	wants(t, c.checkURL(t.Context()), Failure, "does not answer")
	c.URL = ""
	wants(t, c.checkURL(t.Context()), Warning, "not checked")
}

func TestProbeTellsWhoAnswers(t *testing.T) {
	const right = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`
	const refused = `{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":1}`
	verified := func(query callback.Query) bool { return callback.VerifySign(token, query.RequestTime, query.Sign) }
	groupgate := func(query callback.Query) (int, string) {
		if verified(query) {
			return http.StatusOK, right
		}
		return http.StatusUnauthorized, refused
	}
	always := func(status int, body string) func(callback.Query) (int, string) {
		return func(callback.Query) (int, string) { return status, body }
	}
	once := func(query callback.Query) (int, string) {
		if !verified(query) {
			panic(http.ErrAbortHandler)
		}
		return http.StatusOK, right
	}
	unread := topic("Secret").warn("ask", "not checked: forbidden")
	for name, tc := range map[string]struct {
		token   string
		problem *Line
		answer  func(callback.Query) (int, string)
		want    Result
		message string
	}{
		"Groupgate":              {token, nil, groupgate, OK, "a signed probe was answered"},
		"another token":          {"other", nil, groupgate, Failure, "the token of the Secret is refused"},
		"no token known":         {"", &unread, groupgate, Warning, "the token is not checked: not checked: forbidden"},
		"one that believes all":  {token, nil, always(200, right), Failure, "a probe with a wrong Sign is not refused"},
		"one that asks for none": {"", &unread, always(200, right), Failure, "a probe without a Sign is not refused"},
		"no such app":            {token, nil, always(403, refused), Failure, "knows no app with this sdkAppID"},
		"another path":           {token, nil, always(404, refused), Failure, "there is no such path"},
		"not ready":              {token, nil, always(503, refused), Failure, "no replica is ready"},
		"a web page":             {token, nil, always(200, "<html>"), Failure, "something else than Groupgate"},
		"one without a code":     {token, nil, always(200, `{"ActionStatus":"OK"}`), Failure, "something else"},
		"one that answers once":  {token, nil, once, Failure, "a second probe was not answered"},
		"a proxy's error":        {token, nil, always(502, "Bad Gateway"), Failure, "with HTTP status 502"},
		"a redirect":             {token, nil, always(301, ""), Failure, "a redirect (301)"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
				query := callback.ParseQuery(r.URL.RawQuery)
				if query.CommandText != string(callback.CommandCheck) || query.SDKAppID != "1400000000" {
					t.Errorf("query %q", r.URL.RawQuery)
				}
				status, body := tc.answer(query)
				w.WriteHeader(status)
				fmt.Fprint(w, body)
			})
			app := &v1alpha1.IMApp{Spec: v1alpha1.IMAppSpec{SDKAppID: 1400000000}}
			wants(t, c.checkCallback(t.Context(), app, tc.token, tc.problem), tc.want, tc.message)
		})
	}
}
