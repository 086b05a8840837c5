package controllers

import (
	"net/http"
	"testing"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

func TestRoundsComeToTheirEndAlthoughAllReplicasRestartEveryHour(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		w.room(id, "alice")
	}
	w.evicting("all", v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherAll}, "alice")
	l, at := w.leader(), w.Clock.Now()
	l.vendor.instead(func(call sweepCall, _ *http.Request) string {
		if call.API == labtest.ListMembers {
			l.gap = l.Clock.Now()
			w.Clock.Forward(time.Hour)
		}
		return ""
	})
	for range 3 {
		l.works()
	}
	r := w.roundStatus()
	if r == nil || !r.LastFinishedStart.Time.Equal(at.Truncate(time.Second)) {
		t.Fatalf("the round is %+v, want the first one to be complete", r)
	}
	began := r.StartedAt
	for range 40 {
		w.Clock.Forward(10 * time.Minute)
		l.works()
	}
	if r := w.roundStatus(); !r.LastFinishedStart.After(began.Time) {
		t.Errorf("the round is %+v, want a later one to be complete as well", r)
	}
}

func TestRoundGoesOnWhereItsCallsWaitForMinutes(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"a", "b", "c"} {
		w.room(id, "alice")
	}
	w.evicting("all", v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherAll}, "alice")
	l, at := w.leader(), w.Clock.Now()
	calls := 0
	l.vendor.instead(func(call sweepCall, _ *http.Request) string {
		w.Clock.Forward(2 * groupLife)
		if calls++; calls > 50 {
			return refusal(10002)
		}
		return ""
	})
	l.works()
	w.began(at, roundRulesChanged, true)
}

func TestRoundLooksAtAGroupWhosePlanHasWaitedForAPerson(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice", "mallory")
	w.evicting("lounge", exactly("lounge"), "alice")
	labtest.Must(t, w.Client.Create(t.Context(), w.evictRun("by-hand")))
	w.planned("by-hand", 1)
	l := w.leader()
	w.Clock.Forward(time.Hour)
	l.works()
	w.hasEvictions("lounge Manual")
	w.end("by-hand", v1alpha1.ReasonDenied, 0)
	w.Clock.Forward(2 * time.Minute)
	l.works()
	w.hasEvictions("lounge Manual", "lounge Round")
}
