package imrest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAppGroups(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, r request) (int, string) {
		next := []uint64{0, 9007199254740993, 0}[n]
		if want := []string{`{"Limit":3000,"Next":0}`, `{"Limit":3000,"Next":9007199254740993}`}[n-1]; r.api != "get_appid_group_list" || r.body != want {
			t.Errorf("%s %s, want %s", r.api, r.body, want)
		}
		return 200, fmt.Sprintf(`{"ActionStatus":"OK","ErrorCode":0,"TotalCount":3,"GroupIdList":[{"GroupId":"@TGS#%d"},{"GroupId":"a b"}],"Next":%d}`, n, next)
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
		"no groups":            {answer: `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":0,"GroupIdList":[],"Next":0}`, attempts: 1},
		"no groups, no list":   {answer: `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":0}`, attempts: 1},
		"no list":              {answer: `{"ActionStatus":"OK","ErrorCode":0,"TotalCount":3,"Next":0}`, class: ClassTransient, says: "no GroupIdList", attempts: 5},
		"nothing at all":       {answer: okAnswer, class: ClassTransient, says: "no GroupIdList", attempts: 5},
		"a group without id":   {answer: `{"ActionStatus":"OK","ErrorCode":0,"GroupIdList":[{}],"Next":0}`, class: ClassTransient, says: "no GroupId", attempts: 5},
		"a Next below 0":       {answer: `{"ActionStatus":"OK","ErrorCode":0,"GroupIdList":[],"Next":-1}`, class: ClassTransient, says: "not the JSON", attempts: 5},
		"refused":              {answer: refusal(10007, "no"), class: ClassPermanent, says: "10007", attempts: 1},
		"too frequent":         {answer: refusal(60007, "slow down"), class: ClassThrottled, says: "60007", attempts: 5},
		"too large, come what": {answer: refusal(10018, "over 1 MB"), class: ClassPermanent, says: "10018", attempts: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, always(200, tc.answer))
			got, err := v.client(t).AppGroups(t.Context(), 0)
			if ClassOf(err) != tc.class || err != nil && !strings.Contains(err.Error(), tc.says) || len(got.IDs) != 0 || got.Next != 0 {
				t.Errorf("%+v, error %v, want class %q saying %q", got, err, tc.class, tc.says)
			}
			if n := len(v.seen()); n != tc.attempts {
				t.Errorf("%d attempts, want %d", n, tc.attempts)
			}
		})
	}
}
