package page

import (
	"net/http"

	"github.com/groupgate/groupgate/internal/explain"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
	"github.com/groupgate/groupgate/internal/runs"
)

const (
	// runsOfGroup and refusalsOfGroup bound what the page of a group shows; other pages have all.
	runsOfGroup, refusalsOfGroup = 20, 10
)

// group is the page of a group.
type group struct {
	choice
	Group   string
	Governs *explain.Governs
	Read    objects
	Runs    []runs.Run
	// MoreRuns says that there are others.
	MoreRuns bool
	Refusals []refusals.Refusal
	Problems []replicaclient.Problem
}

// aboutGroup says who governs a group, what was removed from it, and who was refused.
func (s *server) aboutGroup(v *visit) (*view, error) {
	choice, err := v.choose()
	if err != nil {
		return nil, err
	}
	g := &group{choice: choice, Group: v.query("group")}
	if g.App == "" || g.Group == "" {
		return nil, &Refusal{
			Status: http.StatusBadRequest, Text: "The address names no group.",
			Advice: "Open a group from one of the lists, or ask about it on the page Ask.",
		}
	}
	if g.Read, err = v.read(choice, g.Group); err != nil {
		return nil, err
	}
	g.Governs, err = explain.AskGoverns(g.Read.Objects, explain.Question{App: g.App, Group: g.Group, At: v.now})
	if err != nil {
		return nil, noAnswer()
	}
	for _, run := range runs.NewList(g.Read.Runs, g.Name().Namespace, false, v.now).Runs {
		if run.App != g.Name().Name {
			continue
		}
		if g.MoreRuns = len(g.Runs) == runsOfGroup; g.MoreRuns {
			break
		}
		g.Runs = append(g.Runs, run)
	}
	filter := refusals.Filter{Group: g.Group, Limit: refusalsOfGroup}
	answer := v.replicas().Refusals(v.request.Context(), g.Name(), filter)
	g.Refusals, _ = refusals.Merge(answer.Replicas, filter)
	g.Problems = answer.Problems
	return &view{template: "group.html", title: "Group", data: g}, nil
}

// WhenFull is by whose rule members are removed when the group is full, once for the types that agree.
func (g *group) WhenFull() []ruleOfTypes { return agreeing(g.Governs.WhenFull) }

// Evict is by whose rule members are removed whom the gate refuses, once for the types that agree.
func (g *group) Evict() []ruleOfTypes { return agreeing(g.Governs.Evict) }

// ruleOfTypes is a rule that holds for these types of groups.
type ruleOfTypes struct {
	explain.Rule
	Types string
}

func agreeing(rules []explain.Rule) (agree []ruleOfTypes) {
	for rule, types := range explain.Agreeing(rules) {
		agree = append(agree, ruleOfTypes{rule, types})
	}
	return agree
}

// Gate is what a policy asks of accounts that want to join.
func (v *visit) Gate(join string) string {
	text, ok := map[string]string{
		"Allow": say("only allowed accounts"), "Deny": say("all but denied accounts"),
		"Allow+Deny": say("only allowed accounts, unless denied"), "Audit": say("every account so far, in mode Audit"),
		"None": say("every account"),
	}[join]
	if !ok {
		return join
	}
	return v.T(text)
}
