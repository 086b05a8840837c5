package replicas

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/internal/term"
)

// settling is the time after the beginning of a term in which the leader may not have read everything yet.
const settling = 10 * time.Second

// State says how far an object has come.
type State uint8

// The states.
const (
	// Waiting objects have not reached every replica, which is no reason for concern yet.
	Waiting State = iota
	// Reached objects are enforced by every replica.
	Reached
	// Behind objects are not enforced by a replica that should have reported them by now.
	Behind
)

// Verdict says whether every replica enforces an object. Verdicts are compared with ==.
type Verdict struct {
	State State
	// Late of Replicas are behind, and First names one of them and says since when.
	Late, Replicas int
	First          string
	// Unread, if not empty, is what the leader has not been able to read, and since when: it does not know what has
	// changed, or which replicas there are. Then State is Behind, and Late is not known.
	Unread string
}

// Object is one version of an API object.
type Object struct {
	Kind, Namespace, Name string
	UID                   types.UID
	Generation            int64
	// Labels is a hash of the labels, if something depends on them.
	Labels uint64
	// Version is the resourceVersion.
	Version string
	// RefersTo is the kind of the objects without which this one is not enforced as it is, empty if there are none: a
	// policy refers to AccountLists, an app to a Secret.
	RefersTo string
	// Holds says that an app holds its SDKAppID. It may have taken it over from another one.
	Holds bool
}

// Enforcement says which objects every replica enforces. Only the leader asks; whatever it learnt in one term is
// forgotten in the next, since the objects may have changed between the two.
type Enforcement struct {
	members *Members
	observe func() (settled, changed Versions, failing map[Watch]time.Time)
	changed term.Notifier // what a replica reports
	lapsed  term.Notifier // which watches of the leader have failed for long

	mu    sync.Mutex
	term  uint64
	began time.Time // the term
	first map[types.UID]arrival
	// open are the objects that have not reached every replica, with the verdicts that their statuses know.
	open map[object]judged
}

// arrival is what every replica must have reached: the version at which the leader first saw this generation and these
// labels. Later ones are those of status writes, and a replica that is cut off enforces the object without them.
type arrival struct {
	generation int64
	labels     uint64
	version    string
	// referred is the version of the objects of the kind refersTo, in the same namespace, at the build that last
	// resolved the references to something else. Those objects may have been relabelled or deleted.
	refersTo string
	referred string
	// taken is what every replica must have of the other apps, since this one holds its SDKAppID.
	holds bool
	taken []need
}

// object names an object.
type object struct{ kind, namespace, name string }

type judged struct {
	uid     types.UID
	verdict Verdict
}

// NewEnforcement returns an Enforcement by the members. observe returns what the published snapshot of this replica
// contains, nil if a build is about to change that, the versions of the newest changes in it, and since when which
// watches have not been in order.
func NewEnforcement(
	members *Members, observe func() (settled, changed Versions, failing map[Watch]time.Time),
) *Enforcement {
	return &Enforcement{
		members: members, observe: observe, first: map[types.UID]arrival{}, open: map[object]judged{},
	}
}

// Judge says whether every replica enforces an object. number is that of the term.
func (e *Enforcement) Judge(number uint64, o Object) Verdict {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.term != number {
		e.term, e.began = number, e.members.now()
		clear(e.first)
		clear(e.open)
	}
	seen, ok := e.first[o.UID]
	takesOver := ok && o.Holds && !seen.holds
	if !ok || seen.generation != o.Generation || seen.labels != o.Labels || seen.refersTo != o.RefersTo {
		seen = arrival{
			generation: o.Generation, labels: o.Labels, version: o.Version, refersTo: o.RefersTo, taken: seen.taken,
		}
	}
	if seen.refersTo != "" && seen.referred == "" {
		seen.referred = e.members.newest(seen.refersTo, o.Namespace)
	}
	if seen.holds = o.Holds; takesOver {
		seen.taken = e.members.changes(o.Kind)
	}
	e.first[o.UID] = seen
	named := object{o.Kind, o.Namespace, o.Name}
	verdict := e.judge(seen, named)
	e.open[named] = judged{o.UID, verdict}
	if verdict.State == Reached {
		delete(e.open, named)
	}
	return verdict
}

// judge waits for watches that fail at the beginning of a term. After an outage of the API server a term may begin
// before the watches are open again, and every status would be written twice.
func (e *Enforcement) judge(a arrival, o object) Verdict {
	verdict := e.members.judge(a.needs(o))
	if verdict.Unread != "" && e.members.now().Sub(e.began) < settling {
		return Verdict{State: Waiting}
	}
	return verdict
}

func (a arrival) needs(o object) []need {
	needs := []need{{Watch{o.kind, o.namespace}, a.version}}
	if a.refersTo != "" {
		needs = append(needs, need{Watch{a.refersTo, o.namespace}, a.referred})
	}
	return append(needs, a.taken...)
}

// Resolved records that the references of an object resolve to something else since a build with these changes.
func (e *Enforcement) Resolved(kind, namespace, name string, uid types.UID, changed Versions) {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen, ok := e.first[uid]
	if !ok {
		return // Judge will ask for as much
	}
	if version := changed.of(seen.refersTo, namespace); !reaches(seen.referred, version) {
		seen.referred = version
		e.first[uid] = seen
	}
	named := object{kind, namespace, name}
	if _, ok := e.open[named]; !ok {
		e.open[named] = judged{uid: uid, verdict: Verdict{State: Reached}}
	}
}

// Lapsed reports whether this replica has not been able to read the objects of a kind in a namespace for a while.
func (e *Enforcement) Lapsed(kind, namespace string) bool {
	return e.members.lapsed(Watch{kind, namespace})
}

// Forget forgets a deleted object.
func (e *Enforcement) Forget(uid types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.first, uid)
}

// Start observes this replica once a second, until ctx ends, and looks for others that have fallen behind.
func (e *Enforcement) Start(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			settled, changed, failing := e.observe()
			e.members.settled(settled, changed)
			if e.members.observe(failing) {
				e.lapsed.Notify()
			}
			e.changed.Notify()
		}
	}
}

// NeedLeaderElection is false: a term may begin at any time.
func (*Enforcement) NeedLeaderElection() bool { return false }

// Changed says that another replica has come, gone or reported something.
func (e *Enforcement) Changed() { e.changed.Notify() }

// ChangedHere says that this replica has published a snapshot. Where there are others, it is rarely the last one to
// have a version: their reports, or the next observation, are soon enough.
func (e *Enforcement) ChangedHere() {
	if e.members.alone() {
		e.changed.Notify()
	}
}

// Source enqueues the objects of a kind whose verdicts have changed without a change of the objects. all returns every
// object of the kind.
func (e *Enforcement) Source(kind string, all func() []reconcile.Request) source.Source {
	never := func() bool { return false }
	changed := e.changed.Source(never, func(context.Context) []reconcile.Request { return e.due(kind) })
	lapsed := e.lapsed.Source(never, func(context.Context) []reconcile.Request { return all() })
	return source.Func(func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		return errors.Join(changed.Start(ctx, q), lapsed.Start(ctx, q))
	})
}

// Observed enqueues the requests after every observation, at least once a second.
func (e *Enforcement) Observed(requests func(context.Context) []reconcile.Request) source.Source {
	return e.changed.Source(func() bool { return false }, requests)
}

// due returns the objects of a kind whose statuses do not know their verdicts.
func (e *Enforcement) due(kind string) []reconcile.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	var due []reconcile.Request
	for o, known := range e.open {
		seen, ok := e.first[known.uid]
		switch {
		case o.kind != kind:
			continue
		case !ok:
			delete(e.open, o)
			continue
		}
		verdict := e.judge(seen, o)
		if verdict.State == Waiting { // a status is not changed for that
			continue
		}
		if verdict != known.verdict {
			due = append(due, reconcile.Request{
				NamespacedName: types.NamespacedName{Namespace: o.namespace, Name: o.name},
			})
		}
		e.open[o] = judged{known.uid, verdict}
		if verdict.State == Reached {
			delete(e.open, o)
		}
	}
	return due
}
