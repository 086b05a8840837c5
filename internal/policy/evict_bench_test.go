package policy

import (
	"fmt"
	"math"
	"testing"
)

// judgedGroup is a group of so many members, of whom every hundredth is refused, under several policies: one by a
// list of 1,000,000 accounts.
func judgedGroup(members int) (*GoverningEviction, []Member) {
	const size = 1_000_000
	in := world(
		policyNamed("vip", 1, on(exact("g")), joining(evicting(func(r *EvictRule) { r.MaxRemovals = 1000 }),
			allowList("vip"), denyList("banned"))),
		policyNamed("staff", 2, on(prefix("g")), joining(prefixed("staff-", "bot-"))),
		policyNamed("banned", 3, joining(deny("mallory", "eve"),
			func(j *JoinSection) { j.Deny.Lists = byListName("banned").Lists })),
		policyNamed("guests", 4, joining(allow("guest-1", "guest-2"), triggeredBy(TriggerInvite))),
	)
	in.Lists = []List{
		{Object: object("vip", 0), Accounts: numbered(0, size)},
		{Object: object("banned", 0), Accounts: numbered(2*size, 20_000)},
	}
	g, _ := Compile(in).App(appID).GoverningEviction("g", TypeCommunity)
	all := make([]Member, members)
	for i := range all {
		all[i] = member(fmt.Sprintf("account-%08d", i*(size/members)), 30*day, day)
		if i%100 == 0 {
			all[i].Account = fmt.Sprintf("stranger-%08d", i)
		}
	}
	return &g, all
}

func TestJudgeAllocatesNothing(t *testing.T) {
	g, members := judgedGroup(600)
	if got := testing.AllocsPerRun(10, func() {
		for _, m := range members {
			g.Judge(m.Account)
			g.Evicts(m, now)
		}
	}); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func TestPlanOfAMillionMembersToEvictIsBounded(t *testing.T) {
	const n, limit = 1_000_000, 40 << 20
	g := byRule(func(r *EvictRule) { r.MaxRemovals = 1000 })
	members := manyMembers(n)
	var plan Plan
	bytes := allocated(func() {
		var err error
		s := EvictionState{Group: GroupState{Type: TypeCommunity, Members: n}, Budget: math.MaxInt}
		if plan, err = PlanEviction(g, s, members, now); err != nil {
			t.Errorf("PlanEviction: %v", err)
		}
	})
	t.Logf("%d bytes allocated", bytes)
	if bytes > limit || plan.Candidates != n || len(plan.Removals) != 1000 {
		t.Errorf("%d bytes allocated, want at most %d; %d of %d candidates planned", bytes, limit, len(plan.Removals),
			plan.Candidates)
	}
}

func BenchmarkJudge(b *testing.B) {
	g, members := judgedGroup(6000)
	b.ReportAllocs()
	refused, i := 0, 0
	for b.Loop() {
		if i++; i == len(members) {
			i = 0
		}
		if _, is := g.Judge(members[i].Account); is {
			refused++
		}
	}
	b.ReportMetric(float64(refused)/float64(b.N), "refused/op")
}

func BenchmarkPlanEviction(b *testing.B) {
	g, members := judgedGroup(6000)
	s := EvictionState{Group: GroupState{Type: TypeCommunity, Members: len(members)}, Budget: math.MaxInt}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := PlanEviction(g, s, listed(members...), now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(members)), "ns/member")
}
