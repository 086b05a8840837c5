// Command bench measures Groupgate side by side with what a team would use instead. It builds and starts everything
// itself: a kube-apiserver with its etcd, `groupgate manager` with policies that come through that API server, and the
// peers as processes. It prints tables, writes JSON, and fails where a limit is exceeded. Linux only: it reads /proc.
//
// docs/performance.md says how it measures and why so, docs/pruning-figures.md has the tables of the sections on
// pruning, docs/stranger-figures.md that of the section on strangers, and docs/eviction-figures.md those of the
// sections on evictions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// The worlds that sections share. Each has a namespace of its own.
var (
	// streamWorld is what the contenders decide on.
	streamWorld = world{
		namespace:  "bench-stream",
		population: population{sdkAppID: 1400000001, groups: 1000, accounts: 1000},
	}
	// manyWorld has 10,000 policies and 1,000,000 accounts.
	manyWorld = world{
		namespace:  "bench-many",
		population: population{sdkAppID: 1400000002, groups: 10_000, accounts: 100},
	}
	// shardsWorld has one policy over a selector of 500 shards with 10,000,000 accounts.
	shardsWorld = world{
		namespace:  "bench-shards",
		population: population{sdkAppID: 1400000003, groups: 1, accounts: 10_000_000},
		shards:     500,
	}
)

// section is one part of a run.
type section struct {
	name    string
	measure func(*bench, context.Context) error
	// long ones run only when they are named.
	long bool
}

// sections are in the order in which they run.
var sections = []section{
	{"allocations", (*bench).allocations, false},
	{"decide", (*bench).decide, false},
	{"judge", (*bench).judge, false},
	{"index", (*bench).index, false},
	{"compile", (*bench).compile, false},
	{"profile", (*bench).profile, false},
	{"path", (*bench).path, false},
	{"tls", (*bench).tls, false},
	{"latency", (*bench).latency, false},
	{"enforce", (*bench).enforce, false},
	{"status", (*bench).status, false},
	{"many", (*bench).many, false},
	{"shards", (*bench).shards, false},
	{"churn", (*bench).churn, false},
	{"prune-latency", (*bench).pruneLatency, true},
	{"prune-memory", (*bench).pruneMemory, true},
	{"prune-week", (*bench).pruneWeek, true},
	{"prune-flood", (*bench).pruneFlood, true},
	{"prune-backlog", (*bench).pruneBacklog, true},
	{"strangers", (*bench).strangers, true},
	{"evict-edit", (*bench).evictEdit, true},
	{"evict-beside", (*bench).evictBeside, true},
	{"evict-round", (*bench).evictRound, true},
	{"page", (*bench).page, true},
}

// bench is one run.
type bench struct {
	groupgate   string // the binary
	dir         string // for this run
	cache       string // for what later runs can use again
	log         *os.File
	rounds      int
	round       time.Duration
	connections int
	edits       int
	// churnAccounts and churnTime are the length of the list of the section churn, and for how long it is edited.
	churnAccounts int
	churnTime     time.Duration

	results *results
	plane   *cluster
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context) (code int, err error) {
	if len(os.Args) > 1 && os.Args[1] == replicaCommand {
		return 0, runReplica(ctx, os.Args[2:])
	}
	if len(os.Args) > 1 && os.Args[1] == strangerCommand {
		return 0, runStrangers(ctx, os.Args[2:])
	}
	var names, defaults []string
	for _, s := range sections {
		names = append(names, s.name)
		if !s.long {
			defaults = append(defaults, s.name)
		}
	}
	b := &bench{}
	chosen := flag.String("sections", strings.Join(defaults, ","), "what to measure; all: "+strings.Join(names, ","))
	out := flag.String("o", filepath.Join(lab.Root(), "bin", "bench.json"), "file for the results")
	docs := flag.Bool("docs", false, "write the results into docs/performance.md")
	flag.StringVar(&b.groupgate, "groupgate", filepath.Join(lab.Root(), "bin", "groupgate"), "the binary to measure")
	flag.IntVar(&b.rounds, "rounds", 5,
		"how often each figure is measured, contenders interleaved; the table holds medians")
	flag.DurationVar(&b.round, "round", 3*time.Second,
		"how long a contender is under load in a round; three times that for a latency")
	flag.IntVar(&b.connections, "connections", 32, "keep-alive connections of the load generator")
	flag.IntVar(&b.edits, "edits", 300, "edits whose way to being enforced is timed")
	flag.IntVar(&b.churnAccounts, "churn-accounts", 1_000_000, "accounts on the list of the section churn")
	flag.DurationVar(&b.churnTime, "churn-time", time.Minute, "how long the section churn edits its list")
	flag.Parse()
	if b.churnTime < time.Second || b.churnAccounts < int(b.churnTime.Seconds()*churnRate) {
		return 0, errors.New("-churn-time must be at least 1s, and -churn-accounts an account for each edit")
	}
	if b.rounds < 1 || b.connections < 1 || b.edits < 1 || b.round < time.Millisecond {
		return 0, errors.New("-rounds, -connections and -edits must be at least 1, -round at least 1ms")
	}
	if *docs && *chosen != strings.Join(defaults, ",") {
		return 0, errors.New("-docs writes all tables of the page: leave -sections out")
	}
	for _, name := range strings.Split(*chosen, ",") {
		if !slices.Contains(names, name) {
			return 0, fmt.Errorf("-sections: there is no section %q: use some of %s", name, strings.Join(names, ","))
		}
	}
	limits, err := loadThresholds()
	if err != nil {
		return 0, err
	}
	if b.dir, err = os.MkdirTemp("", "groupgate-bench-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	b.cache = filepath.Join(lab.Root(), "bin", "bench")
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return 0, err
	}
	if b.log, err = os.Create(filepath.Join(b.cache, "processes.log")); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.log.Close()) }()
	b.results = newResults(ctx, b)

	measured := b.measure(ctx, strings.Split(*chosen, ","))
	if b.plane != nil {
		measured = errors.Join(measured, b.plane.Stop())
	}
	text, exceeded := b.results.markdown(limits)
	fmt.Println(text)
	if err := errors.Join(measured, b.results.writeJSON(*out)); err != nil {
		return 0, err
	}
	if *docs {
		if err := writeDocs(text); err != nil {
			return 0, err
		}
	}
	if exceeded > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d goals missed\n", exceeded)
		return 2, nil
	}
	return 0, nil
}

func (b *bench) measure(ctx context.Context, chosen []string) error {
	// The sections after one that fails are still measured.
	var errs []error
	for _, s := range sections {
		if !slices.Contains(chosen, s.name) {
			continue
		}
		begun := time.Now()
		b.say("== %s", s.name)
		if err := s.measure(b, ctx); err != nil {
			errs = append(errs, fmt.Errorf("section %s: %w", s.name, err))
			b.say("%v", errs[len(errs)-1])
		}
		if ctx.Err() != nil {
			break
		}
		b.say("== %s took %s", s.name, time.Since(begun).Round(time.Second))
	}
	return errors.Join(errs...)
}

// say reports progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// world makes a world, and starts the control plane, when a section first needs it.
func (b *bench) world(ctx context.Context, w world) error {
	if err := b.startPlane(ctx); err != nil {
		return err
	}
	if b.plane.worlds[w.namespace] {
		return nil
	}
	b.say("making %s: %d policies, %d accounts", w.namespace, w.groups, w.groups*w.accounts)
	if err := b.plane.build(ctx, w); err != nil {
		return fmt.Errorf("make %s: %w", w.namespace, err)
	}
	b.plane.worlds[w.namespace] = true
	return nil
}

// startPlane starts the control plane unless it runs.
func (b *bench) startPlane(ctx context.Context) (err error) {
	if b.plane == nil {
		b.say("starting the control plane")
		b.plane, err = startCluster(ctx, b.dir)
	}
	return err
}
