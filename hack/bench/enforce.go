package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// enforce times single edits among 1,000 policies, from sending them to the first answer of the new policy.
func (b *bench) enforce(ctx context.Context) (err error) {
	m, err := b.startQuiet(ctx, 0, streamWorld)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	e := newEditor(b.plane, streamWorld)
	if err := b.timeEdits(ctx, m, e, "enforce"); err != nil {
		return err
	}
	return b.restore(ctx, e)
}

// timeEdits edits policies one after the other, with pauses of no rhythm.
func (b *bench) timeEdits(ctx context.Context, m *manager, e *editor, key string) error {
	h := newHistogram()
	for n := range b.edits {
		if err := wait(ctx, time.Duration(20+rand.IntN(40))*time.Millisecond); err != nil {
			return err
		}
		took, err := e.untilEnforced(ctx, m, n%e.world.groups)
		if err != nil {
			return fmt.Errorf("edit %d: %w", n, err)
		}
		if err := h.RecordValue(took.Microseconds()); err != nil {
			return err
		}
	}
	p50, p99, worst := quantile(h, 50), quantile(h, 99), quantile(h, 100)
	b.say("%s: p50 %.1f ms, p99 %.1f ms, worst %.1f ms", key, p50, p99, worst)
	b.results.add(key+"/p50-ms", p50)
	b.results.add(key+"/p99", p99)
	b.results.add(key+"/worst-ms", worst)
	return nil
}
