package page

import (
	"html/template"
	"net/http"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// refused is the page Refused.
type refused struct {
	choice
	Group, Account string
	// Asked says that replicas were asked: an app is chosen.
	Asked    bool
	Refusals []refusals.Refusal
	// Replicas are those that answered.
	Replicas []refusals.Refusals
	Problems []replicaclient.Problem
	// Earlier says that the page does not begin with the newest, and Older is where the next page goes on; empty if
	// there is none.
	Earlier bool
	Older   string
}

// latestRefusals shows who was refused, as replicas remember it.
func (s *server) latestRefusals(v *visit) (*view, error) {
	choice, err := v.choose()
	if err != nil {
		return nil, err
	}
	shown := &refused{choice: choice, Group: v.query("group"), Account: v.query("account")}
	filter := refusals.Filter{Group: shown.Group, Account: shown.Account}
	if before := v.query("before"); before != "" {
		if filter.Before, err = time.Parse(time.RFC3339Nano, before); err != nil {
			return nil, &Refusal{
				Status: http.StatusBadRequest, Text: "The address has no time that can be read.",
				Advice: "Begin with the newest refusals.",
			}
		}
		shown.Earlier = true
	}
	if shown.Asked = shown.App != ""; shown.Asked {
		answer := v.replicas().Refusals(v.request.Context(), shown.Name(), filter)
		shown.Replicas, shown.Problems = answer.Replicas, answer.Problems
		merged, more := refusals.Merge(answer.Replicas, filter)
		if more {
			shown.Older = merged[len(merged)-1].Time.UTC().Format(time.RFC3339Nano)
		}
		shown.Refusals = merged
	}
	return &view{template: "refused.html", title: "Refused", data: shown}, nil
}

// RefusalReason says why an account was refused.
func (v *visit) RefusalReason(r refusals.Refusal) template.HTML {
	switch {
	case r.Leak:
		return v.HTML("It is a member, although policy %s refuses it.", r.Policy)
	case r.Reason == policy.ReasonPruned.String():
		return v.HTML("It was removed from the group, and is refused for a time.")
	case r.Reason == policy.ReasonDenied.String():
		return v.HTML("Policy %s denies it.", r.Policy)
	case r.Reason == policy.ReasonNotListed.String():
		return v.HTML("Policy %s does not list it.", r.Policy)
	case r.Reason == policy.ReasonUnmatched.String():
		return v.HTML("No policy speaks about it.")
	}
	return v.Recorded(r.Reason)
}
