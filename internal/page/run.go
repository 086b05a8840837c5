package page

import (
	"html/template"
	"net/http"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/runs"
)

// runView is what the page of a run shows.
type runView struct {
	*v1alpha1.PruneRun

	// Is is the run in the fields of a list.
	Is   runs.Run
	Next []template.HTML
	Stay []stay
	// Members are tables: who would go, who went, who stayed after all.
	Members   []members
	Decisions []decision
	// Forms are those that are possible now, and that the viewer has the right to send.
	Forms []form
	// NoForms says why there is none, where the run could be decided; Role is the one that it takes, in which
	// namespace. Unknown is an error of the API server.
	NoForms, Role, Unknown string
	// Problem is what is wrong with the form that was sent, unless it is shown with the form.
	Problem string
	// Changed is set if nothing was decided, since the run is no longer what was shown.
	Changed *changed
}

// GroupPath is that of the page of the group.
func (r *runView) GroupPath() string {
	return groupPath(r.Namespace, r.Spec.AppRef.Name, r.Spec.GroupID)
}

// Path is that of this page.
func (r *runView) Path() string { return runPath(r.Namespace, r.Name) }

// GoesOn reports whether the run, or its undo, has not ended: what the page says may soon be so no longer.
func (r *runView) GoesOn() bool {
	return !prunerun.Finished(r.PruneRun) || prunerun.WantsUndo(r.PruneRun) && !prunerun.UndoEnded(r.PruneRun)
}

// HistoryPath is that of the list of the group's runs.
func (r *runView) HistoryPath() string {
	return historyPath(r.Namespace, r.Spec.AppRef.Name, r.Spec.GroupID)
}

// Ended is when and how the run ended, nil while it goes on.
func (r *runView) Ended() *metav1.Condition {
	end, finished := prunerun.Completion(r.PruneRun)
	if !finished {
		return nil
	}
	return &end
}

// Class is that of the state, for the stylesheet.
func (r *runView) Class() string {
	switch end := r.Ended(); {
	case r.Is.AwaitsApproval:
		return "warn"
	case end == nil:
		return "unknown"
	case end.Type == v1alpha1.ConditionFailed:
		return "bad"
	}
	return "good"
}

// stay is how many members stay for one reason.
type stay struct {
	N    int
	Text string
}

// members is a table of members.
type members struct {
	// Title is about their number.
	Title string
	// With says which columns there are besides the account: when it was last active with why it is on the plan, and
	// what became of it.
	Planned, Became bool
	Rows            []member
}

// First are the rows that are shown at once, and Rest the others.
func (m members) First() members { return m.rows(0, min(len(m.Rows), runs.MaxShown)) }
func (m members) Rest() members  { return m.rows(min(len(m.Rows), runs.MaxShown), len(m.Rows)) }

func (m members) rows(from, to int) members {
	m.Rows = m.Rows[from:to]
	return m
}

type member struct {
	v1alpha1.PlannedRemoval

	Became string
}

// decision is who decided, as far as that is recorded.
type decision struct {
	*v1alpha1.RecordedDecision
	Text string
}

// run is the page of one run.
func (s *server) run(v *visit) (*view, error) {
	run, err := s.readRun(v)
	if err != nil {
		return nil, err
	}
	return s.showRun(v, run, nil)
}

// readRun reads the run that the path names.
func (s *server) readRun(v *visit) (*v1alpha1.PruneRun, error) {
	key := client.ObjectKey{Namespace: v.request.PathValue("namespace"), Name: v.request.PathValue("name")}
	if s.Namespace != "" && s.Namespace != key.Namespace {
		return nil, s.elsewhere()
	}
	run := &v1alpha1.PruneRun{}
	if err := v.Client.Get(v.request.Context(), key, run); err != nil {
		return nil, err
	}
	return run, nil
}

// elsewhere refuses what is not in the namespace of the page.
func (*server) elsewhere() error {
	return &Refusal{
		Status: http.StatusNotFound, Text: "This page is about another namespace.",
		Advice: "Begin with one of the links above.",
	}
}

// showRun shows a run, after a form that nothing came of if there was one.
func (s *server) showRun(v *visit, run *v1alpha1.PruneRun, after *sent) (*view, error) {
	data := &runView{
		PruneRun: run, Is: runs.Describe(run, v.now), Next: v.next(run), Stay: v.stay(run),
		Members: v.members(run), Decisions: decisions(run),
	}
	status := http.StatusOK
	if after != nil {
		status, data.Changed, data.Problem = after.status, after.changed, after.problem
	}
	if err := s.addForms(v, data, after); err != nil {
		return nil, err
	}
	return &view{template: "run.html", title: "Run", status: status, data: data}, nil
}

// stay says how many members stay, and why.
func (v *visit) stay(run *v1alpha1.PruneRun) []stay {
	plan := run.Status.Plan
	if plan == nil {
		return nil
	}
	s, later := plan.Stay, max(int(plan.Candidates)-len(plan.Removals), 0)
	counts := []stay{
		{int(s.Active), v.T("wrote or joined lately")},
		{int(s.Admin), v.T("owner and admins")},
		{int(s.Protected), v.T("protected by the policy")},
		{int(s.Unknown), v.T("muted, or it is not known when they were active")},
		{later, v.T("inactive, but enough seats become free without them")},
	}
	if prunerun.Evicts(run) {
		counts = []stay{
			{int(s.Admitted), v.T("admitted by the gate")},
			{int(s.Admin), v.T("owner and admins")},
			{int(s.InGrace), v.T("refused by the gate, but joined too short a time ago")},
			{int(s.Unknown), v.T("their role, or when they joined, is not known")},
			{later, v.T("refused by the gate, and left for a later run")},
		}
	}
	return slices.DeleteFunc(counts, func(c stay) bool { return c.N == 0 })
}

// members are the members of the plan, by what became of them.
func (v *visit) members(run *v1alpha1.PruneRun) []members {
	if !prunerun.HasPlan(run) {
		return nil
	}
	progress, finished := prunerun.Progress(run), prunerun.Finished(run)
	end, _ := prunerun.Completion(run)
	planned := map[string]v1alpha1.PlannedRemoval{}
	for _, m := range run.Status.Plan.Removals {
		planned[m.Account] = m
	}
	restored := map[string]string{}
	if run.Status.Undo != nil {
		for _, account := range run.Status.Undo.Accounts {
			restored[account.Account] = v.word(restoredWords, string(account.Result))
		}
	}
	flying := map[string]bool{}
	for _, m := range prunerun.InFlight(run) {
		flying[m.Account] = true
	}
	open, flies := members{Planned: true}, members{Planned: true}
	went, kept := members{Planned: true}, members{Became: true}
	for _, m := range prunerun.NextBatch(run, prunerun.OpenPositions(run)) {
		if !flying[m.Account] {
			open.Rows = append(open.Rows, member{PlannedRemoval: m})
		}
	}
	for _, account := range prunerun.RemovedAccounts(run) {
		table := &went
		if flying[account] {
			table = &flies
		}
		row := member{PlannedRemoval: planned[account], Became: restored[account]}
		table.Became = table.Became || row.Became != ""
		table.Rows = append(table.Rows, row)
	}
	for _, k := range run.Status.Kept {
		kept.Rows = append(kept.Rows, member{
			PlannedRemoval: planned[k.Account], Became: v.word(keptWords, string(k.Reason)),
		})
	}
	n := len(open.Rows)
	switch {
	case finished && end.Reason != v1alpha1.ReasonPreviewed:
		open.Title = v.T("%d members were on the plan, and stayed", n)
	case progress.Settled+progress.InFlight > 0:
		open.Title = v.T("%d members are still to leave", n)
	default:
		open.Title = v.T("%d members would leave", n)
	}
	flies.Title = v.T("%d members are being removed", len(flies.Rows))
	if finished {
		flies.Title = v.T("%d members may have been removed: it is not known", len(flies.Rows))
	}
	went.Title = v.T("%d members were removed", len(went.Rows))
	kept.Title = v.T("%d members stayed after all", len(kept.Rows))
	return slices.DeleteFunc([]members{open, flies, went, kept}, func(m members) bool { return len(m.Rows) == 0 })
}

// decisions are those that the leader recorded.
func decisions(run *v1alpha1.PruneRun) []decision {
	recorded := prunerun.Decisions(run)
	var list []decision
	add := func(said *v1alpha1.RecordedDecision, text string) {
		if said != nil {
			list = append(list, decision{said, text})
		}
	}
	add(recorded.Approved, say("Approved"))
	add(recorded.Denied, say("Denied"))
	add(recorded.Undo, say("Undo requested"))
	return list
}

// addForms adds what the viewer can decide about the run now.
func (s *server) addForms(v *visit, data *runView, after *sent) error {
	var possible []runs.Verb
	for _, verb := range []runs.Verb{runs.Approve, runs.Deny, runs.Undo} {
		if verb.Possible(data.PruneRun, v.now) {
			possible = append(possible, verb)
		}
	}
	if len(possible) == 0 {
		return nil
	}
	if v.ReadOnly != "" {
		data.NoForms = v.T(v.ReadOnly)
		return nil
	}
	allowed, failure := v.mayDecide(data.PruneRun)
	switch {
	case failure != nil:
		data.NoForms = v.T("It is not known whether you may decide about this run.")
		data.Unknown = failure.Error()
		return nil //nolint:nilerr // the page says it
	case !allowed:
		data.NoForms = v.T("You may look at this run, and not decide about it.")
		data.Role = runs.ApproverRole
		return nil
	}
	for _, verb := range possible {
		f := newForm(data.PruneRun, verb)
		if verb == runs.Undo {
			var err error
			if f.Later, err = v.laterRun(data.PruneRun); err != nil {
				return err
			}
		}
		if after != nil && after.verb == verb {
			f.Reason, f.Problem, data.Problem = after.reason, after.problem, ""
		}
		data.Forms = append(data.Forms, f)
	}
	return nil
}

// mayDecide reports whether the viewer has the right to decide about a run.
func (v *visit) mayDecide(run *v1alpha1.PruneRun) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: run.Namespace, Verb: "patch", Group: v1alpha1.GroupVersion.Group,
			Version: v1alpha1.GroupVersion.Version, Resource: "pruneruns", Name: run.Name,
		},
	}}
	err := v.Client.Create(v.request.Context(), review)
	return review.Status.Allowed, err
}

// maxLater is how many runs of one group are looked at: it has more in no week.
const maxLater = 500

// laterRun is the last run of the group that removed members after this one and was not undone: those whom it removed
// again stay out. nil if there is none.
func (v *visit) laterRun(run *v1alpha1.PruneRun) (*entry, error) {
	group := selectRuns(run.Spec.AppRef.Name, run.Spec.GroupID)
	read, err := v.listRuns(v.request.Context(), run.Namespace, group, maxLater, "")
	if err != nil {
		return nil, err
	}
	var last *entry
	for _, e := range read.list {
		later := e.Removed > 0 && !e.Undone && e.PlannedAt.After(run.Status.Plan.CreatedAt.Time)
		if later && (last == nil || e.PlannedAt.After(last.PlannedAt)) {
			last = e
		}
	}
	return last, nil
}
