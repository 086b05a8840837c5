package imrest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im"
)

// list collects a member list and the error that ended it.
func list(t *testing.T, c *Client, g Group) (accounts []string, err error) {
	t.Helper()
	for m, failed := range c.Members(t.Context(), g) {
		if err != nil {
			t.Error("something is yielded after an error")
		}
		if err = failed; err == nil {
			accounts = append(accounts, m.Account)
		} else if m != (Member{}) {
			t.Errorf("a member comes with an error: %+v", m)
		}
	}
	return accounts, err
}

func names(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("u%d", i))
	}
	return out
}

// memberPageAnswer is a page without anything but accounts.
func memberPageAnswer(memberNum int, next string, accounts ...string) string {
	page := map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "MemberNum": memberNum, "Next": next}
	items := []map[string]string{}
	for _, account := range accounts {
		items = append(items, map[string]string{"Member_Account": account})
	}
	page["MemberList"] = items
	text, _ := json.Marshal(page)
	return string(text)
}

type listBody struct {
	GroupId          string // the vendor's spelling
	Limit            int
	Offset           *int
	Next             *string
	MemberInfoFilter []string
	MemberRoleFilter []string
}

func decodeListBody(t *testing.T, r request) listBody {
	t.Helper()
	var body listBody
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Fatal(err)
	}
	filter := []string{"Role", "JoinTime", "LastSendMsgTime", "MuteUntil"}
	if body.GroupId != "g" || body.Limit != 100 || !slices.Equal(body.MemberInfoFilter, filter) {
		t.Errorf("body %s", r.body)
	}
	if body.MemberRoleFilter != nil {
		t.Error("the list is read with a role filter, which would hide that nobody's activity is known")
	}
	if (body.Offset == nil) == (body.Next == nil) {
		t.Errorf("body %s has not exactly one of Offset and Next", r.body)
	}
	return body
}

func TestMembersByOffset(t *testing.T) {
	for _, count := range []int{0, 1, 99, 100, 101, 200, 250} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			all := names(0, count)
			v := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
				body := decodeListBody(t, r)
				from := min(*body.Offset, count)
				return 200, memberPageAnswer(count, "", all[from:min(from+100, count)]...)
			})
			got, err := list(t, v.client(t), Group{ID: "g", Type: im.TypePublic, Members: count})
			if diff := cmp.Diff(all, got); diff != "" || err != nil {
				t.Errorf("error %v, -want, +got:\n%s", err, diff)
			}
			if n, want := len(v.seen()), max(1, (count+99)/100); n != want {
				t.Errorf("%d pages, want %d", n, want)
			}
		})
	}
}

func TestMembersByNext(t *testing.T) {
	pages := map[string]string{
		"":   memberPageAnswer(5, "n1", "a", "b"),
		"n1": memberPageAnswer(5, "n2"),
		"n2": memberPageAnswer(5, "", "c", "b"),
	}
	v := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
		body := decodeListBody(t, r)
		if body.Next == nil {
			t.Error("a community is not paged by Next")
		}
		return 200, pages[*body.Next]
	})
	got, err := list(t, v.client(t), Group{ID: "g", Type: im.TypeCommunity, Members: 5})
	if diff := cmp.Diff([]string{"a", "b", "c", "b"}, got); diff != "" || err != nil {
		t.Errorf("error %v, -want, +got:\n%s", err, diff)
	}
}

func TestMembersGuards(t *testing.T) {
	full := func(from int) string { return memberPageAnswer(1000, "", names(from, from+100)...) }
	cases := map[string]struct {
		group  Group
		answer func(n int, body listBody) (int, string)
		says   string
		class  Class
		pages  int
	}{
		"a page that fails for good": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1000}, pages: 3, class: ClassGroupGone, says: "10010",
			answer: func(n int, _ listBody) (int, string) {
				if n == 3 {
					return 200, refusal(10010, "gone")
				}
				return 200, full(n * 100)
			},
		},
		"a page that fails five times": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1000}, pages: 6, class: ClassTransient, says: "502",
			answer: func(n int, _ listBody) (int, string) {
				if n > 1 {
					return 502, ""
				}
				return 200, full(0)
			},
		},
		"an answer that repeats the one before": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1000}, pages: 3, class: ClassTransient,
			says:   "page 3 repeats the one before",
			answer: func(n int, _ listBody) (int, string) { return 200, full(min(n, 2) * 100) },
		},
		"a community's answer that repeats the one before": {
			group: Group{ID: "g", Type: im.TypeCommunity, Members: 1000}, pages: 2, class: ClassTransient,
			says: "page 2 repeats the one before",
			answer: func(n int, _ listBody) (int, string) {
				return 200, memberPageAnswer(1000, fmt.Sprint("n", n), "a", "b")
			},
		},
		"a Next seen before": {
			group: Group{ID: "g", Type: im.TypeCommunity, Members: 1000}, pages: 3, class: ClassTransient,
			says: "page 3 leads back to an earlier one",
			answer: func(n int, _ listBody) (int, string) {
				return 200, memberPageAnswer(1000, fmt.Sprint("n", n%2), fmt.Sprint("u", n))
			},
		},
		"a Next that stays": {
			group: Group{ID: "g", Type: im.TypeCommunity, Members: 1000}, pages: 2, class: ClassTransient,
			says: "page 2 leads back to an earlier one",
			answer: func(n int, _ listBody) (int, string) {
				return 200, memberPageAnswer(1000, "n", fmt.Sprint("u", n))
			},
		},
		"too many pages by Next": {
			group: Group{ID: "g", Type: im.TypeCommunity, Members: 100}, pages: 12, class: ClassTransient,
			says: "no end after 12 pages for 100 members",
			answer: func(n int, _ listBody) (int, string) {
				return 200, memberPageAnswer(1000, fmt.Sprint("n", n), fmt.Sprint("u", n))
			},
		},
		"too many pages by Offset": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 120}, pages: 12, class: ClassTransient,
			says: "no end after 12 pages for 120 members",
			answer: func(n int, _ listBody) (int, string) {
				return 200, memberPageAnswer(1_000_000, "", names(n*100, n*100+100)...)
			},
		},
		"a list that ends early": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1000}, pages: 2, class: ClassTransient,
			says: "ends after 100 of 1000 members",
			answer: func(n int, _ listBody) (int, string) {
				if n > 1 {
					return 200, memberPageAnswer(1000, "")
				}
				return 200, full(0)
			},
		},
		"no count": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1}, pages: 1, class: ClassTransient,
			says: "no MemberNum",
			answer: func(int, listBody) (int, string) {
				return 200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[{"Member_Account":"a"}]}`
			},
		},
		"a member without an account": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1}, pages: 5, class: ClassTransient,
			says: "no Member_Account",
			answer: func(int, listBody) (int, string) {
				return 200, `{"ActionStatus":"OK","ErrorCode":0,"MemberNum":1,"MemberList":[{"Role":"Member"}]}`
			},
		},
		"too large": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1}, pages: 1, class: ClassPermanent, says: "10018",
			answer: func(int, listBody) (int, string) { return 200, refusal(10018, "over 1 MB") },
		},
		"no permission": {
			group: Group{ID: "g", Type: im.TypePublic, Members: 1}, pages: 1, class: ClassUnauthorized, says: "10007",
			answer: func(int, listBody) (int, string) { return 200, refusal(10007, "no") },
		},
		"live room": {group: Group{ID: "g", Type: im.TypeAVChatRoom, VendorType: "Live"}, class: ClassUnsupported,
			says: `"Live" have no member list`},
		"unknown type": {group: Group{ID: "g", VendorType: "Hall"}, class: ClassUnsupported,
			says: `"Hall" have no member list`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, func(_ http.ResponseWriter, n int, r request) (int, string) {
				return tc.answer(n, decodeListBody(t, r))
			})
			_, err := list(t, v.client(t), tc.group)
			if err == nil || ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v (class %q), want class %q saying %q", err, ClassOf(err), tc.class, tc.says)
			}
			if got := len(v.seen()); got != tc.pages {
				t.Errorf("%d requests, want %d", got, tc.pages)
			}
		})
	}
}

// Members that leave while the list is read shift it: others come twice, and the count says where the list ends.
func TestMembersShift(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		switch n {
		case 1:
			return 200, memberPageAnswer(152, "", names(0, 100)...)
		case 2: // short, though the list goes on
			return 200, memberPageAnswer(152, "", names(98, 140)...)
		default:
			return 200, memberPageAnswer(150, "", names(140, 148)...)
		}
	})
	got, err := list(t, v.client(t), Group{ID: "g", Type: im.TypeWork, Members: 152})
	want := slices.Concat(names(0, 100), names(98, 148))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, -want, +got:\n%s", err, diff)
	}
}

// hall is a transport that makes up the pages of a community of any size.
func hall(members int) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		var body struct{ Next string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return nil, err
		}
		from, _ := strconv.Atoi(body.Next)
		to := min(from+MembersPerCall, members)
		page := []byte(`{"ActionStatus":"OK","ErrorCode":0,"MemberNum":` + strconv.Itoa(members) + `,"MemberList":[`)
		for i := from; i < to; i++ {
			page = fmt.Appendf(page, `{"Member_Account":"somebody%d","Role":"Member","JoinTime":1600000000,`+
				`"LastSendMsgTime":0},`, i)
		}
		page = append(page[:len(page)-1], `],"Next":"`...)
		if to < members {
			page = strconv.AppendInt(page, int64(to), 10)
		}
		page = append(page, `"}`...)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{},
			Body: io.NopCloser(bytes.NewReader(page))}, nil
	}
}

// The memory of a list does not depend on the number of members.
func TestMembersTakeLittleMemory(t *testing.T) {
	const members = 50_000
	clock := newClock()
	client, err := NewClient(Config{
		Endpoint: "https://im.example.com", SDKAppID: testApp, AdminAccount: testAdmin, SecretKey: testKey,
		Now: clock.Now, Sleep: func(context.Context, time.Duration) error { return nil },
		HTTPClient: &http.Client{Transport: hall(members)},
	})
	if err != nil {
		t.Fatal(err)
	}
	used := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before, read := used(), 0
	for _, err := range client.Members(t.Context(), Group{ID: "g", Type: im.TypeCommunity, Members: members}) {
		if err != nil {
			t.Fatal(err)
		}
		if read++; read == members {
			if grown := used() - before; grown > 1<<20 {
				t.Errorf("%d bytes are held after %d members", grown, read)
			}
		}
	}
	if read != members {
		t.Errorf("%d members, want %d", read, members)
	}
}

func TestMembersStopWhenTheCallerStops(t *testing.T) {
	v := newVendor(t, always(200, memberPageAnswer(1000, "", names(0, 100)...)))
	for _, err := range v.client(t).Members(t.Context(), Group{ID: "g", Type: im.TypePublic, Members: 1000}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if got := len(v.seen()); got != 1 {
		t.Errorf("%d pages read for one member", got)
	}
}

func TestMemberFields(t *testing.T) {
	joined, spoke := time.Unix(1600000000, 0).UTC(), time.Unix(1650000000, 0).UTC()
	cases := map[string]struct {
		item string
		want Member
	}{
		"complete": {`"Role":"Admin","JoinTime":1600000000,"LastSendMsgTime":1650000000,"MsgSeq":1,` +
			`"New":[]`, Member{Role: "Admin", Joined: joined, LastSpoke: spoke, ActivityKnown: true}},
		"blank after the role": {`"Role":"Member ","JoinTime":1600000000,"LastSendMsgTime":0`, Member{Role: "Member",
			Joined: joined, ActivityKnown: true}},
		"quoted times": {`"Role":"Owner","JoinTime":"1600000000","LastSendMsgTime":"1650000000"`,
			Member{Role: "Owner", Joined: joined, LastSpoke: spoke, ActivityKnown: true}},
		"unknown role": {`"Role":"member","JoinTime":1600000000,"LastSendMsgTime":0`, Member{Joined: joined,
			ActivityKnown: true}},
		"no role": {`"JoinTime":1600000000,"LastSendMsgTime":0`, Member{Joined: joined,
			ActivityKnown: true}},
		"no LastSendMsgTime": {`"Role":"Member","JoinTime":1600000000`, Member{Role: "Member", Joined: joined}},
		"LastSendMsgTime null": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":null`, Member{Role: "Member",
			Joined: joined}},
		"negative": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":-1`, Member{Role: "Member",
			Joined: joined}},
		"milliseconds": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":1650000000000`,
			Member{Role: "Member", Joined: joined}},
		"absurd": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":1e300`, Member{Role: "Member",
			Joined: joined}},
		"fraction": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":1.5`, Member{Role: "Member",
			Joined: joined}},
		"another type": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":{"a":1}`,
			Member{Role: "Member", Joined: joined}},
		"empty text": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":""`, Member{Role: "Member",
			Joined: joined}},
		"no JoinTime": {`"Role":"Member","LastSendMsgTime":1650000000`, Member{Role: "Member",
			LastSpoke: spoke}},
		"JoinTime 0": {`"Role":"Member","JoinTime":0,"LastSendMsgTime":1650000000`, Member{Role: "Member",
			LastSpoke: spoke}},
		"muted": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":0,"MuteUntil":4000000000`, Member{
			Role: "Member", Joined: joined, MuteUntil: time.Unix(4000000000, 0).UTC(), ActivityKnown: true}},
		"not muted": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":0,"MuteUntil":0`, Member{
			Role: "Member", Joined: joined, ActivityKnown: true}},
		"muted until no time": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":0,"MuteUntil":-1`, Member{
			Role: "Member", Joined: joined}},
		"in the future": {`"Role":"Member","JoinTime":1600000000,"LastSendMsgTime":4000000000`,
			Member{Role: "Member", Joined: joined, LastSpoke: time.Unix(4000000000, 0).UTC(), ActivityKnown: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			answer := `{"ActionStatus":"OK","ErrorCode":0,"MemberNum":1,"MemberList":[{"Member_Account":"a",` +
				tc.item + `}]}`
			v := newVendor(t, always(200, answer))
			client := v.client(t)
			tc.want.Account = "a"
			for got, err := range client.Members(t.Context(), Group{ID: "g", Type: im.TypePublic, Members: 1}) {
				if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
					t.Errorf("Members: error %v, -want, +got:\n%s", err, diff)
				}
			}
			got, _, err := client.MembersNamed(t.Context(), "g", []string{"a"}, time.Time{})
			if diff := cmp.Diff(map[string]Member{"a": tc.want}, got); diff != "" || err != nil {
				t.Errorf("MembersNamed: error %v, -want, +got:\n%s", err, diff)
			}
		})
	}
}

func TestMembersNamed(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
		var body struct {
			Accounts []string `json:"Member_List_Account"`
			GroupId  string   // the vendor's spelling
			Filter   []string `json:"MemberInfoFilter"`
		}
		if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.api != "get_specified_group_member_info" ||
			body.GroupId != "g" || len(body.Accounts) > 50 ||
			!slices.Equal(body.Filter, []string{"Role", "JoinTime", "LastSendMsgTime", "MuteUntil"}) {
			t.Errorf("%s %s: %v", r.api, r.body, err)
		}
		items := []string{`{"Member_Account":"stranger","Role":"Member"}`}
		for _, account := range body.Accounts {
			switch account {
			case "u3": // left, and the answer does not name it
			case "u4":
				items = append(items, `{"Member_Account":"u4","Role":"NotMember"}`)
			default:
				items = append(items, `{"Member_Account":"`+account+`","Role":"Member"}`)
			}
		}
		return 200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[` + strings.Join(items, ",") + `]}`
	})
	got, _, err := v.client(t).MembersNamed(t.Context(), "g", names(0, 120), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var accounts []string
	for account := range got {
		accounts = append(accounts, account)
	}
	want := append(names(0, 3), names(5, 120)...)
	slices.Sort(accounts)
	slices.Sort(want)
	if diff := cmp.Diff(want, accounts); diff != "" {
		t.Errorf("accounts: -want, +got:\n%s", diff)
	}
	if n := len(v.seen()); n != 3 {
		t.Errorf("%d requests for 120 accounts, want 3", n)
	}
}

// An incomplete response must not look as if accounts had left.
func TestMembersNamedFailsAsAWhole(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n == 2 {
			return 200, refusal(10010, "gone")
		}
		return 200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[]}`
	})
	got, _, err := v.client(t).MembersNamed(t.Context(), "g", names(0, 120), time.Time{})
	if got != nil || ClassOf(err) != ClassGroupGone {
		t.Errorf("got %v, %v; want nothing and an error", got, err)
	}
}

// FuzzDecodeResponse feeds arbitrary responses to all calls. Results must be possible.
func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte(memberPageAnswer(2, "", "a", "b")))
	f.Add([]byte(`{"GroupInfo":[{"GroupId":"g","Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`))
	f.Add([]byte(`{"ActionStatus":"OK","ErrorCode":0,"MemberNum":1,"MemberList":[{"Member_Account":"a",` +
		`"Role":"Member ","JoinTime":"1","LastSendMsgTime":1e9}],"Next":"x"}`))
	f.Add([]byte(refusal(10010, "gone")))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := response{api: apiMembers, body: body}
		var page memberListResponse
		if a.decode(&page) == nil {
			pages := newMemberPages(Group{ID: "g", Type: im.TypePublic, Members: 1})
			_ = pages.advance(page)
			for _, info := range page.Members {
				m := info.member()
				if m.ActivityKnown && m.Joined.IsZero() || m.Joined.Year() > 9999 || m.LastSpoke.Year() > 9999 ||
					m.LastSpoke.Unix() < 0 && !m.LastSpoke.IsZero() {
					t.Errorf("%q reads as %+v", body, m)
				}
				if !slices.Contains([]string{"", "Owner", "Admin", "Member"}, m.Role) {
					t.Errorf("%q: role %q", body, m.Role)
				}
			}
		}
		got := Group{}
		a.api = apiGroupInfo
		err := groupsCall([]string{"g"}, func(_ string, read Group,
			err error) error {
			got = read
			return err
		}).decode(a)
		if err == nil && (got.ID != "g" || got.VendorType == "" || got.Members < 0 || got.MaxMembers < 0 ||
			got.Type != im.TypeAVChatRoom && got.MaxMembers == 0) {
			t.Errorf("%q reads as %+v", body, got)
		}
		//nolint:errorlint // it is not wrapped here
		if failed, ok := err.(*Error); ok && (failed.Class == "" || len(failed.Info) > maxInfo) {
			t.Errorf("%q fails as %+v", body, failed)
		}
	})
}
