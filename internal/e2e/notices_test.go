package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

const noticeSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hook is a webhook receiver as others would write one: it trusts nothing but the signature.
type hook struct {
	t      *testing.T
	server *httptest.Server
	secret string // a file

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request, n int) // of the nth genuine request
	got    []map[string]any
}

func newHook(t *testing.T, answer func(http.ResponseWriter, *http.Request, int)) *hook {
	t.Helper()
	h := &hook{t: t, answer: answer, secret: filepath.Join(t.TempDir(), "secret")}
	if err := os.WriteFile(h.secret, []byte(noticeSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	return h
}

func (h *hook) flags() []string {
	return []string{
		"--page-url=https://page.example.com", "--notice-webhook-url=" + h.server.URL + "/hook?token=t0p",
		"--notice-webhook-secret-file=" + h.secret,
	}
}

// ServeHTTP implements http.Handler.
func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender is gone
	}
	if err := verify(r.Header, body); err != nil {
		h.t.Errorf("a notice that is not genuine: %v", err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil || event["specversion"] != "1.0" {
		h.t.Errorf("no CloudEvent: %s", body)
	}
	h.mu.Lock()
	h.got = append(h.got, event)
	n := len(h.got)
	h.mu.Unlock()
	if h.answer != nil {
		h.answer(w, r, n)
	}
}

func verify(header http.Header, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(noticeSecret, "whsec_"))
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(header.Get("webhook-timestamp"), 10, 64)
	if age := time.Since(time.Unix(at, 0)); err != nil || math.Abs(age.Seconds()) > 300 {
		return fmt.Errorf("timestamp %q", header.Get("webhook-timestamp"))
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", header.Get("webhook-id"), at, body)
	want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	if !hmac.Equal(want, []byte(header.Get("webhook-signature"))) {
		return fmt.Errorf("signature %q", header.Get("webhook-signature"))
	}
	return nil
}

func (h *hook) events() []map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]map[string]any{}, h.got...)
}

// waits makes a world with a full group whose plan will wait for a person, and a group of moderators.
func waits(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.app("rest: {requestsPerSecond: 200}", "notify: {group: moderators}")
	fillClub(t, w, 40, 10)
	moderators := emulator.GroupSpec{ID: "moderators", Type: "Work", Owner: "mona"}
	if _, err := w.im.CreateGroup(t.Context(), moderators); err != nil {
		t.Fatal(err)
	}
	w.policy("club", "groups: [{value: club}]\nwhenFull: {prune: {mode: Approve, inactiveFor: 30d, freeSeats: 10}}")
	return w
}

// makePlan makes a run, and returns its name.
func makePlan(w *world) string {
	w.t.Helper()
	w.apply(`apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: club-1}
spec: {appRef: {name: prod}, groupID: club, trigger: Manual}
`)
	w.kubectl("wait", "prunerun/club-1", "--for=condition=Planned", "--timeout="+patience.String())
	return "prunerun/club-1"
}

// noticeIs waits until the run says this about its notice to a receiver.
func noticeIs(w *world, run, to string, results ...string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("the notice to %s to be %s", to, results), func() bool {
		got := w.kubectl("get", run, "-o", `jsonpath={.status.notices[?(@.to=="`+to+`")].result}`)
		for _, result := range results {
			if got == result {
				return true
			}
		}
		return false
	})
}

// TestNotices sends a plan's notices to a receiver that is away, then fails, then answers; meanwhile the leader changes
// twice.
func TestNotices(t *testing.T) {
	t.Parallel()
	w := waits(t)
	h := newHook(t, func(rw http.ResponseWriter, _ *http.Request, n int) {
		if n < 3 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	flags := append(h.flags(), "--sweep-interval=1h")
	leader, follower := w.startTwo(nil, flags...)
	w.ready("imapp/prod", "grouppolicy/club")
	run := makePlan(w)
	noticeIs(w, run, "Group", "Sent")
	noticeIs(w, run, "Webhook", "NotSent")
	if got := w.kubectl("get", run, "-o", "jsonpath={.status.notices}"); !strings.Contains(got, "answered 503") {
		t.Errorf("status.notices do not say why: %s", got)
	}
	if err := leader.Stop(time.Minute); err != nil {
		t.Error(err)
	}
	eventually(t, "the other to lead", follower.leads)
	noticeIs(w, run, "Webhook", "Sent")
	third := w.startReady(nil, flags...)
	follower.signal(syscall.SIGKILL)
	eventually(t, "the third to lead", third.leads)

	name := strings.TrimPrefix(run, "prunerun/")
	link := "https://page.example.com/runs/" + w.Namespace + "/" + name
	throughout(t, 7*time.Second, func() error { // longer than the first pause
		if n := len(h.events()); n != 3 {
			return fmt.Errorf("%d notices arrived, want 2 that were refused and 1", n)
		}
		return nil
	})
	for _, event := range h.events() {
		data := event["data"].(map[string]any)
		if event["id"] != h.events()[0]["id"] || data["url"] != link || data["toGo"] != 10.0 ||
			data["group"] != "club" {
			t.Errorf("event %v", event)
		}
	}
	messages, err := w.im.Messages(t.Context(), "moderators")
	if err != nil || len(messages) != 1 || !strings.Contains(messages[0].Text, link) {
		t.Errorf("messages %+v, %v", messages, err)
	}
	for _, path := range []string{"{.status.conditions[-1:].message}", "{.status.conditions[*].message}"} {
		if got := w.kubectl("get", run, "-o", "jsonpath="+path); !strings.HasSuffix(got, " On the page: "+link) {
			t.Errorf("condition: %q", got)
		}
	}
	if got := w.kubectl("get", "events.events.k8s.io", "--field-selector=reason=AwaitingApproval", "-o",
		"jsonpath={.items[*].note}"); !strings.HasSuffix(got, " On the page: "+link) {
		t.Errorf("event: %q", got)
	}
	for _, r := range []*replica{leader, follower, third} {
		if text := r.log.String(); strings.Contains(text, "t0p") || strings.Contains(text, noticeSecret) {
			t.Error("the log shows a secret")
		}
	}

	// What became of the notices is no obstacle to the run.
	w.kubectl("patch", run, "--type=merge", "-p", `{"spec":{"approval":"Approved"}}`)
	w.kubectl("wait", run, "--for=condition=Complete", "--timeout="+patience.String())
	if got := groupSize(t, w, "club"); got != 30 {
		t.Errorf("%d members after the run, want 30", got)
	}
}

// TestNoticeOfALeaderThatIsKilled kills the leader between the record and the answer, or the receiver, and lets the
// receiver be slower than the manager waits.
func TestNoticeOfALeaderThatIsKilled(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		kill func(leader *replica, h *hook, begun <-chan struct{})
		want []string
	}{
		"leader killed": {func(leader *replica, _ *hook, begun <-chan struct{}) {
			<-begun
			leader.signal(syscall.SIGKILL)
		}, []string{"Unknown"}},
		"leader stopped": {func(leader *replica, _ *hook, begun <-chan struct{}) {
			<-begun
			leader.signal(syscall.SIGTERM) // it waits for the answer, which does not come in time
		}, []string{"Unknown"}},
		"receiver killed": {func(_ *replica, h *hook, begun <-chan struct{}) {
			<-begun
			h.server.CloseClientConnections()
		}, []string{"Unknown"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := waits(t)
			begun, once, ended := make(chan struct{}), sync.Once{}, make(chan struct{})
			h := newHook(t, func(_ http.ResponseWriter, r *http.Request, _ int) {
				once.Do(func() { close(begun) })
				select {
				case <-r.Context().Done():
				case <-ended:
				}
			})
			t.Cleanup(func() { close(ended) })
			leader, _ := w.startTwo(nil, append(h.flags(), "--sweep-interval=1h")...)
			w.ready("imapp/prod", "grouppolicy/club")
			run := makePlan(w)
			tc.kill(leader, h, begun)
			noticeIs(w, run, "Webhook", tc.want...)
			noticeIs(w, run, "Group", "Sent", "Unknown")
			throughout(t, 7*time.Second, func() error {
				if n := len(h.events()); n != 1 {
					return fmt.Errorf("%d notices, want 1", n)
				}
				messages, err := w.im.Messages(t.Context(), "moderators")
				if err == nil && len(messages) > 1 {
					err = fmt.Errorf("%d messages, want at most 1", len(messages))
				}
				return err
			})
		})
	}
}

// TestNoticeBetweenRecordAndSending kills the leader after it has recorded a notice, and before a byte of it is sent.
func TestNoticeBetweenRecordAndSending(t *testing.T) {
	t.Parallel()
	w := waits(t)
	// It accepts connections, and never answers the handshake of TLS.
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	h := newHook(t, nil)
	flags := append(h.flags(), "--sweep-interval=1h")
	leader := w.startReady(nil, append(flags, "--notice-webhook-url=https://"+silent.Addr().String())...)
	eventually(t, "a leader", leader.leads)
	w.ready("imapp/prod", "grouppolicy/club")
	run := makePlan(w)
	if _, err := silent.Accept(); err != nil {
		t.Fatal(err)
	}
	leader.signal(syscall.SIGKILL)
	noticeIs(w, run, "Webhook", "Sending")
	next := w.startReady(nil, flags...)
	eventually(t, "the next leader", next.leads)
	noticeIs(w, run, "Webhook", "Unknown")
	throughout(t, 7*time.Second, func() error {
		if n := len(h.events()); n != 0 {
			return fmt.Errorf("%d notices after a doubt, want none", n)
		}
		return nil
	})
}
