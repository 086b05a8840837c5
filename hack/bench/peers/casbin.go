package peers

import (
	"context"
	"fmt"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
)

// casbinModel gives every member of a group that group as a role. A line of policy for each group or account would be
// evaluated one after the other: 1,000 or a million evaluations a callback.
const casbinModel = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.act == p.act && g(r.sub, r.obj)
`

// FromCasbin decides with casbin.
func FromCasbin(data *Data) (Decider, error) {
	m, err := model.NewModelFromString(casbinModel)
	if err != nil {
		return nil, fmt.Errorf("read the casbin model: %w", err)
	}
	enforcer, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, fmt.Errorf("make a casbin enforcer: %w", err)
	}
	if _, err := enforcer.AddPolicy("join"); err != nil {
		return nil, fmt.Errorf("add a casbin policy: %w", err)
	}
	for group, members := range data.Members {
		rules := make([][]string, 0, len(members))
		for account := range members {
			rules = append(rules, []string{account, group})
		}
		if _, err := enforcer.AddGroupingPolicies(rules); err != nil {
			return nil, fmt.Errorf("add casbin roles: %w", err)
		}
	}
	return func(_ context.Context, group, account string) (bool, error) {
		return enforcer.Enforce(account, group, "join")
	}, nil
}
