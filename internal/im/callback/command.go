package callback

import "strings"

// Command is the CallbackCommand of a callback: what happened.
type Command string

// The commands that Groupgate acts on. Others are answered and otherwise ignored.
const (
	// CommandBeforeApplyJoin asks whether a user who applied may join (page 34370).
	CommandBeforeApplyJoin Command = "Group.CallbackBeforeApplyJoinGroup"
	// CommandBeforeInviteJoin asks which of the invited users may join, also when an app adds them over REST (page
	// 34371).
	CommandBeforeInviteJoin Command = "Group.CallbackBeforeInviteJoinGroup"
	// CommandAfterGroupFull reports that a group has become full, or that a user could not join because it is full
	// (page 34376).
	CommandAfterGroupFull Command = "Group.CallbackAfterGroupFull"
	// CommandAfterJoin reports the new members of a group (page 34372), also after a callback without an answer.
	CommandAfterJoin Command = "Group.CallbackAfterNewMemberJoin"
	// CommandAfterCreate reports a new group, with the members that it was created with, for whom no callback asks
	// (page 34369).
	CommandAfterCreate Command = "Group.CallbackAfterCreateGroup"
)

// CommandCheck is none of the vendor's: `groupgate check` asks by it whether a callback URL leads to Groupgate, and
// whether a token is right. It stands in the query.
const CommandCheck Command = "Groupgate.Check"

// BeforeJoin reports whether the answer to the command decides on a join, so that without an answer the user gets in.
func (c Command) BeforeJoin() bool {
	return c == CommandBeforeApplyJoin || c == CommandBeforeInviteJoin
}

// Known reports whether the vendor documents the command (page 34355), or at least the family that it belongs to.
func (c Command) Known() bool {
	switch c {
	case CommandBeforeApplyJoin, CommandBeforeInviteJoin, CommandAfterGroupFull, CommandAfterJoin, CommandAfterCreate,
		"Group.CallbackBeforeCreateGroup", "Group.CallbackAfterMemberExit",
		"Group.CallbackBeforeSendMsg", "Group.CallbackAfterSendMsg",
		"Group.CallbackAfterGroupDestroyed", "Group.CallbackAfterGroupInfoChanged",
		"Group.CallbackOnMemberStateChange", "Group.CallbackSendMsgException", "Group.CallbackAfterRecallMsg",
		"Group.CallbackBeforeCreateTopic", "Group.CallbackAfterCreateTopic",
		"Group.CallbackAfterTopicDestroyed", "Group.CallbackAfterTopicInfoChanged",
		"Group.CallbackAfterMemberFieldChanged", "Group.CallbackAfterGroupAttrChanged",
		"Group.CallbackAfterReadReceipt", "Group.CallbackAfterChangeGroupOwner", "Group.CallbackOnDailyGroupQuotaAlarm",
		"State.StateChange", "ContentCallback.ResultNotify", "Alert.RequestOverLimit":
		return true
	}
	// These families are documented command by command on pages that change often; none of them is about groups.
	for _, family := range [...]string{"Profile.", "Sns.", "Follow.", "C2C.", "OfficialAccount."} {
		if len(c) > len(family) && strings.HasPrefix(string(c), family) {
			return true
		}
	}
	return false
}
