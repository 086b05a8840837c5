package emulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

// FuzzREST checks that every request is answered with HTTP 200 and the three fields of the envelope, without a panic.
func FuzzREST(f *testing.F) {
	for _, api := range []string{
		"create_group", "destroy_group", "get_group_info", "get_appid_group_list", "modify_group_base_info",
		"change_group_owner", "get_group_member_info", "get_specified_group_member_info", "get_role_in_group",
		"modify_group_member_info", "add_group_member", "delete_group_member", "import_group_member",
	} {
		for _, body := range []string{
			`{"GroupId":"g","GroupIdList":["g","c"],"ResponseFilter":{"GroupBaseInfoFilter":["Type"]},"Limit":1,` +
				`"Offset":1,"MemberToDel_Account":["u1"]}`,
			`{"GroupId":"c","Next":"1","Member_List_Account":["u1"],"User_Account":["u1"],"MaxMemberNum":2,` +
				`"MemberList":[{"Member_Account":"u9","JoinTime":1}]}`,
			`{"Type":"Public","Name":"n","MaxMemberCount":4294967295,"Owner_Account":"u1","NewOwner_Account":"u2",` +
				`"Member_Account":"u2","Role":"Admin"}`,
			`{`, `null`, `[]`, ``, `{"GroupId":null,"Limit":-1}`,
		} {
			f.Add(api, "", body, true)
		}
	}
	f.Add("x", "sdkappid=1400000000&usersig=%", "{}", false)
	f.Fuzz(func(t *testing.T, api, query, body string, signed bool) {
		em := emulator.New(emulator.Config{
			Apps: []emulator.App{{SDKAppID: testApp, SecretKey: testKey}}, Now: func() time.Time { return testNow },
		})
		defer em.Close()
		for _, spec := range []string{
			`{"id":"g","type":"Public","owner":"u0","members":[{"count":3,"prefix":"u"}]}`,
			`{"id":"c","type":"Community","members":[{"count":3,"prefix":"u"}]}`,
		} {
			r := httptest.NewRequest(http.MethodPost, "/emulator/groups", strings.NewReader(spec))
			em.ServeHTTP(httptest.NewRecorder(), r)
		}
		if signed {
			sig, err := imrest.NewUserSig(testKey, testApp, "admin", testNow, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			query = url.Values{
				"sdkappid": {strconv.Itoa(testApp)}, "identifier": {"admin"}, "usersig": {sig},
				"random": {"1"}, "contenttype": {"json"},
			}.Encode()
		}
		r := httptest.NewRequest(http.MethodPost, "/v4/group_open_http_svc/", strings.NewReader(body))
		r.URL.Path += api
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		em.ServeHTTP(w, r)
		var answer struct {
			ActionStatus string
			ErrorInfo    *string
			ErrorCode    *int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK ||
			answer.ErrorInfo == nil || answer.ErrorCode == nil {
			t.Fatalf("HTTP %d, %v: %q", w.Code, err, w.Body)
		}
		if (answer.ActionStatus == "OK") != (*answer.ErrorCode == 0) {
			t.Errorf("ActionStatus %s with ErrorCode %d", answer.ActionStatus, *answer.ErrorCode)
		}
	})
}
