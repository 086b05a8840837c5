package lint

import (
	"fmt"
	"slices"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// gate is a matcher of an app.
type gate struct {
	namespace, app string
	matcher        v1alpha1.GroupMatcher
}

// checkReject reports two different rejects for one matcher: of two policies with an allow and the same matcher, the
// older one answers whom neither of them allows, so that the other's is not sent. gates are the policies with an allow
// and a reject that came before.
func (c *checking) checkReject(at place, p *v1alpha1.GroupPolicy, gates map[gate][]*v1alpha1.GroupPolicy) {
	join := p.Spec.Join
	if join == nil || join.Allow == nil || join.Reject == nil || join.Mode == v1alpha1.JoinModeAudit {
		return
	}
	for i, m := range p.Spec.Groups {
		g := gate{p.Namespace, p.Spec.AppRef.Name, m}
		for _, other := range gates[g] {
			if other == p || sameReject(join.Reject, other.Spec.Join.Reject) ||
				!overlap(p.Spec.GroupTypes, other.Spec.GroupTypes) ||
				!overlap(join.Triggers, other.Spec.Join.Triggers) {
				continue
			}
			field := fmt.Sprintf("spec.groups[%d]", i)
			c.add(at, Warning, field, "%s: GroupPolicy %s has an allow and another reject for the same matcher: "+
				"whom neither of them allows, the older policy answers, so that the reject of the other is not sent",
				field, other.Name)
		}
		gates[g] = append(gates[g], p)
	}
}

func sameReject(a, b *v1alpha1.Rejection) bool {
	code := func(r *v1alpha1.Rejection) int32 {
		if r.Code == nil {
			return 0
		}
		return *r.Code
	}
	return code(a) == code(b) && a.Message == b.Message
}

// overlap reports whether two filters let something pass in common. An empty one lets everything pass.
func overlap[T comparable](a, b []T) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(x T) bool { return slices.Contains(b, x) })
}
