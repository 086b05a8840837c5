package prunerun_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// cooldown is five minutes where the group is known to be a Public one.
func cooldown(run *v1alpha1.PruneRun) time.Duration {
	if prunerun.GroupType(run) == v1alpha1.GroupTypePublic {
		return 5 * time.Minute
	}
	return prunerun.DefaultCooldown
}

func TestHoldOff(t *testing.T) {
	failed := func(reason string, minute int) func(*v1alpha1.PruneRun) {
		return ended(v1alpha1.ConditionFailed, reason, minute)
	}
	run := named("run", 0)
	removed := with(run, completed("Removed", 1), foundFull)
	tests := map[string]struct {
		runs []v1alpha1.PruneRun
		want prunerun.HoldOff
	}{
		"no run": {},
		"found full": {
			runs: []v1alpha1.PruneRun{removed},
			want: prunerun.HoldOff{CoolingUntil: minutes(6)},
		},
		"the last one that found it full counts": {
			runs: []v1alpha1.PruneRun{with(run, completed("Previewed", 3), foundFull), removed},
			want: prunerun.HoldOff{CoolingUntil: minutes(8)},
		},
		"NotFull delays by a minute and does not cool": {
			runs: []v1alpha1.PruneRun{with(run, completed("NotFull", 2))},
			want: prunerun.HoldOff{NotFullUntil: minutes(3)},
		},
		"NotFull does not end a cooldown": {
			runs: []v1alpha1.PruneRun{removed, with(run, completed("NotFull", 2))},
			want: prunerun.HoldOff{CoolingUntil: minutes(6), NotFullUntil: minutes(3)},
		},
		"CoolingDown does not prolong the cooldown": {
			runs: []v1alpha1.PruneRun{removed, with(run, completed("CoolingDown", 4), foundFull)},
			want: prunerun.HoldOff{CoolingUntil: minutes(6)},
		},
		"Expired asks for nothing": {
			runs: []v1alpha1.PruneRun{with(run, completed("Expired", 4), foundFull)},
		},
		"failed before it read the group: the default": {
			runs: []v1alpha1.PruneRun{with(run, failed("VendorRefused", 1))},
			want: prunerun.HoldOff{CoolingUntil: minutes(11)},
		},
		"failed after it read the group": {
			runs: []v1alpha1.PruneRun{with(run, failed("ActivityUnknown", 1), foundFull)},
			want: prunerun.HoldOff{CoolingUntil: minutes(6)},
		},
		"suspended before it read the group": {
			runs: []v1alpha1.PruneRun{with(run, completed("Suspended", 1))},
		},
		"unfinished": {
			runs: []v1alpha1.PruneRun{with(run, foundFull)},
		},
		"an undo that was requested": {
			runs: []v1alpha1.PruneRun{with(removed, undoRequested)},
			want: prunerun.HoldOff{CoolingUntil: minutes(6), Undoing: true},
		},
		"an undo that is under way": {
			runs: []v1alpha1.PruneRun{with(removed, undoRequested, undoBegun)},
			want: prunerun.HoldOff{CoolingUntil: minutes(6), Undoing: true},
		},
		"an undo that has ended": {
			runs: []v1alpha1.PruneRun{with(removed, undoRequested, undoEnded(21))},
			want: prunerun.HoldOff{CoolingUntil: minutes(26)},
		},
		"an eviction that found the group full": {
			runs: []v1alpha1.PruneRun{with(removed, evicts)},
		},
		"an eviction that failed": {
			runs: []v1alpha1.PruneRun{with(run, evicts, failed("VendorRefused", 1))},
		},
		"the undo of an eviction": {
			runs: []v1alpha1.PruneRun{with(removed, evicts, undoRequested)},
			want: prunerun.HoldOff{Undoing: true},
		},
		"the undo of an eviction that has ended": {
			runs: []v1alpha1.PruneRun{with(removed, evicts, undoRequested, undoEnded(21))},
			want: prunerun.HoldOff{CoolingUntil: minutes(26)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, prunerun.HoldOffAfter(freeSeats, tc.runs, cooldown, minutes(59))); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func TestHoldOffOfEvictions(t *testing.T) {
	run := with(named("run", 0), evicts)
	removed := with(run, completed("Removed", 1), foundFull)
	freed := with(named("freed", 0), completed("Removed", 1), foundFull)
	tests := map[string]struct {
		runs []v1alpha1.PruneRun
		want prunerun.HoldOff
	}{
		"no run":     {},
		"unfinished": {runs: []v1alpha1.PruneRun{run}},
		"ended": {
			runs: []v1alpha1.PruneRun{removed},
			want: prunerun.HoldOff{CoolingUntil: minutes(2)},
		},
		"failed": {
			runs: []v1alpha1.PruneRun{with(run, ended(v1alpha1.ConditionFailed, "VendorRefused", 1))},
			want: prunerun.HoldOff{CoolingUntil: minutes(11)},
		},
		"its undo": {
			runs: []v1alpha1.PruneRun{with(removed, undoRequested)},
			want: prunerun.HoldOff{CoolingUntil: minutes(2), Undoing: true},
		},
		"its undo has ended": {
			runs: []v1alpha1.PruneRun{with(removed, undoRequested, undoEnded(21))},
			want: prunerun.HoldOff{CoolingUntil: minutes(31)},
		},
		"a full group": {runs: []v1alpha1.PruneRun{freed}},
		"a group that was not full": {
			runs: []v1alpha1.PruneRun{with(named("run", 0), completed("NotFull", 1))},
		},
		"the undo of another purpose": {
			runs: []v1alpha1.PruneRun{with(freed, undoRequested)},
			want: prunerun.HoldOff{Undoing: true},
		},
		"the undo of another purpose has ended": {
			runs: []v1alpha1.PruneRun{with(freed, undoRequested, undoEnded(21))},
			want: prunerun.HoldOff{CoolingUntil: minutes(31)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := prunerun.HoldOffAfter(v1alpha1.PrunePurposeEvict, tc.runs, cooldown, minutes(59))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func TestKeepUntil(t *testing.T) {
	const day = 24 * time.Hour
	removed := with(named("run", 0), completed("Removed", 1), foundFull, plan("Enforce", "i1"))
	empty := with(named("run", 0), completed("NotFull", 1))
	refusing := func(until time.Time) func(*v1alpha1.PruneRun) {
		return func(run *v1alpha1.PruneRun) { run.Status.Refuse = &v1alpha1.PruneRefusal{Until: metav1.NewTime(until)} }
	}
	unknown := with(named("run", 0), ended(v1alpha1.ConditionFailed, "GroupNotFound", 1))
	undone, later := with(removed, undoEnded(30)), minutes(9).Add(day)
	long := func(*v1alpha1.PruneRun) time.Duration { return 3 * day }
	evicted := with(removed, evicts, func(run *v1alpha1.PruneRun) { run.Status.Removed = 1 })
	decided := func(run *v1alpha1.PruneRun) {
		run.Status.Decisions = &v1alpha1.PruneDecisions{Approved: &v1alpha1.RecordedDecision{}}
	}
	tests := map[string]struct {
		run      v1alpha1.PruneRun
		ttl      time.Duration
		cooldown prunerun.Cooldown
		want     time.Time
	}{
		"ten minutes if it holds nothing":    {empty, 7 * day, long, minutes(11)},
		"as long as a forged group cools":    {unknown, 7 * day, long, minutes(1).Add(3 * day)},
		"its TTL":                            {removed, 7 * day, cooldown, minutes(1).Add(7 * day)},
		"a day at least":                     {removed, time.Minute, cooldown, minutes(1).Add(day)},
		"as long as it refuses":              {with(removed, refusing(later)), day, cooldown, later},
		"a refusal that is over by then":     {with(removed, refusing(minutes(9))), day, cooldown, minutes(1).Add(day)},
		"from the end of its undo on":        {undone, day, cooldown, minutes(30).Add(day)},
		"as long as a cooldown counts by it": {removed, day, long, minutes(1).Add(3 * day)},
		"as long as its undo holds off runs": {undone, day, long, minutes(30).Add(3 * day)},
		"an eviction, as long as it counts":  {evicted, day, cooldown, minutes(1).Add(7 * day)},
		"an eviction that was approved":      {with(evicted, decided), day, cooldown, minutes(1).Add(day)},
		"an eviction of nobody":              {with(removed, evicts), day, cooldown, minutes(1).Add(day)},
		"an eviction that may have happened": {with(removed, evicts, progress(0, 1)), 0, long, minutes(1).Add(7 * day)},
		"the undo of an eviction":            {with(undone, evicts), time.Hour, long, minutes(30).Add(3 * day)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := prunerun.KeepUntil(&tc.run, tc.ttl, tc.cooldown, minutes(59)); !got.Equal(tc.want) {
				t.Errorf("kept until %s, want %s", got, tc.want)
			}
		})
	}
}

func TestSurplus(t *testing.T) {
	var runs []v1alpha1.PruneRun
	for i := range 6 {
		runs = append(runs, with(named(fmt.Sprint("run-", i), 0), completed("Expired", i)))
	}
	runs[0] = with(runs[0], undoRequested)
	runs = append(runs,
		with(named("removed", 0), completed("Removed", 0), func(run *v1alpha1.PruneRun) { run.Status.Removed = 1 }),
		with(named("perhaps", 0), completed("Suspended", 0), progress(0, 7)),
		named("unfinished", 0),
	)
	var names []string
	for _, run := range prunerun.Surplus(runs, cooldown, minutes(59)) {
		names = append(names, run.Name)
	}
	if diff := cmp.Diff([]string{"run-2", "run-1"}, names); diff != "" {
		t.Errorf("surplus (-want,+got)\n%s", diff)
	}
	tied := []v1alpha1.PruneRun{}
	for _, name := range []string{"run-9", "run-10", "run-12", "run-11"} {
		tied = append(tied, with(named(name, 0), completed("Expired", 1)))
	}
	if got := prunerun.Surplus(tied, cooldown, minutes(59)); len(got) != 1 || got[0].Name != "run-9" {
		t.Errorf("surplus = %v, want run-9, the first of four within a second", got)
	}
	// A preview takes the place of the one before.
	previews := []v1alpha1.PruneRun{}
	for i, reason := range []string{"Previewed", "NotFull", "Previewed", "NotFull"} {
		previews = append(previews, with(named(fmt.Sprint("run-", i), 0), completed(reason, i)))
	}
	if got := prunerun.Surplus(previews, cooldown, minutes(59)); len(got) != 1 || got[0].Name != "run-0" {
		t.Errorf("surplus = %v, want run-0, the older preview", got)
	}
}

func TestSurplusCountsPurposesApart(t *testing.T) {
	accounts := func(run *v1alpha1.PruneRun) { run.Spec.Accounts = []string{"mallory"} }
	evict := func(name, reason string, minute int) v1alpha1.PruneRun {
		return with(named(name, 0), evicts, completed(reason, minute))
	}
	runs := []v1alpha1.PruneRun{
		evict("older-preview", "Previewed", 0),
		with(evict("older-named-preview", "Previewed", 1), accounts),
		evict("preview", "Previewed", 2),
		with(evict("named-preview", "Previewed", 3), accounts),
		with(named("freed", 0), completed("Expired", 4)),
		evict("a", "NothingToRemove", 5), evict("b", "NothingToRemove", 6), evict("c", "NothingToRemove", 7),
		evict("d", "NothingToRemove", 8),
	}
	var names []string
	for _, run := range prunerun.Surplus(runs, cooldown, minutes(59)) {
		names = append(names, run.Name)
	}
	if diff := cmp.Diff([]string{"a", "older-named-preview", "older-preview"}, names); diff != "" {
		t.Errorf("surplus (-want,+got)\n%s", diff)
	}
}

func TestRecentEvictions(t *testing.T) {
	removed := func(n int32, at time.Time) func(*v1alpha1.PruneRun) {
		return func(run *v1alpha1.PruneRun) {
			run.Status.Removed = n
			run.Status.Progress = &v1alpha1.PruneProgress{LastBatchAt: metav1.NewTime(at)}
		}
	}
	now, week := minutes(59), 7*24*time.Hour
	run := with(named("run", 0), func(run *v1alpha1.PruneRun) {
		run.CreationTimestamp = metav1.NewTime(now.Add(-2 * week))
	})
	runs := []v1alpha1.PruneRun{
		with(run, evicts, removed(1, now.Add(-time.Hour)), completed("Removed", 0)),
		with(run, evicts, removed(2, now.Add(time.Second-week))),
		with(run, evicts, removed(4, now), progress(4, 8), completed("Suspended", 0)),
		// Those that do not count.
		with(run, removed(16, now)),
		with(run, evicts, removed(32, now.Add(-week))),
		with(run, evicts, removed(64, now), func(run *v1alpha1.PruneRun) {
			run.Status.Decisions = &v1alpha1.PruneDecisions{Approved: &v1alpha1.RecordedDecision{}}
		}),
		with(run, evicts),
	}
	if got := prunerun.RecentEvictions(runs, now); got != 1+2+4+8 {
		t.Errorf("%d members were evicted without approval, want 15", got)
	}
}

func TestInTheWay(t *testing.T) {
	runs := []v1alpha1.PruneRun{
		with(named("late", 0), completed("NotFull", 9)),
		with(named("failed", 0), ended(v1alpha1.ConditionFailed, "GroupNotFound", 4)),
		with(named("full", 0), ended(v1alpha1.ConditionFailed, "ActivityUnknown", 2), foundFull),
		named("unfinished", 0),
		with(named("planned", 0), completed("Previewed", 1), plan("Preview", "i1")),
	}
	tests := map[string]struct {
		limit int
		want  []string
		ok    bool
	}{
		"room for all":        {limit: 5, ok: true},
		"oldest first":        {limit: 4, want: []string{"failed"}, ok: true},
		"then a later one":    {limit: 3, want: []string{"failed", "late"}, ok: true},
		"full groups at last": {limit: 2, want: []string{"failed", "late", "full"}, ok: true},
		"more than can":       {limit: 1, want: []string{"failed", "late", "full"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			surplus, ok := prunerun.InTheWay(runs, tc.limit)
			var names []string
			for _, run := range surplus {
				names = append(names, run.Name)
			}
			if diff := cmp.Diff(tc.want, names); diff != "" || ok != tc.ok {
				t.Errorf("ok = %v, names (-want,+got)\n%s", ok, diff)
			}
		})
	}
}

// A clock that was a month ahead for a moment ended a run, or an undo, or made a plan.
func TestClockThatWasAheadForAMomentBlocksNothing(t *testing.T) {
	const month = 30 * 24 * time.Hour
	now := minutes(5)
	ahead := metav1.NewTime(now.Add(month))
	run := with(named("run", 2), completed("Removed", 0), foundFull, plan(v1alpha1.PruneModeEnforce, "a"),
		func(run *v1alpha1.PruneRun) {
			run.Status.Conditions[0].LastTransitionTime = ahead
			run.Status.Plan.CreatedAt = ahead
		})
	undone := with(run, func(run *v1alpha1.PruneRun) { run.Status.Undo = &v1alpha1.PruneUndo{FinishedAt: ahead} })
	for name, run := range map[string]v1alpha1.PruneRun{"run": run, "undo": undone} {
		want, runs := prunerun.HoldOff{CoolingUntil: minutes(7)}, []v1alpha1.PruneRun{run}
		if diff := cmp.Diff(want, prunerun.HoldOffAfter(freeSeats, runs, cooldown, now)); diff != "" {
			t.Errorf("%s: hold-off (-want,+got)\n%s", name, diff)
		}
		if got, want := prunerun.KeepUntil(&run, month, cooldown, now), minutes(2).Add(month); !got.Equal(want) {
			t.Errorf("%s: kept until %s, want %s", name, got, want)
		}
		if prunerun.PlanExpired(&run, now) || !prunerun.PlanExpired(&run, minutes(3).Add(prunerun.PlanLife)) {
			t.Errorf("%s: the plan does not expire a day after the run was created", name)
		}
	}
	// The clocks of two leaders differ a little.
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(4 * time.Minute))
	got := prunerun.HoldOffAfter(freeSeats, []v1alpha1.PruneRun{run}, cooldown, now)
	if !got.CoolingUntil.Equal(minutes(14)) {
		t.Errorf("cooling until %s, want %s", got.CoolingUntil, minutes(14))
	}
}

func TestSurplusSparesRunsWhoseCooldownIsNotOver(t *testing.T) {
	cooling := with(named("cooling", 0), completed("Previewed", 0), foundFull)
	runs := []v1alpha1.PruneRun{cooling}
	for i := range 4 {
		runs = append(runs, with(named(fmt.Sprint("by-hand-", i), 1), completed("NotFull", 1+i/4)))
	}
	names := func(now time.Time) (names []string) {
		for _, run := range prunerun.Surplus(runs, cooldown, now) {
			names = append(names, run.Name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"by-hand-0"}, names(minutes(4))); diff != "" {
		t.Errorf("surplus while it cools (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"by-hand-0", "cooling"}, names(minutes(6))); diff != "" {
		t.Errorf("surplus after that (-want,+got)\n%s", diff)
	}
}
