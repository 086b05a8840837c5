package webhookserver

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// overBoth runs a test over plain HTTP and over TLS.
func overBoth(t *testing.T, test func(t *testing.T, start func(...func(*Server)) *client)) {
	t.Helper()
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(lender.Close)
	certificate := lender.TLS.Certificates[0]
	trusting := lender.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusting.ServerName = "example.com"
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": trusting} {
		t.Run(name, func(t *testing.T) {
			test(t, func(adjust ...func(*Server)) *client {
				input := members("jared")
				unsigned := theApp()
				unsigned.Object, unsigned.SDKAppID = object("unsigned"), appID+1
				unsigned.Authentication, unsigned.Tokens = policy.AuthenticateNone, nil
				input.Apps = append(input.Apps, unsigned)
				g := startGate(t, input, append([]func(*Server){func(s *Server) {
					if config != nil {
						s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
					}
				}}, adjust...)...)
				_, address, _ := strings.Cut(g.url, "://")
				return &client{gate: g, address: address, tls: config}
			})
		})
	}
}

// client opens connections to a gate.
type client struct {
	*gate
	address string
	tls     *tls.Config
}

// line is one connection.
type line struct {
	net.Conn
	reader *bufio.Reader
}

// raw connects from an address of loopback, without a handshake.
func (c *client) raw(t *testing.T, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", c.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(listening)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func (c *client) dial(t *testing.T) *line { t.Helper(); return c.dialFrom(t, "127.0.0.1") }

func (c *client) dialFrom(t *testing.T, from string) *line {
	t.Helper()
	conn := c.raw(t, from)
	if c.tls != nil {
		conn = tls.Client(conn, c.tls)
	}
	return &line{conn, bufio.NewReader(conn)}
}

// ask sends a request and returns the answer's shape, and whether the connection closes.
func (l *line) ask(t *testing.T, query, body string) (shape string, closes bool) {
	t.Helper()
	writeAll(t, l, rawRequest(query, body))
	response, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return readReply(t, response).shape(), response.Close
}

// verify makes the connection a verified one.
func (l *line) verify(t *testing.T, second int) {
	t.Helper()
	shape, closes := l.ask(t, signedAt(second), applyBody("jared"))
	if shape != "200 OK 0" || closes {
		t.Fatalf("got %s, closes %v", shape, closes)
	}
}

// signedAt is a query signed in another second of the window.
func signedAt(second int) string {
	return signedBy(token, wallClock.Add(time.Duration(second-30)*time.Second), query(applyCommand))
}

// open reports whether the server has kept the connection open: it answers.
func (l *line) open(t *testing.T) bool {
	t.Helper()
	if _, err := io.WriteString(l, rawRequest(signedAt(59), applyBody("jared"))); err != nil {
		return false
	}
	response, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return false
	}
	readReply(t, response)
	return true
}

func (g *gate) openConnections(t *testing.T) (verified, unverified float64) {
	t.Helper()
	return g.count(t, "callback_connections", "verified"), g.count(t, "callback_connections", "unverified")
}

func limitedTo(n int) func(*Server) { return func(s *Server) { s.MaxConnections = n } }

// TestOnlyVerifiedConnectionsStayOpen: connections of strangers used to stay open for ten minutes.
func TestOnlyVerifiedConnectionsStayOpen(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		c := start()
		requests := map[string]struct {
			request string
			shape   string
		}{
			"another path": {strings.Replace(rawRequest(signedAt(0), applyBody("jared")), Path, "/", 1), "404 FAIL 1"},
			"GET":          {"GET " + Path + " HTTP/1.1\r\nHost: gate\r\n\r\n", "405 FAIL 1"},
			"no app":       {rawRequest("", applyBody("jared")), "403 FAIL 1"},
			"unknown app":  {rawRequest(signed(of(7, query(applyCommand))), applyBody("jared")), "403 FAIL 1"},
			"unsigned":     {rawRequest(query(applyCommand), applyBody("jared")), "401 FAIL 1"},
			"wrong token": {rawRequest(signedBy("another", wallClock, query(applyCommand)), applyBody("jared")),
				"401 FAIL 1"},
			"unsigned app": {rawRequest(signed(of(1, query(applyCommand))), applyBody("jared")), "200 OK 0"},
		}
		kept := c.dial(t)
		kept.verify(t, 0)
		for name, tc := range requests {
			for _, on := range []struct {
				*line
				closes bool
			}{{c.dial(t), true}, {kept, false}} {
				writeAll(t, on, tc.request)
				response, err := http.ReadResponse(on.reader, nil)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if shape := readReply(t, response).shape(); shape != tc.shape || response.Close != on.closes {
					t.Errorf("%s: got %s, closes %v; want %s, %v", name, shape, response.Close, tc.shape, on.closes)
				}
				if !on.closes {
					continue
				}
				if _, err := on.reader.ReadByte(); !errors.Is(err, io.EOF) {
					t.Errorf("%s: the connection stays open: %v", name, err)
				}
			}
		}
		if !kept.open(t) {
			t.Error("the verified connection was closed")
		}
		eventually(t, "only the verified connection to be left", func() bool {
			verified, unverified := c.openConnections(t)
			return verified == 1 && unverified == 0
		})
	})
}

// TestStrangersSendLittle: parts of large messages of TLS, which are not even a handshake yet, used to take 90 KB each.
func TestStrangersSendLittle(t *testing.T) {
	near, far := net.Pipe()
	c := newConnections(0, NewMetrics(nil)).accept(near)
	defer c.Close()
	go func() { _, _ = io.Copy(far, endless{}) }() // ends with c
	if n, err := io.Copy(io.Discard, c); n != maxUnauthenticated || !errors.Is(err, errTooMuch) {
		t.Errorf("read %d bytes: %v", n, err)
	}
	c.authenticated.Store(true)
	if _, err := io.CopyN(io.Discard, c, maxUnauthenticated); err != nil {
		t.Errorf("once authenticated: %v", err)
	}
}

// endless is the content of a body that has no end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestLargeFirstCallbacks: what is authenticated by its headers may be large.
func TestLargeFirstCallbacks(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		c := start()
		body := applyBody("jared")
		body += strings.Repeat(" ", maxBody-len(body))
		header := "x=" + strings.Repeat("x", 15<<10) + "&"
		for name, query := range map[string]string{
			"signed": header + signedAt(0), "unsigned app": header + of(1, query(applyCommand)),
		} {
			if shape, _ := c.dial(t).ask(t, query, body); shape != "200 OK 0" {
				t.Errorf("%s: got %s", name, shape)
			}
		}
	})
}

// halfABody is a request whose body does not arrive.
func halfABody(query string) string {
	return "POST " + Path + "?" + query + " HTTP/1.1\r\nHost: gate\r\nContent-Length: 400000\r\n\r\n" +
		strings.Repeat(" ", 8<<10)
}

// TestStrangersMakeWay: more connections than the limit, silent or in the middle of a request, must not keep callbacks
// from being answered.
func TestStrangersMakeWay(t *testing.T) {
	const limit = 20
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		for name, send := range map[string]string{
			"silent":                "",
			"half a request":        "POST " + Path + "?" + query(applyCommand) + " HTTP/1.1\r\nHost:",
			"half a body":           halfABody(signedAt(0)),
			"half an unsigned body": halfABody(of(1, query(applyCommand))),
		} {
			t.Run(name, func(t *testing.T) {
				c := start(limitedTo(limit))
				kept := c.dial(t)
				kept.verify(t, 1)
				for range 2 * limit {
					stranger := c.raw(t, "127.0.0.2")
					if send == "" {
						continue
					}
					if c.tls != nil {
						stranger = tls.Client(stranger, c.tls)
					}
					_, _ = io.WriteString(stranger, send) // it may have made way already
				}
				for second := range 8 {
					shape, closes := kept.ask(t, signedAt(2+second), applyBody("mallory"))
					if shape != "200 OK 10110" || closes {
						t.Fatalf("on a kept connection: %s, closes %v", shape, closes)
					}
					fresh := c.dial(t)
					fresh.verify(t, 2+second)
					if verified, unverified := c.openConnections(t); verified+unverified > limit {
						t.Errorf("%v and %v connections, want at most %d in all", verified, unverified, limit)
					}
					_ = fresh.Close()
				}
				if got := c.count(t, "callback_connections_evicted_total", "verified"); got != 0 {
					t.Errorf("%v verified connections made way", got)
				}
			})
		}
	})
}

// TestOneSignVerifiesSixteenConnections: a signature may have been captured.
func TestOneSignVerifiesSixteenConnections(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		c := start()
		for second := range 2 {
			for i := range maxVerifiedBySign + 4 {
				query := signedAt(second)
				if i%2 == 1 { // the same signature in another case
					before, rest, _ := strings.Cut(query, "&Sign=")
					query = before + "&Sign=" + strings.ToUpper(rest[:64]) + rest[64:]
				}
				shape, closes := c.dial(t).ask(t, query, applyBody("jared"))
				if want := i >= maxVerifiedBySign; shape != "200 OK 0" || closes != want {
					t.Errorf("connection %d: got %s, closes %v, want %v", i, shape, closes, want)
				}
			}
		}
		eventually(t, "the others to be closed", func() bool {
			verified, unverified := c.openConnections(t)
			return verified == 2*maxVerifiedBySign && unverified == 0
		})
	})
}

// TestSignsAreForgottenWithTheirWindow: memory of signatures is bounded by the window.
func TestSignsAreForgottenWithTheirWindow(t *testing.T) {
	all := newConnections(10_000, NewMetrics(nil))
	for second := range 1000 {
		now := wallClock.Add(time.Duration(second) * time.Second)
		near, far := net.Pipe()
		defer far.Close()
		c := all.accept(near)
		c.verify(signature{appID, now.Unix()}, now)
		if !c.verified {
			t.Fatal("not verified")
		}
		_ = c.Close()
	}
	if n := len(all.signs); n > 180 {
		t.Errorf("%d signatures are remembered", n)
	}
}

// TestTheVerifiedConnectionThatIdledLongestMakesWay, when all are verified.
func TestTheVerifiedConnectionThatIdledLongestMakesWay(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		var all *connections
		c := start(limitedTo(3), func(s *Server) { s.made = func(made *connections) { all = made } })
		allIdle := func() bool {
			all.mu.Lock()
			defer all.mu.Unlock()
			for c := range all.verified {
				if c.idle.Load() == 0 {
					return false
				}
			}
			return true
		}
		var lines []*line
		for i := range 3 {
			l := c.dial(t)
			l.verify(t, i)
			eventually(t, "it to idle", allIdle)
			lines = append(lines, l)
		}
		// The first one is used again, so that the second one is the one that idles.
		lines[0].verify(t, 3)
		eventually(t, "it to idle", allIdle)
		c.dial(t).verify(t, 4)
		if got := c.count(t, "callback_connections_evicted_total", "verified"); got != 1 {
			t.Errorf("%v verified connections made way, want 1", got)
		}
		for i, want := range []bool{true, false, true} {
			if got := lines[i].open(t); got != want {
				t.Errorf("connection %d: open %v, want %v", i, got, want)
			}
		}
	})
}

// TestFamiliarAddressesComeFirst: strangers that connect faster than the vendor completes its handshake would otherwise
// close every fresh connection of the vendor.
func TestFamiliarAddressesComeFirst(t *testing.T) {
	const limit = 32
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		c := start(limitedTo(limit))
		for second := range 2 {
			verified := c.dialFrom(t, "127.0.0.3")
			verified.verify(t, second)
			_ = verified.Close()
		}
		eventually(t, "it to be closed", func() bool { n, _ := c.openConnections(t); return n == 0 })

		slow := &line{Conn: c.raw(t, "127.0.0.3")}
		for range 4 * limit {
			c.raw(t, "127.0.0.2")
		}
		eventually(t, "the strangers to make way for each other", func() bool {
			return c.count(t, "callback_connections_evicted_total", "unverified") >= 3*limit
		})
		if c.tls != nil {
			slow.Conn = tls.Client(slow.Conn, c.tls)
		}
		slow.reader = bufio.NewReader(slow.Conn)
		slow.verify(t, 2)
	})
}

// TestOneSignMakesNoAddressFamiliar: its owner, who may have captured it, could take all turns of the vendor's.
func TestOneSignMakesNoAddressFamiliar(t *testing.T) {
	all := newConnections(0, NewMetrics(nil))
	accept := func() *conn {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		return all.accept(near)
	}
	for second := range int64(2) {
		for range 2 {
			accept().verify(signature{appID, wallClock.Unix() + second}, wallClock)
			if got, want := accept().familiar, second > 0; got != want {
				t.Errorf("after %d Signs: familiar %v, want %v", second+1, got, want)
			}
		}
	}
}

// TestHandshakesThatWaitDoNotMakeWay: behind a load balancer that hides addresses, strangers that make way come again
// at once, and a callback would find its turn among them as rarely as any of them.
func TestHandshakesThatWaitDoNotMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newConnections(8, NewMetrics(nil))
		all.handshakes = newHandshakes(1)
		accept := func() *conn {
			near, far := net.Pipe()
			t.Cleanup(func() { _ = far.Close() })
			return all.accept(near)
		}
		var shaking []*conn
		for range 7 {
			c := accept()
			shaking = append(shaking, c)
			go func() { _ = all.handshakes.begin(c) }() // ends when the test closes c
			synctest.Wait()
		}
		last := accept()
		all.mu.Lock()
		for i, c := range shaking {
			if working := i == 0; c.closed != working {
				t.Errorf("connection %d has made way: %v, want only the one whose turn it was", i, c.closed)
			}
		}
		all.mu.Unlock()
		for _, c := range append(shaking, last) {
			_ = c.Close()
		}
		synctest.Wait()
	})
}

// TestAcceptWaitsForRoom, until a handshake has its turn, or until the listener is closed.
func TestAcceptWaitsForRoom(t *testing.T) {
	for _, wait := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			all := newConnections(1, NewMetrics(nil))
			all.handshakes = newHandshakes(0)
			inner := &pipes{accepts: make(chan net.Conn, 2)}
			listener := all.listen(inner)
			for range 2 {
				near, far := net.Pipe()
				t.Cleanup(func() { _, _ = near.Close(), far.Close() })
				inner.accepts <- near
			}
			first, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = all.handshakes.begin(first.(*conn)) }() // ends with its patience
			synctest.Wait()
			ended := make(chan struct{})
			go func() { // ends with the listener
				defer close(ended)
				_, _ = listener.Accept()
			}()
			synctest.Wait()
			select {
			case <-ended:
				t.Error("a connection was accepted beyond the limit")
			default:
			}
			if wait {
				time.Sleep(readHeaderTimeout) //nolint:forbidigo // the clock of synctest
			} else {
				_ = listener.Close()
			}
			synctest.Wait()
			select {
			case <-ended:
			default:
				t.Error("no connection is accepted any more")
			}
			_ = first.Close()
			_ = listener.Close()
			<-ended
		})
	}
}

// pipes is a listener.
type pipes struct{ accepts chan net.Conn }

func (p *pipes) Accept() (net.Conn, error) { return <-p.accepts, nil }
func (p *pipes) Close() error              { return nil }
func (p *pipes) Addr() net.Addr            { return nil }

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// Callbacks with captured signatures must not fill the memory with addresses.
func TestFamiliarAddressesAreBounded(t *testing.T) {
	all := newConnections(0, NewMetrics(nil))
	for i := range 2 * maxFamiliar {
		near, far := net.Pipe()
		defer far.Close()
		c := all.accept(addressed{near, &net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i))}})
		c.verify(signature{appID, wallClock.Unix() + int64(i)}, wallClock)
		_ = c.Close()
	}
	if n := len(all.addresses); n > maxFamiliar {
		t.Errorf("%d addresses are remembered, want at most %d", n, maxFamiliar)
	}
}

// TestBooksBalance: whatever happens to connections, none is counted after its end, and no handshake keeps its slot.
func TestBooksBalance(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		var all *connections
		c := start(limitedTo(24), func(s *Server) { s.made = func(made *connections) { all = made } })
		partOfHello := []byte{22, 3, 1, 0, 200, 1, 0, 0, 196}
		var clients sync.WaitGroup
		for worker := range 8 {
			clients.Go(func() {
				from := fmt.Sprintf("127.0.0.%d", 2+worker%3)
				for i := range 40 {
					// Errors are those of connections that have made way.
					switch conn := c.raw(t, from); (i + worker) % 5 {
					case 0:
						_ = conn.Close()
					case 1:
						_, _ = conn.Write(partOfHello)
					case 2:
						secured := conn
						if c.tls != nil {
							secured = tls.Client(conn, c.tls)
						}
						_, _ = io.WriteString(secured, rawRequest(signedAt(i), applyBody("jared")))
						_, _ = secured.Read(make([]byte, 1))
					case 3:
						if c.tls != nil {
							_ = tls.Client(conn, c.tls).HandshakeContext(t.Context())
						}
					case 4:
						secured := conn
						if c.tls != nil {
							secured = tls.Client(conn, c.tls)
						}
						_, _ = io.WriteString(secured, "POST "+Path+"?"+signedAt(i)+
							" HTTP/1.1\r\nHost: gate\r\nContent-Length: 99\r\n\r\n{")
						_ = conn.Close()
					}
				}
			})
		}
		clients.Wait()
		c.stop()
		all.mu.Lock()
		defer all.mu.Unlock()
		n := all.opening.Len() + all.familiar.Len() + all.waiting.Len() + all.answering.Len() + len(all.verified)
		if n != 0 {
			t.Errorf("%d connections are on the books", n)
		}
		for from, a := range all.addresses {
			if a.verified != 0 {
				t.Errorf("%s: %d verified", from, a.verified)
			}
		}
		if verified, unverified := c.openConnections(t); verified != 0 || unverified != 0 {
			t.Errorf("counted as open: %v verified, %v unverified", verified, unverified)
		}
		h := &all.handshakes
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.free != runtime.GOMAXPROCS(0) || h.strangers.Len()+h.familiar.Len() != 0 {
			t.Errorf("%d free slots for handshakes, %d waiting", h.free, h.strangers.Len()+h.familiar.Len())
		}
	})
}
