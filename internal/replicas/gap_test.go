package replicas

import (
	"testing"
	"time"
)

// successor is a replica that becomes ready at readyAt, and what it hears of others.
type successor struct {
	*testing.T
	*Members
	at time.Time
}

var readyAt = start.Add(5 * time.Second)

func newSuccessor(t *testing.T, pod Pod) *successor {
	t.Helper()
	s := &successor{T: t, at: start}
	s.Members = NewMembers(pod, func() time.Time { return s.at })
	s.starts(start)
	s.starts(start.Add(time.Hour)) // again after a panic
	return s
}

// hears takes in the Lease of another replica, which began so long before this one and is renewed now.
func (s *successor) hears(name string, before time.Duration) {
	s.put("replica-"+name, leased{name: name, started: start.Add(-before), renewed: s.at})
}

func (s *successor) becomesReady() {
	s.at = readyAt
	s.expect()
}

// finds says that a gap ended when this replica became ready, or that there was none.
func (s *successor) finds(gap bool) {
	s.Helper()
	want := time.Time{}
	if gap {
		want = readyAt
	}
	if got := s.OwnGap(); !got.Equal(want) {
		s.Errorf("at %s the gap ended at %s, want %s", s.at, got, want)
	}
}

func TestGapIsNoticedByTheReplicaThatEndsIt(t *testing.T) {
	const older, younger = time.Hour, -time.Second
	tests := map[string]struct {
		before func(*successor)
		// what is found at once, and what after what has happened within the 12 s
		at    bool
		after func(*successor)
		then  bool
	}{
		"it is the only one": {at: true, then: true},
		"a rolling update: the older one goes on": {
			before: func(s *successor) { s.hears("old", older) },
			after:  func(s *successor) { s.hears("old", older) },
		},
		"a rolling update: the older one answers until it ends": {
			before: func(s *successor) { s.hears("old", older) },
			after: func(s *successor) {
				s.hears("old", older) // the last renewal, by Leave
				s.remove("replica-old")
			},
		},
		"the older one has been killed, and its Lease stays": {
			before: func(s *successor) { s.hears("old", older) },
			then:   true,
		},
		"the older one has been killed, and its Pod is deleted": {
			before: func(s *successor) { s.hears("old", older) },
			after:  func(s *successor) { s.remove("replica-old") },
			then:   true,
		},
		"an old Lease is left over": {
			before: func(s *successor) {
				s.put("replica-old", leased{name: "old", started: start.Add(-older), renewed: start.Add(-liveFor)})
			},
			then: true,
		},
		"the older one has been killed, and another one began after this one": {
			before: func(s *successor) {
				s.hears("old", older)
				s.hears("twin", younger)
			},
			after: func(s *successor) { s.hears("twin", younger) },
			then:  true,
		},
		"the other one began after it": {
			before: func(s *successor) { s.hears("twin", younger) },
			after:  func(s *successor) { s.hears("twin", younger) },
			at:     true, then: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSuccessor(t, pod)
			s.finds(false)
			if tc.before != nil {
				tc.before(s)
			}
			s.becomesReady()
			s.finds(tc.at)
			s.at = s.at.Add(10 * time.Second)
			if tc.after != nil {
				tc.after(s)
			}
			s.at = readyAt.Add(handover)
			s.finds(tc.then)
		})
	}
}

func TestEveryStartOutsideOfAPodEndsAGap(t *testing.T) {
	s := newSuccessor(t, Pod{})
	s.finds(false)
	s.at = readyAt
	s.Published(versions("100"), versions("100"))
	s.finds(true)
	s.at = s.at.Add(time.Hour)
	s.Published(versions("101"), versions("101"))
	s.finds(true)
}

func TestLeaderLearnsOfAGapFromAnotherReplica(t *testing.T) {
	s := newSuccessor(t, pod)
	s.hears("old", time.Hour)
	s.becomesReady()
	s.at = s.at.Add(time.Second)
	s.hears("old", time.Hour)
	if got := s.Gap(); !got.IsZero() {
		t.Errorf("a gap that ended at %s", got)
	}
	ended := s.at.Add(-time.Minute)
	s.put("replica-old", leased{name: "old", renewed: s.at, report: Report{Gap: ended}})
	if got := s.Gap(); !got.Equal(ended) {
		t.Errorf("the gap ended at %s, want %s", got, ended)
	}
	if (Report{Gap: ended}).says(Report{}) {
		t.Error("a gap is not reported before it is time to renew the Lease")
	}
}
