package emulator_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

func TestWitness(t *testing.T) {
	var told []emulator.Testimony
	em := emulator.New(emulator.Config{
		Apps:    []emulator.App{{SDKAppID: testApp, SecretKey: testKey}},
		Now:     func() time.Time { return testNow },
		Witness: func(e emulator.Testimony) { told = append(told, e) }, // calls come one after the other here
	})
	srv := httptest.NewServer(em)
	t.Cleanup(func() {
		srv.Close()
		if err := em.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	world := emulator.Client{BaseURL: srv.URL}
	if _, err := world.CreateGroup(t.Context(), emulator.GroupSpec{
		ID: "club", Type: "Public", MaxMembers: 5, Owner: "olivia", CreatedAgo: "90d",
		Members: []emulator.MemberSpec{{Accounts: []string{"ann", "bob"}, JoinedAgo: "60d", SpokeAgo: "40d"}},
	}); err != nil {
		t.Fatal(err)
	}
	calls, err := imrest.NewClient(imrest.Config{
		Endpoint: srv.URL, SDKAppID: testApp, AdminAccount: "administrator", SecretKey: testKey, Now: func() time.Time { return testNow },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := calls.MembersNamed(t.Context(), "club", []string{"ann", "nobody"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := calls.DeleteMembers(t.Context(), "club", []string{"ann", "nobody"}, imrest.DeleteOptions{NotAfter: testNow.Add(time.Hour)}); err != nil {
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
	ann := emulator.Member{Account: "ann", Role: "Member", JoinedAt: testNow.AddDate(0, 0, -60), LastSpokeAt: testNow.AddDate(0, 0, -40)}
	want := []fact{
		{"get_specified_group_member_info", "administrator", 3, []string{"ann", "nobody"}, []emulator.Member{ann}},
		{"delete_group_member", "administrator", 3, []string{"ann", "nobody"}, []emulator.Member{ann}},
		{"add_group_member", "administrator", 3, []string{"ann"}, []emulator.Member{{Account: "ann", Role: "Member", JoinedAt: testNow}}},
	}
	var got []fact
	for _, e := range told {
		got = append(got, fact{e.API, e.Identifier, e.Group.Members, e.Named, e.Found})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
