package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// Membership says whether an account would stay in a group of one type if it were an ordinary member, and past its
// grace.
type Membership struct {
	GroupType string `json:"groupType"`
	// Policy has the rule by which members are evicted, Mode is that of the rule.
	Policy string `json:"policy"`
	Mode   string `json:"mode"`
	// Evicted says that the account would go. Reason (Denied or NotListed), By (the name of the GroupPolicy that
	// refuses it) and List (the AccountList by which join.deny names it) say why.
	Evicted bool   `json:"evicted"`
	Reason  string `json:"reason,omitempty"`
	By      string `json:"by,omitempty"`
	List    string `json:"list,omitempty"`
	// Waits says why the rule evicts nobody now.
	Waits string `json:"waits,omitempty"`
}

// memberships asks about each type that a question is about, as far as a rule of some policy evicts members there.
func memberships(app *policy.CompiledApp, q *Question) (told []Membership) {
	for _, t := range typesOf(q.Type) {
		rule, ok := app.GoverningEviction(q.Group, t)
		if !ok || !slices.Contains(prunable, t) {
			continue
		}
		m := Membership{GroupType: t.String(), Policy: rule.Policy.Name, Mode: rule.Rule.Mode.String()}
		if _, m.Waits = noEvictions(app, &rule, ok, t); m.Waits == "" {
			longAgo := policy.Member{
				Account: q.Account, Role: policy.RoleMember, Joined: q.At.Add(-rule.Rule.Grace - time.Hour),
			}
			plan, err := alone(&rule, t, longAgo, q.At)
			if err == nil && len(plan.Removals) == 1 {
				r := &plan.Removals[0]
				m.Evicted, m.Reason, m.By, m.List = true, r.Reason.String(), r.Policy, r.List
			}
		}
		told = append(told, m)
	}
	return told
}

// typesOf are the types of groups that a question is about: the one that it names, or all that can be pruned.
func typesOf(t policy.GroupType) []policy.GroupType {
	if t == policy.TypeUnknown {
		return prunable
	}
	return []policy.GroupType{t}
}

// words says what becomes of the member.
func (m *Membership) words() string {
	rule := fmt.Sprintf("the rule of policy %s (%s)", m.Policy, m.Mode)
	switch {
	case m.Waits != "":
		return fmt.Sprintf("%s would evict nobody now: %s", rule, m.Waits)
	case m.Evicted:
		return fmt.Sprintf("evicted by %s, since %s", rule, because(m.Reason, m.By, m.List))
	}
	return "not evicted by " + rule
}

// membershipSentences say it once for the types that agree.
func membershipSentences(all []Membership, asked int) string {
	var s strings.Builder
	for rest := all; len(rest) > 0; {
		what := rest[0].words()
		var types []string
		var others []Membership
		for _, m := range rest {
			if m.words() == what {
				types = append(types, m.GroupType)
			} else {
				others = append(others, m)
			}
		}
		rest = others
		where := ""
		if len(types) < asked {
			where = " (" + strings.Join(types, ", ") + ")"
		}
		fmt.Fprintf(&s, "If it were a member%s: %s.\n", where, what)
	}
	return s.String()
}
