package browser

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// pathOf is the page of a run.
func pathOf(run *v1alpha1.PruneRun) string { return "/runs/" + run.Namespace + "/" + run.Name }

// formOf is the form of a decision.
func formOf(name string) string { return verb(name) + "/ancestor::form" }

// A plan is found, read, approved and undone without anything but the page.
func TestApproveAndUndo(t *testing.T) {
	w := newWorld(t)
	const group = "club-oslo"
	w.plan(t, group)
	x := w.open(t, maria, habits{})
	x.shows("waits for approval")
	x.click(link("Waiting"))
	x.shows(group, "3 of 60")
	if n := x.count("//main//button"); n != 0 {
		t.Errorf("the list of waiting plans has %d buttons: a removal is one click away", n)
	}
	x.click(link(group))
	x.shows("3 of 60 members would leave", "anna", "boris", "chen", "300 days ago")
	x.hides("dora")
	x.fill("reason", "spring cleaning")
	if status := x.click(verb("approve")); status != http.StatusOK {
		t.Errorf("status %d\n%s", status, x.state())
	}
	run := w.await(t, group, v1alpha1.ReasonRemoved)
	if reason := run.Status.Decisions.Approved.Reason; reason != "spring cleaning" {
		t.Errorf("approved, since %q", reason)
	}
	for _, account := range []string{"anna", "boris", "chen"} {
		if slices.Contains(w.members(t, group), account) {
			t.Errorf("%s is still a member", account)
		}
	}
	x.do(chromedp.Reload())
	x.shows("spring cleaning")
	if n := x.count(verb("approve")) + x.count(verb("deny")); n != 0 {
		t.Errorf("%d buttons to approve or deny a run that is done\n%s", n, x.state())
	}
	x.fill("reason", "they are missed")
	x.click(verb("undo"))
	w.await(t, group, v1alpha1.ReasonUndone)
	if members := w.members(t, group); !slices.Contains(members, "chen") {
		t.Errorf("chen is not back: %q", members)
	}
	x.do(chromedp.Reload())
	x.shows("they are missed")
	if n := x.count(verb("undo")); n != 0 {
		t.Errorf("%d buttons to undo a run twice", n)
	}
	x.click(link("Runs"))
	x.shows(group)
}

func TestDeny(t *testing.T) {
	w := newWorld(t)
	const group = "club-rome"
	run := w.plan(t, group)
	x := w.open(t, maria, habits{})
	x.visit(pathOf(run))
	x.fillIn(formOf("deny"), "reason", "not before Monday")
	x.click(verb("deny"))
	run = w.await(t, group, v1alpha1.ReasonDenied)
	if reason := run.Status.Decisions.Denied.Reason; reason != "not before Monday" {
		t.Errorf("denied, since %q", reason)
	}
	x.visit("/waiting")
	x.hides(group)
}

// Who may only read sees plans, and is told which right is missing.
func TestDecideWithoutTheRight(t *testing.T) {
	w := newWorld(t)
	const group = "club-bern"
	run := w.plan(t, group)
	x := w.open(t, viktor, habits{})
	x.visit(pathOf(run))
	x.shows("anna", "boris", "chen")
	x.shows("You may look at this run, and not decide about it.", "groupgate-prune-approver")
	if n := x.count("//main//button"); n != 0 {
		t.Errorf("%d buttons that cannot work", n)
	}
}

// A user without the right to read is shown no run and no refusal, and is told why.
func TestLookWithoutTheRight(t *testing.T) {
	w := newWorld(t)
	run := w.plan(t, "club-genf")
	x := newTab(t, habits{})
	for _, page := range []string{w.page(t, norman), "/waiting", "/runs", pathOf(run), "/refused"} {
		x.visit(page)
		x.hides("club-genf", "anna")
		x.shows("norman")
	}
}

// alter writes the plan of a run anew.
func (w *world) alter(t *testing.T, run *v1alpha1.PruneRun, change func(*v1alpha1.PrunePlan)) {
	t.Helper()
	before := client.MergeFrom(run.DeepCopy())
	change(run.Status.Plan)
	if err := w.client(t).Status().Patch(t.Context(), run, before); err != nil {
		t.Fatal(err)
	}
}

// A form that was shown before the plan became void decides nothing.
func TestApproveAVoidPlan(t *testing.T) {
	w := newWorld(t)
	const group = "club-wien"
	run := w.plan(t, group)
	x := w.open(t, maria, habits{})
	x.visit(pathOf(run))
	w.alter(t, run, func(plan *v1alpha1.PrunePlan) {
		plan.CreatedAt = metav1.NewTime(time.Now().Add(-25 * time.Hour))
	})
	if status := x.click(verb("approve")); status != http.StatusConflict {
		t.Errorf("status %d\n%s", status, x.state())
	}
	if n := x.count(verb("approve")); n != 0 {
		t.Errorf("%d buttons to approve a void plan", n)
	}
	if run := w.await(t, group, v1alpha1.ReasonAwaitingApproval); run.Spec.Approval == v1alpha1.ApprovalApproved {
		t.Error("a void plan is approved")
	}
	if members := w.members(t, group); !slices.Contains(members, "anna") {
		t.Error("anna is gone")
	}
}

// What is approved is what was read: after any change the plan is shown again.
func TestApproveAPlanThatHasChanged(t *testing.T) {
	w := newWorld(t)
	const group = "club-graz"
	run := w.plan(t, group)
	x := w.open(t, maria, habits{})
	x.visit(pathOf(run))
	w.alter(t, run, func(plan *v1alpha1.PrunePlan) { plan.Removals[0].Account = "dora" })
	x.fill("reason", "I read of anna")
	if status := x.click(verb("approve")); status != http.StatusConflict {
		t.Errorf("status %d", status)
	}
	x.shows("dora")
	if run := w.await(t, group, v1alpha1.ReasonAwaitingApproval); run.Spec.Approval == v1alpha1.ApprovalApproved {
		t.Error("a plan is approved that was not shown")
	}
	// Now dora was read of, who has written since that plan says, and stays.
	x.click(verb("approve"))
	w.await(t, group, v1alpha1.ReasonRemoved)
	members := w.members(t, group)
	if slices.Contains(members, "boris") || !slices.Contains(members, "anna") || !slices.Contains(members, "dora") {
		t.Errorf("not the plan that was shown: %q are members", members)
	}
}
