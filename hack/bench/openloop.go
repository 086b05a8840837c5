package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// openLoop sends requests at a constant rate, whether or not earlier ones have been answered. A request's latency counts from the
// moment in which it was due, so that a server that stalls is charged for all who would have come meanwhile, and not only for those
// who could. look, which may be nil, is given every answer.
func openLoop(ctx context.Context, t target, requests []request, connections int, rate float64, duration time.Duration,
	look func(request int, sent, received time.Time, body []byte),
) (*hdrhistogram.Histogram, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type arrival struct {
		number int
		due    time.Time
	}
	total := int(rate * duration.Seconds())
	// Holds all of them: nobody is turned away because others wait.
	arrivals := make(chan arrival, total)
	histograms := make([]*hdrhistogram.Histogram, connections)
	var running sync.WaitGroup
	for i := range connections {
		histograms[i] = newHistogram()
		conn, err := dial(ctx, t.address, t.tls)
		if err != nil {
			close(arrivals)
			return nil, err
		}
		running.Go(func() { // ends when there are no more arrivals
			defer func() { _ = conn.Close() }()
			for a := range arrivals {
				if ctx.Err() != nil {
					return
				}
				r := &requests[a.number%len(requests)]
				sent := time.Now()
				status, body, err := conn.exchange(r.bytes)
				received := time.Now()
				if err == nil && status != 200 {
					err = fmt.Errorf("HTTP %d: %s", status, body)
				}
				if err != nil {
					cancel(err)
					return
				}
				_ = histograms[i].RecordValue(received.Sub(a.due).Microseconds()) // within its range by the deadline of exchange
				if look != nil {
					look(a.number%len(requests), sent, received, body)
				}
			}
		})
	}
	running.Go(func() { // ends with the last arrival, or with ctx
		// A thread of its own that sleeps in the kernel: timers of the runtime are late by up to a millisecond.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(arrivals)
		start := time.Now()
		for number := range total {
			due := start.Add(time.Duration(float64(number) / rate * float64(time.Second)))
			for ahead := time.Until(due); ahead > 0 && ctx.Err() == nil; ahead = time.Until(due) {
				pause := unix.NsecToTimespec(int64(ahead))
				if err := unix.Nanosleep(&pause, nil); err != nil && !errors.Is(err, unix.EINTR) {
					cancel(fmt.Errorf("sleep: %w", err))
				}
			}
			if ctx.Err() != nil {
				return
			}
			arrivals <- arrival{number, due}
		}
	})
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	all := newHistogram()
	for _, h := range histograms {
		all.Merge(h)
	}
	return all, nil
}

// newHistogram counts microseconds up to two minutes, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (2 * time.Minute).Microseconds(), 3)
}
