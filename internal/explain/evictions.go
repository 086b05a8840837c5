package explain

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// MembersQuestion asks which of the members of a group would be evicted.
type MembersQuestion struct {
	// App is the name of the IMApp, with or without its namespace; it may be empty if there is but one.
	App, Group string
	// Type may be unknown if the answer is the same for each type.
	Type    policy.GroupType
	Members []policy.Member
	At      time.Time
	// EvictedThisWeek is how many members were evicted without an approval in the last 7 days, which the breaker adds;
	// RemovedToday is how many the policy evicted in the last 24 hours, which counts against its maxRemovalsPerDay.
	EvictedThisWeek, RemovedToday int
}

// Evictions says which members of a group would be evicted. Its JSON is the output of
// `groupgate explain GROUP --members FILE -o json`.
type Evictions struct {
	App       string    `json:"app"`
	Group     string    `json:"group"`
	GroupType string    `json:"groupType"`
	At        time.Time `json:"at"`
	// Policy has the rule by which members of the group are evicted, the others are what it says; all are empty if no
	// policy with join.evict governs the group.
	Policy            string `json:"policy,omitempty"`
	Mode              string `json:"mode,omitempty"`
	Grace             string `json:"grace,omitempty"`
	MaxRemovals       int    `json:"maxRemovals,omitempty"`
	MaxRemovalsPerDay int    `json:"maxRemovalsPerDay,omitempty"`
	// Reason is that of the condition Complete or Failed that ends the run, or that it waits with.
	Reason string `json:"reason"`
	// Problem says why there is no plan; empty if there is one. Unresolved are the references, and the policies that
	// are not valid, for which it is not certain whom the gate refuses.
	Problem    string   `json:"problem,omitempty"`
	Unresolved []string `json:"unresolved,omitempty"`
	// Breaker says why the plan awaits approval in every mode; empty if it is a routine.
	Breaker string `json:"breaker,omitempty"`
	// Members are all of the group, Candidates those who may go, before maxRemovals and maxRemovalsPerDay.
	Members    int          `json:"members"`
	Candidates int          `json:"candidates"`
	Removals   []Eviction   `json:"removals"`
	Stay       EvictionStay `json:"stay"`
	Hints      []string     `json:"hints,omitempty"`

	rule  *policy.GoverningEviction
	group policy.GroupType
}

// Eviction is one member that would go.
type Eviction struct {
	Account string    `json:"account"`
	Joined  time.Time `json:"joined"`
	// Reason is Denied or NotListed, Policy the name of the GroupPolicy that refuses the account, List that of the
	// AccountList by which join.deny names it; empty with any other reason.
	Reason string `json:"reason"`
	Policy string `json:"policy"`
	List   string `json:"list,omitempty"`
}

// EvictionStay counts the members that stay, by reason, as in the plan of a run.
type EvictionStay struct {
	Admitted int `json:"admitted"`
	Admin    int `json:"admin"`
	InGrace  int `json:"inGrace"`
	Unknown  int `json:"unknown"`
}

// AskEvictions answers a question about members.
func AskEvictions(objects *manifests.Objects, q *MembersQuestion) (*Evictions, error) {
	compiled := objects.Compile()
	e, err := AskEvictionsOf(compiled, q)
	if err == nil {
		e.Hint(objects, compiled)
	}
	return e, err
}

// AskEvictionsOf is AskEvictions for objects that have been compiled, for those who ask more than once. It looks for no
// hints, which takes time with many accounts.
func AskEvictionsOf(compiled *manifests.Compiled, q *MembersQuestion) (*Evictions, error) {
	app, err := compiled.App(q.App)
	if err != nil {
		return nil, err
	}
	if q.Type != policy.TypeUnknown {
		return evictionsOf(app, q, q.Type)
	}
	var answer *Evictions
	for _, t := range prunable {
		one, err := evictionsOf(app, q, t)
		if err != nil {
			return nil, err
		}
		one.GroupType, one.rule, one.group = q.Type.String(), nil, q.Type
		if answer != nil && !reflect.DeepEqual(answer, one) {
			return nil, errors.New("who would be evicted depends on the type of the group: name it with --type")
		}
		answer = one
	}
	return answer, nil
}

// evictionsOf asks the planner of the operator.
func evictionsOf(app *policy.CompiledApp, q *MembersQuestion, t policy.GroupType) (*Evictions, error) {
	members := distinct(q.Members)
	e := &Evictions{
		App: app.Object().Key(), Group: q.Group, GroupType: t.String(), At: q.At.UTC().Truncate(time.Second),
		Members: members, Removals: []Eviction{}, group: t,
	}
	rule, governed := app.GoverningEviction(q.Group, t)
	if governed = governed && slices.Contains(prunable, t); governed {
		e.rule, e.Policy, e.Mode = &rule, rule.Policy.Name, rule.Rule.Mode.String()
		e.Grace = inUnits(rule.Rule.Grace)
		e.MaxRemovals, e.MaxRemovalsPerDay = rule.Rule.MaxRemovals, rule.Rule.MaxRemovalsPerDay
		e.Unresolved = rule.Unresolved
	}
	if e.Reason, e.Problem = noEvictions(app, &rule, governed, t); e.Reason != "" {
		return e, nil
	}
	state := policy.EvictionState{
		Group:  policy.GroupState{Type: t, Members: members},
		Recent: q.EvictedThisWeek, Budget: max(0, rule.Rule.MaxRemovalsPerDay-q.RemovedToday),
	}
	plan, err := policy.PlanEviction(&rule, state, each(q.Members), q.At)
	if err != nil {
		return nil, err
	}
	e.Candidates, e.Breaker = plan.Candidates, plan.Breaker
	e.Stay = EvictionStay{plan.Stay.Admitted, plan.Stay.Admin, plan.Stay.InGrace, plan.Stay.Unknown}
	for i := range plan.Removals {
		r := &plan.Removals[i]
		e.Removals = append(e.Removals, Eviction{
			Account: r.Account, Joined: r.Joined.UTC().Truncate(time.Second),
			Reason: r.Reason.String(), Policy: r.Policy, List: r.List,
		})
	}
	e.Reason = e.outcome(rule.Rule.Mode)
	return e, nil
}

// distinct is how many accounts there are among members: pages of the vendor's list may overlap.
func distinct(members []policy.Member) (n int) {
	listed := accounts.NewDedup(len(members))
	for i := range members {
		if listed.Add(members[i].Account) {
			n++
		}
	}
	return n
}

// noEvictions says why there is no plan; the reason is empty if there may be one.
func noEvictions(
	app *policy.CompiledApp, rule *policy.GoverningEviction, governed bool, t policy.GroupType,
) (reason, problem string) {
	switch {
	case app.PruningSuspended():
		return v1alpha1.ReasonSuspended, "pruning of the IMApp is Suspended"
	case !slices.Contains(prunable, t):
		return v1alpha1.ReasonUnsupportedGroupType,
			"the members of a group of type " + t.String() + " cannot be listed or removed"
	case !governed:
		return v1alpha1.ReasonNotGoverned, "no policy with join.evict governs the group"
	case len(rule.Unresolved) > 0:
		return v1alpha1.ReasonListUnresolved,
			"it is not certain whom the gate refuses: " + strings.Join(rule.Unresolved, ", ")
	}
	return "", ""
}

// outcome is how the run ends, or what it waits for.
func (e *Evictions) outcome(mode policy.PruneMode) string {
	switch {
	case e.Candidates == 0:
		return v1alpha1.ReasonNothingToRemove
	case mode == policy.ModePreview:
		return v1alpha1.ReasonPreviewed
	case len(e.Removals) == 0:
		return v1alpha1.ReasonBudgetExhausted
	case mode == policy.ModeApprove || e.Breaker != "":
		return v1alpha1.ReasonAwaitingApproval
	}
	return v1alpha1.ReasonRemoved
}

// StaysAs is why a member stays: Admitted, Admin, InGrace or Unknown; Refused if it does not, or only for a later run;
// the reason of the answer if there is no plan.
func (e *Evictions) StaysAs(m policy.Member) string {
	if e.Problem != "" {
		return e.Reason
	}
	one, err := alone(e.rule, e.group, m, e.At)
	switch {
	case err != nil || one.Candidates > 0:
		return "Refused"
	case one.Stay.Admitted > 0:
		return "Admitted"
	case one.Stay.Admin > 0:
		return "Admin"
	case one.Stay.InGrace > 0:
		return "InGrace"
	}
	return "Unknown"
}

// alone is the plan for a group that has this member only.
func alone(
	rule *policy.GoverningEviction, t policy.GroupType, m policy.Member, at time.Time,
) (policy.Plan, error) {
	state := policy.EvictionState{Group: policy.GroupState{Type: t, Members: 1}, Budget: 1}
	return policy.PlanEviction(rule, state, each([]policy.Member{m}), at)
}

func each(members []policy.Member) func(func(policy.Member, error) bool) {
	return func(yield func(policy.Member, error) bool) {
		for _, m := range members {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// Hint looks for what is easily overlooked: accounts of the lists that nearly are those of members who would go.
func (e *Evictions) Hint(objects *manifests.Objects, compiled *manifests.Compiled) {
	app, err := compiled.App(e.App)
	if err != nil {
		return
	}
	accounts := make([]string, 0, len(e.Removals))
	for i := range e.Removals {
		accounts = append(accounts, e.Removals[i].Account)
	}
	e.Hints = append(e.Hints, hints(objects, compiled, app, e.Group, accounts...)...)
}

// Sentence says who would go, and how many stay.
func (e *Evictions) Sentence() string {
	var s strings.Builder
	by := ""
	if e.Policy != "" {
		by = fmt.Sprintf(" by the rule of policy %s (%s)", e.Policy, e.Mode)
	}
	if e.Problem != "" {
		fmt.Fprintf(&s, "Nobody would be evicted from %s%s (%s): %s.\n", plain(e.Group), by, e.Reason, e.Problem)
		return s.String()
	}
	fmt.Fprintf(&s, "%d of %s of %s would be evicted%s%s.\n", len(e.Removals), count(e.Members, "member"),
		plain(e.Group), by, e.when())
	fmt.Fprintf(&s, "Stay: %d admitted, %d owner and admins, %d in grace, "+
		"%d whose role or time of joining is not known, %d for a later run.\n",
		e.Stay.Admitted, e.Stay.Admin, e.Stay.InGrace, e.Stay.Unknown, e.Candidates-len(e.Removals))
	if e.Breaker != "" {
		fmt.Fprintf(&s, "It is no routine: the plan %s\n", e.Breaker)
	}
	return s.String()
}

// when says what the run waits for.
func (e *Evictions) when() string {
	stood := ""
	if e.Grace != "0s" {
		stood = " the plan has stood for " + e.Grace
	}
	switch {
	case e.Reason == v1alpha1.ReasonPreviewed:
		return ", which removes nobody in this mode"
	case e.Reason == v1alpha1.ReasonBudgetExhausted:
		return " today, since nothing is left of maxRemovalsPerDay"
	case e.Reason == v1alpha1.ReasonAwaitingApproval && stood != "":
		return ", once a person approves the plan and it" + strings.TrimPrefix(stood, " the plan")
	case e.Reason == v1alpha1.ReasonAwaitingApproval:
		return ", once a person approves the plan"
	case e.Reason == v1alpha1.ReasonRemoved && stood != "":
		return ", once" + stood
	}
	return ""
}

// inUnits is a duration of whole minutes as a policy has it, without days.
func inUnits(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "the 1 " + what
	}
	return fmt.Sprintf("the %d %ss", n, what)
}

// Table has a row for each member that would go.
func (e *Evictions) Table() [][]string {
	if len(e.Removals) == 0 {
		return nil
	}
	rows := [][]string{{"ACCOUNT", "MEMBER SINCE", "BECAUSE"}}
	for i := range e.Removals {
		r := &e.Removals[i]
		rows = append(rows, []string{
			plain(r.Account), r.Joined.Format(time.DateTime), because(r.Reason, r.Policy, r.List),
		})
	}
	return rows
}

// Advice is what else is worth knowing.
func (e *Evictions) Advice() []string { return e.Hints }

// because says why the gate refuses a member.
func because(reason, policyName, list string) string {
	switch {
	case list != "":
		return fmt.Sprintf("policy %s denies it, by AccountList %s", policyName, list)
	case reason == string(v1alpha1.RemovalReasonDenied):
		return fmt.Sprintf("policy %s denies it", policyName)
	}
	return fmt.Sprintf("policy %s has an allow, and no policy allows it", policyName)
}
