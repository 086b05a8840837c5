package page

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/runs"
	"github.com/groupgate/groupgate/internal/terminal"
)

// fieldOwner is the manager of what the page changes, in managedFields.
const fieldOwner = "groupgate-page"

// form is what a person sends to decide about a run, as it is shown.
type form struct {
	Verb runs.Verb
	Path string
	// UID and Version are those of the run that is shown.
	UID, Version string
	// Group is that of the run, and Members how many the decision is about.
	Group   string
	Members int
	// Type says that the number of members has to be typed.
	Type bool
	// Evicts says what the run is for, and Later is a run that an undo leaves alone.
	Evicts bool
	Later  *entry
	// Reason and Problem are what was typed, and what is wrong with it.
	Reason, Problem string
}

func newForm(run *v1alpha1.PruneRun, verb runs.Verb) form {
	n := len(runs.Members(run, verb))
	return form{
		Verb: verb, Path: runPath(run.Namespace, run.Name) + "/" + string(verb), UID: string(run.UID),
		Version: run.ResourceVersion, Group: run.Spec.GroupID, Members: n, Type: verb == runs.Approve && large(run, n),
		Evicts: prunerun.Evicts(run),
	}
}

// large reports whether an approval is too much for one click: more members would leave than are shown at once, or the
// plan is no routine.
func large(run *v1alpha1.PruneRun, n int) bool {
	return n > runs.MaxShown || prunerun.HasPlan(run) && run.Status.Plan.Breaker != ""
}

// sent is a form that nothing came of.
type sent struct {
	status          int
	verb            runs.Verb
	reason, problem string
	changed         *changed
}

// changed says why nothing was decided.
type changed struct {
	// Changes are what differs from the run that was shown, as far as a person would decide by it.
	Changes []runs.Change
	// Unknown says that the run that was shown is not to be had any more, so that it is not known what differs.
	Unknown bool
}

// decide takes a decision about exactly the run that was shown, and leads to the page of the run.
func (s *server) decide(v *visit) (*view, error) {
	r := v.request
	verb, err := v.verb()
	if err != nil {
		return nil, err
	}
	run, err := s.readRun(v)
	if err != nil {
		return nil, err
	}
	form := &sent{verb: verb, reason: strings.TrimSpace(r.PostFormValue("reason"))}
	uid, version := r.PostFormValue("uid"), r.PostFormValue("resourceVersion")
	if uid == "" || version == "" {
		return nil, &Refusal{
			Status: http.StatusBadRequest, Text: "The form does not say which run it is about.",
			Advice: "Send it from the page of the run.",
		}
	}
	if string(run.UID) != uid || run.ResourceVersion != version {
		return s.showChanged(v, run, form, uid, version)
	}
	if form.problem = v.refuse(run, form); form.problem != "" {
		form.status = http.StatusUnprocessableEntity
		return s.showRun(v, run, form)
	}
	err = runs.SendOnce(r.Context(), v.Client, run, verb, form.reason, fieldOwner)
	switch {
	case apierrors.IsConflict(err):
		if run, err = s.readRun(v); err != nil {
			return nil, err
		}
		return s.showChanged(v, run, form, uid, version)
	case apierrors.IsInvalid(err): // a rule of the schema, or of an admission policy
		form.status, form.problem = http.StatusUnprocessableEntity, err.Error()
		return s.showRun(v, run, form)
	case isUnanswered(err):
		s.Log.Error(err, "It is not known whether a decision arrived", "pattern", r.Pattern)
		return nil, &Refusal{
			Status: http.StatusBadGateway, Text: "It is not known whether your decision arrived.",
			Advice: "Look at the run again: it says what was decided.",
		}
	case err != nil:
		return nil, err
	}
	http.Redirect(v.answer, r, runPath(run.Namespace, run.Name), http.StatusSeeOther)
	return nil, nil //nolint:nilnil // the redirect is the answer
}

// undecided leads from the address of a decision to the run: browsers open it after a sign-in, or when it is entered
// again. Nothing is decided.
func (s *server) undecided(v *visit) (*view, error) {
	if _, err := v.verb(); err != nil {
		return nil, err
	}
	run, err := s.readRun(v)
	if err != nil {
		return nil, err
	}
	http.Redirect(v.answer, v.request, runPath(run.Namespace, run.Name), http.StatusSeeOther)
	return nil, nil //nolint:nilnil // the redirect is the answer
}

// verb is that of the address.
func (v *visit) verb() (runs.Verb, error) {
	verb := runs.Verb(v.request.PathValue("verb"))
	if !slices.Contains([]runs.Verb{runs.Approve, runs.Deny, runs.Undo}, verb) {
		return "", noSuchPage()
	}
	return verb, nil
}

// isUnanswered reports whether an error says nothing about what the API server did: the connection was lost, or an
// answer came too late.
func isUnanswered(err error) bool {
	var answer apierrors.APIStatus
	return err != nil && (!errors.As(err, &answer) || answer.Status().Code >= http.StatusInternalServerError)
}

// refuse says what is wrong with a form about the run that it shows; it is empty if nothing is.
func (v *visit) refuse(run *v1alpha1.PruneRun, f *sent) string {
	if !f.verb.Possible(run, v.now) {
		return v.T("This cannot be decided any more: see below what the run does now.")
	}
	if err := runs.ValidateReason(f.reason); err != nil {
		return v.T("The reason must be one line of plain text, of at most 256 characters.")
	}
	n := len(runs.Members(run, f.verb))
	typed := strings.TrimSpace(v.request.PostFormValue("members"))
	if f.verb == runs.Approve && large(run, n) && typed != strconv.Itoa(n) {
		return v.T("Nothing was approved: type how many members would leave, which is %d.", n)
	}
	return ""
}

// showChanged shows a run that was written since it was shown. Nothing is decided, even if a person would decide the
// same about it as it is.
func (s *server) showChanged(v *visit, run *v1alpha1.PruneRun, f *sent, uid, version string) (*view, error) {
	f.status, f.changed = http.StatusConflict, &changed{Unknown: true}
	if uid != string(run.UID) {
		f.changed = &changed{Changes: []runs.Change{{What: runs.Replaced}}}
	} else if shown := v.earlier(v.request.Context(), run, version); shown != nil {
		f.changed = &changed{Changes: runs.Differences(shown, run, f.verb)}
	}
	return s.showRun(v, run, f)
}

// earlier is the run in an earlier version, nil if the API server has forgotten it, as it does after some minutes.
func (v *visit) earlier(ctx context.Context, run *v1alpha1.PruneRun, version string) *v1alpha1.PruneRun {
	if _, err := strconv.ParseUint(version, 10, 64); err != nil {
		return nil
	}
	var list v1alpha1.PruneRunList
	err := v.Client.List(ctx, &list, client.InNamespace(run.Namespace),
		client.MatchingFields{"metadata.name": run.Name}, &client.ListOptions{Raw: &metav1.ListOptions{
			ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchExact,
		}})
	if err != nil || len(list.Items) != 1 || list.Items[0].UID != run.UID {
		return nil
	}
	return &list.Items[0]
}

// Change is a difference from the run that was shown, in words.
func (v *visit) Change(c runs.Change) template.HTML {
	switch c.What {
	case runs.Replaced:
		return v.HTML("The run was deleted, and another one has its name.")
	case runs.BeingDeleted:
		return v.HTML("The run is being deleted.")
	case runs.Decided:
		return v.decided(c)
	case runs.Ended:
		return v.HTML("The run has ended: %s.", v.Result(c.End.Reason))
	case runs.MembersAdded:
		return v.HTML("Members who were not shown are on it: %s", v.accounts(c.Accounts))
	case runs.MembersGone:
		return v.HTML("Members who were shown are no longer on it: %s", v.accounts(c.Accounts))
	case runs.MembersOther:
		return v.HTML("The plan says something else about: %s", v.accounts(c.Accounts))
	case runs.PolicyChanged:
		return v.HTML("The plan was made by policy %s, and now by policy %s.", v.planner(c.Was), v.planner(c.Is))
	}
	return v.HTML("The plan says something else about the group, or about those who stay.")
}

func (v *visit) decided(c runs.Change) template.HTML {
	by := v.T("Somebody")
	if c.Decision.By != "" {
		by = terminal.Visible(c.Decision.By)
	}
	switch c.Verb {
	case runs.Approve:
		return v.HTML("%s has approved it.", by)
	case runs.Deny:
		return v.HTML("%s has denied it.", by)
	}
	return v.HTML("%s has requested its undo.", by)
}

func (v *visit) planner(policy *v1alpha1.PrunePolicyRecord) string {
	if policy == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s, %d)", policy.Name, policy.Mode, policy.Generation)
}

// accounts are the first of a list, and how many there are besides.
func (v *visit) accounts(all []string) template.HTML {
	var text strings.Builder
	for i, account := range all[:min(len(all), runs.MaxShown)] {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(string(v.Account(account)))
	}
	if more := len(all) - runs.MaxShown; more > 0 {
		text.WriteString(" " + string(v.HTML("and %d more", more)))
	}
	return template.HTML(text.String()) //nolint:gosec // accounts are escaped
}
