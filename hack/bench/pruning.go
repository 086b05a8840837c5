package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const (
	// memoryLimit is the GOMEMLIMIT of config/manager.
	memoryLimit = "460MiB"
	// vendorRate is the highest requestsPerSecond.
	vendorRate = 200
	// pruningPatience bounds one wait. The longest is for 4 lists of 10,000 pages each at 200 pages a second.
	pruningPatience = 6 * time.Minute
)

// pruning is the world of one section on pruning: a control plane and an emulator of its own, so that the objects of
// one section do not show in the figures of another.
type pruning struct {
	*bench
	lab.World
	im   *lab.Emulator
	ends []func() error
}

// onPruning runs do in a world with an app that may call 200 times a second, and a GroupPolicy for every group with
// that prune rule.
func (b *bench) onPruning(ctx context.Context, rule string, do func(*pruning) error) (err error) {
	dir, err := os.MkdirTemp(b.dir, "pruning-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	p := &pruning{bench: b}
	defer func() {
		for i := len(p.ends) - 1; i >= 0; i-- {
			err = errors.Join(err, p.ends[i]())
		}
	}()
	// A week passes in minutes. What the API server drops by the clock of the machine is dropped sooner accordingly:
	// events, which live for an hour, and the history of etcd, of which five minutes are kept.
	plane, err := lab.StartControlPlane(dir, map[string]string{"event-ttl": "1m", "etcd-compaction-interval": "30s"})
	if err != nil {
		return err
	}
	p.ends = append(p.ends, plane.Stop)
	if err := plane.Install(ctx); err != nil {
		return err
	}
	app := fmt.Sprintf("--app=%d:%s:%s", lab.SDKAppID, lab.SecretKey, lab.CallbackToken)
	if p.im, err = lab.StartEmulator(ctx, b.log, b.groupgate, app); err != nil {
		return err
	}
	p.ends = append(p.ends, func() error { return p.im.Stop(10 * time.Second) })
	p.World = lab.World{ControlPlane: plane, Namespace: "chat", Binary: b.groupgate, IMEndpoint: p.im.BaseURL}
	if err := p.Apply(ctx,
		lab.App{Spec: fmt.Sprintf("rest: {requestsPerSecond: %d}", vendorRate)}.Manifests(),
		lab.PolicyManifest("everywhere", "groups: [{type: All}]\nwhenFull: {prune: "+rule+"}"),
	); err != nil {
		return err
	}
	return do(p)
}

// startManager starts a manager with a GOMEMLIMIT and waits until it is ready and leads. Callbacks go to it.
func (p *pruning) startManager(ctx context.Context, limit string) (*lab.Manager, error) {
	p.Env = []string{"GOMEMLIMIT=" + limit}
	m, err := p.StartManager(p.log, "", "--shutdown-delay=0s", "--sweep-interval=24h")
	if err != nil {
		return nil, err
	}
	p.ends = append(p.ends, func() error { return m.Stop(time.Minute) })
	bounded, cancel := context.WithTimeout(ctx, pruningPatience)
	defer cancel()
	if err := errors.Join(m.AwaitReady(bounded), p.im.SendCallbacksTo(ctx, m.CallbackURL)); err != nil {
		return nil, err
	}
	return m, p.await(ctx, "the manager to lead", m.Leads)
}

func (p *pruning) await(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, pruningPatience)
	defer cancel()
	return lab.Await(ctx, what, holds)
}

// fill makes a group with one free seat and half of its members inactive. Then an account joins, and the emulator
// reports the group as full.
func (p *pruning) fill(ctx context.Context, id, groupType string, members int) error {
	if err := p.createGroup(ctx, id, groupType, members, members/2, members-members/2-2); err != nil {
		return err
	}
	joined, err := p.im.Apply(ctx, id, "lucy")
	if err == nil && joined.Result != emulator.ResultJoined {
		err = fmt.Errorf("lucy was not admitted to %s: %+v", id, joined)
	}
	return err
}

// createGroup makes a group of the owner and idle and busy members.
func (p *pruning) createGroup(ctx context.Context, id, groupType string, limit, idle, busy int) error {
	_, err := p.im.CreateGroup(ctx, emulator.GroupSpec{
		ID: id, Type: groupType, MaxMembers: limit, Owner: "olivia", CreatedAgo: "400d", ApplyJoinOption: "FreeAccess",
		Members: []emulator.MemberSpec{
			{Prefix: "idle-of-" + id + "-", Count: idle, InactiveFor: "60d"},
			{Prefix: "busy", Count: busy, JoinedAgo: "100d", SpokeAgo: "1d"},
		},
	})
	return err
}
