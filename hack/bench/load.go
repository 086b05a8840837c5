package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// request is one request as it is sent, and what its answer contains.
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

// onConnections opens connections to a target and runs send with each, side by side, until all have returned.
func onConnections(ctx context.Context, t target, connections int, send func(number int, c *connection) error) error {
	errs := make([]error, connections)
	var running sync.WaitGroup
	for i := range connections {
		conn, err := dial(ctx, t.address, t.tls)
		if err != nil {
			errs[i] = err
			continue
		}
		running.Go(func() { // ends with send
			defer func() { _ = conn.Close() }()
			errs[i] = send(i, conn)
		})
	}
	running.Wait()
	return errors.Join(errs...)
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

// paddedCounter has a cache line of its own.
type paddedCounter struct {
	atomic.Int64
	_ [56]byte
}

// closedLoop keeps every connection busy for the duration, one request after the other, and checks every answer.
func closedLoop(
	ctx context.Context,
	t target,
	requests []request,
	connections int,
	duration time.Duration,
) (cost, error) {
	var stop atomic.Bool
	answers := make([]paddedCounter, connections)
	sent := make(chan error, 1)
	go func() { // ends by stop, or by an error
		sent <- onConnections(ctx, t, connections, func(number int, c *connection) error {
			for next := number * len(requests) / connections; !stop.Load(); next++ {
				if err := c.checked(&requests[next%len(requests)]); err != nil {
					return err
				}
				answers[number].Add(1)
			}
			return nil
		})
	}()
	reading := func() (c cost, err error) {
		for i := range answers {
			c.answers += int(answers[i].Load())
		}
		c.cpu, err = cpuTime(t.pids...)
		return c, err
	}
	measured, err := func() (cost, error) {
		if err := wait(ctx, warmUp); err != nil {
			return cost{}, err
		}
		begun := time.Now()
		before, err := reading()
		if err != nil {
			return cost{}, err
		}
		if err := wait(ctx, duration); err != nil {
			return cost{}, err
		}
		after, err := reading()
		return cost{after.answers - before.answers, after.cpu - before.cpu, time.Since(begun)}, err
	}()
	stop.Store(true)
	if err := errors.Join(<-sent, err); err != nil {
		return cost{}, err
	}
	if measured.answers == 0 {
		return cost{}, fmt.Errorf("%s answered nothing in %s", t.address, duration)
	}
	return measured, nil
}

// openLoop sends requests at a constant rate, whether or not earlier ones have been answered. The latency of a request
// counts from the moment at which it was due: otherwise a stall of the server would show only in the requests that it
// has accepted. check, which may be nil, is given every answer.
func openLoop(ctx context.Context, t target, requests []request, connections int, rate float64, duration time.Duration,
	check func(request int, sent, received time.Time, body []byte),
) (*hdrhistogram.Histogram, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type arrival struct {
		number int
		due    time.Time
	}
	total := int(rate * duration.Seconds())
	arrivals := make(chan arrival, total) // holds all of them, so that the pace never waits for an answer
	histograms := make([]*hdrhistogram.Histogram, connections)
	var pacing sync.WaitGroup
	pacing.Go(func() { // ends with the last arrival, or with ctx
		defer close(arrivals)
		err := atRate(ctx, total, rate, func(number int, due time.Time) { arrivals <- arrival{number, due} })
		if err != nil {
			cancel(err)
		}
	})
	err := onConnections(ctx, t, connections, func(number int, c *connection) (err error) {
		defer func() {
			if err != nil {
				cancel(err)
			}
		}()
		histograms[number] = newHistogram()
		for a := range arrivals {
			if ctx.Err() != nil {
				return nil
			}
			r := &requests[a.number%len(requests)]
			sent := time.Now()
			status, body, err := c.exchange(r.bytes)
			received := time.Now()
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("HTTP %d: %s", status, body)
			}
			if err != nil {
				return err
			}
			// Within the range of the histogram by the deadline of exchange.
			_ = histograms[number].RecordValue(received.Sub(a.due).Microseconds())
			if check != nil {
				check(a.number%len(requests), sent, received, body)
			}
		}
		return nil
	})
	pacing.Wait()
	if err := errors.Join(err, context.Cause(ctx)); err != nil {
		return nil, err
	}
	all := newHistogram()
	for _, h := range histograms {
		all.Merge(h)
	}
	return all, nil
}

// atRate calls do total times, each when it is due. It has a thread of its own, which sleeps in the kernel: timers of
// the runtime are late by up to a millisecond.
func atRate(ctx context.Context, total int, rate float64, do func(number int, due time.Time)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := time.Now()
	for number := range total {
		due := start.Add(time.Duration(float64(number) / rate * float64(time.Second)))
		for ahead := time.Until(due); ahead > 0 && ctx.Err() == nil; ahead = time.Until(due) {
			pause := unix.NsecToTimespec(int64(ahead))
			if err := unix.Nanosleep(&pause, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("sleep: %w", err)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		do(number, due)
	}
	return nil
}

// newHistogram counts microseconds up to two minutes, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (2 * time.Minute).Microseconds(), 3)
}

// quantile is one of a histogram, in milliseconds; 100 is the worst.
func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	return float64(h.ValueAtQuantile(q)) / 1e3
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
