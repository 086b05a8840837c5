package convert

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// PolicyGate sums up the join section of a policy for a column.
func PolicyGate(p *v1alpha1.GroupPolicy) v1alpha1.Gate {
	join := p.Spec.Join
	switch {
	case join == nil:
		return v1alpha1.GateNone
	case join.Mode == v1alpha1.JoinModeAudit:
		return v1alpha1.GateAudit
	case join.Allow != nil && join.Deny != nil:
		return v1alpha1.GateAllowAndDeny
	case join.Allow != nil:
		return v1alpha1.GateAllow
	case join.Deny != nil:
		return v1alpha1.GateDeny
	}
	return v1alpha1.GateNone
}

// PolicyGroups sums up the matchers of a policy for a column: "vip-* and 2 more".
func PolicyGroups(p *v1alpha1.GroupPolicy) string {
	if len(p.Spec.Groups) == 0 {
		return ""
	}
	first := matcherText(&p.Spec.Groups[0])
	if more := len(p.Spec.Groups) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", first, more)
	}
	return first
}

// matcherText quotes what would be misread: only the * of a prefix stands for more than itself.
func matcherText(m *v1alpha1.GroupMatcher) string {
	value := m.Value
	if quoted := strconv.Quote(value); strings.ContainsAny(value, "* ") || quoted != `"`+value+`"` {
		value = quoted
	}
	switch m.Type {
	case v1alpha1.GroupMatcherAll:
		return "all"
	case v1alpha1.GroupMatcherPrefix:
		return value + "*"
	}
	return value
}
