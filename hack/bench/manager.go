package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// manager is a `groupgate manager` under measurement.
type manager struct {
	*lab.Manager
	// ready is how long it took from its start to its readiness.
	ready time.Duration
}

// startManager starts one that watches the namespaces and waits until it is ready.
func (b *bench) startManager(ctx context.Context, procs int, namespaces []string, flags ...string) (*manager, error) {
	c, err := b.cluster(ctx)
	if err != nil {
		return nil, err
	}
	flags = append([]string{"--shutdown-delay=0s", "--log-level=error", "--sweep-interval=24h"}, flags...)
	for _, namespace := range namespaces {
		flags = append(flags, "--namespace="+namespace)
	}
	begun := time.Now()
	m := &manager{}
	if err := withProcs(procs, func() (err error) {
		m.Manager, err = lab.StartManager(b.log, b.groupgate, c.kubeconfig, flags...)
		return err
	}); err != nil {
		return nil, err
	}
	for {
		switch {
		case m.Ready(ctx):
			m.ready = time.Since(begun)
			return m, nil
		case !m.Running():
			return nil, fmt.Errorf("the manager ended with exit code %d before it was ready: see %s", m.ExitCode(), b.log.Name())
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return nil, errors.Join(err, m.Kill())
		}
	}
}

// startSettled makes a world if need be, starts a manager that watches it, and waits until it has written every status.
func (b *bench) startSettled(ctx context.Context, procs int, w world, flags ...string) (*manager, error) {
	if err := b.world(ctx, w); err != nil {
		return nil, err
	}
	m, err := b.startManager(ctx, procs, []string{w.namespace}, flags...)
	if err != nil {
		return nil, err
	}
	if err := m.settle(ctx, b.plane); err != nil {
		return nil, errors.Join(err, m.end())
	}
	return m, nil
}

// address is host:port of the callbacks.
func (m *manager) address() string {
	address, _, _ := strings.Cut(m.CallbackURL[strings.Index(m.CallbackURL, "//")+2:], "/")
	return address
}

func (m *manager) end() error { return m.Stop(time.Minute) }

// settle waits until the manager holds the term, in which statuses are written, and has written the last one.
func (m *manager) settle(ctx context.Context, c *cluster) error {
	if err := lab.Await(ctx, "the manager to hold a term", m.holdsTerm); err != nil {
		return err
	}
	return c.settle(ctx)
}

func (m *manager) holdsTerm(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.MetricsURL, http.NoBody)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return strings.Contains(string(text), "\ngroupgate_term 1\n"), err
}

// withProcs has a process that start starts run with that many Ps; 0 leaves it to the runtime.
func withProcs(procs int, start func() error) (err error) {
	const name = "GOMAXPROCS"
	if procs == 0 {
		return start()
	}
	before, was := os.LookupEnv(name)
	if err := os.Setenv(name, strconv.Itoa(procs)); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	defer func() {
		if was {
			err = errors.Join(err, os.Setenv(name, before))
		} else {
			err = errors.Join(err, os.Unsetenv(name))
		}
	}()
	return start()
}
