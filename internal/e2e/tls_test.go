package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	certutil "k8s.io/client-go/util/cert"

	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// Restarting all replicas at once for a renewed certificate would leave callbacks unanswered, which admits everyone.
func TestARenewedCertificateIsServedWithoutARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := writeCertificate(t, dir)
	w := newWorld(t)
	r := w.startReady(nil, "--callback-insecure-http=false", "--callback-tls-cert-dir="+dir)
	url := "https" + strings.TrimPrefix(r.CallbackURL, "http")

	answers := func(roots *x509.CertPool) bool {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
		client := &http.Client{Transport: transport}
		resp, err := client.Post(url, "application/json", http.NoBody)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusForbidden && resp.ProtoMajor == 1
	}
	if !answers(first) {
		t.Fatal("no answer under the first certificate")
	}
	second := writeCertificate(t, dir)
	eventually(t, "the renewed certificate to be served", func() bool { return answers(second) })
	if answers(first) {
		t.Error("the first certificate is still served")
	}
	if resp, err := http.Post(r.CallbackURL, "application/json", http.NoBody); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP on the TLS port: %s", resp.Status)
		}
	}
}

// writeCertificate puts a new self-signed certificate into dir and returns what trusts it.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	labtest.WriteFiles(t, dir, map[string][]byte{"tls.crt": cert, "tls.key": key})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		t.Fatal("the certificate cannot be read")
	}
	return roots
}
