package webhookserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/policy"
)

const (
	// The vendor hangs up after 2 s (page 34354), so whatever takes longer than these is in vain.
	readHeaderTimeout = 2 * time.Second
	readTimeout       = 3 * time.Second
	writeTimeout      = 3 * time.Second

	// idleTimeout is that of verified connections; others close with their answer. It is long because the vendor keeps
	// connections open, and the side that sends requests should close: a callback may already be on its way when a
	// server closes an idle connection, and the vendor does not send a callback about a join twice.
	idleTimeout = 10 * time.Minute

	// maxHeaderBytes bounds the request line and the headers together.
	maxHeaderBytes = 16 << 10

	// shutdownTimeout bounds the wait for what is in flight after the listener has closed. The timeouts above end every
	// request within 6 s, so only a bug in this package could use it up.
	shutdownTimeout = 10 * time.Second
)

// ErrNotReady says that no snapshot has been published yet.
var ErrNotReady = errors.New("no snapshot of the policies has been published yet")

// ErrDraining says that the server is about to stop.
var ErrDraining = errors.New("the callback server is draining")

// Snapshots returns what is in force. A *policy.Store implements it.
type Snapshots interface {
	// Load returns the published snapshot, nil before the first. It must neither block nor lock, and not return nil
	// after a snapshot.
	Load() *policy.Snapshot
}

// FullGroups takes groups that are full and may be pruned.
type FullGroups interface {
	// GroupFull is called on the path of a request, from many goroutines, and must neither do I/O nor wait. It is
	// called again for every further attempt to join the group. groupID shares no memory with the request.
	GroupFull(app policy.Object, groupID string)
}

// Server answers callbacks at [Path] until its context ends. The fields are set before Start and not changed
// afterwards.
type Server struct {
	// Addr is the TCP address to listen on, such as ":8443".
	Addr string
	// Listener replaces Addr when set. Start closes it.
	Listener net.Listener
	// TLS turns on HTTPS; nil serves plain HTTP. It needs a certificate, or GetCertificate where certificates are
	// replaced in place. GetConfigForClient is not called. Versions below TLS 1.2, cipher suites without authenticated
	// encryption, and HTTP/2 are taken out of a copy.
	TLS *tls.Config
	// MaxConnections is the limit of open connections; 0 is DefaultMaxConnections.
	MaxConnections int
	// Snapshots is required.
	Snapshots Snapshots
	// FullGroups is required.
	FullGroups FullGroups
	// Leaks is told of members whom the gate refuses; nil tells nobody.
	Leaks Leaks
	// Now is the clock of a callback: RequestTime is compared with it, records of removals expire by it, and durations
	// are measured by it. nil is time.Now.
	Now func() time.Time
	// Log never receives a query, a signature or a token, and accounts only at V(1). The zero value discards.
	Log logr.Logger
	// Metrics is where requests are counted; nil counts nowhere.
	Metrics *Metrics
	// Health is told what the callbacks of each app looked like; nil records nothing.
	Health *callbackhealth.Recorder
	// Decisions is the decision log; nil logs none.
	Decisions *decisionlog.Log

	draining atomic.Bool
	made     func(*connections) // for tests, may be nil
}

// Start serves callbacks until ctx ends, then drains and returns: the listener is closed, requests in flight are
// answered, and only then does Start return, after at most 10 s. It returns an error when it cannot listen, when a
// field that is required is missing, or when requests were still in flight after those 10 s.
func (s *Server) Start(ctx context.Context) error {
	if s.Snapshots == nil || s.FullGroups == nil {
		return errors.New("start the callback server: Snapshots and FullGroups must be set")
	}
	listener := s.Listener
	if listener == nil {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.Addr); err != nil {
			return fmt.Errorf("listen for callbacks: %w", err)
		}
	}
	server, all := s.httpServer()
	listener = all.listen(listener)
	s.Log.Info("Serving callbacks", "address", listener.Addr().String(), "path", Path, "tls", s.TLS != nil)

	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		s.Drain()
		// The context that has just ended cannot bound the shutdown.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(bounded)
	})

	if err := serve(server, listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve callbacks: %w", err)
	}
	// Serve returns as soon as the listener closes, while requests are still in flight.
	if err := <-stopped; err != nil {
		return errors.Join(fmt.Errorf("drain the callback server: %w", err), server.Close())
	}
	s.Log.Info("Stopped serving callbacks")
	return nil
}

func serve(server *http.Server, listener net.Listener) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}

// cipherSuites are those of TLS 1.2 with forward secrecy and authenticated encryption. TLS 1.3 has no others.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// curves are those that are cheap to compute. A client chooses, and part of the key agreement has no bound: in TLS 1.2
// it comes after the answer to the client's first message. P-521 takes ten times as long as X25519.
var curves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}

// httpServer configures HTTP, apart from Start so that tests see it.
func (s *Server) httpServer() (*http.Server, *connections) {
	handler := s.handler()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          serverLog(s.Log),
		// Otherwise net/http would answer "OPTIONS *" by itself, with 200.
		DisableGeneralOptionsHandler: true,
		// The vendor speaks HTTP/1.1; nothing else is exposed.
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	if s.TLS != nil {
		server.TLSConfig = s.TLS.Clone()
		server.TLSConfig.MinVersion = max(s.TLS.MinVersion, tls.VersionTLS12)
		server.TLSConfig.CipherSuites = cipherSuites
		if s.TLS.CurvePreferences == nil {
			server.TLSConfig.CurvePreferences = curves
		}
	}
	all := newConnections(s.MaxConnections, handler.metrics)
	all.configure(server)
	if s.made != nil {
		s.made(all)
	}
	return server, all
}

// NeedLeaderElection is false: every replica answers.
func (s *Server) NeedLeaderElection() bool { return false }

// Drain prepares the server for its end: Ready fails, and every answer from now on carries "Connection: close", so that
// the vendor moves its connections to other replicas. Serving goes on until the context of Start ends, which should be
// some seconds later.
//
// Idle connections stay open until then: a callback that is on its way when its connection closes is never answered.
// The same is true of a connection made in the moment in which the listener closes, so the seconds in between must be
// enough for the Service to stop sending.
func (s *Server) Drain() { s.draining.Store(true) }

// Ready is nil from the first snapshot until Drain. Neither an outage of the API server nor an invalid object changes
// that. It is a healthz.Checker; the request is not used.
func (s *Server) Ready(*http.Request) error {
	if s.draining.Load() {
		return ErrDraining
	}
	if s.Snapshots.Load() == nil {
		return ErrNotReady
	}
	return nil
}
