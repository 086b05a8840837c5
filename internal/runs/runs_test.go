package runs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/runs"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func day(month time.Month, day int) metav1.Time {
	return metav1.NewTime(time.Date(2026, month, day, 9, 30, 0, 0, time.UTC))
}

// run is a run of a group that has just been created.
func run(name, group string, changes ...func(*v1alpha1.PruneRun)) v1alpha1.PruneRun {
	r := v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "chat", Name: name, UID: "1", CreationTimestamp: metav1.NewTime(now.Add(-3 * time.Hour)),
		},
		Spec: v1alpha1.PruneRunSpec{
			AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: group, Approval: v1alpha1.ApprovalPending,
		},
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

// planned has a plan for three members of a group of 60, who are named.
func planned(mode v1alpha1.PruneMode) func(*v1alpha1.PruneRun) {
	return func(r *v1alpha1.PruneRun) {
		r.Status.Policy = &v1alpha1.PrunePolicyRecord{Name: "club", Generation: 1, Mode: mode}
		r.Status.Group = &v1alpha1.PruneGroupRecord{Members: 60, MaxMembers: 60}
		r.Status.Plan = &v1alpha1.PrunePlan{
			CreatedAt: r.CreationTimestamp, Candidates: 4, Stay: v1alpha1.PlanStay{Active: 54, Admin: 2},
			Removals: []v1alpha1.PlannedRemoval{
				{Account: "anna", LastActiveAt: day(time.January, 25), Reason: v1alpha1.RemovalReasonNeverSpoke},
				{Account: "boris", LastActiveAt: day(time.April, 24), Reason: v1alpha1.RemovalReasonInactive},
				{Account: "chen", LastActiveAt: day(time.July, 24), Reason: v1alpha1.RemovalReasonInactive},
			},
		}
		condition(v1alpha1.ConditionPlanned, metav1.ConditionTrue, v1alpha1.ReasonPlanned)(r)
		if mode == v1alpha1.PruneModeApprove {
			condition(v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)(r)
		}
	}
}

func condition(kind string, status metav1.ConditionStatus, reason string) func(*v1alpha1.PruneRun) {
	return func(r *v1alpha1.PruneRun) {
		for i := range r.Status.Conditions {
			if c := &r.Status.Conditions[i]; c.Type == kind {
				c.Status, c.Reason, c.Message = status, reason, reason+" it is."
				return
			}
		}
		r.Status.Conditions = append(r.Status.Conditions,
			metav1.Condition{Type: kind, Status: status, Reason: reason, Message: reason + " it is."})
	}
}

func ended(reason string) func(*v1alpha1.PruneRun) {
	return condition(v1alpha1.ConditionComplete, metav1.ConditionTrue, reason)
}

// removed has carried out its plan, less its last member.
func removed(r *v1alpha1.PruneRun) {
	planned(v1alpha1.PruneModeApprove)(r)
	ended(v1alpha1.ReasonRemoved)(r)
	r.Spec.Approval = v1alpha1.ApprovalApproved
	r.Status.Removed, r.Status.Progress = 2, &v1alpha1.PruneProgress{Settled: 3}
	r.Status.Kept = []v1alpha1.KeptAccount{{Account: "chen", Reason: v1alpha1.KeptReasonActiveAgain}}
}

func since(hours int) func(*v1alpha1.PruneRun) {
	return func(r *v1alpha1.PruneRun) {
		r.CreationTimestamp = metav1.NewTime(now.Add(time.Duration(-hours) * time.Hour))
	}
}

func says(approval v1alpha1.Approval) func(*v1alpha1.PruneRun) {
	return func(r *v1alpha1.PruneRun) { r.Spec.Approval = approval }
}

func waiting(name, group string, changes ...func(*v1alpha1.PruneRun)) v1alpha1.PruneRun {
	return run(name, group, append([]func(*v1alpha1.PruneRun){planned(v1alpha1.PruneModeApprove)}, changes...)...)
}

func text(t *testing.T, answer interface {
	Sentence() string
	Table() [][]string
}) string {
	t.Helper()
	var out strings.Builder
	out.WriteString(answer.Sentence())
	table := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	for _, row := range answer.Table() {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	return "\n" + out.String()
}

func TestListOfRuns(t *testing.T) {
	nobodyKnows := func(r *v1alpha1.PruneRun) {
		for i := range r.Status.Plan.Removals {
			r.Status.Plan.Removals[i].LastActiveAt = metav1.Time{}
		}
	}
	longAgo := func(r *v1alpha1.PruneRun) {
		r.Status.Plan.Removals[0].LastActiveAt = metav1.NewTime(day(time.March, 2).AddDate(-1, 0, 0))
		r.Status.Plan.Removals[1].LastActiveAt = metav1.Time{}
	}
	all := []v1alpha1.PruneRun{
		run("new", "club-rome", since(0)),
		waiting("late", "club-oslo"),
		waiting("soon", "club-ulm", since(23), planned(v1alpha1.PruneModeApprove), longAgo),
		waiting("void", "club-bern", since(25), planned(v1alpha1.PruneModeApprove)),
		waiting("yes", "club-lyon", says(v1alpha1.ApprovalApproved)),
		waiting("no", "club-pisa", says(v1alpha1.ApprovalDenied), nobodyKnows),
		run("look", "club-graz", since(5), planned(v1alpha1.PruneModePreview), ended(v1alpha1.ReasonPreviewed)),
		run("done", "club\u202eevil", since(4), removed),
	}
	want := `
GROUP            STATE              TO GO     REMOVED   LAST ACTIVE                           VOID IN   POLICY   RUN
club-ulm         AwaitingApproval   3 of 60   0         Mar 2, 2025 to Jul 24, 1 not known   60m       club     soon
club-oslo        AwaitingApproval   3 of 60   0         Jan 25 to Jul 24                      21h       club     late
club-rome        Pending            -         0         -                                     -         -        new
club-pisa        Denied             3 of 60   0         not known                             21h       club     no
club-lyon        Approved           3 of 60   0         Jan 25 to Jul 24                      21h       club     yes
"club\u202eevil" Removed            -         2         Jan 25 to Jul 24                      -         club     done
club-graz        Previewed          3 of 60   0         Jan 25 to Jul 24                      -         club     look
club-bern        Expired            3 of 60   0         Jan 25 to Jul 24                      void      club     void
`
	squeeze := func(s string) string { // the width of the columns does not matter
		var lines []string
		for line := range strings.Lines(s) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	if diff := cmp.Diff(squeeze(want), squeeze(text(t, runs.NewList(all, "chat", false, now)))); diff != "" {
		t.Errorf("all (-want,+got)\n%s", diff)
	}
	want = `
NAMESPACE   GROUP       TO GO     LAST ACTIVE                          VOID IN   POLICY   RUN
chat        club-ulm    3 of 60   Mar 2, 2025 to Jul 24, 1 not known   60m       club     soon
chat        club-oslo   3 of 60   Jan 25 to Jul 24                     21h       club     late
`
	if diff := cmp.Diff(want, text(t, runs.NewList(all, "", true, now))); diff != "" {
		t.Errorf("waiting (-want,+got)\n%s", diff)
	}
	none := text(t, runs.NewList(all[:1], "chat", true, now))
	if none != "\nNo plan awaits approval in namespace chat.\n" {
		t.Errorf("none waits: %s", none)
	}
}

func TestRunIsFoundByItsGroupOrName(t *testing.T) {
	elsewhere := waiting("w1", "club-ulm")
	elsewhere.Namespace = "games"
	undone := run("u1", "club-nice", removed)
	undone.Status.Undo = &v1alpha1.PruneUndo{FinishedAt: metav1.NewTime(now)}
	stopping := run("s1", "club-s", planned(v1alpha1.PruneModeEnforce))
	leaving := waiting("l1", "club-l")
	leaving.DeletionTimestamp = &metav1.Time{Time: now}
	all := []v1alpha1.PruneRun{
		waiting("w1", "club-oslo"), run("d1", "club-oslo", removed, since(50)), run("n1", "club-oslo"),
		elsewhere,
		waiting("club-ulm", "club-rome"), // a name that is a group, too
		run("d2", "club-pisa", removed), run("d3", "club-pisa", removed, since(1)),
		run("n2", "club-bern"),
		run("p1", "club-graz", planned(v1alpha1.PruneModePreview), ended(v1alpha1.ReasonPreviewed)),
		waiting("a1", "club-lyon", says(v1alpha1.ApprovalApproved)),
		waiting("x1", "club-x", says(v1alpha1.ApprovalDenied)),
		waiting("v1", "club-v", since(30), planned(v1alpha1.PruneModeApprove)),
		undone, stopping, leaving,
	}
	for _, tc := range []struct {
		verb runs.Verb
		word string
		want string // the run, or a part of the error; a ! marks one about the word
	}{
		{runs.Approve, "club-oslo", "w1"},
		{runs.Deny, "club-oslo", "w1"},
		{runs.Undo, "club-oslo", "d1"},
		{runs.Undo, "d1", "d1"},
		{runs.Approve, "w1", "!several namespaces have a run w1: name one with -n"},
		{runs.Approve, "club-ulm", "club-ulm"},
		{runs.Undo, "club-pisa", "!several runs of group club-pisa can be undone: name one of them\n"},
		{runs.Approve, "club-pisa", "no run of group club-pisa can be approved\n"},
		{runs.Approve, "nobody", "!neither a run nor a run of a group nobody"},
		{runs.Approve, "club-bern", "run n2 of group club-bern cannot be approved: it has no plan yet (Pending)"},
		{runs.Deny, "club-bern", "it has no plan yet; name the run"},
		{runs.Deny, "n2", "n2"},
		{runs.Approve, "p1", "it has ended (Previewed): Previewed it is."},
		{runs.Undo, "p1", "it removed no member"},
		{runs.Approve, "a1", "it was approved already"},
		{runs.Deny, "a1", "a1"},
		{runs.Deny, "x1", "it was denied already"},
		{runs.Approve, "x1", "it was denied already"},
		{runs.Undo, "x1", "it has not ended: deny it"},
		{runs.Approve, "v1", "its plan has been void since 2026-11-21T06:00:00Z"},
		{runs.Undo, "u1", "it was undone already"},
		{runs.Approve, "s1", "its mode is Enforce, in which nothing awaits approval"},
		{runs.Deny, "club-s", "s1"},
		{runs.Deny, "l1", "it is being deleted"},
	} {
		found, note, err := runs.Find(all, tc.word, tc.verb, now)
		got := ""
		switch _, word := err.(*runs.NameError); { //nolint:errorlint // Find returns it as it is
		case word:
			got = "!" + err.Error()
		case err != nil:
			got = err.Error()
		default:
			got = found.Name
		}
		if got != tc.want && (err == nil || !strings.Contains(got, strings.TrimPrefix(tc.want, "!")) ||
			strings.HasPrefix(tc.want, "!") != strings.HasPrefix(got, "!")) {
			t.Errorf("%s %s: got %q, want %q", tc.verb, tc.word, got, tc.want)
		}
		if (note != "") != (tc.word == "club-ulm") {
			t.Errorf("%s %s: note %q", tc.verb, tc.word, note)
		}
	}
	_, _, err := runs.Find(all, "club-pisa", runs.Undo, now)
	for _, want := range []string{"d2", "d3", "Removed", "2026-11-21T11:00:00Z"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the candidates lack %s:\n%s", want, err)
		}
	}
	want := []string{
		"club-oslo\tAwaitingApproval, 3 to go", "club-rome\tAwaitingApproval, 3 to go",
		"club-ulm\tAwaitingApproval, 3 to go", "club-ulm\tclub-rome, AwaitingApproval, 3 to go",
		"w1\tclub-oslo, AwaitingApproval, 3 to go", "w1\tclub-ulm, AwaitingApproval, 3 to go",
	}
	if diff := cmp.Diff(want, runs.Choices(all, runs.Approve, now)); diff != "" {
		t.Errorf("choices (-want,+got)\n%s", diff)
	}
}

// A shell shows a choice as it is, and takes what stands before a tab or the end of the line for the whole of it.
func TestGroupsThatATerminalWouldObeyAreNoChoices(t *testing.T) {
	all := []v1alpha1.PruneRun{waiting("w1", "club\x1b[2J"), waiting("w2", "a\tb"), waiting("w3", "a\nb")}
	want := []string{
		`w1	"club\x1b[2J", AwaitingApproval, 3 to go`, `w2	"a\tb", AwaitingApproval, 3 to go`,
		`w3	"a\nb", AwaitingApproval, 3 to go`,
	}
	if diff := cmp.Diff(want, runs.Choices(all, runs.Approve, now)); diff != "" {
		t.Errorf("choices (-want,+got)\n%s", diff)
	}
}

func TestReviewShowsWhoGoes(t *testing.T) {
	r := waiting("w1", "club-oslo")
	review := runs.NewReview(&r, runs.Approve, false, nil, now)
	want := `
Run w1 of app prod would remove 3 of 60 members of club-oslo, by policy club.
Stay: 54 active, 2 owner and admins, 0 protected, 0 whose activity is not known, 1 inactive.
The plan is void in 21h.
ACCOUNT   LAST ACTIVE                   WHY
anna      Jan 25, 2026 (300 days ago)   joined then, and never wrote
boris     Apr 24, 2026 (211 days ago)   has not written since
chen      Jul 24, 2026 (120 days ago)   has not written since
`
	if diff := cmp.Diff(want, text(t, review)); diff != "" {
		t.Errorf("approve (-want,+got)\n%s", diff)
	}
	if got := review.Question(); got != "3 members will be removed from club-oslo. Approve?" {
		t.Error(got)
	}

	undo := run("d1", "club-oslo", removed)
	again := run("d2", "club-oslo", since(1), removed)
	review = runs.NewReview(&undo, runs.Undo, false, []v1alpha1.PruneRun{undo, again}, now)
	want = `
Run d1 of app prod removed 2 members from club-oslo, by policy club.
Those who were active last come back first, while seats are free.
ACCOUNT   LAST ACTIVE                   WHY
boris     Apr 24, 2026 (211 days ago)   has not written since
anna      Jan 25, 2026 (300 days ago)   joined then, and never wrote
`
	if diff := cmp.Diff(want, text(t, review)); diff != "" {
		t.Errorf("undo (-want,+got)\n%s", diff)
	}
	if advice := review.Advice(); len(advice) != 1 || !strings.Contains(advice[0], "run d2 removed members") {
		t.Errorf("advice %q", advice)
	}
}

func TestReviewIsBounded(t *testing.T) {
	r := waiting("w1", "club-oslo", func(r *v1alpha1.PruneRun) {
		for i := range 100 {
			removal := v1alpha1.PlannedRemoval{Account: fmt.Sprint("i", i)}
			r.Status.Plan.Removals = append(r.Status.Plan.Removals, removal)
		}
	})
	rows := runs.NewReview(&r, runs.Approve, false, nil, now).Table()
	if n := len(rows); n != 22 || rows[n-1][0] != "and 83 more; --show-all lists them" {
		t.Errorf("%d rows, the last %q", n, rows[n-1])
	}
	if n := len(runs.NewReview(&r, runs.Approve, true, nil, now).Table()); n != 104 {
		t.Errorf("%d rows with all", n)
	}
}

// The page of tools shows what the tools print.
func TestExamplesOfThePageOfTools(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tools.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := waiting("prod-a0deab52913ad14f-1", "club-oslo")
	review := runs.NewReview(&r, runs.Approve, false, nil, now)
	for _, want := range []string{
		text(t, runs.NewList([]v1alpha1.PruneRun{r}, "chat", true, now)),
		"\n" + review.Sentence(),
		"\n" + review.Question() + " [y/N] y\n" + review.Done() + "\n",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/tools.md lacks\n%s", want)
		}
	}
	for _, row := range review.Table() {
		if !strings.Contains(string(page), strings.TrimSpace(row[0])) || !strings.Contains(string(page), row[1]) {
			t.Errorf("docs/tools.md lacks the row %q", row)
		}
	}
}

// A reason is stored, and printed by tools of others.
func TestReasonHasNothingThatATerminalWouldObey(t *testing.T) {
	for reason, ok := range map[string]bool{
		"": true, "spring cleaning": true, "春季\u3000清理": true, "👨\u200d👩": true,
		"two\nlines": false, "tab\there": false, "\x1b[2J": false, "\u202ereversed": false, "\xff": false,
	} {
		if err := runs.ValidateReason(reason); (err == nil) != ok {
			t.Errorf("%+q: error %v, want none: %t", reason, err, ok)
		}
	}
}

// Of a run that others have approved and that has ended, all members are gone from the plan: naming them would read as
// if they stayed.
func TestDifferencesOfARunThatHasEndedNameNoMembers(t *testing.T) {
	shown, live := waiting("r1", "club"), run("r1", "club", removed)
	shown.UID, live.UID = "1", "1"
	var got []runs.Kind
	for _, change := range runs.Differences(&shown, &live, runs.Approve) {
		got = append(got, change.What)
	}
	if diff := cmp.Diff([]runs.Kind{runs.Decided, runs.Ended}, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}
