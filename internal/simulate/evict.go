package simulate

import (
	"slices"
	"strings"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// evict counts an account that was admitted, and that join.evict of a policy would remove from the group now if it is
// an ordinary member still.
func (s *Simulation) evict(app *policy.CompiledApp, r *decisionlog.Recorded) {
	if !app.MayEvict(r.Group) || s.pairs == maxAccounts || !evicts(app, r) ||
		!s.accounts.Add("evict "+r.Group+"\x00"+r.Account) {
		return
	}
	s.pairs++
	s.report.Evicted++
	if len(s.evicted) < maxNamed {
		s.evicted = append(s.evicted, strings.Clone(r.Account)+" from "+strings.Clone(r.Group))
	}
}

// evicts reports whether the rule of some type that the group may have removes the account.
func evicts(app *policy.CompiledApp, r *decisionlog.Recorded) bool {
	types := []policy.GroupType{r.GroupType}
	if r.GroupType == policy.TypeUnknown {
		types = []policy.GroupType{
			policy.TypeWork, policy.TypePublic, policy.TypeMeeting, policy.TypeCommunity,
		}
	}
	return slices.ContainsFunc(types, func(t policy.GroupType) bool {
		rule, ok := app.GoverningEviction(r.Group, t)
		if !ok || t == policy.TypeAVChatRoom || len(rule.Unresolved) > 0 {
			return false
		}
		_, refused := rule.Judge(r.Account)
		return refused
	})
}

// explainEvictions says who would be evicted, and which rules are new.
func (s *Simulation) explainEvictions() {
	if n := s.report.Evicted; n > 0 {
		s.report.hint("%d accounts that were admitted would be evicted by join.evict if they are ordinary members "+
			"still: %s. groupgate explain GROUP --members FILE says it of all members of a group.",
			n, some(s.evicted, ", ", n))
	}
	if added := newRules(s.options.Now, s.options.Before); len(added) > 0 {
		s.report.hint("join.evict is new in %s: it removes members whom the gate refuses, also those whose joins are "+
			"not among the decisions. Begin with mode Preview.", some(added, ", ", len(added)))
	}
}

// newRules are the policies that have join.evict now and did not before; none if it is not known what there was.
func newRules(now, before *manifests.Objects) (added []string) {
	if before == nil {
		return nil
	}
	has := func(p *v1alpha1.GroupPolicy) bool { return p.Spec.Join != nil && p.Spec.Join.Evict != nil }
	for i := range now.Policies {
		p := &now.Policies[i]
		if has(p) && !slices.ContainsFunc(before.Policies, func(b v1alpha1.GroupPolicy) bool {
			return b.Namespace == p.Namespace && b.Name == p.Name && has(&b)
		}) {
			added = append(added, "GroupPolicy "+p.Name+" ("+string(p.Spec.Join.Evict.Mode)+")")
		}
	}
	slices.Sort(added)
	return added
}
