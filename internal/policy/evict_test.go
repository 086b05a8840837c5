package policy

import (
	"testing"
	"time"
)

// evicting adds an eviction rule to a join section.
func evicting(edit ...func(*EvictRule)) func(*JoinSection) {
	return func(j *JoinSection) {
		j.Evict = &EvictRule{
			Mode: ModeEnforce, Grace: 10 * time.Minute, Interval: day, MaxRemovals: 100, MaxRemovalsPerDay: 1000,
		}
		for _, e := range edit {
			e(j.Evict)
		}
	}
}

func governingEviction(t *testing.T, in Input, group string, groupType GroupType) *GoverningEviction {
	t.Helper()
	g, ok := Compile(in).App(appID).GoverningEviction(group, groupType)
	if !ok {
		t.Fatalf("no rule evicts members of %s", group)
	}
	return &g
}

func TestJudge(t *testing.T) {
	g := governingEviction(t, world(
		policyNamed("p", 1, joining(allow("jared"), deny("mallory"), evicting())),
	), "g", TypePublic)
	for account, want := range map[string]Reason{"jared": 0, "mallory": ReasonDenied, "eve": ReasonNotListed} {
		if got, refused := g.Judge(account); got.Reason != want || refused != (want != 0) {
			t.Errorf("Judge(%s) = %v %t, want %v", account, got.Reason, refused, want)
		}
	}
}
