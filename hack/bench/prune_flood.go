package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/groupgate/groupgate/internal/lab"
)

const (
	forgedGroups = 100_000
	floodRate    = 20 // requests a second of the app, the default
	floodQuiet   = 10 * time.Second
	// floodLasts is less than the minute for which a captured signature is valid.
	floodLasts   = 50 * time.Second
	floodSenders = 4
)

// pruneFlood reports groups that do not exist, as one does who has captured a signature, and meanwhile a full one.
func (b *bench) pruneFlood(ctx context.Context) error {
	const rule = "{mode: Enforce, inactiveFor: 30d, freeSeats: 10, notification: Silent}"
	return b.onPruning(ctx, rule, func(p *pruning) error {
		app := lab.App{Spec: fmt.Sprintf("rest: {requestsPerSecond: %d}", floodRate)}
		if err := p.Apply(ctx, app.Manifests()); err != nil {
			return err
		}
		if err := p.createGroup(ctx, "real", "Public", 200, 100, 99); err != nil {
			return err
		}
		m, err := p.startManager(ctx, memoryLimit)
		if err != nil {
			return err
		}
		if err := wait(ctx, floodQuiet); err != nil { // until its start no longer shows
			return err
		}
		return p.flood(ctx, m)
	})
}

func (p *pruning) flood(ctx context.Context, m *lab.Manager) error {
	to := (&manager{Manager: m}).address()
	quiet, cancel := context.WithTimeout(ctx, floodQuiet)
	before := newProbe()
	err := before.joins(quiet, to)
	cancel()
	if err != nil {
		return err
	}
	held, err := memory(m.PID(), resident)
	if err := errors.Join(err, resetPeak(m.PID())); err != nil {
		return err
	}

	begun := time.Now()
	var (
		g        errgroup.Group
		during   = newProbe()
		sent     atomic.Int64
		flooded  time.Duration
		pruned   time.Duration
		mostRuns int
	)
	reported := make(chan struct{})
	flooding, over := context.WithCancel(ctx)
	defer over()
	g.Go(func() error { return during.joins(flooding, to) })
	g.Go(func() error {
		defer over()
		var senders errgroup.Group
		for range floodSenders {
			senders.Go(func() error { return sendForged(ctx, to, &sent) })
		}
		err := senders.Wait()
		flooded = time.Since(begun)
		<-reported
		return err
	})
	g.Go(func() error { // joins of the full group fail, once a second
		defer close(reported)
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
		first := time.Now()
		for {
			if _, err := p.im.Apply(ctx, "real", "lucy"); err != nil {
				return err
			}
			removed, err := m.Metric(ctx, "groupgate_prune_members_removed_total")
			if err != nil || removed > 0 {
				pruned = time.Since(first)
				return err
			}
			if err := wait(ctx, time.Second); err != nil {
				return err
			}
		}
	})
	g.Go(func() error {
		for flooding.Err() == nil {
			runs, _, err := p.pruneRuns(ctx)
			if err != nil {
				return err
			}
			mostRuns = max(mostRuns, runs)
			_ = wait(flooding, time.Second)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	most, err := memory(m.PID(), peak)
	p.results.table(fmt.Sprintf("%d forged groups, %d requests a second:", sent.Load(), floodRate),
		"flood lasted", "most PruneRuns", "resident before", "peak", "full group pruned after",
		"joins: p99 before", "p99 during", "lost").
		add(flooded.Round(time.Second), mostRuns, held, most, seconds(pruned),
			ms(before.times, 99), ms(during.times, 99), during.lost)
	return err
}

func newProbe() *probe { return &probe{times: newHistogram()} }

// joins sends 50 applications a second on one connection until ctx ends.
func (p *probe) joins(ctx context.Context, to string) error {
	on, err := dial(ctx, to, nil)
	if err != nil {
		return err
	}
	defer on.Close()
	every(ctx, 20*time.Millisecond, func(begun time.Time) {
		_, _, err := on.exchange(signed(lab.CommandApply, map[string]string{
			"CallbackCommand": lab.CommandApply, "GroupId": "real", "Type": "Public", "Requestor_Account": "lucy",
		}))
		p.record(begun, err)
	})
	return nil
}

func sendForged(ctx context.Context, to string, sent *atomic.Int64) error {
	on, err := dial(ctx, to, nil)
	if err != nil {
		return err
	}
	defer on.Close()
	pace := time.NewTicker(floodSenders * floodLasts / forgedGroups)
	defer pace.Stop()
	for ctx.Err() == nil {
		n := sent.Add(1)
		if n > forgedGroups {
			sent.Add(-1)
			return nil
		}
		<-pace.C
		_, _, err := on.exchange(signed(lab.CommandGroupFull, map[string]string{
			"CallbackCommand": lab.CommandGroupFull, "GroupId": fmt.Sprintf("forged-%d", n),
			"EventTime": "1670574414123",
		}))
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func signed(command string, body map[string]string) []byte {
	return post("/callback?"+lab.Sign(lab.Query(lab.SDKAppID, command), lab.CallbackToken, time.Now()), body)
}
