package explain

import (
	"cmp"
	"fmt"
	"iter"
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
	WhenFull []Rule `json:"whenFull"`
	// Evict has, for each type that is asked for, by whose rule members are evicted whom the gate refuses; none if no
	// policy has such a rule.
	Evict []Rule   `json:"evict,omitempty"`
	Hints []string `json:"hints,omitempty"`
}

// Governing is one policy that governs a group.
type Governing struct {
	Rank    int    `json:"rank"`
	Policy  string `json:"policy"`
	Matches string `json:"matches"`
	// GroupTypes are those that the policy is restricted to; none if it is not.
	GroupTypes []string `json:"groupTypes,omitempty"`
	// Join is the gate: Allow, Deny, Allow+Deny, Audit or None. Prune and Evict are the modes of the rules, empty
	// without one.
	Join  string `json:"join"`
	Prune string `json:"prune,omitempty"`
	Evict string `json:"evict,omitempty"`
	// Protects are what is never removed, as fields of the policy.
	Protects []string `json:"protects,omitempty"`
}

// Rule is the rule by which members leave a group of one type.
type Rule struct {
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
		Hints: hints(objects, compiled, app, q.Group),
	}
	for object, matcher := range app.Governing(q.Group) {
		i := slices.IndexFunc(objects.Policies, func(p v1alpha1.GroupPolicy) bool {
			return p.Namespace == object.Namespace && p.Name == object.Name
		})
		g.Policies = append(g.Policies, governing(len(g.Policies)+1, &objects.Policies[i], matcher))
	}
	evicts := false
	for _, t := range typesOf(q.Type) {
		g.WhenFull = append(g.WhenFull, whenFull(app, q.Group, t))
		rule := evicting(app, q.Group, t)
		g.Evict, evicts = append(g.Evict, rule), evicts || rule.Policy != ""
	}
	if !evicts {
		g.Evict = nil
	}
	return g, nil
}

func governing(rank int, p *v1alpha1.GroupPolicy, matcher policy.GroupMatcher) Governing {
	told := Governing{Rank: rank, Policy: p.Name, Matches: matcher.String(), Join: string(convert.PolicyGate(p))}
	for _, t := range p.Spec.GroupTypes {
		told.GroupTypes = append(told.GroupTypes, string(t))
	}
	if p.Spec.Join != nil && p.Spec.Join.Evict != nil {
		told.Evict = string(p.Spec.Join.Evict.Mode)
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

func whenFull(app *policy.CompiledApp, group string, t policy.GroupType) Rule {
	told := Rule{GroupType: t.String()}
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

func evicting(app *policy.CompiledApp, group string, t policy.GroupType) Rule {
	told := Rule{GroupType: t.String()}
	rule, ok := app.GoverningEviction(group, t)
	if !ok || !slices.Contains(prunable, t) {
		return told
	}
	told.Policy, told.Mode = rule.Policy.Name, rule.Rule.Mode.String()
	_, told.Waits = noEvictions(app, &rule, ok, t)
	return told
}

// Sentence says what happens when the group is full, and to members whom its gate refuses.
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
	for r, types := range Agreeing(g.WhenFull) {
		fmt.Fprintf(&s, "When it is full, as %s: %s.\n", types, r.words("nobody is removed"))
	}
	for r, types := range Agreeing(g.Evict) {
		fmt.Fprintf(&s, "Members whom its gate refuses, as %s: %s.\n", types, r.words("nobody is evicted"))
	}
	return s.String()
}

// words says whose rule holds.
func (r *Rule) words(without string) string {
	switch {
	case r.Policy == "":
		return without
	case r.Waits != "":
		return fmt.Sprintf("the rule of policy %s (%s) holds, but %s", r.Policy, r.Mode, r.Waits)
	}
	return fmt.Sprintf("the rule of policy %s (%s) holds", r.Policy, r.Mode)
}

// Agreeing yields each rule once, with the types for which it is the same, between commas.
func Agreeing(rules []Rule) iter.Seq2[Rule, string] {
	return func(yield func(Rule, string) bool) {
		for rest := rules; len(rest) > 0; {
			first := rest[0]
			var types []string
			var others []Rule
			for _, r := range rest {
				if r.Policy == first.Policy && r.Waits == first.Waits {
					types = append(types, r.GroupType)
				} else {
					others = append(others, r)
				}
			}
			if !yield(first, strings.Join(types, ", ")) {
				return
			}
			rest = others
		}
	}
}

// Table has a row for each policy.
func (g *Governs) Table() [][]string {
	if len(g.Policies) == 0 {
		return nil
	}
	evicts := len(g.Evict) > 0
	row := func(rank, name, matches, types, join, evict, prune, protects string) []string {
		if evicts {
			return []string{rank, name, matches, types, join, evict, prune, protects}
		}
		return []string{rank, name, matches, types, join, prune, protects}
	}
	rows := [][]string{row("RANK", "POLICY", "MATCHES", "TYPES", "JOIN", "EVICT", "PRUNE", "NEVER REMOVES")}
	for _, p := range g.Policies {
		rows = append(rows, row(strconv.Itoa(p.Rank), p.Policy, p.Matches,
			cmp.Or(strings.Join(p.GroupTypes, ","), "all"), p.Join, cmp.Or(p.Evict, "None"), cmp.Or(p.Prune, "None"),
			cmp.Or(strings.Join(p.Protects, ", "), "-")))
	}
	return rows
}

// Advice is what else is worth knowing.
func (g *Governs) Advice() []string { return g.Hints }
