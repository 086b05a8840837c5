package pruning

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// budgetWindow is what maxRemovalsPerDay is counted over.
	budgetWindow = 24 * time.Hour
	// entryLife is how long an entry is remembered: for much longer than it counts, so that a clock that jumps ahead
	// and is set right again does not free the budget of another day.
	entryLife = 7 * budgetWindow
	// runsPerPage bounds what one page of runs takes in memory while a ledger is filled; a run can hold 1,000 accounts
	// three times.
	runsPerPage = 50
)

// ledgers holds, for one term, the ledger of each app. Its zero value is ready.
type ledgers struct {
	mu   sync.Mutex
	term uint64
	apps map[types.NamespacedName]*ledger
}

// of returns the ledger of an app in this term. A Step that was started in an earlier term gets a private ledger, so
// that it cannot affect this term's budget.
func (l *ledgers) of(
	term uint64, app types.NamespacedName, live client.Reader, now func() time.Time,
) *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case term < l.term:
		return newLedger(app, live, now)
	case l.apps == nil || term > l.term:
		l.term, l.apps = term, make(map[types.NamespacedName]*ledger)
	}
	if l.apps[app] == nil {
		l.apps[app] = newLedger(app, live, now)
	}
	return l.apps[app]
}

// ledger knows what the runs of one app have removed under policies of each name, with each purpose, within 24 hours,
// so that many runs together keep to maxRemovalsPerDay.
//
// The records in etcd are the truth: the ledger is filled from them, live, when the app is first pruned in a term. From
// then on only this process writes records, and it enters each one that it writes or reads again. A batch is reserved
// before it is recorded, so that runs that are at work at the same time share what is left. A batch that a former
// leader recorded too late to be seen is found when its run is taken up: its members are still in the group, since only
// a recorded batch is deleted, and those for which nothing is left are kept. A run that is deleted counts until the
// term ends.
type ledger struct {
	app  types.NamespacedName
	live client.Reader
	now  func() time.Time

	mu       sync.Mutex
	filled   bool
	accounts map[account]map[types.UID]entry // and the run
}

// account is what removals are counted by: a policy has a budget for each purpose.
type account struct {
	purpose v1alpha1.PrunePurpose
	policy  string // its name
}

// entry is what one run takes of the budget until 24 hours after at.
type entry struct {
	removed  int // settled removals
	inFlight int // members of the batch that is recorded, or about to be
	at       time.Time
}

func newLedger(app types.NamespacedName, live client.Reader, now func() time.Time) *ledger {
	return &ledger{app: app, live: live, now: now, accounts: make(map[account]map[types.UID]entry)}
}

// budget is what a run asks of the ledger: limit removals a day for all policies of that name, with its purpose.
type budget struct {
	account
	limit int
	run   types.UID
	now   time.Time
}

// Left returns how many members the run may still remove, and when more will be allowed.
func (l *ledger) Left(ctx context.Context, b budget) (left int, more time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fill(ctx); err != nil {
		return 0, time.Time{}, err
	}
	left, more = l.left(b)
	return left, more, nil
}

// Reserve enters a batch of up to want members, in place of what the run has in flight, and returns how many of them
// the budget allows, and when more will be allowed.
func (l *ledger) Reserve(ctx context.Context, b budget, want int) (granted int, more time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fill(ctx); err != nil {
		return 0, time.Time{}, err
	}
	left, more := l.left(b)
	granted = min(want, left)
	e := l.accounts[b.account][b.run]
	if granted > 0 || e.removed > 0 {
		e.inFlight = granted
		if granted > 0 {
			e.at = b.now
		}
		l.put(b.account, b.run, e)
	}
	return granted, more, nil
}

// Release enters what the run has on record, in place of what it had reserved.
func (l *ledger) Release(run *v1alpha1.PruneRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter(run)
}

// fill reads the records of the app, once. No member is removed before that.
func (l *ledger) fill(ctx context.Context) error {
	if l.filled {
		return nil
	}
	for next := ""; ; {
		var page v1alpha1.PruneRunList
		err := l.live.List(ctx, &page, client.InNamespace(l.app.Namespace),
			client.MatchingFields{"spec.appRef.name": l.app.Name}, client.Limit(runsPerPage), client.Continue(next))
		if err != nil {
			return fmt.Errorf("list the records of the app live: %w", err)
		}
		for i := range page.Items {
			l.enter(&page.Items[i])
		}
		if next = page.Continue; next == "" {
			l.filled = true
			return nil
		}
	}
}

func (l *ledger) enter(run *v1alpha1.PruneRun) {
	if run.Status.Policy == nil {
		return
	}
	account := account{prunerun.PurposeOf(run), run.Status.Policy.Name}
	if !prunerun.RemovedMembers(run) {
		delete(l.accounts[account], run.UID)
		return
	}
	at := prunerun.Progress(run).LastBatchAt.Time
	if end, ended := prunerun.Completion(run); at.IsZero() && ended {
		at = end.LastTransitionTime.Time
	}
	// A time ahead of now was recorded by a clock that was ahead: the removals count for a day from now, no longer.
	if now := l.now(); at.After(now) {
		at = now
	}
	l.put(account, run.UID, entry{removed: int(run.Status.Removed), inFlight: len(prunerun.InFlight(run)), at: at})
}

func (l *ledger) put(account account, run types.UID, e entry) {
	if l.accounts[account] == nil {
		l.accounts[account] = make(map[types.UID]entry)
	}
	l.accounts[account][run] = e
}

// left does not count what the run itself has in flight. A batch that is never settled, since its run was deleted or
// ended while the vendor was out of reach, counts for no longer than any other: its plan has expired by then.
func (l *ledger) left(b budget) (left int, more time.Time) {
	left = b.limit
	for run, e := range l.accounts[b.account] {
		ends := e.at.Add(budgetWindow)
		if !ends.After(b.now) {
			if b.now.Sub(e.at) > entryLife {
				delete(l.accounts[b.account], run)
			}
			continue
		}
		left -= e.removed
		if run != b.run {
			left -= e.inFlight
		}
		if more.IsZero() || ends.Before(more) {
			more = ends
		}
	}
	return max(left, 0), more
}

// exhausted makes a run wait until more removals are allowed.
func (b budget) exhausted(more time.Time) error {
	return &waitError{
		reason: v1alpha1.ReasonBudgetExhausted,
		message: fmt.Sprintf("GroupPolicy %s allows %s within 24 hours (%s.maxRemovalsPerDay), and as many were made; "+
			"more may follow from %s on.", b.policy, prunerun.Count(b.limit, "removal", "removals"),
			field(b.purpose), more.UTC().Format(time.RFC3339)),
		after: max(more.Sub(b.now), 0) + time.Second,
	}
}
