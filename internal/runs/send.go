package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/terminal"
)

const (
	maxReason   = 256 // characters, as in the schema
	toolOwner   = "kubectl-groupgate"
	maxAttempts = 10
	// recordPatience is how long the leader may take to record who decided.
	recordPatience = 2 * time.Second
	recordInterval = 100 * time.Millisecond
)

// The ClusterRoles of those who decide about runs, and of those who read them.
const (
	ApproverRole = "groupgate-prune-approver"
	ViewerRole   = "groupgate-policy-viewer"
)

// ChangedError says that a run is no longer what was shown, so that nothing was decided.
type ChangedError struct {
	Run     string
	Changes []Change
}

func (e *ChangedError) Error() string {
	var lines strings.Builder
	for i := range e.Changes {
		lines.WriteString("\n  " + e.Changes[i].String())
	}
	return fmt.Sprintf("nothing was decided, since run %s is no longer what was shown:%s\n"+
		"Look at it again, then decide.", e.Run, &lines)
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
		err := patch(ctx, c, shown, version, v, reason, toolOwner)
		var status apierrors.APIStatus
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return &ChangedError{Run: shown.Name, Changes: []Change{{What: Deleted}}}
		case !errors.As(err, &status):
			return fmt.Errorf("send the decision (whether it arrived is not known: look at the run again): %w", err)
		case !apierrors.IsConflict(err) || attempt == maxAttempts:
			return err
		}
		live := &v1alpha1.PruneRun{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(shown), live); apierrors.IsNotFound(err) {
			return &ChangedError{Run: shown.Name, Changes: []Change{{What: Deleted}}}
		} else if err != nil {
			return fmt.Errorf("the run was changed meanwhile, and reading it again failed: %w", err)
		}
		if decided(shown, live) {
			live = recorded(ctx, c, live)
		}
		if changes := Differences(shown, live, v); len(changes) > 0 {
			return &ChangedError{Run: shown.Name, Changes: changes}
		}
		version = live.ResourceVersion
	}
}

// SendOnce decides about the run in the version that was shown, and in no other: the error is a conflict if the run was
// written since. owner is the field manager of the change.
func SendOnce(
	ctx context.Context, c client.Client, shown *v1alpha1.PruneRun, v Verb, reason, owner string,
) error {
	return patch(ctx, c, shown, shown.ResourceVersion, v, reason, owner)
}

// patch sends the decision. A decision without a reason takes that of an earlier one away.
func patch(
	ctx context.Context, c client.Client, run *v1alpha1.PruneRun, version string, v Verb, reason, owner string,
) error {
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
	return c.Patch(ctx, target, client.RawPatch(types.MergePatchType, data), client.FieldOwner(owner))
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
func lastDecision(run *v1alpha1.PruneRun) *v1alpha1.RecordedDecision {
	decisions := prunerun.Decisions(run)
	switch {
	case run.Spec.Undo != "":
		return decisions.Undo
	case run.Spec.Approval == v1alpha1.ApprovalDenied:
		return decisions.Denied
	}
	return decisions.Approved
}

// Rights says which role lets a person do what the API server has just forbidden; it is empty for other errors. The
// verb is empty for reading.
func Rights(err error, v Verb, namespace string) string {
	if !apierrors.IsForbidden(err) {
		return ""
	}
	role, to := ApproverRole, "decide about runs"
	if v == "" {
		role, to = ViewerRole, "read policies and runs (as the built-in role view does)"
	}
	if namespace == "" {
		return fmt.Sprintf("To %s of all namespaces takes the ClusterRole %s for the whole cluster; "+
			"name one namespace with -n, or ask for:\n"+
			"kubectl create clusterrolebinding NAME --clusterrole=%[2]s --user=USER", to, role)
	}
	return fmt.Sprintf("To %s takes the ClusterRole %s in namespace %s; ask for:\n"+
		"kubectl create rolebinding NAME -n %[3]s --clusterrole=%[2]s --user=USER", to, role, namespace)
}
