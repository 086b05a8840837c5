package pruning

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestMembersThatTheVendorPassesOverAreNotCountedAsRemoved(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	passedOver := []string{"i1", "i7"}
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultSkip, Accounts: passedOver})
	run := w.replica().finish("one")
	if want := int32(plannedRemovals - len(passedOver)); run.Status.Removed != want ||
		len(w.Members(fullGroup)) != 257-int(want) {
		t.Errorf("removed %d on record, %d members left; want %d", run.Status.Removed, len(w.Members(fullGroup)), want)
	}
	var kept []string
	for _, account := range run.Status.Kept {
		if kept = append(kept, account.Account); account.Reason != v1alpha1.KeptReasonVendorRefused {
			t.Errorf("%s is kept as %s, want %s", account.Account, account.Reason, v1alpha1.KeptReasonVendorRefused)
		}
	}
	slices.Sort(kept)
	if diff := cmp.Diff(passedOver, kept); diff != "" {
		t.Errorf("kept (-want,+got)\n%s", diff)
	}
}

func TestRemovalThatFollowsItsConfirmationIsOnRecord(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultOK, Count: 1})
	r := w.replica()
	next, err := r.step("one")
	must(t, err)
	if next.After < answerDelay-time.Second || next.After > answerDelay {
		t.Errorf("next Step in %s, want to give the vendor %s", next.After, answerDelay)
	}
	batch := planOf(w.Get("one"))[:100]
	_, err = w.Emulator.Quit(t.Context(), fullGroup, batch...)
	must(t, err)
	w.Clock.Forward(next.After)
	run := r.stepUntil("one", prunerun.Finished)
	if run.Status.Removed != plannedRemovals || len(run.Status.Kept) != 0 {
		t.Errorf("removed %d, kept %v, want %d and nobody", run.Status.Removed, run.Status.Kept, plannedRemovals)
	}
}

// The vendor reports a removal before it carries it out, and the look that follows fails.
func TestRemovalThatCouldNotBeConfirmedIsNotRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultOK, Count: 1})
	w.Fault(emulator.Fault{API: apiNamed, Kind: emulator.FaultHTTP, Status: 502, Skip: 2, Count: 5})
	r := w.replica()
	_, _ = r.step("one")
	w.Clock.Forward(time.Second)
	_, _ = r.step("one")
	if got := w.Happened(apiDelete); got != 1 {
		t.Errorf("%d deletions while the vendor may still be at work on the first", got)
	}
	_, err := w.Emulator.Quit(t.Context(), fullGroup, planOf(w.Get("one"))[:100]...)
	must(t, err)
	w.comesBack("i1")
	w.Clock.Forward(answerDelay)
	run := r.finish("one")
	if run.Status.Removed != plannedRemovals || !slices.Contains(w.Members(fullGroup), "i1") {
		t.Errorf("removed %d, want %d, and i1 to be a member again", run.Status.Removed, plannedRemovals)
	}
}

// The vendor reports the removal of one half of a batch and fails for the other, and the run ends.
func TestHalfOfABatchThatIsRemovedAfterItsConfirmationIsOnRecord(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	lateDeletion(t, w, false) // it is never carried out
	r := w.replica()
	next, err := r.step("one")
	must(t, err)
	w.Clock.Forward(next.After)
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultCode, Code: 10004, Count: 1})
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultOK, Count: 1})
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultCode, Code: 10026})
	next, err = r.step("one")
	must(t, err)
	if prunerun.Finished(w.Get("one")) {
		t.Error("the run ended while the vendor was still at work")
	}
	_, err = w.Emulator.Quit(t.Context(), fullGroup, planOf(w.Get("one"))[:50]...)
	must(t, err)
	w.Clock.Forward(next.After)
	if run := r.finish("one"); run.Status.Removed != 50 {
		t.Errorf("removed %d on record, 50 are gone", run.Status.Removed)
	}
}
