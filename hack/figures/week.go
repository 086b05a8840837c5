package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
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
	weekGroups  = 1000
	weekMembers = 100
	weekRemoved = 98
	weekStep    = 12 * time.Hour
	weekRounds  = 14
	weekWriters = 8 // at a time who try to join
)

// measureWeek lets groups be full for a week. Nobody is removed in Preview, so that every group is reported and planned again as soon as its
// cooldown is over: 12 hours here, since a week of the default of 10 minutes would be a million runs. What is kept does not depend on it.
func measureWeek(ctx context.Context, s *stage, out io.Writer) error {
	rule := fmt.Sprintf("{mode: Preview, inactiveFor: 30d, freeSeats: %d, maxRemovals: %[1]d, cooldown: 11h}", weekRemoved)
	if err := s.policies(ctx, rule); err != nil {
		return err
	}
	for i := range weekGroups {
		_, err := s.im.CreateGroup(ctx, emulator.GroupSpec{
			ID: weekGroup(i), Type: "Public", MaxMembers: weekMembers, Owner: "olivia", CreatedAgo: "400d", ApplyJoinOption: "FreeAccess",
			Members: []emulator.MemberSpec{
				{Prefix: fmt.Sprintf("member-%d-", i), Count: weekRemoved, InactiveFor: "60d"},
				{Prefix: "busy", Count: weekMembers - weekRemoved - 1, JoinedAgo: "100d", SpokeAgo: "1d"},
			},
		})
		if err != nil {
			return err
		}
	}
	replicas := make([]*replica, 2)
	for i := range replicas {
		var err error
		if replicas[i], err = s.replica(ctx, fmt.Sprintf("replica-%d", i)); err != nil {
			return err
		}
		if i == 0 {
			err = s.await(ctx, "the first replica to hold the term", func(context.Context) (bool, error) {
				r, err := replicas[0].ask("read")
				return r.Term, err
			})
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\n%d groups full for a week, Preview, %d removals planned in each; PruneRuns in etcd, and MiB:\n\n", weekGroups, weekRemoved)
	fmt.Fprintln(out, "| day | PruneRuns | their JSON | etcd in use | with the term: resident | live heap | without: resident | live heap |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|")
	if err := s.weekRow(ctx, out, 0, replicas); err != nil {
		return err
	}
	for round := range weekRounds {
		began := time.Now()
		// Whoever answers a callback creates the run; whoever holds the term plans it.
		if err := s.callbacksTo(ctx, replicas[round%2].callbackURL); err != nil {
			return err
		}
		if err := s.everybodyTries(ctx); err != nil {
			return err
		}
		if err := s.roundEnds(ctx, (round+1)*weekGroups, replicas); err != nil {
			return err
		}
		progress("round %d took %s", round+1, time.Since(began).Round(time.Second))
		if slices.Contains([]int{2, 4, 8, weekRounds}, round+1) {
			if err := s.weekRow(ctx, out, float64(round+1)*weekStep.Hours()/24, replicas); err != nil {
				return err
			}
		}
		if err := s.forward(ctx, replicas); err != nil {
			return err
		}
	}
	late, err := s.replica(ctx, "replica-late")
	if err != nil {
		return err
	}
	m, r, err := late.look()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nA replica that starts then: %s resident, %s at its peak, %s live heap.\n", mib(m.resident), mib(m.peak), mib(r.Live))
	return nil
}

func weekGroup(i int) string { return fmt.Sprintf("group-%d", i) }

// everybodyTries has somebody turned away from every group, which the emulator tells of.
func (s *stage) everybodyTries(ctx context.Context) error {
	g, trying := errgroup.WithContext(ctx)
	g.SetLimit(weekWriters)
	for i := range weekGroups {
		g.Go(func() error {
			outcome, err := s.im.Apply(trying, weekGroup(i), "lucy")
			if err == nil && outcome.Result != emulator.ResultFull {
				err = fmt.Errorf("lucy in %s: %+v", weekGroup(i), outcome)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return s.im.Settle(ctx, time.Minute)
}

// roundEnds waits until that many runs have ended and no group has more than the last three.
func (s *stage) roundEnds(ctx context.Context, runs int, replicas []*replica) error {
	err := s.await(ctx, "the runs of the round to end", func(ctx context.Context) (bool, error) {
		ended := 0
		for _, replica := range replicas {
			r, err := replica.ask("read")
			if err != nil {
				return false, err
			}
			ended += r.Ended
		}
		return ended >= runs, rest(ctx, time.Second)
	})
	if err != nil {
		return err
	}
	return s.await(ctx, "surplus runs to go", func(ctx context.Context) (bool, error) {
		objects, _, err := s.pruneRuns(ctx)
		if err != nil || objects <= min(3*weekGroups, runs) {
			return err == nil, err
		}
		return false, rest(ctx, time.Second) // the list is a large one
	})
}

// forward moves all clocks.
func (s *stage) forward(ctx context.Context, replicas []*replica) error {
	if _, err := s.im.MoveClock(ctx, emulator.ClockChange{Forward: weekStep.String()}); err != nil {
		return err
	}
	for _, replica := range replicas {
		if _, err := replica.ask(weekStep.String()); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) weekRow(ctx context.Context, out io.Writer, day float64, replicas []*replica) error {
	// Longer than etcd keeps its history here.
	if err := rest(ctx, 65*time.Second); err != nil {
		return err
	}
	objects, bytes, err := s.pruneRuns(ctx)
	if err != nil {
		return err
	}
	etcd, err := metric(ctx, s.plane.EtcdURL()+"/metrics", "etcd_mvcc_db_total_size_in_use_in_bytes")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| %g | %d | %s | %s", day, objects, mib(bytes), mib(etcd))
	for _, replica := range replicas {
		m, r, err := replica.look()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, " | %s | %s", mib(m.resident), mib(r.Live))
	}
	fmt.Fprintln(out, " |")
	return nil
}

// pruneRuns counts the PruneRuns and the bytes of their JSON, which is what etcd holds.
func (s *stage) pruneRuns(ctx context.Context) (objects int, bytes int64, err error) {
	api, err := dynamic.NewForConfig(s.plane.Config)
	if err != nil {
		return 0, 0, fmt.Errorf("make a client: %w", err)
	}
	runs := api.Resource(schema.GroupVersionResource{Group: "groupgate.io", Version: "v1alpha1", Resource: "pruneruns"}).Namespace(namespace)
	for options := (metav1.ListOptions{Limit: 250}); ; {
		list, err := runs.List(ctx, options)
		if err != nil {
			return 0, 0, fmt.Errorf("list the prune runs: %w", err)
		}
		for i := range list.Items {
			text, err := list.Items[i].MarshalJSON()
			if err != nil {
				return 0, 0, fmt.Errorf("measure a prune run: %w", err)
			}
			objects, bytes = objects+1, bytes+int64(len(text))
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return objects, bytes, nil
		}
	}
}

// replica is a process of this program that runs as one.
type replica struct {
	callbackURL string
	pid         int
	in          io.WriteCloser
	out         *bufio.Reader
}

func (s *stage) replica(ctx context.Context, name string) (*replica, error) {
	restore, err := memoryLimitOfChildren(true)
	if err != nil {
		return nil, err
	}
	defer restore()
	address, err := lab.FreeAddress()
	if err != nil {
		return nil, err
	}
	log, err := s.log(name)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "replica", "-kubeconfig="+s.kubeconfig, "-im-endpoint="+s.im.BaseURL, "-callback-bind-address="+address)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	s.clear = append(s.clear, func() error {
		_ = in.Close() // that ends it
		return cmd.Wait()
	})
	r := &replica{callbackURL: "http://" + address + "/callback", pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out)}
	return r, s.await(ctx, name+" to be ready", func(context.Context) (bool, error) {
		got, err := r.ask("read")
		return got.Ready, err
	})
}

func (r *replica) ask(line string) (reading, error) {
	if _, err := fmt.Fprintln(r.in, line); err != nil {
		return reading{}, fmt.Errorf("ask a replica: %w", err)
	}
	answer, err := r.out.ReadBytes('\n')
	if err != nil {
		return reading{}, fmt.Errorf("read what a replica says: %w", err)
	}
	var got reading
	if err := json.Unmarshal(answer, &got); err != nil {
		return reading{}, fmt.Errorf("read what a replica says: %w", err)
	}
	return got, nil
}

// look reads the memory of the process before it is asked to collect garbage.
func (r *replica) look() (memory, reading, error) {
	m, err := residentMemory(r.pid)
	if err != nil {
		return memory{}, reading{}, err
	}
	got, err := r.ask("collect")
	return m, got, err
}
