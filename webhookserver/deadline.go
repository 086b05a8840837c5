package webhookserver

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// timedListener hands out connections whose deadlines cost little.
//
// net/http moves the deadlines of a connection eight times a request, and each
// time the runtime reads the clock and changes a timer: together about 8 % of
// what a callback costs. Yet hardly ever is there somebody who would wait for
// them: the request has arrived in one piece, and its answer fits the buffers
// of the kernel.
//
// A connection on which requests are seconds apart pays for that: it is woken
// up once by a deadline of the request before.
type timedListener struct{ net.Listener }

// Accept wraps TCP connections; what else a listener may have is left alone.
func (l timedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return newTimedConn(tcp), nil
	}
	return conn, err
}

// timedConn is a connection that is told a deadline only when somebody reads
// or writes, and only when the one it has been told would come too late. One
// that comes too early does no harm: whoever wakes up by it finds out, passes
// on the right one, and waits again. So Read and Write end exactly when they
// would without all this. One goroutine writes at a time, as net/http and
// crypto/tls see to: a Write that had to wait again could let another one in
// between.
//
// It embeds the interface and not *net.TCPConn, so that nothing else of that
// (ReadFrom, SyscallConn) goes past it; of what net/http looks for, CloseWrite
// is the rest.
type timedConn struct {
	net.Conn
	closeWrite  func() error
	read, write deadline
}

func newTimedConn(tcp *net.TCPConn) *timedConn {
	return &timedConn{
		Conn:       tcp,
		closeWrite: tcp.CloseWrite,
		read:       deadline{tell: tcp.SetReadDeadline},
		write:      deadline{tell: tcp.SetWriteDeadline},
	}
}

// Read implements [net.Conn].
func (c *timedConn) Read(p []byte) (int, error) {
	if err := c.read.begin(); err != nil {
		return 0, err
	}
	for {
		n, err := c.Conn.Read(p)
		if !c.read.tooEarly(err) {
			return n, err
		}
	}
}

// Write implements [net.Conn].
func (c *timedConn) Write(p []byte) (written int, err error) {
	if err := c.write.begin(); err != nil {
		return 0, err
	}
	for {
		n, err := c.Conn.Write(p[written:])
		written += n
		if !c.write.tooEarly(err) {
			return written, err
		}
	}
}

// SetReadDeadline implements [net.Conn].
func (c *timedConn) SetReadDeadline(t time.Time) error { return c.read.set(t) }

// SetWriteDeadline implements [net.Conn].
func (c *timedConn) SetWriteDeadline(t time.Time) error { return c.write.set(t) }

// SetDeadline implements [net.Conn].
func (c *timedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.read.set(t), c.write.set(t))
}

// CloseWrite tells the peer that nothing more comes.
func (c *timedConn) CloseWrite() error { return c.closeWrite() }

// deadline is one of the two of a connection. The zero time is none.
type deadline struct {
	mu      sync.Mutex
	wanted  time.Time
	told    time.Time // what the connection knows: never after wanted while somebody waits
	expired bool      // the connection refuses to wait, until it is told another one; knowing that saves a vain try
	waiting int       // how many read, or write
	tell    func(time.Time) error
}

// set takes a new deadline. Who waits already must not wait beyond it.
func (d *deadline) set(t time.Time) (err error) {
	d.mu.Lock()
	d.wanted = t
	if d.waiting > 0 && d.late() {
		err = d.pass()
	}
	d.mu.Unlock()
	return err
}

// begin is called before somebody may wait. The caller must call tooEarly when
// the wait is over, unless there is an error: then the deadline has passed.
func (d *deadline) begin() (err error) {
	d.mu.Lock()
	if d.expired || d.late() {
		// net/http ends a read of its own with a deadline in the past; most
		// times that is known before the read begins.
		if d.passed() {
			err = os.ErrDeadlineExceeded
		} else {
			err = d.pass()
		}
	}
	if err == nil {
		d.waiting++
	}
	d.mu.Unlock()
	return err
}

// tooEarly is called with the error of what somebody waited for. It reports
// whether that was a deadline that is not wanted any more: then the connection
// knows the right one, and the caller must try again.
func (d *deadline) tooEarly(err error) bool {
	timeout := err != nil && errors.Is(err, os.ErrDeadlineExceeded)
	d.mu.Lock()
	again := timeout && !d.passed() && d.pass() == nil
	if !again {
		d.expired = d.expired || timeout
		d.waiting--
	}
	d.mu.Unlock()
	return again
}

// late reports whether the connection would wait beyond the deadline.
func (d *deadline) late() bool {
	return !d.wanted.IsZero() && (d.told.IsZero() || d.wanted.Before(d.told))
}

func (d *deadline) passed() bool {
	return !d.wanted.IsZero() && time.Until(d.wanted) <= 0
}

func (d *deadline) pass() error {
	d.told, d.expired = d.wanted, false
	return d.tell(d.wanted)
}
