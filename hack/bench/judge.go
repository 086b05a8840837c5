package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/policy"
)

const (
	judgedMembers  = 6000
	judgedAccounts = 1_000_000
	// Of so many members one is refused.
	refusedShare = 100
)

// judge times GoverningEviction.Judge alone, on the members of one group that four policies govern.
func (b *bench) judge(ctx context.Context) error {
	defer debug.FreeOSMemory()
	rule, members := judgedGroup()
	for i, member := range members {
		if _, refused := rule.Judge(member); refused != (i%refusedShare == 0) {
			return fmt.Errorf("wrong verdict on %s: refused %t", member, refused)
		}
	}
	runtime.GC() // what making the input left behind is not collected while we measure
	var times []float64
	for range b.rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		each, allocations, err := timeEach(members, func(member *string) { rule.Judge(*member) })
		if err != nil {
			return err
		}
		times = append(times, each)
		b.results.add("judge", each)
		b.results.add("judge/allocations", allocations)
	}
	b.say("Judge, %d members, %d accounts: %.0f ns", judgedMembers, judgedAccounts, median(times))
	return nil
}

// judgedGroup is admitted by a list, and by prefixes; two policies deny the accounts of another list.
func judgedGroup() (*policy.GoverningEviction, []string) {
	numbered := func(name string, count, step int) []string {
		all := make([]string, count)
		for i := range all {
			all[i] = fmt.Sprintf("%s-%08d", name, i*step)
		}
		return all
	}
	object := func(name string) policy.Object { return policy.Object{Namespace: "chat", Name: name, UID: name} }
	selecting := func(list string) *policy.AccountSelector {
		return &policy.AccountSelector{Lists: []policy.ListRef{{Name: list}}}
	}
	governing := func(name string, m policy.GroupMatcher, join policy.JoinSection) policy.Policy {
		return policy.Policy{Object: object(name), App: "app", Groups: []policy.GroupMatcher{m}, Join: &join}
	}
	app := policy.Compile(policy.Input{
		Apps: []policy.App{{Object: object("app"), SDKAppID: 1}},
		Lists: []policy.List{
			{Object: object("members"), Accounts: accounts.NewSet(numbered("account", judgedAccounts, 1))},
			{Object: object("banned"), Accounts: accounts.NewSet(numbered("banned", judgedAccounts/50, 1))},
		},
		Policies: []policy.Policy{
			governing("members", policy.GroupMatcher{Value: "group"}, policy.JoinSection{
				Allow: selecting("members"), Deny: selecting("banned"), Evict: &policy.EvictRule{
					Interval: time.Hour, MaxRemovals: 1, MaxRemovalsPerDay: 1,
				},
			}),
			governing("staff", policy.GroupMatcher{Kind: policy.MatchPrefix, Value: "g"}, policy.JoinSection{
				Allow: &policy.AccountSelector{Prefixes: []string{"staff-", "bot-"}},
			}),
			governing("banned", policy.GroupMatcher{Kind: policy.MatchAll}, policy.JoinSection{
				Deny: selecting("banned"),
			}),
			governing("guests", policy.GroupMatcher{Kind: policy.MatchAll}, policy.JoinSection{
				Allow:    &policy.AccountSelector{Accounts: numbered("guest", 100, 1)},
				Triggers: policy.NewTriggerSet(policy.TriggerInvite),
			}),
		},
	}).App(1)
	rule, _ := app.GoverningEviction("group", policy.TypePublic)
	members := numbered("account", judgedMembers, judgedAccounts/judgedMembers)
	for i := 0; i < len(members); i += refusedShare {
		members[i] = fmt.Sprintf("stranger-%08d", i)
	}
	return &rule, members
}
