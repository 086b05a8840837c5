package policy

import (
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlanPruneWithinTheBudget(t *testing.T) {
	members := []Member{
		member("talker", 300*day, day), member("c", 100*day, 40*day), member("b", 100*day, 50*day),
		member("a", 100*day, 60*day), member("d", 100*day, 35*day),
	}
	for budget, want := range map[int][]string{
		math.MaxInt: {"a", "b", "c", "d"}, 4: {"a", "b", "c", "d"}, 3: {"a", "b", "c"}, 1: {"a"}, 0: nil, -1: nil,
		math.MinInt: nil,
	} {
		t.Run(strconv.Itoa(budget), func(t *testing.T) {
			g := governing(t, world(policyNamed("p", 1, prune())), "g", TypePublic)
			plan, err := PlanPrune(g, GroupState{Type: TypePublic, Members: 100, MaxMembers: 100}, budget,
				listed(members...), now)
			if err != nil {
				t.Fatalf("PlanPrune: %v", err)
			}
			var got []string
			for _, r := range plan.Removals {
				got = append(got, r.Account)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("removals (-want,+got):\n%s", diff)
			}
			if plan.Candidates != 4 || plan.Stay != (Stay{Active: 1}) {
				t.Errorf("%d candidates, %+v stay: the budget changes what is removed, not what is counted",
					plan.Candidates, plan.Stay)
			}
		})
	}
}

// manyMembers yields n members in no order, without allocating: the names are made before. Every other one is inactive.
func manyMembers(n int) iter.Seq2[Member, error] {
	members := make([]Member, n)
	for i := range members {
		idle := 10 * day
		if i%2 == 1 {
			idle = 31*day + time.Duration(i*7907%n)*time.Second
		}
		members[i] = Member{
			Account: fmt.Sprintf("account-of-a-member-%08d", i*7919%n), Role: RoleMember, Joined: ago(300 * day),
			LastSpoke: ago(idle), ActivityKnown: true,
		}
	}
	return func(yield func(Member, error) bool) {
		for i := range members {
			if !yield(members[i], nil) {
				return
			}
		}
	}
}

func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestPlanOfAMillionMembersIsBounded(t *testing.T) {
	const n, limit = 1_000_000, 40 << 20
	p := policyNamed("p", 1, prune(func(r *PruneRule) { r.MaxRemovals = 1000; r.Protect = naming("somebody") }))
	g := governing(t, world(p), "g", TypeCommunity)
	members := manyMembers(n)
	for name, claimed := range map[string]int{"as many as the vendor says": n, "many more than it says": 2} {
		t.Run(name, func(t *testing.T) {
			var plan Plan
			bytes := allocated(func() {
				var err error
				plan, err = PlanPrune(g, GroupState{Type: TypeCommunity, Members: claimed, MaxMembers: claimed},
					math.MaxInt, members, now)
				if err != nil {
					t.Errorf("PlanPrune: %v", err)
				}
			})
			t.Logf("%d bytes allocated", bytes)
			if bytes > limit {
				t.Errorf("%d bytes allocated, want at most %d", bytes, limit)
			}
			if plan.Candidates != n/2 || plan.Stay.Active != n/2 || plan.Repeated != 0 {
				t.Errorf("%d candidates, %+v stay, %d repeated", plan.Candidates, plan.Stay, plan.Repeated)
			}
			if !slices.IsSortedFunc(plan.Removals, byActivity) {
				t.Error("the removals are in no order")
			}
		})
	}
}

func BenchmarkPlanPrune(b *testing.B) {
	p := policyNamed("p", 1, prune(func(r *PruneRule) { r.Protect = naming("somebody") }))
	app := Compile(world(p)).App(appID)
	for _, n := range []int{200, 2000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			g, _ := app.GoverningRule("g", TypeCommunity)
			members := manyMembers(n)
			group := GroupState{Type: TypeCommunity, Members: n, MaxMembers: n}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := PlanPrune(&g, group, math.MaxInt, members, now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/member")
		})
	}
}
