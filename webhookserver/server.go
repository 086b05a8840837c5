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

	"github.com/groupgate/groupgate/internal/policy"
)

const (
	// The vendor hangs up after 2 s (page 34354), so whatever takes longer
	// than these serves nobody any more.
	readHeaderTimeout = 2 * time.Second
	readTimeout       = 3 * time.Second
	writeTimeout      = 3 * time.Second

	// idleTimeout is long because the vendor keeps connections open, and the
	// side that writes requests should be the side that closes: a server that
	// closes an idle connection may cross with a callback on its way, and the
	// vendor does not send a callback about a join twice.
	idleTimeout = 10 * time.Minute

	// maxHeaderBytes bounds the request line and the headers together.
	maxHeaderBytes = 16 << 10

	// shutdownTimeout bounds the wait for what is in flight after the listener
	// has closed. The timeouts above end every request within 6 s, so only a
	// mistake in this package could ever use it up.
	shutdownTimeout = 10 * time.Second
)

// ErrNotReady says that no snapshot has been published yet.
var ErrNotReady = errors.New("no snapshot of the policies has been published yet")

// ErrDraining says that the server is about to go away.
var ErrDraining = errors.New("the callback server is draining")

// Snapshots hands out what is in force. A *policy.Store is one.
type Snapshots interface {
	// Load returns the published snapshot, nil before the first. It must
	// neither block nor lock, and never return nil again once it did not.
	Load() *policy.Snapshot
}

// FullGroups is told of groups that are full and may be pruned.
type FullGroups interface {
	// GroupFull is called on the path of a request and must return at once:
	// no I/O, no waiting. It is called again for every further attempt to
	// join the group, from many goroutines. groupID may be kept.
	GroupFull(app policy.Object, groupID string)
}

// Server answers callbacks at [Path] until its context ends. The fields are
// set before Start and not changed afterwards.
type Server struct {
	// Addr is the TCP address to listen on, such as ":8443".
	Addr string
	// Listener replaces Addr when set. Start closes it.
	Listener net.Listener
	// TLS turns on HTTPS; nil serves plain HTTP. It needs a certificate, or
	// GetCertificate where certificates are replaced in place. Versions below
	// TLS 1.2 and HTTP/2 are taken out of a copy.
	TLS *tls.Config
	// Snapshots is required.
	Snapshots Snapshots
	// FullGroups is required.
	FullGroups FullGroups
	// Now is the one clock of a callback: RequestTime is held against it, records
	// of removals end by it, and durations are taken from it. nil is time.Now.
	Now func() time.Time
	// Log never receives a query, a signature or a token, and accounts only at
	// V(1). The zero value discards.
	Log logr.Logger
	// Metrics is where requests are counted; nil counts nowhere.
	Metrics *Metrics

	draining atomic.Bool
}

// Start serves callbacks until ctx ends, then drains and returns: the listener
// is closed, requests in flight are answered, and only then does Start return,
// after at most 10 s. It returns an error when it cannot listen, when a field
// that is required is missing, or when requests were still in flight after
// those 10 s.
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
	server := s.httpServer()
	s.Log.Info("Serving callbacks", "address", listener.Addr().String(), "path", Path, "tls", s.TLS != nil)

	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		s.Drain()
		// The context that has just ended cannot bound its own aftermath.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(bounded)
	})

	if err := serve(server, listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve callbacks: %w", err)
	}
	// Serve returns as soon as the listener closes; what is in flight then is
	// exactly what must not be lost.
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

// httpServer is the whole configuration of HTTP, in one place to be tested.
func (s *Server) httpServer() *http.Server {
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          serverLog(s.Log),
		// An "OPTIONS *" is refused like any other request that is no callback.
		DisableGeneralOptionsHandler: true,
		// The vendor speaks HTTP/1.1; what it does not need cannot be attacked.
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	if s.TLS != nil {
		server.TLSConfig = s.TLS.Clone()
		server.TLSConfig.MinVersion = max(s.TLS.MinVersion, tls.VersionTLS12)
	}
	return server
}

// NeedLeaderElection is false: every replica answers.
func (s *Server) NeedLeaderElection() bool { return false }

// Drain announces that this server is about to go away: Ready fails, and every
// answer from now on carries "Connection: close", so that the vendor moves its
// connections to other replicas by itself. Serving goes on until the context
// of Start ends, which should be some seconds later.
//
// Connections that are idle are left alone until then: closing one may cross
// with a callback on its way, which would never be answered. The same holds for
// a connection made in the moment in which the listener closes, so the seconds
// in between must be enough for the Service to stop sending.
func (s *Server) Drain() { s.draining.Store(true) }

// Ready reports whether callbacks should be sent here: once a snapshot has
// been published, and until Drain. Neither an outage of the API server nor a
// bad object takes it back. It fits healthz.Checker; the request is not used.
func (s *Server) Ready(*http.Request) error {
	if s.draining.Load() {
		return ErrDraining
	}
	if s.Snapshots.Load() == nil {
		return ErrNotReady
	}
	return nil
}
