package callback

import "testing"

func TestCommandKnown(t *testing.T) {
	for command, want := range map[Command]bool{
		CommandBeforeApplyJoin: true, CommandBeforeInviteJoin: true, CommandAfterGroupFull: true,
		"Group.CallbackBeforeCreateGroup": true, "Group.CallbackOnDailyGroupQuotaAlarm": true,
		"State.StateChange":         true,
		"C2C.CallbackBeforeSendMsg": true, "Sns.CallbackFriendAdd": true,
		"OfficialAccount.CallbackBeforeAddSubscriber": true,
		"": false, "Group.CallbackAfterFull": false, "Group.": false, "C2C.": false,
		"group.CallbackAfterGroupFull":  false,
		"Group.CallbackAfterGroupFull ": false, "Nonsense": false,
	} {
		if got := command.Known(); got != want {
			t.Errorf("%q.Known() = %t, want %t", command, got, want)
		}
	}
}

func TestCommandBeforeJoin(t *testing.T) {
	for command, want := range map[Command]bool{
		CommandBeforeApplyJoin: true, CommandBeforeInviteJoin: true, CommandAfterGroupFull: false,
		"Group.CallbackBeforeCreateGroup": false, "": false,
	} {
		if got := command.BeforeJoin(); got != want {
			t.Errorf("%q.BeforeJoin() = %t, want %t", command, got, want)
		}
	}
}
