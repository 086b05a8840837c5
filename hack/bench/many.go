package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// many measures the manager with 10,000 policies and 1,000,000 accounts: from start to ready, in memory, and under
// edits.
func (b *bench) many(ctx context.Context) error {
	// The first one writes every status; those that follow find everything as it should be.
	m, err := b.startQuiet(ctx, 0, manyWorld)
	if err != nil {
		return err
	}
	if err := m.end(); err != nil {
		return err
	}
	for round := range b.rounds {
		if m, err = b.startManager(ctx, 0, manyWorld); err != nil {
			return err
		}
		b.results.add("many/ready", m.ready.Seconds())
		b.say("ready after %s", m.ready.Round(time.Millisecond))
		if err := askAll(ctx, m, manyWorld); err != nil {
			return errors.Join(fmt.Errorf("ready, and yet: %w", err), m.end())
		}
		informers, took, err := b.startInformers(ctx, manyWorld)
		if err != nil {
			return errors.Join(err, m.end())
		}
		b.results.add("many/plain-informers-ready-s", took.Seconds())
		b.say("plain informers after %s", took.Round(time.Millisecond))
		if round == b.rounds-1 {
			if err := b.steadyMemory(ctx, m, "many"); err != nil {
				return errors.Join(err, informers.end(), m.end())
			}
			rss, err := memory(informers.pids[0], resident)
			b.results.add("many/plain-informers-rss-mib", rss)
			if err := errors.Join(err, informers.end()); err != nil {
				return errors.Join(err, m.end())
			}
			break
		}
		if err := errors.Join(informers.end(), m.end()); err != nil {
			return err
		}
	}
	return errors.Join(b.underEdits(ctx, m), m.end())
}

// startInformers starts a process that only holds the objects of a world, and returns how long it took until it had
// them.
func (b *bench) startInformers(ctx context.Context, w world) (*server, time.Duration, error) {
	address, err := lab.FreeAddress()
	if err != nil {
		return nil, 0, err
	}
	kubeconfig, err := b.plane.ManagerKubeconfig("")
	if err != nil {
		return nil, 0, err
	}
	begun := time.Now()
	s, err := b.startServer(ctx, nil, address, contenderBinary(),
		"-kind=informers", "-address="+address, "-kubeconfig="+kubeconfig, "-namespace="+w.namespace)
	return s, time.Since(begun), err
}

func (b *bench) underEdits(ctx context.Context, m *manager) error {
	e := newEditor(b.plane, manyWorld)
	var stored atomic.Int64
	// What is timed and what goes on meanwhile are different policies.
	return during(ctx, func(ctx context.Context, n int) error {
		group := b.edits + n%(manyWorld.groups-b.edits)
		defer stored.Add(1)
		return e.store(ctx, group, e.begin(group))
	}, func(ctx context.Context) error {
		begun, edits := time.Now(), stored.Load()
		before, err := cpuTime(m.PID())
		if err != nil {
			return err
		}
		if err := b.timeEdits(ctx, m, e, "many/enforce"); err != nil {
			return err
		}
		after, err := cpuTime(m.PID())
		if err != nil {
			return err
		}
		took := time.Since(begun).Seconds()
		cores, rate := (after-before).Seconds()/took, float64(stored.Load()-edits)/took
		b.say("many: %.2f cores at %.0f edits a second", cores, rate)
		b.results.add("many/cores-under-edits", cores)
		b.results.add("many/edits-per-second", rate)
		rss, err := memory(m.PID(), resident)
		b.results.add("many/rss-under-edits-mib", rss)
		return err
	})
}

// askAll asks a manager the callbacks of a world; ready is to say that everything has been loaded.
func askAll(ctx context.Context, m *manager, w world) error {
	conn, err := dial(ctx, m.address(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, c := range w.callbacks(4096) {
		r := request{bytes: w.asVendor(&c, lab.CallbackToken, time.Now()), want: []byte(c.want())}
		if err := conn.checked(&r); err != nil {
			return err
		}
	}
	return nil
}

// steadyMemory waits until what the manager holds has not changed by more than 1 % for 30 s, and records it, and the
// most it has held. It waits for two and a half minutes at least: a Go program that has nothing to do collects its
// garbage every two.
func (b *bench) steadyMemory(ctx context.Context, m *manager, key string) error {
	const window, least, limit = 30, 150, 300
	var samples []float64
	for len(samples) < limit {
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
		rss, err := memory(m.PID(), resident)
		if err != nil {
			return err
		}
		samples = append(samples, rss)
		if n := len(samples); n >= least {
			last := samples[n-window:]
			if slices.Max(last)-slices.Min(last) < 0.01*rss {
				break
			}
		}
	}
	most, err := memory(m.PID(), peak)
	if err != nil {
		return err
	}
	rss := samples[len(samples)-1]
	b.say("%s: RSS %.0f MiB after %d s, at most %.0f MiB", key, rss, len(samples), most)
	b.results.add(key+"/rss", rss)
	b.results.add(key+"/rss-peak-mib", most)
	return nil
}
