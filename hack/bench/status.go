package main

import (
	"context"
	"errors"
	"fmt"
)

// status counts the status writes that edits cause: 50 policies and 50 lists, each edited once.
func (b *bench) status(ctx context.Context) (err error) {
	const each = 50
	m, err := b.startQuiet(ctx, 0, streamWorld)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	before, err := b.plane.statusWrites(ctx)
	if err != nil {
		return err
	}
	e := newEditor(b.plane, streamWorld)
	for n := range each {
		if err := e.store(ctx, n, e.begin(n)); err != nil {
			return err
		}
		accounts := append(streamWorld.members(n), fmt.Sprintf("another-%08d", n))
		edit := object{"spec": object{"accounts": accounts}}
		if err := b.plane.mergePatch(ctx, streamWorld.listPath(n), edit); err != nil {
			return err
		}
	}
	if err := b.plane.awaitStatuses(ctx); err != nil {
		return err
	}
	after, err := b.plane.statusWrites(ctx)
	if err != nil {
		return err
	}
	b.results.add("status/writes", (after-before)/(2*each))
	return b.restore(ctx, e)
}
