package webhookserver

import (
	"errors"
	"net"
	"net/http"
	"testing"
)

// TestAllocationsAboveBare counts the allocations of a callback on a real connection, net/http included, above those of
// a bare handler with the same timeouts. Four come with the headers: the room for the map, and net/http's copy of map,
// room and values. One is for the ids of the body.
func TestAllocationsAboveBare(t *testing.T) {
	most := 5.0
	if lossyPools {
		most += 2
	}
	g := newGate(t, members("jared"))
	const admitted = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`
	answers := bare()
	trusting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connOf(r).authenticated.Store(true)
		answers.ServeHTTP(w, r)
	})
	floor := servedAllocations(t, g.server.httpServer, trusting, admitted, applyBody("jared"))
	for account, answer := range map[string]string{
		"jared":   admitted,
		"mallory": `{"ActionStatus":"OK","ErrorInfo":"Members only","ErrorCode":10110}`,
	} {
		got := servedAllocations(t, g.server.httpServer, g.handler, answer, applyBody(account))
		if got-floor > most {
			t.Errorf("%s: %v allocations, a bare handler %v: want at most %v more", account, got, floor, most)
		}
	}
}

// servedAllocations are those of one request, on a connection that has had others.
func servedAllocations(t *testing.T, configured func() (*http.Server, *connections), handler http.Handler, answer,
	body string) float64 {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, all := configured()
	server.Handler = handler
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(all.listen(listener)) }() // ends with Close
	defer func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}()
	conn := dial(t, &gate{url: "http://" + listener.Addr().String()})
	defer conn.Close()

	request := []byte(rawRequest(signed(query(applyCommand)), body))
	room := make([]byte, 4<<10)
	exchange := func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		for read := 0; ; {
			n, err := conn.Read(room[read:])
			if err != nil {
				t.Fatalf("after %q: %v", room[:read], err)
			}
			if read += n; read >= len(answer) && string(room[read-len(answer):read]) == answer {
				return
			}
		}
	}
	for range 50 {
		exchange()
	}
	return testing.AllocsPerRun(500, exchange)
}
