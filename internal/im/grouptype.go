package im

// The group types by their current names (page 33529), as GroupType returns them.
const (
	TypeWork       = "Work"
	TypePublic     = "Public"
	TypeMeeting    = "Meeting"
	TypeAVChatRoom = "AVChatRoom"
	TypeCommunity  = "Community"
)

// GroupType gives a group type its current name: callbacks and REST answers also use the older names Private, ChatRoom,
// Live and BChatRoom. A word that is absent or unknown gives "".
func GroupType(vendor string) string {
	switch vendor {
	case TypeWork, "Private":
		return TypeWork
	case TypePublic:
		return TypePublic
	case TypeMeeting, "ChatRoom":
		return TypeMeeting
	case TypeAVChatRoom, "Live", "BChatRoom":
		return TypeAVChatRoom
	case TypeCommunity:
		return TypeCommunity
	}
	return ""
}
