package suite

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/explain"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/memberfile"
	"github.com/groupgate/groupgate/internal/policy"
)

// world is what the cases of a file ask.
type world struct {
	objects  *manifests.Objects
	compiled *manifests.Compiled
}

// run asks the question of a case, and notes how the answer differs from what is expected.
func (c *Case) run(t *Test, w *world, result *Result) error {
	if c.Join != nil {
		c.runJoin(w, result)
		return nil
	}
	var list *memberfile.List
	if c.Evict != nil {
		list = &c.Evict.Members
	} else {
		list = &c.Prune.Members
	}
	members, err := list.Read(t.resolve, c.at)
	if err != nil {
		return fmt.Errorf("members: %w", err)
	}
	if c.Evict != nil {
		c.runEvict(w, members, result)
	} else {
		c.runPrune(w, members, result)
	}
	return nil
}

func (c *Case) runJoin(w *world, result *Result) {
	j, e := c.Join, c.Expect
	question := explain.Question{
		App: j.App, Group: j.Group, Account: j.Account, Type: j.type_, Trigger: j.trigger, At: c.at,
	}
	answer, err := explain.AskJoinOf(w.objects, w.compiled, question)
	if err != nil {
		result.Differences = []string{err.Error()}
		return
	}
	d := differences{}
	d.compare("verdict", e.Verdict, answer.Verdict, e.Verdict != "")
	compare(&d, "code", e.Code, answer.Code)
	compare(&d, "message", e.Message, answer.Message)
	d.compare("reason", e.Reason, answer.Reason, e.Reason != "")
	compare(&d, "step", e.Step, answer.Step)
	compare(&d, "policy", e.Policy, answer.Policy)
	d.compare("audit", e.Audit, answer.Audit, e.Audit != "")
	if result.Differences = d; len(d) > 0 {
		answer.Hint(w.objects, w.compiled, question)
		result.Explanation = answer
	}
}

// pruneReasons are those for which a run ends or waits as far as manifests and members decide it.
var pruneReasons = []string{
	v1alpha1.ReasonNotGoverned, v1alpha1.ReasonSuspended, v1alpha1.ReasonUnsupportedGroupType,
	v1alpha1.ReasonPolicyInvalid, v1alpha1.ReasonProtectionUnresolved, v1alpha1.ReasonNotFull,
	v1alpha1.ReasonActivityUnknown, v1alpha1.ReasonNothingToRemove, v1alpha1.ReasonPreviewed,
	v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonRemoved,
}

func (c *Case) runPrune(w *world, members []policy.Member, result *Result) {
	p, e := c.Prune, c.Expect
	app, err := w.compiled.App(p.App)
	if err != nil {
		result.Differences = []string{err.Error()}
		return
	}
	answer := c.plan(app, members)
	d := differences{}
	d.compare("reason", e.Reason, answer.Reason, e.Reason != "")
	compare(&d, "policy", e.Policy, answer.Policy)
	d.compare("mode", e.Mode, answer.Mode, e.Mode != "")
	d.compareRemovals(e.Removals, answer.accounts())
	for _, account := range e.Protected {
		if answer.rule == nil || !answer.rule.Protects(account) {
			d = append(d, fmt.Sprintf("protected: no rule protects %s", account))
		}
	}
	d.compareStays(e.Stays, members, answer.accounts())
	if result.Differences = d; len(d) == 0 {
		return
	}
	answer.Governs, err = explain.AskGovernsOf(w.objects, w.compiled, explain.Question{
		App: app.Object().Key(), Group: p.Group, Type: p.type_, At: c.at,
	})
	if err != nil {
		result.Differences = append(result.Differences, err.Error())
		return
	}
	result.Explanation = answer
}

// Plan is what a run would do with a full group.
type Plan struct {
	*explain.Governs
	// Reason is that of the condition Complete or Failed that ends the run, or that it waits with.
	Reason string `json:"reason"`
	// Problem says why there is no plan; empty if there is one.
	Problem  string    `json:"problem,omitempty"`
	Policy   string    `json:"policy,omitempty"`
	Mode     string    `json:"mode,omitempty"`
	Removals []Removal `json:"removals"`
	// Stay counts the members that stay: admin (owners, admins and the adminAccount), protected, active and unknown.
	Stay map[string]int `json:"stay,omitempty"`

	rule *policy.GoverningRule
}

// Removal is one member that a plan removes.
type Removal struct {
	Account    string `json:"account"`
	LastActive string `json:"lastActive"`
	NeverSpoke bool   `json:"neverSpoke,omitempty"`
}

func (p *Plan) accounts() (accounts []string) {
	for _, r := range p.Removals {
		accounts = append(accounts, r.Account)
	}
	return accounts
}

// plan asks the planner of the operator.
func (c *Case) plan(app *policy.CompiledApp, members []policy.Member) *Plan {
	p := c.Prune
	answer := &Plan{Removals: []Removal{}}
	group := policy.GroupState{Type: p.type_, Members: len(members), MaxMembers: p.MaxMembers}
	if group.MaxMembers == 0 {
		group.MaxMembers = len(members)
	}
	rule, governed := app.GoverningRule(p.Group, p.type_)
	if governed {
		answer.rule, answer.Policy, answer.Mode = &rule, rule.Policy.Name, rule.Rule.Mode.String()
	}
	refuse := func(reason, format string, args ...any) *Plan {
		answer.Reason, answer.Problem = reason, fmt.Sprintf(format, args...)
		return answer
	}
	switch {
	case app.PruningSuspended():
		return refuse(v1alpha1.ReasonSuspended, "pruning of the IMApp is Suspended")
	case p.type_ == policy.TypeAVChatRoom:
		return refuse(v1alpha1.ReasonUnsupportedGroupType, "the members of an AVChatRoom cannot be listed or removed")
	case !governed:
		return refuse(v1alpha1.ReasonNotGoverned, "no policy with a prune rule governs the group")
	case rule.Invalid != "":
		return refuse(v1alpha1.ReasonPolicyInvalid, "the policy is not valid: %s", rule.Invalid)
	case len(rule.Unresolved) > 0:
		return refuse(v1alpha1.ReasonProtectionUnresolved, "the protection is not complete: %s",
			strings.Join(rule.Unresolved, ", "))
	case !group.Full():
		return refuse(v1alpha1.ReasonNotFull, "the group has %d members of at most %d", group.Members, group.MaxMembers)
	}
	budget := max(0, rule.Rule.MaxRemovalsPerDay-p.RemovedToday)
	plan, err := policy.PlanPrune(&rule, group, budget, memberfile.Each(members), c.at)
	switch {
	case errors.Is(err, policy.ErrActivityUnknown):
		return refuse(v1alpha1.ReasonActivityUnknown, "%v", err)
	case err != nil:
		return refuse(v1alpha1.ReasonPolicyInvalid, "%v", err)
	}
	for _, r := range plan.Removals {
		answer.Removals = append(answer.Removals,
			Removal{r.Account, r.LastActive.UTC().Format("2006-01-02"), r.NeverSpoke})
	}
	answer.Stay = map[string]int{
		"admin": plan.Stay.Admin, "protected": plan.Stay.Protected, "active": plan.Stay.Active,
		"unknown": plan.Stay.Unknown,
	}
	switch {
	case len(plan.Removals) == 0:
		answer.Reason = v1alpha1.ReasonNothingToRemove
	case rule.Rule.Mode == policy.ModePreview:
		answer.Reason = v1alpha1.ReasonPreviewed
	case rule.Rule.Mode == policy.ModeApprove:
		answer.Reason = v1alpha1.ReasonAwaitingApproval
	default:
		answer.Reason = v1alpha1.ReasonRemoved
	}
	return answer
}

// Sentence says who would be removed, and which policies govern the group.
func (p *Plan) Sentence() string {
	var s strings.Builder
	s.WriteString(p.Governs.Sentence())
	if p.Problem != "" {
		fmt.Fprintf(&s, "Nobody is removed (%s): %s.\n", p.Reason, p.Problem)
		return s.String()
	}
	fmt.Fprintf(&s, "The plan (%s) removes %s. The others stay: %d admin, %d protected, %d active, %d unknown.\n",
		p.Reason, listOf(p.accounts()), p.Stay["admin"], p.Stay["protected"], p.Stay["active"], p.Stay["unknown"])
	return s.String()
}

// differences between what is expected and what is.
type differences []string

func (d *differences) compare(field, want, got string, expected bool) {
	if expected && want != got {
		*d = append(*d, fmt.Sprintf("%s: want %s, got %s", field, shown(want), shown(got)))
	}
}

func compare[T comparable](d *differences, field string, want *T, got T) {
	if want != nil && *want != got {
		*d = append(*d, fmt.Sprintf("%s: want %s, got %s", field, shown(*want), shown(got)))
	}
}

// compareRemovals compares the accounts, in any order; nil is expected of none.
func (d *differences) compareRemovals(expected []Removed, removed []string) {
	if expected == nil {
		return
	}
	want := make([]string, 0, len(expected))
	for i := range expected {
		want = append(want, expected[i].Account)
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(removed)); !slices.Equal(want, got) {
		*d = append(*d, fmt.Sprintf("removals: want %s, got %s", listOf(want), listOf(got)))
	}
}

func (d *differences) compareStays(expected []Stays, members []policy.Member, removed []string) {
	for _, stays := range expected {
		if !slices.ContainsFunc(members, func(m policy.Member) bool { return m.Account == stays.Account }) {
			*d = append(*d, fmt.Sprintf("stays: %s is not among the members", stays.Account))
		}
		if slices.Contains(removed, stays.Account) {
			*d = append(*d, fmt.Sprintf("stays: the plan removes %s", stays.Account))
		}
	}
}

// shown quotes a text that would be misread.
func shown(value any) string {
	text := fmt.Sprint(value)
	if text == "" || strings.ContainsAny(text, " \"\t\n") {
		return strconv.Quote(text)
	}
	return text
}

func listOf(accounts []string) string {
	if len(accounts) == 0 {
		return "nobody"
	}
	return strings.Join(accounts, ", ")
}
