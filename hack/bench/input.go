package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/policy"
)

// input is what the manager would compile of a world, for what is measured without a cluster.
func (w world) input() policy.Input {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	named := func(kind string, number int) policy.Object {
		name := fmt.Sprintf("%s-%06d", kind, number)
		return policy.Object{
			Namespace:  w.namespace,
			Name:       name,
			UID:        "uid-" + name,
			Generation: 1,
			Created:    created.Add(time.Duration(number) * time.Second),
		}
	}
	in := policy.Input{Apps: []policy.App{{
		Object: policy.Object{
			Namespace:  w.namespace,
			Name:       "prod",
			UID:        "uid-prod",
			Generation: 1,
			Created:    created,
		}, SDKAppID: w.sdkAppID,
		AdminAccount: lab.AdminAccount, SecretFound: true, SecretKeyPresent: true,
		Tokens: []policy.Token{{Name: policy.TokenCurrent, Value: lab.CallbackToken}},
	}}}
	for list := range w.lists() {
		in.Lists = append(in.Lists, policy.List{
			Object: named("list", list), Labels: map[string]string{"list": "all"},
			Accounts: accounts.NewSet(w.listed(list)),
		})
	}
	for group := range w.groups {
		ref := policy.ListRef{Name: in.Lists[group].Name}
		if w.shards > 0 {
			ref = policy.ListRef{Selector: &policy.Selector{{Key: "list", Op: policy.OpIn, Values: []string{"all"}}}}
		}
		in.Policies = append(in.Policies, policy.Policy{
			Object: named("group", group), App: "prod",
			Groups: []policy.GroupMatcher{{Kind: policy.MatchExact, Value: groupID(group)}},
			Join: &policy.JoinSection{
				Allow:  &policy.AccountSelector{Lists: []policy.ListRef{ref}},
				Reject: policy.Rejection{Code: 10110, Message: refusal},
			},
		})
	}
	random := rand.New(rand.NewPCG(3, 4))
	random.Shuffle(len(in.Lists), func(i, j int) { in.Lists[i], in.Lists[j] = in.Lists[j], in.Lists[i] })
	random.Shuffle(len(in.Policies), func(i, j int) { in.Policies[i], in.Policies[j] = in.Policies[j], in.Policies[i] })
	return in
}

// queries are the callbacks as the decision is asked.
func (p population) queries(n int) ([]policy.JoinQuery, []callback) {
	drawn := p.callbacks(n)
	queries := make([]policy.JoinQuery, n)
	for i, c := range drawn {
		queries[i] = policy.JoinQuery{
			Group:   groupID(c.group),
			Type:    policy.TypePublic,
			Account: c.account,
			Trigger: policy.TriggerApply,
			Now:     time.Now(),
		}
	}
	return queries, drawn
}
