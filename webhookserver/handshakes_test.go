package webhookserver

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// ending is how the wait of a connection ended.
type ending struct {
	conn *conn
	err  error
}

// waiting starts handshakes one after the other and returns how each ended, in the order in which they did.
func waiting(t *testing.T, h *handshakes, conns ...*conn) chan ending {
	t.Helper()
	ended := make(chan ending, len(conns))
	for _, c := range conns {
		go func() { ended <- ending{c, h.begin(c)} }() // ends with the wait
		synctest.Wait()
	}
	return ended
}

func handshaking(all *connections, familiar bool) *conn {
	near, _ := net.Pipe()
	return &conn{Conn: near, all: all, familiar: familiar}
}

// TestHandshakesTakeTurns: those from familiar addresses come first, and the oldest of each. A connection that comes
// back all the time must not let another one starve.
func TestHandshakesTakeTurns(t *testing.T) {
	testTurns(t, 0, func(a, b, c, d *conn) []*conn { return []*conn{b, d, a, c} })
}

// TestTheNewestHandshakesComeFirstUnderOverload: otherwise only clients that have given up are served.
func TestTheNewestHandshakesComeFirstUnderOverload(t *testing.T) {
	testTurns(t, overloadedAfter, func(a, b, c, d *conn) []*conn { return []*conn{d, b, c, a} })
}

// testTurns lets four handshakes wait, of which b and d are from familiar addresses, and tests in which order they get
// their turn once the slot is free.
func testTurns(t *testing.T, freeAfter time.Duration, want func(a, b, c, d *conn) []*conn) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		all := newConnections(0, NewMetrics(nil))
		h := &all.handshakes
		*h = newHandshakes(1)
		first := handshaking(all, false)
		if err := h.begin(first); err != nil {
			t.Fatal(err)
		}
		a, b, c, d := handshaking(all, false), handshaking(all, true), handshaking(all, false), handshaking(all, true)
		ended := waiting(t, h, a, b, c, d)
		<-time.After(freeAfter)
		var order []*conn
		for current := first; len(order) < 4; {
			h.done(current)
			next := <-ended
			if next.err != nil {
				t.Errorf("a handshake failed: %v", next.err)
			}
			current = next.conn
			order = append(order, current)
		}
		if want := want(a, b, c, d); !slices.Equal(order, want) {
			t.Errorf("the order is wrong: %v, want %v", order, want)
		}
		h.done(order[3])
		h.done(order[3])
		if h.free != 1 {
			t.Errorf("%d free slots, want 1", h.free)
		}
	})
}

// TestRetriedHandshakesTakeTurns: a client whose first message has no usable key share must not get around the bound.
func TestRetriedHandshakesTakeTurns(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(...func(*Server)) *client) {
		signing := make(chan bool, 1)
		c := start(func(s *Server) {
			if s.TLS == nil {
				t.Skip("without TLS")
			}
			certificate := &s.TLS.Certificates[0]
			s.TLS = &tls.Config{
				CurvePreferences: []tls.CurveID{tls.CurveP384},
				GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
					signing <- hello.Conn.(*conn).working.Load()
					return certificate, nil
				},
			}
		})
		c.tls.CurvePreferences = []tls.CurveID{tls.CurveP256, tls.CurveP384} // with a key share for P-256 only
		l := c.dial(t)
		l.verify(t, 0)
		if state := l.Conn.(*tls.Conn).ConnectionState(); !state.HelloRetryRequest {
			t.Error("the client was not asked for another first message")
		}
		if !<-signing {
			t.Error("the handshake has no slot while its signature is computed")
		}
	})
}

// TestStrangersDoNotGetAllSlots: otherwise nothing is accepted while they shake hands.
func TestStrangersDoNotGetAllSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for processors, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 4} {
			all := newConnections(0, NewMetrics(nil))
			h := &all.handshakes
			*h = newHandshakes(processors)
			var strangers []*conn
			for range 10 {
				strangers = append(strangers, handshaking(all, false))
			}
			ended := waiting(t, h, strangers...)
			if got := len(ended); got != want {
				t.Errorf("%d processors: %d strangers at a time, want %d", processors, got, want)
			}
			for range processors - want {
				if err := h.begin(handshaking(all, true)); err != nil {
					t.Errorf("%d processors: a familiar address: %v", processors, err)
				}
			}
			if h.free != 0 {
				t.Errorf("%d processors: %d slots are left", processors, h.free)
			}
			for served := range strangers {
				next := <-ended
				if next.err != nil {
					t.Errorf("%d processors: stranger %d: %v", processors, served, next.err)
				}
				h.done(next.conn)
				synctest.Wait()
			}
		}
	})
}

// TestHandshakesDoNotWaitForEver: a client that has given up must not be served in the end.
func TestHandshakesDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newConnections(0, NewMetrics(nil))
		h := &all.handshakes
		h.free = 0 // others work
		patient, closed := handshaking(all, false), handshaking(all, true)
		ended := waiting(t, h, patient, closed)
		begun := time.Now()
		h.abandon(closed)
		if got := <-ended; got.conn != closed || !errors.Is(got.err, errClosed) {
			t.Errorf("the closed connection: %v", got.err)
		}
		if got := <-ended; got.conn != patient || !errors.Is(got.err, errBusy) {
			t.Errorf("the patient one: %v", got.err)
		}
		if waited := time.Since(begun); waited != readHeaderTimeout {
			t.Errorf("waited %v, want %v", waited, readHeaderTimeout)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if n := h.strangers.Len() + h.familiar.Len(); n != 0 {
			t.Errorf("%d are waiting", n)
		}
	})
}

// TestTurnsAreNotLostToTheNextConnection: a connection that gets its turn at last must not make way for the next one.
func TestTurnsAreNotLostToTheNextConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 16
		all := newConnections(limit, NewMetrics(nil))
		h := &all.handshakes
		h.free = 0 // others work
		accept := func() *conn {
			near, _ := net.Pipe()
			return all.accept(near)
		}
		var conns []*conn
		for range limit - limit/8 {
			conns = append(conns, accept())
		}
		ended := waiting(t, h, conns...)
		accepted := make(chan *conn, 1)
		go func() { accepted <- accept() }() // ends with the first turn
		synctest.Wait()
		if len(accepted) != 0 {
			t.Fatal("a connection that waits for its turn has made way")
		}
		other := handshaking(all, true)
		other.working.Store(true)
		h.done(other)
		lucky := <-ended
		synctest.Wait()
		if lucky.err != nil || lucky.conn.closed {
			t.Errorf("the connection that got its turn has made way: %v", lucky.err)
		}
		h.done(lucky.conn)
		for len(conns) > 1 {
			conns = conns[1:]
			h.done((<-ended).conn)
		}
	})
}
