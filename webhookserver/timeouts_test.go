package webhookserver

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

func TestTimeouts(t *testing.T) {
	server, _ := newGate(t, nil).server.httpServer()
	for name, tc := range map[string]struct{ got, want time.Duration }{
		"ReadHeaderTimeout": {server.ReadHeaderTimeout, 2 * time.Second},
		"ReadTimeout":       {server.ReadTimeout, 3 * time.Second},
		"WriteTimeout":      {server.WriteTimeout, 3 * time.Second},
		"IdleTimeout":       {server.IdleTimeout, 10 * time.Minute},
	} {
		if tc.got != tc.want {
			t.Errorf("%s is %v, want %v", name, tc.got, tc.want)
		}
	}
}

// serveShort serves with one timeout shortened, and returns a connection to the server.
func serveShort(t *testing.T, shorten func(*http.Server)) net.Conn {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, members("jared"))
	server, all := g.server.httpServer()
	shorten(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(all.listen(listener)) }() // ends with Close
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	g.url = "http://" + listener.Addr().String()
	conn := dial(t, g)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

const shortTimeout = time.Second // long enough for a busy machine to answer in time

// TestSlowClientsAreDisconnected sends two callbacks on a connection, and then a third that is never completed.
func TestSlowClientsAreDisconnected(t *testing.T) {
	for name, tc := range map[string]struct {
		shorten func(*http.Server)
		third   string
	}{
		"headers": {func(s *http.Server) { s.ReadHeaderTimeout = shortTimeout }, "POST /callback HTTP/1.1\r\nHost:"},
		"body": {
			func(s *http.Server) { s.ReadTimeout = shortTimeout },
			"POST /callback?" + signed(query(applyCommand)) + " HTTP/1.1\r\nHost: gate\r\nContent-Length: 9\r\n\r\n{",
		},
		"nothing": {func(s *http.Server) { s.IdleTimeout = shortTimeout }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := serveShort(t, tc.shorten)
			reader := bufio.NewReader(conn)
			for range 2 {
				writeAll(t, conn, rawRequest(signed(query(applyCommand)), applyBody("jared")))
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := readReply(t, response); got.shape() != "200 OK 0" {
					t.Fatalf("got %s", got.shape())
				}
			}
			writeAll(t, conn, tc.third)
			// The answer to the incomplete request may come first.
			if _, err := io.Copy(io.Discard, reader); err != nil {
				t.Errorf("the connection was not closed: %v", err)
			}
		})
	}
}

func TestAnswerThatIsNotReadIsGivenUp(t *testing.T) {
	written := make(chan error, 1)
	conn := serveShort(t, func(s *http.Server) {
		s.WriteTimeout = shortTimeout
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 64<<20)) // more than the kernel buffers
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
		t.Error("the server still waits for its answer to be read")
	}
}
