package runs

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// Kind is what a Change is about.
type Kind int

// The kinds of changes.
const (
	Deleted Kind = iota + 1
	Replaced
	BeingDeleted
	Decided       // Verb and Decision
	Ended         // End
	MembersAdded  // Accounts
	MembersGone   // Accounts
	MembersOther  // Accounts
	OthersChanged // what the plan says about the group, or about those who stay
	PolicyChanged // Was and Is
)

// Change is one thing by which a run differs from what was shown. Its fields are those of its Kind.
type Change struct {
	What     Kind
	Verb     Verb
	Decision v1alpha1.PruneDecision
	End      metav1.Condition
	Accounts []string
	// Was and Is are the policies by which the run was planned; nil for none.
	Was, Is *v1alpha1.PrunePolicyRecord
}

// String is a sentence, in English.
func (c *Change) String() string {
	switch c.What {
	case Deleted:
		return "It was deleted."
	case Replaced:
		return "It was deleted, and another run has its name."
	case BeingDeleted:
		return "It is being deleted."
	case Decided:
		past := c.Verb.Past() + " it"
		if c.Verb == Undo {
			past = "undid it"
		}
		return printable(prunerun.DecisionMessage(&c.Decision, past))
	case Ended:
		return fmt.Sprintf("It has ended (%s): %s", c.End.Reason, printable(c.End.Message))
	case MembersAdded:
		return "Members who were not shown are on it: " + first(c.Accounts)
	case MembersGone:
		return "Members who were shown are no longer on it: " + first(c.Accounts)
	case MembersOther:
		return "It says something else about: " + first(c.Accounts)
	case PolicyChanged:
		return fmt.Sprintf("It was planned by policy %s, and now by %s.", policyOf(c.Was), policyOf(c.Is))
	}
	return "It says something else about the group, or about those who stay."
}

func first(accounts []string) string {
	names := make([]string, 0, MaxShown)
	for _, account := range accounts[:min(len(accounts), MaxShown)] {
		names = append(names, quoted(account))
	}
	text := strings.Join(names, ", ")
	if n := len(accounts); n > MaxShown {
		text += fmt.Sprintf(" and %d more", n-MaxShown)
	}
	return text + "."
}

func policyOf(policy *v1alpha1.PrunePolicyRecord) string {
	if policy == nil {
		return "none"
	}
	return fmt.Sprintf("%s (%s, generation %d)", policy.Name, policy.Mode, policy.Generation)
}

// Differences are what a person would not have decided by.
func Differences(shown, live *v1alpha1.PruneRun, v Verb) []Change {
	if shown.UID != live.UID {
		return []Change{{What: Replaced}}
	}
	var changes []Change
	if live.DeletionTimestamp != nil && shown.DeletionTimestamp == nil {
		changes = append(changes, Change{What: BeingDeleted})
	}
	if decided(shown, live) {
		change := Change{What: Decided, Verb: Approve}
		switch {
		case shown.Spec.Undo != live.Spec.Undo:
			change.Verb = Undo
		case live.Spec.Approval == v1alpha1.ApprovalDenied:
			change.Verb = Deny
		}
		if decision := lastDecision(live); decision != nil {
			change.Decision = decision.PruneDecision
		}
		changes = append(changes, change)
	}
	if end, finished := prunerun.Completion(live); finished && !prunerun.Finished(shown) {
		return append(changes, Change{What: Ended, End: end}) // what it would have done matters no more
	}
	others := differentMembers(shown, live, v)
	changes = append(changes, others...)
	same := equality.Semantic.DeepEqual(shown.Status.Plan, live.Status.Plan) &&
		equality.Semantic.DeepEqual(shown.Status.Group, live.Status.Group)
	if v != Deny && len(others) == 0 && !same {
		changes = append(changes, Change{What: OthersChanged})
	}
	if was, is := shown.Status.Policy, live.Status.Policy; v != Deny && !equality.Semantic.DeepEqual(was, is) {
		changes = append(changes, Change{What: PolicyChanged, Was: was, Is: is})
	}
	return changes
}

// differentMembers compares the members of the plan. Those of a run that is being carried out become fewer; a denial
// stops it all the same.
func differentMembers(shown, live *v1alpha1.PruneRun, v Verb) []Change {
	before, after := Members(shown, v), Members(live, v)
	if v == Deny && prunerun.HasPlan(shown) {
		before, after = shown.Status.Plan.Removals, nil
		if prunerun.HasPlan(live) {
			after = live.Status.Plan.Removals
		}
	}
	was, is := byAccount(before), byAccount(after)
	var added, gone, other []string
	for _, member := range after {
		switch earlier, has := was[member.Account]; {
		case !has:
			added = append(added, member.Account)
		case !equality.Semantic.DeepEqual(earlier, member):
			other = append(other, member.Account)
		}
	}
	for _, member := range before {
		if _, has := is[member.Account]; !has {
			gone = append(gone, member.Account)
		}
	}
	var changes []Change
	for what, accounts := range map[Kind][]string{MembersAdded: added, MembersGone: gone, MembersOther: other} {
		if len(accounts) > 0 {
			changes = append(changes, Change{What: what, Accounts: accounts})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return int(a.What - b.What) })
	return changes
}

func byAccount(members []v1alpha1.PlannedRemoval) map[string]v1alpha1.PlannedRemoval {
	accounts := make(map[string]v1alpha1.PlannedRemoval, len(members))
	for _, member := range members {
		accounts[member.Account] = member
	}
	return accounts
}
