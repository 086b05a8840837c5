package replicas

import "time"

// handover is how long a replica that has become ready waits for a sign of life of those that began before it, each of
// which reports every renewInterval.
const handover = newcomer

// gaps is what a replica finds out about the time before it became ready. Callbacks of a time in which no replica is
// ready are lost: the IM backend lets everybody in, and repeats nothing.
//
// A replica that began before this one, and is heard of after this one has become ready, has been there all the time.
// Without one there was a gap. Of several replicas that begin after a gap, at least the first has none before it, and
// tells the others.
type gaps struct {
	started, ready time.Time // when this process began, and became ready; zero: not yet
	bridged        bool      // a replica that began before has been heard of since
	ended          time.Time // when the gap ended; zero: there was none, or that is not known yet
}

// starts says when this process began. Only the first call counts.
func (m *Members) starts(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gaps.started.IsZero() {
		m.gaps.started = at
	}
}

// heard records a sign of life of another replica, which began at a time.
func (g *gaps) heard(began time.Time) {
	if !g.ready.IsZero() && began.Before(g.started) {
		g.bridged = true
	}
}

// Gap returns when the latest time ended in which no replica was ready, as far as this replica or another one found
// out; zero if none is known. It may take 12 s after this replica has become ready.
func (m *Members) Gap() time.Time {
	latest := m.OwnGap()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.others {
		latest = later(latest, other.report.Gap)
	}
	return latest
}

// OwnGap returns when this replica became ready, if no other one was until then; zero if one was, or that is not known
// yet.
func (m *Members) OwnGap() time.Time {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	g := &m.gaps
	if g.ready.IsZero() || g.bridged || !g.ended.IsZero() {
		return g.ended
	}
	for _, other := range m.others {
		if other.started.Before(g.started) && other.live(now) && now.Sub(g.ready) < handover {
			return time.Time{}
		}
	}
	g.ended = g.ready
	return g.ended
}
