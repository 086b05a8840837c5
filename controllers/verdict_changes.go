package controllers

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	// maxChangedAccounts bounds the accounts of all groups that are to be looked up; a group whose list is to be read
	// counts as one. Groups whose accounts are the same slice count each for itself.
	maxChangedAccounts = 1_000_000
	// maxNamedAccounts is how many accounts are looked up in one group, rather than reading its list.
	maxNamedAccounts = 1000
	// lookers is how many look-ups of an app are under way at the same time. They share their lane with the sweep and
	// the round, each of which makes one call after the other.
	lookers      = 4
	changesRetry = 5 * time.Second
	changesPoll  = 500 * time.Millisecond
)

// VerdictChanges looks for members whom the gate refuses since an edit of a list or a policy, in a term, and passes
// them to Strangers. It compares each published snapshot with the one before, for groups that policies name exactly,
// and asks the vendor for the accounts that are refused now, or reads the list where they cannot be named. Several
// edits of one group before it is looked at are one. Other groups are left to the round.
//
// What is not done when the term ends is known to the next leader by the rules that the round recorded.
type VerdictChanges struct {
	Client    client.Client // reads from the cache
	Snapshots snapshots
	// Published returns a channel that the next publication closes.
	Published func() <-chan struct{}
	Term      *term.Term
	Clients   *imclients.Pool
	Strangers *Strangers
	Now       func() time.Time
	// Metrics, if set, counts.
	Metrics *EvictMetrics
	// Guard, if set, logs and counts panics.
	Guard *guard.Guard
	Log   logr.Logger

	mu       sync.Mutex
	term     uint64           // the number of the term in which before was compared; 0 outside a term
	before   *policy.Snapshot // the last one that was compared
	apps     map[string]*changedApp
	accounts int // of all apps
}

// changedApp is an app, and its groups that are to be looked at.
type changedApp struct {
	app *policy.CompiledApp // as it was compared last
	// base is what was enforced when the term began: edits after that are looked at.
	base evictRules
	now  evictRules
	// ruled is when a round became due: a policy was edited, or there were more groups than can be kept.
	ruled  time.Time
	groups map[string]policy.ChangedGroup
	busy   int // groups that are being looked at
}

// evictRules identify what an app enforces. They are computed when they are asked for.
type evictRules struct {
	of          *policy.CompiledApp
	all, policy string
}

func rulesOf(app *policy.CompiledApp) evictRules {
	return evictRules{of: app, all: app.EvictHash(), policy: app.EvictRulesHash()}
}

// NeedLeaderElection is false: the term decides, not the manager.
func (*VerdictChanges) NeedLeaderElection() bool { return false }

// Start compares snapshots, and looks at groups, until ctx ends.
func (c *VerdictChanges) Start(ctx context.Context) error {
	var looking sync.WaitGroup
	defer looking.Wait()
	looking.Go(func() { // ends with ctx
		apps := schedules{
			store: c.Snapshots, retry: func() time.Duration { return time.Second },
			guarded: func(f func()) { c.Guard.Run(guard.Verdicts, f) },
		}
		apps.run(ctx, func(ctx context.Context, app policy.Object) {
			for elapses(ctx, cmp.Or(c.lookInTerm(ctx, app), changesPoll)) && apps.has(app) {
				continue
			}
		})
	})
	for {
		published := c.Published()
		c.compare()
		timer := time.NewTimer(time.Second) // for the beginning of a term
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-published:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// compare takes note of what is new in the published snapshot.
func (c *VerdictChanges) compare() {
	number, held := c.Term.Number(), c.Term.Held()
	after := c.Snapshots.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !held || after == nil {
		c.reset(0)
		return
	}
	if c.term != number {
		c.reset(number)
	}
	if after == c.before {
		return
	}
	present := make(map[string]bool)
	for app := range after.Apps() {
		uid := app.Object().UID
		present[uid] = true
		if c.apps[uid] == nil {
			c.apps[uid] = &changedApp{app: app, groups: map[string]policy.ChangedGroup{}}
			c.apps[uid].base = rulesOf(app)
			c.apps[uid].now = c.apps[uid].base
			continue
		}
		c.compareApp(c.apps[uid], app)
	}
	maps.DeleteFunc(c.apps, func(uid string, app *changedApp) bool {
		if !present[uid] {
			c.accounts -= app.weight()
		}
		return !present[uid]
	})
	c.before = after
}

func (c *VerdictChanges) reset(number uint64) {
	c.term, c.before, c.apps, c.accounts = number, nil, map[string]*changedApp{}, 0
}

func (c *VerdictChanges) compareApp(known *changedApp, app *policy.CompiledApp) {
	if known.app == app {
		return
	}
	for changed := range policy.NewlyRefused(known.app, app, maxNamedAccounts) {
		c.add(known, changed)
	}
	known.app = app
}

// add adds a group that is to be looked at, together with what is known of it.
func (c *VerdictChanges) add(app *changedApp, changed policy.ChangedGroup) {
	before := app.groups[changed.Group]
	switch {
	case before.Whole || changed.Whole:
		changed = policy.ChangedGroup{Group: changed.Group, Whole: true}
	case len(before.Accounts) > 0:
		accounts := slices.Concat(before.Accounts, changed.Accounts)
		slices.Sort(accounts)
		changed.Accounts = slices.Compact(accounts)
	}
	if more := weight(changed) - weight(before); c.accounts+more <= maxChangedAccounts {
		c.accounts += more
		app.groups[changed.Group] = changed
		return
	}
	app.ruled = c.Now()
}

// weight is what a group counts for the limit.
func weight(changed policy.ChangedGroup) int {
	if changed.Whole {
		return 1
	}
	return len(changed.Accounts)
}

func (a *changedApp) weight() (sum int) {
	for _, changed := range a.groups {
		sum += weight(changed)
	}
	return sum
}

// changeState is what the round of an app needs to know of its changes in this term.
type changeState struct {
	// base identifies what was enforced when the term began.
	base string
	// ruled is when a round became due; zero if none did.
	ruled time.Time
	// rules identify what is enforced, if all changes up to it have been looked at; empty otherwise.
	rules string
}

// state returns the state of an app; false before the first comparison of the term.
func (c *VerdictChanges) state(app policy.Object, number uint64) (changeState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.apps[app.UID]
	if c.term != number || known == nil {
		return changeState{}, false
	}
	if known.now.of != known.app {
		before := known.now
		if known.now = rulesOf(known.app); known.now.policy != before.policy {
			known.ruled = c.Now()
		}
	}
	state := changeState{base: known.base.all, ruled: known.ruled}
	if len(known.groups) == 0 && known.busy == 0 {
		state.rules = known.now.all
	}
	return state, true
}

// begin takes up to as many groups of the app as are read in one call; done must be called for them.
func (c *VerdictChanges) begin(app policy.Object) (batch []policy.ChangedGroup, number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.apps[app.UID]
	if known == nil {
		return nil, c.term
	}
	for id, changed := range known.groups {
		if len(batch) == imrest.MaxGroupsPerCall {
			break
		}
		delete(known.groups, id)
		c.accounts -= weight(changed)
		batch = append(batch, changed)
	}
	known.busy += len(batch)
	return batch, c.term
}

// done says that a group has been looked at, or must be again.
func (c *VerdictChanges) done(app policy.Object, number uint64, changed policy.ChangedGroup, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.apps[app.UID]
	if known == nil || c.term != number {
		return
	}
	known.busy--
	if again {
		c.add(known, changed)
	}
}

// lookInTerm looks at some of the changed groups of an app, and returns when to look at others; 0 if there are none.
func (c *VerdictChanges) lookInTerm(ctx context.Context, app policy.Object) time.Duration {
	ctx, leave, ok := c.Term.Join(ctx)
	if !ok {
		return 0
	}
	defer leave()
	batch, number := c.begin(app)
	if len(batch) == 0 {
		return 0
	}
	failed := c.lookAt(ctx, app, batch, func(changed policy.ChangedGroup, again bool) {
		c.done(app, number, changed, again)
	})
	switch {
	case failed == nil:
		return time.Nanosecond
	case !errors.Is(failed, errAppUnusable) && ctx.Err() == nil:
		c.Log.V(1).Info("Groups could not be looked at after a change", "app", app.Key(), "error", failed.Error())
	}
	return jittered(changesRetry)
}

// lookAt looks at a batch of groups. It returns a failure after which those that are to be looked at again wait.
func (c *VerdictChanges) lookAt(
	ctx context.Context, object policy.Object, batch []policy.ChangedGroup,
	done func(changed policy.ChangedGroup, again bool),
) error {
	l := &look{
		appCalls:  appCalls{object: object, reader: c.Client, store: c.Snapshots, clients: c.Clients},
		strangers: c.Strangers, metrics: c.Metrics, now: c.Now, trigger: v1alpha1.PruneTriggerVerdictChange,
	}
	ids := make([]string, len(batch))
	for i, changed := range batch {
		ids[i] = changed.Group
	}
	groups, err := map[string]imrest.Group(nil), error(nil)
	if _, err = l.app(); err == nil {
		groups, err = l.groups(ctx, ids)
	}
	if err != nil {
		for _, changed := range batch {
			done(changed, lasting(err))
		}
		return err
	}
	var looking errgroup.Group
	looking.SetLimit(lookers)
	for _, changed := range batch {
		group, readable := groups[changed.Group]
		if !readable { // deleted, or not for us: the round looks at it
			done(changed, false)
			continue
		}
		looking.Go(func() error {
			err := l.changed(ctx, group, changed)
			again := err != nil && lasting(err)
			done(changed, again)
			if again {
				return err
			}
			return nil
		})
	}
	return looking.Wait()
}

// lasting reports whether what failed is to be tried again: everything but a refusal of the vendor that is final.
func lasting(err error) bool {
	switch imrest.ClassOf(err) {
	case imrest.ClassPermanent, imrest.ClassUnsupported:
		return false
	}
	return true
}

// changed looks at one group, by the policies as they are now.
func (l *look) changed(ctx context.Context, group imrest.Group, changed policy.ChangedGroup) error {
	app, err := l.app()
	if err != nil {
		return err
	}
	rule, governed := evictable(app, group)
	if !governed {
		return nil
	}
	accounts := slices.DeleteFunc(slices.Clone(changed.Accounts), func(account string) bool {
		_, refused := rule.Judge(account)
		return !refused
	})
	switch {
	case changed.Whole, len(accounts)/imrest.MaxNamedPerCall > group.Members/imrest.MembersPerCall:
		_, err := l.all(ctx, group)
		return err
	case len(accounts) == 0:
		return nil
	}
	return l.named(ctx, &rule, group, accounts)
}
