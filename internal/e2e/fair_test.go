package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// Ten seconds are 200 turns of an app that may call 20 times a second. They are counted rather than timed: on a machine that is too
// busy to keep that rate everything takes longer, but nothing takes more turns. The whole list of the large group takes 1,000 of them.
func TestASmallGroupIsPrunedWithin10sWhile100000MembersArePlanned(t *testing.T) {
	const (
		crowd    = "@TGS#_crowd"
		rate     = 20
		promised = 10 * rate
		pages    = 100_000 / 100
		members  = 200
		seats    = 120
		listAPI  = "get_group_member_info"
	)
	board := &switchboard{}
	w := newWorld(t, board)
	w.app("rest: {requestsPerSecond: 20}")
	w.policy("crowd", "groups: [{value: '"+crowd+"'}]\nwhenFull: {prune: {mode: Preview, inactiveFor: 30d, maxRemovals: 1000}}")
	w.policy("club", "groups: [{value: club}]\nwhenFull: {prune: {mode: Enforce, inactiveFor: 30d, freeSeats: 120, maxRemovals: 1000, notification: Silent}}")
	g := w.startReady(gateOptions{})
	board.set(g)
	w.ready("imapp/prod", "grouppolicy/crowd", "grouppolicy/club")
	eventually(t, "the manager to hold the term", g.holdsTerm)

	for _, spec := range []emulator.GroupSpec{
		{ID: crowd, Type: "Community", MaxMembers: 100_000, Owner: "olivia", CreatedAgo: "400d", Members: []emulator.MemberSpec{
			{Prefix: "idle", Count: 50_000, InactiveFor: "60d"}, {Prefix: "busy", Count: 49_999, JoinedAgo: "100d", SpokeAgo: "1d"},
		}},
		{ID: "club", Type: "Public", MaxMembers: members, Owner: "olivia", CreatedAgo: "400d", ApplyJoinOption: "FreeAccess", Members: []emulator.MemberSpec{
			{Prefix: "idle", Count: 150, InactiveFor: "60d"}, {Prefix: "busy", Count: members - 150 - 2, JoinedAgo: "100d", SpokeAgo: "1d"},
		}},
	} {
		if _, err := w.im.CreateGroup(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	calls := func(f emulator.RecordFilter) []emulator.CallRecord {
		t.Helper()
		records, err := w.im.Calls(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return records
	}
	pagesRead := func() int { return len(calls(emulator.RecordFilter{API: listAPI, Group: crowd})) }
	result := func(group string) string {
		return w.kubectl("get", "pruneruns", "--field-selector=spec.groupID="+group, "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Complete")].reason}`)
	}

	if a := g.reportFull(crowd); a.ErrorCode != 0 {
		t.Fatalf("report: %+v", a)
	}
	eventually(t, "the planning of the large group to be under way", func() bool { return pagesRead() >= 2*rate })

	// The last seat is taken, and the backend says so.
	if joined, err := w.im.Apply(t.Context(), "club", "lucy"); err != nil || joined.Result != emulator.ResultJoined {
		t.Fatalf("lucy: %+v, %v", joined, err)
	}
	eventually(t, "the small group to be pruned", func() bool { return result("club") == "Removed" })
	if got := groupSize(t, w, "club"); got != members-seats {
		t.Errorf("%d members are left, want %d", got, members-seats)
	}

	told, err := w.im.Callbacks(t.Context(), emulator.RecordFilter{Command: string(callback.CommandAfterGroupFull), Group: "club"})
	if err != nil || len(told) == 0 {
		t.Fatalf("callbacks: %v, %v", told, err)
	}
	all := calls(emulator.RecordFilter{})
	if got := len(all); got >= pages {
		t.Fatalf("%d calls by now: the large group could have been done", got)
	}
	deletions := slices.DeleteFunc(slices.Clone(all), func(c emulator.CallRecord) bool { return c.API != "delete_group_member" })
	if len(deletions) != 2 {
		t.Fatalf("%d deletions, want 2: %+v", len(deletions), deletions)
	}
	last := deletions[len(deletions)-1]
	var between, ofCrowd int
	for _, call := range all {
		if call.ReceivedAt.Before(told[0].SentAt) || call.ID > last.ID {
			continue
		}
		between++
		if call.Group == crowd {
			ofCrowd++
		}
	}
	t.Logf("from the callback to the last removal: %s, %d calls, %d of them of the large group", last.ReceivedAt.Sub(told[0].SentAt).Round(time.Millisecond), between, ofCrowd)
	if between > promised {
		t.Errorf("the small group was pruned after %d calls of the app, want at most %d, which is 10 s", between, promised)
	}
	if ofCrowd == 0 {
		t.Error("the large group was not being planned meanwhile: this proves nothing")
	}
	// It still is being planned.
	seen := pagesRead()
	eventually(t, "another page of the large group", func() bool { return pagesRead() > seen })
	if got := result(crowd); got != "" || seen >= pages {
		t.Fatalf("the large group is %q after %d pages: it was not under way for long enough", got, seen)
	}

	// Nor has the small one cost the large one its plan. That is waited for at another rate, which is in force from the next call on.
	w.app("rest: {requestsPerSecond: 200}")
	eventually(t, "the large group to be planned", func() bool { return result(crowd) == "Previewed" })
	if got := pagesRead(); got != pages {
		t.Errorf("%d pages were read, want %d, each once", got, pages)
	}
}
