package notices

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// webhookTimeout is how long a receiver may take to answer. A leader that stops waits for as long, at most.
const webhookTimeout = 10 * time.Second

// WebhookOptions say where notices go. Without a URL there is no webhook.
type WebhookOptions struct {
	// URL is https, or http towards this machine. It may hold a secret in its path or query, so it is never logged.
	URL string
	// SecretFile has one secret that signs, or two while it is being replaced, each in a line.
	SecretFile string
	// CAFile has the certificates, in PEM, that the receiver's is verified by; empty for those of the system.
	CAFile string
}

// Webhook sends notices to a receiver that the operator of the cluster has named.
type Webhook struct {
	url                *url.URL
	secretFile, caFile string
	page               string
	now                func() time.Time
}

// NewWebhook returns a webhook, nil without a URL, or what is wrong with the options. page is the URL of the page, or
// empty. The files are not read yet.
func NewWebhook(o WebhookOptions, page string, now func() time.Time) (*Webhook, error) {
	switch {
	case o == WebhookOptions{}:
		return nil, nil //nolint:nilnil // no webhook
	case o.URL == "":
		return nil, errors.New("a secret or a CA is set, but no URL: set --notice-webhook-url")
	case o.SecretFile == "":
		return nil, errors.New("notices need a secret that signs them: set --notice-webhook-secret-file")
	}
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("--notice-webhook-url: %w", err)
	}
	return &Webhook{url: u, secretFile: o.SecretFile, caFile: o.CAFile, page: page, now: now}, nil
}

// Check returns what is wrong with the files of the webhook, nil if there is no webhook. Until that is mended no notice
// is sent, and the status of each run says so. It must not keep a process from answering callbacks.
func (w *Webhook) Check() error {
	if w == nil {
		return nil
	}
	_, _, err := w.read()
	return err
}

// read reads the files, before each notice: new contents need no restart.
func (w *Webhook) read() (secrets, *x509.CertPool, error) {
	keys, err := readSecrets(w.secretFile)
	if err != nil {
		return nil, nil, fmt.Errorf("--notice-webhook-secret-file: %w", err)
	}
	roots, err := readCAs(w.caFile)
	if err != nil {
		return nil, nil, fmt.Errorf("--notice-webhook-ca-file: %w", err)
	}
	return keys, roots, nil
}

func newClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			// Notices are rare, and a connection that the receiver has closed meanwhile is one doubt more.
			DisableKeepAlives: true,
		},
		// A redirect would carry the notice to a host that was not named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func readCAs(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // those of the system
	}
	text, err := os.ReadFile(path) //nolint:gosec // a flag names the file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("the file has no certificate in PEM")
	}
	return pool, nil
}

// Send sends the notice about a run whose plan awaits approval, once.
func (w *Webhook) Send(ctx context.Context, run *v1alpha1.PruneRun) Outcome {
	keys, roots, err := w.read()
	if err != nil {
		return notSent(err, "The manager cannot read the secret of the webhook, or its CA.")
	}
	now := w.now()
	event := NewEvent(run, w.page, now)
	body, err := event.json()
	if err != nil {
		return notSent(err, "The notice cannot be written as JSON.")
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	var begun atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { begun.Store(true) },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return notSent(errors.New("the URL cannot be used in a request"), "The URL of the webhook cannot be used.")
	}
	request.GetBody = nil // net/http must not send it again by itself
	request.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	request.Header.Set("User-Agent", "groupgate")
	keys.sign(request.Header, event.ID, now, body)
	answer, err := newClient(roots).Do(request)
	if err != nil {
		return failed(err, begun.Load())
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	return answered(answer.StatusCode)
}

// answered is the outcome by the status of an answer. One from 500 on may be that of a gateway whose upstream has the
// notice, or of a receiver that failed after it passed the notice on. 503 says that nothing was done.
func answered(status int) Outcome {
	err := fmt.Errorf("the receiver answered %d", status)
	switch {
	case status/100 == 2:
		return sent()
	case status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable:
		return unknown(err, "The receiver of the webhook answered %d, and may have got the notice.", status)
	}
	return notSent(err, "The receiver of the webhook answered %d.", status)
}

// failed is the outcome without an answer. Only a request of which nothing was written has certainly not arrived.
func failed(err error, begun bool) Outcome {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL
	}
	if begun {
		return unknown(err, "The receiver of the webhook did not answer in time, or the connection was lost.")
	}
	return notSent(err, "The receiver of the webhook cannot be reached.")
}
