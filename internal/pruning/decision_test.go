package pruning

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// admission answers for the policy of decisions, which all tests of an API server would share.
type admission struct {
	client.Reader
	created map[string]time.Time // by kind
	err     error
}

func (a admission) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	metadata, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return a.Reader.Get(ctx, key, obj, opts...)
	}
	if a.err != nil {
		return a.err
	}
	kind := metadata.GroupVersionKind()
	created, ok := a.created[kind.Kind]
	if !ok || key.Name != "groupgate-decisions" || kind.Group != "admissionregistration.k8s.io" {
		return apierrors.NewNotFound(schema.GroupResource{Resource: kind.Kind}, key.Name)
	}
	metadata.CreationTimestamp = metav1.NewTime(created)
	return nil
}

// decide changes a run as a person does, with what the spec then says about it.
func (w *world) decide(name, by, reason string, edit func(*v1alpha1.PruneRunSpec)) {
	w.t.Helper()
	change(w, &v1alpha1.PruneRun{}, name, func(run *v1alpha1.PruneRun) {
		edit(&run.Spec)
		run.Spec.Decision = &v1alpha1.PruneDecision{By: by, Reason: reason}
	})
}

func approveIt(spec *v1alpha1.PruneRunSpec) { spec.Approval = v1alpha1.ApprovalApproved }
func denyIt(spec *v1alpha1.PruneRunSpec)    { spec.Approval = v1alpha1.ApprovalDenied }
func undoIt(spec *v1alpha1.PruneRunSpec)    { spec.Undo = v1alpha1.UndoRequested }

// recorded is a decision as the leader records it.
func recorded(at time.Time, by, reason string) *v1alpha1.RecordedDecision {
	return &v1alpha1.RecordedDecision{
		PruneDecision: v1alpha1.PruneDecision{By: by, Reason: reason},
		RecordedAt:    metav1.NewTime(at),
	}
}

// aboutThen compares times of a clock that goes on.
var aboutThen = cmp.Comparer(func(a, b metav1.Time) bool { return a.Sub(b.Time).Abs() < 30*time.Second })

// installed is the policy of decisions, as old as the given time.
func installed(r *replica, at time.Time) {
	r.Live = admission{Reader: r.Live, created: map[string]time.Time{
		"MutatingAdmissionPolicy": at, "MutatingAdmissionPolicyBinding": at,
	}}
}

func TestRecordSaysWhoApprovedAndWhoUndid(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	installed(r, w.Get("one").CreationTimestamp.Time)
	said := w.Clock.Now()
	w.decide("one", "alice", "agreed with the moderators", approveIt)
	w.Forget()
	run := r.finish("one")
	const approved = "alice approved: agreed with the moderators."
	got := apimeta.FindStatusCondition(run.Status.Conditions, "Complete").Message
	if !strings.HasSuffix(got, approved) {
		t.Errorf("Complete says %q, want %q at its end", got, approved)
	}
	if diff := cmp.Diff([]string{"Approved: " + approved}, w.Events.Notes()[:1]); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	w.Clock.Forward(said.Add(time.Hour).Sub(w.Clock.Now()))
	w.decide("one", "bob", "wrong group", undoIt)
	run = r.finishUndo("one")
	const undid = "bob requested the undo: wrong group."
	if got := undoneCondition(run).Message; !strings.HasSuffix(got, undid) {
		t.Errorf("Undone says %q, want %q at its end", got, undid)
	}
	notes := w.Events.Notes()
	if got := notes[len(notes)-1]; !strings.HasSuffix(got, undid) {
		t.Errorf("event %q, want %q at its end", got, undid)
	}
	want := &v1alpha1.PruneDecisions{
		Approved: recorded(said, "alice", "agreed with the moderators"),
		Undo:     recorded(said.Add(time.Hour), "bob", "wrong group"),
	}
	if diff := cmp.Diff(want, run.Status.Decisions, aboutThen); diff != "" {
		t.Errorf("decisions (-want,+got)\n%s", diff)
	}
}

func TestRecordSaysWhoDenied(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	installed(r, w.Get("one").CreationTimestamp.Time)
	said := w.Clock.Now()
	w.decide("one", "alice", "", approveIt)
	w.Once(apiDelete, 1, func() { w.decide("one", "bob", "stop it!", denyIt) })
	run := r.finish("one")
	want := &v1alpha1.PruneDecisions{
		Approved: recorded(said, "alice", ""),
		Denied:   recorded(said, "bob", "stop it!"),
	}
	if diff := cmp.Diff(want, run.Status.Decisions, aboutThen); diff != "" {
		t.Errorf("decisions (-want,+got)\n%s", diff)
	}
	const words = "The run was stopped: spec.approval is Denied. bob denied: stop it!"
	if got := apimeta.FindStatusCondition(run.Status.Conditions, "Complete").Message; got != words {
		t.Errorf("Complete says %q, want %q", got, words)
	}
}

// The first batch comes after the grace, and an undo after its app: neither is when somebody decided.
func TestRecordSaysWhenSomebodyDecidedAlthoughTheRunWaits(t *testing.T) {
	t.Parallel()
	w := inhabited(t, 1, func(j *v1alpha1.JoinSection) { j.Evict.Mode = v1alpha1.PruneModeApprove })
	w.evict("one", v1alpha1.PruneTriggerRound)
	r := w.replica()
	r.mustStep("one")
	w.Clock.Forward(time.Minute)
	want := v1alpha1.PruneDecisions{Approved: recorded(w.Clock.Now(), "", "agreed")}
	w.decide("one", "", "agreed", approveIt)
	w.Forget()
	r.mustStep("one")
	run := w.Get("one")
	wantConditions(t, run, "Planned=True/Planned", inGraceWait)
	if diff := cmp.Diff(&want, run.Status.Decisions, aboutThen); diff != "" {
		t.Errorf("decisions in grace (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Approved: Somebody approved: agreed."}, w.Events.Notes()); diff != "" {
		t.Errorf("events (-want,+got)\n%s", diff)
	}
	w.Clock.Forward(grace + time.Second)
	run = r.finish("one")
	if diff := cmp.Diff(&want, run.Status.Decisions, aboutThen); diff != "" {
		t.Errorf("decisions at the end (-want,+got)\n%s", diff)
	}
	app := w.deleteApp()
	w.Publish()
	w.Clock.Forward(time.Minute)
	want.Undo = recorded(w.Clock.Now(), "", "wrong group")
	w.decide("one", "", "wrong group", undoIt)
	for range 2 { // the second Step finds it recorded
		r.mustStep("one")
		run = w.Get("one")
		if diff := cmp.Diff(&want, run.Status.Decisions, aboutThen); diff != "" {
			t.Errorf("decisions while the app is missing (-want,+got)\n%s", diff)
		}
		w.Clock.Forward(time.Hour)
	}
	if run.Status.Undo != nil {
		t.Fatal("the undo began without its app")
	}
	w.makeAppAnew(app, func(*v1alpha1.IMApp) {})
	if diff := cmp.Diff(&want, r.finishUndo("one").Status.Decisions, aboutThen); diff != "" {
		t.Errorf("decisions of the undo (-want,+got)\n%s", diff)
	}
}

func TestTimeOfADecisionIsNotTakenFromTheRequest(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	said := w.Clock.Now()
	err := w.Client.Patch(t.Context(), w.Get("one"), client.RawPatch(types.MergePatchType,
		[]byte(`{"spec":{"approval":"Approved","decision":{"reason":"agreed","recordedAt":"2020-01-01T00:00:00Z"}}}`)))
	must(t, err)
	got := r.finish("one").Status.Decisions.Approved
	if diff := cmp.Diff(recorded(said, "", "agreed"), got, aboutThen); diff != "" {
		t.Errorf("decision (-want,+got)\n%s", diff)
	}
}

// Where the API server does not write who decided, anybody can write any name.
func TestWrittenNameIsNotBelieved(t *testing.T) {
	t.Parallel()
	tests := map[string]func(r *replica, created time.Time){
		"without the policy": func(*replica, time.Time) {},
		"without its binding": func(r *replica, created time.Time) {
			r.Live = admission{Reader: r.Live, created: map[string]time.Time{"MutatingAdmissionPolicy": created}}
		},
		"with a policy younger than the run": func(r *replica, created time.Time) {
			installed(r, created.Add(time.Second))
		},
		"without the right to look": func(r *replica, _ time.Time) {
			r.Live = admission{Reader: r.Live, err: apierrors.NewForbidden(schema.GroupResource{}, "", errBroken)}
		},
		"in a cluster without such policies": func(r *replica, _ time.Time) {
			r.Live = admission{Reader: r.Live, err: &apimeta.NoKindMatchError{}}
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := approving(t)
			prepare(r, w.Get("one").CreationTimestamp.Time)
			said := w.Clock.Now()
			w.decide("one", "alice", "agreed", approveIt)
			w.Forget()
			run := r.finish("one")
			if diff := cmp.Diff(recorded(said, "", "agreed"), run.Status.Decisions.Approved, aboutThen); diff != "" {
				t.Errorf("decision (-want,+got)\n%s", diff)
			}
			if diff := cmp.Diff("Approved: Somebody approved: agreed.", w.Events.Notes()[0]); diff != "" {
				t.Errorf("event (-want,+got)\n%s", diff)
			}
			// The undo comes without a reason: that of the approval is not its own.
			w.RequestUndo("one")
			said = w.Clock.Now()
			got := r.finishUndo("one").Status.Decisions.Undo
			if diff := cmp.Diff(recorded(said, "", ""), got, aboutThen); diff != "" {
				t.Errorf("decision (-want,+got)\n%s", diff)
			}
		})
	}
}

func TestDecisionIsReadAgainWhileThePolicyCannotBeRead(t *testing.T) {
	t.Parallel()
	w, r := approving(t)
	live := r.Live
	r.Live = admission{Reader: live, err: errBroken}
	w.decide("one", "alice", "agreed", approveIt)
	if _, err := r.step("one"); err == nil || w.Happened(apiDelete) != 0 {
		t.Errorf("step: %v, %d deletions, want an error and none", err, w.Happened(apiDelete))
	}
	r.Live = live
	installed(r, w.Get("one").CreationTimestamp.Time)
	if got := r.finish("one").Status.Decisions.Approved.By; got != "alice" {
		t.Errorf("approved by %q", got)
	}
}

func TestEventSaysWhatAwaitsApproval(t *testing.T) {
	t.Parallel()
	w, _ := approving(t)
	void := w.Get("one").Status.Plan.CreatedAt.Add(24 * time.Hour).UTC().Format(time.RFC3339)
	notes := strings.Join(w.Events.Notes(), "\n")
	for _, want := range []string{"AwaitingApproval: Awaiting approval: ", "(230 members)", "void after " + void} {
		if !strings.Contains(notes, want) {
			t.Errorf("events %q do not say %q", notes, want)
		}
	}
	labtest.WantConditions(t, w.Get("one"), "Planned=True/Planned", awaiting)
}
