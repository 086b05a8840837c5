package controllers

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// maxStrangers bounds the accounts that wait for their runs; a group that is to be read whole counts as one.
	maxStrangers = 10_000
	// maxAccountsPerRun is what the schema of a PruneRun allows.
	maxAccountsPerRun = 1000
	// gather is how long the run of a group waits for accounts whose grace ends soon after that of the first: the next
	// run of the group can only be made when this one has ended. An outage that lets in many is about as long.
	gather = 35 * time.Second
	// maxUnresolvedRuns bounds the runs of an app that wait for lists: more would say nothing new, and would leave no
	// room for those of other groups.
	maxUnresolvedRuns = 20
	// flushTimeout bounds what is done for the strangers that still wait when the process is told to end.
	flushTimeout = 15 * time.Second
)

// Strangers makes the runs that evict members whom the gate of their group refuses, on every replica. Callbacks report
// them, and changed verdicts and rounds find them. Each is kept in memory until it has been a member for the grace of
// the rule, as it is then, and until its group may have a run; those of one group have a run together.
//
// A process that is told to end makes the runs at once, since a run waits for grace itself, and meanwhile holds up the
// other evictions of its group. So accounts that are in grace for longer than the interval are left to the next round,
// which comes before that ends. It also finds what a process that was killed kept, or had no room for.
type Strangers struct {
	// Client reads PruneRuns from the cache and creates them; Live reads them from the API server.
	Client    client.Client
	Live      client.Reader
	Snapshots snapshots
	Now       func() time.Time
	// Metrics, if set, counts.
	Metrics *EvictMetrics
	// Guard, if set, logs and counts panics.
	Guard *guard.Guard
	Log   logr.Logger

	once   sync.Once
	queue  groupQueue
	mu     sync.Mutex
	groups map[prunerun.Key]*strangeGroup
	kept   int // accounts, and groups that are to be read whole
}

// strangeGroup is a group with members whom its gate refuses.
type strangeGroup struct {
	groupType policy.GroupType
	trigger   v1alpha1.PruneTrigger
	// joined are the accounts, and when they became members.
	joined map[string]time.Time
	// whole, if not zero, is when others were found, too many to be kept: the run is about all members.
	whole time.Time
}

func (g *strangeGroup) size() int {
	if g.whole.IsZero() {
		return len(g.joined)
	}
	return len(g.joined) + 1
}

// NeedLeaderElection is false: the replica that took a callback makes the run.
func (*Strangers) NeedLeaderElection() bool { return false }

func (s *Strangers) init() {
	s.once.Do(func() {
		s.groups = make(map[prunerun.Key]*strangeGroup)
		s.queue = newGroupQueue()
	})
}

// Leaked takes a new member that a callback reported. It never blocks on I/O, and may be called before Start.
func (s *Strangers) Leaked(leak policy.Leak) {
	snapshot := s.Snapshots.Load()
	if snapshot == nil || leak.Reason != policy.ReasonDenied && leak.Reason != policy.ReasonNotListed {
		return
	}
	if app := snapshot.AppNamed(leak.App.Namespace, leak.App.Name); app == nil || !app.MayEvict(leak.Group) {
		return
	}
	s.Metrics.found(v1alpha1.PruneTriggerLeak, 1)
	s.take(prunerun.Key{Namespace: leak.App.Namespace, App: leak.App.Name, Group: leak.Group}, &strangeGroup{
		groupType: leak.Type, trigger: v1alpha1.PruneTriggerLeak, joined: map[string]time.Time{leak.Account: s.Now()},
	})
}

// take adds what was found in a group.
func (s *Strangers) take(key prunerun.Key, found *strangeGroup) {
	if found.size() == 0 {
		return
	}
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	group := s.groups[key]
	if group == nil {
		group = &strangeGroup{trigger: found.trigger, joined: map[string]time.Time{}}
	}
	group.groupType = found.groupType
	before := group.size()
	room := maxStrangers - s.kept
	lost := 0
	switch {
	case found.whole.IsZero():
	case room > 0 || !group.whole.IsZero():
		group.whole = found.whole
	default:
		lost++
	}
	for account, joined := range found.joined {
		if _, has := group.joined[account]; !has && group.size()-before >= room {
			lost++
			continue
		}
		group.joined[account] = joined
	}
	s.Metrics.lost(lost)
	if group.size() == 0 {
		return
	}
	s.groups[key] = group
	s.keep(group.size() - before)
	s.queue.Add(key)
}

// keep counts more strangers that are kept, or fewer.
func (s *Strangers) keep(more int) {
	s.kept += more
	s.Metrics.keep(s.kept)
}

// forget drops accounts of a group as they were examined, and that it is to be read whole: a callback or a round may
// have found others since.
func (s *Strangers) forget(key prunerun.Key, examined *strangeGroup, accounts []string, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	group := s.groups[key]
	if group == nil {
		return
	}
	before := group.size()
	for _, account := range accounts {
		if group.joined[account].Equal(examined.joined[account]) {
			delete(group.joined, account)
		}
	}
	if whole && group.whole.Equal(examined.whole) {
		group.whole = time.Time{}
	}
	s.keep(group.size() - before)
	if group.size() == 0 {
		delete(s.groups, key)
	}
}

// examined returns a copy of what is kept of a group; nil if there is nothing.
func (s *Strangers) examined(key prunerun.Key) *strangeGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	group := s.groups[key]
	if group == nil {
		return nil
	}
	examined := *group
	examined.joined = maps.Clone(group.joined)
	return &examined
}

// Start makes runs until ctx ends, and then those that it has not made yet.
func (s *Strangers) Start(ctx context.Context) error {
	s.init()
	s.queue.serve(ctx, s.Guard, guard.Strangers, func(key prunerun.Key) {
		again, err := s.examine(ctx, key, false)
		switch {
		case err != nil:
			s.queue.failed(s.Log, key, err, "A group with members to evict has no run yet, trying until it has")
		case again > 0:
			s.queue.after(key, again)
		default:
			s.queue.Forget(key)
		}
	})
	s.flush(ctx)
	return nil
}

// flush makes the runs for all that are kept.
func (s *Strangers) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	s.mu.Lock()
	keys := make(chan prunerun.Key, len(s.groups))
	for key := range s.groups {
		keys <- key
	}
	s.mu.Unlock()
	close(keys)
	var workers sync.WaitGroup
	for range intakeWorkers {
		workers.Go(func() { // ends when all groups are done, or after flushTimeout
			for key := range keys {
				s.Guard.Run(guard.Strangers, func() {
					if _, err := s.examine(ctx, key, true); err != nil {
						s.Log.V(1).Info("A group with members to evict has no run at the end of this process",
							"app", key.AppName().String(), "group", key.Group, "error", err.Error())
					}
				})
			}
		})
	}
	workers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.groups) > 0 {
		s.Log.Info("Groups with members to evict have no run at the end of this process: the next round finds them",
			"groups", len(s.groups), "accounts", s.kept)
	}
}

// examine makes the run of a group if it is time to, or if the process ends. It returns when to examine the group
// again; 0 if nothing is left of it.
func (s *Strangers) examine(ctx context.Context, key prunerun.Key, ending bool) (time.Duration, error) {
	group := s.examined(key)
	if group == nil {
		return 0, nil
	}
	all := slices.Collect(maps.Keys(group.joined))
	snapshot := s.Snapshots.Load()
	if snapshot == nil {
		return noSnapshotRecheck, nil
	}
	app := snapshot.AppNamed(key.Namespace, key.App)
	rule, governed := policy.GoverningEviction{}, false
	if app != nil && group.groupType != policy.TypeAVChatRoom {
		rule, governed = app.GoverningEviction(key.Group, group.groupType)
	}
	switch {
	case !governed:
		s.forget(key, group, all, true)
		return 0, nil
	case app.PruningSuspended():
		return pendingRecheck, nil
	}
	admitted := slices.DeleteFunc(all, func(account string) bool {
		_, refused := rule.Judge(account)
		return refused
	})
	ctx, cancel := context.WithTimeout(ctx, intakeTimeout)
	defer cancel()
	ordered, err := s.ordered(ctx, key, group)
	if err != nil {
		return 0, err
	}
	needless := append(admitted, ordered...)
	s.forget(key, group, needless, false)
	for _, account := range needless {
		delete(group.joined, account)
	}
	if group.size() == 0 {
		return 0, nil
	}
	now := s.Now()
	horizon := now
	if interval, _ := app.EvictInterval(); ending {
		horizon = now.Add(interval)
	}
	order, ready := group.order(key, rule.Rule.Grace, horizon)
	switch wait := ready.Sub(now); {
	case wait > 0 && !ending:
		return min(wait, pendingRecheck), nil // in steps, since edits and the clock may change it
	case len(order.accounts) == 0 && group.whole.IsZero():
		return 0, nil // and the next round finds them
	}
	return s.make(ctx, group, &order, app, len(rule.Unresolved) > 0)
}

// order returns the run that the group needs, with the accounts whose grace ends by the horizon, and when it is to be
// made: when the grace of the first account ends, or, if that of others ends soon after, with the last of these.
func (g *strangeGroup) order(
	key prunerun.Key, grace time.Duration, horizon time.Time,
) (o order, ready time.Time) {
	accounts := slices.SortedFunc(maps.Keys(g.joined), func(a, b string) int {
		if c := g.joined[a].Compare(g.joined[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	ready = g.whole
	if ready.IsZero() {
		ready = g.joined[accounts[0]].Add(grace)
	}
	last := ready.Add(gather)
	o = order{key: key, purpose: v1alpha1.PrunePurposeEvict, trigger: g.trigger}
	for _, account := range accounts {
		until := g.joined[account].Add(grace)
		if until.After(ready) && !until.After(last) {
			ready = until
		}
		if !until.After(horizon) {
			o.accounts = append(o.accounts, account)
		}
	}
	return o, ready
}

// make makes the run.
func (s *Strangers) make(
	ctx context.Context, group *strangeGroup, o *order, app *policy.CompiledApp, unresolved bool,
) (time.Duration, error) {
	creator := runCreator{Client: s.Client, Live: s.Live, Now: s.Now}
	if unresolved {
		waiting, err := creator.withoutPlan(ctx, o)
		if err != nil || len(waiting) >= maxUnresolvedRuns {
			return pendingRecheck, err
		}
	}
	looked := o.accounts
	whole := !group.whole.IsZero()
	if whole {
		o.accounts = nil
	} else if len(o.accounts) > maxAccountsPerRun {
		o.accounts = o.accounts[:maxAccountsPerRun]
		looked = o.accounts
	}
	got, err := creator.ensure(ctx, *o, app)
	if err != nil {
		return 0, err
	}
	switch got.outcome {
	case runCreated:
	case runNoRoom: // for a few seconds, while others are planned
		return time.Second, nil
	default:
		return pendingRecheck, nil
	}
	s.Log.Info("Run that evicts members created", "app", o.key.AppName().String(), "group", o.key.Group,
		"trigger", o.trigger, "accounts", len(o.accounts))
	s.forget(o.key, group, looked, whole)
	return pendingRecheck, nil
}

// ordered returns which of the accounts an unfinished run names and will look at, or evicts already. A run that reads
// the whole list does not count: it may have read it before they joined, or by an older list. The cache has no removals
// of plans, so that a plan counts if it holds every account that the run names.
func (s *Strangers) ordered(ctx context.Context, key prunerun.Key, group *strangeGroup) (accounts []string, _ error) {
	runs, err := cachedRuns(ctx, s.Client, key)
	if err != nil {
		return nil, err
	}
	for i := range runs {
		run := &runs[i]
		if !prunerun.Active(run) || !prunerun.Evicts(run) {
			continue
		}
		named := run.Spec.Accounts
		if plan := run.Status.Plan; plan != nil && (plan.Size == nil || int(*plan.Size) < len(named)) {
			continue
		}
		for _, account := range named {
			if _, has := group.joined[account]; has {
				accounts = append(accounts, account)
			}
		}
	}
	return accounts, nil
}
