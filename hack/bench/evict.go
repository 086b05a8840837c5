package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const (
	// editedGroups are the groups that policies name exactly, and that one list is for.
	editedGroups = 1000
	// roundGroups are the groups that a round goes through, of roundMembers each.
	roundGroups  = 10_000
	roundMembers = 500
	// besideGroups are those that are looked at while full groups are pruned: more than there is time for.
	besideGroups = 1000
	// besideRate is the rate of the app while full groups are pruned beside a round, the default.
	besideRate = 20
	// besideRuns is how many groups are pruned in each turn, with the round and without.
	besideRuns  = 8
	besideTurns = 5
	// evictPatience bounds one wait: a round of 50,200 calls takes 17 minutes at 50 a second.
	evictPatience = 30 * time.Minute
)

// besidePruning is the rule for full groups beside a round.
const besidePruning = "{mode: Enforce, inactiveFor: 30d, freeSeats: 10, maxRemovalsPerDay: 10000, notification: Silent}"

// evictEdit measures how soon a member who was taken off a list is planned in every group that the list is for.
func (b *bench) evictEdit(ctx context.Context) error {
	return b.onPruning(ctx, besidePruning, func(p *pruning) error {
		if err := p.createRooms(ctx, editedGroups, 60); err != nil {
			return err
		}
		if err := p.Apply(ctx, append(exactRooms(editedGroups), p.staff(60))...); err != nil {
			return err
		}
		m, err := p.startManager(ctx, memoryLimit)
		if err != nil {
			return err
		}
		if err := p.awaitEvictRound(ctx); err != nil {
			return err
		}
		table := b.results.table(
			fmt.Sprintf("An account is taken off a list that %d Exact groups use:", editedGroups),
			"requests a second", "planned in all of them after", "calls", "of which look-ups", "of runs")
		for i, rate := range []int{vendorRate, 20} {
			app := lab.App{Spec: fmt.Sprintf("rest: {requestsPerSecond: %d}", rate)}
			if err := p.Apply(ctx, app.Manifests()); err != nil {
				return err
			}
			if err := wait(ctx, 75*time.Second); err != nil { // the hold-off after the runs before
				return err
			}
			if err := p.im.ClearCalls(ctx); err != nil {
				return err
			}
			begun := time.Now()
			if err := p.Apply(ctx, p.staff(58-i)); err != nil {
				return err
			}
			err := p.awaitLong(ctx, "all plans", func(ctx context.Context) (bool, error) {
				ended, err := m.Metric(ctx, "groupgate_prune_runs_total", `purpose="Evict"`,
					`result="Previewed"`)
				return ended >= float64((i+1)*editedGroups), err
			})
			if err != nil {
				return err
			}
			took := time.Since(begun)
			calls, err := p.calls(ctx)
			if err != nil {
				return err
			}
			// A look-up reads 50 groups in a call, and then the account in each of them; so does each run.
			lookups := editedGroups/50 + editedGroups
			table.add(rate, seconds(took), calls, lookups, calls-lookups)
			b.results.add(fmt.Sprintf("evict-edit/at-%d-s", rate), took.Seconds())
		}
		return nil
	})
}

// evictBeside measures what a round takes from the pruning of full groups beside it.
func (b *bench) evictBeside(ctx context.Context) error {
	return b.onPruning(ctx, besidePruning, func(p *pruning) error {
		if err := p.createRooms(ctx, besideGroups, roundMembers); err != nil {
			return err
		}
		if err := p.Apply(ctx, p.staff(roundMembers)); err != nil {
			return err
		}
		if _, err := p.startManager(ctx, memoryLimit); err != nil {
			return err
		}
		return p.beside(ctx)
	})
}

// evictRound measures a round.
func (b *bench) evictRound(ctx context.Context) error {
	return b.onPruning(ctx, besidePruning, func(p *pruning) error {
		if err := p.createRooms(ctx, roundGroups, roundMembers); err != nil {
			return err
		}
		if err := p.Apply(ctx, p.staff(roundMembers)); err != nil {
			return err
		}
		m, err := p.startManager(ctx, memoryLimit)
		if err != nil {
			return err
		}
		before, err := memory(m.PID(), resident)
		if err := errors.Join(err, resetPeak(m.PID()), p.im.ClearCalls(ctx)); err != nil {
			return err
		}
		begun := time.Now()
		if err := p.Apply(ctx, evictPolicy("rooms", "{type: Prefix, value: room-}")); err != nil {
			return err
		}
		if err := p.awaitEvictRound(ctx); err != nil {
			return err
		}
		took := time.Since(begun)
		most, err := memory(m.PID(), peak)
		if err != nil {
			return err
		}
		calls, err := p.calls(ctx)
		if err != nil {
			return err
		}
		b.results.table("A round in which nobody is found:", "groups", "members of each", "requests a second", "calls",
			"took", "resident before", "peak").
			add(roundGroups, roundMembers, vendorRate, calls, took.Round(time.Second), before, most)
		b.results.add("evict-round/s", took.Seconds())
		return nil
	})
}

// beside prunes full groups in turns, with a round under way and without.
func (p *pruning) beside(ctx context.Context) error {
	app := lab.App{Spec: fmt.Sprintf("rest: {requestsPerSecond: %d}", besideRate)}
	if err := p.Apply(ctx, app.Manifests()); err != nil {
		return err
	}
	var single, all [2][]time.Duration // without the round, and with it
	for turn := range besideTurns {
		for with := range 2 {
			if with == 1 {
				if err := p.Apply(ctx, evictPolicy("rooms", "{type: Prefix, value: room-}")); err != nil {
					return err
				}
				if err := p.awaitCall(ctx, "get_group_member_info", "room-"); err != nil {
					return err
				}
			}
			one, many, err := p.pruneSome(ctx, fmt.Sprintf("full-%d-%d", turn, with))
			if err != nil {
				return err
			}
			p.say("turn %d, round under way %t: one after the other %v, at once %s", turn, with == 1, one, many)
			single[with], all[with] = append(single[with], one...), append(all[with], many)
			if with == 1 {
				if _, err := p.Kubectl(ctx, "", "delete", "grouppolicy", "rooms"); err != nil {
					return err
				}
				if err := wait(ctx, 5*time.Second); err != nil { // until the round has ended
					return err
				}
			}
		}
	}
	table := p.results.table(
		fmt.Sprintf("Full groups of 200 that are pruned beside a round, at %d requests a second:", besideRate),
		"round", "groups one after the other", "mean to the first removal", "median", "worst",
		fmt.Sprintf("%d groups at once, median of %d", besideRuns, besideTurns))
	for with, name := range []string{"none", "under way"} {
		slices.Sort(single[with])
		slices.Sort(all[with])
		var sum time.Duration
		for _, took := range single[with] {
			sum += took
		}
		n := len(single[with])
		table.add(name, n, seconds(sum/time.Duration(n)), seconds(single[with][n/2]),
			seconds(single[with][len(single[with])-1]), seconds(all[with][len(all[with])/2]))
	}
	return nil
}

// pruneSome prunes groups one after the other, and returns how long each waited for its first removal; then as many at
// once, and how long it took until the last had its first.
func (p *pruning) pruneSome(ctx context.Context, name string) (one []time.Duration, atOnce time.Duration, err error) {
	for i := range besideRuns {
		r, err := p.firstRemoval(ctx, fmt.Sprintf("%s-one-%d", name, i), "Public", 200)
		if err != nil {
			return nil, 0, err
		}
		one = append(one, r.total)
	}
	begun := time.Now()
	var g errgroup.Group
	for i := range besideRuns {
		g.Go(func() error {
			_, err := p.firstRemoval(ctx, fmt.Sprintf("%s-all-%d", name, i), "Public", 200)
			return err
		})
	}
	err = g.Wait()
	return one, time.Since(begun), err
}

// createRooms makes groups room-0, room-1, ... of members who are on the list of staff.
func (p *pruning) createRooms(ctx context.Context, groups, members int) error {
	var g errgroup.Group
	g.SetLimit(8)
	for i := range groups {
		g.Go(func() error {
			_, err := p.im.CreateGroup(ctx, emulator.GroupSpec{
				ID: fmt.Sprintf("room-%d", i), Type: "Public", MaxMembers: 2 * members, Owner: "olivia",
				CreatedAgo: "400d",
				Members:    []emulator.MemberSpec{{Prefix: "busy", Count: members - 1, JoinedAgo: "100d"}},
			})
			return err
		})
	}
	return g.Wait()
}

// staff is the list of the first accounts.
func (p *pruning) staff(accounts int) string {
	var list strings.Builder
	list.WriteString("apiVersion: groupgate.io/v1alpha1\nkind: AccountList\nmetadata: {name: staff}\n" +
		"spec:\n  accounts:\n")
	for i := range accounts {
		fmt.Fprintf(&list, "  - busy%d\n", i+1)
	}
	return list.String()
}

// exactRooms are policies that name the first groups exactly, as many as the schema allows each.
func exactRooms(groups int) []string {
	var policies []string
	all := make([]string, groups)
	for i := range all {
		all[i] = fmt.Sprintf("{type: Exact, value: room-%d}", i)
	}
	for matchers := range slices.Chunk(all, 256) {
		name := fmt.Sprintf("rooms-%d", len(policies))
		policies = append(policies, evictPolicy(name, strings.Join(matchers, ", ")))
	}
	return policies
}

func evictPolicy(name, groups string) string {
	return lab.PolicyManifest(name, "groups: ["+groups+"]\n"+
		"join: {allow: {lists: [{name: staff}]}, evict: {mode: Preview}}")
}

// awaitEvictRound waits for the end of a round.
func (p *pruning) awaitEvictRound(ctx context.Context) error {
	return p.awaitLong(ctx, "the end of the round", func(ctx context.Context) (bool, error) {
		finished, err := p.Kubectl(ctx, "", "get", "imapp", "prod", "-o", "jsonpath={.status.round.finishedAt}")
		return finished != "", err
	})
}

func (p *pruning) awaitLong(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, evictPatience)
	defer cancel()
	return lab.Await(ctx, what, holds)
}

// awaitCall waits for a call about a group whose id begins so.
func (p *pruning) awaitCall(ctx context.Context, api, prefix string) error {
	begun := time.Now()
	return p.await(ctx, "a call of "+api, func(ctx context.Context) (bool, error) {
		calls, err := p.im.Calls(ctx, emulator.RecordFilter{API: api, Limit: 50})
		return slices.ContainsFunc(calls, func(c emulator.CallRecord) bool {
			return strings.HasPrefix(c.Group, prefix) && c.ReceivedAt.After(begun)
		}), err
	})
}

// calls is how many calls the emulator has taken since ClearCalls.
func (p *pruning) calls(ctx context.Context) (int, error) {
	all := 0
	for _, api := range []string{
		"get_group_info", "get_group_member_info", "get_specified_group_member_info", "get_appid_group_list",
	} {
		count, err := p.im.CallCount(ctx, api)
		if err != nil {
			return 0, err
		}
		all += count.Calls
	}
	return all, nil
}
