package main

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/groupgate/groupgate/internal/lab"
)

// editor edits policies. Every edit is an edition: the message of a refusal names the one that has answered.
type editor struct {
	cluster *cluster
	world   world

	mu       sync.Mutex
	editions [][]edition // of each group; edition n stands at n-1
}

// edition is when an edit was sent, and when the API server had stored it; zero before that.
type edition struct{ sent, stored time.Time }

func newEditor(c *cluster, w world) *editor {
	return &editor{cluster: c, world: w, editions: make([][]edition, w.groups)}
}

// begin makes the next edition of a group's policy and returns its number. One edition of a group is under way at a
// time.
func (e *editor) begin(group int) (number int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.editions[group] = append(e.editions[group], edition{sent: time.Now()})
	return len(e.editions[group])
}

// store writes the edition to the API server.
func (e *editor) store(ctx context.Context, group, number int) error {
	edit := refusing(refusal + editionMark + strconv.Itoa(number))
	if err := e.cluster.mergePatch(ctx, e.world.policyPath(group), edit); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.editions[group][number-1].stored = time.Now()
	return nil
}

const editionMark = ", edition "

// refusing is a patch of a policy.
func refusing(message string) object {
	return object{"spec": object{"join": object{"reject": object{"message": message}}}}
}

// editionOf is the edition that an answer names; 0 is the policy as it was made.
func editionOf(answer []byte) (number int, ok bool) {
	_, rest, found := bytes.Cut(answer, []byte(refusal))
	if !found {
		return 0, false
	}
	rest, found = bytes.CutPrefix(rest, []byte(editionMark))
	for i := 0; found && i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
		number = number*10 + int(rest[i]-'0')
	}
	return number, true
}

// staleAfter is how long an edition may still answer after the next one was stored.
const staleAfter = time.Second

// age is how old an answer of that edition was: how long before the callback the next edition of the group had been
// stored. It is false for an edition that had not been sent yet when the answer came.
func (e *editor) age(group, number int, sent, received time.Time) (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.editions[group]
	if number > len(all) || number > 0 && all[number-1].sent.After(received) {
		return 0, false
	}
	if number == len(all) || all[number].stored.IsZero() {
		return 0, true
	}
	return max(0, sent.Sub(all[number].stored)), true
}

// during runs do while the background, if not nil, goes on.
func during(ctx context.Context, b background, do func(ctx context.Context) error) error {
	if b == nil {
		return do(ctx)
	}
	both, ctx := errgroup.WithContext(ctx)
	both.SetLimit(2 + 32) // calls of the background that take long run side by side
	stop := make(chan struct{})
	both.Go(func() error { // ends by stop
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return nil
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				both.Go(func() error { return b(ctx, n) })
			}
		}
	})
	both.Go(func() error {
		defer close(stop)
		if err := wait(ctx, time.Second); err != nil { // until it is in its stride
			return err
		}
		return do(ctx)
	})
	return both.Wait()
}

// untilEnforced edits the policy of a group and returns the time from sending the edit to the first answer of the new
// policy.
func (e *editor) untilEnforced(ctx context.Context, m *manager, group int) (time.Duration, error) {
	conn, err := dial(ctx, m.address(), nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	number := e.begin(group)
	question := e.world.asVendor(&callback{group: group, account: stranger(group)}, lab.CallbackToken, time.Now())
	return untilAnswered(ctx, conn, question,
		func(answer []byte) bool { got, ok := editionOf(answer); return ok && got == number },
		func(ctx context.Context) error { return e.store(ctx, group, number) })
}

// untilAnswered runs change, sends the question every millisecond meanwhile, and returns the time until the wanted
// answer.
func untilAnswered(
	ctx context.Context,
	conn *connection,
	question []byte,
	wanted func([]byte) bool,
	change func(context.Context) error,
) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	both, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	both.Go(func() error { return change(ctx) })
	both.Go(func() error {
		err := conn.await(ctx, question, time.Millisecond, wanted)
		took = time.Since(begun)
		return err
	})
	return took, both.Wait()
}
