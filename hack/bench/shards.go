package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// shards measures the manager with one policy over a selector of 500 shards with 10,000,000 accounts.
func (b *bench) shards(ctx context.Context) (err error) {
	w := shardsWorld
	// As with many policies: the first one writes every status.
	m, err := b.startQuiet(ctx, 0, w)
	if err != nil {
		return err
	}
	if err := m.end(); err != nil {
		return err
	}
	if m, err = b.startManager(ctx, 0, w); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	b.results.add("shards/ready-s", m.ready.Seconds())
	b.say("ready after %s", m.ready.Round(time.Millisecond))
	if err := askAll(ctx, m, w); err != nil {
		return err
	}
	if err := b.steadyMemory(ctx, m, "shards"); err != nil {
		return err
	}
	var took []float64
	for n := range 2 * b.rounds {
		d, err := b.editShard(ctx, m, w, n*w.shards/(2*b.rounds), n)
		if err != nil {
			return err
		}
		b.say("shard edited, enforced after %s", d.Round(time.Millisecond))
		took = append(took, milliseconds(d))
	}
	b.results.add("shards/enforce", took...)
	b.results.add("shards/enforce-worst-ms", slices.Max(took))
	rss, err := memory(m.PID(), resident)
	b.results.add("shards/rss-after-edits-mib", rss)
	return err
}

// editShard replaces the last account of a shard by a new one and returns how long it took until that one is admitted.
func (b *bench) editShard(ctx context.Context, m *manager, w world, shard, n int) (time.Duration, error) {
	conn, err := dial(ctx, m.address(), nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	accounts := w.listed(shard)
	newcomer := account(w.accounts + n)
	accounts[len(accounts)-1] = newcomer
	return untilAnswered(ctx, conn, w.asVendor(&callback{account: newcomer}, lab.CallbackToken, time.Now()),
		func(answer []byte) bool { return bytes.Contains(answer, []byte(admission)) },
		func(ctx context.Context) error {
			return b.plane.mergePatch(ctx, w.listPath(shard), object{"spec": object{"accounts": accounts}})
		})
}
