package simulate

import (
	"fmt"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

const (
	// maxChanges bounds the changes that are told apart; the decisions of further ones are counted together.
	maxChanges = 10_000
	// maxAccounts bounds the accounts of changes that are told apart; beyond it their numbers are lower bounds.
	maxAccounts = 2_000_000
	// maxExamples is how many accounts a change names, and maxNamed how many lines and objects a hint does.
	maxExamples, maxNamed = 3, 5
	// maxSnapshots bounds the snapshots that are told apart.
	maxSnapshots = 1000
)

// Options of a [Simulation].
type Options struct {
	// Now are the objects to try.
	Now *manifests.Objects
	// Before are those to compare with; nil compares with the verdicts that were recorded.
	Before *manifests.Objects
	// App is the name of the only IMApp whose decisions are replayed; "" is all.
	App string
	// Accounts is the key of decisions whose accounts are hashed; nil leaves them out.
	Accounts *decisionlog.Accounts
	// At is the time of decisions that have none.
	At time.Time
}

// Simulation replays decisions. It is not safe for concurrent use.
type Simulation struct {
	options Options
	// plain decides about accounts, hashed about their hashes; hashed is made when it is needed.
	plain, hashed *world
	app           string // namespace/name of Options.App
	report        Report

	changes  map[changeKey]*Change
	accounts *accounts.Dedup
	pairs    int // in accounts
	// admissions are the decisions of logs that a log of refusals would not have; recorded are all of logs.
	admissions, recorded int
	snapshots            map[uint64]bool
	evicted              []string // the first few, as "account from group"
	unknownApps          map[string]int
}

// world is what decides: now, and before unless the log says that.
type world struct {
	now, before *manifests.Compiled
	// prefixed are the policies whose sections name prefixes of accounts.
	prefixed map[policy.Object]bool
	apps     map[string]*apps
}

// apps are one IMApp now and before.
type apps struct {
	now, before *policy.CompiledApp
	prefixed    map[string]bool // by group: whether a prefixed policy governs it
}

// New returns a simulation.
func New(o Options) (*Simulation, error) {
	o.Now = complete(o.Now, o.Before)
	s := &Simulation{
		options: o, plain: newWorld(o, nil), changes: map[changeKey]*Change{}, accounts: accounts.NewDedup(0),
		snapshots: map[uint64]bool{}, unknownApps: map[string]int{},
	}
	if o.App != "" {
		app, err := s.plain.now.App(o.App)
		if err != nil {
			return nil, err
		}
		s.app = app.Object().Key()
	}
	s.report.describe(s.plain.now)
	return s, nil
}

// complete adds to files what is seldom in files: the IMApps and PruneRuns that there were before.
func complete(now, before *manifests.Objects) *manifests.Objects {
	if !now.FromFiles || before == nil {
		return now
	}
	completed := *now
	for _, app := range before.Apps {
		if now.App(policy.Object{Namespace: app.Namespace, Name: app.Name}) == nil {
			completed.Apps = append(completed.Apps[:len(completed.Apps):len(completed.Apps)], app)
		}
	}
	if len(now.Runs) == 0 {
		completed.Runs = before.Runs
	}
	return &completed
}

func newWorld(o Options, naming func(string) string) *world {
	w := &world{now: o.Now.CompileNaming(naming), apps: map[string]*apps{}, prefixed: map[policy.Object]bool{}}
	if o.Before != nil {
		w.before = o.Before.CompileNaming(naming)
	}
	return w
}

// find returns the app of a decision; nil if it is not there, now or before.
func (w *world) find(key string) *apps {
	found, known := w.apps[key]
	if known {
		return found
	}
	key = strings.Clone(key)
	namespace, name, _ := strings.Cut(key, "/")
	found = &apps{now: w.now.AppNamed(namespace, name), prefixed: map[string]bool{}}
	if w.before != nil {
		found.before = w.before.AppNamed(namespace, name)
	}
	if found.now == nil || w.before != nil && found.before == nil {
		found = nil
	}
	if len(w.apps) < maxChanges {
		w.apps[key] = found
	}
	return found
}

// Add replays a decision. What of it is kept is copied.
func (s *Simulation) Add(r *decisionlog.Recorded) {
	s.note(r)
	if s.app != "" && r.App != s.app {
		s.report.Skipped.OtherApps++
		return
	}
	w := s.plain
	if r.AccountKey != "" {
		if w = s.worldOfHashes(r); w == nil {
			return
		}
	}
	app := w.find(r.App)
	if app == nil {
		s.unknownApp(r.App)
		return
	}
	if w == s.hashed && w.namesPrefixes(app, r.Group) {
		s.report.Skipped.Prefixes++
		return
	}
	query := policy.JoinQuery{
		Group: r.Group, Type: r.GroupType, Account: r.Account, Trigger: r.Trigger, Operator: r.Operator, Now: r.Time,
	}
	now := outcomeOf(app.now.DecideJoin(query))
	before := outcome{r.Admitted, r.Reason, r.Policy}
	if app.before != nil {
		before = outcomeOf(app.before.DecideJoin(query))
	} else if now.admitted != before.admitted && (now.byRun() || before.byRun()) {
		// A record of a removal, which may be gone by now or may not have been there: no policy makes this difference.
		s.report.Skipped.Runs++
		return
	}
	s.report.Decisions++
	if before.admitted {
		s.evict(app.now, r)
	}
	if now.admitted != before.admitted {
		s.change(r, now, before)
	}
}

// outcome is a verdict, as far as a change shows it.
type outcome struct {
	admitted bool
	reason   policy.Reason
	policy   string
}

func outcomeOf(v policy.Verdict) outcome {
	o := outcome{admitted: v.Admit, reason: v.Reason}
	if v.Policy != nil {
		o.policy = v.Policy.Name
	}
	return o
}

func (o outcome) byRun() bool {
	return o.reason == policy.ReasonPruned || o.reason == policy.ReasonRestored
}

// note remembers what a line says about its log.
func (s *Simulation) note(r *decisionlog.Recorded) {
	if r.Reason == 0 && r.Snapshot == 0 {
		return // of a table
	}
	s.recorded++
	if r.Admitted && !r.Audit.Exists() {
		s.admissions++
	}
	if len(s.snapshots) < maxSnapshots {
		s.snapshots[r.Snapshot] = true
	}
}

func (s *Simulation) unknownApp(key string) {
	s.report.Skipped.UnknownApps++
	if _, known := s.unknownApps[key]; known || len(s.unknownApps) < maxNamed {
		s.unknownApps[strings.Clone(key)]++
	}
}

// changeKey is what decisions have in common that are shown together.
type changeKey struct {
	app, group  string
	now, before outcome
}

func (s *Simulation) change(r *decisionlog.Recorded, now, before outcome) {
	if now.admitted {
		s.report.Opened++
	} else {
		s.report.Closed++
	}
	c := s.changeOf(changeKey{r.App, r.Group, now, before})
	c.Decisions++
	if s.pairs == maxAccounts {
		c.AtLeast = true
		return
	}
	if !s.accounts.Add(fmt.Sprint(c.number, " ", r.Account)) {
		return
	}
	s.pairs++
	c.Accounts++
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, strings.Clone(r.Account))
	}
}

// changeOf returns the change of a key. Where there are too many, it is one without a group, in the end without all.
func (s *Simulation) changeOf(key changeKey) *Change {
	for _, fewer := range []func(*changeKey){
		func(*changeKey) {},
		func(k *changeKey) { k.group = "" },
		func(k *changeKey) { *k = changeKey{now: outcome{admitted: k.now.admitted}} },
	} {
		fewer(&key)
		if c := s.changes[key]; c != nil {
			return c
		}
		if len(s.changes) < maxChanges || key.app == "" || key.group == "" && len(s.changes) < 2*maxChanges {
			break
		}
	}
	key.app, key.group = strings.Clone(key.app), strings.Clone(key.group)
	key.before.policy = strings.Clone(key.before.policy)
	c := newChange(key, len(s.changes))
	s.changes[key] = c
	return c
}
