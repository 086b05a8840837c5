package lint

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
)

// checkEvict reports what keeps join.evict from doing what it says. rules are the policies with such a rule that came
// before.
func (c *checking) checkEvict(at place, p *v1alpha1.GroupPolicy, rules map[gate][]*v1alpha1.GroupPolicy) {
	if p.Spec.Join == nil || p.Spec.Join.Evict == nil {
		return
	}
	for _, s := range selectorsOf(p)[:2] { // of the gate
		c.checkEmptyLists(at, p.Namespace, s)
	}
	for i, m := range p.Spec.Groups {
		g := gate{p.Namespace, p.Spec.AppRef.Name, m}
		for _, other := range rules[g] {
			if other == p || *other.Spec.Join.Evict == *p.Spec.Join.Evict ||
				!overlap(p.Spec.GroupTypes, other.Spec.GroupTypes) {
				continue
			}
			field := fmt.Sprintf("spec.groups[%d]", i)
			c.add(at, Warning, field, "%s: GroupPolicy %s has another join.evict for the same matcher: members are "+
				"evicted by the rule (mode, grace, budget) of the older policy, so that the other's does not hold",
				field, other.Name)
		}
		rules[g] = append(rules[g], p)
	}
}

// checkEmptyLists reports the references of a gate that resolve to lists, of which none has an account: nobody is
// evicted then. One that resolves to nothing is reported as such.
func (c *checking) checkEmptyLists(at place, namespace string, s selector) {
	if s.AccountSelector == nil {
		return
	}
	for i, ref := range s.Lists {
		var found string
		filled := false
		for j := range c.Objects.Lists {
			list := &c.Objects.Lists[j]
			if list.Namespace == namespace && refersTo(&ref, list) {
				found, filled = list.Name, filled || convert.List(list).Accounts.Len() > 0
			}
		}
		if found != "" && !filled {
			field := fmt.Sprintf("%s.lists[%d]", s.field, i)
			c.add(at, Warning, field, "%s: AccountList %s has no accounts, as if they were deleted by mistake: "+
				"join.evict evicts nobody while it is empty; remove the reference, or fill the list",
				field, strconv.Quote(found))
		}
	}
}

func refersTo(ref *v1alpha1.AccountListReference, list *v1alpha1.AccountList) bool {
	if ref.Name != "" {
		return ref.Name == list.Name
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
	return err == nil && selector.Matches(labels.Set(list.Labels))
}
