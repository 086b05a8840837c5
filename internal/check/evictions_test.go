package check

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

func TestRoundOfAnAppThatEvicts(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	ended := v1alpha1.EvictRound{
		StartedAt: ago(3 * time.Hour), FinishedAt: ago(2 * time.Hour), LastFinishedStart: ago(3 * time.Hour),
		Why: "Interval", Groups: 812, Runs: 2,
	}
	underWay := v1alpha1.EvictRound{
		StartedAt: ago(time.Minute), LastFinishedStart: ago(25 * time.Hour), Why: "Gap", Groups: 5,
	}
	first := v1alpha1.EvictRound{StartedAt: ago(time.Minute), Why: "RulesChanged", Groups: 5}
	behind := metav1.Condition{
		Type: v1alpha1.ConditionRoundBehind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRateTooLow,
		Message: "The members of some groups were not looked at within the interval of 24h.",
	}
	for name, tc := range map[string]struct {
		round      *v1alpha1.EvictRound
		suspended  bool
		conditions []metav1.Condition
		result     Result
		want       string
	}{
		"ended": {
			round: &ended, result: OK,
			want: "the last round began 3h0m0s ago (Interval) and took 1h0m0s: 812 groups looked at, 2 needed",
		},
		"under way": {round: &underWay, result: OK, want: "All groups were looked at since 25h0m0s ago"},
		"the first": {round: &first, result: OK, want: "the first round began 1m0s ago (RulesChanged): 5 groups"},
		"none":      {result: Warning, want: "no round through the members of its groups has begun"},
		"late": {
			round: &ended, conditions: []metav1.Condition{behind}, result: Warning,
			want: "RoundBehind is True (RateTooLow) for vip: The members of some groups",
		},
		"suspended": {round: &ended, suspended: true, result: Warning, want: "nobody is evicted"},
	} {
		t.Run(name, func(t *testing.T) {
			app := v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "prod"}}
			app.Status.Round = tc.round
			if tc.suspended {
				app.Spec.Pruning = v1alpha1.PruningSuspended
			}
			p := v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "vip"}}
			p.Spec.AppRef.Name = "prod"
			p.Spec.Join = &v1alpha1.JoinSection{Evict: &v1alpha1.EvictRule{Mode: v1alpha1.PruneModePreview}}
			p.Status.Conditions = tc.conditions
			c := &Checker{
				Now: func() time.Time { return now }, apps: []v1alpha1.IMApp{app},
				policies: []v1alpha1.GroupPolicy{p},
			}
			wants(t, c.checkEvictions(), tc.result, tc.want)

			c.policies[0].Spec.Join.Evict = nil
			if lines := c.checkEvictions(); len(lines) > 0 {
				t.Errorf("without a rule: %+v", lines)
			}
		})
	}
}
