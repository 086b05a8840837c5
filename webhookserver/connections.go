package webhookserver

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxConnections is the limit of open connections. Over TLS, each takes about 40 KB.
	DefaultMaxConnections = 4096
	// maxVerifiedBySign bounds the connections that one signature verifies: it may have been captured. The vendor signs
	// anew every second.
	maxVerifiedBySign = 16
	// lately is how long an address stays familiar after its last verified connection, and maxFamiliar bounds how many
	// addresses do.
	lately      = time.Hour
	maxFamiliar = 1024
	// maxUnauthenticated bounds what a client may send before one of its callbacks is authenticated: a first message of
	// TLS and full headers, in whole records. crypto/tls would take messages of 64 KiB, and twice the memory for them.
	maxUnauthenticated = 32 << 10
)

var errTooMuch = errors.New("too many bytes without an authenticated callback")

// connections are those that are open. The vendor lets a user in when it cannot connect or loses its connection, so
// that strangers must not be able to use up the connections, or the memory that they take.
//
// A connection is verified once a callback on it has carried a right Sign. Only a verified one is kept open after an
// answer. When the limit is reached, one makes way for the next:
//
//   - an unverified one, the oldest first, and last those from familiar addresses, which lately held a verified one
//     and have sent more than one Sign;
//   - the verified one that has been idle for longest, if (nearly) all are verified.
//
// A connection from a familiar address that waits for its turn in handshakes does not make way. Where strangers have
// the address of the vendor, behind a load balancer that hides addresses, those that make way only come again, and the
// vendor's would find a turn as rarely as any of them. If all connections wait so, the next one waits to be accepted.
//
// A lock is taken for a new connection, for its first request, for its verification and for its end, never for a
// callback on a verified one.
type connections struct {
	limit      int
	begun      time.Time
	metrics    *Metrics
	handshakes handshakes

	mu   sync.Mutex
	room sync.Cond // signalled when there may be room for another one
	// The unverified ones: those that have not sent a request yet, apart those from familiar addresses, and of these
	// those that wait for their turn; and those whose only request is being answered. The oldest come first.
	opening, familiar, waiting, answering list.List
	verified                              map[*conn]struct{}
	accepted                              uint64
	ended                                 bool // nothing more is accepted
	// signs counts the connections that each signature has verified, while it is valid.
	signs     map[signature]int
	forgotten time.Time // when signs was last rid of old ones
	addresses map[netip.Addr]*address
}

// signature is a right Sign: that of an app for a second.
type signature struct {
	app         uint64
	requestTime int64
}

// address is one that holds a verified connection or lately did.
type address struct {
	verified int // connections
	last     time.Time
	// first is the Sign that came from it first, and more says that there was another one. The owner of one that was
	// captured is not preferred.
	first signature
	more  bool
}

// conn is an accepted connection.
type conn struct {
	net.Conn
	all  *connections
	from netip.Addr

	// verified belongs to the goroutine that serves the connection.
	verified bool
	// authenticated says that a callback on the connection was authenticated. Until then received is how many bytes
	// have come; it belongs to the reader.
	authenticated atomic.Bool
	received      int
	// idle is when the last answer was sent, since connections.begun; 0 while a request is being answered.
	idle atomic.Int64
	// working says that the connection has a slot of handshakes.
	working atomic.Bool
	// familiar never changes.
	familiar bool
	waiter   *waiter // guarded by handshakes.mu; nil if it does not wait

	// The rest is guarded by all.mu.
	number uint64 // in the order of acceptance
	closed bool
	queue  *list.List // that has the connection; nil if it is verified or closed
	place  *list.Element
}

func newConnections(limit int, metrics *Metrics) *connections {
	if limit <= 0 {
		limit = DefaultMaxConnections
	}
	s := &connections{
		limit: limit, begun: time.Now(), metrics: metrics,
		handshakes: newHandshakes(runtime.GOMAXPROCS(0)),
		verified:   map[*conn]struct{}{}, signs: map[signature]int{}, addresses: map[netip.Addr]*address{},
	}
	s.room.L = &s.mu
	return s
}

// listen returns a listener whose connections are limited.
func (s *connections) listen(inner net.Listener) net.Listener { return &listener{inner, s} }

type listener struct {
	net.Listener
	all *connections
}

func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.all.accept(accepted), nil
}

// Close implements net.Listener. Accept does not wait for room any more.
func (l *listener) Close() error {
	l.all.mu.Lock()
	l.all.ended = true
	l.all.mu.Unlock()
	l.all.room.Broadcast()
	return l.Listener.Close()
}

// configure makes a server report what becomes of its connections.
func (s *connections) configure(server *http.Server) {
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, tracked(c))
	}
	server.ConnState = s.changed
	// Without a certificate ServeTLS must fail, which it does not if GetConfigForClient is set.
	if c := server.TLSConfig; c != nil && (c.GetCertificate != nil || len(c.Certificates) > 0) {
		c.GetConfigForClient = s.handshakes.admit
		c.GetCertificate = s.handshakes.readmit(c.GetCertificate)
	}
}

type connKey struct{}

// connOf returns the connection of a request, nil if it came by none that is tracked.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

func tracked(c net.Conn) *conn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	t, _ := c.(*conn)
	return t
}

func (s *connections) accept(accepted net.Conn) *conn {
	c := &conn{Conn: accepted, all: s}
	if remote, ok := accepted.RemoteAddr().(*net.TCPAddr); ok {
		c.from = remote.AddrPort().Addr().Unmap()
	}
	s.mu.Lock()
	victim, full := s.victim()
	for ; full && victim == nil && !s.ended; victim, full = s.victim() {
		s.room.Wait()
	}
	if victim != nil {
		s.metrics.evicted(victim.queue == nil)
		s.forget(victim)
	}
	s.accepted++
	c.number, c.familiar = s.accepted, s.isFamiliar(c.from)
	if c.familiar {
		s.move(c, &s.familiar)
	} else {
		s.move(c, &s.opening)
	}
	s.metrics.unverifiedConnections.Inc()
	s.mu.Unlock()
	if victim != nil {
		_ = victim.Close() // it is off the books whatever comes
	}
	return c
}

// isFamiliar reports whether an address lately held a verified connection, and verified them with more than one Sign.
// Before the first one all are equal.
func (s *connections) isFamiliar(from netip.Addr) bool {
	a := s.addresses[from]
	return len(s.addresses) == 0 || a != nil && a.more && (a.verified > 0 || time.Since(a.last) < lately)
}

// victim is the connection that makes way for a new one, and whether there is no room without that. An eighth of the
// places is for connections that have sent a request, so that handshakes do not take all of them.
func (s *connections) victim() (c *conn, full bool) {
	opening := s.opening.Len() + s.familiar.Len() + s.waiting.Len()
	unverified := opening + s.answering.Len()
	switch {
	case unverified+len(s.verified) >= s.limit:
		// A sixteenth of the places stays for new connections, so that they have time for their first callback.
		if unverified > s.limit/16 || len(s.verified) == 0 {
			return s.oldest(&s.opening, &s.answering), true
		}
		return s.idleLongest(), true
	case opening >= max(1, s.limit-s.limit/8):
		return s.oldest(&s.opening), true
	}
	return nil, false
}

// oldest is that of some queues, and of those from familiar addresses if these are empty; nil if all others wait for
// their turn. A sixteenth of the places stays for those that have had their turn, so that they have time for their
// first callback: the next connection would otherwise end each handshake as soon as it goes on.
func (s *connections) oldest(queues ...*list.List) *conn {
	var oldest *conn
	for _, queue := range queues {
		if front := queue.Front(); front != nil {
			if c := front.Value.(*conn); oldest == nil || c.number < oldest.number {
				oldest = c
			}
		}
	}
	if front := s.familiar.Front(); oldest == nil && s.familiar.Len() > s.limit/16 {
		oldest = front.Value.(*conn)
	}
	return oldest
}

// idleLongest is the verified connection that sent its last answer first. One that is sending an answer is taken only
// if all are.
func (s *connections) idleLongest() *conn {
	var longest *conn
	var since int64
	for c := range s.verified {
		if idle := c.idle.Load(); longest == nil || idle > 0 && (since == 0 || idle < since) {
			longest, since = c, idle
		}
	}
	return longest
}

// forget takes a connection off the books.
func (s *connections) forget(c *conn) {
	switch {
	case c.closed:
	case c.queue != nil:
		s.leave(c)
		s.metrics.unverifiedConnections.Dec()
	default:
		delete(s.verified, c)
		s.metrics.verifiedConnections.Dec()
		if a := s.addresses[c.from]; a != nil {
			a.verified--
			a.last = time.Now()
		}
	}
	c.closed = true
	s.room.Signal()
}

// leave takes an unverified connection off its queue.
func (s *connections) leave(c *conn) {
	c.queue.Remove(c.place)
	c.queue = nil
}

// move puts an unverified connection at the end of another queue.
func (s *connections) move(c *conn, to *list.List) {
	if c.queue != nil {
		s.leave(c)
	}
	c.queue, c.place = to, to.PushBack(c)
	s.room.Signal()
}

// waits says whether a connection waits for its turn in handshakes.
func (s *connections) waits(c *conn, waits bool) {
	if !c.familiar {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.closed:
	case waits:
		s.move(c, &s.waiting)
	default:
		s.move(c, &s.familiar)
	}
}

// changed is a server's ConnState.
func (s *connections) changed(of net.Conn, state http.ConnState) {
	c := tracked(of)
	switch {
	case c == nil:
	case state == http.StateActive && !c.verified:
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.queue != nil {
			s.move(c, &s.answering)
		}
	case state == http.StateActive:
		c.idle.Store(0)
	case state == http.StateIdle:
		c.idle.Store(int64(time.Since(s.begun)))
	}
}

// verify records that a callback with a right Sign came on the connection. The connection stays unverified if the same
// Sign has verified as many as it may.
func (c *conn) verify(by signature, now time.Time) {
	s := c.all
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.queue == nil || s.signs[by] >= maxVerifiedBySign {
		return
	}
	if now.Sub(s.forgotten).Abs() > window {
		s.forgotten = now
		for sign := range s.signs {
			if now.Unix()-sign.requestTime > int64(window/time.Second)+1 {
				delete(s.signs, sign)
			}
		}
	}
	s.signs[by]++
	s.leave(c)
	c.verified = true
	s.verified[c] = struct{}{}
	a := s.addresses[c.from]
	if a == nil {
		s.forgetAddress()
		a = &address{first: by}
		s.addresses[c.from] = a
	}
	a.more = a.more || a.first != by
	a.verified++
	a.last = time.Now()
	s.metrics.unverifiedConnections.Dec()
	s.metrics.verifiedConnections.Inc()
}

// forgetAddress makes room for another address.
func (s *connections) forgetAddress() {
	if len(s.addresses) < maxFamiliar {
		return
	}
	var oldest netip.Addr
	var last time.Time
	for from, a := range s.addresses {
		if a.verified == 0 && (last.IsZero() || a.last.Before(last)) {
			oldest, last = from, a.last
		}
	}
	delete(s.addresses, oldest)
}

// Read fails beyond maxUnauthenticated, until a callback is authenticated.
func (c *conn) Read(p []byte) (int, error) {
	if c.authenticated.Load() {
		return c.Conn.Read(p)
	}
	if c.received == maxUnauthenticated {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(len(p), maxUnauthenticated-c.received)])
	c.received += n
	return n, err
}

// Write ends the work on a handshake: its first flight is written when all of it is done.
func (c *conn) Write(p []byte) (int, error) {
	c.all.handshakes.done(c)
	return c.Conn.Write(p)
}

// Close implements net.Conn. Closing what is below TLS waits for nothing.
func (c *conn) Close() error {
	c.all.mu.Lock()
	c.all.forget(c)
	c.all.mu.Unlock()
	c.all.handshakes.abandon(c)
	return c.Conn.Close()
}

// CloseWrite is what net/http asks of a connection whose request it has not read to the end, so that the answer
// arrives.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
