package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/hack/bench/peers"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/webhookserver"
)

// allocations counts those of a callback above the bare handler's: both run in this process, each behind a real connection, so that
// what net/http allocates on behalf of a handler (such as the map of its headers) counts too.
func (b *bench) allocations(ctx context.Context) (err error) {
	store := &policy.Store{}
	store.Publish(policy.Compile(streamWorld.input()))
	ours, bare, err := b.serveBoth(ctx, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.end(), bare.end()) }()

	p := streamWorld.population
	now := time.Now()
	for what, c := range map[string]callback{
		"admitted": {group: 7, account: p.member(7, 7), listed: true},
		"refused":  {group: 7, account: stranger(7)},
	} {
		r := request{bytes: p.asVendor(&c, token, now), want: []byte(c.want())}
		for range b.rounds {
			above, err := allocationsOf(ctx, ours.address, r)
			if err != nil {
				return err
			}
			below, err := allocationsOf(ctx, bare.address, request{bytes: r.bytes})
			if err != nil {
				return err
			}
			// Rounded to hundredths: the runtime allocates a little on its own.
			b.results.add("allocations/"+what, float64(int((above-below)*100+0.5))/100)
		}
	}
	return nil
}

// serveBoth serves Groupgate's callback server and the bare handler in this process.
func (b *bench) serveBoth(ctx context.Context, store *policy.Store) (ours, bare *server, err error) {
	listeners := make([]net.Listener, 2)
	for i := range listeners {
		if listeners[i], err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	gate := &webhookserver.Server{
		Listener: listeners[0], Snapshots: store, FullGroups: nobodyPrunes{}, Metrics: webhookserver.NewMetrics(prometheus.NewRegistry()),
	}
	ended := make(chan error, 1)
	go func() { ended <- gate.Start(ctx) }() // ends with ctx
	limit := peers.NewServer(peers.Bare())
	served := make(chan error, 1)
	go func() { served <- limit.Serve(listeners[1]) }() // ends by Close
	ours = &server{target: target{address: listeners[0].Addr().String()}, end: func() error { cancel(); return <-ended }}
	bare = &server{target: target{address: listeners[1].Addr().String()}, end: func() error {
		err := limit.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}}
	return ours, bare, nil
}

type nobodyPrunes struct{}

func (nobodyPrunes) GroupFull(policy.Object, string) {}

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
