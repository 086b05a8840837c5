package drill

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// sin is a small episode in which everything is in order: a run under policy "club" has removed i1 and i2 from a full group, and has undone
// that. A test of the model commits one sin in it.
type sin struct {
	*ledger
	at    time.Time // of the removal
	rule  *rule
	run   *v1alpha1.PruneRun // while its batch was in flight
	final *v1alpha1.PruneRun
}

func innocence() *sin {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	s := &sin{ledger: newLedger(), at: at}
	v := &version{uid: "p", generation: 1, rule: rule{
		App: "prod", Groups: []string{"g"}, Match: "Exact", Mode: "Enforce", InactiveDays: 30, FreeSeats: 2, MaxRemovals: 2, PerDay: 2,
		Lists: []string{"vip"}, RejoinAfter: time.Hour,
	}}
	s.rule = &v.rule
	early := at.Add(-time.Hour)
	line(s.policies, "club").set(early, early, v)
	line(s.lists, "vip").set(early, early, &[]string{"jared"})
	line(s.suspended, "prod").set(early, early, false)

	idle := func(name string) emulator.Member {
		return emulator.Member{Account: name, Role: "Member", JoinedAt: at.AddDate(0, 0, -60)}
	}
	group := emulator.Group{ID: "g", Type: "Public", Members: 10, MaxMembers: 10}
	named, found := []string{"i1", "i2"}, []emulator.Member{idle("i1"), idle("i2")}

	s.run = &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "r", ResourceVersion: "2"}}
	s.run.Spec = v1alpha1.PruneRunSpec{AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: "g", Approval: v1alpha1.ApprovalPending}
	s.run.Status = v1alpha1.PruneRunStatus{
		Policy: &v1alpha1.PrunePolicyRecord{Name: "club", UID: "p", Generation: 1, Mode: "Enforce"},
		Plan: &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(at.Add(-time.Minute)), Candidates: 2, Removals: []v1alpha1.PlannedRemoval{
			{Account: "i1", LastActiveAt: metav1.NewTime(at.AddDate(0, 0, -60))}, {Account: "i2", LastActiveAt: metav1.NewTime(at.AddDate(0, 0, -60))},
		}},
		Progress: &v1alpha1.PruneProgress{InFlight: 2, LastBatchAt: metav1.NewTime(at)},
		Refuse:   &v1alpha1.PruneRefusal{Until: metav1.NewTime(at.Add(time.Hour)), Code: 1},
	}
	s.final = s.run.DeepCopy()
	s.final.ResourceVersion = "3"
	s.final.Status.Progress.Settled, s.final.Status.Progress.InFlight, s.final.Status.Removed = 2, 0, 2
	s.final.Status.Conditions = []metav1.Condition{{Type: "Complete", Status: "True", Reason: "Removed"}}

	restoring := s.final.DeepCopy()
	restoring.Spec.Undo = v1alpha1.UndoRequested
	restoring.Status.Undo = &v1alpha1.PruneUndo{Accounts: []v1alpha1.RestoredAccount{{Account: "i1", Result: "Adding"}, {Account: "i2", Result: "Adding"}}}
	undone := restoring.DeepCopy()
	undone.ResourceVersion = "4"
	undone.Status.Undo.Added, undone.Status.Undo.FinishedAt = 2, metav1.NewTime(at.Add(time.Minute))
	undone.Status.Undo.Accounts[0].Result, undone.Status.Undo.Accounts[1].Result = "Added", "Added"

	s.looks = []deed{{at: at.Add(-time.Second), app: "prod", Testimony: emulator.Testimony{Group: group, Named: named, Found: found}}}
	s.removals = []deed{{at: at, app: "prod", runs: []v1alpha1.PruneRun{*s.run}, Testimony: emulator.Testimony{Group: group, Named: named, Found: found}}}
	s.additions = []deed{{at: at.Add(time.Minute), app: "prod", runs: []v1alpha1.PruneRun{*restoring}, Testimony: emulator.Testimony{Group: group, Named: named, Found: found}}}
	s.runs = map[types.UID]*history{"r": {versions: []v1alpha1.PruneRun{*s.run, *s.final, *undone}, seen: []time.Time{at, at, at}}}
	return s
}

func TestModelKnowsSinsFromAccidents(t *testing.T) {
	// last is the final version of the run.
	last := func(s *sin) *v1alpha1.PruneRun { return s.runs["r"].last() }
	inBatch := func(s *sin) *v1alpha1.PruneRun { return &s.removals[0].runs[0] }
	long, just := -40*time.Second, -2*time.Second
	for name, tc := range map[string]struct {
		commit func(s *sin)
		want   string // part of a verdict; "": innocent
	}{
		"innocent":          {func(*sin) {}, ""},
		"no run":            {func(s *sin) { s.removals[0].runs = nil }, "no run of the group has"},
		"not in flight":     {func(s *sin) { inBatch(s).Status.Progress.InFlight = 1 }, "no run of the group has"},
		"run had ended":     {func(s *sin) { inBatch(s).Status.Conditions = s.final.Status.Conditions }, "no run of the group has"},
		"kept, and removed": {func(s *sin) { inBatch(s).Status.Kept = []v1alpha1.KeptAccount{{Account: "i2"}} }, "no run of the group has"},
		"owner":             {func(s *sin) { s.looks[0].Found[1].Role = "Owner" }, "role Owner"},
		"admin":             {func(s *sin) { s.looks[0].Found[1].Role = "Admin" }, "role Admin"},
		"unknown role":      {func(s *sin) { s.looks[0].Found[1].Role = "" }, "not seen to be removable"},
		"admin account":     {func(s *sin) { s.removals[0].Found[1].Account = lab.AdminAccount }, "is the admin account"},
		"spoke":             {func(s *sin) { s.looks[0].Found[1].LastSpokeAt = s.at.Add(-time.Minute) }, "active at"},
		"joined":            {func(s *sin) { s.looks[0].Found[1].JoinedAt = s.at.AddDate(0, 0, -29) }, "active at"},
		"activity unknown":  {func(s *sin) { s.looks[0].Group.Quirks.OmitLastSendMsgTime = true }, "activity unknown"},
		"spoke after the look": {func(s *sin) {
			s.removals[0].Found = []emulator.Member{{Account: "i1", Role: "Member", LastSpokeAt: s.at}, s.removals[0].Found[1]}
		}, ""},
		"not looked at":      {func(s *sin) { s.looks[0].Named = []string{"i1"} }, "i2 was not seen"},
		"looked at long ago": {func(s *sin) { s.looks[0].at = s.at.Add(-13 * time.Second) }, "nobody has looked"},
		"live room":          {func(s *sin) { s.removals[0].Group.Type = "AVChatRoom" }, "of type AVChatRoom"},
		"suspended":          {func(s *sin) { line(s.suspended, "prod").set(s.at.Add(long), s.at.Add(long), true) }, "Suspended"},
		"just suspended":     {func(s *sin) { line(s.suspended, "prod").set(s.at.Add(just), s.at.Add(just), true) }, ""},
		"preview":            {func(s *sin) { s.rule.Mode = "Preview" }, "the mode is Preview"},
		"nobody approved":    {func(s *sin) { s.rule.Mode = "Approve" }, "not approved"},
		"approved": {func(s *sin) {
			s.rule.Mode = "Approve"
			inBatch(s).Spec.Approval = v1alpha1.ApprovalApproved
			for i := range s.runs["r"].versions {
				s.runs["r"].versions[i].Status.Policy = &v1alpha1.PrunePolicyRecord{Name: "club", UID: "p", Generation: 1, Mode: "Approve"}
			}
		}, ""},
		"denied":      {func(s *sin) { line(s.approvals, "r").set(s.at.Add(long), s.at.Add(long), "Denied") }, "is denied"},
		"just denied": {func(s *sin) { line(s.approvals, "r").set(s.at.Add(just), s.at.Add(just), "Denied") }, ""},
		"edited": {func(s *sin) {
			v := *s.policies["club"].now()
			v.generation = 2
			s.policies["club"].set(s.at.Add(long), s.at.Add(long), &v)
		}, "is no more"},
		"just edited": {func(s *sin) {
			v := *s.policies["club"].now()
			v.generation = 2
			s.policies["club"].set(s.at.Add(just), s.at.Add(just), &v)
		}, ""},
		"deleted":           {func(s *sin) { s.policies["club"].set(s.at.Add(long), s.at.Add(long), nil) }, "is no more"},
		"made up":           {func(s *sin) { inBatch(s).Status.Policy.UID = "other" }, "nobody ever wrote"},
		"another type":      {func(s *sin) { s.rule.Types = []string{"Work"} }, "does not govern"},
		"protected":         {func(s *sin) { s.rule.Accounts = []string{"i2"} }, "i2 is protected"},
		"protected, prefix": {func(s *sin) { s.rule.Prefixes = []string{"i"} }, "i1 is protected"},
		"protected, list":   {func(s *sin) { s.lists["vip"].set(s.at.Add(long), s.at.Add(long), &[]string{"i2"}) }, "i2 is protected"},
		"just listed":       {func(s *sin) { s.lists["vip"].set(s.at.Add(just), s.at.Add(just), &[]string{"i2"}) }, ""},
		"listed before the batch was begun": {func(s *sin) {
			s.lists["vip"].set(s.at.Add(3*just), s.at.Add(3*just), &[]string{"i2"})
			s.runs["r"].versions = append([]v1alpha1.PruneRun{{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "r"}}}, s.runs["r"].versions...)
			s.runs["r"].seen = append([]time.Time{s.at.Add(just)}, s.runs["r"].seen...)
		}, "i2 is protected"},
		"no longer listed": {func(s *sin) {
			s.lists["vip"].set(s.at.Add(long), s.at.Add(long), &[]string{"i2"})
			s.lists["vip"].set(s.at.Add(just), s.at.Add(just), &[]string{})
		}, ""},
		"list is gone": {func(s *sin) { s.lists["vip"].set(s.at.Add(long), s.at.Add(long), nil) }, "i1 is protected"},
		"protected by another policy": {func(s *sin) {
			v := &version{uid: "q", generation: 1, rule: rule{App: "prod", Match: "All", Mode: "Preview", Prefixes: []string{"i2"}}}
			line(s.policies, "net").set(s.at.Add(long), s.at.Add(long), v)
		}, "i2 is protected by policy net"},
		"too many seats": {func(s *sin) { s.removals[0].Group.Members = 9 }, "1 seats are needed"},
		"others have left": {func(s *sin) {
			s.removals[0].Group.Members = 9
			s.departures = []departure{{app: "prod", group: "g", account: "x", seats: 1, begin: s.at.Add(just), done: s.at.Add(just)}}
		}, ""},
		"too many":          {func(s *sin) { s.rule.MaxRemovals = 1 }, "maxRemovals is 1"},
		"too many in a day": {func(s *sin) { s.rule.PerDay = 1 }, "maxRemovalsPerDay is 1"},
		"twice":             {func(s *sin) { s.rule.PerDay = 9; s.removals = append(s.removals, s.removals[0]) }, "was removed by run r before"},

		"wrong count":  {func(s *sin) { last(s).Status.Removed = 1 }, "says that it removed 1"},
		"not recorded": {func(s *sin) { last(s).Status.Progress.Settled, last(s).Status.Removed = 1, 1 }, "has removed i2 and does not say so"},
		"not removed":  {func(s *sin) { s.removals[0].Found = s.removals[0].Found[:1] }, "which the vendor has not seen"},
		"left meantime": {func(s *sin) {
			s.removals[0].Found = s.removals[0].Found[:1]
			s.departures = []departure{{app: "prod", group: "g", account: "i2", seats: 1, begin: s.at.Add(-500 * time.Millisecond), done: s.at.Add(-500 * time.Millisecond)}}
			s.additions[0].Named = []string{"i1"}
			last(s).Status.Undo.Accounts[1].Result = "NotFound"
			last(s).Status.Undo.Added = 1
		}, ""},
		"came back before the batch was taken up": {func(s *sin) {
			last(s).Status.Removed, last(s).Status.Kept = 1, []v1alpha1.KeptAccount{{Account: "i2", Reason: "ActiveAgain"}}
			last(s).Status.Undo = nil
			last(s).Spec.Undo = ""
			s.runs["r"].versions = []v1alpha1.PruneRun{*s.run, *last(s)}
			s.additions = nil
			again := s.looks[0]
			again.at, again.Found = s.at.Add(5*time.Second), []emulator.Member{{Account: "i2", Role: "Member", JoinedAt: s.at.Add(time.Second)}}
			s.looks = append(s.looks, again)
		}, "has removed i2 and does not say so"},
		"kept, though removed": {func(s *sin) {
			last(s).Status.Removed, last(s).Status.Kept = 1, []v1alpha1.KeptAccount{{Account: "i2", Reason: "ActiveAgain"}}
			s.runs["r"].versions = []v1alpha1.PruneRun{*s.run, *last(s)}
		}, "has removed i2 and does not say so"},
		"both ends": {func(s *sin) {
			last(s).Status.Conditions = append(last(s).Status.Conditions, metav1.Condition{Type: "Failed", Status: "True"})
		}, "both Complete and Failed"},
		"plan changes": {func(s *sin) {
			last(s).Status.Plan = s.final.Status.Plan.DeepCopy()
			last(s).Status.Plan.Candidates = 3
		}, "the plan has changed"},
		"goes on after its end": {func(s *sin) { last(s).Status.Conditions = nil }, "has ended changes"},
		"plans the active":      {func(s *sin) { s.rule.InactiveDays = 61 }, "planned although active"},
		"refuses nobody":        {func(s *sin) { last(s).Status.Refuse = nil }, "refuses nobody"},
		"refuses too long":      {func(s *sin) { last(s).Status.Refuse.Until = metav1.NewTime(s.at.Add(2 * time.Hour)) }, "refuses until"},
		"refuses unasked":       {func(s *sin) { s.rule.RejoinAfter = 0 }, "which nobody asked for"},
		"other words":           {func(s *sin) { last(s).Status.Refuse.Code = 10110 }, "in other words"},

		"adds unrecorded": {func(s *sin) { s.additions[0].runs[0].Status.Undo = nil }, "which no undo has on record"},
		"adds unasked":    {func(s *sin) { s.additions[0].runs[0].Spec.Undo = "" }, "which no undo has on record"},
		"added, unsaid":   {func(s *sin) { last(s).Status.Undo.Accounts[1].Result = "NoSeat"; last(s).Status.Undo.Added = 1 }, "says NoSeat of adding i2 back"},
		"said, not added": {func(s *sin) { s.additions[0].Named = []string{"i1"} }, "says Added of adding i2 back"},
		"added wrong sum": {func(s *sin) { last(s).Status.Undo.Added = 1 }, "1 were added back"},
		"undo forgets": {func(s *sin) {
			last(s).Status.Undo.Accounts = last(s).Status.Undo.Accounts[:1]
			last(s).Status.Undo.Added = 1
		}, "its undo knows nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := innocence()
			tc.commit(s)
			m := model{ledger: s.ledger, adminAccount: lab.AdminAccount}
			got := strings.Join(m.judge(), "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("verdicts:\n%s\nwant %q", got, tc.want)
			}
		})
	}
}

func TestDrawingIsRepeatable(t *testing.T) {
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
