package im

import "testing"

func TestGroupType(t *testing.T) {
	for vendor, want := range map[string]string{
		"Work": "Work", "Private": "Work", "Public": "Public", "Meeting": "Meeting", "ChatRoom": "Meeting",
		"AVChatRoom": "AVChatRoom", "Live": "AVChatRoom", "BChatRoom": "AVChatRoom", "Community": "Community",
		"": "", "public": "", "Hall": "", "Public ": "",
	} {
		if got := GroupType(vendor); got != want {
			t.Errorf("GroupType(%q) = %q, want %q", vendor, got, want)
		}
	}
}
