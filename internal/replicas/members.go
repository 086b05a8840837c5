package replicas

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/callbackhealth"
)

const (
	// grace is how long a replica may be behind before it is named. A replica reports once a second.
	grace = 5 * time.Second
	// LiveFor is how long a replica counts as alive after a renewal of its Lease.
	LiveFor = 30 * time.Second
	liveFor = LiveFor
	// newcomer is how long a replica counts as alive that is heard of for the first time: its clock may be another one,
	// but its next renewal shows that it is alive.
	newcomer = renewInterval + 2*reportInterval
	// failingFor is how long a watch of the leader may fail before the leader itself is behind: it cannot know what
	// has changed.
	failingFor = 20 * time.Second
	// bookmarkGrace is how long a replica may take to show that it has what this one began with. The API server sends a
	// bookmark once a minute.
	bookmarkGrace = 90 * time.Second
)

// Members are the replicas that may be answering callbacks: this one, and those whose Leases exist. It is safe for
// concurrent use.
type Members struct {
	now   func() time.Time
	lease string // of this replica; empty if there are no Leases

	mu  sync.Mutex
	own Versions // what the snapshot of this replica contains
	// changed are the newest changes in it. Replicas differ in own although nothing has changed: the later one began
	// with a newer list. A bookmark tells the others that they have as much.
	changed Versions
	// began is what own began with. What was deleted before that is not among the changes.
	began map[Watch]mark
	// listed says that the Leases of the others are known. seen is when this replica's own Lease last came back through
	// their watch, or was first written; blind says that this is long ago.
	listed bool
	seen   time.Time
	blind  bool
	// failing are the watches of this replica that have not been in order for failingFor, each with since when.
	failing map[Watch]time.Time
	others  map[string]*member // by the names of their Leases
	gaps    gaps
}

// member is another replica.
type member struct {
	name   string
	report Report
	// started and renewed are the times of its start and of its last report by its own clock, heard by this one.
	started, renewed, heard time.Time
	behind                  map[Watch]mark
}

// mark is a version that a replica had not reached at a time at which this one had.
type mark struct {
	version string
	since   time.Time
}

// NewMembers returns the Members of a replica in this Pod. Outside of a Pod there is no other replica.
func NewMembers(pod Pod, now func() time.Time) *Members {
	m := &Members{now: now, listed: true, began: map[Watch]mark{}, others: map[string]*member{}}
	if pod != (Pod{}) {
		m.lease, m.listed = pod.Lease().Name, false
	}
	return m
}

// expect says that this replica is ready, and that from now on its own Lease is to be seen.
func (m *Members) expect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = m.now()
	m.gaps.ready = m.seen
}

// allListed says that the Leases of the others are known.
func (m *Members) allListed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listed = true
}

// Published records what the published snapshot of this replica contains, and the newest changes in it. Neither must be
// changed afterwards.
func (m *Members) Published(versions, changed Versions) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own, m.changed = versions, changed
	if m.lease == "" && m.gaps.ready.IsZero() {
		m.gaps.ready = now // without Leases nothing else is waited for
	}
	for w, version := range versions {
		if _, ok := m.began[w]; !ok {
			m.began[w] = mark{version: version, since: now}
		}
	}
	m.compare(now)
}

// settled records that the published snapshot contains everything up to these versions. It knows no other watches than
// the last publication, and nothing older.
func (m *Members) settled(versions, changed Versions) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own, newest := maps.Clone(m.own), maps.Clone(m.changed)
	for w, version := range versions {
		if before, ok := own[w]; ok && reaches(version, before) {
			own[w], newest[w] = version, changed[w]
		}
	}
	m.own, m.changed = own, newest
	m.compare(m.now())
}

// newest returns the version of the newest change of a kind in a namespace that may have happened: what this replica
// began with if there is none since.
func (m *Members) newest(kind, namespace string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed, began := m.changed.of(kind, namespace), m.began[m.watchOf(Watch{kind, namespace})].version
	if reaches(changed, began) {
		return changed
	}
	return began
}

// observe records since when which watches of this replica have not been in order. It reports whether this replica
// itself is behind with other objects than before.
func (m *Members) observe(failing map[Watch]time.Time) bool {
	now := m.now()
	failing = maps.Clone(failing)
	maps.DeleteFunc(failing, func(_ Watch, since time.Time) bool { return now.Sub(since) < failingFor })
	m.mu.Lock()
	defer m.mu.Unlock()
	blind := !m.seen.IsZero() && now.Sub(m.seen) >= liveFor
	same := m.blind == blind && maps.Equal(m.failing, failing)
	m.blind, m.failing = blind, failing
	return !same
}

// Versions returns what the published snapshot of this replica contains; nil before the first.
func (m *Members) Versions() Versions {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own
}

// changes returns the newest changes of a kind in every namespace.
func (m *Members) changes(kind string) (changes []need) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for w, version := range m.changed {
		if w.Kind == kind && version != "" {
			changes = append(changes, need{w, version})
		}
	}
	return changes
}

// alone reports whether there is no other replica.
func (m *Members) alone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.others) == 0
}

// put records the Lease of a replica.
func (m *Members) put(lease string, l leased) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if lease == m.lease {
		m.seen = now
		return
	}
	other := m.others[lease]
	switch {
	case other == nil:
		// A Lease that is seen for the first time may be an old one.
		other = &member{heard: now, behind: map[Watch]mark{}}
		if !l.renewed.After(now) {
			other.heard = later(l.renewed, now.Add(newcomer-liveFor))
		}
		m.others[lease] = other
	case !l.renewed.Equal(other.renewed):
		other.heard = now
		m.gaps.heard(l.started)
	}
	other.name, other.report, other.started, other.renewed = l.name, l.report, l.started, l.renewed
	m.compare(now)
}

// remove forgets a replica whose Lease was deleted.
func (m *Members) remove(lease string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.others, lease)
}

// Callbacks returns what the callbacks of an IMApp looked like to the other replicas.
func (m *Members) Callbacks(app types.UID) callbackhealth.Seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	var seen callbackhealth.Seen
	for _, other := range m.others {
		seen = seen.Join(other.report.Callbacks[app])
	}
	return seen
}

// Replaces says why this replica must not take the place of another one yet: it has not read all of its watches, and a
// live replica has, for that namespace. An upgrade whose new roles lack something must not replace the replicas that
// still know.
func (m *Members) Replaces(watches []Watch) error {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.listed {
		return errors.New("waiting for the Leases of the replicas")
	}
	for _, w := range watches {
		if m.own.of(w.Kind, w.Namespace) != "" {
			continue
		}
		for _, other := range m.sorted() {
			if other.live(now) && !slices.ContainsFunc(watches, func(o Watch) bool {
				return o.Namespace == w.Namespace && other.report.Versions.of(o.Kind, o.Namespace) == ""
			}) {
				return fmt.Errorf("this replica cannot read the %s, which %s serves", w, other.name)
			}
		}
	}
	return nil
}

func (m *Members) sorted() []*member {
	return slices.SortedFunc(maps.Values(m.others), func(a, b *member) int { return cmp.Compare(a.name, b.name) })
}

func (m *member) live(now time.Time) bool { return now.Sub(m.heard) < liveFor }

// need is a version of a watch that every replica must have reached.
type need struct {
	Watch   // of the object's namespace
	version string
}

// judge says whether every replica has reached what is needed.
func (m *Members) judge(needs []need) Verdict {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	verdict := Verdict{State: Reached}
	if !m.listed {
		verdict.State = Waiting
	}
	if m.blind {
		return Verdict{State: Behind, Unread: "the Leases of the replicas since " + clock(m.seen)}
	}
	for _, n := range needs {
		if !reaches(m.own.of(n.Kind, n.Namespace), n.version) {
			verdict.State = Waiting
		}
		w := m.watchOf(n.Watch)
		if since, ok := m.failing[w]; ok {
			return Verdict{State: Behind, Unread: fmt.Sprintf("the %s since %s", w, clock(since))}
		}
	}
	var late []string
	for _, other := range m.sorted() {
		for _, n := range needs {
			version := other.report.Versions.of(n.Kind, n.Namespace)
			if reaches(version, n.version) {
				continue
			}
			verdict.State = Waiting
			w := m.watchOf(n.Watch)
			since, patience := other.behind[w].since, grace
			if began := m.began[w]; since.IsZero() && reaches(began.version, n.version) {
				since, patience = began.since, bookmarkGrace // it has every change since then
			}
			if since.IsZero() || now.Sub(since) < patience {
				continue
			}
			switch {
			case !other.live(now):
				late = append(late, fmt.Sprintf("%s, last heard of at %s", other.name, clock(other.renewed)))
			case version == "":
				late = append(late, fmt.Sprintf("%s, which has not read the %s", other.name, n.Watch))
			default:
				late = append(late, fmt.Sprintf("%s, whose %s have been out of date since %s",
					other.name, n.Watch, clock(since)))
			}
			break
		}
	}
	if len(late) == 0 {
		return verdict
	}
	return Verdict{State: Behind, Late: len(late), Replicas: len(m.others) + 1, First: late[0]}
}

func (m *Members) lapsed(w Watch) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, failing := m.failing[m.watchOf(w)]
	return failing
}

// compare updates the marks: the changes that the others had not reached when this replica had.
func (m *Members) compare(now time.Time) {
	for w := range m.own {
		newest := m.changed[w]
		for _, other := range m.others {
			version := other.report.Versions.least(w)
			marked, ok := other.behind[w]
			switch {
			case version != "" && newest == "", reaches(version, newest):
				delete(other.behind, w)
			case !ok || reaches(version, marked.version):
				other.behind[w] = mark{version: newest, since: now}
			}
		}
	}
}

// watchOf returns the watch of this replica that has the objects of w.
func (m *Members) watchOf(w Watch) Watch {
	if _, ok := m.own[w]; ok {
		return w
	}
	if all := (Watch{Kind: w.Kind}); m.own[all] != "" {
		return all
	}
	return w
}

// least returns the version of a watch; of a watch of all namespaces, where the replica has one for each of some, the
// lowest.
func (v Versions) least(w Watch) string {
	least := v.of(w.Kind, w.Namespace)
	if least != "" || w.Namespace != "" {
		return least
	}
	for other, version := range v {
		if other.Kind == w.Kind && (least == "" || reaches(least, version)) {
			least = version
		}
	}
	return least
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
