package webhookserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBodiesThatDoNotArrive: the vendor waits, and a join must be refused with an answer.
func TestBodiesThatDoNotArrive(t *testing.T) {
	body := applyBody("jared")
	chunked := "Transfer-Encoding: chunked\r\n\r\n"
	tests := map[string]struct {
		query   string
		rest    string // of the request, after its first headers
		hangUp  bool   // stop sending, go on reading
		want    string
		counted string
	}{
		"cut off, a join": {signed(query(applyCommand)), fmt.Sprintf("Content-Length: %d\r\n\r\n%s",
			len(body)+1, body), true, "200 OK 1", applyCommand + " unreadable"},
		"cut off, full": {signed(query(fullCommand)), "Content-Length: 9\r\n\r\n{", true, "400 FAIL 1",
			fullCommand + " bad_request"},
		"cut off, unsigned": {query(applyCommand), "Content-Length: 9\r\n\r\n{", true, "401 FAIL 1",
			applyCommand + " unauthorized"},
		"chunks broken, a join": {signed(query(applyCommand)), chunked + "zz\r\n", false, "200 OK 1",
			applyCommand + " unreadable"},
		"chunks broken, no join": {signed(query(otherCommand)), chunked + "zz\r\n", false, "400 FAIL 1",
			"other bad_request"},
		"chunks cut off, a join": {signed(query(inviteCommand)), chunked + "5\r\n{\"Cal", true, "200 OK 1",
			inviteCommand + " unreadable"},
		"chunks": {signed(query(applyCommand)), chunked + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n",
			len(body), body), false, "200 OK 0", applyCommand + " admitted"},
		"one chunk too large": {signed(query(applyCommand)), chunked + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n",
			maxBody+1, strings.Repeat(" ", maxBody+1)), false, "200 OK 1", applyCommand + " too_large"},
		"chunks too large, unsigned": {query(applyCommand), chunked + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", maxBody+1,
			strings.Repeat(" ", maxBody+1)), false, "401 FAIL 1", applyCommand + " unauthorized"},
		// The body is never sent: the answer must come without it.
		"too large by its own word": {signed(query(applyCommand)), fmt.Sprintf("Content-Length: %d\r\n\r\n", maxBody+1),
			false, "200 OK 1", applyCommand + " too_large"},
		"too large by its own word, no join": {signed(query(otherCommand)),
			fmt.Sprintf("Content-Length: %d\r\n\r\n", maxBody+1), false, "413 FAIL 1", "other too_large"},
		"too large, unsigned": {query(applyCommand), fmt.Sprintf("Content-Length: %d\r\n\r\n", maxBody+1), false,
			"401 FAIL 1", applyCommand + " unauthorized"},
		"too large, unsigned, no join": {query(otherCommand), fmt.Sprintf("Content-Length: %d\r\n\r\n", maxBody+1),
			false, "413 FAIL 1", "other too_large"},
		"too large, expecting": {signed(query(applyCommand)),
			fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", maxBody+1), false, "200 OK 1",
			applyCommand + " too_large"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := startGate(t, members("jared"))
			conn := dial(t, g)
			defer conn.Close()
			go func() { // ends when all is written, or with the connection
				_, _ = io.WriteString(conn, "POST "+Path+"?"+tc.query+" HTTP/1.1\r\nHost: gate\r\n"+tc.rest)
				if tc.hangUp {
					_ = conn.CloseWrite()
				}
			}()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := readReply(t, response); got.shape() != tc.want {
				t.Errorf("got %s, want %s", got.shape(), tc.want)
			}
			if strings.HasSuffix(tc.counted, "too_large") && !response.Close {
				t.Error("the connection stays open, with a body on it that nobody reads")
			}
			if got := g.moved(t, "callback_requests_total"); len(got) != 1 || got[tc.counted] != 1 {
				t.Errorf("counted %v, want %s", got, tc.counted)
			}
		})
	}
}

// TestHeadersHaveALimit: 16 KiB, and some slack that net/http adds.
func TestHeadersHaveALimit(t *testing.T) {
	g := startGate(t, members("jared"))
	for size, want := range map[int]int{
		10 << 10: http.StatusOK,
		24 << 10: http.StatusRequestHeaderFieldsTooLarge,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			g.url+Path+"?"+signed(query(applyCommand))+"&x="+strings.Repeat("x", size),
			strings.NewReader(applyBody("jared")))
		if err != nil {
			t.Fatal(err)
		}
		response, err := g.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("request line of %d bytes: status %d, want %d", size, response.StatusCode, want)
		}
	}
}

// TestOtherRequestsAreRefused: by default, net/http answers some requests by itself.
func TestOtherRequestsAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ send, want string }{
		"OPTIONS *":                   {"OPTIONS * HTTP/1.1\r\nHost: gate\r\n\r\n", "HTTP/1.1 404 Not Found"},
		"HTTP/2 with prior knowledge": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 404 Not Found"},
		"query with semicolons": {rawRequest("a;b=c&"+signed(query(applyCommand)), applyBody("mallory")),
			"HTTP/1.1 200 OK"},
		"HTTP/1.0, as old proxies do": {strings.Replace(rawRequest(signed(query(applyCommand)), applyBody("mallory")),
			"HTTP/1.1", "HTTP/1.0", 1), "HTTP/1.0 200 OK"},
		"absolute form, as proxies do": {strings.Replace(rawRequest(signed(query(applyCommand)), applyBody("mallory")),
			"POST ", "POST http://gate", 1), "HTTP/1.1 200 OK"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, startGate(t, members("jared")))
			defer conn.Close()
			writeAll(t, conn, tc.send)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || strings.TrimSpace(line) != tc.want {
				t.Errorf("got %q (%v), want %q", line, err, tc.want)
			}
		})
	}
}

// rawRequest is the bytes of a callback.
func rawRequest(query, body string) string {
	return fmt.Sprintf("POST %s?%s HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n%s", Path, query, len(body),
		body)
}

func dial(t *testing.T, g *gate) *net.TCPConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(listening)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func writeAll(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}
