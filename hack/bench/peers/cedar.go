package peers

import (
	"context"
	"fmt"

	"github.com/cedar-policy/cedar-go"
)

// cedarPolicy admits the members of the list of the group.
const cedarPolicy = `permit (principal, action == Action::"join", resource) when { principal in resource.members };`

// FromCedar decides with cedar-go: one policy, an entity for every account, and one for every group.
func FromCedar(data *Data) (Decider, error) {
	policies, err := cedar.NewPolicySetFromBytes("policy.cedar", []byte(cedarPolicy))
	if err != nil {
		return nil, fmt.Errorf("read the Cedar policy: %w", err)
	}
	entities := cedar.EntityMap{}
	for group, members := range data.Members {
		list := cedar.NewEntityUID("List", cedar.String(group))
		resource := cedar.NewEntityUID("Group", cedar.String(group))
		entities[list] = cedar.Entity{UID: list}
		entities[resource] = cedar.Entity{UID: resource, Attributes: cedar.NewRecord(cedar.RecordMap{"members": list})}
		for account := range members {
			user := cedar.NewEntityUID("User", cedar.String(account))
			entities[user] = cedar.Entity{UID: user, Parents: cedar.NewEntityUIDSet(list)}
		}
	}
	return func(_ context.Context, group, account string) (bool, error) {
		decision, _ := cedar.Authorize(policies, entities, cedar.Request{
			Principal: cedar.NewEntityUID("User", cedar.String(account)),
			Action:    cedar.NewEntityUID("Action", "join"),
			Resource:  cedar.NewEntityUID("Group", cedar.String(group)),
		})
		return bool(decision), nil
	}, nil
}
