package app

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	certutil "k8s.io/client-go/util/cert"

	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// writeCertificate puts a new certificate of the host into dir.
func writeCertificate(t *testing.T, dir, host string) {
	t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, dir, cert, key)
}

func writeFiles(t *testing.T, dir string, cert, key []byte) {
	t.Helper()
	labtest.WriteFiles(t, dir, map[string][]byte{"tls.crt": cert, "tls.key": key})
}

func served(t *testing.T, c *certificate) *x509.Certificate {
	t.Helper()
	pair, err := c.Get(&tls.ClientHelloInfo{})
	if err != nil || pair == nil {
		t.Fatalf("no certificate is served: %v", err)
	}
	return pair.Leaf
}

// TestCertificateSurvivesItsFiles: a renewal is served, and a renewal that fails half way serves what there was. No
// inotify instance is needed, of which a node may have none left.
func TestCertificateSurvivesItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var logged atomic.Int32
		writeCertificate(t, dir, "one.example")
		c, err := newCertificate(dir, prometheus.NewRegistry(),
			funcr.New(func(_, _ string) { logged.Add(1) }, funcr.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		check := func(when, host string, unreadable float64) {
			t.Helper()
			leaf := served(t, c)
			if err := leaf.VerifyHostname(host); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			if got, want := testutil.ToFloat64(c.expiry), float64(leaf.NotAfter.Unix()); got != want {
				t.Errorf("%s: it expires at %v, want %v", when, got, want)
			}
			if got := testutil.ToFloat64(c.unreadable); got != unreadable {
				t.Errorf("%s: unreadable is %v, want %v", when, got, unreadable)
			}
		}
		check("at the start", "one.example", 0)
		go c.poll(t.Context()) // ends with the test
		pass := func() {
			time.Sleep(2 * certificatePoll) //nolint:forbidigo // the clock of synctest
			synctest.Wait()
		}
		pass()
		check("unchanged", "one.example", 0)
		writeCertificate(t, dir, "two.example")
		pass()
		check("renewed", "two.example", 0)

		before := logged.Load()
		writeFiles(t, dir, []byte("no PEM"), []byte("no PEM"))
		pass()
		pass()
		check("unreadable", "two.example", 1)
		if got := logged.Load() - before; got != 1 {
			t.Errorf("unreadable for four polls was logged %d times, want once", got)
		}
		if err := os.Remove(filepath.Join(dir, "tls.key")); err != nil {
			t.Fatal(err)
		}
		pass()
		check("without a key", "two.example", 1)
		writeCertificate(t, dir, "three.example")
		pass()
		check("renewed again", "three.example", 0)
	})
}

func TestNoCertificateIsAnErrorAtTheStart(t *testing.T) {
	if _, err := newCertificate(t.TempDir(), prometheus.NewRegistry(), logr.Discard()); err == nil {
		t.Error("no error for an empty directory")
	}
}
