package prunerun_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestPlanMessage(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		candidates, removals int
		inactiveFor          time.Duration
		want                 string
	}{
		{4, 3, 90 * day, "3 of 4 inactive members are to go. " +
			"A member is inactive if it neither joined nor spoke for 90d."},
		{4, 1, 36 * time.Hour, "1 of 4 inactive members is to go. " +
			"A member is inactive if it neither joined nor spoke for 1d12h."},
		{1, 1, day, "1 of 1 inactive member is to go. A member is inactive if it neither joined nor spoke for 1d."},
		{2, 2, 23 * time.Hour, "2 of 2 inactive members are to go. " +
			"A member is inactive if it neither joined nor spoke for 23h."},
		{0, 0, day, "No member that may go is inactive. A member is inactive if it neither joined nor spoke for 1d."},
		{6, 0, 2 * day, "Enough seats are free, so that none of 6 inactive members is to go. " +
			"A member is inactive if it neither joined nor spoke for 2d."},
	}
	for _, tc := range tests {
		if got := prunerun.PlanMessage(tc.candidates, tc.removals, tc.inactiveFor); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
}

func TestMessagesOfEvictions(t *testing.T) {
	const ten = 10 * time.Minute
	for _, tc := range []struct {
		candidates, removals, inGrace int
		grace                         time.Duration
		want                          string
	}{
		{0, 0, 0, ten, "The gate of the group refuses no member that could be evicted now."},
		{0, 0, 1, ten, "The gate of the group refuses no member that could be evicted now. " +
			"1 member refused by the gate joined less than 10m ago."},
		{1, 1, 0, ten, "1 of 1 member refused by the gate of the group is to be evicted."},
		{340, 100, 2, 36*time.Hour + ten, "100 of 340 members refused by the gate of the group are to be evicted. " +
			"2 members refused by the gate joined less than 1d12h10m ago."},
	} {
		if got := prunerun.EvictionMessage(tc.candidates, tc.removals, tc.inGrace, tc.grace); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
	run := with(named("run", 0), evicts, func(run *v1alpha1.PruneRun) { run.Status.Removed = 2 })
	if got, want := prunerun.RemovalMessage(&run), "2 members were evicted."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	waiting := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "club-1"}}
	waiting.Status.Plan = &v1alpha1.PrunePlan{
		CreatedAt: metav1.NewTime(minutes(0)), NotBefore: metav1.NewTime(minutes(10)),
		Removals: make([]v1alpha1.PlannedRemoval, 2),
		Breaker:  "would remove 340 of 400 members: is the list complete?",
	}
	want := "This plan would remove 340 of 400 members: is the list complete? " +
		"Awaiting approval: review status.plan.removals (2 members), " +
		"then set spec.approval to Approved or Denied. The plan is void after 2026-11-21T12:10:00Z."
	if got := prunerun.ApprovalMessage(waiting, "", prunerun.MaxMessage); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	const page = "https://page.example.com/chat"
	want += " On the page: https://page.example.com/chat/runs/chat/club-1"
	if got := prunerun.ApprovalMessage(waiting, page, prunerun.MaxMessage); got != want {
		t.Errorf("with a page: got  %q\nwant %q", got, want)
	}
	// The link stays, whatever the breaker says.
	waiting.Status.Plan.Breaker = strings.Repeat("w", 1024)
	got := prunerun.ApprovalMessage(waiting, page, prunerun.MaxEventNote)
	if len(got) != prunerun.MaxEventNote || !strings.HasSuffix(got, "/runs/chat/club-1") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestRemovalMessage(t *testing.T) {
	for want, status := range map[string]v1alpha1.PruneRunStatus{
		"2 members were removed.":                  {Removed: 2},
		"1 member was removed, and 1 was kept.":    {Removed: 1, Kept: make([]v1alpha1.KeptAccount, 1)},
		"9 members were removed, and 3 were kept.": {Removed: 9, Kept: make([]v1alpha1.KeptAccount, 3)},
	} {
		if got := prunerun.RemovalMessage(&v1alpha1.PruneRun{Status: status}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFailureMessageEndsInOneFullStop(t *testing.T) {
	for _, text := range []string{"it is closed", "it is closed.", "it is closed... "} {
		want := "Could not read the group: it is closed."
		if got := prunerun.FailureMessage("read the group", errors.New(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestClipCutsBetweenCharacters(t *testing.T) {
	for text, want := range map[string]string{"short": "short", "123456789": "12345…", "1234é6789": "1234…"} {
		if got := prunerun.Clip(text, 8); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestUndoMessage(t *testing.T) {
	of := func(finished bool, results ...v1alpha1.RestoreResult) *v1alpha1.PruneUndo {
		undo := &v1alpha1.PruneUndo{}
		for i, result := range results {
			undo.Accounts = append(undo.Accounts, v1alpha1.RestoredAccount{Account: fmt.Sprint("u", i), Result: result})
		}
		if finished {
			undo.FinishedAt = metav1.NewTime(minutes(1))
		}
		return undo
	}
	tests := map[string]struct {
		undo *v1alpha1.PruneUndo
		want string
	}{
		"all": {of(true, "Added", "Added"), "2 of 2 accounts are back."},
		"one of each": {
			of(true, "Added", "AlreadyMember", "AwaitingConfirmation", "Refused", "NotFound", "GroupLimit", "NoSeat",
				"Failed", "Adding"),
			"2 of 9 accounts are back; 1 of them came back by itself, 1 has yet to confirm, 1 was refused, " +
				"1 no longer exists, 1 is in too many groups, for 1 no seat was free, 1 was not added, " +
				"for 1 the result is not known.",
		},
		"under way": {of(false, "Added", "Adding", "Pending"), "1 of 3 accounts is back; 2 are still to come."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := prunerun.UndoMessage(tc.undo); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}
