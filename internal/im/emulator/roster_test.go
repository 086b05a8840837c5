package emulator

import (
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestRosterAgainstList compares a roster with a plain list under random additions and removals.
func TestRosterAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r roster
		var want []string
		accounts := rapid.IntRange(0, 3000)
		t.Repeat(map[string]func(*rapid.T){
			"add some": func(t *rapid.T) {
				from := accounts.Draw(t, "from")
				for i := from; i < from+500; i++ {
					if account := strconv.Itoa(i); r.find(account) == nil {
						r.add(member{account: account, role: roleMember})
						want = append(want, account)
					}
				}
			},
			"remove some": func(t *rapid.T) {
				from := accounts.Draw(t, "from")
				gone := map[string]bool{}
				for i := from; i < from+400; i++ {
					gone[strconv.Itoa(i)] = r.remove(strconv.Itoa(i))
				}
				want = slices.DeleteFunc(want, func(account string) bool {
					left, named := gone[account]
					if named && !left {
						t.Fatalf("%s was a member", account)
					}
					return named
				})
			},
			"": func(t *rapid.T) {
				if r.size() != len(want) {
					t.Fatalf("size %d, want %d", r.size(), len(want))
				}
				got := []string(nil)
				for m := range r.after(0) {
					got = append(got, m.account)
				}
				if !slices.Equal(got, want) {
					t.Fatal(cmp.Diff(want, got))
				}
				offset := rapid.IntRange(0, 3000).Draw(t, "offset")
				got = nil
				for _, m := range r.page(offset, 100) {
					got = append(got, m.account)
				}
				from := min(offset, len(want))
				if page := want[from:min(from+100, len(want))]; !slices.Equal(got, page) {
					t.Fatalf("page at %d: %s", offset, cmp.Diff(page, got))
				}
			},
		})
	})
}

// A Community has up to a million members, so a slot must stay small.
func TestMemberSize(t *testing.T) {
	if size := unsafe.Sizeof(member{}); size > 32 {
		t.Errorf("a member takes %d bytes", size)
	}
}

func TestParseDuration(t *testing.T) {
	day := 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"40d": 40 * day, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "-2h": -2 * time.Hour,
		"-1d12h": -36 * time.Hour, "0d": 0, "1.5h": 90 * time.Minute,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", "d", "40", "40 d", "1d-2h", "--1h", "65536d", "1d1d", "65535d2562047h",
		"1h1d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q gave %s", text, got)
		}
	}
}

// BenchmarkCommunityPage shows that the cost of a page does not depend on the size of the group, also after many
// removals.
func BenchmarkCommunityPage(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			g := &group{kind: typeCommunity, maxMembers: n}
			if _, _, err := g.putMembers(MemberSpec{Count: n, Prefix: "u"}, time.Unix(1e9, 0)); err != nil {
				b.Fatal(err)
			}
			for i := 1; i < n; i += 3 {
				g.expel("u" + strconv.Itoa(i))
			}
			cursor := ""
			for b.Loop() {
				page, next, f := g.pageAfter(cursor, 100, func(role) bool { return true })
				if f != nil || len(page) == 0 {
					b.Fatal(f)
				}
				cursor = next
			}
		})
	}
}
