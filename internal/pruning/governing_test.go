package pruning

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestPolicyThatTheSnapshotLacksStopsTheRun(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before      string // what the policy comes just before
		wantRemoved int32
		wantEnd     string
	}{
		"planning":        {before: apiGroup, wantEnd: "Previewed"},
		"the first batch": {before: apiDelete, wantRemoved: 100, wantEnd: "Superseded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
			})
			w.Publish()
			w.Once(tc.before, 1, func() {
				w.PolicyFor("b-exact", fullGroup,
					v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview})
			})
			r := w.replica()
			next, err := r.step("one")
			if err != nil || next.After == 0 || prunerun.Finished(w.Get("one")) {
				t.Errorf("next = %v, %v, want to wait for the snapshot", next, err)
			}
			w.Publish()
			run := r.finish("one")
			if end, _ := prunerun.Completion(run); end.Reason != tc.wantEnd || run.Status.Removed != tc.wantRemoved {
				t.Errorf("%s, removed %d, want %s, %d", end.Reason, run.Status.Removed, tc.wantEnd, tc.wantRemoved)
			}
		})
	}
}

func TestSuspensionDuringASlowReadStopsTheBatch(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Once(apiGroup, 2, func() { // the first one is that of planning
		w.Clock.Forward(time.Minute)
		w.setPruning(v1alpha1.PruningSuspended)
	})
	run := w.replica().finish("one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Suspended")
	if got := w.Happened(apiDelete); got != 0 {
		t.Errorf("%d deletions a minute after the suspension", got)
	}
}

// appAgain deletes the app and makes another one of its name, later than everything else by the clock of the API
// server, for an SDKAppID.
func (w *world) appAgain(sdkAppID int64) {
	w.t.Helper()
	began := w.Get("one").CreationTimestamp
	eventually(w.t, func() error {
		app := &v1alpha1.IMApp{}
		must(w.t, w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: labtest.App}, app))
		must(w.t, w.Client.Delete(w.t.Context(), app))
		again := &v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: labtest.App},
			Spec: app.Spec}
		again.Spec.SDKAppID = sdkAppID
		must(w.t, w.Client.Create(w.t.Context(), again))
		if !again.CreationTimestamp.After(began.Time) {
			return errors.New("still the same second")
		}
		return nil
	})
	w.Publish()
}

func TestPlanForAnotherAppOfTheSameNameIsVoid(t *testing.T) {
	t.Parallel()
	t.Run("between two batches", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		w.Once(apiDelete, 1, func() { w.appAgain(lab.SDKAppID + 1) })
		run := w.replica().finish("one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
		if got := w.Happened(apiDelete); got != 1 || run.Status.Removed != 100 {
			t.Errorf("%d deletions, removed %d, want 1, 100", got, run.Status.Removed)
		}
	})
	t.Run("with a batch in flight", func(t *testing.T) {
		t.Parallel()
		w := enforcing(t)
		first := w.replica()
		w.Once(apiDelete, 1, func() { first.kill() })
		_, err := first.step("one")
		must(t, err)
		w.Serving.Wait()
		w.Once(apiDelete, 0, nil)
		w.appAgain(lab.SDKAppID + 1)
		w.Forget()
		run := w.replica().finish("one")
		wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
		if len(w.Calls()) != 1 || run.Status.Progress.InFlight != 100 || run.Status.Removed != 0 {
			t.Errorf("calls %v, progress %+v, removed %d: another app's group tells nothing of the batch in flight",
				w.Calls(), run.Status.Progress, run.Status.Removed)
		}
	})
}

func TestPlanGoesOnAfterItsAppWasMadeAnew(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	before := w.Members(fullGroup)
	w.Once(apiDelete, 1, func() { w.appAgain(lab.SDKAppID) })
	w.replica().finish("one")
	wantRemoved(t, w, before)
}

// A group is disbanded, and another one made under its id, in which the members of the old one have been idle, too.
func TestPlanOfADisbandedGroupIsVoid(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Once(apiDelete, 1, func() {
		w.Once(apiGroup, 1, func() {
			w.makeAnew()
		})
	})
	run := w.replica().finish("one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
	if got := len(w.Members(fullGroup)); got != 251 || run.Status.Removed != 100 {
		t.Errorf("%d members are left of the new group, removed %d, want 251, 100", got, run.Status.Removed)
	}
}

// The vendor carries out a deletion that it answers with 502. Then the group is disbanded, and made anew with the same
// members: who is in the new group says nothing of who was removed from the old one.
func TestBatchInFlightOfADisbandedGroupStaysOnRecord(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	carriedOut := lateDeletion(t, w, false)
	w.Clock.Forward(2 * time.Second)
	carriedOut()
	w.makeAnew()
	run := w.replica().finish("one")
	wantConditions(t, run, "Planned=True/Planned", "Complete=True/Superseded")
	if inFlight := prunerun.Progress(run).InFlight; inFlight != 100 || len(run.Status.Kept) > 0 {
		t.Errorf("%d are in flight, %d kept, want 100 and none", inFlight, len(run.Status.Kept))
	}
}

// makeAnew disbands the full group, and makes another one of its id with other people who have the same accounts.
func (w *world) makeAnew() {
	w.t.Helper()
	must(w.t, w.Emulator.DestroyGroup(w.t.Context(), fullGroup))
	_, err := w.Emulator.CreateGroup(w.t.Context(), emulator.GroupSpec{
		ID: fullGroup, Type: "Public", Owner: "stranger", MaxMembers: 251, CreatedAgo: "100d",
		Members: []emulator.MemberSpec{{Prefix: "i", Count: 250, InactiveFor: "90d"}},
	})
	must(w.t, err)
}
