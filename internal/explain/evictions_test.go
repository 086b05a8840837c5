package explain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// members are olga, who owns the group, those of a list, and others who joined after one another, an hour apart.
func members(others ...string) []policy.Member {
	group := []policy.Member{{Account: "olga", Role: policy.RoleOwner, Joined: at.AddDate(-1, 0, 0)}}
	for _, account := range strings.Fields("ann bob cem dora emil fay gus ivo jill kofi lea") {
		group = append(group,
			policy.Member{Account: account, Role: policy.RoleMember, Joined: at.AddDate(0, -6, 0)})
	}
	for i, account := range others {
		joined := at.Add(-time.Duration(len(others)-i) * time.Hour)
		group = append(group, policy.Member{Account: account, Role: policy.RoleMember, Joined: joined})
	}
	return group
}

// TestEvictionAnswers compares whole answers with testdata/evict-*.txt. Each has been read by a person.
func TestEvictionAnswers(t *testing.T) {
	newcomer := policy.Member{Account: "trudy", Role: policy.RoleMember, Joined: at.Add(-9 * time.Minute)}
	tests := map[string]struct {
		question MembersQuestion
		change   func(p *v1alpha1.GroupPolicy)
	}{
		"evict-routine": {
			question: MembersQuestion{Group: "vip-1", Members: append(members("mallory", "hana"), newcomer)},
		},
		"evict-breaker": {question: MembersQuestion{
			Group: "vip-1", Type: policy.TypePublic, Members: members("oscar", "a b", "\x1b[2Jeve", "mallory"),
		}},
		"evict-few-at-once": {
			question: MembersQuestion{Group: "vip-1", Members: members("mallory", "eve"), RemovedToday: 999},
		},
		"evict-unresolved": {
			question: MembersQuestion{Group: "vip-1", Members: members("mallory")},
			change: func(p *v1alpha1.GroupPolicy) {
				if p.Name == "banned" {
					p.Spec.Join.Deny.Lists[0].Name = "bans"
				}
			},
		},
		"evict-preview": {
			question: MembersQuestion{
				Group: "town-1", Type: policy.TypeCommunity, Members: append(members(), newcomer),
			},
		},
		"evict-ungoverned": {question: MembersQuestion{Group: "lobby", Members: members("mallory")}},
		"evict-nobody":     {question: MembersQuestion{Group: "vip-1", Members: members()}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			o := read(t, "evict.yaml")
			for i := range o.Policies {
				if tc.change != nil {
					tc.change(&o.Policies[i])
				}
			}
			tc.question.At = at
			e, err := AskEvictions(o, &tc.question)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name, e)
		})
	}
}

// Pages of the vendor's list overlap where members left between two calls.
func TestMembersThatComeTwiceCountOnce(t *testing.T) {
	group := members("oscar", "eve", "mallory")
	e, err := AskEvictions(read(t, "evict.yaml"), &MembersQuestion{
		Group: "vip-1", Type: policy.TypePublic, Members: append(group, group...), At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("would remove %d of %d members", len(e.Removals), len(group))
	if e.Members != len(group) || !strings.HasPrefix(e.Breaker, want) {
		t.Errorf("%d members, breaker %q, want %q", e.Members, e.Breaker, want)
	}
}

func TestEvictionsMayDependOnTheType(t *testing.T) {
	_, err := AskEvictions(read(t, "evict.yaml"), &MembersQuestion{Group: "town-1", Members: members("trudy"), At: at})
	if err == nil || !strings.Contains(err.Error(), "name it with --type") {
		t.Errorf("error %v", err)
	}
}

func TestAnswersSayWhetherAMemberWouldStay(t *testing.T) {
	const byVIP = " by the rule of policy vip (Enforce)"
	for account, tc := range map[string]struct{ group, want string }{
		"mallory": {
			"vip-1", "member: evicted" + byVIP + ", since policy banned denies it, by AccountList banned.\n",
		},
		"oscar": {"vip-1", "member: evicted" + byVIP + ", since policy banned denies it.\n"},
		"eve": {
			"vip-1", "member: evicted" + byVIP + ", since policy vip has an allow, and no policy allows it.\n",
		},
		"ann":           {"vip-1", "member: not evicted" + byVIP + ".\n"},
		"administrator": {"vip-1", "member: not evicted" + byVIP + ".\n"},
		"trudy": {
			"town-1", "member (Community): evicted by the rule of policy communities (Preview), " +
				"since policy communities denies it.\n",
		},
		"fay": {"lobby", ""},
	} {
		j, err := AskJoin(read(t, "evict.yaml"), Question{Group: tc.group, Account: account, At: at})
		if err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(j.Sentence(), "If it were a ")
		if got != tc.want {
			t.Errorf("%s in %s: %q, want %q", account, tc.group, got, tc.want)
		}
	}
}

func TestGovernsSaysWhoseRuleEvicts(t *testing.T) {
	g, err := AskGoverns(read(t, "evict.yaml"), Question{Group: "town-1"})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "evict-governs", g)
}

// TestNearAccountsOfManyMembers: the lists are gone through once, and not once for each member.
func TestNearAccountsOfManyMembers(t *testing.T) {
	o := read(t, "evict.yaml")
	list := &o.Lists[0]
	for i := range 20_000 {
		list.Spec.Accounts = append(list.Spec.Accounts, fmt.Sprintf("Member-%d", i))
	}
	var others []string
	for i := range 1000 {
		others = append(others, fmt.Sprintf("member-%d", i))
	}
	start := time.Now()
	e, err := AskEvictions(o, &MembersQuestion{
		Group: "vip-1", Type: policy.TypePublic, Members: members(others...), At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Hints) != maxHints || len(e.Removals) != 100 || time.Since(start) > 20*time.Second {
		t.Errorf("%d hints, %d removals, %s", len(e.Hints), len(e.Removals), time.Since(start))
	}
}
