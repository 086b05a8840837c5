package controllers

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	roundPoll  = time.Second
	roundRetry = 10 * time.Second
	// roundDebounce is how long a policy has not been edited when a round begins because of an edit.
	roundDebounce = time.Minute
	// roundSaves is the time between two writes of how far a round is.
	roundSaves = time.Minute
	// earlier is by what part of the interval a round begins before the interval has passed: no group must wait longer,
	// even if this round is a little slower than the last.
	earlier = 20
)

// Why a round began.
const (
	roundInterval     = "Interval"
	roundGap          = "Gap"
	roundRulesChanged = "RulesChanged"
)

// Rounds looks at the members of all groups that join.evict of a policy governs, in a term, and passes those whom the
// gates refuse to Strangers. Every app has a schedule of its own. Its calls let all others of the app go first, and
// take a quarter of its rate together with the sweep and with VerdictChanges.
//
// A round begins when the smallest interval of the policies has nearly passed since the last one began, at once after a
// time in which no replica was ready, and when a policy was edited. How far it is is in the status of the IMApp, so
// that the next leader resumes it.
type Rounds struct {
	// Client reads from the cache, and patches statuses; Live reads from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	Term      *term.Term
	Clients   *imclients.Pool
	Strangers *Strangers
	Changes   *VerdictChanges
	// Gap returns when the latest time ended in which no replica was ready; zero if none is known.
	Gap func() time.Time
	Now func() time.Time
	// Written is notified when a round was begun or finished.
	Written term.Notifier
	// Metrics, if set, counts.
	Metrics *EvictMetrics
	// Guard, if set, logs and counts panics.
	Guard *guard.Guard
	Log   logr.Logger
}

// NeedLeaderElection is false: the term decides, not the manager.
func (*Rounds) NeedLeaderElection() bool { return false }

// WrittenSource enqueues the requests when a round was begun or finished.
func (r *Rounds) WrittenSource(requests requestsFunc) source.Source {
	return r.Written.Source(func() bool { return false }, requests)
}

// Start makes rounds until ctx ends.
func (r *Rounds) Start(ctx context.Context) error {
	apps := schedules{
		store: r.Snapshots, retry: func() time.Duration { return roundPoll },
		guarded: func(f func()) { r.Guard.Run(guard.Rounds, f) },
	}
	apps.run(ctx, func(ctx context.Context, app policy.Object) {
		round := r.of(app)
		defer r.Metrics.noRound(app.Key())
		for wait := roundPoll; elapses(ctx, wait) && apps.has(app); {
			wait = round.turn(ctx)
		}
	})
	return nil
}

// appRound is the rounds of one app.
type appRound struct {
	*Rounds
	look
	listing
	round   *v1alpha1.EvictRound // the latest one; nil if there was none
	begun   time.Time            // when it began; its status holds seconds
	unsaved bool                 // it must be written before anything else
	saved   time.Time
	term    uint64 // the number of the term in which round was read
	// missed is when this leader found that an edit before its term had not been looked at.
	missed time.Time
	// skipped are groups that were left out, one for each list that was not resolved.
	skipped map[string]imrest.Group
	failing failingGroup
	failed  bool // the last turn failed
}

func (r *Rounds) of(app policy.Object) *appRound {
	return &appRound{Rounds: r, look: look{
		appCalls:  appCalls{object: app, reader: r.Client, store: r.Snapshots, clients: r.Clients},
		strangers: r.Strangers, metrics: r.Metrics, now: r.Now, trigger: v1alpha1.PruneTriggerRound,
	}}
}

// errRoundDue means that the round under way is given up for one that has become due.
var errRoundDue = errors.New("another round is due")

// turn does what there is to do now, and returns when to look again.
func (a *appRound) turn(ctx context.Context) time.Duration {
	ctx, leave, ok := a.Term.Join(ctx)
	if !ok {
		a.Metrics.noRound(a.object.Key())
		return roundPoll
	}
	defer leave()
	err := a.work(ctx)
	switch {
	case err == nil, errors.Is(err, errRoundDue):
		a.failed = false
		return roundPoll
	case errors.Is(err, errAppUnusable), ctx.Err() != nil:
		return roundPoll
	case a.failed:
		a.Log.V(1).Info("Round interrupted, it goes on where it stopped", "app", a.object.Key(), "error", err.Error())
	default:
		a.Log.Error(err, "Round interrupted, it goes on where it stopped", "app", a.object.Key())
	}
	a.failed = true
	return jittered(roundRetry)
}

func (a *appRound) work(ctx context.Context) error {
	number := a.Term.Number()
	snapshot := a.store.Load()
	if snapshot == nil {
		return nil
	}
	app := snapshot.AppNamed(a.object.Namespace, a.object.Name)
	changes, compared := a.Changes.state(a.object, number)
	if app == nil || app.Object().UID != a.object.UID || !compared {
		return nil
	}
	if err := a.resume(ctx, number, changes.base); err != nil {
		return err
	}
	interval, evicts := app.EvictInterval()
	if !evicts {
		a.Metrics.noRound(a.object.Key())
		return a.clear(ctx)
	}
	if why := a.due(interval, changes); why != "" {
		a.begin(why, app.EvictHash())
	}
	a.Metrics.round(a.object.Key(), a.round.LastFinishedStart.Time, interval)
	if a.unsaved {
		if err := a.save(ctx); err != nil {
			return err
		}
		a.Written.Notify()
	}
	if !a.round.FinishedAt.IsZero() {
		a.noticeResolved(app)
		return a.saveProgress(ctx, changes)
	}
	if err := a.pass(ctx, interval); err != nil {
		return err
	}
	a.finish(interval)
	return nil // and is written in the next turn
}

// due returns why a round is to begin now; empty if none is.
func (a *appRound) due(interval time.Duration, changes changeState) string {
	now, r := a.Now(), a.round
	if r == nil {
		return roundRulesChanged
	}
	edited := changes.ruled
	if a.missed.After(edited) {
		edited = a.missed
	}
	finished := !r.FinishedAt.IsZero()
	mayBegin := finished || a.affordable(interval, now)
	switch {
	case mayBegin && a.gapSince(r):
		return roundGap
	case mayBegin && edited.After(a.begun) && now.Sub(edited) >= roundDebounce:
		return roundRulesChanged
	case finished && !now.Before(r.StartedAt.Add(interval-interval/earlier)):
		return roundInterval
	}
	return ""
}

// noticeResolved makes a round due if groups that were left out need not be any more.
func (a *appRound) noticeResolved(app *policy.CompiledApp) {
	for list, group := range a.skipped {
		if rule, governed := evictable(app, group); !governed || len(rule.Unresolved) == 0 {
			delete(a.skipped, list)
			a.missed = a.Now()
		}
	}
}

// gapSince reports whether no replica was ready at some time after the round began. Statuses hold seconds.
func (a *appRound) gapSince(r *v1alpha1.EvictRound) bool {
	return r.StartedAt.Time.Before(a.Gap().Truncate(time.Second))
}

// affordable reports whether a round under way may be given up for another one: only if a complete one began within the
// interval. Otherwise edits, or restarts of all replicas, that come all the time would let none be complete, and the
// groups at its end would never be looked at.
func (a *appRound) affordable(interval time.Duration, now time.Time) bool {
	last := a.round.LastFinishedStart
	return !last.IsZero() && now.Sub(last.Time) < interval
}

func (a *appRound) begin(why, rules string) {
	next := &v1alpha1.EvictRound{StartedAt: timestamp(a.Now()), Why: why, Rules: rules}
	if a.round != nil {
		next.LastFinishedStart, next.LastTookSeconds = a.round.LastFinishedStart, a.round.LastTookSeconds
	}
	a.round, a.begun, a.unsaved, a.missed, a.skipped = next, a.Now(), true, time.Time{}, nil
	a.restart()
	a.Log.Info("Round begun", "app", a.object.Key(), "why", why)
}

func (a *appRound) finish(interval time.Duration) {
	r, now := a.round, a.Now()
	r.FinishedAt, r.LastFinishedStart, r.Position = timestamp(now), r.StartedAt, ""
	r.LastTookSeconds = int64(now.Sub(r.StartedAt.Time).Seconds())
	a.unsaved = true
	a.Metrics.round(a.object.Key(), r.StartedAt.Time, interval)
	a.Log.Info("Round finished", "app", a.object.Key(), "groups", r.Groups, "runs", r.Runs)
}

// pass looks at all groups from the position of the round on.
func (a *appRound) pass(ctx context.Context, interval time.Duration) error {
	app, err := a.app()
	if err != nil {
		return err
	}
	exact := slices.Collect(app.ExactEvictGroups())
	at := parsePosition(a.round.Position)
	if !at.listing {
		err := a.lookAt(ctx, interval, following(exact, at.after), func(id string) position {
			return position{after: id}
		})
		if err != nil {
			return err
		}
		at = position{listing: true}
		a.round.Position = at.String()
	}
	if a.page == 0 {
		a.page = at.page
	}
	return a.eachPage(ctx, &a.listing, (*policy.CompiledApp).EvictsByPattern, exact, func(ids []string) error {
		page := a.page
		if at := parsePosition(a.round.Position); at.page == page {
			ids = following(ids, at.after)
		}
		return a.lookAt(ctx, interval, ids, func(id string) position {
			return position{listing: true, page: page, after: id}
		})
	})
}

// following returns the groups after that one, or all of them if it is not among them.
func following(ids []string, after string) []string {
	return ids[slices.Index(ids, after)+1:]
}
