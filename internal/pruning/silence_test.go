package pruning

import (
	"slices"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// muteAll lets only the owner and admins of the group speak.
func (w *world) muteAll() {
	w.t.Helper()
	_, err := w.Emulator.ChangeGroup(w.t.Context(), fullGroup, emulator.GroupChange{MuteAllMember: new(true)})
	must(w.t, err)
}

func TestNobodyIsRemovedFromAMutedGroup(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set     func(w *world)
		removed int32
	}{
		"before the plan":     {set: (*world).muteAll},
		"between two batches": {set: func(w *world) { w.Once(apiDelete, 1, w.muteAll) }, removed: 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			tc.set(w)
			run := w.replica().finish("one")
			end, _ := prunerun.Completion(run)
			if end.Reason != v1alpha1.ReasonActivityUnknown || !strings.Contains(end.Message, "muted") {
				t.Errorf("%s: %s, want %s and a message that names the cause", end.Reason, end.Message,
					v1alpha1.ReasonActivityUnknown)
			}
			if run.Status.Removed != tc.removed || w.Happened(apiDelete) != int(tc.removed)/100 {
				t.Errorf("removed %d in %d deletions, want %d", run.Status.Removed, w.Happened(apiDelete), tc.removed)
			}
		})
	}
}

func TestMutedMemberStays(t *testing.T) {
	t.Parallel()
	w := enforcing(t)
	mute := func(account string) {
		_, err := w.Emulator.PutMembers(t.Context(), fullGroup,
			emulator.MemberSpec{Accounts: []string{account}, MutedFor: "1h"})
		must(t, err)
	}
	mute("i1")
	w.Once(apiNamed, 1, func() { mute("i2") })
	run := w.replica().finish("one")
	if got := run.Status.Plan.Stay.Unknown; got != 1 {
		t.Errorf("%d members stay for reasons unknown, want the muted one", got)
	}
	want := []v1alpha1.KeptAccount{{Account: "i2", Reason: v1alpha1.KeptReasonUnknown}}
	if !slices.Equal(run.Status.Kept, want) {
		t.Errorf("kept %v, want %v", run.Status.Kept, want)
	}
	members := w.Members(fullGroup)
	if !slices.Contains(members, "i1") || !slices.Contains(members, "i2") {
		t.Error("a muted member was removed")
	}
}
