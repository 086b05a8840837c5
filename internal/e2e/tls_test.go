package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	certutil "k8s.io/client-go/util/cert"
)

// A renewed certificate must be served without a restart: a restart of every replica at once would open every gate.
func TestARenewedCertificateIsServed(t *testing.T) {
	dir := t.TempDir()
	first := writeCertificate(t, dir)
	w := newWorld(t, &switchboard{})
	g := w.startReady(gateOptions{flags: []string{"--callback-insecure-http=false", "--callback-tls-cert-dir=" + dir}})
	url := "https" + strings.TrimPrefix(g.CallbackURL, "http")

	answers := func(roots *x509.CertPool) bool {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
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
	if resp, err := http.Post(g.CallbackURL, "application/json", http.NoBody); err == nil {
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
	for name, data := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		t.Fatal("the certificate cannot be read")
	}
	return roots
}
