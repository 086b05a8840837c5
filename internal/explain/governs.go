package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// Governs says which policies govern a group. Its JSON is the output of `groupgate explain GROUP -o json`.
type Governs struct {
	App       string      `json:"app"`
	Group     string      `json:"group"`
	GroupType string      `json:"groupType"`
	Policies  []Governing `json:"policies"`
	// WhenFull has, for each type that is asked for, by whose rule the group is pruned.
	WhenFull []WhenFull `json:"whenFull"`
	Hints    []string   `json:"hints,omitempty"`
}

// Governing is one policy that governs a group.
type Governing struct {
	Rank    int    `json:"rank"`
	Policy  string `json:"policy"`
	Matches string `json:"matches"`
	// GroupTypes are those that the policy is restricted to; none if it is not.
	GroupTypes []string `json:"groupTypes,omitempty"`
	// Join is the gate: Allow, Deny, Allow+Deny, Audit or None. Prune is the mode of the rule, empty without one.
	Join  string `json:"join"`
	Prune string `json:"prune,omitempty"`
	// Protects are what is never removed, as fields of the policy.
	Protects []string `json:"protects,omitempty"`
}

// WhenFull is how a full group of one type is pruned.
type WhenFull struct {
	GroupType string `json:"groupType"`
	// Policy has the rule that holds; empty if nobody is removed.
	Policy string `json:"policy,omitempty"`
	Mode   string `json:"mode,omitempty"`
	// Waits says why the rule removes nobody now.
	Waits string `json:"waits,omitempty"`
}

// prunable are the types of groups that can be pruned.
var prunable = []policy.GroupType{
	policy.TypeWork, policy.TypePublic, policy.TypeMeeting, policy.TypeCommunity,
}

// AskGoverns answers a question about a group; its account, trigger and time do not matter.
func AskGoverns(objects *manifests.Objects, q Question) (*Governs, error) {
	return AskGovernsOf(objects, objects.Compile(), q)
}

// AskGovernsOf is AskGoverns for objects that have been compiled, for those who ask more than once.
func AskGovernsOf(objects *manifests.Objects, compiled *manifests.Compiled, q Question) (*Governs, error) {
	app, err := compiled.App(q.App)
	if err != nil {
		return nil, err
	}
	g := &Governs{
		App: app.Object().Key(), Group: q.Group, GroupType: q.Type.String(), Policies: []Governing{},
		Hints: hints(objects, compiled, app, &q),
	}
	for object, matcher := range app.Governing(q.Group) {
		i := slices.IndexFunc(objects.Policies, func(p v1alpha1.GroupPolicy) bool {
			return p.Namespace == object.Namespace && p.Name == object.Name
		})
		g.Policies = append(g.Policies, governing(len(g.Policies)+1, &objects.Policies[i], matcher))
	}
	types := prunable
	if q.Type != policy.TypeUnknown {
		types = []policy.GroupType{q.Type}
	}
	for _, t := range types {
		g.WhenFull = append(g.WhenFull, whenFull(app, q.Group, t))
	}
	return g, nil
}

func governing(rank int, p *v1alpha1.GroupPolicy, matcher policy.GroupMatcher) Governing {
	told := Governing{Rank: rank, Policy: p.Name, Matches: matcher.String(), Join: string(convert.PolicyGate(p))}
	for _, t := range p.Spec.GroupTypes {
		told.GroupTypes = append(told.GroupTypes, string(t))
	}
	if p.Spec.WhenFull == nil || p.Spec.WhenFull.Prune == nil {
		return told
	}
	rule := p.Spec.WhenFull.Prune
	told.Prune = string(rule.Mode)
	if protect := rule.Protect; protect != nil {
		switch n := len(protect.Accounts); n {
		case 0:
		case 1:
			told.Protects = append(told.Protects, "1 account")
		default:
			told.Protects = append(told.Protects, fmt.Sprintf("%d accounts", n))
		}
		for _, prefix := range protect.AccountPrefixes {
			told.Protects = append(told.Protects, "accounts that begin with "+strconv.Quote(prefix))
		}
		for _, ref := range protect.Lists {
			if ref.Name != "" {
				told.Protects = append(told.Protects, "AccountList "+ref.Name)
			} else {
				told.Protects = append(told.Protects, "AccountLists by labels")
			}
		}
	}
	return told
}

func whenFull(app *policy.CompiledApp, group string, t policy.GroupType) WhenFull {
	told := WhenFull{GroupType: t.String()}
	rule, ok := app.GoverningRule(group, t)
	if !ok || !slices.Contains(prunable, t) {
		return told
	}
	told.Policy, told.Mode = rule.Policy.Name, rule.Rule.Mode.String()
	switch {
	case rule.Invalid != "":
		told.Waits = "the policy is not valid: " + rule.Invalid
	case len(rule.Unresolved) > 0:
		told.Waits = "the protection is not complete: " + strings.Join(rule.Unresolved, ", ")
	case app.PruningSuspended():
		told.Waits = "pruning of the IMApp is Suspended"
	}
	return told
}

// Sentence says what happens when the group is full.
func (g *Governs) Sentence() string {
	var s strings.Builder
	switch n := len(g.Policies); n {
	case 0:
		fmt.Fprintf(&s, "No policy of IMApp %s governs %s.\n", g.App, plain(g.Group))
	case 1:
		fmt.Fprintf(&s, "1 policy of IMApp %s governs %s.\n", g.App, plain(g.Group))
	default:
		fmt.Fprintf(&s, "%d policies of IMApp %s govern %s.\n", n, g.App, plain(g.Group))
	}
	for rest := g.WhenFull; len(rest) > 0; {
		first := rest[0]
		var types []string
		var others []WhenFull
		for _, w := range rest {
			if w.Policy == first.Policy && w.Waits == first.Waits {
				types = append(types, w.GroupType)
			} else {
				others = append(others, w)
			}
		}
		rest = others
		of := strings.Join(types, ", ")
		switch {
		case first.Policy == "":
			fmt.Fprintf(&s, "When it is full, as %s: nobody is removed.\n", of)
		case first.Waits != "":
			fmt.Fprintf(&s, "When it is full, as %s: the rule of policy %s (%s) holds, but %s.\n",
				of, first.Policy, first.Mode, first.Waits)
		default:
			fmt.Fprintf(&s, "When it is full, as %s: the rule of policy %s (%s) holds.\n", of, first.Policy, first.Mode)
		}
	}
	return s.String()
}

// Table has a row for each policy.
func (g *Governs) Table() [][]string {
	if len(g.Policies) == 0 {
		return nil
	}
	rows := [][]string{{"RANK", "POLICY", "MATCHES", "TYPES", "JOIN", "PRUNE", "NEVER REMOVES"}}
	for _, p := range g.Policies {
		types, prune, protects := "all", p.Prune, strings.Join(p.Protects, ", ")
		if len(p.GroupTypes) > 0 {
			types = strings.Join(p.GroupTypes, ",")
		}
		if prune == "" {
			prune = "None"
		}
		if protects == "" {
			protects = "-"
		}
		rows = append(rows, []string{strconv.Itoa(p.Rank), p.Policy, p.Matches, types, p.Join, prune, protects})
	}
	return rows
}

// Advice is what else is worth knowing.
func (g *Governs) Advice() []string { return g.Hints }
