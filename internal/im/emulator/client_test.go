package emulator_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

// TestRESTClient runs the REST client against the emulator. Both define the vendor's wire format for themselves, so a
// misspelling in one of them fails here.
func TestRESTClient(t *testing.T) {
	w := newWorld(t)
	config := imrest.Config{
		Endpoint: w.BaseURL, SDKAppID: testApp, AdminAccount: "administrator", SecretKey: testKey,
		RequestsPerSecond: 200,
		Now:               func() time.Time { return testNow },
		Sleep:             func(context.Context, time.Duration) error { return nil },
	}
	client, err := imrest.NewClient(config)
	w.must(err)
	for _, kind := range []string{"Private", "Public", "ChatRoom", "Community"} {
		t.Run(kind, func(t *testing.T) {
			w.group(groupSpec{ID: kind, Type: kind, Owner: "alice", MaxMembers: 300, Members: []memberSpec{
				{Count: 250, Prefix: "u", InactiveFor: "40d"}, {Accounts: []string{"bob"}, JoinedAgo: "3d"},
			}})
			g, err := client.Group(t.Context(), kind, time.Time{})
			w.must(err)
			want := imrest.Group{ID: kind, Type: im.GroupType(kind), VendorType: kind, Members: 252, MaxMembers: 300,
				CreateTime: testNow.AddDate(0, 0, -40), ServerTime: testNow}
			same(t, "group", want, g)
			var accounts []string
			for m, err := range client.Members(t.Context(), g) {
				w.must(err)
				accounts = append(accounts, m.Account)
			}
			wantAccounts := []string{"alice"}
			for i := 1; i <= 250; i++ {
				wantAccounts = append(wantAccounts, "u"+strconv.Itoa(i))
			}
			same(t, "members", append(wantAccounts, "bob"), accounts)
			_, err = client.DeleteMembers(t.Context(), kind, []string{"u1", "u2"},
				imrest.DeleteOptions{Silent: true, Reason: "inactive"})
			w.must(err)
			members, _, err := client.MembersNamed(t.Context(), kind, []string{"u1", "u3", "bob", "alice"}, time.Time{})
			w.must(err)
			old := testNow.AddDate(0, 0, -40)
			wantMembers := map[string]imrest.Member{
				"u3":    {Account: "u3", Role: "Member", Joined: old, LastSpoke: old, ActivityKnown: true},
				"bob":   {Account: "bob", Role: "Member", Joined: testNow.AddDate(0, 0, -3), ActivityKnown: true},
				"alice": {Account: "alice", Role: "Owner", Joined: testNow, ActivityKnown: true},
			}
			same(t, "named members", wantMembers, members)
		})
	}
	// Three seats are free; ghost does not exist, busy is in too many groups, shy has to confirm.
	_, err = w.Configure(t.Context(), func(s *emulator.Settings) {
		s.MissingAccounts, s.AskedAccounts, s.CrowdedAccounts = []string{"ghost"}, []string{"shy"}, []string{"busy"}
	})
	w.must(err)
	for _, strict := range []bool{false, true} {
		id := fmt.Sprint("add", strict)
		w.group(groupSpec{ID: id, Type: "Public", Owner: "alice", MaxMembers: 4,
			Quirks: emulator.Quirks{AddAllOrNothing: strict}})
		got, err := client.AddMembers(t.Context(), id, []string{"alice", "ghost", "a", "shy", "b", "busy"})
		want := map[string]imrest.AddResult{
			"alice": imrest.AddResultAlreadyMember, "ghost": imrest.AddResultRefused, "a": imrest.AddResultAdded,
			"shy": imrest.AddResultAwaitingConfirmation,
			"b":   imrest.AddResultAdded, "busy": imrest.AddResultGroupLimit,
		}
		if strict {
			want["ghost"] = imrest.AddResultNotFound
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("strict %t: error %v (-want,+got)\n%s", strict, err, diff)
		}
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`))
	if got, err := client.AddMembers(t.Context(), "addtrue", []string{"c"}); err != nil ||
		got["c"] != imrest.AddResultRefused {
		t.Errorf("refused: %v, %v", got, err)
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`))
	if got, err := client.AddMembers(t.Context(), "addtrue", []string{"c", "d"}); err != nil ||
		got["c"] != imrest.AddResultAdded || got["d"] != imrest.AddResultNoSeat {
		t.Errorf("one seat for two: %v, %v", got, err)
	}
	page, err := client.AppGroups(t.Context(), 0)
	w.must(err)
	same(t, "all groups", imrest.AppGroupsPage{IDs: []string{"Private", "Public", "ChatRoom", "Community", "addfalse",
		"addtrue"}}, page)
	w.group(groupSpec{ID: "live", Type: "AVChatRoom"})
	_, err = client.AddMembers(t.Context(), "live", []string{"a"})
	if imrest.ClassOf(err) != imrest.ClassUnauthorized {
		t.Errorf("adding to an AVChatRoom: %v", err)
	}
	if got, err := client.DeleteMembers(t.Context(), "live", []string{"u1"},
		imrest.DeleteOptions{}); err != nil || len(got.Refused) != 1 {
		t.Errorf("AVChatRoom: %v, %v", got, err)
	}
	if _, err := client.Group(t.Context(), "gone", time.Time{}); imrest.ClassOf(err) != imrest.ClassGroupGone {
		t.Errorf("no such group: %v", err)
	}
	config.SecretKey = "another"
	wrong, err := imrest.NewClient(config)
	w.must(err)
	if _, err := wrong.Group(t.Context(), "Public", time.Time{}); imrest.ClassOf(err) != imrest.ClassUnauthorized {
		t.Errorf("wrong key: %v", err)
	}
}
