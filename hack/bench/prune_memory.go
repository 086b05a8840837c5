package main

import (
	"context"
	"fmt"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// pruneMemory measures new managers that plan groups of a million members.
func (b *bench) pruneMemory(ctx context.Context) error {
	const rule = `{mode: Preview, inactiveFor: 30d, freeSeats: "10%", maxRemovals: 1000}`
	return b.onPruning(ctx, rule, func(p *pruning) error {
		table := b.results.table(
			"Memory of the manager while it plans Communities of 1,000,000 members, 1,000 removals each, in MiB:",
			"GOMEMLIMIT", "groups at once", "resident before", "peak while planning", "growth",
			"heap in use before", "most", "took")
		for round, c := range []struct {
			limit  string
			groups int
		}{{memoryLimit, 1}, {"off", 1}, {memoryLimit, 4}, {memoryLimit, 1}, {"off", 1}} {
			if err := p.planHuge(ctx, table, round, c.limit, c.groups); err != nil {
				return err
			}
		}
		return nil
	})
}

// planHuge adds a row to the table.
func (p *pruning) planHuge(ctx context.Context, table *table, round int, limit string, groups int) error {
	m, err := p.startManager(ctx, limit)
	if err != nil {
		return err
	}
	if err := wait(ctx, 15*time.Second); err != nil { // until its start no longer shows
		return err
	}
	before, err := memory(m.PID(), resident)
	if err != nil {
		return err
	}
	heapBefore, err := heapInUse(ctx, m)
	if err != nil {
		return err
	}
	if err := resetPeak(m.PID()); err != nil {
		return err
	}
	begun := time.Now()
	id := func(i int) string { return fmt.Sprintf("huge-%d-%d", round, i) }
	for i := range groups {
		if err := p.fill(ctx, id(i), "Community", 1_000_000); err != nil {
			return err
		}
	}
	heap, err := p.awaitPlans(ctx, m, groups)
	if err != nil {
		return err
	}
	took := time.Since(begun).Round(time.Second)
	during, err := memory(m.PID(), peak)
	if err != nil {
		return err
	}
	p.results.add(fmt.Sprintf("prune-memory/%d-groups/%s/growth-mib", groups, limit), during-before)
	table.add(limit, groups, before, during, "**"+fmt.Sprintf("%.4g", during-before)+"**", heapBefore, heap, took)
	for i := range groups {
		if err := p.im.DestroyGroup(ctx, id(i)); err != nil {
			return err
		}
	}
	return m.Stop(time.Minute)
}

// awaitPlans waits until that many runs of m ended, and returns the most heap that was in use, in MiB. It reads the
// metrics seldom, since every answer is garbage of the manager.
func (p *pruning) awaitPlans(ctx context.Context, m *lab.Manager, groups int) (heap float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pruningPatience)
	defer cancel()
	return heap, lab.Poll(ctx, 2*time.Second, "the groups to be planned", func(ctx context.Context) (bool, error) {
		now, err := heapInUse(ctx, m)
		if err != nil {
			return false, err
		}
		heap = max(heap, now)
		ended, err := m.Metric(ctx, "groupgate_prune_runs_total")
		p.say("planning: %.1f MiB of heap in use, %v ended", now, ended)
		return ended >= float64(groups), err
	})
}

// heapInUse is in MiB.
func heapInUse(ctx context.Context, m *lab.Manager) (float64, error) {
	bytes, err := m.Metric(ctx, "go_memstats_heap_inuse_bytes")
	return bytes / (1 << 20), err
}
