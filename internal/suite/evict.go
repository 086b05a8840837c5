package suite

import (
	"slices"
	"strings"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/explain"
	"github.com/groupgate/groupgate/internal/policy"
)

var (
	// evictReasons are those for which an eviction ends or waits as far as manifests and members decide it.
	evictReasons = []string{
		v1alpha1.ReasonNotGoverned, v1alpha1.ReasonSuspended, v1alpha1.ReasonUnsupportedGroupType,
		v1alpha1.ReasonListUnresolved, v1alpha1.ReasonNothingToRemove, v1alpha1.ReasonBudgetExhausted,
		v1alpha1.ReasonPreviewed, v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonRemoved,
	}
	removalReasons = []string{string(v1alpha1.RemovalReasonDenied), string(v1alpha1.RemovalReasonNotListed)}
	stayReasons    = []string{"Admitted", "Admin", "InGrace", "Unknown"}
)

func (c *Case) runEvict(w *world, members []policy.Member, result *Result) {
	q, e := c.Evict, c.Expect
	answer, err := explain.AskEvictionsOf(w.compiled, &explain.MembersQuestion{
		App: q.App, Group: q.Group, Type: q.type_, Members: members, At: c.at,
		EvictedThisWeek: q.EvictedThisWeek, RemovedToday: q.RemovedToday,
	})
	if err != nil {
		result.Differences = []string{err.Error()}
		return
	}
	d := differences{}
	d.compare("reason", e.Reason, answer.Reason, e.Reason != "")
	compare(&d, "policy", e.Policy, answer.Policy)
	d.compare("mode", e.Mode, answer.Mode, e.Mode != "")
	if want := e.Breaker; want != nil && (*want == "") != (answer.Breaker == "") ||
		want != nil && !strings.Contains(answer.Breaker, *want) {
		d.compare("breaker", *want, answer.Breaker, true)
	}
	var removed []string
	for i := range answer.Removals {
		removed = append(removed, answer.Removals[i].Account)
	}
	d.compareRemovals(e.Removals, removed)
	d.compareWhy(e.Removals, answer.Removals)
	d.compareStays(e.Stays, members, removed)
	for _, stays := range e.Stays {
		i := slices.IndexFunc(members, func(m policy.Member) bool { return m.Account == stays.Account })
		if stays.Because != "" && i >= 0 && !slices.Contains(removed, stays.Account) {
			d.compare("stays: "+stays.Account+" because", stays.Because, answer.StaysAs(members[i]), true)
		}
	}
	if result.Differences = d; len(d) > 0 {
		answer.Hint(w.objects, w.compiled)
		result.Explanation = answer
	}
}

// compareWhy compares why those accounts go that are expected to.
func (d *differences) compareWhy(expected []Removed, got []explain.Eviction) {
	for _, want := range expected {
		i := slices.IndexFunc(got, func(g explain.Eviction) bool { return g.Account == want.Account })
		if i < 0 {
			continue
		}
		of := "removals: " + want.Account + ": "
		d.compare(of+"reason", want.Reason, got[i].Reason, want.Reason != "")
		compare(d, of+"policy", want.Policy, got[i].Policy)
		compare(d, of+"list", want.List, got[i].List)
	}
}
