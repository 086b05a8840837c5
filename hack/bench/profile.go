package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/groupgate/groupgate/internal/policy"
)

// profile writes a CPU profile of the callback path, from a server in this process. It measures nothing: it is for who asks why.
func (b *bench) profile(ctx context.Context) (err error) {
	store := &policy.Store{}
	store.Publish(policy.Compile(streamWorld.input()))
	s, err := serveGate(ctx, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	s.pids = []int{os.Getpid()}
	path := filepath.Join(b.cache, "callback.pprof")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return fmt.Errorf("start the profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	if _, err := closedLoop(ctx, s.target, contenders()[1].requests(streamWorld.population), b.connections, 3*b.round); err != nil {
		return err
	}
	b.say(`profile in %s: go tool pprof -focus='http.\(\*conn\).serve' -cum -top %s`, path, path)
	return nil
}
