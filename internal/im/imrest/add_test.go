package imrest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// addedAccounts returns the accounts of an add_group_member.
func addedAccounts(t *testing.T, r request) (accounts []string) {
	t.Helper()
	var body struct {
		GroupID string `json:"GroupId"`
		Silence int
		Members []struct {
			Account string `json:"Member_Account"`
		} `json:"MemberList"`
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.api != "add_group_member" || body.GroupID != "g" ||
		body.Silence != 1 {
		t.Errorf("%s %s: %v", r.api, r.body, err)
	}
	for _, m := range body.Members {
		accounts = append(accounts, m.Account)
	}
	return accounts
}

func addAnswerOf(results ...string) string {
	return `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[` + strings.Join(results, ",") + `]}`
}

func TestAddMembersBody(t *testing.T) {
	v := newVendor(t, always(200, addAnswerOf()))
	if _, err := v.client(t).AddMembers(t.Context(), "g", []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if got, want := v.seen()[0].body, `{"GroupId":"g","Silence":1,"MemberList":[{"Member_Account":"a"},`+
		`{"Member_Account":"b"}]}`; got != want {
		t.Errorf("body %s, want %s", got, want)
	}
}

func TestAddMembersResults(t *testing.T) {
	var items []string
	for i, result := range []string{"0", "1", "2", "3", "4", "5", "-1", "null"} {
		items = append(items, fmt.Sprintf(`{"Member_Account":"u%d","Result":%s}`, i, result))
	}
	items = append(items, `{"Member_Account":"u8"}`, `{"Member_Account":"stranger","Result":1}`)
	v := newVendor(t, always(200, addAnswerOf(items...)))
	got, err := v.client(t).AddMembers(t.Context(), "g", names(0, 10))
	want := map[string]AddResult{
		"u0": AddResultRefused, "u1": AddResultAdded, "u2": AddResultAlreadyMember, "u3": AddResultAwaitingConfirmation,
		"u4": AddResultGroupLimit,
		"u5": AddResultRefused, "u6": AddResultRefused, "u7": AddResultRefused, "u8": AddResultRefused,
		"u9": AddResultRefused,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, -want, +got:\n%s", err, diff)
	}
	if n := len(v.seen()); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// A code for a whole call is about all its accounts, or the call is split until it is about one account.
func TestAddMembersCodes(t *testing.T) {
	cases := map[string]struct {
		code  int
		bad   []string // a call that names one of them fails with code
		want  AddResult
		calls int
	}{
		"refused":                   {10016, names(0, 1), AddResultRefused, 1},
		"refused with our own code": {10100, names(0, 1), AddResultRefused, 1},
		"refused with the last one": {10200, names(0, 1), AddResultRefused, 1},
		"one has no account":        {10019, names(2, 3), AddResultNotFound, 7},
		"two have none":             {70107, []string{"u0", "u7"}, AddResultNotFound, 11},
		"one is in already":         {10013, names(7, 8), AddResultAlreadyMember, 7},
		"one is in too many groups": {10037, names(4, 5), AddResultGroupLimit, 7},
		"nobody has a seat":         {10014, names(0, 8), AddResultNoSeat, 7},
		"the plan has no seat":      {10038, names(0, 8), AddResultNoSeat, 7},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
				var items []string
				for _, account := range addedAccounts(t, r) {
					if slices.Contains(tc.bad, account) {
						return 200, refusal(tc.code, "no")
					}
					items = append(items, `{"Member_Account":"`+account+`","Result":1}`)
				}
				return 200, addAnswerOf(items...)
			})
			got, err := v.client(t).AddMembers(t.Context(), "g", names(0, 8))
			want := map[string]AddResult{}
			for _, account := range names(0, 8) {
				want[account] = AddResultAdded
				if slices.Contains(tc.bad, account) || tc.want == AddResultRefused {
					want[account] = tc.want
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("error %v, -want, +got:\n%s", err, diff)
			}
			if n := len(v.seen()); n != tc.calls {
				t.Errorf("%d calls, want %d", n, tc.calls)
			}
		})
	}
}

// With fewer seats than accounts, all seats are taken, in as few calls as possible.
func TestAddMembersTakesTheLastSeats(t *testing.T) {
	for seats := range MaxAddsPerCall + 1 {
		left := seats
		v := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
			accounts := addedAccounts(t, r)
			if len(accounts) > left {
				return 200, refusal(10014, "full")
			}
			left -= len(accounts)
			var items []string
			for _, account := range accounts {
				items = append(items, `{"Member_Account":"`+account+`","Result":1}`)
			}
			return 200, addAnswerOf(items...)
		})
		got, err := v.client(t).AddMembers(t.Context(), "g", names(0, MaxAddsPerCall))
		count := map[AddResult]int{}
		for _, result := range got {
			count[result]++
		}
		if err != nil || count[AddResultAdded] != seats || count[AddResultNoSeat] != MaxAddsPerCall-seats {
			t.Errorf("%d seats: %v, %v", seats, count, err)
		}
		if n := len(v.seen()); n > 11 {
			t.Errorf("%d seats: %d calls", seats, n)
		}
	}
}

func TestAddMembersFails(t *testing.T) {
	cases := map[string]struct {
		code int
		want Class
	}{
		"group gone":   {10010, ClassGroupGone},
		"no right":     {10007, ClassUnauthorized},
		"bad request":  {10004, ClassPermanent},
		"too many":     {10005, ClassPermanent},
		"switched off": {10026, ClassPermanent},
		"not an admin": {60010, ClassUnauthorized},
		"internal":     {10002, ClassTransient},
		"throttled":    {60007, ClassThrottled},
		"unknown":      {123456, ClassPermanent},
		"below ours":   {10099, ClassPermanent},
		"above ours":   {10201, ClassPermanent},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			// u7 does not exist, which the halves find out; then the call for u4 fails: results before it are certain.
			v := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
				accounts := addedAccounts(t, r)
				switch {
				case slices.Contains(accounts, "u7") && len(accounts) > 2:
					return 200, refusal(10019, "no such account")
				case slices.Contains(accounts, "u4"):
					return 200, refusal(tc.code, "x")
				}
				var items []string
				for _, account := range accounts {
					items = append(items, `{"Member_Account":"`+account+`","Result":1}`)
				}
				return 200, addAnswerOf(items...)
			})
			got, err := v.client(t).AddMembers(t.Context(), "g", names(0, 8))
			want := map[string]AddResult{"u0": AddResultAdded, "u1": AddResultAdded, "u2": AddResultAdded,
				"u3": AddResultAdded}
			if diff := cmp.Diff(want, got); diff != "" || ClassOf(err) != tc.want {
				t.Errorf("error %v, want class %s; -want, +got:\n%s", err, tc.want, diff)
			}
			if failed, ok := errors.AsType[*Error](err); !ok || failed.Code != tc.code {
				t.Errorf("error %v, want code %d", err, tc.code)
			}
		})
	}
}

func TestAddMembersBounds(t *testing.T) {
	v := newVendor(t, always(200, addAnswerOf()))
	client := v.client(t)
	if _, err := client.AddMembers(t.Context(), "g", names(0, MaxAddsPerCall+1)); err == nil {
		t.Error("21 accounts in one addition are accepted")
	}
	if got, err := client.AddMembers(t.Context(), "g", nil); err != nil || len(got) != 0 {
		t.Errorf("nobody to add: %v, %v", got, err)
	}
	if n := len(v.seen()); n != 0 {
		t.Errorf("%d calls for nobody or too many", n)
	}
}
