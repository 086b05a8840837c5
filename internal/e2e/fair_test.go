package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// Ten seconds are 200 calls of an app that may call 20 times a second. Calls are counted rather than timed: on a busy
// machine everything takes longer, but nothing takes more calls. Listing the large group takes 1,000.
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
	t.Parallel()
	w := newWorld(t)
	w.app("rest: {requestsPerSecond: 20}")
	w.policy("crowd", `
groups: [{value: '`+crowd+`'}]
whenFull: {prune: {mode: Preview, inactiveFor: 30d, maxRemovals: 1000}}
`)
	w.policy("club", `
groups: [{value: club}]
whenFull: {prune: {mode: Enforce, inactiveFor: 30d, freeSeats: 120, maxRemovals: 1000, notification: Silent}}
`)
	r := w.startReady(nil)
	w.routeTo(r)
	w.ready("imapp/prod", "grouppolicy/crowd", "grouppolicy/club")
	eventually(t, "the manager to lead", r.leads)

	for _, spec := range []emulator.GroupSpec{
		{ID: crowd, Type: "Community", MaxMembers: 100_000, Members: []emulator.MemberSpec{
			{Prefix: "idle", Count: 50_000, InactiveFor: "60d"},
			{Prefix: "busy", Count: 49_999, JoinedAgo: "100d", SpokeAgo: "1d"},
		}},
		{ID: "club", Type: "Public", MaxMembers: members, ApplyJoinOption: "FreeAccess", Members: []emulator.MemberSpec{
			{Prefix: "idle", Count: 150, InactiveFor: "60d"},
			{Prefix: "busy", Count: members - 150 - 2, JoinedAgo: "100d", SpokeAgo: "1d"},
		}},
	} {
		spec.Owner, spec.CreatedAgo = "olivia", "400d"
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
		return w.kubectl("get", "pruneruns", "--field-selector=spec.groupID="+group,
			"-o", `jsonpath={.items[*].status.conditions[?(@.type=="Complete")].reason}`)
	}

	r.reportFull(crowd)
	eventually(t, "the planning of the large group to be under way", func() bool { return pagesRead() >= 2*rate })

	// The last seat is taken, and the backend reports the group as full.
	if joined, err := w.im.Apply(t.Context(), "club", "lucy"); err != nil || joined.Result != emulator.ResultJoined {
		t.Fatalf("lucy: %+v, %v", joined, err)
	}
	eventually(t, "the small group to be pruned", func() bool { return result("club") == "Removed" })
	if got := groupSize(t, w, "club"); got != members-seats {
		t.Errorf("%d members are left, want %d", got, members-seats)
	}

	reports, err := w.im.Callbacks(t.Context(), emulator.RecordFilter{Command: lab.CommandGroupFull, Group: "club"})
	if err != nil || len(reports) == 0 {
		t.Fatalf("callbacks: %v, %v", reports, err)
	}
	all := calls(emulator.RecordFilter{})
	if got := len(all); got >= pages {
		t.Fatalf("%d calls by now: the large group could have been done", got)
	}
	deletions := slices.DeleteFunc(slices.Clone(all),
		func(c emulator.CallRecord) bool { return c.API != "delete_group_member" })
	if len(deletions) != 2 {
		t.Fatalf("%d deletions, want 2: %+v", len(deletions), deletions)
	}
	last := deletions[len(deletions)-1]
	var between, ofCrowd int
	for _, call := range all {
		if call.ReceivedAt.Before(reports[0].SentAt) || call.ID > last.ID {
			continue
		}
		between++
		if call.Group == crowd {
			ofCrowd++
		}
	}
	took := last.ReceivedAt.Sub(reports[0].SentAt).Round(time.Millisecond)
	t.Logf("from the callback to the last removal: %s, %d calls, %d of them of the large group", took, between, ofCrowd)
	if between > promised {
		t.Errorf("the small group was pruned after %d calls of the app, want at most %d, which is 10 s", between,
			promised)
	}
	if ofCrowd == 0 {
		t.Error("the large group was not being planned meanwhile: this proves nothing")
	}
	read := pagesRead()
	eventually(t, "another page of the large group", func() bool { return pagesRead() > read })
	if got := result(crowd); got != "" || read >= pages {
		t.Fatalf("the large group is %q after %d pages: it was not under way for long enough", got, read)
	}

	// The large group still gets its plan, at another rate, which is in force from the next call on.
	w.app("rest: {requestsPerSecond: 200}")
	eventually(t, "the large group to be planned", func() bool { return result(crowd) == "Previewed" })
	if got := pagesRead(); got != pages {
		t.Errorf("%d pages were read, want %d, each once", got, pages)
	}
}
