package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// rule is a policy, as the drill writes it and as the model reads it.
type rule struct {
	App          string
	Groups       []string // ids
	Match        string   // Exact, Prefix (of all ids: the first one's) or All
	Types        []string // groupTypes; none: all
	Mode         string   // Preview, Approve or Enforce
	InactiveDays int
	FreeSeats    int
	Percent      bool // FreeSeats is a percentage of the limit
	MaxRemovals  int
	PerDay       int
	RejoinAfter  time.Duration
	Cooldown     string
	Accounts     []string // protected
	Prefixes     []string // protected
	Lists        []string // protected: AccountLists by name
	BySelector   bool     // the lists are picked by their label instead
	Invalid      bool     // has a selector that the schema admits and the product does not
	Code         int      // of join.reject; 0: none
	Message      string
	Gate         *gate `json:",omitempty"` // allow, deny and evict of join
	NoPrune      bool  `json:",omitempty"` // it has no whenFull, and everything about pruning is void
}

func (r rule) inactiveFor() time.Duration { return time.Duration(r.InactiveDays) * 24 * time.Hour }

// wanted is how many seats are to be free in a group with this limit.
func (r rule) wanted(limit int) int {
	if r.Percent {
		return (limit*r.FreeSeats + 99) / 100
	}
	return r.FreeSeats
}

// governs reports whether the policy governs a group of this type, spelled as the vendor does.
func (r rule) governs(app, group, groupType string) bool {
	if r.App != app || len(r.Types) > 0 && !slices.Contains(r.Types, modernType(groupType)) {
		return false
	}
	switch r.Match {
	case "All":
		return true
	case "Prefix":
		return strings.HasPrefix(group, r.Groups[0])
	}
	return slices.Contains(r.Groups, group)
}

func modernType(spelled string) string {
	switch spelled {
	case "Private":
		return "Work"
	case "ChatRoom":
		return "Meeting"
	}
	return spelled
}

// prunesLike reports whether both say the same under whenFull.prune: only an edit of that voids a plan.
func (r rule) prunesLike(other rule) bool {
	r.App, r.Groups, r.Match, r.Types = other.App, other.Groups, other.Match, other.Types
	r.Code, r.Message, r.Gate = other.Code, other.Message, other.Gate
	return cmp.Equal(r, other)
}

// spec is the rule as a manifest.
func (r rule) spec() v1alpha1.GroupPolicySpec {
	matchers := []v1alpha1.GroupMatcher{{Type: "All"}}
	if r.Match != "All" {
		matchers = nil
		for _, id := range r.Groups {
			matchers = append(matchers, v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherType(r.Match), Value: id})
		}
	}
	var types []v1alpha1.GroupType
	for _, t := range r.Types {
		types = append(types, v1alpha1.GroupType(t))
	}
	seats := intstr.FromInt32(int32(r.FreeSeats))
	if r.Percent {
		seats = intstr.FromString(fmt.Sprintf("%d%%", r.FreeSeats))
	}
	protect := &v1alpha1.AccountSelector{Accounts: r.Accounts, AccountPrefixes: r.Prefixes}
	for _, name := range r.Lists {
		ref := v1alpha1.AccountListReference{Name: name}
		if r.BySelector {
			ref = v1alpha1.AccountListReference{
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"list": name}},
			}
		}
		protect.Lists = append(protect.Lists, ref)
	}
	if r.Invalid {
		protect.Lists = append(protect.Lists, invalidReference())
	}
	spec := v1alpha1.GroupPolicySpec{
		AppRef: v1alpha1.AppReference{Name: r.App}, Groups: matchers, GroupTypes: types,
		WhenFull: &v1alpha1.WhenFullSection{Prune: &v1alpha1.PruneRule{
			Mode: v1alpha1.PruneMode(r.Mode), InactiveFor: fmt.Sprintf("%dd", r.InactiveDays), FreeSeats: &seats,
			MaxRemovals: int32(r.MaxRemovals), MaxRemovalsPerDay: int32(r.PerDay), Protect: protect,
			Cooldown: r.Cooldown, RejoinAfter: fmt.Sprintf("%ds", int(r.RejoinAfter.Seconds())),
			Notification: v1alpha1.NotificationSilent,
		}},
	}
	if r.Gate != nil {
		spec.Join = r.Gate.spec(r.Invalid)
	}
	if r.NoPrune {
		spec.WhenFull = nil
	}
	if r.Code > 0 {
		code := int32(r.Code)
		if spec.Join == nil {
			// Where rejoinAfter is 0, the schema wants an allow or a deny beside reject.
			spec.Join = &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{}}
		}
		spec.Join.Reject = &v1alpha1.Rejection{Code: &code, Message: r.Message}
	}
	return spec
}

// invalidReference is one that the schema admits and the product does not.
func invalidReference() v1alpha1.AccountListReference {
	return v1alpha1.AccountListReference{Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "list", Operator: "Sometimes"}},
	}}
}
