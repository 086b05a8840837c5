package memberfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/policy"
)

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestMembersOfEveryForm(t *testing.T) {
	days := func(n int) time.Time { return at.AddDate(0, 0, n) }
	want := []policy.Member{
		{Account: "anna", Role: policy.RoleOwner, Joined: days(-400), LastSpoke: days(-1), ActivityKnown: true},
		{Account: "bob", Role: policy.RoleMember, Joined: days(-10), ActivityKnown: true, MuteUntil: days(7)},
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"m.csv": "account,role,joined,lastSpoke,muteUntil\r\nanna,Owner,400d,2026-11-20T12:00:00Z,\r\n" +
			"bob,,10d,,2026-11-28T12:00:00Z\r\n",
		"bom.csv": "\ufeffaccount,lastSpoke,joined,role,muteUntil\nanna,24h,400d,Owner,\nbob,,10d,Member,7d\n",
		"m.yaml": "- {account: anna, role: Owner, joined: 400d, lastSpoke: 1d}\n" +
			"- {account: bob, joined: \"2026-11-11T12:00:00Z\", muteUntil: 7d}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := List{File: name}
		got, err := l.Read(func(name string) string { return filepath.Join(dir, name) }, at)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", name, diff)
		}
	}
}

func TestMembersThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for want, text := range map[string]string{
		`m.csv:1: column "seen" is not known: use account, role`: "account,seen\nanna,1d\n",
		`m.csv:3: role is "admin": use Owner, Admin or Member`:   "account,role\nanna,Admin\nbob,admin\n",
		`m.csv:2: joined: "yesterday" is no time`:                "account,joined\nanna,yesterday\n",
		"m.csv:2: the account is missing":                        "account,role\n,Admin\n",
		"wrong number of fields":                                 "account,role\nanna\n",
		"is empty: the first line names the columns":             "",
	} {
		if err := os.WriteFile(filepath.Join(dir, "m.csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read(filepath.Join(dir, "m.csv"), nil, at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

const (
	first = `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":3,"MemberList":[` +
		`{"Member_Account":"anna","Role":"Owner","JoinTime":1700000000,"LastSendMsgTime":0,"MuteUntil":0},` +
		`{"Member_Account":"bob","Role":"Member ","JoinTime":1700000000,"LastSendMsgTime":1700000060}]}`
	second = `{"ActionStatus":"OK","ErrorCode":0,"MemberNum":3,"MemberList":[` +
		`{"Member_Account":"bob","Role":"Member"},{"Member_Account":"eve","Role":"Robot"},` +
		`{"Member_Account":"gone","Role":"NotMember"}]}`
)

func TestAnswersOfTheVendor(t *testing.T) {
	joined := time.Unix(1700000000, 0).UTC()
	anna := policy.Member{Account: "anna", Role: policy.RoleOwner, Joined: joined, ActivityKnown: true}
	bob := policy.Member{
		Account: "bob", Role: policy.RoleMember, Joined: joined, LastSpoke: joined.Add(time.Minute),
		ActivityKnown: true,
	}
	again := policy.Member{Account: "bob", Role: policy.RoleMember}
	eve := policy.Member{Account: "eve"}
	for name, tc := range map[string]struct {
		text, note string
		want       []policy.Member
	}{
		"two pages": {text: first + "\n" + second, want: []policy.Member{anna, bob, again, eve}},
		"one of them": {
			text: first, want: []policy.Member{anna, bob}, note: "- has 2 of the 3 members of the group",
		},
		"a page of a community": {
			text: strings.Replace(second, `"MemberNum":3`, `"Next":"3"`, 1), want: []policy.Member{again, eve},
			note: "the last answer of - says that more members follow",
		},
	} {
		got, note, err := Read(Stdin, strings.NewReader(tc.text), at)
		if err != nil || note != tc.note {
			t.Errorf("%s: note %q, want %q, error %v", name, note, tc.note, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", name, diff)
		}
	}
}

func TestAnswersThatAreNoLists(t *testing.T) {
	for text, want := range map[string]string{
		`{"ActionStatus":"FAIL","ErrorCode":10010,"ErrorInfo":"no such group"}`: "10010",
		`{"ActionStatus":"OK","ErrorCode":0}`:                                   "it has no MemberList",
		`{"members":[{"account":"anna"}]}`:                                      "it has no ErrorCode",
		first + `{"ActionStatus":`:                                              "answer 2 is not JSON",
	} {
		if _, _, err := Read(Stdin, strings.NewReader(text), at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestTheStandardInputMayHaveAnyForm(t *testing.T) {
	for _, text := range []string{"account\nanna\n", "[{account: anna}]", `[{"account":"anna"}]`} {
		got, _, err := Read(Stdin, strings.NewReader(text), at)
		if err != nil || len(got) != 1 || got[0].Account != "anna" {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}
