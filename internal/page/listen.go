package page

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// ListenUnix listens on a Unix socket that the user and the group of this process can connect to. A socket that an
// earlier process has left is replaced; one on which another process answers, or a file that is no socket, is an error.
// The socket is removed when the listener is closed.
func ListenUnix(ctx context.Context, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s exists, and is no socket: name another path", path)
	case err == nil:
		if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("another process answers on %s: end it, or name another path", path),
				conn.Close())
		}
	}
	// The socket is made in a folder that is closed to others until its mode is right: connections that were made
	// before would be accepted later.
	folder, err := os.MkdirTemp(filepath.Dir(path), ".page")
	if err != nil {
		return nil, err
	}
	defer os.Remove(folder)
	made := filepath.Join(folder, "s")
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	unix := &unixListener{Listener: listener, path: path}
	if l, ok := listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
	}
	//nolint:gosec // the proxy in the same Pod is of the same group
	if err := errors.Join(os.Chmod(made, 0o660), os.Rename(made, path)); err != nil {
		return nil, errors.Join(err, os.Remove(made), listener.Close())
	}
	unix.info, err = os.Lstat(path)
	return unix, err
}

// unixListener removes its socket at the end, unless it is another's by then.
type unixListener struct {
	net.Listener
	path string
	info os.FileInfo
	once sync.Once
}

func (l *unixListener) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() {
		if info, statErr := os.Lstat(l.path); statErr == nil && os.SameFile(info, l.info) {
			err = errors.Join(err, os.Remove(l.path))
		}
	})
	return err
}

// filesLife is how long the files of certificates are used before they are read again.
const filesLife = 10 * time.Second

// MutualTLS has the certificates of the page and of the authority of its client, the proxy.
type MutualTLS struct {
	// CertFile, KeyFile and ClientCAFile are read again when they have changed.
	CertFile, KeyFile, ClientCAFile string
	// ClientName is the common name, or a DNS name, of the client's certificate.
	ClientName string
	Now        func() time.Time
	Log        logr.Logger

	mu    sync.Mutex
	read  time.Time
	files *tls.Config
}

// Config returns the configuration of a server, or says why the files cannot be used.
func (m *MutualTLS) Config() (*tls.Config, error) {
	config, err := m.load()
	if err != nil {
		return nil, err
	}
	m.files, m.read = config, m.Now()
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         config.NextProtos,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return m.current(), nil },
	}, nil
}

// current is the configuration by the files of now, or of the last time when they could be read.
func (m *MutualTLS) current() *tls.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.Now(); now.Sub(m.read) >= filesLife {
		m.read = now
		config, err := m.load()
		if err != nil {
			m.Log.Error(err, "Cannot read the certificates; those read before are used")
			return m.files
		}
		m.files = config
	}
	return m.files
}

func (m *MutualTLS) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(m.CertFile, m.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load the certificate of the page from --tls-cert-dir: %w", err)
	}
	authorities, err := os.ReadFile(m.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read --client-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("--client-ca-file %s has no certificate", m.ClientCAFile)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		// A resumed session would go on after its authority was taken away.
		SessionTicketsDisabled: true,
		VerifyConnection:       m.verify,
	}, nil
}

// verify refuses clients that the authority knows, and that are not the proxy.
func (m *MutualTLS) verify(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	if leaf.Subject.CommonName == m.ClientName || slices.Contains(leaf.DNSNames, m.ClientName) {
		return nil
	}
	return fmt.Errorf("the certificate of the client is not that of %s", m.ClientName)
}
