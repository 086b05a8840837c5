package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const (
	weekGroups  = 250
	weekMembers = 100
	weekRemoved = 98
	weekStep    = 4 * time.Hour
	weekRounds  = int(7 * 24 * time.Hour / weekStep)
	// weekQuiet is how long no run may end before those of a round have ended.
	weekQuiet = 3 * time.Second
)

var pruneRunResource = schema.GroupVersionResource{Group: "groupgate.io", Version: "v1alpha1", Resource: "pruneruns"}

// pruneWeek lets groups be full for a week. Preview removes none, so that every group is reported again and again:
// every 4 hours here, since a week of the default cooldown of 10 minutes would be 1,000 runs of each. The runs that are
// kept do not depend on it.
func (b *bench) pruneWeek(ctx context.Context) error {
	const rule = "{mode: Preview, inactiveFor: 30d, freeSeats: %d, maxRemovals: %[1]d}"
	return b.onPruning(ctx, fmt.Sprintf(rule, weekRemoved), func(p *pruning) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		p.Binary = self // see runReplica
		for i := range weekGroups {
			const busy = weekMembers - weekRemoved - 1
			if err := p.createGroup(ctx, weekGroup(i), "Public", weekMembers, weekRemoved, busy); err != nil {
				return err
			}
		}
		leader, err := p.startManager(ctx, memoryLimit)
		if err != nil {
			return err
		}
		other, err := p.startReplica(ctx)
		if err != nil {
			return err
		}
		return p.week(ctx, leader, other)
	})
}

func weekGroup(i int) string { return fmt.Sprintf("group-%d", i) }

// startReplica is startManager of one that does not lead.
func (p *pruning) startReplica(ctx context.Context) (*lab.Manager, error) {
	m, err := p.StartManager(p.log, "")
	if err != nil {
		return nil, err
	}
	p.ends = append(p.ends, func() error { return m.Stop(time.Minute) })
	return m, m.AwaitReady(ctx)
}

func (p *pruning) week(ctx context.Context, leader, other *lab.Manager) error {
	table := p.results.table(
		fmt.Sprintf("%d groups full for a week, Preview, %d removals planned in each; PruneRuns in etcd, and MiB:",
			weekGroups, weekRemoved),
		"day", "runs so far", "calls so far", "PruneRuns", "their JSON", "etcd in use",
		"leader: resident", "live heap", "other replica: resident", "live heap")
	if err := p.addDay(ctx, table, 0, leader, other); err != nil {
		return err
	}
	for round := range weekRounds {
		begun := time.Now()
		// The replica that answers a callback creates the run; the leader plans it.
		if err := p.im.SendCallbacksTo(ctx, []*lab.Manager{leader, other}[round%2].CallbackURL); err != nil {
			return err
		}
		if err := p.tryAllGroups(ctx); err != nil {
			return err
		}
		if err := p.awaitRound(ctx, leader, other); err != nil {
			return err
		}
		p.say("round %d took %s", round+1, time.Since(begun).Round(time.Second))
		if day := float64(round+1) * weekStep.Hours() / 24; slices.Contains([]float64{1, 2, 7}, day) {
			if err := p.addDay(ctx, table, day, leader, other); err != nil {
				return err
			}
		}
		if err := p.forward(ctx, leader, other); err != nil {
			return err
		}
	}
	late, err := p.startReplica(ctx)
	if err != nil {
		return err
	}
	highest, err := memory(late.PID(), peak)
	if err != nil {
		return err
	}
	held, live, err := liveMemory(ctx, late)
	p.results.table("A replica that starts then, in MiB:", "resident", "peak", "live heap").add(held, highest, live)
	return err
}

// tryAllGroups has an account refused by every group, which the emulator reports.
func (p *pruning) tryAllGroups(ctx context.Context) error {
	g, trying := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range weekGroups {
		g.Go(func() error {
			outcome, err := p.im.Apply(trying, weekGroup(i), "lucy")
			if err == nil && outcome.Result != emulator.ResultFull {
				err = fmt.Errorf("lucy in %s: %+v", weekGroup(i), outcome)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return p.im.Settle(ctx, time.Minute)
}

// awaitRound waits until no more runs end, and no group has more than the last three.
func (p *pruning) awaitRound(ctx context.Context, replicas ...*lab.Manager) error {
	ctx, cancel := context.WithTimeout(ctx, pruningPatience)
	defer cancel()
	ended, since := -1.0, time.Now()
	return lab.Poll(ctx, time.Second, "the runs of the round to end", func(ctx context.Context) (bool, error) {
		now, err := sum(ctx, "groupgate_prune_runs_total", replicas...)
		if now != ended {
			ended, since = now, time.Now()
		}
		if err != nil || time.Since(since) < weekQuiet {
			return false, err
		}
		objects, _, err := p.pruneRuns(ctx)
		return objects <= 3*weekGroups, err
	})
}

// sum is a metric of all replicas together.
func sum(ctx context.Context, name string, replicas ...*lab.Manager) (total float64, _ error) {
	for _, m := range replicas {
		value, err := m.Metric(ctx, name)
		if err != nil {
			return 0, err
		}
		total += value
	}
	return total, nil
}

// forward moves all clocks.
func (p *pruning) forward(ctx context.Context, replicas ...*lab.Manager) error {
	if _, err := p.im.MoveClock(ctx, emulator.ClockChange{Forward: weekStep.String()}); err != nil {
		return err
	}
	for _, m := range replicas {
		if err := m.Signal(forwardClock); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruning) addDay(ctx context.Context, table *table, day float64, replicas ...*lab.Manager) error {
	if err := wait(ctx, 65*time.Second); err != nil { // longer than etcd keeps its history here
		return err
	}
	objects, bytes, err := p.pruneRuns(ctx)
	if err != nil {
		return err
	}
	etcd, err := lab.Metric(ctx, p.EtcdURL()+"/metrics", "etcd_mvcc_db_total_size_in_use_in_bytes")
	if err != nil {
		return err
	}
	runs, err := sum(ctx, "groupgate_prune_runs_total", replicas...)
	if err != nil {
		return err
	}
	calls, err := sum(ctx, "groupgate_im_requests_total", replicas...)
	if err != nil {
		return err
	}
	row := []any{day, runs, calls, objects, bytes / (1 << 20), etcd / (1 << 20)}
	for _, m := range replicas {
		held, live, err := liveMemory(ctx, m)
		if err != nil {
			return err
		}
		row = append(row, held, live)
	}
	table.add(row...)
	return nil
}

// pruneRuns counts the PruneRuns and the bytes of their JSON, which is what etcd holds.
func (p *pruning) pruneRuns(ctx context.Context) (objects int, bytes float64, err error) {
	api, err := dynamic.NewForConfig(p.Config)
	if err != nil {
		return 0, 0, fmt.Errorf("make a client: %w", err)
	}
	for options := (metav1.ListOptions{Limit: 250}); ; {
		list, err := api.Resource(pruneRunResource).Namespace(p.Namespace).List(ctx, options)
		if err != nil {
			return 0, 0, fmt.Errorf("list the prune runs: %w", err)
		}
		for i := range list.Items {
			text, err := list.Items[i].MarshalJSON()
			if err != nil {
				return 0, 0, fmt.Errorf("measure a prune run: %w", err)
			}
			objects, bytes = objects+1, bytes+float64(len(text))
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return objects, bytes, nil
		}
	}
}

// liveMemory is what a replica holds, and the heap that is left after a garbage collection, in MiB.
func liveMemory(ctx context.Context, m *lab.Manager) (held, live float64, err error) {
	if held, err = memory(m.PID(), resident); err != nil {
		return 0, 0, err
	}
	collections, err := m.Metric(ctx, "go_gc_duration_seconds_count")
	if err != nil {
		return 0, 0, err
	}
	if err := m.Signal(collectGarbage); err != nil {
		return 0, 0, err
	}
	err = lab.Await(ctx, "a garbage collection", func(ctx context.Context) (bool, error) {
		now, err := m.Metric(ctx, "go_gc_duration_seconds_count")
		return now > collections, err
	})
	if err == nil {
		live, err = m.Metric(ctx, "go_memstats_heap_alloc_bytes")
	}
	return held, live / (1 << 20), err
}
