package webhookserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sync/semaphore"

	"github.com/groupgate/groupgate/internal/policy"
)

// smallBudgets leaves room for one large body of each kind.
func smallBudgets(g *gate) {
	g.handler.(*handler).largeBodies = semaphore.NewWeighted(maxBody + 1)
	g.handler.(*handler).unsignedBodies = semaphore.NewWeighted(maxBody + 1)
}

// held is a body that has arrived but for its last byte.
type held struct {
	arrived, last chan struct{}
	rest          io.Reader
}

func newHeld(body string) *held {
	return &held{arrived: make(chan struct{}), last: make(chan struct{}), rest: strings.NewReader(body)}
}

func (h *held) Read(p []byte) (int, error) {
	n, err := h.rest.Read(p)
	if err == io.EOF && h.arrived != nil {
		close(h.arrived)
		h.arrived = nil
		<-h.last
	}
	return n, err
}

func (h *held) Close() error { return nil }

// TestBodiesInFlightShareABudget: with one captured signature, hundreds of bodies used to exhaust the memory.
func TestBodiesInFlightShareABudget(t *testing.T) {
	unsigned := members("jared")
	unsigned.Apps[0].Authentication, unsigned.Apps[0].Tokens = policy.AuthenticateNone, nil
	second := theApp()
	second.Object, second.SDKAppID = object("second"), appID+1
	unsigned.Apps = append(unsigned.Apps, second)
	large := strings.Repeat(" ", maxBody-len(applyBody("jared"))) + applyBody("jared")
	medium := strings.Repeat(" ", maxFreeBody-len(applyBody("jared"))) + applyBody("jared")
	notAJoin := `{"CallbackCommand":"` + otherCommand + `","x":"` + strings.Repeat(" ", maxFreeBody) + `"}`

	tests := map[string]struct {
		input         *policy.Input
		hold          string // query of the body that uses up the budget
		query, body   string
		during, after string
	}{
		"a join": {members("jared"), signed(query(applyCommand)), signed(query(applyCommand)), large,
			"200 OK 1", "200 OK 0"},
		"an invitation": {members("jared"), signed(query(applyCommand)), signed(query(inviteCommand)),
			strings.Repeat(" ", maxFreeBody) + inviteBody("jared"), "200 OK 1", "200 OK 0"},
		"no join": {members("jared"), signed(query(applyCommand)), signed(query(otherCommand)), notAJoin,
			"413 FAIL 1", "200 OK 0"},
		"64 KiB": {members("jared"), signed(query(applyCommand)), signed(query(applyCommand)), medium,
			"200 OK 0", "200 OK 0"},
		"of an unsigned app, 64 KiB": {unsigned, query(applyCommand), query(applyCommand), medium,
			"200 OK 1", "200 OK 0"},
		"of an unsigned app, small": {unsigned, query(applyCommand), query(applyCommand), applyBody("jared"),
			"200 OK 0", "200 OK 0"},
		"of another app than the unsigned one": {unsigned, query(applyCommand), signed(of(1, query(applyCommand))),
			large, "200 OK 0", "200 OK 0"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, tc.input)
			smallBudgets(g)
			body := newHeld(large)
			arrived := body.arrived
			first := make(chan int)
			go func() { // ends with the answer, which the test awaits
				r := newReplay(tc.hold, "")
				r.request.Body = body
				g.handler.ServeHTTP(r, r.request)
				first <- r.status
			}()
			<-arrived
			if got := handled(t, g, tc.query, tc.body); got != tc.during {
				t.Errorf("beside a large body: got %s, want %s", got, tc.during)
			}
			close(body.last)
			if got := <-first; got != http.StatusOK {
				t.Errorf("the large body: status %d", got)
			}
			if got := handled(t, g, tc.query, tc.body); got != tc.after {
				t.Errorf("after the large body: got %s, want %s", got, tc.after)
			}
		})
	}
}

// TestReusedMemoryNeedsBudget: otherwise the memory of large bodies could be taken again and again while others use up
// the budget.
func TestReusedMemoryNeedsBudget(t *testing.T) {
	x := &exchange{
		body:    make([]byte, 0, maxReused),
		encoded: answer{body: make([]byte, 0, maxReused)},
		refused: make([]string, 0, maxReused/stringSize),
	}
	defer x.release()
	body := io.NopCloser(strings.NewReader(strings.Repeat(" ", maxFreeBody/2)))
	if err := x.readBody(body, -1, firstRead, semaphore.NewWeighted(0)); !errors.Is(err, errBodyTooLarge) {
		t.Errorf("a body without budget: %v", err)
	}
	if cap(x.body)+cap(x.encoded.body)+cap(x.refused)*stringSize > firstRead+1 {
		t.Errorf("room for %d, %d and %d is kept", cap(x.body), cap(x.encoded.body), cap(x.refused))
	}
}

// TestPanicReturnsTheBudget: otherwise a few panics would end all large callbacks.
func TestPanicReturnsTheBudget(t *testing.T) {
	input := prunable(group)
	large := strings.Repeat(" ", maxFreeBody) + fullBody(group)
	g := newGate(t, input, func(s *Server) { s.FullGroups = new(broken) })
	smallBudgets(g)
	for range 8 {
		if got := handled(t, g, signed(query(fullCommand)), large); got != "500 FAIL 1" {
			t.Fatalf("got %s", got)
		}
	}
}

func handled(t *testing.T, g *gate, query, body string) string {
	t.Helper()
	w := &recorder{replay: newReplay(query, body)}
	g.handler.ServeHTTP(w, w.request)
	return decodeReply(t, w.status, w.header, w.answer).shape()
}

// recorder keeps the answer.
type recorder struct {
	*replay
	answer []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.answer = append(r.answer, p...)
	return len(p), nil
}

// TestRoomForABodyGrowsWithWhatArrives: what Content-Length promises takes no memory.
func TestRoomForABodyGrowsWithWhatArrives(t *testing.T) {
	g := startGate(t, members("jared"))
	conn := dial(t, g)
	defer conn.Close()
	body := applyBody("jared")
	for range 2 { // the second time with memory that is used again
		writeAll(t, conn, fmt.Sprintf("POST %s?%s HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n%s", Path,
			signed(query(applyCommand)), maxBody, body))
		writeAll(t, conn, strings.Repeat(" ", maxBody-len(body)))
		response, err := http.ReadResponse(bufio.NewReader(net.Conn(conn)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, response).shape(); got != "200 OK 0" {
			t.Errorf("got %s", got)
		}
	}
}
