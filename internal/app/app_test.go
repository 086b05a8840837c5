package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/webhookserver"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// A process that starts during an outage of the API server answers callbacks, is not ready, and can be stopped.
func TestProcessStartsAndStopsWithoutAnAPIServer(t *testing.T) {
	down := listen(t)
	down.Close()
	callbacks := listen(t)
	a, err := New(t.Context(), Options{
		RESTConfig:       &rest.Config{Host: "http://" + down.Addr().String()},
		CallbackListener: callbacks, MetricsAddress: "0", ProbeAddress: "127.0.0.1:0",
		SweepInterval: time.Hour, PruneRunTTL: 24 * time.Hour, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }() // received below
	response, err := http.Post("http://"+callbacks.Addr().String()+webhookserver.Path, "application/json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if err := a.Ready(); !errors.Is(err, webhookserver.ErrNotReady) {
		t.Errorf("Ready: %v, want %v", err, webhookserver.ErrNotReady)
	}
	const why = "waiting for IMApps: connection refused (and 4 more)"
	for began := time.Now(); !strings.Contains(a.Ready().Error(), why); <-time.After(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("Ready: %v, want to be told that it is %s", a.Ready(), why)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := a.Ready(); !errors.Is(err, webhookserver.ErrDraining) {
		t.Errorf("Ready after the stop: %v, want %v", err, webhookserver.ErrDraining)
	}
}

// A process that stops before the Service has noticed leaves callbacks without an answer, which admits.
func TestCallbacksAreAnsweredDuringTheShutdownDelay(t *testing.T) {
	for name, delay := range map[string]time.Duration{"Short": 300 * time.Millisecond, "Long": time.Hour} {
		t.Run(name, func(t *testing.T) {
			store := &policy.Store{}
			store.Publish(policy.Compile(policy.Input{}))
			server := &webhookserver.Server{Snapshots: store}
			if err := server.Ready(nil); err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(t.Context())
			running, stop := drained(ctx, server, delay)
			defer stop()
			ended := time.Now()
			end()
			for !errors.Is(server.Ready(nil), webhookserver.ErrDraining) {
				if time.Since(ended) > time.Minute {
					t.Fatalf("Ready: %v, want %v at once", server.Ready(nil), webhookserver.ErrDraining)
				}
			}
			if delay == time.Hour {
				if running.Err() != nil {
					t.Error("stopped before the delay was over")
				}
				return
			}
			<-running.Done()
			if got := time.Since(ended); got < delay {
				t.Errorf("stopped after %s, want at least %s", got, delay)
			}
		})
	}
}
