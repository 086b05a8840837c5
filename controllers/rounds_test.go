package controllers

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// leader is a process in a term that makes rounds and looks for changed verdicts.
type leader struct {
	*world
	*appRound
	process   *PruneRunReconciler
	strangers *Strangers
	changes   *VerdictChanges
	gap       time.Time
	vendor    *smallPages
}

func (w *world) leader() *leader {
	w.t.Helper()
	l := &leader{world: w, process: w.process(), strangers: w.strangers()}
	l.vendor = w.smallPages(l.process)
	clients := l.process.Engine.Clients
	l.changes = &VerdictChanges{
		Client: w.Client, Snapshots: w.Store, Term: l.process.Term, Clients: clients, Strangers: l.strangers,
		Now: w.Clock.Now, Log: logr.Discard(), Metrics: l.strangers.Metrics,
	}
	rounds := &Rounds{
		Client: w.Client, Live: w.Client, Snapshots: w.Store, Term: l.process.Term, Clients: clients,
		Strangers: l.strangers, Changes: l.changes, Gap: func() time.Time { return l.gap }, Now: w.Clock.Now,
		Metrics: l.strangers.Metrics, Log: logr.Discard(),
	}
	l.appRound = rounds.of(w.compiled())
	return l
}

// compiled is the app, with its UID.
func (w *world) compiled() policy.Object {
	return w.Store.Load().AppNamed(w.Namespace, labtest.App).Object()
}

// works does what there is to do now: compares, looks at changed groups, makes the round, and examines groups.
func (l *leader) works() {
	l.t.Helper()
	l.changes.compare()
	for l.changes.lookInTerm(l.t.Context(), l.compiled()) == time.Nanosecond {
		continue
	}
	for range 3 { // begins, goes through the groups, records the end
		l.turn(l.t.Context())
	}
	l.examineAll(l.strangers)
}

// leading is a leader of an app with the group lounge, of which the gate admits alice alone, after its first round, and
// when that began.
func leading(t *testing.T) (l *leader, at time.Time) {
	t.Helper()
	w := newWorld(t)
	w.room("lounge", "alice")
	w.evicting("lounge", exactly("lounge"), "alice")
	l, at = w.leader(), w.Clock.Now()
	l.works()
	w.began(at, roundRulesChanged, true)
	return l, at
}

// leadingAll is a leader of an app whose gate admits the account alice alone to all groups, of which there are these,
// with the members.
func leadingAll(t *testing.T, groups []string, members ...string) *leader {
	t.Helper()
	w := newWorld(t)
	for _, id := range groups {
		w.room(id, members...)
	}
	w.evicting("all", v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherAll}, "alice")
	return w.leader()
}

func (w *world) roundStatus() *v1alpha1.EvictRound {
	w.t.Helper()
	var app v1alpha1.IMApp
	labtest.Must(w.t, w.Client.Get(w.t.Context(), w.Key(labtest.App), &app))
	return app.Status.Round
}

// began says when the latest round began and why, and whether it is complete.
func (w *world) began(at time.Time, why string, complete bool) *v1alpha1.EvictRound {
	w.t.Helper()
	r := w.roundStatus()
	if r == nil || !r.StartedAt.Time.Equal(at.Truncate(time.Second)) || r.Why != why ||
		r.FinishedAt.IsZero() == complete {
		w.t.Fatalf("the round is %+v, want one of %s at %s, complete %t", r, why, at, complete)
	}
	return r
}

func TestRoundFindsMembersThatTheGateRefuses(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice", "mallory")
	w.room("vip-clean", "alice")
	w.room("vip-odd", "alice", "mallory", "oscar")
	w.room("vip-fresh", "alice")
	w.Put("vip-fresh", emulator.MemberSpec{Accounts: []string{"trudy"}})
	w.room("other", "mallory")
	live := emulator.GroupSpec{ID: "vip-live", Type: "AVChatRoom", Owner: "owner"}
	_, err := w.Emulator.CreateGroup(t.Context(), live)
	labtest.Must(t, err)
	w.evicting("vip", beginningWith("vip-"), "alice")
	w.evicting("lounge", exactly("lounge"), "alice")
	l, at := w.leader(), w.Clock.Now()
	l.works()
	w.hasEvictions("lounge Round", "vip-odd Round")
	r := w.began(at, roundRulesChanged, true)
	if r.Groups != 5 || r.Runs != 3 || !r.LastFinishedStart.Equal(&r.StartedAt) || r.Position != "" {
		t.Errorf("the round is %+v", r)
	}
	w.Clock.Forward(testGrace)
	l.works()
	w.hasEvictions("lounge Round", "vip-fresh Round trudy", "vip-odd Round")

	// The next one is made when the interval has nearly passed.
	w.Clock.Forward(22 * time.Hour)
	l.works()
	w.began(at, roundRulesChanged, true)
	w.Clock.Forward(time.Hour - testGrace)
	l.works()
	if r := w.roundStatus(); r.Why != roundInterval || r.FinishedAt.IsZero() {
		t.Errorf("the round is %+v", r)
	}
}

func TestNextLeaderResumesTheRound(t *testing.T) {
	w := newWorld(t)
	w.room("solo", "mallory")
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		w.room(id, "mallory")
	}
	w.evicting("all", v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherAll}, "alice")
	w.evicting("solo", exactly("solo"), "alice")
	l, at := w.leader(), w.Clock.Now()
	l.vendor.instead(func(call sweepCall, _ *http.Request) string {
		if call.API != labtest.ListMembers {
			return ""
		}
		w.Clock.Forward(roundSaves)
		if len(l.vendor.pages()) == 3 {
			w.Clock.Forward(time.Hour)
			return refusal(10002) // on the third page of the groups
		}
		return ""
	})
	l.works()
	r := w.began(at, roundRulesChanged, false)
	done := r.Groups
	if r.Position == "" || done < 2 || done > 5 {
		t.Fatalf("the round is %+v", r)
	}
	w.endTerm(l.process)

	next := w.leader()
	next.works()
	r = w.began(at, roundRulesChanged, true)
	if got := next.vendor.pages(); len(got) == 0 || got[0] == 0 || slices.Contains(next.vendor.groups(), "solo") {
		t.Errorf("the next leader listed %v and read %v, want it to go on", got, next.vendor.groups())
	}
	if want := done + int64(len(next.vendor.groups())); r.Groups != want {
		t.Errorf("%d groups were counted, want %d", r.Groups, want)
	}
	w.hasEvictions("a Round", "b Round", "c Round", "d Round", "e Round", "solo Round")
}

func TestRoundIsDue(t *testing.T) {
	tests := map[string]struct {
		happens func(l *leader) *leader
		why     string
		after   time.Duration
	}{
		"after a gap": {why: roundGap, happens: func(l *leader) *leader {
			l.gap = l.Clock.Now()
			return l
		}},
		"when a policy was edited": {why: roundRulesChanged, after: roundDebounce, happens: func(l *leader) *leader {
			change(l.world, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.Join.Evict.Mode = v1alpha1.PruneModeApprove
			})
			l.Publish()
			return l
		}},
		"when a list was edited while there was no leader": {why: roundRulesChanged, after: roundDebounce,
			happens: func(l *leader) *leader {
				l.endTerm(l.process)
				l.list("bob")
				return l.leader()
			}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, at := leading(t)
			w := l.world
			w.Clock.Forward(time.Minute)
			l.works()

			l = tc.happens(l)
			w.Clock.Forward(time.Second)
			l.works()
			if tc.after > 0 {
				w.began(at, roundRulesChanged, true)
				w.Clock.Forward(tc.after)
				l.works()
			}
			r := w.roundStatus()
			if r.Why != tc.why || r.FinishedAt.IsZero() || r.StartedAt.Time.Equal(at.Truncate(time.Second)) {
				t.Fatalf("the round is %+v", r)
			}
			began := r.StartedAt.Time
			w.Clock.Forward(time.Hour)
			l.works()
			w.began(began, tc.why, true)
		})
	}
}

// The account that makes the calls is never evicted; the one that made them before may be.
func TestRoundIsDueWhenTheAppHasAnotherAdminAccount(t *testing.T) {
	l, at := leading(t)
	change(l.world, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.AdminAccount = "other" })
	l.Publish()
	l.works()
	l.Clock.Forward(roundDebounce)
	l.began(at, roundRulesChanged, true)
	due := l.Clock.Now()
	l.works()
	l.began(due, roundRulesChanged, false) // the vendor does not know that account
}

// The status holds seconds, so that a policy may seem to be newer than the round that began because of it.
func TestNewPolicyIsOneRound(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice")
	l := w.leader()
	l.works()
	w.evicting("lounge", exactly("lounge"), "alice")
	w.Clock.Forward(500 * time.Millisecond)
	at := w.Clock.Now()
	l.works()
	w.began(at, roundRulesChanged, true)
	for range 3 {
		w.Clock.Forward(roundDebounce)
		l.works()
	}
	w.began(at, roundRulesChanged, true)
}

func TestNoRoundIsDue(t *testing.T) {
	tests := map[string]func(l *leader) *leader{
		"when a list was edited in the term": func(l *leader) *leader {
			l.list("alice", "bob")
			return l
		},
		"when the next leader finds what the last one left": func(l *leader) *leader {
			l.list("alice", "bob")
			l.works() // looks at the change
			l.Clock.Forward(roundSaves)
			l.works() // and records that
			l.endTerm(l.process)
			return l.leader()
		},
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			l, at := leading(t)
			l = happens(l)
			for range 3 {
				l.works()
				l.Clock.Forward(roundDebounce)
			}
			l.began(at, roundRulesChanged, true)
		})
	}
}

func TestGapDuringARoundBeginsAnother(t *testing.T) {
	l := leadingAll(t, []string{"a", "b", "c"}, "alice")
	var once bool
	l.vendor.instead(func(call sweepCall, _ *http.Request) string {
		if call.API == labtest.ListMembers && !once {
			once = true
			l.Clock.Forward(time.Minute)
			l.gap = l.Clock.Now()
		}
		return ""
	})
	l.works()
	if r := l.began(l.gap, roundGap, true); r.Groups != 3 {
		t.Errorf("the round is %+v", r)
	}
}

func TestRoundJudgesByTheListAsItIsThen(t *testing.T) {
	l := leadingAll(t, []string{"a", "b"}, "alice", "bob")
	var lists int
	l.vendor.instead(func(call sweepCall, _ *http.Request) string {
		if call.API == labtest.ListMembers {
			if lists++; lists == 2 {
				l.list("alice", "bob")
			}
		}
		return ""
	})
	l.works()
	l.hasEvictions("a Round") // which finds bob admitted when it is planned
	if r := l.roundStatus(); r.Groups != 2 || r.Runs != 1 {
		t.Errorf("the round is %+v", r)
	}
}

func TestRoundWaitsWhileTheAppIsSuspended(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "mallory")
	w.evicting("lounge", exactly("lounge"), "alice")
	w.pruning(v1alpha1.PruningSuspended)
	l, at := w.leader(), w.Clock.Now()
	l.works()
	w.began(at, roundRulesChanged, false)
	if got := l.vendor.groups(); len(got) != 0 {
		t.Errorf("%v were read", got)
	}
	w.pruning(v1alpha1.PruningEnabled)
	w.Clock.Forward(time.Hour)
	l.works()
	w.began(at, roundRulesChanged, true)
	w.hasEvictions("lounge Round")
}

func TestRoundComesBackToGroupsWhoseListWasGone(t *testing.T) {
	tests := map[string]func(l *leader) *leader{
		"by the same leader": func(l *leader) *leader { return l },
		"by the next leader": func(l *leader) *leader {
			l.endTerm(l.process)
			return l.leader()
		},
	}
	for name, leads := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.room("vip-1", "alice", "mallory")
			w.evicting("vip", beginningWith("vip-"), "alice")
			w.Remove(&v1alpha1.AccountList{}, "members")
			w.Publish()
			l, at := w.leader(), w.Clock.Now()
			l.works()
			w.began(at, roundRulesChanged, true)
			w.Clock.Forward(roundSaves)
			l.works() // and records what was looked at
			l = leads(l)
			for range 3 {
				w.Clock.Forward(roundDebounce)
				l.works()
			}
			w.hasEvictions()
			labtest.Must(t, w.Client.Create(t.Context(), newList(w.Namespace, "members", nil, "alice")))
			w.Publish()
			l.works()
			w.Clock.Forward(roundDebounce)
			l.works()
			w.hasEvictions("vip-1 Round")
		})
	}
}

func TestRoundIsForgottenWithTheLastPolicyThatEvicts(t *testing.T) {
	w := newWorld(t)
	w.evicting("lounge", exactly("lounge"), "alice")
	l := w.leader()
	l.works()
	w.Remove(&v1alpha1.GroupPolicy{}, "lounge")
	w.Publish()
	l.works()
	if r := w.roundStatus(); r != nil {
		t.Errorf("the round is %+v", r)
	}
}

func TestPositionOfARound(t *testing.T) {
	for text, want := range map[string]position{
		"":                       {},
		"after lounge":           {after: "lounge"},
		"after page 7":           {after: "page 7"},
		"page 0":                 {listing: true},
		"page 4711":              {listing: true, page: 4711},
		"page 4711 after a b ":   {listing: true, page: 4711, after: "a b "},
		"page 4711 after page 1": {listing: true, page: 4711, after: "page 1"},
	} {
		got := parsePosition(text)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(position{})); diff != "" {
			t.Errorf("%q (-want,+got)\n%s", text, diff)
		}
		if got.String() != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := parsePosition("page x"); got != (position{}) {
		t.Errorf("what cannot be read is %+v, want the beginning", got)
	}
}
