package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Wire is a TCP proxy in front of a server that can be cut and mended: an outage without stopping the server. It passes
// bytes as they are, TLS included.
type Wire struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

// NewWire listens on loopback and forwards to target (host:port). It must be closed.
func NewWire(ctx context.Context, target string) (*Wire, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a wire: %w", err)
	}
	w := &Wire{target: target, listener: listener, conns: map[net.Conn]struct{}{}}
	w.running.Add(1)
	go w.accept() // ended by Close
	return w, nil
}

// Address is host:port of the near end.
func (w *Wire) Address() string { return w.listener.Addr().String() }

// Cut resets every connection, and every new one until Mend.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for conn := range w.conns {
		_ = conn.Close() // an error changes nothing
	}
}

// Mend lets connections through again.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// Close ends it for good.
func (w *Wire) Close() error {
	err := w.listener.Close()
	w.Cut()
	w.running.Wait()
	return err
}

func (w *Wire) accept() {
	defer w.running.Done()
	for {
		near, err := w.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		w.running.Add(1)
		go func() { // ended by either end of the connection, or by Cut
			defer w.running.Done()
			w.forward(near)
		}()
	}
}

func (w *Wire) forward(near net.Conn) {
	defer w.drop(near)
	if !w.track(near) {
		return
	}
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer w.drop(far)
	if !w.track(far) {
		return
	}
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() { // ended by closing either connection
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
			_ = pair[1].Close()
		})
	}
	both.Wait()
}

// track remembers conn so that a cut can close it; false while the wire is cut.
func (w *Wire) track(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[conn] = struct{}{}
	return !w.cut
}

func (w *Wire) drop(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, conn)
	_ = conn.Close()
}
