package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// settleTime is how long a manager is left alone before it counts as started.
const settleTime = 15 * time.Second

// measureMemory has new managers plan groups of a million members.
func measureMemory(ctx context.Context, s *stage, out io.Writer) error {
	if err := s.policies(ctx, `{mode: Preview, inactiveFor: 30d, freeSeats: "10%", maxRemovals: 1000}`); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nMemory of the manager while it plans Communities of 1,000,000 members, 1,000 removals each, in MiB:")
	fmt.Fprintln(out, "\n| GOMEMLIMIT | groups at once | resident before | peak while planning | growth | heap in use before | most | took |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|")
	for round, c := range []struct {
		limited bool
		groups  int
	}{{true, 1}, {false, 1}, {true, 4}, {true, 1}, {false, 1}} {
		if err := s.planHuge(ctx, out, round, c.limited, c.groups); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) planHuge(ctx context.Context, out io.Writer, round int, limited bool, groups int) error {
	const members = 1_000_000
	m, err := s.manager(ctx, limited)
	if err != nil {
		return err
	}
	if err := rest(ctx, settleTime); err != nil {
		return err
	}
	before, err := residentMemory(m.PID())
	if err != nil {
		return err
	}
	heapBefore, err := metric(ctx, m.MetricsURL, "go_memstats_heap_inuse_bytes")
	if err != nil {
		return err
	}
	if err := forgetPeak(m.PID()); err != nil {
		return err
	}
	began := time.Now()
	for i := range groups {
		if err := s.fill(ctx, fmt.Sprintf("huge-%d-%d", round, i), "Community", members); err != nil {
			return err
		}
	}
	planned, heap, err := s.awaitPlans(ctx, m, groups)
	if err != nil {
		return err
	}
	during, err := residentMemory(m.PID())
	if err != nil {
		return err
	}
	limit := "none"
	if limited {
		limit = memoryLimit
	}
	fmt.Fprintf(out, "| %s | %d | %s | %s | **%s** | %s | %s | %s |\n", limit, groups, mib(before.resident), mib(during.peak),
		mib(during.peak-before.resident), mib(heapBefore), mib(heap), planned.Sub(began).Round(time.Second))
	for i := range groups {
		if err := s.im.DestroyGroup(ctx, fmt.Sprintf("huge-%d-%d", round, i)); err != nil {
			return err
		}
	}
	return m.Stop(time.Minute)
}

// awaitPlans waits until that many runs of m ended Previewed, and returns when that was and the most heap that it had seen in use.
func (s *stage) awaitPlans(ctx context.Context, m *lab.Manager, groups int) (at time.Time, heap float64, err error) {
	ended := 0.0
	err = s.await(ctx, "the groups to be planned", func(ctx context.Context) (bool, error) {
		// Seldom, since an answer is garbage of the manager's too.
		if err := rest(ctx, 2*time.Second); err != nil {
			return false, err
		}
		now, err := metric(ctx, m.MetricsURL, "go_memstats_heap_inuse_bytes")
		if err != nil {
			return false, err
		}
		heap = max(heap, now)
		if ended, err = metric(ctx, m.MetricsURL, "groupgate_prune_runs_total"); err != nil {
			return false, err
		}
		progress("planning %d: heap in use %s MiB, %v ended", groups, mib(now), ended)
		return ended >= float64(groups), nil
	})
	return time.Now(), heap, err
}

// rest waits for d.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
