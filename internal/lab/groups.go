package lab

import "github.com/groupgate/groupgate/internal/im/emulator"

// The groups of the demo. The policies of config/samples that govern them are vip-lounge and club: the latter with mode
// Approve, inactiveFor 90d and rejoinAfter 7d.
const (
	VIPGroup  = "vip-berlin"
	VIPSeats  = 40
	ClubGroup = "club-oslo"
	ClubSeats = 60
)

// DemoGroups are VIPGroup, which has two seats left, and ClubGroup, which is full.
func DemoGroups() (vip, club emulator.GroupSpec) {
	vip = emulator.GroupSpec{
		ID: VIPGroup, Type: "Public", Owner: "olivia", MaxMembers: VIPSeats, ApplyJoinOption: "FreeAccess",
		CreatedAgo: "400d",
		Members: []emulator.MemberSpec{
			{Accounts: []string{"adam"}, Role: "Admin", InactiveFor: "200d"},
			{Prefix: "idle-", Count: 6, InactiveFor: "90d"},
			{Prefix: "busy-", Count: VIPSeats - 10, JoinedAgo: "100d", SpokeAgo: "2d"},
		},
	}
	club = emulator.GroupSpec{
		ID: ClubGroup, Type: "Public", Owner: "olivia", MaxMembers: ClubSeats, ApplyJoinOption: "FreeAccess",
		CreatedAgo: "400d",
		Members: []emulator.MemberSpec{
			{Accounts: []string{"adam"}, Role: "Admin", InactiveFor: "200d"},
			{Accounts: []string{"anna"}, JoinedAgo: "300d"},
			{Accounts: []string{"boris"}, JoinedAgo: "350d", SpokeAgo: "210d"},
			{Accounts: []string{"chen"}, JoinedAgo: "350d", SpokeAgo: "120d"},
			{Accounts: []string{"dora"}, JoinedAgo: "350d", SpokeAgo: "95d"},
			{Prefix: "busy-", Count: ClubSeats - 6, JoinedAgo: "100d", SpokeAgo: "2d"},
		},
	}
	return vip, club
}
