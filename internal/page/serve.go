package page

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/net/netutil"
)

const (
	// maxConnections is how many connections are open at the same time. Others wait.
	maxConnections = 256
	maxHeaderBytes = 32 << 10
	// drain is how long visits may go on after the end.
	drain = 10 * time.Second
)

// Serve answers on a listener until ctx ends, over TLS if secured is not nil.
func Serve(
	ctx context.Context, listener net.Listener, secured *tls.Config, handler http.Handler, log logr.Logger,
) error {
	server := &http.Server{
		Handler: handler, TLSConfig: secured,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: maxWait + maxVisit + 15*time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(logr.ToSlogHandler(log.V(1)), slog.LevelInfo),
		BaseContext:    func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	ended := make(chan error, 1)
	limited := netutil.LimitListener(listener, maxConnections)
	go func() { // ends with the server
		if secured != nil {
			ended <- server.ServeTLS(limited, "", "")
		} else {
			ended <- server.Serve(limited)
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := server.Shutdown(draining)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}
