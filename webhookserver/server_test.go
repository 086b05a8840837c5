package webhookserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// The manager uses these methods of a Server.
var _ interface {
	Start(context.Context) error
	NeedLeaderElection() bool
} = (*Server)(nil)

func TestEveryReplicaServes(t *testing.T) {
	if new(Server).NeedLeaderElection() {
		t.Error("the callback server waits for a term: only one replica would answer")
	}
}

func TestLimits(t *testing.T) {
	server, _ := newGate(t, nil).server.httpServer()
	if got, want := server.MaxHeaderBytes, 16<<10; got != want {
		t.Errorf("MaxHeaderBytes is %d, want %d", got, want)
	}
	if got, want := server.Protocols.String(), "{HTTP1}"; got != want {
		t.Errorf("Protocols is %s, want %s", got, want)
	}
}

func TestStartNeedsItsParts(t *testing.T) {
	full := new(fullGroups)
	for name, server := range map[string]*Server{
		"nothing":       {},
		"no groups":     {Snapshots: new(policy.Store)},
		"no snapshots":  {FullGroups: full},
		"not a port":    {Snapshots: new(policy.Store), FullGroups: full, Addr: "127.0.0.1:callback"},
		"not a host":    {Snapshots: new(policy.Store), FullGroups: full, Addr: "256.0.0.1:0"},
		"no cert to go": {Snapshots: new(policy.Store), FullGroups: full, Addr: "127.0.0.1:0", TLS: new(tls.Config)},
	} {
		if err := server.Start(t.Context()); err == nil {
			t.Errorf("%s: Start returned no error", name)
		}
	}
}

// TestSparseServer leaves out all optional fields.
func TestSparseServer(t *testing.T) {
	g := startGate(t, members("jared"), func(s *Server) { s.Now, s.Metrics = nil, nil })
	if got := g.post(t, signedBy(token, time.Now(), query(applyCommand)),
		applyBody("jared")); got.shape() != "200 OK 0" {
		t.Errorf("got %s", got.shape())
	}
}

// TestContextEndedBeforeStart: a manager may stop a server right after starting it.
func TestContextEndedBeforeStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	server := &Server{Listener: listener, Snapshots: new(policy.Store), FullGroups: new(fullGroups)}
	if err := server.Start(ctx); err != nil {
		t.Errorf("Start: %v", err)
	}
	if err := server.Ready(nil); !errors.Is(err, ErrDraining) {
		t.Errorf("Ready after the end: %v, want %v", err, ErrDraining)
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

func TestReady(t *testing.T) {
	g := newGate(t, nil)
	if err := g.server.Ready(nil); !errors.Is(err, ErrNotReady) {
		t.Errorf("before the first snapshot: %v, want %v", err, ErrNotReady)
	}
	g.store.Publish(policy.Compile(policy.Input{}))
	if err := g.server.Ready(nil); err != nil {
		t.Errorf("with an empty snapshot: %v", err)
	}
	g.server.Drain()
	if err := g.server.Ready(nil); !errors.Is(err, ErrDraining) {
		t.Errorf("draining: %v, want %v", err, ErrDraining)
	}
}

// TestSnapshotIsLoadedOncePerRequest: a request that loads twice may see two snapshots.
func TestSnapshotIsLoadedOncePerRequest(t *testing.T) {
	counting := &countingSnapshots{}
	g := newGate(t, members("jared"), func(s *Server) { counting.Snapshots, s.Snapshots = s.Snapshots, counting })
	for _, body := range []string{applyBody("jared"), inviteBody("jared", "mallory"), fullBody(group), "{"} {
		counting.loads.Store(0)
		g.handler.ServeHTTP(httptest.NewRecorder(), request(signed("SdkAppid=1400000000"), body))
		if got := counting.loads.Load(); got != 1 {
			t.Errorf("%s: %d loads, want 1", body, got)
		}
	}
}

type countingSnapshots struct {
	Snapshots
	loads atomic.Int32
}

func (c *countingSnapshots) Load() *policy.Snapshot {
	c.loads.Add(1)
	return c.Snapshots.Load()
}

func TestTLS(t *testing.T) {
	// The standard library's test server has a certificate at hand, and clients that trust it.
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	defer lender.Close()
	certificate := lender.TLS.Certificates[0]
	trusting := lender.Client().Transport.(*http.Transport).TLSClientConfig

	given := &tls.Config{
		MinVersion:     tls.VersionTLS10, // which the server must not accept
		NextProtos:     []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
	}
	g := startGate(t, members("jared"), func(s *Server) { s.TLS = given })

	t.Run("HTTP/1.1 to who prefers HTTP/2", func(t *testing.T) {
		g.client.Transport = &http.Transport{TLSClientConfig: trusting.Clone(), ForceAttemptHTTP2: true}
		defer g.client.CloseIdleConnections()
		response, err := g.client.Post(g.url+Path+"?"+signed(query(applyCommand)), "",
			strings.NewReader(applyBody("mallory")))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := readReply(t, response).shape(), "200 OK 10110"; got != want || response.ProtoMajor != 1 {
			t.Errorf("got %s over %s, want %s over HTTP/1.1", got, response.Proto, want)
		}
	})
	t.Run("not below TLS 1.2", func(t *testing.T) {
		old := trusting.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		dialer := &tls.Dialer{Config: old}
		if conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "https://")); err == nil {
			conn.Close()
			t.Error("TLS 1.1 was accepted")
		}
	})
	t.Run("no cipher suite without authenticated encryption", func(t *testing.T) {
		for suite, accepted := range map[uint16]bool{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:       true,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: true,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:          false,
			tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:          false,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256:             false,
			tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA:         false,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256:     false,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:       true,
		} {
			old := trusting.Clone()
			old.MaxVersion, old.CipherSuites = tls.VersionTLS12, []uint16{suite}
			dialer := &tls.Dialer{Config: old}
			conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "https://"))
			if err == nil {
				conn.Close()
			}
			if (err == nil) != accepted {
				t.Errorf("%s: %v, want accepted %v", tls.CipherSuiteName(suite), err, accepted)
			}
		}
	})
	t.Run("no key agreement that is slow", func(t *testing.T) {
		for curve, accepted := range map[tls.CurveID]bool{
			tls.X25519: true, tls.CurveP256: true, tls.CurveP384: false, tls.CurveP521: false,
		} {
			other := trusting.Clone()
			other.CurvePreferences = []tls.CurveID{curve}
			dialer := &tls.Dialer{Config: other}
			conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "https://"))
			if err == nil {
				conn.Close()
			}
			if (err == nil) != accepted {
				t.Errorf("%v: %v, want accepted %v", curve, err, accepted)
			}
		}
	})
	t.Run("the caller's configuration is its own", func(t *testing.T) {
		if given.MinVersion != tls.VersionTLS10 || given.NextProtos[0] != "h2" || given.CipherSuites != nil {
			t.Errorf("it was changed: %v %v", given.MinVersion, given.NextProtos)
		}
	})
}

// TestDrainUnderLoad does what SIGTERM does: Drain, then some time in which the load moves away, then the end of the
// context with requests in flight. Every callback that was sent must be answered.
func TestDrainUnderLoad(t *testing.T) {
	const workers, held = 8, 4
	holding := &holdingGroups{entered: make(chan struct{}, held), release: make(chan struct{})}
	input := prunable(group)
	input.Policies = append(input.Policies, members("jared").Policies...)
	g := startGate(t, input, func(s *Server) { s.FullGroups = holding })

	// The load: every worker keeps one connection, for as long as the server lets it.
	var sent, closes [workers]atomic.Int64
	moveAway := make(chan struct{})
	var load sync.WaitGroup
	for i := range workers {
		load.Go(func() { // ends when the test closes moveAway
			client := &http.Client{Transport: new(http.Transport), Timeout: listening}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-moveAway:
					return
				default:
				}
				response, err := client.Post(g.url+Path+"?"+signed(query(applyCommand)), "",
					strings.NewReader(applyBody("mallory")))
				if err != nil {
					t.Errorf("a callback stayed without an answer: %v", err)
					return
				}
				draining := response.Close
				if got := readReply(t, response); got.shape() != "200 OK 10110" {
					t.Errorf("got %s", got.shape())
				}
				sent[i].Add(1)
				if draining {
					closes[i].Add(1)
				}
			}
		})
	}
	all := func(counters *[workers]atomic.Int64, least int64) func() bool {
		return func() bool {
			for i := range counters {
				if counters[i].Load() < least {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "load on every connection", all(&sent, 20))
	for i := range workers {
		if n := closes[i].Load(); n != 0 {
			t.Errorf("worker %d lost its connection %d times before the drain", i, n)
		}
	}

	g.server.Drain()
	if err := g.server.Ready(nil); !errors.Is(err, ErrDraining) {
		t.Errorf("Ready after Drain: %v", err)
	}
	eventually(t, "every connection told to close, and the next one after it", all(&closes, 3))
	close(moveAway) // as the Service sends nothing more to a replica that is not ready
	load.Wait()

	// Requests that are in flight when the context ends.
	replies := make(chan error, held)
	for range held {
		go func() { replies <- heldCallback(t, g.url) }() // ends with the answer, which the test awaits
	}
	for range held {
		<-holding.entered
	}
	stopped := make(chan struct{})
	go func() { // ends with Start, which the test awaits
		defer close(stopped)
		g.stop()
	}()
	eventually(t, "the listener is closed", func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	select {
	case <-stopped:
		t.Error("Start returned with requests in flight")
	default:
	}
	close(holding.release)
	for range held {
		if err := <-replies; err != nil {
			t.Errorf("a callback in flight: %v", err)
		}
	}
	<-stopped
}

// holdingGroups keeps requests in flight.
type holdingGroups struct {
	entered chan struct{}
	release chan struct{}
}

func (h *holdingGroups) GroupFull(policy.Object, string) {
	h.entered <- struct{}{}
	<-h.release
}

func heldCallback(t *testing.T, url string) error {
	client := &http.Client{Transport: new(http.Transport), Timeout: listening}
	defer client.CloseIdleConnections()
	response, err := client.Post(url+Path+"?"+signed(query(fullCommand)), "", strings.NewReader(fullBody(group)))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !response.Close {
		return errors.New("answered " + response.Status + ", or not for the last time on its connection")
	}
	return nil
}

// TestIdleConnectionsOutliveDrain: a callback may be on its way when the server closes its connection.
func TestIdleConnectionsOutliveDrain(t *testing.T) {
	g := startGate(t, members("jared"))
	conn := dial(t, g)
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for i, wantClose := range []bool{false, true} {
		writeAll(t, conn, rawRequest(signed(query(applyCommand)), applyBody("jared")))
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if got := readReply(t, response); got.shape() != "200 OK 0" || response.Close != wantClose {
			t.Errorf("request %d: got %s, close %v, want close %v", i, got.shape(), response.Close, wantClose)
		}
		g.server.Drain()
	}
	if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is still open after its last answer: %v", err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(listening)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %v for: %s", listening, what)
		case <-tick.C:
		}
	}
}
