package imrest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGroup(t *testing.T) {
	const top = `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupInfo":`
	cases := map[string]struct {
		answer   string
		want     Group
		class    Class
		code     int
		says     string
		attempts int
	}{
		"public": {answer: top + `[{"GroupId":"g","ErrorCode":0,"Type":"Public","MemberNum":7,` +
			`"MaxMemberNum":200,"New":{}}]}`, want: Group{ID: "g", Type: "Public", VendorType: "Public", Members: 7,
			MaxMembers: 200}, attempts: 1},
		"old name": {answer: top + `[{"GroupId":"g","Type":"Private","MemberNum":0,` +
			`"MaxMemberNum":1}]}`, want: Group{ID: "g", Type: "Work", VendorType: "Private", MaxMembers: 1},
			attempts: 1},
		"unknown type": {answer: top + `[{"GroupId":"g","Type":"Hall","MemberNum":1,` +
			`"MaxMemberNum":1}]}`, want: Group{ID: "g", VendorType: "Hall", Members: 1, MaxMembers: 1}, attempts: 1},
		"live room without counts": {answer: top + `[{"GroupId":"g","Type":"Live"}]}`, want: Group{ID: "g",
			Type: "AVChatRoom", VendorType: "Live"}, attempts: 1},
		"top level code is meaningless": {answer: `{"ActionStatus":"FAIL","ErrorCode":10004,` +
			`"GroupInfo":[{"GroupId":"g","ErrorCode":0,"Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`,
			want: Group{ID: "g", Type: "Public", VendorType: "Public", Members: 7, MaxMembers: 200}, attempts: 1},
		"no top level at all": {answer: `{"GroupInfo":[{"GroupId":"g","Type":"Public","MemberNum":7,` +
			`"MaxMemberNum":200}]}`, want: Group{ID: "g", Type: "Public", VendorType: "Public", Members: 7,
			MaxMembers: 200}, attempts: 1},

		"muted, with topics": {answer: top + `[{"GroupId":"g","Type":"Community","MemberNum":7,"MaxMemberNum":200,` +
			`"CreateTime":1600000000,"MuteAllMember":"On","SupportTopic":1}]}`, want: Group{ID: "g", Type: "Community",
			VendorType: "Community", Members: 7, MaxMembers: 200, CreateTime: time.Unix(1600000000, 0).UTC(),
			MuteAllMember: true, SupportTopic: true}, attempts: 1},
		"not muted, without topics": {answer: top + `[{"GroupId":"g","Type":"Community","MemberNum":7,` +
			`"MaxMemberNum":200,"CreateTime":"x","MuteAllMember":"Off","SupportTopic":0}]}`, want: Group{ID: "g",
			Type: "Community", VendorType: "Community", Members: 7, MaxMembers: 200}, attempts: 1},
		"mute and topics are no documented values": {answer: top + `[{"GroupId":"g","Type":"Public","MemberNum":7,` +
			`"MaxMemberNum":200,"MuteAllMember":{},"SupportTopic":"yes"}]}`, want: Group{ID: "g", Type: "Public",
			VendorType: "Public", Members: 7, MaxMembers: 200, MuteAllMember: true, SupportTopic: true}, attempts: 1},

		"gone inside a success": {answer: top + `[{"GroupId":"g","ErrorCode":10010,"ErrorInfo":"gone"}]}`,
			class: ClassGroupGone, code: 10010, says: "get_group_info: code 10010: gone", attempts: 1},
		"bad id inside a success": {answer: top + `[{"GroupId":"g","ErrorCode":10015,"ErrorInfo":"bad"}]}`,
			class: ClassGroupGone, code: 10015, says: "bad", attempts: 1},
		"internal, for this group": {answer: top + `[{"GroupId":"g","ErrorCode":10002}]}`, class: ClassTransient,
			code: 10002, says: "10002", attempts: 5},
		"no permission": {answer: top + `[{"GroupId":"g","ErrorCode":10007}]}`, class: ClassUnauthorized,
			code: 10007, says: "10007", attempts: 1},
		"refused at the top": {answer: refusal(60010, "not admin"), class: ClassUnauthorized, code: 60010,
			says: "not admin", attempts: 1},
		"refused, empty list": {answer: `{"ActionStatus":"FAIL","ErrorCode":60010,"GroupInfo":[]}`,
			class: ClassUnauthorized, code: 60010, says: "60010", attempts: 1},
		"success about nothing": {answer: okAnswer, class: ClassTransient, says: "no group in GroupInfo", attempts: 5},
		"about another group": {answer: top + `[{"GroupId":"G","Type":"Public","MemberNum":7,` +
			`"MaxMemberNum":200}]}`, class: ClassTransient, says: "does not describe the group", attempts: 5},
		"twice": {answer: top + `[{"GroupId":"g","Type":"Public","MemberNum":7,` +
			`"MaxMemberNum":200},{"GroupId":"g","Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`,
			class: ClassTransient, says: "a group twice", attempts: 5},
		"no type": {answer: top + `[{"GroupId":"g","MemberNum":7,"MaxMemberNum":200}]}`,
			class: ClassTransient, says: "no Type", attempts: 5},
		"no MemberNum": {answer: top + `[{"GroupId":"g","Type":"Public","MaxMemberNum":200}]}`,
			class: ClassTransient, says: "no MemberNum", attempts: 5},
		"no MaxMemberNum": {answer: top + `[{"GroupId":"g","Type":"Public","MemberNum":7}]}`,
			class: ClassTransient, says: "no MaxMemberNum", attempts: 5},
		"MaxMemberNum null": {answer: top + `[{"GroupId":"g","Type":"Public","MemberNum":7,` +
			`"MaxMemberNum":null}]}`, class: ClassTransient, says: "no MaxMemberNum", attempts: 5},
		"MaxMemberNum 0": {answer: top + `[{"GroupId":"g","Type":"Public","MemberNum":7,"MaxMemberNum":0}]}`,
			class: ClassTransient, says: "no MaxMemberNum", attempts: 5},
		"negative": {answer: top + `[{"GroupId":"g","Type":"Public","MemberNum":-1,` +
			`"MaxMemberNum":200}]}`, class: ClassTransient, says: "no MemberNum", attempts: 5},
		"a count that is a text": {answer: top + `[{"GroupId":"g","Type":"Public","MemberNum":"x",` +
			`"MaxMemberNum":200}]}`, class: ClassTransient, says: "not the JSON", attempts: 5},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			date := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
			v := newVendor(t, func(w http.ResponseWriter, _ int, _ request) (int, string) {
				w.Header().Set("Date", date.Format(http.TimeFormat))
				return 200, tc.answer
			})
			got, err := v.client(t).Group(t.Context(), "g", time.Time{})
			if tc.class == "" {
				tc.want.ServerTime = date
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Group: -want, +got:\n%s", diff)
			}
			failed, _ := errors.AsType[*Error](err)
			if ClassOf(err) != tc.class || (err == nil) != (tc.class == "") || failed != nil &&
				(failed.Code != tc.code || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("error %v, want class %q, code %d, saying %q", err, tc.class, tc.code, tc.says)
			}
			if n := len(v.seen()); n != tc.attempts {
				t.Errorf("%d attempts, want %d", n, tc.attempts)
			}
			want := `{"GroupIdList":["g"],"ResponseFilter":{"GroupBaseInfoFilter":["Type","MemberNum","MaxMemberNum",` +
				`"CreateTime","MuteAllMember","SupportTopic"]}}`
			if body := v.seen()[0].body; body != want {
				t.Errorf("body %s, want %s", body, want)
			}
		})
	}
}

func TestGroupWithoutADate(t *testing.T) {
	for name, date := range map[string][]string{
		"none": nil, "empty": {""}, "not a time": {"yesterday"}, "seconds": {"1700000000"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, func(w http.ResponseWriter, _ int, _ request) (int, string) {
				w.Header()["Date"] = date
				return 200, `{"GroupInfo":[{"GroupId":"g","Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`
			})
			got, err := v.client(t).Group(t.Context(), "g", time.Time{})
			if err != nil || !got.ServerTime.IsZero() {
				t.Errorf("ServerTime %s, %v; want zero", got.ServerTime, err)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, _ int, _ request) (int, string) {
		w.Header()["Date"] = nil
		return 200, `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[
			{"GroupId":"b","ErrorCode":10010,"ErrorInfo":"gone"},
			{"GroupId":"a","ErrorCode":0,"Type":"Public","MemberNum":7,"MaxMemberNum":200},
			{"GroupId":"not asked for","ErrorCode":0,"Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`
	})
	client := v.client(t)
	groups, failures, err := client.Groups(t.Context(), []string{"a", "b", "c", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Group{"a": {ID: "a", Type: "Public", VendorType: "Public", Members: 7,
		MaxMembers: 200}}, groups); diff != "" {
		t.Errorf("groups: -want, +got:\n%s", diff)
	}
	classes := map[string]Class{}
	for id, err := range failures {
		classes[id] = ClassOf(err)
	}
	if diff := cmp.Diff(map[string]Class{"b": ClassGroupGone, "c": ClassTransient}, classes); diff != "" {
		t.Errorf("failures: -want, +got:\n%s", diff)
	}
	if n := len(v.seen()); n != 1 {
		t.Errorf("%d requests, want 1: a group that fails costs only itself", n)
	}
	if _, _, err := client.Groups(t.Context(), make([]string, MaxGroupsPerCall+1)); err == nil {
		t.Error("51 groups in one call are accepted")
	}
	if groups, failures, err := client.Groups(t.Context(), nil); len(groups)+len(failures) != 0 || err != nil ||
		len(v.seen()) != 1 {
		t.Errorf("no groups: %v, %v, %v", groups, failures, err)
	}
}

// A frequency limit delays all calls, wherever in the response it is reported.
func TestGroupsAreThrottledAsAWhole(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		code := 0
		if n == 1 {
			code = 60018
		}
		return 200, fmt.Sprintf(`{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[
			{"GroupId":"a","ErrorCode":0,"Type":"Public","MemberNum":7,"MaxMemberNum":200},
			{"GroupId":"b","ErrorCode":%d,"Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`, code)
	})
	groups, failures, err := v.client(t).Groups(t.Context(), []string{"a", "b"})
	if len(groups) != 2 || len(failures) != 0 || err != nil {
		t.Errorf("got %v, %v, %v", groups, failures, err)
	}
	if seen := v.seen(); len(seen) != 2 || seen[1].at.Sub(seen[0].at) < frequencyPause {
		t.Errorf("%d requests, want a second one, a second later", len(seen))
	}
}

func TestGroupsFailAsAWhole(t *testing.T) {
	v := newVendor(t, always(200, refusal(60010, "not admin")))
	groups, failures, err := v.client(t).Groups(t.Context(), []string{"a"})
	if groups != nil || failures != nil || ClassOf(err) != ClassUnauthorized {
		t.Errorf("got %v, %v, %v", groups, failures, err)
	}
}

func TestAppGroups(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, r request) (int, string) {
		next := []uint64{0, 9007199254740993, 0}[n]
		if want := []string{`{"Limit":3000,"Next":0}`,
			`{"Limit":3000,"Next":9007199254740993}`}[n-1]; r.api != "get_appid_group_list" || r.body != want {
			t.Errorf("%s %s, want %s", r.api, r.body, want)
		}
		return 200, fmt.Sprintf(`{"ActionStatus":"OK","ErrorCode":0,"TotalCount":3,`+
			`"GroupIdList":[{"GroupId":"@TGS#%d"},{"GroupId":"a b"}],"Next":%d}`, n, next)
	})
	client := v.client(t)
	var got []string
	page := AppGroupsPage{}
	for range 2 {
		var err error
		if page, err = client.AppGroups(t.Context(), page.Next); err != nil {
			t.Fatal(err)
		}
		got = append(got, page.IDs...)
	}
	if diff := cmp.Diff([]string{"@TGS#1", "a b", "@TGS#2", "a b"}, got); diff != "" || page.Next != 0 {
		t.Errorf("Next %d, -want, +got:\n%s", page.Next, diff)
	}
}

func TestAppGroupsAnswers(t *testing.T) {
	cases := map[string]struct {
		answer   string
		class    Class
		says     string
		attempts int
	}{
		"no groups": {answer: `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":0,"GroupIdList":[],"Next":0}`,
			attempts: 1},
		"no groups, no list": {answer: `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":0}`, attempts: 1},
		"no list": {answer: `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":3,"Next":0}`,
			class: ClassTransient, says: "no GroupIdList", attempts: 5},
		"nothing at all": {answer: okAnswer, class: ClassTransient, says: "no GroupIdList", attempts: 5},
		"a group without id": {answer: `{"ActionStatus":"OK","ErrorCode":0,"GroupIdList":[{}],"Next":0}`,
			class: ClassTransient, says: "no GroupId", attempts: 5},
		"a Next below 0": {answer: `{"ActionStatus":"OK","ErrorCode":0,"GroupIdList":[],"Next":-1}`,
			class: ClassTransient, says: "not the JSON", attempts: 5},
		"refused": {answer: refusal(10007, "no"), class: ClassUnauthorized, says: "10007", attempts: 1},
		"too frequent": {answer: refusal(60007, "slow down"), class: ClassThrottled, says: "60007",
			attempts: 5},
		"too large, come what": {answer: refusal(10018, "over 1 MB"), class: ClassPermanent, says: "10018",
			attempts: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, always(200, tc.answer))
			got, err := v.client(t).AppGroups(t.Context(), 0)
			if ClassOf(err) != tc.class || err != nil && !strings.Contains(err.Error(), tc.says) || len(got.IDs) != 0 ||
				got.Next != 0 {
				t.Errorf("%+v, error %v, want class %q saying %q", got, err, tc.class, tc.says)
			}
			if n := len(v.seen()); n != tc.attempts {
				t.Errorf("%d attempts, want %d", n, tc.attempts)
			}
		})
	}
}
