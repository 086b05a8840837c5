package e2e

import (
	"testing"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// fillClub makes the full Public group "club", of whose members inactive have neither joined nor spoken for 40 to 60
// days.
func fillClub(t *testing.T, w *world, members, inactive int) {
	t.Helper()
	_, err := w.im.CreateGroup(t.Context(), emulator.GroupSpec{
		ID: "club", Type: "Public", MaxMembers: members, Owner: "olivia", CreatedAgo: "400d",
		ApplyJoinOption: "FreeAccess",
		Members: []emulator.MemberSpec{
			{Prefix: "idle", Count: inactive / 2, InactiveFor: "60d"},
			{Prefix: "quiet", Count: inactive - inactive/2, InactiveFor: "40d"},
			{Prefix: "busy", Count: members - inactive - 1, JoinedAgo: "100d", SpokeAgo: "1d"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func groupSize(t *testing.T, w *world, group string) int {
	t.Helper()
	g, err := w.im.Group(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	return g.Members
}

func memberSet(t *testing.T, w *world, group string) map[string]bool {
	t.Helper()
	members, err := w.im.Members(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	set := make(map[string]bool, len(members))
	for _, m := range members {
		set[m.Account] = true
	}
	return set
}
