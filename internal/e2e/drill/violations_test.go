package drill

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// facts is a small clean episode: a run of the policy "club" has removed i1 and i2 from a full group, and has undone
// that. A test of the model changes one fact of it.
type facts struct {
	*ledger
	at    time.Time // of the removal
	rule  *rule
	run   *v1alpha1.PruneRun // while its batch was in flight
	final *v1alpha1.PruneRun
}

func cleanEpisode() *facts {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	f := &facts{ledger: newLedger(), at: at}
	v := &version{uid: "p", generation: 1, rule: rule{
		App: "prod", Groups: []string{"g"}, Match: "Exact", Mode: "Enforce", InactiveDays: 30, RejoinAfter: time.Hour,
		FreeSeats: 2, MaxRemovals: 2, PerDay: 2, Lists: []string{"vip"},
	}}
	f.rule = &v.rule
	early := at.Add(-time.Hour)
	line(f.policies, "club").becomes(early, v)
	line(f.lists, "vip").becomes(early, &[]string{"jared"})
	line(f.suspended, "prod").becomes(early, false)

	idle := func(name string) emulator.Member {
		return emulator.Member{Account: name, Role: "Member", JoinedAt: at.AddDate(0, 0, -60)}
	}
	group := emulator.Group{ID: "g", Type: "Public", Members: 10, MaxMembers: 10}
	named, found := []string{"i1", "i2"}, []emulator.Member{idle("i1"), idle("i2")}

	f.run = &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "r", ResourceVersion: "2"}}
	f.run.Spec = v1alpha1.PruneRunSpec{
		AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: "g", Approval: v1alpha1.ApprovalPending,
	}
	active := metav1.NewTime(at.AddDate(0, 0, -60))
	f.run.Status = v1alpha1.PruneRunStatus{
		Policy: &v1alpha1.PrunePolicyRecord{Name: "club", UID: "p", Generation: 1, Mode: "Enforce"},
		Plan: &v1alpha1.PrunePlan{
			CreatedAt: metav1.NewTime(at.Add(-time.Minute)), Candidates: 2,
			Removals: []v1alpha1.PlannedRemoval{
				{Account: "i1", LastActiveAt: active}, {Account: "i2", LastActiveAt: active},
			},
		},
		Progress: &v1alpha1.PruneProgress{InFlight: 2, LastBatchAt: metav1.NewTime(at)},
		Refuse:   &v1alpha1.PruneRefusal{Until: metav1.NewTime(at.Add(time.Hour)), Code: 1},
	}
	f.final = f.run.DeepCopy()
	f.final.ResourceVersion = "3"
	f.final.Status.Progress.Settled, f.final.Status.Progress.InFlight, f.final.Status.Removed = 2, 0, 2
	f.final.Status.Conditions = []metav1.Condition{{Type: "Complete", Status: "True", Reason: "Removed"}}

	restoring := f.final.DeepCopy()
	restoring.Spec.Undo = v1alpha1.UndoRequested
	restoring.Status.Undo = &v1alpha1.PruneUndo{
		Accounts: []v1alpha1.RestoredAccount{{Account: "i1", Result: "Adding"}, {Account: "i2", Result: "Adding"}},
	}
	undone := restoring.DeepCopy()
	undone.ResourceVersion = "4"
	undone.Status.Undo.Added, undone.Status.Undo.FinishedAt = 2, metav1.NewTime(at.Add(time.Minute))
	undone.Status.Undo.Accounts[0].Result, undone.Status.Undo.Accounts[1].Result = "Added", "Added"

	call := func(at time.Time, runs ...v1alpha1.PruneRun) []event {
		members := emulator.MemberCall{Group: group, Named: slices.Clone(named), Found: slices.Clone(found)}
		return []event{{at: at, app: "prod", runs: runs, MemberCall: members}}
	}
	f.rechecks = call(at.Add(-time.Second))
	f.removals = call(at, *f.run)
	f.additions = call(at.Add(time.Minute), *restoring)
	f.runs = map[types.UID]*history{
		"r": {versions: []v1alpha1.PruneRun{*f.run, *f.final, *undone}, seen: []time.Time{at, at, at}},
	}
	return f
}

func TestModelReportsViolationsAndNothingElse(t *testing.T) {
	last := func(f *facts) *v1alpha1.PruneRun { return f.runs["r"].last() }
	inBatch := func(f *facts) *v1alpha1.PruneRun { return &f.removals[0].runs[0] }
	long, just := -40*time.Second, -2*time.Second
	leaves := func(f *facts, account string, before time.Duration) {
		at := f.at.Add(-before)
		f.departures = []departure{{app: "prod", group: "g", account: account, seats: 1, begin: at, done: at}}
	}
	keeps := func(f *facts) {
		last(f).Status.Removed, last(f).Status.Kept = 1, []v1alpha1.KeptAccount{{Account: "i2", Reason: "ActiveAgain"}}
		f.runs["r"].versions = []v1alpha1.PruneRun{*f.run, *last(f)}
	}
	// A later run removes i1 once more, and is the second one to the undo.
	again := func(f *facts) *v1alpha1.PruneRun {
		f.rule.PerDay = 4
		removal, recheck := f.removals[0], f.rechecks[0]
		removal.at, recheck.at = f.at.Add(20*time.Second), f.at.Add(19*time.Second)
		removal.Named, removal.Found = removal.Named[:1], removal.Found[:1]
		later := f.run.DeepCopy()
		later.Name, later.UID = "later", "later"
		removal.runs = []v1alpha1.PruneRun{*later}
		f.rechecks, f.removals = append(f.rechecks, recheck), append(f.removals, removal)
		f.additions[0].runs[0].Status.Undo.StartedAt = metav1.NewTime(f.at.Add(50 * time.Second))
		f.additions[0].runs = append(f.additions[0].runs, *later)
		f.runs["later"] = &history{versions: []v1alpha1.PruneRun{*later}, seen: []time.Time{f.at}}
		return later
	}
	for name, tc := range map[string]struct {
		change func(f *facts)
		want   string // part of a violation; "": clean
	}{
		"clean":         {func(*facts) {}, ""},
		"no run":        {func(f *facts) { f.removals[0].runs = nil }, "no run of the group has"},
		"not in flight": {func(f *facts) { inBatch(f).Status.Progress.InFlight = 1 }, "no run of the group has"},
		"run had ended": {func(f *facts) {
			inBatch(f).Status.Conditions = f.final.Status.Conditions
		}, "no run of the group has"},
		"kept, and removed": {func(f *facts) {
			inBatch(f).Status.Kept = []v1alpha1.KeptAccount{{Account: "i2"}}
		}, "no run of the group has"},
		"owner":        {func(f *facts) { f.rechecks[0].Found[1].Role = "Owner" }, "role Owner"},
		"admin":        {func(f *facts) { f.rechecks[0].Found[1].Role = "Admin" }, "role Admin"},
		"unknown role": {func(f *facts) { f.rechecks[0].Found[1].Role = "" }, "no recheck found i2 removable"},
		"admin account": {func(f *facts) {
			f.removals[0].Found[1].Account = lab.AdminAccount
		}, "is the admin account"},
		"spoke": {func(f *facts) {
			f.rechecks[0].Found[1].LastSpokeAt = f.at.Add(-time.Minute)
		}, "active at"},
		"joined": {func(f *facts) {
			f.rechecks[0].Found[1].JoinedAt = f.at.AddDate(0, 0, -29)
		}, "active at"},
		"activity unknown": {func(f *facts) {
			f.rechecks[0].Group.Quirks.OmitLastSendMsgTime = true
		}, "activity unknown"},
		"spoke after the recheck": {func(f *facts) {
			f.removals[0].Found[0].LastSpokeAt = f.at
		}, ""},
		"not rechecked": {func(f *facts) {
			f.rechecks[0].Named = []string{"i1"}
		}, "no recheck found i2 removable"},
		"rechecked long ago": {func(f *facts) { f.rechecks[0].at = f.at.Add(-13 * time.Second) }, "no recheck"},
		"live room":          {func(f *facts) { f.removals[0].Group.Type = "AVChatRoom" }, "of type AVChatRoom"},
		"suspended":          {func(f *facts) { line(f.suspended, "prod").becomes(f.at.Add(long), true) }, "Suspended"},
		"muted": {func(f *facts) {
			line(f.silent, "prod/g").becomes(f.at.Add(long), true)
		}, "nobody may speak"},
		"just muted": {func(f *facts) { line(f.silent, "prod/g").becomes(f.at.Add(just), true) }, ""},
		"muted member": {func(f *facts) {
			f.rechecks[0].Found[1].MutedUntil = f.at.Add(5 * time.Hour)
		}, "muted until"},
		"expired":      {func(f *facts) { f.expiries["r"] = expiry{f.at.Add(long), f.at.Add(long)} }, "expired at"},
		"just expired": {func(f *facts) { f.expiries["r"] = expiry{f.at.Add(long), f.at.Add(just)} }, ""},
		"budget of yesterday": {func(f *facts) {
			f.spent["prod/club"] = spending{1, f.at.Add(time.Second)}
		}, "3 removed under policies named club"},
		"budget of the day before": {func(f *facts) { f.spent["prod/club"] = spending{1, f.at} }, ""},
		"just suspended":           {func(f *facts) { line(f.suspended, "prod").becomes(f.at.Add(just), true) }, ""},
		"preview":                  {func(f *facts) { f.rule.Mode = "Preview" }, "the mode is Preview"},
		"not approved":             {func(f *facts) { f.rule.Mode = "Approve" }, "not approved"},
		"approved": {func(f *facts) {
			f.rule.Mode = "Approve"
			inBatch(f).Spec.Approval = v1alpha1.ApprovalApproved
			for i := range f.runs["r"].versions {
				policy := *f.run.Status.Policy
				policy.Mode = "Approve"
				f.runs["r"].versions[i].Status.Policy = &policy
			}
		}, ""},
		"denied":      {func(f *facts) { line(f.approvals, "r").becomes(f.at.Add(long), "Denied") }, "is denied"},
		"just denied": {func(f *facts) { line(f.approvals, "r").becomes(f.at.Add(just), "Denied") }, ""},
		"edited": {func(f *facts) {
			v := *f.policies["club"].now()
			v.generation = 2
			v.rule.InactiveDays = 31
			f.policies["club"].becomes(f.at.Add(long), &v)
		}, "was replaced"},
		"rephrased": {func(f *facts) {
			v := *f.policies["club"].now()
			v.generation, v.rule.Code, v.rule.Message = 2, 10110, "Members only"
			f.policies["club"].becomes(f.at.Add(long), &v)
		}, ""},
		"recreated": {func(f *facts) {
			v := *f.policies["club"].now()
			v.uid = "q"
			f.policies["club"].becomes(f.at.Add(long), &v)
		}, "was replaced"},
		"just edited": {func(f *facts) {
			v := *f.policies["club"].now()
			v.generation = 2
			v.rule.InactiveDays = 31
			f.policies["club"].becomes(f.at.Add(just), &v)
		}, ""},
		"deleted":           {func(f *facts) { f.policies["club"].becomes(f.at.Add(long), nil) }, "was replaced"},
		"another policy":    {func(f *facts) { inBatch(f).Status.Policy.UID = "other" }, "never existed"},
		"another type":      {func(f *facts) { f.rule.Types = []string{"Work"} }, "does not govern"},
		"protected":         {func(f *facts) { f.rule.Accounts = []string{"i2"} }, "i2 is protected"},
		"protected, prefix": {func(f *facts) { f.rule.Prefixes = []string{"i"} }, "i1 is protected"},
		"protected, list": {func(f *facts) {
			f.lists["vip"].becomes(f.at.Add(long), &[]string{"i2"})
		}, "i2 is protected"},
		"just listed": {func(f *facts) { f.lists["vip"].becomes(f.at.Add(just), &[]string{"i2"}) }, ""},
		"listed before the batch was begun": {func(f *facts) {
			f.lists["vip"].becomes(f.at.Add(3*just), &[]string{"i2"})
			h, created := f.runs["r"], v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "r"}}
			h.versions, h.seen = slices.Insert(h.versions, 0, created), slices.Insert(h.seen, 0, f.at.Add(just))
		}, "i2 is protected"},
		"no longer listed": {func(f *facts) {
			f.lists["vip"].becomes(f.at.Add(long), &[]string{"i2"})
			f.lists["vip"].becomes(f.at.Add(just), &[]string{})
		}, ""},
		"list is gone": {func(f *facts) { f.lists["vip"].becomes(f.at.Add(long), nil) }, "i1 is protected"},
		"protected by another policy": {func(f *facts) {
			protects := rule{App: "prod", Match: "All", Mode: "Preview", Prefixes: []string{"i2"}}
			v := &version{uid: "q", generation: 1, rule: protects}
			line(f.policies, "fallback").becomes(f.at.Add(long), v)
		}, "i2 is protected by policy fallback"},
		"too many seats": {func(f *facts) { f.removals[0].Group.Members = 9 }, "1 seats are needed"},
		"others have left": {func(f *facts) {
			f.removals[0].Group.Members = 9
			leaves(f, "x", -just)
		}, ""},
		"too many":          {func(f *facts) { f.rule.MaxRemovals = 1 }, "maxRemovals is 1"},
		"too many in a day": {func(f *facts) { f.rule.PerDay = 1 }, "maxRemovalsPerDay is 1"},
		"twice": {func(f *facts) {
			f.rule.PerDay = 9
			f.removals = append(f.removals, f.removals[0])
		}, "was removed by run r before"},

		"wrong count": {func(f *facts) { last(f).Status.Removed = 1 }, "records 1 removals"},
		"not facts": {func(f *facts) {
			last(f).Status.Progress.Settled, last(f).Status.Removed = 1, 1
		}, "has removed i2 without a record"},
		"not removed": {func(f *facts) { f.removals[0].Found = f.removals[0].Found[:1] }, "which did not happen"},
		"left meantime": {func(f *facts) {
			f.removals[0].Found = f.removals[0].Found[:1]
			leaves(f, "i2", 500*time.Millisecond)
			f.additions[0].Named = []string{"i1"}
			last(f).Status.Undo.Accounts[1].Result = "NotFound"
			last(f).Status.Undo.Added = 1
		}, ""},
		"came back before the batch was taken up": {func(f *facts) {
			last(f).Status.Undo, last(f).Spec.Undo, f.additions = nil, "", nil
			keeps(f)
			again := f.rechecks[0]
			again.at = f.at.Add(5 * time.Second)
			again.Found = []emulator.Member{{Account: "i2", Role: "Member", JoinedAt: f.at.Add(time.Second)}}
			f.rechecks = append(f.rechecks, again)
		}, "has removed i2 without a record"},
		"kept, though removed": {keeps, "has removed i2 without a record"},
		"both ends": {func(f *facts) {
			failed := metav1.Condition{Type: "Failed", Status: "True"}
			last(f).Status.Conditions = append(last(f).Status.Conditions, failed)
		}, "both Complete and Failed"},
		"plan changes": {func(f *facts) {
			last(f).Status.Plan = f.final.Status.Plan.DeepCopy()
			last(f).Status.Plan.Candidates = 3
		}, "the plan has changed"},
		"goes on after its end": {func(f *facts) { last(f).Status.Conditions = nil }, "has ended changes"},
		"plans the active":      {func(f *facts) { f.rule.InactiveDays = 61 }, "planned although active"},
		"refuses no account":    {func(f *facts) { last(f).Status.Refuse = nil }, "refuses no account"},
		"refuses too long": {func(f *facts) {
			last(f).Status.Refuse.Until = metav1.NewTime(f.at.Add(2 * time.Hour))
		}, "refuses until"},
		"refuses without rejoinAfter": {func(f *facts) { f.rule.RejoinAfter = 0 }, "without rejoinAfter"},
		"another rejection": {func(f *facts) {
			last(f).Status.Refuse.Code = 10110
		}, "with another rejection"},

		"adds whom a later run removed": {func(f *facts) {
			again(f)
		}, "which run later removed at"},
		"adds whom a later run removed, and was to be undone, too": {func(f *facts) {
			again(f)
			f.additions[0].runs[1].Spec.Undo = v1alpha1.UndoRequested
		}, ""},
		"adds to a group made anew": {func(f *facts) {
			at := f.at.Add(20 * time.Second)
			f.departures = []departure{{app: "prod", group: "g", anew: true, begin: at, done: at}}
		}, "to a group that was made anew"},
		"removes from a group made anew": {func(f *facts) {
			at := f.at.Add(-30 * time.Second)
			f.departures = []departure{{app: "prod", group: "g", anew: true, begin: at, done: at}}
		}, "was planned for the group that was disbanded"},
		"adds without record": {func(f *facts) {
			f.additions[0].runs[0].Status.Undo = nil
		}, "without a record of an undo"},
		"adds without request": {func(f *facts) {
			f.additions[0].runs[0].Spec.Undo = ""
		}, "without a record of an undo"},
		"added, not facts": {func(f *facts) {
			last(f).Status.Undo.Accounts[1].Result = "NoSeat"
			last(f).Status.Undo.Added = 1
		}, "records NoSeat for i2"},
		"facts, not added":       {func(f *facts) { f.additions[0].Named = []string{"i1"} }, "records Added for i2"},
		"wrong sum of additions": {func(f *facts) { last(f).Status.Undo.Added = 1 }, "records 1 additions"},
		"undo lacks an account": {func(f *facts) {
			last(f).Status.Undo.Accounts = last(f).Status.Undo.Accounts[:1]
			last(f).Status.Undo.Added = 1
		}, "which its undo lacks"},
	} {
		t.Run(name, func(t *testing.T) {
			f := cleanEpisode()
			tc.change(f)
			m := model{ledger: f.ledger, adminAccount: lab.AdminAccount}
			got := strings.Join(m.check(), "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("violations:\n%s\nwant %q", got, tc.want)
			}
		})
	}
}

func TestASeedAlwaysDrawsTheSameEpisode(t *testing.T) {
	script := func(seed uint64) string {
		e := drawEpisode(seed)
		text := e.String()
		for n := range 10 {
			text += drawScenario(seed, n, e).String()
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
