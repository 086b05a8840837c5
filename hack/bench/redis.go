package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/groupgate/groupgate/internal/lab"
)

// redisPackages are Debian's redis-server with the libraries of which a machine without it may lack.
var redisPackages = []string{
	"redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1", "liblua5.1-0", "lua-bitop", "lua-cjson",
	"libhiredis0.14",
}

// startWithRedis starts a Redis and the server in front of it. The CPU time of both counts.
func startWithRedis(ctx context.Context, b *bench, procs int) (*server, error) {
	command, err := b.redisServer(ctx)
	if err != nil {
		return nil, err
	}
	address, err := lab.FreeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	command = append(command, "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no")
	store, err := b.startServer(ctx, nil, address, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	front, err := b.startPeer(ctx, "redis", procs, "-redis="+address)
	if err != nil {
		return nil, errors.Join(err, store.end())
	}
	front.pids = append(front.pids, store.pids...)
	endFront := front.end
	front.end = func() error { return errors.Join(endFront(), store.end()) }
	return front, nil
}

// redisServer is the command of a Redis server: the machine's own, or Debian's package, unpacked and not installed.
func (b *bench) redisServer(ctx context.Context) ([]string, error) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		return []string{path}, nil
	}
	dir := filepath.Join(b.cache, "redis")
	binary := filepath.Join(dir, "root", "usr", "bin", "redis-server")
	if _, err := os.Stat(binary); err != nil {
		b.say("fetching Debian's redis-server, once")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		script := `apt-get download "$@" && for package in *.deb; do dpkg --extract "$package" root; done`
		fetch := exec.CommandContext(ctx, "sh", append([]string{"-c", script, "sh"}, redisPackages...)...)
		fetch.Dir = dir
		if out, err := fetch.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("no redis-server here, and none to be had from apt-get: %w: %s", err, out)
		}
	}
	libraries, err := filepath.Glob(filepath.Join(dir, "root", "usr", "lib", "*-linux-gnu"))
	if err != nil || len(libraries) == 0 {
		return nil, fmt.Errorf("the packages of redis-server hold no libraries in %s", dir)
	}
	// env becomes redis-server: it is the same process.
	return []string{"/usr/bin/env", "LD_LIBRARY_PATH=" + libraries[0], binary}, nil
}
