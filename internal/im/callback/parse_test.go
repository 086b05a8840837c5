package callback

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func apply(members string) string {
	return `{"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup",` + members + `}`
}

func invite(members string) string {
	return `{"CallbackCommand":"Group.CallbackBeforeInviteJoinGroup","GroupId":"g","Type":"Public",` + members + `}`
}

func joined(members string) string {
	return `{"CallbackCommand":"Group.CallbackAfterNewMemberJoin","GroupId":"g","Type":"Public",` + members + `}`
}

func TestParse(t *testing.T) {
	applied := Callback{Command: CommandBeforeApplyJoin, GroupID: "g", GroupType: "Public", Requestor: "jared"}
	const ids = `"GroupId":"g","Type":"Public","Requestor_Account":"jared"`
	long := strings.Repeat("é", 127) + "x" // 255 bytes
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

	cases := map[string]struct {
		body string
		want Callback
		err  string // "": readable
	}{
		"application": {body: apply(ids), want: applied},
		"command comes last": {body: `{` + ids +
			`,"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup"}`, want: applied},
		"blanks around": {body: " \r\n\t" + apply(ids) + "\n ", want: applied},
		"escaped key and value": {body: apply(`"Group\u0049d":"\u0067","Type":"Public",` +
			`"Requestor_Account":"\u006a\u0061red"`), want: applied},
		"no type": {body: apply(`"GroupId":"g","Requestor_Account":"jared"`),
			want: Callback{Command: CommandBeforeApplyJoin, GroupID: "g", Requestor: "jared"}},
		"unknown type": {body: apply(`"GroupId":"g","Type":"Hall","Requestor_Account":"jared"`),
			want: Callback{Command: CommandBeforeApplyJoin, GroupID: "g", GroupType: "Hall", Requestor: "jared"}},
		"key of another case": {body: apply(ids + `,"groupId":"other","TYPE":1`), want: applied},
		"EventTime number":    {body: apply(ids + `,"EventTime":1670574414123`), want: applied},
		"EventTime null":      {body: apply(ids + `,"EventTime":null`), want: applied},
		"EventTime repeated":  {body: apply(ids + `,"EventTime":1,"EventTime":"2"`), want: applied},
		"member that only invitations have": {body: apply(ids + `,"DestinationMembers":7,"DestinationMembers":8`),
			want: applied},
		"odd bytes in what nobody reads": {body: apply(ids + `,"ApplyMsg":"\ud800 ` + "\xff\x00\x01" + ` \q \u12"`),
			want: applied},
		"odd bytes in a key nobody reads": {body: apply(ids + `,"` + "\xff\x00" + `\ud800\q":1`), want: applied},
		"repeated in what nobody reads": {body: apply(ids + `,"Extra":{"a":1,"a":[{},[],-0.5e+3,true,false]}`),
			want: applied},
		"nested 64 deep": {body: apply(ids + `,"Extra":` + deep(64)), want: applied},
		"255 bytes": {body: apply(`"GroupId":"g","Requestor_Account":"` + long + `"`),
			want: Callback{Command: CommandBeforeApplyJoin, GroupID: "g", Requestor: long}},
		"surrogate pair": {body: apply(`"GroupId":"g","Requestor_Account":"\ud83d\ude00"`),
			want: Callback{Command: CommandBeforeApplyJoin, GroupID: "g", Requestor: "😀"}},
		"replacement character": {body: apply(`"GroupId":"g","Requestor_Account":"\ufffd` + "\ufffd" + `"`),
			want: Callback{Command: CommandBeforeApplyJoin, GroupID: "g", Requestor: "\ufffd\ufffd"}},
		"escapes that shrink to 255 bytes": {body: apply(`"GroupId":"g","Requestor_Account":"` +
			strings.Repeat(`\u0061`, 255) + `"`), want: Callback{Command: CommandBeforeApplyJoin, GroupID: "g",
			Requestor: strings.Repeat("a", 255)}},
		"all short escapes": {body: apply(`"GroupId":"g","Requestor_Account":"\"\\\/\b\f\n\r\t"`),
			want: Callback{Command: CommandBeforeApplyJoin, GroupID: "g", Requestor: "\"\\/\b\f\n\r\t"}},

		"invitation": {body: invite(`"DestinationMembers":[{"Member_Account":"a"},` +
			`{"Member_Account":"b"}]`), want: Callback{Command: CommandBeforeInviteJoin, GroupID: "g",
			GroupType: "Public", Members: []string{"a", "b"}}},
		"invited twice": {body: invite(`"DestinationMembers":[{"Member_Account":"b"},` +
			`{"Member_Account":"a"},{"Member_Account":"\u0062"}]`), want: Callback{Command: CommandBeforeInviteJoin,
			GroupID: "g", GroupType: "Public", Members: []string{"b", "a"}}},
		"more in an item": {body: invite(`"DestinationMembers":[{"x":{"Member_Account":1},` +
			`"Member\u005fAccount":"a","x":"` + "\xff" + `"}]`), want: Callback{Command: CommandBeforeInviteJoin,
			GroupID: "g", GroupType: "Public", Members: []string{"a"}}},
		"operator": {body: invite(`"DestinationMembers":[{"Member_Account":"a"}],` +
			`"Operator\u005fAccount":"\u0061dministrator"`), want: Callback{Command: CommandBeforeInviteJoin,
			GroupID: "g", GroupType: "Public", Operator: "administrator", Members: []string{"a"}}},
		"Requestor of an invitation": {body: invite(`"Requestor_Account":1,` +
			`"DestinationMembers":[{"Member_Account":"a"}]`), want: Callback{Command: CommandBeforeInviteJoin,
			GroupID: "g", GroupType: "Public", Members: []string{"a"}}},

		"group full": {body: `{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"g",` +
			`"Type":1,"Type":2,"TopicId":"g@TOPIC#_t"}`, want: Callback{Command: CommandAfterGroupFull, GroupID: "g"}},
		"new members": {body: joined(`"NewMemberList":[{"Member_Account":"a"},{"Member_Account":"b"}],` +
			`"JoinType":"Invited","Operator_Account":"inviter","DestinationMembers":7`),
			want: Callback{Command: CommandAfterJoin, GroupID: "g", GroupType: "Public", Operator: "inviter",
				JoinType: JoinTypeInvited, Members: []string{"a", "b"}}},
		"new member, JoinType and Operator cannot be read": {body: joined(`"NewMemberList":[{"Member_Account":"a"}],` +
			`"JoinType":1,"Operator_Account":"x","Operator_Account":"y"`),
			want: Callback{Command: CommandAfterJoin, GroupID: "g", GroupType: "Public", Members: []string{"a"}}},
		"new group": {body: `{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"g","Type":"Work",` +
			`"Owner_Account":"leckie","Operator_Account":"x","MemberList":[{"Member_Account":"a"}]}`,
			want: Callback{Command: CommandAfterCreate, GroupID: "g", GroupType: "Work", Owner: "leckie",
				Members: []string{"a"}}},
		"new group without members": {body: `{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"g"}`,
			want: Callback{Command: CommandAfterCreate, GroupID: "g"}},
		"new group with an empty list": {body: `{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"g",` +
			`"MemberList":[]}`, want: Callback{Command: CommandAfterCreate, GroupID: "g", Members: []string{}}},
		"other command": {body: `{"GroupId":1,"GroupId":"","CallbackCommand":"C2C.CallbackAfterSendMsg"}`,
			want: Callback{Command: "C2C.CallbackAfterSendMsg"}},
		"command that no one knows": {body: `{"CallbackCommand":"x"}`, want: Callback{Command: "x"}},

		"no new members": {body: joined(`"NewMemberList":[]`), want: Callback{Command: CommandAfterJoin},
			err: "NewMemberList is empty"},
		"new members absent": {body: joined(`"MemberList":[{"Member_Account":"a"}]`),
			want: Callback{Command: CommandAfterJoin}, err: "no NewMemberList"},
		"new member without an account": {body: joined(`"NewMemberList":[{}]`),
			want: Callback{Command: CommandAfterJoin}, err: "an item of NewMemberList has no Member_Account"},
		"members of a new group twice": {body: `{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"g",` +
			`"MemberList":[],"MemberList":[]}`, want: Callback{Command: CommandAfterCreate},
			err: "MemberList is given more than once"},
		"members of a new group null": {body: `{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"g",` +
			`"MemberList":null}`, want: Callback{Command: CommandAfterCreate}, err: "no array"},

		"nothing":         {body: ``, err: "no object"},
		"blank":           {body: ` `, err: "no object"},
		"byte order mark": {body: "\ufeff" + apply(ids), err: "no object"},
		"array":           {body: `[` + apply(ids) + `]`, err: "no object"},
		"no command":      {body: `{"GroupId":"g"}`, err: "no CallbackCommand"},
		"empty object":    {body: `{}`, err: "no CallbackCommand"},
		"command null": {body: `{"CallbackCommand":null}`,
			err: "CallbackCommand is not a usable string"},
		"command empty": {body: `{"CallbackCommand":""}`, err: "CallbackCommand is not a usable string"},
		"command too long": {body: `{"CallbackCommand":"` + strings.Repeat("x", 256) + `"}`,
			err: "CallbackCommand is not a usable string"},
		"command with NUL": {body: `{"CallbackCommand":"Group.CallbackAfterGroupFull\u0000","GroupId":"g"}`,
			err: "CallbackCommand is not a usable string"},
		"data after": {body: apply(ids) + `x`, want: Callback{Command: CommandBeforeApplyJoin},
			err: "data after the object"},
		"second object after": {body: apply(ids) + apply(ids), want: Callback{Command: CommandBeforeApplyJoin},
			err: "data after the object"},
		"NUL after": {body: apply(ids) + "\x00", want: Callback{Command: CommandBeforeApplyJoin},
			err: "data after the object"},
		"breaks off": {body: `{"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup",`,
			want: Callback{Command: CommandBeforeApplyJoin}, err: "no key"},
		"breaks off in the command": {body: `{"CallbackCommand":"Group.CallbackBeforeApplyJoinGr`,
			err: "string without an end"},
		"ends in an escape": {body: `{"CallbackCommand":"x","a":"\`, want: Callback{Command: "x"},
			err: "string without an end"},
		"no closing bracket": {body: strings.TrimSuffix(apply(ids), "}"),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "no comma and no closing bracket"},
		"comma too many": {body: apply(ids + ","), want: Callback{Command: CommandBeforeApplyJoin},
			err: "no key"},
		"no colon": {body: apply(ids + `,"a" 1`), want: Callback{Command: CommandBeforeApplyJoin},
			err: "no colon"},
		"key without quotes": {body: apply(ids + `,a:1`), want: Callback{Command: CommandBeforeApplyJoin},
			err: "no key"},
		"wrong bracket": {body: apply(ids + `,"a":[1}`), want: Callback{Command: CommandBeforeApplyJoin},
			err: "no comma and no closing bracket"},
		"nested 65 deep": {body: apply(ids + `,"Extra":` + deep(65)),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "nested too deep"},
		"other command, broken later": {body: `{"CallbackCommand":"x","a":tru}`, want: Callback{Command: "x"},
			err: "no value"},

		"repeated requestor": {body: apply(ids + `,"Requestor_Account":"mallory"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "Requestor_Account is given more than once"},
		"repeated with escapes": {body: apply(ids + `,"Requestor\u005fAccount":"jared"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "Requestor_Account is given more than once"},
		"repeated group": {body: apply(ids + `,"GroupId":"g"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "GroupId is given more than once"},
		"repeated type": {body: apply(ids + `,"Type":"Public"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "Type is given more than once"},
		"repeated command": {body: apply(ids +
			`,"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup"`), want: Callback{Command: CommandBeforeApplyJoin},
			err: "CallbackCommand is given more than once"},
		"other command repeated": {body: `{"CallbackCommand":"x","CallbackCommand":"y"}`,
			want: Callback{Command: "x"}, err: "CallbackCommand is given more than once"},
		"a command before a join wins": {body: `{"CallbackCommand":"Group.CallbackAfterGroupFull",` +
			`"CallbackCommand":"Group.CallbackBeforeInviteJoinGroup","GroupId":"g"}`,
			want: Callback{Command: CommandBeforeInviteJoin}, err: "CallbackCommand is given more than once"},
		"a command after a join does not": {body: apply(ids +
			`,"CallbackCommand":"Group.CallbackAfterGroupFull"`), want: Callback{Command: CommandBeforeApplyJoin},
			err: "CallbackCommand is given more than once"},
		"a command after one that is no string": {body: `{"CallbackCommand":1,` +
			`"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup"}`, want: Callback{Command: CommandBeforeApplyJoin},
			err: "CallbackCommand is given more than once"},

		"no group": {body: apply(`"Requestor_Account":"jared"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "no GroupId"},
		"no requestor": {body: apply(`"GroupId":"g"`), want: Callback{Command: CommandBeforeApplyJoin},
			err: "no Requestor_Account"},
		"full, no group": {body: `{"CallbackCommand":"Group.CallbackAfterGroupFull"}`,
			want: Callback{Command: CommandAfterGroupFull}, err: "no GroupId"},
		"full, group twice": {body: `{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"g","GroupId":"g"}`,
			want: Callback{Command: CommandAfterGroupFull}, err: "GroupId is given more than once"},
		"group a number": {body: apply(`"GroupId":1,"Requestor_Account":"jared"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "GroupId is not a string"},
		"type null": {body: apply(`"GroupId":"g","Type":null,"Requestor_Account":"jared"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "Type is not a string"},
		"type empty": {body: apply(`"GroupId":"g","Type":"","Requestor_Account":"jared"`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "Type is empty"},
		"requestor list": {body: apply(`"GroupId":"g","Requestor_Account":["jared"]`),
			want: Callback{Command: CommandBeforeApplyJoin}, err: "Requestor_Account is not a string"},

		"no destinations": {body: invite(`"a":1`), want: Callback{Command: CommandBeforeInviteJoin},
			err: "no DestinationMembers"},
		"destinations empty": {body: invite(`"DestinationMembers":[ ]`),
			want: Callback{Command: CommandBeforeInviteJoin}, err: "DestinationMembers is empty"},
		"destinations twice": {body: invite(`"DestinationMembers":[{"Member_Account":"a"}],` +
			`"DestinationMembers":[{"Member_Account":"a"}]`), want: Callback{Command: CommandBeforeInviteJoin},
			err: "DestinationMembers is given more than once"},
		"destinations an object": {body: invite(`"DestinationMembers":{"Member_Account":"a"}`),
			want: Callback{Command: CommandBeforeInviteJoin}, err: "no array"},
		"destination a string": {body: invite(`"DestinationMembers":["a"]`),
			want: Callback{Command: CommandBeforeInviteJoin}, err: "no object"},
		"destination without account": {body: invite(`"DestinationMembers":[{"Member_Account":"a"},{}]`),
			want: Callback{Command: CommandBeforeInviteJoin}, err: "no Member_Account"},
		"account twice in destination": {body: invite(`"DestinationMembers":[{"Member_Account":"a",` +
			`"Member_Account":"a"}]`), want: Callback{Command: CommandBeforeInviteJoin},
			err: "Member_Account is given more than once"},
		"account a number": {body: invite(`"DestinationMembers":[{"Member_Account":1}]`),
			want: Callback{Command: CommandBeforeInviteJoin}, err: "Member_Account is not a string"},
		"account empty": {body: invite(`"DestinationMembers":[{"Member_Account":""}]`),
			want: Callback{Command: CommandBeforeInviteJoin}, err: "Member_Account is empty"},
		"account with half a pair": {body: invite(`"DestinationMembers":[{"Member_Account":"\ude00"}]`),
			want: Callback{Command: CommandBeforeInviteJoin}, err: "Member_Account is not a valid string"},
	}
	// An unreadable operator only loses an exemption.
	for name, operator := range map[string]string{
		"repeated":           `"administrator","Operator_Account":"administrator"`,
		"two of them":        `"administrator","Operator_Account":"mallory"`,
		"twice with escapes": `"administrator","Operator\u005fAccount":"mallory"`,
		"null":               `null`, "a number": `1`, "a list": `["administrator"]`,
		"an object": `{"Operator_Account":"administrator"}`, "empty": `""`, "with NUL": `"administrator\u0000"`,
		"not UTF-8": "\"administrator\xff\"", "half a pair": `"administrator\ud800"`, "too long": `"` +
			strings.Repeat("x", 256) + `"`,
	} {
		cases["operator: "+name] = struct {
			body string
			want Callback
			err  string
		}{invite(`"Operator_Account":` + operator + `,"DestinationMembers":[{"Member_Account":"a"}]`),
			Callback{Command: CommandBeforeInviteJoin, GroupID: "g", GroupType: "Public", Members: []string{"a"}}, ""}
	}
	cases["operator of an application"] = struct {
		body string
		want Callback
		err  string
	}{apply(ids + `,"Operator_Account":"administrator"`), applied, ""}
	cases["operator in another case"] = struct {
		body string
		want Callback
		err  string
	}{invite(`"operator_account":"administrator","DestinationMembers":[{"Member_Account":"a"}]`),
		Callback{Command: CommandBeforeInviteJoin, GroupID: "g", GroupType: "Public", Members: []string{"a"}}, ""}
	for name, bad := range map[string]string{
		"NUL": `a\u0000`, "raw NUL": "a\x00", "raw control": "a\n", "raw control beside an escape": "\\u0061\x1f",
		"not UTF-8": "a\xff", "not UTF-8 beside an escape": "\\u0061\xff",
		"surrogate in UTF-8": "\xed\xa0\x80", "half a pair": `\ud800`, "half a pair before text": `\ud800abcdef`,
		"two high halves": `\ud800\ud800`,
		"low half first":  `\udc00\ud800`, "unknown escape": `\q`, "short escape": `\u12`, "escape of no hex": `\u00zz`,
		"half a pair before a short escape": `\ud800\u12`,
	} {
		cases["requestor: "+name] = struct {
			body string
			want Callback
			err  string
		}{apply(`"GroupId":"g","Requestor_Account":"` + bad + `"`), Callback{Command: CommandBeforeApplyJoin},
			"Requestor_Account is not a valid string"}
	}
	for name, bad := range map[string]string{
		"256 bytes": strings.Repeat("x", 256), "escapes of 256 bytes": strings.Repeat(`\u0061`, 256),
		"256 bytes of wide letters": `\u0061` + strings.Repeat("é", 128),
	} {
		cases["group: "+name] = struct {
			body string
			want Callback
			err  string
		}{`{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"` + bad + `"}`,
			Callback{Command: CommandAfterGroupFull}, "GroupId has more than 255 bytes"}
	}
	for _, bad := range []string{"", "01", "-", "-a", "1.", ".5", "1e", "1e+", "+1", "0x1", "tru", "True", "nul", "NaN",
		"'a'", "[1,]", "[,1]", "[1 2]", "{,}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{1:1}`, "]", "/*c*/1", "[1}"} {
		cases["skipped value "+bad] = struct {
			body string
			want Callback
			err  string
		}{apply(ids + `,"x":` + bad), Callback{Command: CommandBeforeApplyJoin}, "at byte"}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(tc.body))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Parse(%q): -want, +got:\n%s", tc.body, diff)
			}
			if tc.err == "" {
				if err != nil {
					t.Errorf("Parse(%q): %v", tc.body, err)
				}
				return
			}
			if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("Parse(%q): got error %v, want one that is ErrUnreadable and says %q", tc.body, err, tc.err)
			}
			if want := tc.err == "no CallbackCommand"; errors.Is(err, ErrNoCommand) != want {
				t.Errorf("Parse(%q): errors.Is(%v, ErrNoCommand) should be %t", tc.body, err, want)
			}
		})
	}
}

func TestParseManyInvited(t *testing.T) {
	var list []string
	var want []string
	for i := range 400 {
		account := fmt.Sprintf("u%d", i%150)
		list = append(list, `{"Member_Account":"`+account+`"}`)
		if i < 150 {
			want = append(want, account)
		}
	}
	got, err := Parse([]byte(invite(`"DestinationMembers":[` + strings.Join(list, ",") + `]`)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Members); diff != "" {
		t.Errorf("Members: -want, +got:\n%s", diff)
	}
}

func TestParseDocumentedBodies(t *testing.T) {
	raw, err := os.ReadFile("testdata/callbacks.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Name, Query, Body, Effect string }
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, tc := range cases {
		got, err := Parse([]byte(tc.Body))
		unreadable := tc.Effect == "counted as unreadable" || tc.Body == "{"
		if (err != nil) != unreadable {
			t.Errorf("%s: error %v, want one: %t", tc.Name, err, unreadable)
		}
		if command := ParseQuery(tc.Query).CommandText; tc.Body != "{" && string(got.Command) != command {
			t.Errorf("%s: command %q, want %q", tc.Name, got.Command, command)
		}
	}
}

// The work for the largest body is bounded, whatever is in it.
func TestParseBoundedWork(t *testing.T) {
	fill := func(part string) string { return strings.Repeat(part, (1<<20)/len(part)) }
	for name, body := range map[string]string{
		"nesting":          apply(`"x":` + fill("[")),
		"repeated command": `{` + fill(`"CallbackCommand":"x",`) + `"x":1}`,
		"escaped keys":     `{` + fill(`"\u0043":1,`) + `"x":1}`,
		"one long text":    apply(`"GroupId":"` + fill(`\u0061`) + `"`),
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(body)
			// An escaped key costs one small allocation.
			if got := testing.AllocsPerRun(1, func() { _, _ = Parse(body) }); got > 100_000 {
				t.Errorf("%v allocations for a body of %d bytes", got, len(body))
			}
		})
	}
}

func TestParseAllocations(t *testing.T) {
	const group = `"GroupId":"@TGS#2J4SZEAEL","Type":"Public"`
	for name, tc := range map[string]struct {
		body string
		most float64
	}{
		"an application": {apply(group + `,"Requestor_Account":"jared","ApplyMsg":"hi",` +
			`"EventTime":"1670574414123"`), 1},
		"an unknown type": {apply(`"GroupId":"g","Type":"Hall","Requestor_Account":"jared"`), 2},
		"an invitation": {invite(`"Operator_Account":"leckie","DestinationMembers":[{"Member_Account":"tommy"},` +
			`{"Member_Account":"jared"}]`), 2},
		"a full group": {`{"CallbackCommand":"Group.CallbackAfterGroupFull",` + group + `}`, 1},
		"another command": {`{"CallbackCommand":"C2C.CallbackAfterSendMsg","MsgBody":[{"MsgType":"TIMTextElem"}]}`,
			1},
		"data after the end": {apply(group) + "x", 1},
	} {
		body := []byte(tc.body)
		if got := testing.AllocsPerRun(100, func() { _, _ = Parse(body) }); got > tc.most {
			t.Errorf("%v allocations for %s, want at most %v", got, name, tc.most)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	body := []byte(apply(`"GroupId":"@TGS#2J4SZEAEL","Type":"Public","Requestor_Account":"jared","ApplyMsg":"hi",` +
		`"EventTime":"1670574414123"`))
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}
