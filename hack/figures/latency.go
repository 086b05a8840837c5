package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

const (
	apiGroup  = "get_group_info"
	apiList   = "get_group_member_info"
	apiDelete = "delete_group_member"
)

// removal is how long a full group waited for its first removal, from the callback's departure to the end of the first deletion, as the
// vendor sees both.
type removal struct {
	total time.Duration
	// begin is from the callback to the first call, read from there to the end of the list, and rest what is left.
	begin, read, rest time.Duration
	calls             int // up to and with the deletion
}

// floor is what the limiter alone takes: one call every 5 ms, the first one at once.
func (r removal) floor() time.Duration { return time.Duration(r.calls-1) * time.Second / rate }

func measureLatency(ctx context.Context, s *stage, out io.Writer) error {
	if err := s.policies(ctx, "{mode: Enforce, inactiveFor: 30d, freeSeats: 100, maxRemovalsPerDay: 10000, notification: Silent}"); err != nil {
		return err
	}
	if _, err := s.manager(ctx, true); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nFrom the callback to the first removal, at %d requests a second:\n\n", rate)
	fmt.Fprintln(out, "| members | type | runs | median | worst | limiter's share | callback to first call | info and list | plan, record, last look, removal |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|")
	for _, size := range []struct {
		members   int
		groupType string
		runs      int
	}{
		{200, "Public", 9}, {2_000, "Public", 9}, {6_000, "Public", 7}, {20_000, "Community", 5}, {100_000, "Community", 3},
	} {
		var all []removal
		for i := range size.runs {
			r, err := s.firstRemoval(ctx, fmt.Sprintf("g%d-%d", size.members, i), size.groupType, size.members)
			if err != nil {
				return err
			}
			progress("%d members: %+v", size.members, r)
			all = append(all, r)
		}
		slices.SortFunc(all, func(a, b removal) int { return int(a.total - b.total) })
		middle, worst := all[len(all)/2], all[len(all)-1]
		fmt.Fprintf(out, "| %d | %s | %d | %s | %s | %s | %s | %s | %s |\n", size.members, size.groupType, len(all),
			seconds(middle.total), seconds(worst.total), seconds(middle.floor()), seconds(middle.begin), seconds(middle.read), seconds(middle.rest))
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// firstRemoval fills a group and waits for its run to end.
func (s *stage) firstRemoval(ctx context.Context, id, groupType string, members int) (removal, error) {
	if err := s.fill(ctx, id, groupType, members); err != nil {
		return removal{}, err
	}
	// What the wait costs is on the emulator's side. The next group begins when this one has let go of the limiter.
	err := s.await(ctx, "the first removal from "+id, func(ctx context.Context) (bool, error) {
		deletions, err := s.im.Calls(ctx, emulator.RecordFilter{API: apiDelete, Group: id, Limit: 1})
		return len(deletions) > 0, err
	})
	if err != nil {
		return removal{}, err
	}
	told, err := s.im.Callbacks(ctx, emulator.RecordFilter{Command: string(callback.CommandAfterGroupFull), Group: id})
	if err != nil {
		return removal{}, err
	}
	calls, err := s.im.Calls(ctx, emulator.RecordFilter{Group: id})
	if err != nil {
		return removal{}, err
	}
	last := slices.IndexFunc(calls, func(c emulator.CallRecord) bool { return c.API == apiDelete })
	if len(told) == 0 || last < 0 || calls[0].API != apiGroup {
		return removal{}, errors.New("the emulator has no record of the callback, the first call and the removal")
	}
	calls = calls[:last+1]
	var listed time.Time
	for _, call := range calls {
		if call.API == apiList {
			listed = end(call)
		}
	}
	r := removal{calls: len(calls), total: end(calls[last]).Sub(told[0].SentAt), begin: calls[0].ReceivedAt.Sub(told[0].SentAt)}
	r.read = listed.Sub(calls[0].ReceivedAt)
	r.rest = r.total - r.begin - r.read
	return r, s.im.DestroyGroup(ctx, id)
}

func end(call emulator.CallRecord) time.Time {
	return call.ReceivedAt.Add(time.Duration(call.DurationMillis) * time.Millisecond)
}
