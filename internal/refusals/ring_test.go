package refusals

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/policy"
)

var began = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// refused is the nth refusal of a test, n seconds after it began.
func refused(n int, app, group, account string) *decisionlog.Decision {
	return &decisionlog.Decision{
		Time: began.Add(time.Duration(n) * time.Second), App: app, Group: group, GroupType: policy.TypePublic,
		Account: account, Reason: policy.ReasonDenied, Policy: "banned", Code: 10120, Message: "Not today",
	}
}

func accounts(list []Refusal) string {
	var names []string
	for i := range list {
		names = append(names, list[i].Account)
	}
	return strings.Join(names, " ")
}

func TestRingRemembersTheNewestRefusalsOfAllApps(t *testing.T) {
	ring := NewRing(4, "replica-0", began)
	admitted := refused(0, "chat/prod", "lounge", "jared")
	admitted.Admitted = true
	ring.Keep(admitted)
	for n, account := range []string{"a", "b", "c", "d", "e", "f"} {
		app := "chat/prod"
		if n == 1 || n == 4 {
			app = "chat/test"
		}
		ring.Keep(refused(n, app, "lounge", account))
	}
	for app, want := range map[string]struct {
		accounts  string
		forgotten uint64
	}{"chat/prod": {"f d c", 1}, "chat/test": {"e", 1}, "chat/other": {"", 0}} {
		got := ring.Refusals(app, Filter{})
		if accounts(got.Refusals) != want.accounts || got.Forgotten != want.forgotten || got.Refusals == nil {
			t.Errorf("%s: %q, %d forgotten, want %+v", app, accounts(got.Refusals), got.Forgotten, want)
		}
		if got.Replica != "replica-0" || !got.Since.Equal(began) || got.Capacity != 4 {
			t.Errorf("%s: %+v", app, got)
		}
	}
}

func TestRefusalSaysAllThatTheDecisionDid(t *testing.T) {
	ring := NewRing(1, "replica-0", began)
	d := refused(1, "chat/prod", "lounge", "mallory")
	d.Operator, d.Trigger, d.Leak, d.Time = "oscar", policy.TriggerInvite, true, d.Time.Add(time.Nanosecond)
	ring.Keep(d)
	want := []Refusal{{
		Time: d.Time, Group: "lounge", GroupType: "Public", Account: "mallory", Operator: "oscar", Trigger: "Invite",
		Reason: "Denied", Policy: "banned", Code: 10120, Message: "Not today", Leak: true,
	}}
	if diff := cmp.Diff(want, ring.Refusals("chat/prod", Filter{}).Refusals); diff != "" {
		t.Error(diff)
	}
}

func TestRingWithoutCapacityRemembersNothing(t *testing.T) {
	ring := NewRing(0, "replica-0", began)
	ring.Keep(refused(0, "chat/prod", "lounge", "mallory"))
	if got := ring.Refusals("chat/prod", Filter{}); len(got.Refusals) != 0 || got.Capacity != 0 {
		t.Errorf("%+v", got)
	}
}

func TestFilterSelectsByGroupAccountAndTime(t *testing.T) {
	ring := NewRing(10, "replica-0", began)
	for n, id := range []string{"lounge/a", "club/a", "lounge/b", "lounge/a"} {
		group, account, _ := strings.Cut(id, "/")
		ring.Keep(refused(n, "chat/prod", group, account))
	}
	for name, tc := range map[string]struct {
		filter Filter
		want   string
	}{
		"all":     {Filter{}, "3 2 1 0"},
		"group":   {Filter{Group: "lounge"}, "3 2 0"},
		"account": {Filter{Account: "a"}, "3 1 0"},
		"both":    {Filter{Group: "lounge", Account: "a"}, "3 0"},
		"before":  {Filter{Before: began.Add(2 * time.Second)}, "1 0"},
		"limit":   {Filter{Limit: 2}, "3 2"},
	} {
		var got []string
		for _, r := range ring.Refusals("chat/prod", tc.filter).Refusals {
			got = append(got, fmt.Sprint(int(r.Time.Sub(began).Seconds())))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", name, got, tc.want)
		}
	}
}

// Accounts of one invitation are refused at one time. A page that ended among them would hide the others.
func TestPagesOverAllReplicasShowEveryRefusalOnce(t *testing.T) {
	rings := []*Ring{NewRing(100, "a", began), NewRing(100, "b", began)}
	want := map[string]bool{}
	for n := range 60 {
		account := fmt.Sprint("account-", n)
		rings[n%2].Keep(refused(n/7, "chat/prod", "lounge", account)) // 7 at a time
		want[account] = true
	}
	filter, pages := Filter{Limit: 5}, 0
	for more := true; more; pages++ {
		var answers []Refusals
		for _, ring := range rings {
			answers = append(answers, ring.Refusals("chat/prod", filter))
		}
		var page []Refusal
		page, more = Merge(answers, filter)
		for i := range page {
			if !want[page[i].Account] {
				t.Errorf("%s is shown twice", page[i].Account)
			}
			delete(want, page[i].Account)
			if i > 0 && page[i].Time.After(page[i-1].Time) {
				t.Errorf("%s is after an older one", page[i].Account)
			}
			filter.Before = page[i].Time
		}
	}
	if len(want) > 0 {
		t.Errorf("never shown: %v", want)
	}
	if pages < 8 {
		t.Errorf("%d pages, want about one for every 7", pages)
	}
}

// A body has up to 64 KiB, of which an id is a part.
func TestFullRingTakesLittleMemory(t *testing.T) {
	ring := NewRing(DefaultCapacity, "replica-0", began)
	before := heap()
	for n := range 2 * DefaultCapacity {
		body := strings.Repeat("x", 4096) + fmt.Sprintf("account-%07d", n)
		ring.Keep(refused(n, "chat/prod", body[4096-9:4096]+fmt.Sprint(n%100), body[4096:]))
	}
	if got := heap() - before; got > 3<<19 {
		t.Errorf("%d bytes, want at most 1.5 MiB", got)
	} else {
		t.Logf("%d bytes for %d refusals", got, DefaultCapacity)
	}
	runtime.KeepAlive(ring)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func BenchmarkKeep(b *testing.B) {
	ring := NewRing(DefaultCapacity, "replica-0", began)
	d := refused(1, "chat/prod", "lounge", "mallory")
	b.ReportAllocs()
	for b.Loop() {
		ring.Keep(d)
	}
}

func BenchmarkRefusals(b *testing.B) {
	ring := NewRing(DefaultCapacity, "replica-0", began)
	for n := range DefaultCapacity {
		ring.Keep(refused(n, "chat/prod", "lounge", fmt.Sprint("account-", n)))
	}
	b.ReportAllocs()
	for b.Loop() {
		ring.Refusals("chat/prod", Filter{})
	}
}

// Nanoseconds since 1970 overflow in the year 2262.
func TestRefusalsBeforeATimeFarAway(t *testing.T) {
	r := NewRing(10, "replica-0", began)
	r.Keep(&decisionlog.Decision{Time: began, App: "chat/prod", Account: "mallory"})
	for at, want := range map[time.Time]int{
		began.AddDate(1000, 0, 0): 1, began.AddDate(-1000, 0, 0): 0, began: 0, began.Add(1): 1,
	} {
		if got := len(r.Refusals("chat/prod", Filter{Before: at}).Refusals); got != want {
			t.Errorf("%d refusals before %s, want %d", got, at, want)
		}
	}
}
