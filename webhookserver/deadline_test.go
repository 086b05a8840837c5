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
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tellable is a connection that remembers what it was told, and answers reads and writes from a script.
type tellable struct {
	net.Conn
	script []func(p []byte) (int, error)
	told   []time.Time
}

func (c *tellable) Read(p []byte) (int, error)  { return c.next(p) }
func (c *tellable) Write(p []byte) (int, error) { return c.next(p) }

func (c *tellable) next(p []byte) (int, error) {
	step := c.script[0]
	c.script = c.script[1:]
	return step(p)
}

func (c *tellable) tell(t time.Time) error {
	c.told = append(c.told, t)
	return nil
}

func (c *tellable) timed() *timedConn {
	return &timedConn{Conn: c, read: deadline{tell: c.tell}, write: deadline{tell: c.tell}}
}

func moved(n int, err error) func([]byte) (int, error) {
	return func([]byte) (int, error) { return n, err }
}

// TestDeadlinesOfARequest goes through what net/http does to a connection while it serves requests that arrive in one piece.
func TestDeadlinesOfARequest(t *testing.T) {
	inner := &tellable{}
	conn := inner.timed()
	began := time.Now()
	const requests = 100
	for i := range requests {
		now := began.Add(time.Duration(i) * time.Microsecond)
		deadlines := func(set func(time.Time) error, all ...time.Time) {
			for _, deadline := range all {
				if err := set(deadline); err != nil {
					t.Fatal(err)
				}
			}
		}
		deadlines(conn.SetReadDeadline, now.Add(idleTimeout))
		inner.script = append(inner.script, moved(100, nil))
		if n, err := conn.Read(make([]byte, 100)); n != 100 || err != nil {
			t.Fatalf("read: %d, %v", n, err)
		}
		deadlines(conn.SetReadDeadline, now.Add(readHeaderTimeout), now.Add(readTimeout), time.Time{})
		deadlines(conn.SetWriteDeadline, now.Add(writeTimeout))
		inner.script = append(inner.script, moved(100, nil))
		if n, err := conn.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		// The read in the background, begun after it was called off.
		deadlines(conn.SetReadDeadline, time.Unix(1, 0))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a read that was called off: %v", err)
		}
		deadlines(conn.SetReadDeadline, time.Time{})
		deadlines(conn.SetWriteDeadline, time.Time{})
	}
	// Once for reading and once for writing: the next ones are all later.
	if got := len(inner.told); got != 2 {
		t.Errorf("the connection was told %d deadlines over %d requests: %v", got, requests, inner.told)
	}
}

// TestDeadlineThatComesTooEarly: who wakes up by one that is not wanted any more goes on waiting.
func TestDeadlineThatComesTooEarly(t *testing.T) {
	now := time.Now()
	later := now.Add(time.Hour)
	for name, wanted := range map[string]time.Time{"another": later, "none": {}} {
		t.Run(name, func(t *testing.T) {
			inner := &tellable{script: []func([]byte) (int, error){
				moved(0, nil),
				moved(0, os.ErrDeadlineExceeded),
				moved(3, nil),
			}}
			conn := inner.timed()
			_ = conn.SetReadDeadline(now.Add(time.Minute))
			_, _ = conn.Read(nil)
			_ = conn.SetReadDeadline(wanted)
			if n, err := conn.Read(nil); n != 3 || err != nil {
				t.Errorf("read %d, %v, want 3 and no error", n, err)
			}
			if got := inner.told[len(inner.told)-1]; !got.Equal(wanted) {
				t.Errorf("the connection was told %v at last, want %v", got, wanted)
			}
		})
	}
	t.Run("in the middle of an answer", func(t *testing.T) {
		var sent []byte
		take := func(n int, err error) func([]byte) (int, error) {
			return func(p []byte) (int, error) {
				sent = append(sent, p[:n]...)
				return n, err
			}
		}
		inner := &tellable{script: []func([]byte) (int, error){
			take(0, nil),
			take(2, os.ErrDeadlineExceeded),
			take(3, nil),
		}}
		conn := inner.timed()
		_ = conn.SetWriteDeadline(now.Add(time.Minute))
		_, _ = conn.Write(nil)
		_ = conn.SetWriteDeadline(later)
		if n, err := conn.Write([]byte("hello")); n != 5 || err != nil || string(sent) != "hello" {
			t.Errorf("wrote %d, %v, sent %q", n, err, sent)
		}
	})
	t.Run("other errors are passed on", func(t *testing.T) {
		inner := &tellable{script: []func([]byte) (int, error){moved(2, io.ErrUnexpectedEOF)}}
		if n, err := inner.timed().Read(nil); n != 2 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

// TestDeadlineInForce: whatever the order of calls, the connection is never left to wait beyond the deadline that is wanted, and one
// whose deadline has passed is told another before it waits again.
func TestDeadlineInForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var told time.Time
		fired := false // the connection's own: it fails every wait until told again
		d := deadline{tell: func(t time.Time) error {
			told, fired = t, false
			return nil
		}}
		now := time.Now()
		var wanted time.Time
		waiting := 0
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				wanted = rapid.SampledFrom([]time.Time{{}, time.Unix(1, 0), now.Add(time.Hour), now.Add(2 * time.Hour), now.Add(3 * time.Hour)}).Draw(t, "deadline")
				_ = d.set(wanted)
			},
			"begin": func(t *rapid.T) {
				if waiting > 0 {
					t.Skip("one waits")
				}
				passed := wanted.Equal(time.Unix(1, 0))
				switch err := d.begin(); {
				case err == nil:
					waiting++
				case !errors.Is(err, os.ErrDeadlineExceeded) || !passed:
					t.Fatalf("begin with deadline %v: %v", wanted, err)
				}
			},
			"end": func(t *rapid.T) {
				if waiting == 0 {
					t.Skip("nobody waits")
				}
				if d.tooEarly(nil) {
					t.Fatal("data came too early")
				}
				waiting--
			},
			"fire": func(t *rapid.T) {
				if waiting == 0 || told.IsZero() {
					t.Skip("there is nothing to fire")
				}
				fired = true
				again := d.tooEarly(os.ErrDeadlineExceeded)
				if again == wanted.Equal(time.Unix(1, 0)) {
					t.Fatalf("woken up by %v with deadline %v: again %t", told, wanted, again)
				}
				if !again {
					waiting--
				}
			},
			"": func(t *rapid.T) {
				if waiting == 0 {
					return
				}
				if fired {
					t.Fatal("somebody waits on a connection whose deadline has passed")
				}
				if !wanted.IsZero() && (told.IsZero() || told.After(wanted)) {
					t.Fatalf("the connection knows %v, while %v is wanted", told, wanted)
				}
			},
		})
	})
}

// TestTimeoutsOnTheWire: the timeouts of net/http are in force over connections of ours, with and without TLS over them.
func TestTimeoutsOnTheWire(t *testing.T) {
	// The standard library's test server has a certificate at hand, and clients that trust it.
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	defer lender.Close()
	trusting := lender.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusting.ServerName = "example.com"
	t.Run("http", func(t *testing.T) { testTimeouts(t, nil, nil) })
	t.Run("https", func(t *testing.T) { testTimeouts(t, lender.TLS, trusting) })
}

func testTimeouts(t *testing.T, certificate, trusting *tls.Config) {
	const short = time.Second // long enough for a busy machine to answer in time
	serve := func(t *testing.T, adjust func(*http.Server)) net.Conn {
		t.Helper()
		tcp, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var listener net.Listener = timedListener{tcp}
		if certificate != nil {
			listener = tls.NewListener(listener, &tls.Config{Certificates: certificate.Certificates})
		}
		g := newGate(t, members("jared"))
		server := g.server.httpServer()
		adjust(server)
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(listener) }() // ends with Close
		t.Cleanup(func() {
			_ = server.Close()
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: %v", err)
			}
		})
		g.url = "http://" + tcp.Addr().String()
		var conn net.Conn = dial(t, g)
		if trusting != nil {
			conn = tls.Client(conn, trusting)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	answered := func(t *testing.T, conn net.Conn, reader *bufio.Reader) {
		t.Helper()
		writeAll(t, conn, rawRequest(signed(query(applyCommand)), applyBody("jared")))
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, response); got.shape() != "200 OK 0" {
			t.Fatalf("got %s", got.shape())
		}
	}
	closed := func(t *testing.T, reader *bufio.Reader) {
		t.Helper()
		// The answer to a request that was cut off may come first.
		if _, err := io.Copy(io.Discard, reader); err != nil {
			t.Errorf("the connection was not closed: %v", err)
		}
	}
	for name, tc := range map[string]struct {
		adjust func(*http.Server)
		rest   string // what is sent after one whole request, and never completed
	}{
		"headers":          {func(s *http.Server) { s.ReadHeaderTimeout = short }, "POST /callback HTTP/1.1\r\nHost:"},
		"body":             {func(s *http.Server) { s.ReadTimeout = short }, "POST /callback?" + signed(query(applyCommand)) + " HTTP/1.1\r\nHost: gate\r\nContent-Length: 9\r\n\r\n{"},
		"the next request": {func(s *http.Server) { s.IdleTimeout = short }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := serve(t, tc.adjust)
			reader := bufio.NewReader(conn)
			answered(t, conn, reader)
			answered(t, conn, reader)
			writeAll(t, conn, tc.rest)
			closed(t, reader)
		})
	}
	t.Run("an answer that nobody reads", func(t *testing.T) {
		t.Parallel()
		written := make(chan error, 1)
		conn := serve(t, func(s *http.Server) {
			s.WriteTimeout = short
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, err := w.Write(make([]byte, 64<<20)) // more than any buffer of the kernel
				written <- err
			})
		})
		writeAll(t, conn, rawRequest(signed(query(applyCommand)), applyBody("jared")))
		select {
		case err := <-written:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("written with %v", err)
			}
		case <-time.After(listening):
			t.Error("the server still waits for somebody to read its answer")
		}
	})
	t.Run("a short one does not outlive its request", func(t *testing.T) {
		t.Parallel()
		conn := serve(t, func(s *http.Server) { s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout = short, short, short })
		reader := bufio.NewReader(conn)
		answered(t, conn, reader)
		ctx, cancel := context.WithTimeout(t.Context(), 2*short)
		defer cancel()
		<-ctx.Done()
		answered(t, conn, reader)
	})
}

// TestTheRestOfAConnection: what net/http and Hijack ask of a connection besides reads and writes reaches it.
func TestTheRestOfAConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := timedListener{listener}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline of both: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write after the deadline of both: %v", err)
	}

	// The peer reads the end while its own direction is still open.
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the peer reads %d, %v, want the end", n, err)
	}
	if _, err := client.Write([]byte("y")); err != nil {
		t.Errorf("the peer writes: %v", err)
	}
	_ = conn.SetDeadline(time.Time{})
	if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("reads %d, %v from a peer that was told the end", n, err)
	}
}
