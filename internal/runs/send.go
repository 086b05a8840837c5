package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/terminal"
)

const (
	maxReason   = 256 // characters, as in the schema
	fieldOwner  = "kubectl-groupgate"
	maxAttempts = 10
	// recordPatience is how long the leader may take to record who decided.
	recordPatience = 2 * time.Second
	recordInterval = 100 * time.Millisecond
)

// ChangedError says that a run is no longer what was shown, so that nothing was decided.
type ChangedError struct {
	Run     string
	Changes []string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("nothing was decided, since run %s is no longer what was shown:\n  %s\n"+
		"Look at it again, then decide.", e.Run, strings.Join(e.Changes, "\n  "))
}

// ValidateReason says what is wrong with a reason; the empty one is none.
func ValidateReason(reason string) error {
	if n := utf8.RuneCountInString(reason); n > maxReason {
		return fmt.Errorf("%d characters are too many: use at most %d", n, maxReason)
	}
	if terminal.Visible(reason, '\u3000', '\u200d') != reason { // wide blanks and joined emoji can be seen
		return fmt.Errorf("%+q has a character that cannot be seen, or begins a new line: use one line of plain text",
			reason)
	}
	return nil
}

// Send decides about the run that was shown, as the API server has it by then. The decision carries the UID and the
// resourceVersion that were shown. If the run was written since, it is sent again only if nothing differs that a person
// would decide by; otherwise the error is a ChangedError, and nothing is decided.
func Send(ctx context.Context, c client.Client, shown *v1alpha1.PruneRun, v Verb, reason string) error {
	version := shown.ResourceVersion
	for attempt := 1; ; attempt++ {
		err := patch(ctx, c, shown, version, v, reason)
		var status apierrors.APIStatus
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return &ChangedError{Run: shown.Name, Changes: []string{"It was deleted."}}
		case !errors.As(err, &status):
			return fmt.Errorf("send the decision (whether it arrived is not known: look at the run again): %w", err)
		case !apierrors.IsConflict(err) || attempt == maxAttempts:
			return err
		}
		live := &v1alpha1.PruneRun{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(shown), live); apierrors.IsNotFound(err) {
			return &ChangedError{Run: shown.Name, Changes: []string{"It was deleted."}}
		} else if err != nil {
			return fmt.Errorf("the run was changed meanwhile, and reading it again failed: %w", err)
		}
		if decided(shown, live) {
			live = recorded(ctx, c, live)
		}
		if changes := differences(shown, live, v); len(changes) > 0 {
			return &ChangedError{Run: shown.Name, Changes: changes}
		}
		version = live.ResourceVersion
	}
}

// patch sends the decision. A decision without a reason takes that of an earlier one away.
func patch(ctx context.Context, c client.Client, run *v1alpha1.PruneRun, version string, v Verb, reason string) error {
	spec := map[string]any{"decision": nil}
	if reason != "" {
		spec["decision"] = map[string]any{"by": nil, "reason": reason}
	}
	switch v {
	case Approve:
		spec["approval"] = v1alpha1.ApprovalApproved
	case Deny:
		spec["approval"] = v1alpha1.ApprovalDenied
	case Undo:
		spec["undo"] = v1alpha1.UndoRequested
	}
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": run.UID, "resourceVersion": version}, "spec": spec,
	})
	if err != nil {
		return err
	}
	target := &v1alpha1.PruneRun{}
	target.Namespace, target.Name = run.Namespace, run.Name
	return c.Patch(ctx, target, client.RawPatch(types.MergePatchType, data), client.FieldOwner(fieldOwner))
}

// decided reports whether somebody has decided about the run since it was shown.
func decided(shown, live *v1alpha1.PruneRun) bool {
	return shown.UID == live.UID && (shown.Spec.Approval != live.Spec.Approval || shown.Spec.Undo != live.Spec.Undo)
}

// recorded is the run once the leader has recorded who decided, or as it is if that takes too long. What the spec says
// about that is not to be believed before the leader has checked who wrote it.
func recorded(ctx context.Context, c client.Client, run *v1alpha1.PruneRun) *v1alpha1.PruneRun {
	ctx, cancel := context.WithTimeout(ctx, recordPatience)
	defer cancel()
	tick := time.NewTicker(recordInterval)
	defer tick.Stop()
	for lastDecision(run) == nil {
		select {
		case <-ctx.Done():
			return run
		case <-tick.C:
		}
		live := &v1alpha1.PruneRun{}
		if c.Get(ctx, client.ObjectKeyFromObject(run), live) != nil || live.UID != run.UID {
			return run
		}
		run = live
	}
	return run
}

// lastDecision is what the leader recorded about the decision that the spec holds, nil if it has not yet.
func lastDecision(run *v1alpha1.PruneRun) *v1alpha1.PruneDecision {
	decisions := prunerun.Decisions(run)
	switch {
	case run.Spec.Undo != "":
		return decisions.Undo
	case run.Spec.Approval == v1alpha1.ApprovalDenied:
		return decisions.Denied
	}
	return decisions.Approved
}

// differences are what a person would not have decided by, as sentences.
func differences(shown, live *v1alpha1.PruneRun, v Verb) []string {
	if shown.UID != live.UID {
		return []string{"It was deleted, and another run has its name."}
	}
	var changes []string
	add := func(format string, args ...any) { changes = append(changes, fmt.Sprintf(format, args...)) }
	if live.DeletionTimestamp != nil && shown.DeletionTimestamp == nil {
		add("It is being deleted.")
	}
	if decided(shown, live) {
		decision := lastDecision(live)
		if decision == nil {
			decision = &v1alpha1.PruneDecision{}
		}
		past := map[bool]string{true: "undid it", false: strings.ToLower(string(live.Spec.Approval)) + " it"}
		add("%s", printable(prunerun.DecisionMessage(decision, past[shown.Spec.Undo != live.Spec.Undo])))
	}
	if end, finished := prunerun.Completion(live); finished && !prunerun.Finished(shown) {
		add("It has ended (%s): %s", end.Reason, printable(end.Message))
	}
	others := differentMembers(shown, live, v)
	changes = append(changes, others...)
	same := equality.Semantic.DeepEqual(shown.Status.Plan, live.Status.Plan) &&
		equality.Semantic.DeepEqual(shown.Status.Group, live.Status.Group)
	if v != Deny && len(others) == 0 && !same {
		add("It says something else about the group, or about those who stay.")
	}
	if was, is := shown.Status.Policy, live.Status.Policy; v != Deny && !equality.Semantic.DeepEqual(was, is) {
		add("It was planned by policy %s, and now by %s.", policyOf(shown), policyOf(live))
	}
	return changes
}

func policyOf(run *v1alpha1.PruneRun) string {
	if run.Status.Policy == nil {
		return "none"
	}
	return fmt.Sprintf("%s (%s, generation %d)", run.Status.Policy.Name, run.Status.Policy.Mode,
		run.Status.Policy.Generation)
}

// differentMembers compares the members of the plan. Those of a run that is being carried out become fewer; a denial
// stops it all the same.
func differentMembers(shown, live *v1alpha1.PruneRun, v Verb) []string {
	before, after := members(shown, v), members(live, v)
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
			added = append(added, quoted(member.Account))
		case !equality.Semantic.DeepEqual(earlier, member):
			other = append(other, quoted(member.Account))
		}
	}
	for _, member := range before {
		if _, has := is[member.Account]; !has {
			gone = append(gone, quoted(member.Account))
		}
	}
	var changes []string
	for _, change := range []struct {
		what     string
		accounts []string
	}{
		{"Members who were not shown are on it", added},
		{"Members who were shown are no longer on it", gone},
		{"It says something else about", other},
	} {
		if n := len(change.accounts); n > 0 {
			text := change.what + ": " + strings.Join(change.accounts[:min(n, MaxShown)], ", ")
			if n > MaxShown {
				text += fmt.Sprintf(" and %d more", n-MaxShown)
			}
			changes = append(changes, text+".")
		}
	}
	return changes
}

func byAccount(members []v1alpha1.PlannedRemoval) map[string]v1alpha1.PlannedRemoval {
	accounts := make(map[string]v1alpha1.PlannedRemoval, len(members))
	for _, member := range members {
		accounts[member.Account] = member
	}
	return accounts
}

// Rights says which role lets a person do what the API server has just forbidden; it is empty for other errors. The
// verb is empty for reading.
func Rights(err error, v Verb, namespace string) string {
	if !apierrors.IsForbidden(err) {
		return ""
	}
	role, to := "groupgate-prune-approver", "decide about runs"
	if v == "" {
		role, to = "groupgate-policy-viewer", "read runs (as the built-in role view does)"
	}
	if namespace == "" {
		return fmt.Sprintf("To %s of all namespaces takes the ClusterRole %s for the whole cluster; "+
			"name one namespace with -n, or ask for:\n"+
			"kubectl create clusterrolebinding NAME --clusterrole=%[2]s --user=USER", to, role)
	}
	return fmt.Sprintf("To %s takes the ClusterRole %s in namespace %s; ask for:\n"+
		"kubectl create rolebinding NAME -n %[3]s --clusterrole=%[2]s --user=USER", to, role, namespace)
}
