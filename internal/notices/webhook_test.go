package notices_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/notices"
)

const (
	page    = "https://page.example.com"
	secret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secret2 = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
)

var now = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)

// waiting is a run whose plan awaits approval.
func waiting() *v1alpha1.PruneRun {
	return &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "chat", Name: "prod-club-x7", UID: "7d0f", CreationTimestamp: metav1.NewTime(now),
		},
		Spec: v1alpha1.PruneRunSpec{
			AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: "club-oslo",
			Purpose: v1alpha1.PrunePurposeFreeSeats, Approval: v1alpha1.ApprovalPending,
		},
		Status: v1alpha1.PruneRunStatus{
			Policy: &v1alpha1.PrunePolicyRecord{Name: "club", Mode: v1alpha1.PruneModeApprove},
			Group:  &v1alpha1.PruneGroupRecord{Type: "Public", Members: 60, MaxMembers: 60},
			Plan: &v1alpha1.PrunePlan{
				CreatedAt: metav1.NewTime(now), Candidates: 5, Size: new(int32(3)),
				Removals: []v1alpha1.PlannedRemoval{{Account: "anna"}, {Account: "boris"}, {Account: "chen"}},
			},
		},
	}
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func webhook(t *testing.T, o notices.WebhookOptions) *notices.Webhook {
	t.Helper()
	if o.SecretFile == "" {
		o.SecretFile = write(t, secret+"\n")
	}
	w, err := notices.NewWebhook(o, page, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// verified returns the body of a request that one of its signatures proves to be from whoever has the secret, as a
// receiver would.
func verified(t *testing.T, r *http.Request, secret string) []byte {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Error(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for got := range strings.FieldsSeq(r.Header.Get("webhook-signature")) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return body
		}
	}
	t.Errorf("signatures %q, want %q among them", r.Header.Get("webhook-signature"), want)
	return nil
}

func TestWebhookSendsASignedCloudEventWithoutAccounts(t *testing.T) {
	var body []byte
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body = verified(t, r, secret)
		if got := r.Header.Get("Content-Type"); got != "application/cloudevents+json; charset=utf-8" {
			t.Errorf("Content-Type %q", got)
		}
		if got := r.Header.Get("webhook-id"); got != "7d0f" {
			t.Errorf("webhook-id %q, want the UID of the run", got)
		}
		if got := r.Header.Get("webhook-timestamp"); got != "1795339800" {
			t.Errorf("webhook-timestamp %q", got)
		}
	}))
	defer receiver.Close()
	run := waiting()
	run.Status.Plan.Breaker = "would remove 3 of 60 members: is the list complete?"
	got := webhook(t, notices.WebhookOptions{URL: receiver.URL + "/hook?token=t0p"}).Send(t.Context(), run)
	if got != (notices.Outcome{Result: v1alpha1.NoticeResultSent}) {
		t.Errorf("outcome %+v", got)
	}
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"specversion": "1.0", "id": "7d0f", "type": "io.groupgate.plan.awaiting-approval.v1",
		"source":  "/apis/groupgate.io/v1alpha1/namespaces/chat/imapps/prod",
		"subject": "chat/prod-club-x7", "time": "2026-11-22T09:30:00Z", "datacontenttype": "application/json",
		"data": map[string]any{
			"namespace": "chat", "run": "prod-club-x7", "app": "prod", "group": "club-oslo", "policy": "club",
			"purpose": "FreeSeats", "members": 60.0, "maxMembers": 60.0, "toGo": 3.0, "candidates": 5.0,
			"breaker": "would remove 3 of 60 members: is the list complete?", "voidAt": "2026-11-23T09:30:00Z",
			"url": "https://page.example.com/runs/chat/prod-club-x7",
		},
	}
	if diff := cmp.Diff(want, event); diff != "" {
		t.Errorf("event (-want,+got)\n%s", diff)
	}
	for _, account := range []string{"anna", "boris", "chen"} {
		if strings.Contains(string(body), account) {
			t.Errorf("the event names %s: %s", account, body)
		}
	}
}

// The vector of the specification of Standard Webhooks.
func TestSignatureIsThatOfStandardWebhooks(t *testing.T) {
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	got := notices.Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), `{"test": 2432232314}`)
	if got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
}

// Whether a notice is sent again depends on whether it certainly has not arrived.
func TestWebhookOutcomes(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(code)
		}
	}
	killed := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	slow := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	cases := map[string]struct {
		answer http.HandlerFunc
		want   v1alpha1.NoticeResult
		says   string
	}{
		"200":                 {status(200), v1alpha1.NoticeResultSent, ""},
		"204":                 {status(204), v1alpha1.NoticeResultSent, ""},
		"redirect":            {status(307), v1alpha1.NoticeResultNotSent, "webhook answered 307."},
		"wrong secret":        {status(401), v1alpha1.NoticeResultNotSent, "webhook answered 401."},
		"busy":                {status(503), v1alpha1.NoticeResultNotSent, "webhook answered 503."},
		"incomplete":          {status(408), v1alpha1.NoticeResultNotSent, "webhook answered 408."},
		"failed halfway":      {status(500), v1alpha1.NoticeResultUnknown, "answered 500, and may have"},
		"gateway, refused":    {status(502), v1alpha1.NoticeResultUnknown, "answered 502, and may have"},
		"gateway, timeout":    {status(504), v1alpha1.NoticeResultUnknown, "answered 504, and may have"},
		"killed meanwhile":    {killed, v1alpha1.NoticeResultUnknown, "did not answer in time"},
		"slower than allowed": {slow, v1alpha1.NoticeResultUnknown, "did not answer in time"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				_, _ = io.Copy(io.Discard, r.Body) // so that the context notices that the client is gone
				tc.answer(w, r)
			}))
			defer receiver.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			got := webhook(t, notices.WebhookOptions{URL: receiver.URL + "/t0p"}).Send(ctx, waiting())
			checkOutcome(t, got, tc.want, tc.says)
			if n := calls.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

// checkOutcome also checks that nobody learns the URL, which may hold a secret.
func checkOutcome(t *testing.T, got notices.Outcome, want v1alpha1.NoticeResult, says string) {
	t.Helper()
	if got.Result != want || !strings.Contains(got.Message, says) || (got.Err == nil) != (want == "Sent") {
		t.Errorf("outcome %+v, want %s, %q", got, want, says)
	}
	if text := fmt.Sprintf("%+v", got); strings.Contains(text, "t0p") || strings.Contains(got.Message, "127.0.0.1") {
		t.Errorf("the outcome shows the URL: %s", text)
	}
}

func TestWebhookThatCannotBeReachedHasNotGotTheNotice(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	got := webhook(t, notices.WebhookOptions{URL: "http://" + address + "/t0p"}).Send(t.Context(), waiting())
	checkOutcome(t, got, v1alpha1.NoticeResultNotSent, "cannot be reached")
}

func TestWebhookVerifiesTheCertificate(t *testing.T) {
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	receiver.Config.ErrorLog = nil
	defer receiver.Close()
	got := webhook(t, notices.WebhookOptions{URL: receiver.URL}).Send(t.Context(), waiting())
	checkOutcome(t, got, v1alpha1.NoticeResultNotSent, "cannot be reached")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw})
	trusting := notices.WebhookOptions{URL: receiver.URL, CAFile: write(t, string(ca))}
	got = webhook(t, trusting).Send(t.Context(), waiting())
	checkOutcome(t, got, v1alpha1.NoticeResultSent, "")
}

func TestSecretIsReplacedWithoutARestart(t *testing.T) {
	accepted := secret
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		verified(t, r, accepted)
	}))
	defer receiver.Close()
	file := write(t, secret)
	w := webhook(t, notices.WebhookOptions{URL: receiver.URL, SecretFile: file})
	for _, step := range []struct{ file, accepted string }{
		{secret, secret}, {secret2 + "\n" + secret + "\n", secret}, {secret2 + "\n" + secret + "\n", secret2},
		{secret2, secret2},
	} {
		if err := os.WriteFile(file, []byte(step.file), 0o600); err != nil {
			t.Fatal(err)
		}
		accepted = step.accepted
		checkOutcome(t, w.Send(t.Context(), waiting()), v1alpha1.NoticeResultSent, "")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	checkOutcome(t, w.Send(t.Context(), waiting()), v1alpha1.NoticeResultNotSent, "cannot read the secret")
}

// A manager that does not start answers no callback, and everybody gets in.
func TestMissingFilesOfTheWebhookDoNotKeepTheManagerFromStarting(t *testing.T) {
	missing := write(t, "") + "x"
	w, err := notices.NewWebhook(notices.WebhookOptions{
		URL: "https://hooks.example.com", SecretFile: missing, CAFile: missing,
	}, "", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if w.Check() == nil {
		t.Error("nothing is said to be wrong")
	}
}

func TestWebhookOptionsAreChecked(t *testing.T) {
	good := write(t, secret)
	many := write(t, strings.Repeat(secret+"\n", 3))
	short := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23))
	const at = "https://hooks.example.com/t0p"
	cases := map[string]struct {
		options notices.WebhookOptions
		want    string
	}{
		"no URL":       {notices.WebhookOptions{SecretFile: good}, "set --notice-webhook-url"},
		"no secret":    {notices.WebhookOptions{URL: at}, "set --notice-webhook-secret-file"},
		"http":         {notices.WebhookOptions{URL: "http://hooks.example.com/t0p", SecretFile: good}, "use https"},
		"ftp":          {notices.WebhookOptions{URL: "ftp://hooks.example.com", SecretFile: good}, `scheme "ftp"`},
		"password":     {notices.WebhookOptions{URL: "https://u:t0p@example.com", SecretFile: good}, "user name"},
		"fragment":     {notices.WebhookOptions{URL: at + "#x", SecretFile: good}, "fragment"},
		"no host":      {notices.WebhookOptions{URL: "https:///t0p", SecretFile: good}, "no host"},
		"not a URL":    {notices.WebhookOptions{URL: "https://t0p\x00", SecretFile: good}, "not a URL"},
		"long":         {notices.WebhookOptions{URL: at + strings.Repeat("x", 300), SecretFile: good}, "at most 256"},
		"no file":      {notices.WebhookOptions{URL: at, SecretFile: good + "x"}, "no such file"},
		"empty":        {notices.WebhookOptions{URL: at, SecretFile: write(t, "\n")}, "has no secret"},
		"no prefix":    {notices.WebhookOptions{URL: at, SecretFile: write(t, "t0p")}, "begins with whsec_"},
		"no base64":    {notices.WebhookOptions{URL: at, SecretFile: write(t, "whsec_t0p!")}, "not base64"},
		"short":        {notices.WebhookOptions{URL: at, SecretFile: write(t, short)}, "23 bytes, and needs 24 to 64"},
		"many":         {notices.WebhookOptions{URL: at, SecretFile: many}, "3 secrets"},
		"no CA":        {notices.WebhookOptions{URL: at, SecretFile: good, CAFile: good + "x"}, "no such file"},
		"no PEM in CA": {notices.WebhookOptions{URL: at, SecretFile: good, CAFile: good}, "no certificate in PEM"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, err := notices.NewWebhook(tc.options, "", time.Now)
			if err == nil {
				err = w.Check()
				checkOutcome(t, w.Send(t.Context(), waiting()), v1alpha1.NoticeResultNotSent, "cannot read the secret")
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "t0p") ||
				strings.Contains(err.Error(), secret) {
				t.Errorf("error %v, want one about %q without secrets", err, tc.want)
			}
		})
	}
	w, err := notices.NewWebhook(notices.WebhookOptions{}, "", time.Now)
	if w != nil || err != nil || w.Check() != nil {
		t.Errorf("without flags: %v, %v", w, err)
	}
	allRight := notices.WebhookOptions{URL: at, SecretFile: good}
	if w, err := notices.NewWebhook(allRight, "", time.Now); err != nil || w.Check() != nil {
		t.Errorf("with the right files: %v", err)
	}
}

func TestPageURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://page.example.com":       "https://page.example.com",
		"https://example.com/groupgate/": "https://example.com/groupgate",
		"http://localhost:8080":          "http://localhost:8080",
		"http://[::1]:8080/":             "http://[::1]:8080",
	} {
		if got, err := notices.ParsePageURL(raw); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", raw, got, err, want)
		}
	}
	for raw, want := range map[string]string{
		"page.example.com": "use the form", "http://page.example.com": "use https", "javascript:alert(1)": "no host",
		"https://example.com?x=1": "must end after its path", "https://example.com#x": "fragment",
	} {
		if got, err := notices.ParsePageURL(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error about %q", raw, got, err, want)
		}
	}
}
