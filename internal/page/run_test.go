package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

const hostile = "\"><script>alert(1)</script>\u202e../%2f&group=x"

func TestPlansThatWaitAreListedNextToBeVoidFirst(t *testing.T) {
	s := newSite(t)
	s.run("second", "club-oslo", made(time.Hour))
	s.run("first", hostile, made(3*time.Hour), evicts)
	s.run("third", "club-rome")
	s.run("denied", "club-ulm", func(run *v1alpha1.PruneRun) { run.Status.Conditions[1].Reason = "Denied" })
	denied := s.stored("denied")
	denied.Spec.Approval = v1alpha1.ApprovalDenied
	must(t, s.client.Update(t.Context(), denied))
	s.run("over", "club-bern", ended)
	s.run("void", "club-bonn", made(25*time.Hour))

	var page *answer
	calls := s.counted(func() { page = s.get("maria", "/waiting") })
	page.says(http.StatusOK, "3 plans wait for a decision.", "1 plan is void", "club-oslo", "3 of 60", "Free seats",
		"Remove who may not join", "No routine, so look closely: the plan would remove 3 of 60 members", "club",
		"in 20 hours", "U+202E")
	page.lacks("club-ulm", "club-bern", "club-bonn")
	want := []string{s.path("first"), s.path("second"), s.path("third")}
	if diff := cmp.Diff(want, page.links()); diff != "" {
		t.Errorf("the runs are (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"GET /apis/groupgate.io/v1alpha1/namespaces/" + s.namespace + "/pruneruns"},
		calls); diff != "" {
		t.Errorf("calls (-want,+got)\n%s", diff)
	}
	each(page.root, "script", func(*html.Node) { t.Error("the page has a script") })
	each(page.root, "button", func(*html.Node) { t.Error("a removal is one click away from the list") })
}

func TestNoPlanWaits(t *testing.T) {
	s := newSite(t)
	s.get("viktor", "/waiting").says(http.StatusOK, "No plan waits for a person.")
	s.language = "zh-CN"
	s.get("viktor", "/waiting").says(http.StatusOK, "没有计划在等待审批。")
}

func TestPlansThatWaitArePaged(t *testing.T) {
	s := newSite(t)
	for i := range perPage + 3 {
		s.run(fmt.Sprintf("run-%02d", i), fmt.Sprint("group-", i), made(time.Duration(i)*time.Minute))
	}
	first := s.get("maria", "/waiting")
	first.says(http.StatusOK, "53 plans wait", "Plans 1 to 50 of 53", "Later plans")
	links := first.links()
	if len(links) != perPage+1 || links[0] != s.path("run-52") {
		t.Fatalf("%d links, first %s", len(links), links[0])
	}
	second := s.get("maria", links[perPage])
	second.says(http.StatusOK, "Plans 51 to 53 of 53", "Earlier plans", "group-0")
	for _, from := range []string{"0", "-1", "9999999", "x", "51"} {
		s.get("maria", "/waiting?from="+from).says(http.StatusOK, "53 plans wait")
	}
}

func TestPlanIsShownAndApproved(t *testing.T) {
	s := newSite(t)
	s.run("one", "club-oslo", made(time.Hour))
	var page *answer
	calls := s.counted(func() { page = s.get("maria", s.path("one")) })
	page.says(http.StatusOK, "Waits for a decision", "3 of 60 members would leave", "60 of 60 seats were taken",
		"anna", "joined then, and never wrote", "(300 days ago)", "boris", "has not written since",
		"54 wrote or joined lately", "2 owner and admins", "1 inactive, but enough seats",
		"Nobody is removed unless somebody approves the plan.", "(in 22 hours)", "It waits.")
	page.lacks("protected")
	if len(calls) != 2 {
		t.Errorf("%d calls to the API server, want the run and the rights: %q", len(calls), calls)
	}
	approve := s.path("one", "approve")
	if diff := cmp.Diff([]string{approve, s.path("one", "deny")}, page.posts()); diff != "" {
		t.Fatalf("forms (-want,+got)\n%s", diff)
	}
	form := page.form(approve)
	if form.Has("members") {
		t.Error("three members have to be counted")
	}
	form.Set("reason", " spring cleaning ")
	answer := s.post("maria", approve, form)
	if answer.status != http.StatusSeeOther || answer.location != s.path("one") {
		t.Fatalf("status %d to %s: %s", answer.status, answer.location, textOf(answer.root))
	}
	run := s.stored("one")
	if run.Spec.Approval != v1alpha1.ApprovalApproved || run.Spec.Decision.Reason != "spring cleaning" {
		t.Errorf("%+v", run.Spec)
	}
	byPage := func(m metav1.ManagedFieldsEntry) bool { return m.Manager == fieldOwner }
	if !slices.ContainsFunc(run.ManagedFields, byPage) {
		t.Errorf("managed fields %v", run.ManagedFields)
	}
	page = s.get("maria", answer.location)
	page.says(http.StatusOK, "Approved", "removes those who are still inactive, unless",
		"Look again")
	if diff := cmp.Diff([]string{s.path("one", "deny")}, page.posts()); diff != "" {
		t.Errorf("forms (-want,+got)\n%s", diff)
	}
}

func TestRunIsDenied(t *testing.T) {
	s := newSite(t)
	s.run("one", "club-oslo")
	deny := s.path("one", "deny")
	form := s.get("maria", s.path("one")).form(deny)
	form.Set("reason", "not before Monday")
	if answer := s.post("maria", deny, form); answer.status != http.StatusSeeOther {
		t.Fatalf("status %d: %s", answer.status, textOf(answer.root))
	}
	if run := s.stored("one"); run.Spec.Approval != v1alpha1.ApprovalDenied || run.Spec.Decision == nil {
		t.Errorf("%+v", run.Spec)
	}
	page := s.get("maria", s.path("one"))
	page.says(http.StatusOK, "Denied", "It was denied: the leader ends it")
	if forms := page.posts(); len(forms) != 0 {
		t.Errorf("forms %q", forms)
	}
	s.run("over", "club-bern", ended)
	s.get("maria", s.path("over")).lacks("Look again")
	s.run("stopped", "club-ulm", func(run *v1alpha1.PruneRun) {
		run.Status.Conditions[1].Status, run.Status.Conditions[1].Reason = "True", v1alpha1.ReasonDenied
	})
	s.get("maria", s.path("stopped")).says(http.StatusOK, "It has ended, and removes nobody any more.",
		"If the group is still full, another run is made after a pause")
}

func TestMembersInFlightAreNotSaidToBeRemoved(t *testing.T) {
	v := aVisit(t, "en", "UTC")
	for finished, want := range map[bool]string{
		false: "1 member is being removed", true: "1 member may have been removed: it is not known",
	} {
		run := &v1alpha1.PruneRun{}
		run.Status.Plan = &v1alpha1.PrunePlan{
			Removals: []v1alpha1.PlannedRemoval{{Account: "anna"}, {Account: "boris"}, {Account: "chen"}},
		}
		run.Status.Progress = &v1alpha1.PruneProgress{Settled: 1, InFlight: 1}
		if finished {
			run.Status.Conditions = []metav1.Condition{
				{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRemoved},
			}
		}
		titles := map[string]string{}
		for _, m := range v.members(run) {
			titles[m.Title] = m.Rows[0].Account
		}
		if titles["1 member was removed"] != "anna" || titles[want] != "boris" {
			t.Errorf("finished %t: %q", finished, titles)
		}
	}
}

func TestRunIsUndone(t *testing.T) {
	s := newSite(t)
	s.run("one", "club-oslo", ended, made(2*time.Hour))
	s.run("later", "club-oslo", ended)
	s.run("other", "club-rome", ended)
	var page *answer
	calls := s.counted(func() { page = s.get("maria", s.path("one")) })
	page.says(http.StatusOK, "Members were removed", "It can be undone once", "2 members were removed",
		"1 member stayed after all",
		"chen was active again", "Approved , by maria , ", "(1 hour ago)", "spring cleaning",
		"A later run removed members, too")
	page.lacks("would leave")
	if !slices.Contains(page.links(), s.path("later")) || len(calls) != 3 {
		t.Errorf("links %q, calls %q", page.links(), calls)
	}
	s.get("maria", s.path("later")).lacks("A later run")
	undo := s.path("one", "undo")
	form := page.form(undo)
	if answer := s.post("maria", undo, form); answer.status != http.StatusSeeOther {
		t.Fatalf("status %d: %s", answer.status, textOf(answer.root))
	}
	if run := s.stored("one"); run.Spec.Undo != v1alpha1.UndoRequested {
		t.Errorf("%+v", run.Spec)
	}
	page = s.get("maria", s.path("one"))
	page.says(http.StatusOK, "Its undo was requested")
	// A second click finds another version of the run.
	s.post("maria", undo, form).says(http.StatusConflict, "Nothing was decided", "Somebody has requested its undo.")
	run := s.stored("one")
	run.Status.Undo = &v1alpha1.PruneUndo{
		StartedAt: run.CreationTimestamp, FinishedAt: run.CreationTimestamp, Added: 1,
		Accounts: []v1alpha1.RestoredAccount{{Account: "boris", Result: "Added"}, {Account: "anna", Result: "NoSeat"}},
	}
	must(t, s.client.Status().Update(t.Context(), run))
	page = s.get("maria", s.path("one"))
	page.says(http.StatusOK, "It was undone: 1 member was added back.", "no seat was free", "is back")
	if forms := page.posts(); len(forms) != 0 {
		t.Errorf("forms %q", forms)
	}
}

func TestLargePlanIsApprovedByItsNumber(t *testing.T) {
	s := newSite(t)
	s.run("slip", "vip", evicts)
	s.run("large", "club", func(run *v1alpha1.PruneRun) {
		for i := range 40 {
			run.Status.Plan.Removals = append(run.Status.Plan.Removals,
				v1alpha1.PlannedRemoval{Account: fmt.Sprint("m", i), Reason: v1alpha1.RemovalReasonInactive})
		}
	})
	for name, n := range map[string]string{"slip": "3", "large": "43"} {
		page := s.get("maria", s.path(name))
		approve := s.path(name, "approve")
		form := page.form(approve)
		form.Set("reason", "I looked")
		for _, typed := range []string{"", "30", n + "0", "-" + n, "three"} {
			form.Set("members", typed)
			answer := s.post("maria", approve, form)
			answer.says(http.StatusUnprocessableEntity,
				"Nothing was approved: type how many members would leave, which is "+n)
			if got := answer.form(approve).Get("reason"); got != "I looked" {
				t.Errorf("the reason that was typed is %q", got)
			}
			// Without a focus browsers show the top of the page, which does not have what is wrong.
			if got := answer.focused(); got != "members" {
				t.Errorf("the field that has the focus is %q", got)
			}
		}
		if run := s.stored(name); run.Spec.Approval != v1alpha1.ApprovalPending {
			t.Errorf("%s is %s", name, run.Spec.Approval)
		}
		form.Set("members", " "+n+" ")
		if answer := s.post("maria", approve, form); answer.status != http.StatusSeeOther {
			t.Errorf("status %d: %s", answer.status, textOf(answer.root))
		}
	}
	s.get("maria", s.path("slip")).says(http.StatusOK,
		"This plan is no routine, so that a person decides: it would remove", "policy vip does not list it",
		"50 admitted by the gate", "those whom the gate still refuses")
	s.run("over", "vip", evicts, ended)
	s.get("maria", s.path("over")).lacks("so that a person decides")
	page := s.get("maria", s.path("large"))
	page.says(http.StatusOK, "43 members would leave", "Show 23 more", "m39")
}

func TestRunThatChangedUnderTheReader(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *site)
		says   []string
	}{
		"the plan": {func(s *site) {
			run := s.stored("one")
			run.Status.Plan.Removals = append(run.Status.Plan.Removals[1:],
				v1alpha1.PlannedRemoval{Account: "dora", Reason: v1alpha1.RemovalReasonInactive})
			must(s.t, s.client.Status().Update(s.t.Context(), run))
		}, []string{"Members who were not shown are on it: dora", "Members who were shown are no longer on it: anna"}},
		"a decision": {func(s *site) {
			run := s.stored("one")
			run.Spec.Approval = v1alpha1.ApprovalDenied
			must(s.t, s.client.Update(s.t.Context(), run))
		}, []string{"Somebody has denied it.", "Denied"}},
		"the end": {func(s *site) {
			run := s.stored("one")
			run.Status.Conditions[1].Status, run.Status.Conditions[1].Reason = "True", v1alpha1.ReasonSuperseded
			must(s.t, s.client.Status().Update(s.t.Context(), run))
		}, []string{"The run has ended: The rule or the group changed."}},
		"the policy": {func(s *site) {
			run := s.stored("one")
			run.Status.Policy.Name = "other"
			must(s.t, s.client.Status().Update(s.t.Context(), run))
		}, []string{"The plan was made by policy club (Approve, 1), and now by policy other (Approve, 1)."}},
		"nothing that matters": {func(s *site) {
			run := s.stored("one")
			run.Labels = map[string]string{"team": "chat"}
			must(s.t, s.client.Update(s.t.Context(), run))
		}, []string{"Nothing that you decide by has changed"}},
		"another run of the name": {func(s *site) {
			must(s.t, s.client.Delete(s.t.Context(), s.stored("one")))
			s.run("one", "club-rome")
		}, []string{"The run was deleted, and another one has its name.", "club-rome"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.run("one", "club-oslo")
			approve := s.path("one", "approve")
			form := s.get("maria", s.path("one")).form(approve)
			tc.change(s)
			answer := s.post("maria", approve, form)
			answer.says(http.StatusConflict, append(tc.says,
				"Nothing was decided: the run was written since you saw it.", "Below is the run as it is now.")...)
			if len(answer.posts()) == 0 {
				answer.lacks("decide again")
			}
			run := s.stored("one")
			if run.Spec.Approval == v1alpha1.ApprovalApproved {
				t.Fatal("what was not shown is approved")
			}
			if next := answer.form(approve); next != nil && next.Get("resourceVersion") != run.ResourceVersion {
				t.Errorf("the next form is about %s, want %s", next.Get("resourceVersion"), run.ResourceVersion)
			}
		})
	}
}

// The page reads the run before it sends the decision. A write in between must not be decided about either.
func TestRunThatChangesWhileTheDecisionIsSent(t *testing.T) {
	s := newSite(t)
	s.run("one", "club-oslo")
	approve := s.path("one", "approve")
	form := s.get("maria", s.path("one")).form(approve)
	ctx := context.WithoutCancel(t.Context())
	s.before = func(r *http.Request) {
		if r.Method != http.MethodPatch {
			return
		}
		run := s.stored("one") //nolint:contextcheck // it has that of the test
		run.Status.Plan.Removals[0].Account = "zoe"
		if err := s.client.Status().Update(ctx, run); err != nil {
			t.Error(err)
		}
	}
	s.post("maria", approve, form).says(http.StatusConflict, "Members who were not shown are on it: zoe")
	if run := s.stored("one"); run.Spec.Approval != v1alpha1.ApprovalPending {
		t.Errorf("it is %s", run.Spec.Approval)
	}
}

func TestFormsAboutNoRun(t *testing.T) {
	s := newSite(t)
	s.run("one", "club-oslo")
	approve := s.path("one", "approve")
	form := s.get("maria", s.path("one")).form(approve)
	with := func(name, value string) url.Values {
		changed := url.Values{}
		for field, values := range form {
			changed[field] = values
		}
		changed.Set(name, value)
		return changed
	}
	for name, tc := range map[string]struct {
		path   string
		form   url.Values
		status int
		says   string
	}{
		"no UID":      {approve, with("uid", ""), http.StatusBadRequest, "does not say which run"},
		"no version":  {approve, with("resourceVersion", ""), http.StatusBadRequest, "does not say which run"},
		"another UID": {approve, with("uid", "1"), http.StatusConflict, "another one has its name"},
		"a made-up version": {approve, with("resourceVersion", "1"), http.StatusConflict,
			"What has changed is not known any more."},
		"no version at all": {approve, with("resourceVersion", "../1"), http.StatusConflict,
			"What has changed is not known any more."},
		"no token":      {approve, with("csrf", ""), http.StatusForbidden, "Nothing was done"},
		"another verb":  {s.path("one", "delete"), form, http.StatusNotFound, "There is no such page."},
		"another run":   {s.path("two", "approve"), form, http.StatusNotFound, "There is no such thing any more."},
		"a namespace":   {"/runs/kube-system/one/approve", form, http.StatusNotFound, "another namespace"},
		"a bad reason":  {approve, with("reason", "yes\u202eno"), 422, "one line of plain text"},
		"a long reason": {approve, with("reason", strings.Repeat("x", 257)), 422, "at most 256"},
		"an undo":       {s.path("one", "undo"), form, 422, "This cannot be decided any more"},
	} {
		t.Run(name, func(*testing.T) {
			s.post("maria", tc.path, tc.form).says(tc.status, tc.says)
		})
	}
	if run := s.stored("one"); run.Spec.Approval != v1alpha1.ApprovalPending || run.Spec.Undo != "" {
		t.Errorf("%+v", run.Spec)
	}
}

func TestVoidPlanCannotBeApproved(t *testing.T) {
	s := newSite(t)
	s.run("one", "club-oslo", made(23*time.Hour+30*time.Minute))
	approve := s.path("one", "approve")
	form := s.get("maria", s.path("one")).form(approve)
	s.offset = time.Hour
	page := s.get("maria", s.path("one"))
	page.says(http.StatusOK, "The plan became void", "The plan has been void since", "30 minutes ago")
	if diff := cmp.Diff([]string{s.path("one", "deny")}, page.posts()); diff != "" {
		t.Errorf("forms (-want,+got)\n%s", diff)
	}
	s.post("maria", approve, form).says(http.StatusUnprocessableEntity)
	if run := s.stored("one"); run.Spec.Approval != v1alpha1.ApprovalPending {
		t.Errorf("it is %s", run.Spec.Approval)
	}
}

func TestRightsDecideWhoDecides(t *testing.T) {
	s := newSite(t)
	s.run("one", "club-oslo")
	approve := s.path("one", "approve")
	form := s.get("maria", s.path("one")).form(approve)

	page := s.get("viktor", s.path("one"))
	page.says(http.StatusOK, "anna", "You may look at this run, and not decide about it.",
		"It takes the ClusterRole groupgate-prune-approver in namespace "+s.namespace)
	if forms := page.posts(); len(forms) != 0 {
		t.Errorf("forms %q", forms)
	}
	for _, user := range []string{"viktor", "nobody"} { // the form is maria's
		s.post(user, approve, form).says(http.StatusForbidden)
	}
	for _, path := range []string{"/waiting", "/runs", s.path("one")} {
		s.get("nobody", path).says(http.StatusForbidden, "You may not do this.")
	}

	// The right is taken away while the form is open.
	binding := s.bind("viktor", "groupgate-prune-approver")
	labtest.Eventually(t, func() error {
		if form = s.get("viktor", s.path("one")).form(approve); form == nil {
			return errors.New("there is no form")
		}
		return nil
	})
	must(t, s.client.Delete(t.Context(), binding))
	labtest.Eventually(t, func() error {
		if s.get("viktor", s.path("one")).form(approve) != nil {
			return errors.New("there is a form")
		}
		return nil
	})
	s.post("viktor", approve, form).says(http.StatusForbidden, "You may not do this.")
	if run := s.stored("one"); run.Spec.Approval != v1alpha1.ApprovalPending {
		t.Errorf("it is %s", run.Spec.Approval)
	}
}

func TestReadOnlyPageSaysWhy(t *testing.T) {
	s := newSite(t)
	s.readOnly, s.served = "The cluster cannot be reached.", map[string]http.Handler{}
	s.run("one", "club-oslo")
	page := s.get("maria", s.path("one"))
	page.says(http.StatusOK, "The cluster cannot be reached.", "anna")
	if forms := page.posts(); len(forms) != 0 {
		t.Errorf("forms %q", forms)
	}
	calls := s.counted(func() { s.get("maria", s.path("one")) })
	if len(calls) != 1 {
		t.Errorf("calls %q", calls)
	}
}

func TestHostileIdsStayText(t *testing.T) {
	s := newSite(t)
	s.run("one", hostile, func(run *v1alpha1.PruneRun) {
		run.Status.Plan.Removals[0].Account = "<img src=x onerror=alert(1)>"
		run.Status.Plan.Removals[1].Account = "bor\u200bis"
		run.Status.Plan.Removals[2].Account = "\u0441hen"
		run.Status.Conditions[1].Message = "</span><script>alert(2)</script>\u202e"
		run.Status.Decisions = &v1alpha1.PruneDecisions{
			Approved: saidBy("<b>eve", "<i>\u200b", time.Time{}),
		}
	})
	for _, path := range []string{s.path("one"), "/runs", "/runs?group=" + url.QueryEscape(hostile), "/waiting"} {
		page := s.get("maria", path)
		page.says(http.StatusOK, "\"><script>alert(1)</script>", "U+202E")
		for _, element := range []string{"script", "img", "b", "i"} {
			each(page.root, element, func(*html.Node) { t.Errorf("%s has the element %s", path, element) })
		}
		for _, link := range page.links() {
			at, err := url.Parse(link)
			if err != nil || !strings.HasPrefix(link, "/") || strings.HasPrefix(link, "//") {
				t.Errorf("%s has the link %s", path, link)
			}
			if group := at.Query().Get("group"); group != "" && group != hostile {
				t.Errorf("%s is about group %q", link, group)
			}
		}
	}
	s.get("maria", s.path("one")).says(http.StatusOK, "bor U+200B is", "U+0441", "by <b>eve")
	for _, path := range []string{
		"/runs/" + s.namespace + "/..%2f..%2fsecrets", "/runs/" + s.namespace + "/One", "/runs/a%2fb/one",
	} {
		s.get("maria", path).says(http.StatusNotFound)
	}
}

func TestRunsOfWhatIsNoNamespace(t *testing.T) {
	for _, app := range []string{"../prod", "/prod", "a b/prod"} {
		status, body := new(world).visit(t, address("/runs", "app", app), "en")
		if status != http.StatusNotFound {
			t.Errorf("status %d for %q", status, app)
		}
		expect(t, body, "There is no such app here.", "!The cluster cannot be reached.")
	}
}

func TestRunsArePagedAndFiltered(t *testing.T) {
	s := newSite(t)
	for i := range perPage + 2 {
		s.run(fmt.Sprintf("run-%02d", i), fmt.Sprint("group-", i/3), ended)
	}
	run := s.run("zz", "club-oslo", ended)
	run.Status.Undo = &v1alpha1.PruneUndo{StartedAt: run.CreationTimestamp, Added: 1}
	must(t, s.client.Status().Update(t.Context(), run))
	var first *answer
	calls := s.counted(func() { first = s.get("viktor", "/runs") })
	first.says(http.StatusOK, "Members were removed", "group-0", "Next page", "2")
	first.lacks("First page", "club-oslo")
	if len(calls) != 1 {
		t.Errorf("calls %q", calls)
	}
	links := first.links()
	second := s.get("viktor", links[len(links)-1])
	second.says(http.StatusOK, "First page", "club-oslo", "1")
	second.lacks("Next page")
	s.get("viktor", "/runs?group=group-0").says(http.StatusOK, "Show all runs")
	one := s.get("viktor", "/runs?app="+s.namespace+"/prod&group=club-oslo")
	if !slices.Contains(one.links(), s.path("zz")) || slices.Contains(one.links(), s.path("run-00")) {
		t.Errorf("links %q", one.links())
	}
	s.get("viktor", "/runs?app=prod&group=nobody").says(http.StatusOK, "There are no such runs.")
	s.get("viktor", "/runs?app=other/prod").says(http.StatusNotFound, "This page is about another namespace.")
	s.get("viktor", "/runs?app=a,b%3Dc&group=%2C%5C").says(http.StatusOK, "There are no such runs.")
	s.get("viktor", "/runs?continue=nonsense").says(http.StatusBadRequest)
}

// An API server forgets where a list was after some minutes, and says where it can go on.
func TestListThatWasOpenForLongGoesOn(t *testing.T) {
	for name, tc := range map[string]struct{ continued, want, says string }{
		"where it was":       {"new", "new", "The page before this one is some time old"},
		"from the beginning": {"", "", "The list was open for too long, and begins again."},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.run("one", "club-oslo", ended)
			var asked []string
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				after := r.URL.Query().Get("continue")
				asked = append(asked, after)
				if after == "old" {
					expired := apierrors.NewResourceExpired("The provided continue parameter is too old")
					expired.ErrStatus.Continue = tc.continued
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusGone)
					must(t, json.NewEncoder(w).Encode(metav1.Status{
						TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
						ListMeta: expired.ErrStatus.ListMeta, Status: "Failure",
						Code: http.StatusGone, Reason: metav1.StatusReasonExpired,
					}))
					return true
				}
				query := r.URL.Query()
				query.Del("continue")
				r.URL.RawQuery = query.Encode()
				return false
			}
			s.get("maria", "/runs?continue=old").says(http.StatusOK, tc.says, "club-oslo")
			if diff := cmp.Diff([]string{"old", tc.want}, asked); diff != "" {
				t.Errorf("it was continued at (-want,+got)\n%s", diff)
			}
		})
	}
}
