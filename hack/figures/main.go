// Command figures measures what pruning costs: the memory of the planner, the time from a callback to the first removal, and what
// groups that stay full leave behind. It takes real processes, a real API server and the emulator, about half an hour, and
// prints tables for docs/pruning-figures.md. Linux only: it reads /proc.
//
// `make figures` builds what it needs. Figures depend on the machine and on what else it does: compare those of one run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// figure is one thing to measure; it prints a table to out.
type figure struct {
	name    string
	measure func(ctx context.Context, s *stage, out io.Writer) error
}

var figures = []figure{
	{"latency", measureLatency},
	{"memory", measureMemory},
	{"week", measureWeek},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "figures: %v\n", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "replica" {
		return runReplica(ctx, args[1:])
	}
	var names []string
	for _, f := range figures {
		names = append(names, f.name)
	}
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	only := flags.String("only", strings.Join(names, ","), "what to measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted := strings.Split(*only, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-only: %q is no figure: use some of %s", name, strings.Join(names, ","))
		}
	}
	return run(ctx, os.Stdout, wanted)
}

func run(ctx context.Context, out io.Writer, wanted []string) (err error) {
	dir, err := os.MkdirTemp("", "groupgate-figures-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		if err == nil || ctx.Err() != nil {
			err = errors.Join(err, os.RemoveAll(dir))
			return
		}
		err = fmt.Errorf("%w\nThe logs are in %s", err, dir)
	}()
	binary := filepath.Join(lab.Root(), "bin", "groupgate")
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("no bin/groupgate (%w): run `make build`", err)
	}
	fmt.Fprintf(out, "%s, %s/%s, %d CPUs, %s\n", time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	for _, f := range figures {
		if !slices.Contains(wanted, f.name) {
			continue
		}
		// A control plane of its own for each: what one leaves in etcd is not to show in the next.
		if err := onStage(ctx, filepath.Join(dir, f.name), binary, func(s *stage) error { return f.measure(ctx, s, out) }); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}
