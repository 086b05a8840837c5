package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// budgetWindow is what maxRemovalsPerDay is counted over.
	budgetWindow = 24 * time.Hour
	// ledgerLife is how long an entry is remembered: for much longer than it counts, so that a clock that jumps ahead and is set right again
	// makes no room for the removals of another day.
	ledgerLife = 7 * budgetWindow
	// runsPerPage bounds what one page of runs takes in memory while the ledger is filled; a run can hold 1,000 accounts three times.
	runsPerPage = 50
)

// ledgers knows, for as long as a term lasts, what the runs of each app have removed under policies of each name within 24 hours, so that
// many runs together keep to maxRemovalsPerDay.
//
// The records in etcd are the truth; a ledger is filled from them, live, when an app is first pruned in a term. From then on only
// this process writes records, and every record that it writes or reads again is entered. A batch is entered before it is
// recorded, so that runs that are at work at the same time share what is left. What a former holder of the term has recorded so late
// that it was not seen is found when that run is taken up: its members are still there (only a recorded batch is deleted), and
// those for whom nothing is left stay. A run that somebody deletes goes on counting until the term ends.
type ledgers struct {
	mu   sync.Mutex
	term uint64
	apps map[appKey]*ledger
}

// appKey names an app.
type appKey struct{ namespace, app string }

// of returns the ledger of an app in this term. Who is left over from an earlier one gets a ledger that nobody else sees.
func (l *ledgers) of(term uint64, app appKey) *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case term < l.term:
		return newLedger()
	case l.apps == nil || term > l.term:
		l.term, l.apps = term, make(map[appKey]*ledger)
	}
	if l.apps[app] == nil {
		l.apps[app] = newLedger()
	}
	return l.apps[app]
}

// ledger is that of one app.
type ledger struct {
	mu       sync.Mutex
	filled   bool
	policies map[string]map[types.UID]entry // by the policy's name and the run
}

// entry is what one run takes of the budget until 24 hours after at.
type entry struct {
	removed  int // settled removals
	inFlight int // members of the batch that is recorded, or about to be
	at       time.Time
}

func newLedger() *ledger { return &ledger{policies: make(map[string]map[types.UID]entry)} }

// fill reads the records of the app once. Until it has, nobody is removed.
func (l *ledger) fill(ctx context.Context, live client.Reader, app appKey) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.filled {
		return nil
	}
	for next := ""; ; {
		var page v1alpha1.PruneRunList
		err := live.List(ctx, &page, client.InNamespace(app.namespace), client.MatchingFields{"spec.appRef.name": app.app},
			client.Limit(runsPerPage), client.Continue(next))
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

// enter takes down what a run has on record.
func (l *ledger) enter(run *v1alpha1.PruneRun) {
	if run.Status.Policy == nil {
		return
	}
	progress := prunerun.Progress(run)
	name := run.Status.Policy.Name
	if run.Status.Removed == 0 && progress.InFlight == 0 {
		delete(l.policies[name], run.UID)
		return
	}
	at := progress.LastBatchAt.Time
	if end, ended := prunerun.Completion(run); at.IsZero() && ended {
		at = end.LastTransitionTime.Time
	}
	l.put(name, run.UID, entry{removed: int(run.Status.Removed), inFlight: len(prunerun.InFlight(run)), at: at})
}

func (l *ledger) put(name string, run types.UID, e entry) {
	if l.policies[name] == nil {
		l.policies[name] = make(map[types.UID]entry)
	}
	l.policies[name][run] = e
}

// left is what remains of limit, and when more will if nothing does. Of the run except, what is in flight does not count. A batch that is never
// settled, since its run ended without a look or was deleted, counts for no longer than any other: its plan is void by then.
func (l *ledger) left(name string, limit int, now time.Time, except types.UID) (left int, more time.Time) {
	left = limit
	for run, e := range l.policies[name] {
		ends := e.at.Add(budgetWindow)
		if !ends.After(now) {
			if now.Sub(e.at) > ledgerLife {
				delete(l.policies[name], run)
			}
			continue
		}
		left -= e.removed
		if run != except {
			left -= e.inFlight
		}
		if more.IsZero() || ends.Before(more) {
			more = ends
		}
	}
	return max(left, 0), more
}

// reserve enters a batch of up to want members of a run, as many as limit allows, and returns how many that is.
func (l *ledger) reserve(name string, run types.UID, want, limit int, now time.Time) (granted int, more time.Time) {
	left, more := l.left(name, limit, now, run)
	granted = min(want, left)
	e := l.policies[name][run]
	if granted > 0 || e.removed > 0 {
		e.inFlight = granted
		if granted > 0 {
			e.at = now
		}
		l.put(name, run, e)
	}
	return granted, more
}

// ledger is that of the run's app, filled.
func (p *pass) ledger(ctx context.Context) (*ledger, error) {
	app := appKey{p.key.Namespace, p.key.App}
	l := p.budgets.of(p.term, app)
	return l, l.fill(ctx, p.Live, app)
}

// budgetForPlan is how many members a plan under the rule may hold. One that is not carried out at once holds as many as a day allows: what is
// left then is settled batch by batch.
func (p *pass) budgetForPlan(ctx context.Context, rule *policy.PruneRule, name string) (int, error) {
	if rule.Mode != policy.ModeEnforce {
		return rule.MaxRemovalsPerDay, nil
	}
	l, err := p.ledger(ctx)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	left, more := l.left(name, rule.MaxRemovalsPerDay, p.Now(), p.run.UID)
	if left == 0 {
		return 0, p.exhausted(name, rule, more)
	}
	return left, nil
}

// reserve takes a batch of up to want members out of the budget before it is looked at and recorded. It returns at least 1.
func (p *pass) reserve(ctx context.Context, rule *policy.PruneRule, want int) (int, error) {
	l, err := p.ledger(ctx)
	if err != nil {
		return 0, err
	}
	name := p.run.Status.Policy.Name
	l.mu.Lock()
	defer l.mu.Unlock()
	granted, more := l.reserve(name, p.run.UID, want, rule.MaxRemovalsPerDay, p.Now())
	if granted == 0 {
		return 0, p.exhausted(name, rule, more)
	}
	return granted, nil
}

// reserveInFlight is reserve for a batch that is on record already: gone of its members have gone, remove are to go. It returns how many may.
func (p *pass) reserveInFlight(ctx context.Context, rule *policy.PruneRule, gone, remove int) (int, error) {
	l, err := p.ledger(ctx)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	granted, _ := l.reserve(p.run.Status.Policy.Name, p.run.UID, gone+remove, rule.MaxRemovalsPerDay, p.Now())
	return max(0, granted-gone), nil
}

func (p *pass) exhausted(name string, rule *policy.PruneRule, more time.Time) error {
	return &waitError{
		reason: v1alpha1.ReasonBudgetExhausted,
		message: fmt.Sprintf("GroupPolicy %s allows %s within 24 hours (maxRemovalsPerDay), and as many were made; more may follow from %s on.",
			name, prunerun.Count(rule.MaxRemovalsPerDay, "removal", "removals"), more.UTC().Format(time.RFC3339)),
		after: max(more.Sub(p.Now()), 0) + time.Second,
	}
}

// enterRecord takes down the run as it is on record now.
func (p *pass) enterRecord() {
	l := p.budgets.of(p.term, appKey{p.key.Namespace, p.key.App})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter(p.run)
}
