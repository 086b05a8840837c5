package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// request is a callback in the form of one contender, with what its answer holds.
type request struct {
	bytes []byte
	want  []byte
}

// target is a server under load.
type target struct {
	address string
	tls     *tls.Config
	// pids are the processes whose CPU time counts.
	pids []int
}

// cost is what a number of answers took.
type cost struct {
	answers int
	cpu     time.Duration
	wall    time.Duration
}

func (c cost) cpuEach() float64   { return float64(c.cpu) / float64(c.answers) } // nanoseconds
func (c cost) perSecond() float64 { return float64(c.answers) / c.wall.Seconds() }

// warmUp is how long a server is under load before its CPU time is read.
const warmUp = 300 * time.Millisecond

// closedLoop keeps every connection busy for the duration, one request after the other, and checks every answer.
func closedLoop(ctx context.Context, t target, requests []request, connections int, duration time.Duration) (cost, error) {
	conns := make([]*connection, connections)
	for i := range conns {
		var err error
		if conns[i], err = dial(ctx, t.address, t.tls); err != nil {
			return cost{}, err
		}
		defer func() { _ = conns[i].Close() }()
	}
	var (
		running sync.WaitGroup
		stop    atomic.Bool
		answers = make([]paddedCounter, connections)
		errs    = make([]error, connections)
	)
	for i, conn := range conns {
		running.Go(func() { // ends by stop, or by an error
			for next := i * len(requests) / connections; !stop.Load(); next++ {
				if errs[i] = conn.checked(&requests[next%len(requests)]); errs[i] != nil {
					return
				}
				answers[i].Add(1)
			}
		})
	}
	total := func() (n int) {
		for i := range answers {
			n += int(answers[i].Load())
		}
		return n
	}
	measured, err := func() (cost, error) {
		if err := wait(ctx, warmUp); err != nil {
			return cost{}, err
		}
		before, begun, start := total(), time.Now(), time.Duration(0)
		start, err := cpuTime(t.pids...)
		if err != nil {
			return cost{}, err
		}
		if err := wait(ctx, duration); err != nil {
			return cost{}, err
		}
		end, err := cpuTime(t.pids...)
		return cost{answers: total() - before, cpu: end - start, wall: time.Since(begun)}, err
	}()
	stop.Store(true)
	running.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return cost{}, err
	}
	if measured.answers == 0 {
		return cost{}, fmt.Errorf("%s answered nothing in %s", t.address, duration)
	}
	return measured, nil
}

// paddedCounter has a cache line of its own.
type paddedCounter struct {
	atomic.Int64
	_ [56]byte
}

// checked is an exchange whose answer must be right.
func (c *connection) checked(r *request) error {
	status, body, err := c.exchange(r.bytes)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return fmt.Errorf("HTTP %d: %s", status, body)
	case !bytes.Contains(body, r.want):
		return fmt.Errorf("wrong verdict: %s; want %s; asked:\n%s", body, r.want, r.bytes)
	}
	return nil
}

// wait returns after d, or with an error when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
