package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/hack/bench/peers"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/webhookserver"
)

// allocations counts those of a callback above the bare handler's: both run in this process, each behind a real
// connection, so that what net/http allocates on behalf of a handler (such as the map of its headers) counts too.
func (b *bench) allocations(ctx context.Context) (err error) {
	store := &policy.Store{}
	store.Publish(policy.Compile(streamWorld.input()))
	ours, err := serveGate(ctx, store)
	if err != nil {
		return err
	}
	bare, err := serveHandler(ctx, peers.Bare())
	if err != nil {
		return errors.Join(err, ours.end())
	}
	typed, err := serveHandler(ctx, peers.BareTyped())
	if err != nil {
		return errors.Join(err, ours.end(), bare.end())
	}
	defer func() { err = errors.Join(err, ours.end(), bare.end(), typed.end()) }()

	p := streamWorld.population
	now := time.Now()
	for what, c := range map[string]callback{
		"admitted": {group: 7, account: p.member(7, 7), listed: true},
		"refused":  {group: 7, account: stranger(7)},
	} {
		r := request{bytes: p.asVendor(&c, lab.CallbackToken, now), want: []byte(c.want())}
		for range b.rounds {
			var each [3]float64
			for i, s := range []*server{bare, ours, typed} {
				asked := r
				if s != ours {
					asked.want = nil
				}
				if each[i], err = allocationsOf(ctx, s.address, asked); err != nil {
					return err
				}
			}
			// In whole ones: the runtime allocates now and then, too.
			b.results.add("allocations/"+what, math.Round(each[1]-each[0]))
			b.results.add("allocations/bare-typed", math.Round(each[2]-each[0]))
		}
	}
	return nil
}

// serveGate serves Groupgate's callback server in this process.
func serveGate(ctx context.Context, store *policy.Store) (*server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	gate := &webhookserver.Server{
		Listener: listener, Snapshots: store, FullGroups: noPruning{},
		Metrics: webhookserver.NewMetrics(prometheus.NewRegistry()),
	}
	ended := make(chan error, 1)
	go func() { ended <- gate.Start(ctx) }() // ends with ctx
	return &server{
		target: target{address: listener.Addr().String()},
		end:    func() error { cancel(); return <-ended },
	}, nil
}

// serveHandler serves a handler in this process, with Groupgate's timeouts.
func serveHandler(ctx context.Context, handler http.Handler) (*server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	bare := peers.NewServer(handler)
	ended := make(chan error, 1)
	go func() { ended <- bare.Serve(listener) }() // ends by Close
	return &server{target: target{address: listener.Addr().String()}, end: func() error {
		err := bare.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}}, nil
}

type noPruning struct{}

func (noPruning) GroupFull(policy.Object, string) {}

// allocationsOf sends one request again and again, and returns the allocations of this process for each.
func allocationsOf(ctx context.Context, address string, r request) (float64, error) {
	const warm, counted = 1_000, 20_000
	conn, err := dial(ctx, address, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	var before, after runtime.MemStats
	for i := range warm + counted {
		if i == warm {
			runtime.ReadMemStats(&before)
		}
		if err := conn.checked(&r); err != nil {
			return 0, fmt.Errorf("request %d: %w", i, err)
		}
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / counted, nil
}
