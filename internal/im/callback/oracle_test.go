package callback

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// FuzzParseAgainstEncodingJSON compares Parse with an oracle that leaves JSON to encoding/json. Both accept the same
// bodies with the same result, and the reason for which Parse refuses a body is among the oracle's.
//
// The oracle makes up for the differences of encoding/json, which
//   - checks strings that no command needs (control characters, invalid escapes): the oracle replaces them first;
//   - takes the last of repeated fields, and keys in any case: the oracle cuts out the fields itself, and compares
//     their keys;
//   - replaces invalid UTF-8 and half a surrogate pair by U+FFFD, and allows NUL: the oracle searches for them;
//   - allows 10,000 levels of nesting: the oracle counts.
func FuzzParseAgainstEncodingJSON(f *testing.F) {
	raw, err := os.ReadFile("testdata/callbacks.json")
	if err != nil {
		f.Fatal(err)
	}
	var cases []struct{ Body string }
	if err := json.Unmarshal(raw, &cases); err != nil {
		f.Fatal(err)
	}
	for _, tc := range cases {
		f.Add([]byte(tc.Body))
	}
	const ids = `"GroupId":"g","Type":"Public","Requestor_Account":"jared"`
	for _, body := range []string{
		invite(`"x":[{"a":[1,-2.5e3,null]},"\ud800` + "\x01" + `\q"],"DestinationMembers":[{"Member_Account":"a",` +
			`"y":{}},{"Member\u005fAccount":"\ud83d\ude00"}]`),
		invite(`"Operator_Account":"administrator","Operator\u005fAccount":"x",` +
			`"DestinationMembers":[{"Member_Account":"a"}]`),
		invite(`"DestinationMembers":[{"Member_Account":"a","Member_Account":"a"},{},{"Member_Account":""},"x"]`),
		apply(`"Group\u0049d":"g","Requestor_Account":"a\u0000"`),
		apply(ids + `,"GROUPID":"other","requestor_account":1,"CallbackCommand":"C2C.CallbackAfterSendMsg"`),
		apply(ids + `,"x":` + strings.Repeat(`[{"":`, 32) + "0" + strings.Repeat(`}]`, 32)),
		apply(ids + `,"x":` + strings.Repeat(`[`, 65) + strings.Repeat(`]`, 65)),
		apply(ids+`,"a":"\\","b":"\"","c":"`+"seven77\\\"eight888"+`"`) + " \r\n\t",
		apply(ids) + "\x00",
		apply(`"GroupId":"` + strings.Repeat(`\u0061`, 255) + `","Requestor_Account":"` + strings.Repeat("é", 128) +
			`"`),
		"\ufeff" + apply(ids), `[` + apply(ids) + `]`, `{"CallbackCommand":null}`, ``,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { agreesWithOracle(t, body) })
}

// TestParseAgainstEncodingJSON does the same with bodies that are nearly valid, which random bytes rarely are.
func TestParseAgainstEncodingJSON(t *testing.T) {
	blank := rapid.SampledFrom([]string{"", "", "", " ", "\r\n\t "})
	text := rapid.SampledFrom([]string{
		`"g"`, `"jared"`, `"Public"`, `"@TGS#2J4SZEAEL"`, `"exactly8"`, `"seven77"`, `"é\u00e9"`, `"\ud83d\ude00"`,
		`"a\\"`, `"a\"b,]}"`, `"1234567\"9"`,
		`""`, `"\ud800"`, `"\u0000"`, "\"a\x00\"", "\"a\xff\"", "\"1234567\x1f\"", `"\q"`, `"` + strings.Repeat("x",
			255) + `"`, `"` + strings.Repeat("é", 128) + `"`,
	})
	value := rapid.OneOf(text, text, rapid.SampledFrom([]string{
		`null`, `true`, `-0.5e+3`, `01`, `[]`, `{}`, `[1,{"GroupId":"x"},[[]]]`, `{"a":{"b":[null]}}`, `[1,]`, `tru`,
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat(`{"":`, maxDepth+1) + "1" +
			strings.Repeat("}", maxDepth+1),
	}))
	pair := func(t *rapid.T, keys []string, value *rapid.Generator[string]) string {
		return blank.Draw(t, "blank") + rapid.SampledFrom(keys).Draw(t, "key") + blank.Draw(t, "blank") + ":" +
			blank.Draw(t, "blank") + value.Draw(t, "value") + blank.Draw(t, "blank")
	}
	item := rapid.Custom(func(t *rapid.T) string {
		keys := []string{`"Member_Account"`, `"Member_Account"`, `"x"`, `"Member\u005fAccount"`, `"member_account"`}
		var pairs []string
		for range rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2}).Draw(t, "pairs") {
			pairs = append(pairs, pair(t, keys, text))
		}
		return "{" + strings.Join(pairs, ",") + "}"
	})
	destinations := rapid.Custom(func(t *rapid.T) string {
		items := rapid.SliceOfN(item, 0, 30).Draw(t, "items")
		return "[" + blank.Draw(t, "blank") + strings.Join(items, ",") + "]"
	})
	rapid.Check(t, func(t *rapid.T) {
		command := rapid.SampledFrom([]string{
			string(CommandBeforeApplyJoin), string(CommandBeforeInviteJoin), string(CommandAfterGroupFull),
			string(CommandAfterJoin), string(CommandAfterCreate),
			"C2C.CallbackAfterSendMsg", `Group.Callback\u0041fterGroupFull`,
		}).Draw(t, "command")
		pairs := []string{`"CallbackCommand":"` + command + `"`, `"GroupId":` + text.Draw(t, "group"),
			`"Requestor_Account":` + text.Draw(t, "requestor"), `"DestinationMembers":` + destinations.Draw(t,
				"destinations"), `"NewMemberList":` + destinations.Draw(t, "joined")}
		keys := []string{
			`"x"`, `"x"`, `"Type"`, `"Type"`, `"Operator_Account"`, `"GroupId"`, `"groupid"`, `"Group\u0049d"`,
			`"Requestor_Account"`, `"CallbackCommand"`, `"DestinationMembers"`, "\"\xff\\q\"", `"NewMemberList"`,
			`"MemberList"`, `"JoinType"`, `"Owner_Account"`,
		}
		if rapid.Bool().Draw(t, "named at creation") {
			pairs = append(pairs, `"MemberList":`+destinations.Draw(t, "named"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "more") {
			pairs = append(pairs, pair(t, keys, value))
		}
		for range rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "fewer") {
			pairs = slices.Delete(pairs, 0, 1)
		}
		body := "{" + strings.Join(rapid.Permutation(pairs).Draw(t, "order"), ",") + "}" + blank.Draw(t, "blank")
		switch at := rapid.IntRange(0, len(body)-1).Draw(t, "at"); rapid.SampledFrom([]string{"", "", "cut", "cut out",
			"put in"}).Draw(t, "harm") {
		case "cut":
			body = body[:at]
		case "cut out":
			body = body[:at] + body[at+1:]
		case "put in":
			body = body[:at] + rapid.SampledFrom([]string{`"`, `\`, `,`, `}`, `]`, "\x00", "é"}).Draw(t, "what") +
				body[at:]
		}
		agreesWithOracle(t, []byte(body))
	})
}

func agreesWithOracle(t rapid.TB, body []byte) {
	memory := bytes.Clone(body)
	got, err := Parse(memory)
	if !bytes.Equal(memory, body) {
		t.Fatalf("Parse(%q) has changed the body to %q", body, memory)
	}
	clear(memory) // what was read must not change with the memory of the body
	want, reasons := oracle(body)
	if err != nil {
		if reason := reasonOf(err); !slices.Contains(reasons, reason) {
			t.Fatalf("Parse(%q) refuses because of %q, the oracle because of %q", body, reason, reasons)
		}
		if slices.ContainsFunc(reasons, func(reason string) bool { return slices.Contains(wholeBody, reason) }) {
			want.Command = got.Command // from before the text broke off, which the oracle does not follow
		}
		if diff := cmp.Diff(Callback{Command: want.Command}, got); diff != "" {
			t.Fatalf("Parse(%q) with an error: -want, +got:\n%s", body, diff)
		}
		return
	}
	if len(reasons) > 0 {
		t.Fatalf("Parse(%q) = %+v, but the oracle refuses because of %q", body, got, reasons)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("Parse(%q): -want, +got:\n%s", body, diff)
	}
	unmarshalled(t, body, &got)
}

// unmarshalled compares with plain encoding/json, for bodies without repeated or similar keys.
func unmarshalled(t rapid.TB, body []byte, got *Callback) {
	var all map[string]json.RawMessage
	var items []map[string]json.RawMessage
	var theirs struct {
		CallbackCommand                               string
		GroupID                                       string `json:"GroupId"`
		Type                                          string
		Requestor                                     string `json:"Requestor_Account"`
		DestinationMembers, NewMemberList, MemberList []struct {
			Account string `json:"Member_Account"`
		}
	}
	if json.Unmarshal(body, &all) != nil || json.Unmarshal(body, &theirs) != nil {
		return
	}
	for _, name := range []string{"DestinationMembers", "NewMemberList", "MemberList"} {
		var more []map[string]json.RawMessage
		if list, ok := all[name]; ok && json.Unmarshal(list, &more) != nil {
			return
		}
		items = append(items, more...)
	}
	for _, item := range append(items, all) {
		for key := range item {
			for _, name := range append(fieldNames[:], "Member_Account") {
				if key != name && strings.EqualFold(key, name) {
					return
				}
			}
		}
	}
	want := Callback{Command: Command(theirs.CallbackCommand)}
	if aboutMembers(want.Command) || want.Command == CommandAfterGroupFull {
		want.GroupID = theirs.GroupID
	}
	if aboutMembers(want.Command) {
		want.GroupType = theirs.Type
	}
	listed := theirs.DestinationMembers
	// What need not be readable.
	want.Operator, want.JoinType, want.Owner = got.Operator, got.JoinType, got.Owner
	switch want.Command {
	case CommandBeforeApplyJoin:
		want.Requestor = theirs.Requestor
		listed = nil
	case CommandBeforeInviteJoin:
	case CommandAfterJoin:
		listed = theirs.NewMemberList
	case CommandAfterCreate:
		listed = theirs.MemberList
	default:
		listed = nil
	}
	for _, member := range listed {
		if !slices.Contains(want.Members, member.Account) {
			want.Members = append(want.Members, member.Account)
		}
	}
	if diff := cmp.Diff(want, *got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Parse(%q): encoding/json reads -want, +got:\n%s", body, diff)
	}
}

// Reasons why a body is unreadable as a whole. Those of a field are its name and what is wrong with it.
const (
	notWellFormed = "not well-formed"
	noObject      = "no object"
	dataAfter     = "data after the object"
	tooDeep       = "nested too deep"
)

var wholeBody = []string{notWellFormed, noObject, dataAfter, tooDeep}

var atByte = regexp.MustCompile(`^(.*) at byte [0-9]+$`)

// reasonOf names the reason in an error of Parse.
func reasonOf(err error) string {
	reason := strings.TrimPrefix(err.Error(), ErrUnreadable.Error()+": ")
	match := atByte.FindStringSubmatch(reason)
	if match == nil {
		return reason
	}
	switch match[1] {
	case noObject, dataAfter, tooDeep, "no array":
		return match[1]
	case "no comma and no closing bracket", "no key", "no colon", "string without an end", "no value", "broken number":
		return notWellFormed
	}
	return err.Error() // none that is known
}

func aboutMembers(c Command) bool {
	return c.BeforeJoin() || c == CommandAfterJoin || c == CommandAfterCreate
}

// oracle reads a callback, or returns all reasons why it is unreadable, with the command if that is readable.
func oracle(body []byte) (Callback, []string) {
	fields, reasons := oracleObject(body)
	if reasons != nil {
		return Callback{}, reasons
	}
	got := Callback{}
	for _, value := range fields["CallbackCommand"] {
		text, bad := oracleText("", []string{value})
		if command := Command(text); bad == nil && (got.Command == "" || !got.Command.BeforeJoin() &&
			command.BeforeJoin()) {
			got.Command = command
		}
	}
	switch values := fields["CallbackCommand"]; {
	case len(values) != 1:
		_, reasons = oracleText("CallbackCommand", values)
		return got, reasons
	case got.Command == "":
		return got, []string{"CallbackCommand is not a usable string"}
	}
	read := func(name string) string {
		text, bad := oracleText(name, fields[name])
		reasons = append(reasons, bad...)
		return text
	}
	if aboutMembers(got.Command) || got.Command == CommandAfterGroupFull {
		got.GroupID = read("GroupId")
	}
	if aboutMembers(got.Command) && len(fields["Type"]) > 0 {
		got.GroupType = read("Type")
	}
	optional := func(name string) string {
		text, _ := oracleText("", fields[name])
		return text
	}
	list := func(name string) {
		members, bad := oracleAccounts(name, fields[name])
		got.Members, reasons = members, append(reasons, bad...)
	}
	switch got.Command {
	case CommandBeforeApplyJoin:
		got.Requestor = read("Requestor_Account")
	case CommandBeforeInviteJoin:
		list("DestinationMembers")
		got.Operator = optional("Operator_Account")
	case CommandAfterJoin:
		list("NewMemberList")
		got.Operator, got.JoinType = optional("Operator_Account"), optional("JoinType")
	case CommandAfterCreate:
		if len(fields["MemberList"]) > 0 {
			list("MemberList")
		}
		got.Owner = optional("Owner_Account")
	}
	return got, reasons
}

func oracleAccounts(name string, values []string) (accounts, reasons []string) {
	if _, bad := oracleOnce(name, values); bad != nil {
		return nil, bad
	}
	if !strings.HasPrefix(values[0], "[") {
		return nil, []string{"no array"}
	}
	rest := strings.TrimLeft(values[0][1:], " \t\r\n")
	for !strings.HasPrefix(rest, "]") {
		item, tail := cutValue(rest)
		rest = strings.TrimLeft(tail, " \t\r\n,")
		fields, bad := oracleObject([]byte(item))
		if bad != nil {
			reasons = append(reasons, bad...)
			continue
		}
		if len(fields["Member_Account"]) == 0 {
			reasons = append(reasons, "an item of "+name+" has no Member_Account")
			continue
		}
		account, bad := oracleText("Member_Account", fields["Member_Account"])
		if len(fields["Member_Account"]) > 1 { // the first of them is read before the second is seen
			_, first := oracleText("Member_Account", fields["Member_Account"][:1])
			bad = append(bad, first...)
		}
		reasons = append(reasons, bad...)
		if !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
		}
	}
	if len(accounts)+len(reasons) == 0 && name != "MemberList" {
		reasons = []string{name + " is empty"}
	}
	return accounts, reasons
}

// oracleObject returns the raw values of an object by key.
func oracleObject(body []byte) (fields map[string][]string, reasons []string) {
	text := strings.TrimLeft(string(body), " \t\r\n")
	if !strings.HasPrefix(text, "{") {
		return nil, []string{noObject}
	}
	if depthOf(harmless(body)) > maxDepth+1 { // the object itself is not counted
		reasons = append(reasons, tooDeep)
	}
	decoder := json.NewDecoder(bytes.NewReader(harmless(body)))
	var first json.RawMessage
	if decoder.Decode(&first) != nil {
		return nil, append(reasons, notWellFormed)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, append(reasons, dataAfter)
	}
	if reasons != nil {
		return nil, reasons
	}
	fields = map[string][]string{}
	rest := strings.TrimLeft(text[1:], " \t\r\n")
	for !strings.HasPrefix(rest, "}") {
		quoted, tail := cutValue(rest)
		tail = strings.TrimLeft(tail, " \t\r\n")
		value, after := cutValue(strings.TrimLeft(tail[1:], " \t\r\n"))
		var key string
		if json.Unmarshal([]byte(quoted), &key) == nil {
			fields[key] = append(fields[key], value)
		}
		rest = strings.TrimLeft(after, " \t\r\n,")
	}
	return fields, nil
}

func oracleOnce(name string, values []string) (string, []string) {
	switch len(values) {
	case 0:
		return "", []string{"no " + name}
	case 1:
		return values[0], nil
	}
	return "", []string{name + " is given more than once"}
}

// oracleText reads the only value, a string of 1 to 255 bytes that no two readers read differently.
func oracleText(name string, values []string) (string, []string) {
	value, reasons := oracleOnce(name, values)
	if reasons != nil {
		return "", reasons
	}
	if !strings.HasPrefix(value, `"`) {
		return "", []string{name + " is not a string"}
	}
	var text string
	if json.Unmarshal([]byte(value), &text) != nil || !utf8.ValidString(value) || strings.Contains(text, "\x00") ||
		halfPairs(value, text) {
		reasons = append(reasons, name+" is not a valid string")
		if len(value) > maxText { // which of them comes first
			reasons = append(reasons, name+" has more than 255 bytes")
		}
		return "", reasons
	}
	switch {
	case text == "":
		return "", []string{name + " is empty"}
	case len(text) > maxText:
		return "", []string{name + " has more than 255 bytes"}
	}
	return text, nil
}

// halfPairs reports whether encoding/json has replaced half a surrogate pair: then there are more U+FFFD than were
// written.
func halfPairs(written, text string) bool {
	escaped := strings.ReplaceAll(strings.ToLower(written), `\\`, "")
	return strings.Count(text, "\ufffd") != strings.Count(written, "\ufffd")+strings.Count(escaped, `\ufffd`)
}

func depthOf(body []byte) int {
	deepest, depth := 0, 0
	for _, c := range body {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		deepest = max(deepest, depth)
	}
	return deepest
}

// cutValue cuts off the first value of well-formed JSON.
func cutValue(text string) (value, rest string) {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c == '\\':
			i++
		case inString && c == '"':
			inString = false
		case inString:
			continue
		case c == '"':
			inString = true
		case c == '[' || c == '{':
			depth++
		case depth > 0 && (c == ']' || c == '}'):
			depth--
		case depth == 0 && strings.IndexByte(" \t\r\n,:]}", c) >= 0:
			return text[:i], text[i:]
		default:
			continue
		}
		if depth == 0 && !inString {
			return text[:i+1], text[i+1:]
		}
	}
	return text, ""
}

// harmless replaces everything inside strings.
func harmless(body []byte) []byte {
	var out []byte
	for i := 0; i < len(body); i++ {
		out = append(out, body[i])
		if body[i] != '"' {
			continue
		}
		for i++; i < len(body) && body[i] != '"'; i++ {
			if body[i] == '\\' {
				i++
			}
			out = append(out, 'x')
		}
		if i < len(body) {
			out = append(out, '"')
		}
	}
	return out
}
