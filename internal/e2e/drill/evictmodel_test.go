package drill

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// cleanEviction is cleanEpisode with a run that has evicted i1 and i2, whom the allow of "club" does not have, from a
// group of 20. Their removal was undone after the policy had admitted them.
func cleanEviction() *facts {
	f := cleanEpisode()
	f.rule.NoPrune, f.rule.Lists, f.rule.RejoinAfter = true, nil, 0
	f.rule.Gate = &gate{
		Allow: &accounts{List: "in", Shards: 1, Prefixes: []string{"staff-"}},
		Evict: &eviction{Mode: "Enforce", MaxRemovals: 100, PerDay: 1000},
	}
	line(f.lists, "in-0").becomes(f.at.Add(-time.Hour), &[]string{"jared"})
	line(f.lists, "in-0").becomes(f.at.Add(30*time.Second), &[]string{"jared", "i1", "i2"})
	group := &v1alpha1.PruneGroupRecord{Type: "Public", Members: 20, MaxMembers: 100}
	evicts := func(run *v1alpha1.PruneRun) {
		run.Spec.Purpose, run.Status.Refuse, run.Status.Group = v1alpha1.PrunePurposeEvict, nil, group
		run.Status.Plan = run.Status.Plan.DeepCopy()
		run.Status.Plan.Stay.Admitted = 18
		for i := range run.Status.Plan.Removals {
			run.Status.Plan.Removals[i].Reason = v1alpha1.RemovalReasonNotListed
			run.Status.Plan.Removals[i].Policy = "club"
		}
	}
	h := f.runs["r"]
	for i := range h.versions {
		evicts(&h.versions[i])
	}
	for _, events := range [][]event{f.rechecks, f.removals, f.additions} {
		for i := range events {
			events[i].Group.Members, events[i].Group.MaxMembers = 20, 100
			for j := range events[i].runs {
				evicts(&events[i].runs[j])
			}
		}
	}
	h.members = slices.Clone(f.rechecks[0].Found)
	return f
}

func TestModelOfEvictionsReportsViolationsAndNothingElse(t *testing.T) {
	long, just := -40*time.Second, -2*time.Second
	last := func(f *facts) *v1alpha1.PruneRun { return f.runs["r"].last() }
	listed := func(f *facts, before time.Duration, accounts ...string) {
		versions := f.lists["in-0"]
		*versions = slices.Insert(*versions, 1,
			change[*[]string]{begin: f.at.Add(before), done: f.at.Add(before), value: &accounts})
	}
	everyRun := func(f *facts, change func(*v1alpha1.PruneRun)) {
		for i := range f.runs["r"].versions {
			change(&f.runs["r"].versions[i])
		}
		change(&f.removals[0].runs[0])
		change(&f.additions[0].runs[0])
	}
	for name, tc := range map[string]struct {
		change func(f *facts)
		want   string // part of a violation; "": clean
	}{
		"clean":               {func(*facts) {}, ""},
		"admitted for long":   {func(f *facts) { listed(f, long, "i1", "x") }, "did not refuse i1"},
		"admitted just now":   {func(f *facts) { listed(f, just, "i1", "x") }, ""},
		"by a prefix":         {func(f *facts) { f.rule.Gate.Allow.Prefixes = []string{"i"} }, "did not refuse i2"},
		"list emptied":        {func(f *facts) { listed(f, long) }, "did not refuse i1"},
		"list just emptied":   {func(f *facts) { listed(f, just) }, ""},
		"another gate admits": {func(f *facts) { another(f, gate{Allow: &accounts{Accounts: []string{"i1"}}}) }, "i1"},
		"another list is gone": {func(f *facts) {
			another(f, gate{Deny: &accounts{List: "out", Shards: 1}})
		}, "did not refuse i1"},
		"another gate, of applications alone, admits": {func(f *facts) {
			another(f, gate{Triggers: []string{"Apply"}, Allow: &accounts{Accounts: []string{"i1"}}})
		}, "did not refuse i1"},
		"owner":    {func(f *facts) { f.rechecks[0].Found[1].Role = "Owner" }, "role Owner"},
		"in grace": {func(f *facts) { f.rule.Gate.Evict.Grace = 2 }, "has not stood for grace"},
		"joined":   {func(f *facts) { f.rechecks[0].Found[1].JoinedAt = f.at.Add(time.Hour) }, "joined at"},
		"preview":  {func(f *facts) { f.rule.Gate.Evict.Mode = "Preview" }, "the mode is Preview"},
		"breaker, and not approved": {func(f *facts) {
			everyRun(f, func(run *v1alpha1.PruneRun) { run.Status.Plan.Breaker = "too many" })
		}, "is not approved"},
		"no breaker": {func(f *facts) {
			everyRun(f, func(run *v1alpha1.PruneRun) { run.Status.Plan.Candidates = 5 })
		}, "no routine, and no breaker"},
		"a fifth, with those of whom it is not known when they joined": {func(f *facts) {
			everyRun(f, func(run *v1alpha1.PruneRun) {
				run.Status.Plan.Candidates, run.Status.Plan.Stay.Unknown = 5, 20
			})
		}, ""},
		"a fifth of too few": {func(f *facts) {
			for _, events := range [][]event{f.rechecks, f.removals} {
				events[0].Group.Members = 9
			}
		}, "which is no routine"},
		"a budget of evictions": {func(f *facts) { f.rule.Gate.Evict.PerDay = 1 }, "maxRemovalsPerDay is 1"},
		"more than a run may":   {func(f *facts) { f.rule.Gate.Evict.MaxRemovals = 1 }, "maxRemovals is 1"},
		"rule edited": {func(f *facts) {
			v := *f.policies["club"].now()
			again, evict := *v.rule.Gate, *v.rule.Gate.Evict
			v.generation, evict.MaxRemovals = 2, 99
			again.Evict, v.rule.Gate = &evict, &again
			f.policies["club"].becomes(f.at.Add(long), &v)
		}, "was replaced"},
		"list of the policy edited": {func(f *facts) {
			v := *f.policies["club"].now()
			again := *v.rule.Gate
			v.generation, again.Deny = 2, &accounts{Accounts: []string{"somebody"}}
			v.rule.Gate = &again
			f.policies["club"].becomes(f.at.Add(long), &v)
		}, ""},
		"planned for another reason": {func(f *facts) {
			everyRun(f, func(run *v1alpha1.PruneRun) { run.Status.Plan.Removals[1].Reason = "Denied" })
		}, "for a reason that never held"},
		"planned by another policy": {func(f *facts) {
			everyRun(f, func(run *v1alpha1.PruneRun) { run.Status.Plan.Removals[1].Policy = "" })
		}, "for a reason that never held"},
		"passed over": {func(f *facts) {
			f.runs["r"].members = append(f.runs["r"].members,
				emulator.Member{Account: "i3", Role: "Member", JoinedAt: f.at.Add(-time.Hour)})
		}, "candidates are missing"},
		"imported while the list was read": {func(f *facts) {
			f.runs["r"].members = append(f.runs["r"].members,
				emulator.Member{Account: "i3", Role: "Member", JoinedAt: f.at.Add(-time.Hour)})
			d := f.rechecks[0]
			f.imports = append(f.imports, arrival{f.at, d.app, d.Group.ID, "i3"})
		}, ""},
		"out of order": {func(f *facts) {
			f.runs["r"].members[1].JoinedAt = f.at.Add(-time.Hour)
		}, "out of order"},
		"refuses rejoining": {func(f *facts) {
			last(f).Status.Refuse = &v1alpha1.PruneRefusal{Until: metav1.NewTime(f.at.Add(time.Hour)), Code: 1}
		}, "refuses rejoining"},
		"adds whom the gates refuse": {func(f *facts) {
			*f.lists["in-0"] = (*f.lists["in-0"])[:1]
		}, "whom the gates refuse"},
		"leaves out whom the gates admit": {func(f *facts) {
			last(f).Status.Undo.StartedAt = metav1.NewTime(f.at.Add(50 * time.Second))
			last(f).Status.Undo.Accounts[1].Result, last(f).Status.Undo.Added = "StillRefused", 1
			f.additions[0].Named = []string{"i1"}
		}, "records StillRefused for i2"},
	} {
		t.Run(name, func(t *testing.T) {
			f := cleanEviction()
			tc.change(f)
			m := model{ledger: f.ledger, adminAccount: lab.AdminAccount}
			got := strings.Join(m.check(), "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("violations:\n%s\nwant %q", got, tc.want)
			}
		})
	}
}

// another puts a policy of lower rank beside "club".
func another(f *facts, g gate) {
	line(f.policies, "another").becomes(f.at.Add(-time.Hour), &version{uid: "a", generation: 1, rule: rule{
		App: "prod", Match: "All", NoPrune: true, Gate: &g,
	}})
}

func TestASeedAlwaysDrawsTheSameEvictions(t *testing.T) {
	script := func(seed uint64) string {
		e := drawEvictEpisode(seed)
		text := e.String()
		for n := range 10 {
			text += drawEviction(seed, n, e).String()
		}
		return text
	}
	first, again, other := script(7), script(7), script(8)
	if first != again {
		t.Error("the same seed draws different episodes")
	}
	if first == other {
		t.Error("different seeds draw the same episode")
	}
}
