package imrest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// removals answers delete_group_member: refuse names the code for accounts whose presence fails a call.
func removals(t *testing.T, refuse map[string]int) func(http.ResponseWriter, int, request) (int, string) {
	t.Helper()
	return func(_ http.ResponseWriter, _ int, r request) (int, string) {
		for _, account := range deletedAccounts(t, r) {
			if code := refuse[account]; code != 0 {
				return 200, refusal(code, "not "+account)
			}
		}
		return 200, okAnswer
	}
}

func deletedAccounts(t *testing.T, r request) []string {
	t.Helper()
	var body struct {
		MemberToDel_Account []string
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Error(err)
	}
	return body.MemberToDel_Account
}

// wantDeletion compares; refused has the code of each account.
func wantDeletion(t *testing.T, got Deletion, removed []string, refused map[string]int, unknown, untouched []string) {
	t.Helper()
	codes := map[string]int{}
	for _, refusal := range got.Refused {
		codes[refusal.Account] = refusal.Err.Code
		if refusal.Err.Info == "" {
			t.Errorf("the refusal of %s has no words", refusal.Account)
		}
	}
	want := []any{removed, refused, unknown, untouched}
	if diff := cmp.Diff(want, []any{got.Removed, codes, got.Unknown, got.Untouched}); diff != "" {
		t.Errorf("removed, refused, unknown, untouched: -want, +got:\n%s", diff)
	}
}

// The machine may also be suspended while the connection is made.
func TestDeletionIsNotSentWhenItsConnectionTookTooLong(t *testing.T) {
	v := newVendor(t, always(200, okAnswer))
	client := v.client(t, func(c *Config) {
		c.HTTPClient = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				v.clock.move(6 * time.Second)
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		}}
	})
	defer client.Close()
	got, err := client.DeleteMembers(t.Context(), "g", []string{"a", "b"},
		DeleteOptions{NotAfter: v.clock.Now().Add(5 * time.Second)})
	if !errors.Is(err, ErrTooLate) {
		t.Errorf("%v, want ErrTooLate", err)
	}
	wantDeletion(t, got, nil, map[string]int{}, nil, []string{"a", "b"})
	for _, request := range v.seen() { // at most one that was broken off after its header
		if request.body != "" {
			t.Errorf("the vendor has received %s", request.body)
		}
	}
}

func TestDeleteMembers(t *testing.T) {
	v := newVendor(t, always(200, okAnswer))
	client := v.client(t)
	cases := map[string]struct {
		opts DeleteOptions
		want string
	}{
		"plain": {DeleteOptions{}, `{"GroupId":"@TGS#1","MemberToDel_Account":["a","b"],"Silence":0}`},
		"silent, reasoned": {DeleteOptions{Silent: true, Reason: `"inactive"`},
			`{"GroupId":"@TGS#1","MemberToDel_Account":["a","b"],"Silence":1,"Reason":"\"inactive\""}`},
	}
	for name, tc := range cases {
		got, err := client.DeleteMembers(t.Context(), "@TGS#1", []string{"a", "b"}, tc.opts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantDeletion(t, got, []string{"a", "b"}, map[string]int{}, nil, nil)
		seen := v.seen()
		if got := seen[len(seen)-1].body; got != tc.want {
			t.Errorf("%s: body %s, want %s", name, got, tc.want)
		}
	}
	sent := len(v.seen())
	if got, err := client.DeleteMembers(t.Context(), "g", names(0, 101), DeleteOptions{}); err == nil ||
		len(got.Untouched) != 101 {
		t.Errorf("101 accounts in one removal: %v, %v", got, err)
	}
	if got, err := client.DeleteMembers(t.Context(), "g", nil, DeleteOptions{}); err != nil {
		t.Errorf("nobody to remove: %v, %v", got, err)
	}
	if len(v.seen()) != sent {
		t.Error("a removal of nobody or of too many was sent")
	}
}

func TestAnAccountThatTheVendorRefusesToRemoveDoesNotKeepTheOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		accounts int
		refuse   map[string]int
		calls    int // at most
	}{
		"one of a hundred":               {100, map[string]int{"u7": 10004}, 15},
		"two, for different reasons":     {100, map[string]int{"u0": 10019, "u99": 123456}, 27},
		"the only one":                   {1, map[string]int{"u0": 10004}, 1},
		"all":                            {4, map[string]int{"u0": 10004, "u1": 10004, "u2": 10004, "u3": 10004}, 7},
		"the owner, whom nobody removes": {20, map[string]int{"u19": 10009}, 11},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, removals(t, tc.refuse))
			accounts := names(0, tc.accounts)
			got, err := v.client(t).DeleteMembers(t.Context(), "g", accounts, DeleteOptions{})
			if err != nil {
				t.Errorf("error %v, want none: of every account it is known what became of it", err)
			}
			var want []string
			for _, account := range accounts {
				if tc.refuse[account] == 0 {
					want = append(want, account)
				}
			}
			wantDeletion(t, got, want, tc.refuse, nil, nil)
			if calls := len(v.seen()); calls > tc.calls {
				t.Errorf("%d calls, want at most %d", calls, tc.calls)
			}
		})
	}
}

func TestVendorThatRefusesToRemoveEveryAccountIsNotAskedForEach(t *testing.T) {
	for _, accounts := range []int{MaxRefusals, MaxDeletesPerCall} {
		v := newVendor(t, always(200, refusal(10004, "x")))
		got, err := v.client(t).DeleteMembers(t.Context(), "g", names(0, accounts), DeleteOptions{})
		if ClassOf(err) != ClassPermanent {
			t.Errorf("%v (class %q), want class %s", err, ClassOf(err), ClassPermanent)
		}
		refused := map[string]int{}
		for _, account := range names(0, MaxRefusals) {
			refused[account] = 10004
		}
		wantDeletion(t, got, nil, refused, nil, names(MaxRefusals, accounts))
		if calls := len(v.seen()); calls > 2*MaxRefusals+8 {
			t.Errorf("%d calls for %d accounts", calls, accounts)
		}
	}
}

// What is not about the accounts of a call does not get better by halving it.
func TestRemovalIsNotHalvedForWhatIsAboutNoAccount(t *testing.T) {
	for code, class := range map[int]Class{
		10007: ClassUnauthorized, 60010: ClassUnauthorized, 10010: ClassGroupGone, 10015: ClassGroupGone,
		10003: ClassPermanent, 10026: ClassPermanent, 60002: ClassPermanent, 70050: ClassThrottled,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			v := newVendor(t, always(200, refusal(code, "x")))
			got, err := v.client(t).DeleteMembers(t.Context(), "g", names(0, 4), DeleteOptions{})
			if ClassOf(err) != class {
				t.Errorf("%v (class %q), want class %s", err, ClassOf(err), class)
			}
			wantDeletion(t, got, nil, map[string]int{}, nil, names(0, 4))
			if calls := len(v.seen()); calls != 1 {
				t.Errorf("%d calls, want 1", calls)
			}
		})
	}
}

// After such an answer the vendor may still remove the members: the caller must wait before it looks at them.
func TestRemovalWithoutAClearAnswerIsUnknown(t *testing.T) {
	cut := func(http.ResponseWriter, int, request) (int, string) { panic(http.ErrAbortHandler) }
	for name, answer := range map[string]func(http.ResponseWriter, int, request) (int, string){
		"cut":                 cut,
		"HTTP 502":            always(502, ""),
		"HTTP 404":            always(404, ""),
		"60008":               always(200, refusal(60008, "service timeout")),
		"10002":               always(200, refusal(10002, "internal")),
		"HTML":                always(200, "<html>"),
		"no ErrorCode":        always(200, "{}"),
		"over 4 MiB":          always(200, okAnswer+strings.Repeat(" ", maxResponse)),
		"FAIL without a code": always(200, `{"ActionStatus":"FAIL","ErrorCode":0,"ErrorInfo":"x"}`),
	} {
		t.Run(name, func(t *testing.T) {
			// u1 is refused: the call of u2 and u3 is the sixth.
			refuse := removals(t, map[string]int{"u1": 10004})
			v := newVendor(t, func(w http.ResponseWriter, n int, r request) (int, string) {
				if deletedAccounts(t, r)[0] == "u2" {
					return answer(w, n, r)
				}
				return refuse(w, n, r)
			})
			got, err := v.client(t).DeleteMembers(t.Context(), "g", names(0, 8), DeleteOptions{})
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("error %v, want the failed call", err)
			}
			wantDeletion(t, got, []string{"u0"}, map[string]int{"u1": 10004}, []string{"u2", "u3"}, names(4, 8))
			if calls := len(v.seen()); calls != 6 {
				t.Errorf("%d calls, want 6: what may have taken effect is not repeated", calls)
			}
		})
	}
}

func TestRemovalThatIsTooFrequentIsRepeated(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n < 3 {
			return 200, refusal(60007, "slow down")
		}
		return 200, okAnswer
	})
	got, err := v.client(t).DeleteMembers(t.Context(), "g", []string{"a"}, DeleteOptions{})
	if err != nil {
		t.Error(err)
	}
	wantDeletion(t, got, []string{"a"}, map[string]int{}, nil, nil)
}

// The facts grow old while refused accounts are looked for.
func TestNoPartOfARemovalStartsTooLate(t *testing.T) {
	var v *vendor
	refuse := removals(t, map[string]int{"u0": 10004})
	v = newVendor(t, func(w http.ResponseWriter, n int, r request) (int, string) {
		v.clock.move(time.Second)
		return refuse(w, n, r)
	})
	notAfter := v.clock.Now().Add(3500 * time.Millisecond)
	got, err := v.client(t).DeleteMembers(t.Context(), "g", names(0, 4), DeleteOptions{NotAfter: notAfter})
	if !errors.Is(err, ErrTooLate) {
		t.Errorf("error %v, want ErrTooLate", err)
	}
	wantDeletion(t, got, []string{"u1"}, map[string]int{"u0": 10004}, nil, []string{"u2", "u3"})
	for _, r := range v.seen() {
		if r.at.After(notAfter) {
			t.Errorf("a call started %s too late", r.at.Sub(notAfter))
		}
	}
}

func TestRemovalThatIsCancelledIsUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v := newVendor(t, func(http.ResponseWriter, int, request) (int, string) {
		cancel()
		return 200, okAnswer
	})
	got, err := v.client(t).DeleteMembers(ctx, "g", []string{"a"}, DeleteOptions{})
	if err == nil {
		return // the answer was faster
	}
	wantDeletion(t, got, nil, map[string]int{}, []string{"a"}, nil)
}
