package callback

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnswer(t *testing.T) {
	cases := map[string]struct {
		answer Answer
		want   string
	}{
		"admitted": {Answer{OK: true}, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`},
		"rejected": {Answer{OK: true, Code: 10110, Info: "Members only"},
			`{"ActionStatus":"OK","ErrorInfo":"Members only","ErrorCode":10110}`},
		"in part": {Answer{OK: true, Refused: []string{"a", `"b"`}},
			`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"RefusedMembers_Account":["a","\"b\""]}`},
		"failed": {Answer{Code: 1, Info: "no"}, `{"ActionStatus":"FAIL","ErrorInfo":"no","ErrorCode":1}`},
		"odd bytes": {Answer{OK: true, Info: "a\xff\x00\x7f\n\\令牌\xed\xa0\x80<>&"},
			`{"ActionStatus":"OK","ErrorInfo":"a` + "\ufffd" + `\u0000\u007f\u000a\\令牌` + strings.Repeat("\ufffd", 3) +
				`<>&","ErrorCode":0}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff("before"+tc.want, string(tc.answer.AppendJSON([]byte("before")))); diff != "" {
				t.Errorf("AppendJSON: -want, +got:\n%s", diff)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("Members only", "mallory", int32(10110))
	f.Add("\xff\u2028\x00\"\\", "\xed\xa0\x80", int32(-1))
	f.Fuzz(func(t *testing.T, info, refused string, code int32) {
		raw := Answer{OK: true, Code: code, Info: info, Refused: []string{refused}}.AppendJSON(nil)
		var got struct {
			ActionStatus, ErrorInfo string
			ErrorCode               int32
			Refused                 []string `json:"RefusedMembers_Account"`
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		clean := func(s string) string { return string([]rune(s)) } // U+FFFD for each byte that is not UTF-8
		if got.ActionStatus != "OK" || got.ErrorInfo != clean(info) || got.ErrorCode != code ||
			got.Refused[0] != clean(refused) {
			t.Errorf("%q reads as %+v", raw, got)
		}
	})
}
