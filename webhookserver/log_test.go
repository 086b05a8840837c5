package webhookserver

import (
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/groupgate/groupgate/internal/im/callback"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) at(verbosity int) logr.Logger {
	return funcr.New(func(_, line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, line)
	}, funcr.Options{Verbosity: verbosity})
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

func TestLog(t *testing.T) {
	for name, tc := range map[string]struct {
		verbosity    int
		want, unwant []string
	}{
		"by default": {0, nil, []string{"mallory", "jared", group, "refused", "Full group"}},
		"in detail": {1, []string{
			`"msg"="Join refused" "app"="chat/prod" "group"="` + group +
				`" "account"="mallory" "trigger"="Apply" "reason"="NotListed"`,
			`"msg"="Join refused" "app"="chat/prod" "group"="` + group +
				`" "account"="trent" "trigger"="Invite" "reason"="NotListed"`,
			`"msg"="Full group is left alone" "app"="chat/prod" "group"="` + group + `" "suspended"=false`,
		}, []string{"jared"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			g := startGate(t, members("jared"), func(s *Server) { s.Log = log.at(tc.verbosity) })
			g.post(t, signed(query(applyCommand)), applyBody("jared"))
			g.post(t, signed(query(applyCommand)), applyBody("mallory"))
			g.post(t, signed(query(inviteCommand)), inviteBody("jared", "trent"))
			g.post(t, signed(query(fullCommand)), fullBody(group))
			g.post(t, query(applyCommand), applyBody("mallory"))
			g.post(t, signed(query(applyCommand)), "{")
			conn := dial(t, g)
			writeAll(t, conn, "POST "+Path+"?Sign=sneaky HTTP/3.7 \r\n\r\n")
			conn.Close()
			g.stop()

			got := log.text()
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("the log lacks %s:\n%s", want, got)
				}
			}
			for _, unwant := range append(tc.unwant, token, callback.Sign(token, "1700000000"), "Sign", "sneaky",
				"SdkAppid") {
				if strings.Contains(got, unwant) {
					t.Errorf("the log tells %s:\n%s", unwant, got)
				}
			}
		})
	}
}

func TestServerLog(t *testing.T) {
	for line, want := range map[string]string{
		"http: TLS handshake error from 203.0.113.7:4711: EOF": `"level"=1 "msg"="TLS handshake failed" ` +
			`"detail"="http: TLS handshake error from 203.0.113.7:4711: EOF"`,
		"http: something about /callback?SdkAppid=1&Sign=secret and more": `"level"=1 "msg"="Connection failed" ` +
			`"detail"="http: something about /callback"`,
		"http: Accept error: too many open files; retrying in 5ms": `"level"=0 "msg"="Cannot accept ` +
			`connections for callbacks" "detail"="http: Accept error: too many open files; retrying in 5ms"`,
	} {
		var log lines
		serverLog(log.at(1)).Print(line)
		if got := log.text(); got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
}
