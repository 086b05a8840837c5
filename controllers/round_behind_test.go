package controllers

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

func TestDeadlineOfRounds(t *testing.T) {
	const day, slack = 24 * time.Hour, 144 * time.Minute
	begin := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	at := func(d time.Duration) metav1.Time { return metav1.NewTime(begin.Add(d)) }
	tests := map[string]struct {
		round    v1alpha1.EvictRound
		interval time.Duration
		want     time.Duration
	}{
		"the first round takes an interval at most": {
			round: v1alpha1.EvictRound{StartedAt: at(0)}, interval: day, want: day + slack,
		},
		"the next round begins within the interval": {
			round: v1alpha1.EvictRound{StartedAt: at(0), FinishedAt: at(time.Hour), LastFinishedStart: at(0)},
			want:  day + slack, interval: day,
		},
		"and takes an interval at most": {
			round: v1alpha1.EvictRound{StartedAt: at(day), LastFinishedStart: at(0)},
			want:  2*day + slack, interval: day,
		},
		"one that begins too late does not help before its end": {
			round:    v1alpha1.EvictRound{StartedAt: at(day + slack + time.Second), LastFinishedStart: at(0)},
			interval: day, want: day + slack,
		},
		"a short interval has 10 minutes more": {
			round: v1alpha1.EvictRound{StartedAt: at(0)}, interval: time.Hour, want: 70 * time.Minute,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := roundDeadline(&tc.round, tc.interval).Sub(begin); got != tc.want {
				t.Errorf("deadline after %s, want %s", got, tc.want)
			}
		})
	}
}

// judged reconciles the status of a policy, and returns its RoundBehind and when it is judged again.
func (w *world) judged(r *StatusReconciler, name string) (*metav1.Condition, time.Duration) {
	w.t.Helper()
	result, err := r.reconcile(w.t.Context(), reconcile.Request{NamespacedName: w.Key(name)}, &v1alpha1.GroupPolicy{})
	labtest.Must(w.t, err)
	var p v1alpha1.GroupPolicy
	labtest.Must(w.t, w.Client.Get(w.t.Context(), w.Key(name), &p))
	return meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionRoundBehind), result.RequeueAfter
}

func TestPolicySaysThatItsRoundIsBehind(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice")
	w.evicting("lounge", exactly("lounge"), "alice")
	w.PolicyFor("full", "full", v1alpha1.PruneRule{})
	w.Publish()
	l := w.leader()
	statuses := &StatusReconciler{
		Client: w.Client, Snapshots: w.Store, Term: l.process.Term, Now: w.Clock.Now, Events: w.Events,
	}
	if behind, again := w.judged(statuses, "lounge"); behind != nil || again != 0 {
		t.Errorf("before the first round: %+v, again after %s", behind, again)
	}
	l.works()
	behind, again := w.judged(statuses, "lounge")
	if behind != nil || again < 26*time.Hour || again > 27*time.Hour {
		t.Errorf("after a round: %+v, again after %s", behind, again)
	}

	w.Clock.Forward(again)
	since := metav1.NewTime(w.Clock.Now()).Rfc3339Copy()
	behind, again = w.judged(statuses, "lounge")
	if behind == nil || behind.Status != metav1.ConditionTrue || behind.Reason != v1alpha1.ReasonRateTooLow ||
		!strings.Contains(behind.Message, "requestsPerSecond") || !behind.LastTransitionTime.Equal(&since) ||
		again == 0 {
		t.Fatalf("a day without a round: %+v, again after %s", behind, again)
	}
	message := behind.Message
	w.Clock.Forward(time.Hour)
	if behind, _ = w.judged(statuses, "lounge"); behind == nil || behind.Message != message ||
		!behind.LastTransitionTime.Equal(&since) {
		t.Errorf("an hour later: %+v, want the same", behind)
	}
	if behind, again := w.judged(statuses, "full"); behind != nil || again != 0 {
		t.Errorf("of a policy that evicts nobody: %+v, again after %s", behind, again)
	}

	w.pruning(v1alpha1.PruningSuspended)
	if behind, _ = w.judged(statuses, "lounge"); behind == nil || behind.Reason != v1alpha1.ReasonSuspended {
		t.Errorf("suspended: %+v", behind)
	}
	w.pruning(v1alpha1.PruningEnabled)
	l.works()
	if behind, _ = w.judged(statuses, "lounge"); behind != nil {
		t.Errorf("after another round: %+v", behind)
	}

	w.Clock.Forward(27 * time.Hour)
	if behind, _ = w.judged(statuses, "lounge"); behind == nil {
		t.Error("not behind a day later")
	}
	change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.Join.Evict = nil })
	w.Publish()
	if behind, _ = w.judged(statuses, "lounge"); behind != nil {
		t.Errorf("without evict: %+v", behind)
	}
}

// What the rounds write and what the statuses write are parts of one status.
func TestStatusOfAnAppKeepsItsRound(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice")
	w.evicting("lounge", exactly("lounge"), "alice")
	l, at := w.leader(), w.Clock.Now()
	l.works()
	statuses := &StatusReconciler{
		Client: w.Client, Snapshots: w.Store, Term: l.process.Term, Now: w.Clock.Now, Events: w.Events,
	}
	stale := &v1alpha1.IMApp{}
	_, err := statuses.reconcile(t.Context(), reconcile.Request{NamespacedName: w.Key(labtest.App)}, stale)
	labtest.Must(t, err)
	w.began(at, roundRulesChanged, true)
	var app v1alpha1.IMApp
	labtest.Must(t, w.Client.Get(t.Context(), w.Key(labtest.App), &app))
	if !meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("conditions: %+v", app.Status.Conditions)
	}
	w.Clock.Forward(25 * time.Hour)
	l.works()
	var after v1alpha1.IMApp
	labtest.Must(t, w.Client.Get(t.Context(), w.Key(labtest.App), &after))
	if len(after.Status.Conditions) != len(app.Status.Conditions) || after.Status.Round.Why != roundInterval {
		t.Errorf("status: %+v", after.Status)
	}
}
