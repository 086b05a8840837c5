package emulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

func TestRESTAuthentication(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public"})
	sign := func(key string, app uint64, account string, at time.Time) string {
		sig, err := imrest.NewUserSig(key, app, account, at, time.Hour)
		w.must(err)
		return sig
	}
	type params map[string]string
	const path = "/v4/group_open_http_svc/get_group_info"
	cases := map[string]struct {
		method, path string
		set          params // a parameter; "-" removes it
		body         string
		want         int
	}{
		"correct":                 {want: 0},
		"GET":                     {method: "GET", want: 60002},
		"other service":           {path: "/v4/openim/sendmsg", want: 60009},
		"unknown command":         {path: "/v4/group_open_http_svc/get_group_infos", want: 10003},
		"no sdkappid":             {set: params{"sdkappid": "-"}, want: 60012},
		"sdkappid not a number":   {set: params{"sdkappid": "x"}, want: 60006},
		"unknown app":             {set: params{"sdkappid": "1400000001"}, want: 70020},
		"wrong case of parameter": {set: params{"sdkappid": "-", "SdkAppId": "1400000000"}, want: 60012},
		"no identifier":           {set: params{"identifier": "-"}, want: 60004},
		"no usersig":              {set: params{"usersig": "-"}, want: 70002},
		"usersig is malformed":    {set: params{"usersig": "noise"}, want: 70003},
		"usersig of other key": {set: params{"usersig": sign("other", testApp, "administrator", testNow)},
			want: 70009},
		"usersig of other account": {set: params{"usersig": sign(testKey, testApp, "admin", testNow)}, want: 70013},
		"usersig of other app": {set: params{"usersig": sign(testKey, testApp+1, "administrator", testNow)},
			want: 70014},
		"usersig expired": {set: params{"usersig": sign(testKey, testApp, "administrator",
			testNow.Add(-time.Hour-time.Second))}, want: 70001},
		"not an admin": {set: params{"identifier": "bob",
			"usersig": sign(testKey, testApp, "bob", testNow)}, want: 60010},
		"no random":             {set: params{"random": "-"}, want: 60002},
		"random beyond 32 bits": {set: params{"random": "4294967296"}, want: 60002},
		"no contenttype":        {set: params{"contenttype": "-"}, want: 60002},
		"empty body":            {body: " ", want: 60003},
		"body is a list":        {body: "[]", want: 60003},
		"body goes on":          {body: "{} {}", want: 60003},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			query := w.query()
			for key, value := range tc.set {
				if query.Set(key, value); value == "-" {
					query.Del(key)
				}
			}
			method, at, body := http.MethodPost, path, `{"GroupIdList":["g"]}`
			if tc.method != "" {
				method = tc.method
			}
			if tc.path != "" {
				at = tc.path
			}
			if tc.body != "" {
				body = tc.body
			}
			got, date := w.restAs(method, at, query, body)
			if got.code() != tc.want {
				t.Errorf("ErrorCode %d, want %d: %v", got.code(), tc.want, got)
			}
			status := "OK"
			if tc.want != 0 {
				status = "FAIL"
			}
			if got["ActionStatus"] != status || tc.want != 0 && got["ErrorInfo"] == "" {
				t.Errorf("ActionStatus %v, ErrorInfo %q", got["ActionStatus"], got["ErrorInfo"])
			}
			if date != testNow.Format(http.TimeFormat) {
				t.Errorf("Date %q, want the emulator's clock", date)
			}
		})
	}
}

// TestRESTRefusals pins the limits and the rules of the group types.
func TestRESTRefusals(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []string{"Work", "Public", "AVChatRoom", "Community"} {
		w.group(groupSpec{ID: kind, Type: kind, Owner: "alice"})
	}
	w.group(groupSpec{ID: "huge", Type: "Meeting", MaxMembers: 7000, Members: []memberSpec{{Count: 6001, Prefix: "u"}}})
	many := func(n int, format string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(items, ",")
	}
	apis := map[string]string{
		"delete":    "delete_group_member",
		"add":       "add_group_member",
		"import":    "import_group_member",
		"specified": "get_specified_group_member_info",
		"roles":     "get_role_in_group",
		"members":   "get_group_member_info",
		"community": "get_group_member_info",
		"groups":    "get_group_info",
		"list":      "get_appid_group_list",
		"create":    "create_group",
		"modify":    "modify_group_base_info",
		"owner":     "change_group_owner",
		"role":      "modify_group_member_info",
		"destroy":   "destroy_group",
		"message":   "send_group_msg",
	}
	message := func(group, text string) string {
		return fmt.Sprintf(`{"GroupId":%q,"Random":7,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]}`,
			group, text)
	}
	cases := map[string]struct { // by API and what is wrong
		body string
		want int
	}{
		"delete: 100":        {`{"GroupId":"Public","MemberToDel_Account":[` + many(100, `"u%d"`) + `]}`, 0},
		"delete: 101":        {`{"GroupId":"Public","MemberToDel_Account":[` + many(101, `"u%d"`) + `]}`, 10005},
		"delete: nobody":     {`{"GroupId":"Public","MemberToDel_Account":[]}`, 10004},
		"delete: misspelt":   {`{"GroupId":"Public","memberToDel_Account":["u1"]}`, 10004},
		"delete: AVChatRoom": {`{"GroupId":"AVChatRoom","MemberToDel_Account":["alice"]}`, 10004},
		"delete: no group":   {`{"GroupId":"gone","MemberToDel_Account":["u1"]}`, 10010},
		"delete: bad id":     {`{"GroupId":"\u0007","MemberToDel_Account":["u1"]}`, 10015},
		"delete: long account": {`{"GroupId":"Public","MemberToDel_Account":["` + strings.Repeat("x", 33) + `"]}`,
			10004},
		"add: 21": {`{"GroupId":"Public","MemberList":[` + many(21, `{"Member_Account":"u%d"}`) + `]}`,
			10005},
		"add: strings":    {`{"GroupId":"Public","MemberList":["u1"]}`, 10004},
		"add: AVChatRoom": {`{"GroupId":"AVChatRoom","MemberList":[{"Member_Account":"u1"}]}`, 10007},
		"import: 301": {`{"GroupId":"Public","MemberList":[` + many(301, `{"Member_Account":"u%d"}`) + `]}`,
			10005},
		"import: JoinTime":        {`{"GroupId":"Public","MemberList":[{"Member_Account":"u1","JoinTime":1}]}`, 10004},
		"specified: 50":           {`{"GroupId":"Public","Member_List_Account":[` + many(50, `"u%d"`) + `]}`, 0},
		"specified: 51":           {`{"GroupId":"Public","Member_List_Account":[` + many(51, `"u%d"`) + `]}`, 10005},
		"specified: room":         {`{"GroupId":"AVChatRoom","Member_List_Account":["alice"]}`, 10007},
		"roles: AVChatRoom":       {`{"GroupId":"AVChatRoom","User_Account":["alice"]}`, 10007},
		"roles: 501":              {`{"GroupId":"Public","User_Account":[` + many(501, `"u%d"`) + `]}`, 10005},
		"members: AVChatRoom":     {`{"GroupId":"AVChatRoom","Limit":100}`, 10007},
		"members: 200":            {`{"GroupId":"Public","Limit":200,"Offset":0}`, 0},
		"members: 201":            {`{"GroupId":"Public","Limit":201,"Offset":0}`, 10004},
		"members: unpaged":        {`{"GroupId":"huge"}`, 10054},
		"members: Next":           {`{"GroupId":"Public","Next":"1"}`, 10004},
		"members: Limit string":   {`{"GroupId":"Public","Limit":"100"}`, 10004},
		"community: 101":          {`{"GroupId":"Community","Limit":101,"Next":""}`, 10004},
		"community: Offset":       {`{"GroupId":"Community","Limit":100,"Offset":100}`, 10004},
		"community: bad Next":     {`{"GroupId":"Community","Limit":100,"Next":"?"}`, 10004},
		"groups: 51":              {`{"GroupIdList":[` + many(51, `"g%d"`) + `]}`, 10004},
		"list: too many":          {`{"Limit":10001}`, 10004},
		"list: unknown type":      {`{"GroupType":"Club"}`, 10004},
		"create: unknown type":    {`{"Type":"Club","Name":"x"}`, 10004},
		"create: no name":         {`{"Type":"Public"}`, 10004},
		"create: id taken":        {`{"Type":"Public","Name":"x","GroupId":"Public"}`, 10021},
		"create: id of own group": {`{"Type":"Public","Name":"x","GroupId":"Public","Owner_Account":"alice"}`, 10025},
		"create: reserved id":     {`{"Type":"Public","Name":"x","GroupId":"@TGS#1"}`, 10015},
		"create: too large":       {`{"Type":"Public","Name":"x","MaxMemberCount":6001}`, 10038},
		"create: join option":     {`{"Type":"Community","Name":"x","ApplyJoinOption":"NeedPermission"}`, 10004},
		"modify: too large":       {`{"GroupId":"Public","MaxMemberNum":6001}`, 10038},
		"owner: a stranger":       {`{"GroupId":"Public","NewOwner_Account":"mallory"}`, 10007},
		"role: admin of Work":     {`{"GroupId":"Work","Member_Account":"alice","Role":"Admin"}`, 10007},
		"destroy: no group":       {`{"GroupId":"gone"}`, 10010},
		"message: no group":       {message("gone", "hello"), 10010},
		"message: room":           {message("AVChatRoom", "hello"), 0},
		"message: too long":       {message("Public", strings.Repeat("x", 12<<10+1)), 80002},
		"message: no text":        {message("Public", ""), 10004},
		"message: no Random": {`{"GroupId":"Public","MsgBody":[{"MsgType":"TIMTextElem",` +
			`"MsgContent":{"Text":"x"}}]}`, 10004},
		"message: no body": {`{"GroupId":"Public","Random":7}`, 10004},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := w.rest(apis[strings.Split(name, ":")[0]], tc.body); got.code() != tc.want {
				t.Errorf("ErrorCode %d, want %d: %v", got.code(), tc.want, got["ErrorInfo"])
			}
		})
	}
}

func TestGetGroupInfo(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "ChatRoom", Owner: "alice", MaxMembers: 3,
		Members: []memberSpec{{Accounts: []string{"bob"}}}})
	w.group(groupSpec{ID: "live", Type: "AVChatRoom"})

	got := w.rest("get_group_info", `{"GroupIdList":["g","gone","live"],`+
		`"ResponseFilter":{"GroupBaseInfoFilter":["Type","MemberNum","MaxMemberNum","Owner_Account"]}}`)
	want := answer{"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0.0, "GroupInfo": []any{
		map[string]any{
			"GroupId": "g", "ErrorCode": 0.0, "ErrorInfo": "",
			"Type": "ChatRoom", "MemberNum": 2.0, "MaxMemberNum": 3.0, "Owner_Account": "alice",
		},
		map[string]any{"GroupId": "gone", "ErrorCode": 10010.0,
			"ErrorInfo": "this group does not exist or was disbanded"},
		map[string]any{
			"GroupId": "live", "ErrorCode": 0.0, "ErrorInfo": "",
			"Type": "AVChatRoom", "MemberNum": 0.0, "MaxMemberNum": 0.0, "Owner_Account": "",
		},
	}}
	same(t, "filtered", want, got)

	whole := w.rest("get_group_info", `{"GroupIdList":["g"]}`)
	info := whole["GroupInfo"].([]any)[0].(map[string]any)
	if members := answer(info).names("MemberList", "Member_Account"); !cmp.Equal(members, []string{"alice", "bob"}) {
		t.Errorf("without a filter the members are %v", members)
	}
}

// wantBob is one member as get_group_member_info and get_specified_group_member_info encode it.
const wantBob = `{"Member_Account":"bob","Role":"Admin","JoinTime":1793620800,"MsgSeq":0,"MsgFlag":"AcceptAndNotify",` +
	`"LastSendMsgTime":1793876400,"MuteUntil":0,"NameCard":""}`

func TestMemberFilters(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Owner: "alice", Members: []memberSpec{
		{Accounts: []string{"bob"}, Role: "Admin", JoinedAgo: "3d", SpokeAgo: "1h"}, {Accounts: []string{"carol"}},
	}})
	var want any
	w.must(json.Unmarshal([]byte(wantBob), &want))
	got := w.rest("get_specified_group_member_info", `{"GroupId":"g","Member_List_Account":["bob","mallory"]}`)
	same(t, "specified, without accounts that are not members", []any{want}, got["MemberList"])
	got = w.rest("get_group_member_info", `{"GroupId":"g","Limit":100,"Offset":0,`+
		`"MemberInfoFilter":["LastSendMsgTime"],"MemberRoleFilter":["Admin","Member"]}`)
	wantList := []any{
		map[string]any{"Member_Account": "bob", "LastSendMsgTime": 1793876400.0},
		map[string]any{"Member_Account": "carol", "LastSendMsgTime": 0.0},
	}
	if diff := cmp.Diff(wantList, got["MemberList"]); diff != "" || got["MemberNum"] != 3.0 {
		t.Errorf("filtered, MemberNum %v of the whole group (-want,+got)\n%s", got["MemberNum"], diff)
	}
	got = w.rest("get_role_in_group", `{"GroupId":"g","User_Account":["alice","bob","carol","mallory"]}`)
	if roles := got.names("UserIdList", "Role"); !cmp.Equal(roles, []string{"Owner", "Admin", "Member", "NotMember"}) {
		t.Errorf("roles %v", roles)
	}
}

func TestQuirks(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{
		ID: "g", Type: "Public", Members: []memberSpec{{Accounts: []string{"bob"}}},
		Quirks: emulator.Quirks{OmitLastSendMsgTime: true, RoleTrailingBlank: true},
	})
	got := w.rest("get_group_member_info", `{"GroupId":"g","MemberInfoFilter":["Role","LastSendMsgTime"]}`)
	same(t, "members", []any{map[string]any{"Member_Account": "bob", "Role": "Member "}}, got["MemberList"])
}

func TestPaging(t *testing.T) {
	for _, kind := range []string{"Public", "Community"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.group(groupSpec{ID: "g", Type: kind, Members: []memberSpec{{Count: 250, Prefix: "u"}}})
			var got []string
			request := `{"GroupId":"g","Limit":100,"Offset":0}`
			if kind == "Community" {
				request = `{"GroupId":"g","Limit":100,"Next":""}`
			}
			for pages := 1; ; pages++ {
				page := w.rest("get_group_member_info", request)
				names := page.names("MemberList", "Member_Account")
				got = append(got, names...)
				next, community := page["Next"].(string)
				if community != (kind == "Community") {
					t.Fatalf("Next is %v", page["Next"])
				}
				if pages == 1 {
					// Members leave between pages: with Next no member is missed, offsets shift.
					w.rest("delete_group_member", `{"GroupId":"g","MemberToDel_Account":["u1","u150"]}`)
				}
				if community && next == "" || !community && len(names) < 100 {
					break
				}
				request = fmt.Sprintf(`{"GroupId":"g","Limit":100,"Offset":%d}`, len(got))
				if community {
					request = fmt.Sprintf(`{"GroupId":"g","Limit":100,"Next":%q}`, next)
				}
			}
			var want []string
			for i := 1; i <= 250; i++ {
				// u150 left before its page was read; with offsets, u101 moved to the page that was already read.
				if i != 150 && (i != 101 || kind == "Community") {
					want = append(want, fmt.Sprintf("u%d", i))
				}
			}
			same(t, "accounts", want, got)
		})
	}
}

// A last page that is exactly full has no Next, or a client would request another one.
func TestCommunityLastPageIsFull(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Community", Members: []memberSpec{{Count: 100, Prefix: "u"}}})
	if got := w.rest("get_group_member_info", `{"GroupId":"g","Limit":100,"Next":""}`); got["Next"] != "" {
		t.Errorf("Next is %v", got["Next"])
	}
}

func TestGroupList(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.group(groupSpec{ID: fmt.Sprintf("g%d", i), Type: []string{"Public", "Private"}[i%2]})
	}
	first := w.rest("get_appid_group_list", `{"Limit":2,"Next":0}`)
	if ids := first.names("GroupIdList", "GroupId"); !cmp.Equal(ids, []string{"g0", "g1"}) ||
		first["TotalCount"] != 5.0 {
		t.Errorf("first page %v", first)
	}
	w.must(w.DestroyGroup(t.Context(), "g1")) // the cursor stays valid
	rest := w.rest("get_appid_group_list", fmt.Sprintf(`{"Limit":3,"Next":%v}`, first["Next"]))
	if ids := rest.names("GroupIdList", "GroupId"); !cmp.Equal(ids, []string{"g2", "g3", "g4"}) || rest["Next"] != 0.0 {
		t.Errorf("second page %v", rest)
	}
	work := w.rest("get_appid_group_list", `{"GroupType":"Work"}`)
	if ids := work.names("GroupIdList", "GroupId"); !cmp.Equal(ids, []string{"g3"}) {
		t.Errorf("of type Work, made as Private: %v", ids)
	}
}

func TestGroupLife(t *testing.T) {
	w := newWorld(t)
	made := w.rest("create_group", `{"Type":"Private","Name":"n","Owner_Account":"alice","MaxMemberCount":5,`+
		`"MemberList":[`+memberList([]string{"bob"})+`]}`)
	id, _ := made["GroupId"].(string)
	if made.code() != 0 || !strings.HasPrefix(id, "@TGS#") {
		t.Fatalf("create_group: %v", made)
	}
	if got := w.accounts(id); !cmp.Equal(got, []string{"alice", "bob"}) {
		t.Errorf("members %v", got)
	}
	w.rest("modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"MaxMemberNum":9}`, id))
	w.rest("modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"Name":"new"}`, id))
	w.rest("change_group_owner", fmt.Sprintf(`{"GroupId":%q,"NewOwner_Account":"bob"}`, id))
	g, err := w.Group(t.Context(), id)
	w.must(err)
	if g.MaxMembers != 9 || g.Name != "new" || g.Owner != "bob" || g.Type != "Private" {
		t.Errorf("group %+v", g)
	}
	w.rest("destroy_group", fmt.Sprintf(`{"GroupId":%q}`, id))
	if got := w.rest("destroy_group", fmt.Sprintf(`{"GroupId":%q}`, id)); got.code() != 10010 {
		t.Errorf("destroyed twice: %v", got)
	}
	// A new limit causes no callback, a new name does.
	want := []string{"BeforeCreateGroup", "AfterCreateGroup", "AfterGroupInfoChanged", "AfterGroupDestroyed"}
	same(t, "callbacks", want, w.commands())
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"no more groups","ErrorCode":10150}`))
	if got := w.rest("create_group", `{"Type":"Public","Name":"n"}`); got.code() != 10150 ||
		got["ErrorInfo"] != "no more groups" {
		t.Errorf("refused creation: %v", got)
	}
}

func TestDeleteMembers(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Owner: "alice", Members: []memberSpec{{Count: 3, Prefix: "u"}}})
	const body = `{"GroupId":"g","MemberToDel_Account":["u1","u3","stranger"],"Silence":1,"Reason":"inactive"}`
	for range 2 { // the second succeeds as well, without a callback
		got := w.rest("delete_group_member", body)
		same(t, "only the three fields", answer{"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0.0}, got)
	}
	if got := w.accounts("g"); !cmp.Equal(got, []string{"alice", "u2"}) {
		t.Errorf("remaining members %v", got)
	}
	w.must(w.Settle(t.Context(), time.Minute))
	all := w.backend.all()
	if len(all) != 1 {
		t.Fatalf("%d callbacks, want 1", len(all))
	}
	want := `{"CallbackCommand":"Group.CallbackAfterMemberExit","GroupId":"g","Type":"Public","ExitType":"Kicked",` +
		`"Operator_Account":"administrator","ExitMemberList":[{"Member_Account":"u1"},{"Member_Account":"u3"}],` +
		`"EventTime":1793880000000}`
	if all[0].Body != want || all[0].Query.Get("OptPlatform") != "RESTAPI" {
		t.Errorf("callback %s\nwant     %s", all[0].Body, want)
	}
	// The app admin can remove the owner.
	w.rest("delete_group_member", `{"GroupId":"g","MemberToDel_Account":["alice"]}`)
	if g, err := w.Group(t.Context(), "g"); err != nil || g.Owner != "" {
		t.Errorf("owner %q, err %v", g.Owner, err)
	}
}

func TestImportCausesNoCallbacks(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Owner: "alice", MaxMembers: 2, CreatedAgo: "10d"})
	got := w.rest("import_group_member", fmt.Sprintf(`{"GroupId":"g","MemberList":[`+
		`{"Member_Account":"bob","Role":"Admin","JoinTime":%d},%s]}`, testNow.Unix()-60, memberList([]string{"alice",
		"carol"})))
	want := []any{
		map[string]any{"Member_Account": "bob", "Result": 1.0},
		map[string]any{"Member_Account": "alice", "Result": 2.0},
		map[string]any{"Member_Account": "carol", "Result": 0.0},
	}
	same(t, "results", want, got["MemberList"])
	if got := w.rest("import_group_member",
		`{"GroupId":"g","MemberList":[{"Member_Account":"carol"}]}`); got.code() != 10014 {
		t.Errorf("into a full group: %v", got)
	}
	if got := w.commands(); len(got) != 0 {
		t.Errorf("callbacks %v", got)
	}
}

func TestModifyMember(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Owner: "alice", Members: []memberSpec{{Accounts: []string{"bob"}}}})
	if got := w.rest("modify_group_member_info",
		`{"GroupId":"g","Member_Account":"bob","Role":"Admin"}`); got.code() != 0 {
		t.Fatalf("%v", got)
	}
	members, err := w.Members(t.Context(), "g")
	w.must(err)
	if members[1].Role != "Admin" {
		t.Errorf("bob is %s", members[1].Role)
	}
	w.rest("modify_group_member_info", `{"GroupId":"g","Member_Account":"alice","Role":"Member"}`)
	if g, err := w.Group(t.Context(), "g"); err != nil || g.Owner != "" {
		t.Errorf("after demoting the owner: %+v, %v", g, err)
	}
}

func TestFrequencyLimits(t *testing.T) {
	w := newWorld(t)
	_, err := w.Configure(t.Context(), func(s *emulator.Settings) { s.FrequencyLimits = true })
	w.must(err)
	// On a busy machine two calls may be more than a second apart, but not all of 100.
	for range 100 {
		if got := w.rest("get_appid_group_list", `{}`); got.code() == 60007 {
			return
		}
	}
	t.Error("get_appid_group_list is never too frequent")
}

// An answer above 1 MB is replaced by an error.
func TestAnswerTooLarge(t *testing.T) {
	w := newWorld(t)
	members := []memberSpec{{Count: 6000, Prefix: strings.Repeat("x", 28)[:27]}}
	w.group(groupSpec{ID: "g", Type: "Public", Members: members})
	if got := w.rest("get_group_member_info", `{"GroupId":"g"}`); got.code() != 10018 {
		t.Errorf("ErrorCode %d", got.code())
	}
}

func TestAppsAreSeparate(t *testing.T) {
	w := serve(t, emulator.Config{Apps: []emulator.App{{SDKAppID: 1, SecretKey: "one"},
		{SDKAppID: 2, SecretKey: "two"}}})
	one, two := emulator.Client{BaseURL: w.BaseURL, SDKAppID: 1}, emulator.Client{BaseURL: w.BaseURL, SDKAppID: 2}
	if _, err := one.CreateGroup(t.Context(), groupSpec{ID: "g", Type: "Public"}); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Group(t.Context(), "g"); err == nil {
		t.Error("app 2 sees a group of app 1")
	}
	if _, err := w.Groups(t.Context()); err == nil || !strings.Contains(err.Error(), "?app=") {
		t.Errorf("without ?app=: %v", err)
	}
	sig, err := one.UserSig(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	query, err := url.ParseQuery(sig.Query)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := w.restAs("POST", "/v4/group_open_http_svc/get_appid_group_list", query,
		"{}"); got["TotalCount"] != 1.0 {
		t.Errorf("with the signature of app 1: %v", got)
	}
	query.Set("sdkappid", "2")
	if got, _ := w.restAs("POST", "/v4/group_open_http_svc/get_appid_group_list", query, "{}"); got.code() != 70014 {
		t.Errorf("with that signature at app 2: %v", got)
	}
}

func TestGroupMessages(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Work", Owner: "alice", CreatedAgo: "2d"})
	send := func(text string, random int) answer {
		return w.rest("send_group_msg", fmt.Sprintf(
			`{"GroupId":"g","Random":%d,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]}`, random, text))
	}
	if got := send("hello", 1); got.code() != 0 || got["MsgSeq"] != 1.0 || got["MsgTime"] != float64(testNow.Unix()) {
		t.Errorf("answer %v", got)
	}
	send("hello again", 1) // the same message, as the vendor sees it
	send("other", 2)
	forward := func(d string) {
		_, err := w.MoveClock(t.Context(), emulator.ClockChange{Forward: d})
		w.must(err)
	}
	forward("5m")
	send("hello, later", 1)
	got, err := w.Messages(t.Context(), "g")
	w.must(err)
	later := testNow.Add(5 * time.Minute)
	same(t, "messages", []emulator.Message{
		{From: "administrator", SentAt: testNow, Text: "hello", Random: 1},
		{From: "administrator", SentAt: testNow, Text: "other", Random: 2},
		{From: "administrator", SentAt: later, Text: "hello, later", Random: 1},
	}, got)
}
