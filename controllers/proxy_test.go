package controllers

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// proxy is a TCP proxy in front of the API server that a test can cut and restore.
type proxy struct {
	t       *testing.T
	address string // ours, the same after every Restore
	target  string

	// hangUp closes every new connection at once, as a load balancer without a backend does.
	hangUp atomic.Bool

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]*atomic.Bool // each with whether it is frozen
	closed   sync.WaitGroup
}

// newProxy starts a proxy; the config it returns goes through it.
func newProxy(t *testing.T, config *rest.Config) (*proxy, *rest.Config) {
	t.Helper()
	target, err := url.Parse(config.Host)
	if err != nil || target.Host == "" {
		target = &url.URL{Host: config.Host}
	}
	p := &proxy{t: t, address: "127.0.0.1:0", target: target.Host}
	p.Restore()
	t.Cleanup(p.Cut)
	through := rest.CopyConfig(config)
	through.Host = "https://" + p.address
	// The certificate names the API server, not the proxy.
	host, _, err := net.SplitHostPort(target.Host)
	labtest.Must(t, err)
	through.ServerName = host
	return p, through
}

// Restore accepts connections again.
func (p *proxy) Restore() {
	p.t.Helper()
	if p.hangUp.Swap(false) {
		return
	}
	p.listen()
}

func (p *proxy) listen() {
	p.t.Helper()
	listener, err := net.Listen("tcp", p.address)
	labtest.Must(p.t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address = listener.Addr().String()
	p.listener = listener
	p.conns = map[net.Conn]*atomic.Bool{}
	p.closed.Add(1)
	go func() { // ends with the listener, in Cut
		defer p.closed.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.closed.Add(1)
			go func() { // ends with the connection, in Cut at the latest
				defer p.closed.Done()
				p.forward(conn)
			}()
		}
	}()
}

// Cut breaks all connections and refuses new ones.
func (p *proxy) Cut() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.closed.Wait()
}

// HangUp breaks all connections and goes on accepting new ones, only to close them.
func (p *proxy) HangUp() {
	p.hangUp.Store(true)
	p.Cut()
	p.listen()
}

// Freeze lets the connections that there are stand, and carries nothing on them any more. New ones work.
func (p *proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, frozen := range p.conns {
		frozen.Store(true)
	}
}

func (p *proxy) forward(client net.Conn) {
	defer client.Close()
	if p.hangUp.Load() {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.conns == nil {
		p.mu.Unlock()
		return
	}
	frozen := &atomic.Bool{}
	p.conns[client], p.conns[server] = frozen, frozen
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(thaw{server, frozen}, client); server.Close() })
	both.Go(func() { _, _ = io.Copy(thaw{client, frozen}, server); client.Close() })
	both.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

// thaw writes what it is given, and swallows it once it is frozen.
type thaw struct {
	to     io.Writer
	frozen *atomic.Bool
}

func (t thaw) Write(b []byte) (int, error) {
	if t.frozen.Load() {
		return len(b), nil
	}
	return t.to.Write(b)
}
