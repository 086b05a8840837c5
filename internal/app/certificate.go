package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// certificatePoll is how often the files of the certificate are read.
const certificatePoll = 2 * time.Second

// certificate is the one in a directory, read again and again. It is polled because inotify instances can run out: all
// pods of a node whose processes have the same user id share them, and the process would not start, or would end.
//
// While the files cannot be read, or do not match in the middle of a renewal, the certificate read before is served.
type certificate struct {
	files  [2]string // of the certificate and its key
	log    logr.Logger
	expiry prometheus.Gauge
	// unreadable is 1 while the files cannot be read.
	unreadable prometheus.Gauge

	served atomic.Pointer[tls.Certificate]
	// The rest belongs to load: what it read last, and its last error.
	content [2][]byte
	failure string
}

// newCertificate reads the certificate for the first time, and fails if there is none.
func newCertificate(dir string, registerer prometheus.Registerer, log logr.Logger) (*certificate, error) {
	factory := promauto.With(registerer)
	c := &certificate{
		files: [2]string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")},
		log:   log,
		expiry: factory.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_callback_certificate_expiry_timestamp_seconds",
			Help: "Unix time at which the served certificate of the callback server expires.",
		}),
		unreadable: factory.NewGauge(prometheus.GaugeOpts{
			Name: "groupgate_callback_certificate_unreadable",
			Help: "1 while the files of the callback certificate cannot be read, and an older one is served; else 0.",
		}),
	}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("load the callback certificate from --callback-tls-cert-dir: %w", err)
	}
	return c, nil
}

// Get is a tls.Config's GetCertificate.
func (c *certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.served.Load(), nil
}

// poll reads the files until ctx ends.
func (c *certificate) poll(ctx context.Context) {
	ticker := time.NewTicker(certificatePoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.reload()
		}
	}
}

// reload logs an error once, not with every poll.
func (c *certificate) reload() {
	err := c.load()
	switch {
	case err == nil:
		c.unreadable.Set(0)
		c.failure = ""
	case err.Error() != c.failure:
		c.failure = err.Error()
		c.log.Error(err, "Cannot read the callback certificate; the one read before is served",
			"remedy", "put tls.crt and a matching tls.key into --callback-tls-cert-dir")
		fallthrough
	default:
		c.unreadable.Set(1)
	}
}

func (c *certificate) load() error {
	var content [2][]byte
	for i, file := range c.files {
		var err error
		//nolint:gosec // the directory is a flag
		if content[i], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	if bytes.Equal(content[0], c.content[0]) && bytes.Equal(content[1], c.content[1]) {
		return nil
	}
	pair, err := tls.X509KeyPair(content[0], content[1])
	if err != nil {
		return err
	}
	if pair.Leaf == nil {
		return errors.New("tls.crt has no certificate")
	}
	c.content = content
	c.served.Store(&pair)
	c.expiry.Set(float64(pair.Leaf.NotAfter.Unix()))
	c.log.Info("Loaded the callback certificate", "expires", pair.Leaf.NotAfter)
	return nil
}
