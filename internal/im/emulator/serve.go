package emulator

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Serve answers requests on listener until ctx ends, and closes the emulator then.
func (e *Emulator) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		// Close comes first: it ends the answers that a fault holds back, which Shutdown would wait for.
		err := e.Close()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- errors.Join(err, server.Shutdown(grace))
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped
}
