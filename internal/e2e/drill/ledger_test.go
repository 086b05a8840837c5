package drill

import (
	"context"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// ledger is all that is known of an episode, in order. Its times are those of this machine, whatever the clock of the
// emulator says, except for those of members, which are the emulator's.
type ledger struct {
	mu sync.Mutex

	rechecks  []event // get_specified_group_member_info
	removals  []event // delete_group_member
	additions []event // add_group_member

	policies  map[string]*timeline[*version]  // by name; nil: there is none
	lists     map[string]*timeline[*[]string] // by name; nil: there is none
	suspended map[string]*timeline[bool]      // by app
	approvals map[types.UID]*timeline[v1alpha1.Approval]
	silent    map[string]*timeline[bool] // by app and group: members may not speak, or may elsewhere
	expiries  map[types.UID]expiry       // of plans that the drill has aged
	spent     map[string]spending        // by app and policy: what yesterday's record takes of the budget

	departures []departure
	imports    []arrival
	reports    []report
	faults     []time.Time // when a fault of the vendor fired, and when another one began or ended

	outages []time.Time // when one began or ended

	runs map[types.UID]*history
}

// event is a call of the vendor's REST API that took effect, and the runs of the group in the API server at that
// moment.
type event struct {
	at   time.Time
	app  string
	runs []v1alpha1.PruneRun
	emulator.MemberCall
}

// arrival is an account that became a member no earlier than at, although the vendor says that it joined long before.
type arrival struct {
	at                  time.Time
	app, group, account string
}

// expiry is when a plan became known to end, and when it ends.
type expiry struct{ known, at time.Time }

// spending is how many removals count until when.
type spending struct {
	n     int
	until time.Time
}

// version is one generation of a policy.
type version struct {
	uid        types.UID
	generation int64
	rule       rule
}

// departure is one member less, or one seat more, that no run has caused.
type departure struct {
	app, group  string
	account     string // "" if the group's limit was raised, or all are gone
	seats       int
	anew        bool // all are gone, and another group has the id
	begin, done time.Time
}

// report is a full group that a manager has accepted.
type report struct {
	app, group string
	at         time.Time
}

// history is every version of a run that the watch saw.
type history struct {
	versions []v1alpha1.PruneRun
	seen     []time.Time       // when the watch delivered each
	members  []emulator.Member // of the group, when the watch delivered the plan of an eviction
	deleted  bool
}

func (h *history) last() *v1alpha1.PruneRun { return &h.versions[len(h.versions)-1] }

// plannedAt is when the plan was made, whatever the record says of it since; zero if there is none.
func (h *history) plannedAt() time.Time {
	if h == nil {
		return time.Time{} // the watch has not seen the run yet
	}
	for i := range h.versions {
		if plan := h.versions[i].Status.Plan; plan != nil {
			return plan.CreatedAt.Time
		}
	}
	return time.Time{}
}

// planned reports whether this is the first version with a plan.
func (h *history) planned(run *v1alpha1.PruneRun) bool {
	i := slices.IndexFunc(h.versions, func(v v1alpha1.PruneRun) bool { return v.Status.Plan != nil })
	return i >= 0 && h.versions[i].ResourceVersion == run.ResourceVersion
}

// planSeen is when the watch delivered the plan.
func (h *history) planSeen() time.Time {
	for i := range h.versions {
		if h.versions[i].Status.Plan != nil {
			return h.seen[i]
		}
	}
	return time.Time{}
}

func newLedger() *ledger {
	return &ledger{
		policies: map[string]*timeline[*version]{}, lists: map[string]*timeline[*[]string]{},
		suspended: map[string]*timeline[bool]{},
		approvals: map[types.UID]*timeline[v1alpha1.Approval]{}, runs: map[types.UID]*history{},
		silent: map[string]*timeline[bool]{}, expiries: map[types.UID]expiry{}, spent: map[string]spending{},
	}
}

// note writes into the ledger.
func (l *ledger) note(write func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	write()
}

// line is the timeline of key, made if need be.
func line[K comparable, T any](lines map[K]*timeline[T], key K) *timeline[T] {
	if lines[key] == nil {
		lines[key] = &timeline[T]{}
	}
	return lines[key]
}

func (l *ledger) recordFault() { l.note(func() { l.faults = append(l.faults, time.Now()) }) }

// seen adds a version of a run, and reports whether it is the first one with a plan.
func (l *ledger) seen(run *v1alpha1.PruneRun, deleted bool) (planned bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.runs[run.UID]
	if h == nil {
		h = &history{}
		l.runs[run.UID] = h
	}
	planned = run.Status.Plan != nil && h.planSeen().IsZero()
	h.deleted = h.deleted || deleted
	if len(h.versions) == 0 || h.last().ResourceVersion != run.ResourceVersion {
		h.versions = append(h.versions, *run)
		h.seen = append(h.seen, time.Now())
	}
	return planned
}

// runsOf are the last versions of the runs of a group that still exist, oldest first.
func (l *ledger) runsOf(app, group string) []v1alpha1.PruneRun {
	l.mu.Lock()
	defer l.mu.Unlock()
	var runs []v1alpha1.PruneRun
	for _, h := range l.runs {
		if run := h.last(); !h.deleted && run.Spec.AppRef.Name == app && run.Spec.GroupID == group {
			runs = append(runs, *run)
		}
	}
	slices.SortFunc(runs, func(a, b v1alpha1.PruneRun) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return len(a.Name) - len(b.Name)
	})
	return runs
}

// witness is called by the emulator while it holds the lock of the group: the runs that the API server has now are
// those of the moment at which the call took effect.
func (w *world) witness(t emulator.MemberCall) {
	if t.Identifier != lab.AdminAccount {
		return // the drill itself adds members
	}
	d := event{at: time.Now(), app: w.appNamed(t.Group.SDKAppID), MemberCall: t}
	if t.API != "get_specified_group_member_info" {
		var list v1alpha1.PruneRunList
		err := w.api.List(w.ctx, &list, client.InNamespace(w.Namespace),
			client.MatchingFields{"spec.appRef.name": d.app, "spec.groupID": t.Group.ID})
		if err != nil {
			w.violation("list the runs of %q: %v", t.Group.ID, err)
		}
		d.runs = list.Items
	}
	w.ledger.note(func() {
		switch t.API {
		case "delete_group_member":
			w.ledger.removals = append(w.ledger.removals, d)
		case "add_group_member":
			w.ledger.additions = append(w.ledger.additions, d)
		default:
			w.ledger.rechecks = append(w.ledger.rechecks, d)
		}
	})
}

// watchRuns records every version of every run until ctx ends. A watch that ends is resumed.
func (w *world) watchRuns(ctx context.Context) {
	version := ""
	for ctx.Err() == nil {
		watcher, err := w.api.Watch(ctx, &v1alpha1.PruneRunList{}, &client.ListOptions{
			Namespace: w.Namespace, Raw: &metav1.ListOptions{ResourceVersion: version},
		})
		if err != nil {
			if ctx.Err() == nil {
				w.violation("watch the runs: %v", err)
			}
			return
		}
		for event := range watcher.ResultChan() {
			if run, ok := event.Object.(*v1alpha1.PruneRun); ok {
				version = run.ResourceVersion
				if w.ledger.seen(run, event.Type == "DELETED") && run.Spec.Purpose == v1alpha1.PrunePurposeEvict {
					members, err := w.im(run.Spec.AppRef.Name).Members(ctx, run.Spec.GroupID)
					if err == nil { // the group may be gone
						w.ledger.note(func() { w.ledger.runs[run.UID].members = members })
					}
				}
			}
		}
		watcher.Stop()
	}
}
