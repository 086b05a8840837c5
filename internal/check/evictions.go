package check

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// evictions is about the members whom a gate refuses: what finds them.
const evictions topic = "Evictions"

// checkEvictions says how far the look at all members is, of each app that has a policy with join.evict.
func (c *Checker) checkEvictions() (lines []Line) {
	for i := range c.apps {
		app := &c.apps[i]
		var evicting []*v1alpha1.GroupPolicy
		for j := range c.policies {
			p := &c.policies[j]
			if p.Namespace == app.Namespace && p.Spec.AppRef.Name == app.Name && p.Spec.Join != nil &&
				p.Spec.Join.Evict != nil {
				evicting = append(evicting, p)
			}
		}
		if len(evicting) > 0 {
			lines = append(lines, c.checkRound(app, evicting))
		}
	}
	return lines
}

// checkRound looks at the round of an app. Which callbacks the vendor sends after a join cannot be asked for: nothing
// is wrong where none comes, as the round finds everybody, but later.
func (c *Checker) checkRound(app *v1alpha1.IMApp, evicting []*v1alpha1.GroupPolicy) Line {
	name, round := app.Namespace+"/"+app.Name, app.Status.Round
	late := slices.IndexFunc(evicting, func(p *v1alpha1.GroupPolicy) bool {
		behind := condition(p.Status.Conditions, v1alpha1.ConditionRoundBehind)
		return behind != nil && behind.Status == metav1.ConditionTrue
	})
	const switches = "its console switches for the callbacks after a user joins and after a group is created " +
		"(Group.CallbackAfterNewMemberJoin, Group.CallbackAfterCreateGroup) let leaks be found before the next round"
	switch {
	case late >= 0:
		behind := condition(evicting[late].Status.Conditions, v1alpha1.ConditionRoundBehind)
		return evictions.warn("see docs/alerts.md#groupgateroundbehind", "%s: RoundBehind is True (%s) for %s: %s",
			name, behind.Reason, evicting[late].Name, behind.Message)
	case app.Spec.Pruning == v1alpha1.PruningSuspended:
		return evictions.warn("set spec.pruning to Enabled when it may go on",
			"%s: pruning is suspended, so that nobody is evicted, and no round begins", name)
	case round == nil:
		return evictions.warn("wait for the leader", "%s: no round through the members of its groups has begun", name)
	}
	progress := fmt.Sprintf("%d groups looked at so far, %d needed a run", round.Groups, round.Runs)
	began := c.ago(round.StartedAt.Time)
	if round.FinishedAt.IsZero() && round.LastFinishedStart.IsZero() {
		return evictions.ok("%s: the first round began %s ago (%s): %s; %s", name, began, round.Why, progress, switches)
	}
	if round.FinishedAt.IsZero() {
		return evictions.ok("%s: a round began %s ago (%s): %s. All groups were looked at since %s ago; %s", name,
			began, round.Why, progress, c.ago(round.LastFinishedStart.Time), switches)
	}
	return evictions.ok("%s: the last round began %s ago (%s) and took %s: %d groups looked at, %d needed a run; %s",
		name, began, round.Why, round.FinishedAt.Sub(round.StartedAt.Time).Round(time.Second), round.Groups,
		round.Runs, switches)
}

func (c *Checker) ago(at time.Time) time.Duration { return max(c.Now().Sub(at), 0).Round(time.Second) }
