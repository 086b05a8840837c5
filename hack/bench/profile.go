package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"

	"github.com/google/pprof/profile"

	"github.com/groupgate/groupgate/internal/policy"
)

// profile writes a CPU profile of the callback path, from a server in this process. It measures nothing: callback.pprof
// is for analysis, callback.pgo, which has the server's side only, for the compiler.
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
	_, err = closedLoop(ctx, s.target, contenders()[1].requests(streamWorld.population), b.connections, 3*b.round)
	pprof.StopCPUProfile()
	if err == nil {
		err = forCompiler(path, filepath.Join(b.cache, "callback.pgo"))
	}
	if err != nil {
		return err
	}
	b.say(`profile in %s: go tool pprof -focus='http.\(\*conn\).serve' -cum -top %s`, path, path)
	return nil
}

// forCompiler copies a profile without the load generator, and without the paths of this machine.
func forCompiler(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	p, err := profile.Parse(in)
	if err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	serving := regexp.MustCompile(`^net/http\.\(\*conn\)\.serve$`)
	if found, _, _, _ := p.FilterSamplesByName(serving, nil, nil, nil); !found {
		return fmt.Errorf("%s has no sample of the server", from)
	}
	p = p.Compact()
	for _, f := range p.Function {
		f.Filename = filepath.Base(f.Filename)
	}
	for _, m := range p.Mapping {
		m.File = filepath.Base(m.File)
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(p.Write(out), out.Close())
}
