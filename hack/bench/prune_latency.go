package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// removal is how long a full group waited for its first removal, from the departure of the callback to the end of the
// first deletion, as the vendor sees both.
type removal struct {
	total time.Duration
	// begin is from the callback to the first call, read from there to the end of the list, and rest the remainder.
	begin, read, rest time.Duration
	calls             int // the deletion included
}

// limited is what the limiter alone takes: one call every 5 ms, the first one at once.
func (r removal) limited() time.Duration { return time.Duration(r.calls-1) * time.Second / vendorRate }

// pruneLatency measures the way from the callback of a full group to the first removal.
func (b *bench) pruneLatency(ctx context.Context) error {
	const rule = "{mode: Enforce, inactiveFor: 30d, freeSeats: 100, maxRemovalsPerDay: 10000, notification: Silent}"
	return b.onPruning(ctx, rule, func(p *pruning) error {
		if _, err := p.startManager(ctx, memoryLimit); err != nil {
			return err
		}
		table := b.results.table(
			fmt.Sprintf("From the callback to the first removal, at %d requests a second:", vendorRate),
			"members", "type", "runs", "median", "worst", "limiter's share",
			"callback to first call", "info and list", "plan, record, recheck, removal")
		for _, size := range []struct {
			members   int
			groupType string
			runs      int
		}{
			{200, "Public", 9}, {2_000, "Public", 9}, {6_000, "Public", 7},
			{20_000, "Community", 5}, {100_000, "Community", 3},
		} {
			var all []removal
			for i := range size.runs {
				r, err := p.firstRemoval(ctx, fmt.Sprintf("g%d-%d", size.members, i), size.groupType, size.members)
				if err != nil {
					return err
				}
				b.say("%d members: %+v", size.members, r)
				all = append(all, r)
			}
			slices.SortFunc(all, func(a, b removal) int { return int(a.total - b.total) })
			middle, worst := all[len(all)/2], all[len(all)-1]
			b.results.add(fmt.Sprintf("prune-latency/%d-s", size.members), middle.total.Seconds())
			table.add(size.members, size.groupType, len(all), seconds(middle.total), seconds(worst.total),
				seconds(middle.limited()), seconds(middle.begin), seconds(middle.read), seconds(middle.rest))
		}
		return nil
	})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// firstRemoval fills a group and waits for the first removal.
func (p *pruning) firstRemoval(ctx context.Context, id, groupType string, members int) (removal, error) {
	if err := p.fill(ctx, id, groupType, members); err != nil {
		return removal{}, err
	}
	err := p.await(ctx, "the first removal from "+id, func(ctx context.Context) (bool, error) {
		deletions, err := p.im.Calls(ctx, emulator.RecordFilter{API: "delete_group_member", Group: id, Limit: 1})
		return len(deletions) > 0, err
	})
	if err != nil {
		return removal{}, err
	}
	reports, err := p.im.Callbacks(ctx, emulator.RecordFilter{Command: lab.CommandGroupFull, Group: id})
	if err != nil {
		return removal{}, err
	}
	calls, err := p.im.Calls(ctx, emulator.RecordFilter{Group: id})
	if err != nil {
		return removal{}, err
	}
	last := slices.IndexFunc(calls, func(c emulator.CallRecord) bool { return c.API == "delete_group_member" })
	if len(reports) == 0 || last < 0 || calls[0].API != "get_group_info" {
		return removal{}, errors.New("the emulator has no record of the callback, the first call and the removal")
	}
	calls = calls[:last+1]
	var listed time.Time
	for _, call := range calls {
		if call.API == "get_group_member_info" {
			listed = end(call)
		}
	}
	begun, first := reports[0].SentAt, calls[0].ReceivedAt
	r := removal{
		calls: len(calls),
		total: end(calls[last]).Sub(begun),
		begin: first.Sub(begun),
		read:  listed.Sub(first),
	}
	r.rest = r.total - r.begin - r.read
	return r, p.im.DestroyGroup(ctx, id)
}

func end(call emulator.CallRecord) time.Time {
	return call.ReceivedAt.Add(time.Duration(call.DurationMillis) * time.Millisecond)
}
