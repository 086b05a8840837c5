package emulator_test

import (
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

func TestMemberCallsAreReported(t *testing.T) {
	var reported []emulator.MemberCall
	w := serve(t, emulator.Config{
		Apps:         []emulator.App{{SDKAppID: testApp, SecretKey: testKey}},
		Now:          func() time.Time { return testNow },
		OnMemberCall: func(c emulator.MemberCall) { reported = append(reported, c) }, // the calls below are sequential
	})
	if _, err := w.CreateGroup(t.Context(), groupSpec{
		ID: "club", Type: "Public", MaxMembers: 5, Owner: "olivia", CreatedAgo: "90d",
		Members: []memberSpec{{Accounts: []string{"ann", "bob"}, JoinedAgo: "60d", SpokeAgo: "40d"}},
	}); err != nil {
		t.Fatal(err)
	}
	calls, err := imrest.NewClient(imrest.Config{
		Endpoint: w.BaseURL, SDKAppID: testApp, AdminAccount: "administrator", SecretKey: testKey,
		Now: func() time.Time { return testNow },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := calls.MembersNamed(t.Context(), "club", []string{"ann", "nobody"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := calls.DeleteMembers(t.Context(), "club", []string{"ann", "nobody"},
		imrest.DeleteOptions{NotAfter: testNow.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := calls.AddMembers(t.Context(), "club", []string{"bob", "ann"}); err != nil {
		t.Fatal(err)
	}

	type fact struct {
		API, By string
		Size    int
		Named   []string
		Found   []emulator.Member
	}
	ann := emulator.Member{Account: "ann", Role: "Member", JoinedAt: testNow.AddDate(0, 0, -60),
		LastSpokeAt: testNow.AddDate(0, 0, -40)}
	want := []fact{
		{"get_specified_group_member_info", "administrator", 3, []string{"ann", "nobody"}, []emulator.Member{ann}},
		{"delete_group_member", "administrator", 3, []string{"ann", "nobody"}, []emulator.Member{ann}},
		{"add_group_member", "administrator", 3, []string{"ann"},
			[]emulator.Member{{Account: "ann", Role: "Member", JoinedAt: testNow}}},
	}
	var got []fact
	for _, e := range reported {
		got = append(got, fact{e.API, e.Identifier, e.Group.Members, e.Named, e.Found})
	}
	same(t, "calls", want, got)
}
