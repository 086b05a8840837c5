package emulator

import "strings"

// groupType determines the permissions in a group (page 33529).
type groupType uint8

const (
	typeWork groupType = iota + 1
	typePublic
	typeMeeting
	typeAVChatRoom
	typeCommunity
)

// parseGroupType parses the current or the old name of a type: the REST API accepts both.
func parseGroupType(name string) (groupType, bool) {
	switch name {
	case "Work", "Private":
		return typeWork, true
	case "Public":
		return typePublic, true
	case "Meeting", "ChatRoom":
		return typeMeeting, true
	case "AVChatRoom":
		return typeAVChatRoom, true
	case "Community":
		return typeCommunity, true
	default:
		return 0, false
	}
}

const groupTypeNames = "Work (or Private), Public, Meeting (or ChatRoom), AVChatRoom, Community"

// ceiling is the largest MaxMemberNum of the vendor's largest edition, and the default of a group. 0: without limit.
func (t groupType) ceiling() int {
	switch t {
	case typeAVChatRoom:
		return 0
	case typeCommunity:
		return 1_000_000
	default:
		return 6_000
	}
}

// membersInvite reports whether members may invite others from a client. In other types only the app admin can, over
// REST.
func (t groupType) membersInvite() bool { return t == typeWork || t == typeCommunity }

// joinOption is the default ApplyJoinOption.
func (t groupType) joinOption() string {
	switch t {
	case typeWork:
		return disableApply
	case typePublic:
		return needPermission
	default:
		return freeAccess
	}
}

// The values of ApplyJoinOption.
const (
	freeAccess     = "FreeAccess"
	needPermission = "NeedPermission"
	disableApply   = "DisableApply"
)

// checkGroupID checks an id that the app has chosen, and returns what is wrong with it, or nothing.
func checkGroupID(id string, t groupType) string {
	switch {
	case id == "" || len(id) > 48:
		return "the GroupId must have 1 to 48 bytes"
	case strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		return "the GroupId must be printable ASCII"
	case strings.HasPrefix(id, "@TGS#") && t != typeCommunity:
		return "the GroupId must not begin with @TGS#, which is for generated ids"
	default:
		return ""
	}
}

// validAccount checks the vendor's limit for a UserID. It does not restrict the characters: the pages disagree about
// them.
func validAccount(account string) bool { return account != "" && len(account) <= 32 }
