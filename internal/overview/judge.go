package overview

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/refusals"
)

// quiet is for how long nothing may be asked before it is not known whether callbacks still arrive.
const quiet = 24 * time.Hour

func judge(in *Input, app *v1alpha1.IMApp) App {
	a := App{Namespace: app.Namespace, Name: app.Name}
	a.judgeConditions(app)
	a.judgePolicies(in, app)
	answer, asked := in.Activity[types.NamespacedName{Namespace: app.Namespace, Name: app.Name}]
	a.Replicas = len(answer.Replicas)
	for _, problem := range answer.Problems {
		a.find(Finding{
			State: Unknown, Object: problem.Replica, Text: "This replica did not say what it enforces.",
			Recorded: problem.Message,
		})
		if problem.Replica == "" {
			a.Findings[len(a.Findings)-1].Text = "The replicas could not be asked what they enforce."
		}
	}
	if len(answer.Replicas) == 0 && len(answer.Problems) == 0 || !asked {
		a.find(Finding{State: Unknown, Text: "No replica was found that could say what it enforces."})
	}
	for i := range answer.Replicas {
		a.judgeReplica(&answer.Replicas[i])
	}
	a.Joins = sum(answer.Replicas)
	a.judgeJoins()
	slices.SortStableFunc(a.Findings, func(x, y Finding) int { return int(y.State - x.State) })
	return a
}

func (a *App) find(f Finding) {
	a.Findings = append(a.Findings, f)
	a.State = max(a.State, f.State)
}

// judgeConditions goes by what the leader has recorded about the app.
func (a *App) judgeConditions(app *v1alpha1.IMApp) {
	if app.Status.ObservedGeneration != app.Generation {
		a.find(Finding{State: Unknown, Text: "The leader has not looked at the app since it was edited."})
		return
	}
	conditions := app.Status.Conditions
	ready := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || ready.Status == metav1.ConditionUnknown:
		a.find(Finding{State: Unknown, Text: "The leader has not looked at the app yet."})
		return
	case ready.Status == metav1.ConditionFalse && !onlyPrunes(app, ready.Reason):
		a.find(Finding{
			State: Open, Recorded: ready.Message,
			Text: "The app is not in force: its callbacks are turned away, and the vendor then admits every account.",
		})
		return
	}
	a.judgeProgrammed("", app.Generation, conditions)
	switch verified := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionCallbacksVerified); {
	case verified == nil || verified.Status == metav1.ConditionUnknown:
		a.find(Finding{
			State: Unknown, Text: "No callback of the vendor has been seen: accounts may be joining without one.",
			Recorded: messageOf(verified),
		})
	case verified.Reason == v1alpha1.ReasonNotAuthenticated:
		a.find(Finding{
			State: Doubtful, Text: "Callbacks are believed without a signature.", Recorded: verified.Message,
		})
	case verified.Status == metav1.ConditionFalse:
		a.find(Finding{
			State: Open, Recorded: verified.Message,
			Text: "The callbacks are refused, and the vendor then admits every account.",
		})
	}
}

// onlyPrunes reports whether what the app lacks keeps it from pruning, and from nothing else: the key of its Secret, or
// the whole Secret where callbacks need no token.
func onlyPrunes(app *v1alpha1.IMApp, lacks string) bool {
	return lacks == v1alpha1.ReasonKeyMissing || lacks == v1alpha1.ReasonSecretNotFound &&
		app.Spec.CallbackAuthentication == v1alpha1.CallbackAuthenticationNone
}

// judgeProgrammed finds an object that is not enforced everywhere. After an edit the condition is about the previous
// generation, until the replicas have said what they enforce.
func (a *App) judgeProgrammed(object string, generation int64, conditions []metav1.Condition) {
	switch programmed := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionProgrammed); {
	case programmed == nil || programmed.Status == metav1.ConditionUnknown:
		a.find(Finding{
			State: Unknown, Object: object, Text: "Which replicas enforce it is not known.",
			Recorded: messageOf(programmed),
		})
	case programmed.ObservedGeneration != generation:
		a.find(Finding{
			State: Unknown, Object: object,
			Text: "It was edited, and which replicas enforce the edit is not known yet.",
		})
	case programmed.Status == metav1.ConditionFalse:
		a.find(Finding{
			State: Doubtful, Object: object, Text: "Not every replica enforces it as it is written.",
			Recorded: programmed.Message,
		})
	}
}

func messageOf(condition *metav1.Condition) string {
	if condition == nil {
		return ""
	}
	return condition.Message
}

// judgePolicies goes by the policies of the app.
func (a *App) judgePolicies(in *Input, app *v1alpha1.IMApp) {
	if in.PoliciesProblem != "" {
		a.find(Finding{State: Unknown, Text: "The policies are not known.", Recorded: in.PoliciesProblem})
		return
	}
	for i := range in.Policies {
		policy := &in.Policies[i]
		if policy.Namespace != app.Namespace || policy.Spec.AppRef.Name != app.Name {
			continue
		}
		join := policy.Spec.Join
		if join != nil && join.Mode != v1alpha1.JoinModeAudit && (join.Allow != nil || join.Deny != nil) {
			a.Enforcing++
		}
		name := policy.Namespace + "/" + policy.Name
		ready := apimeta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case policy.Status.ObservedGeneration != policy.Generation || ready == nil ||
			ready.Status == metav1.ConditionUnknown:
			a.find(Finding{State: Unknown, Object: name, Text: "The leader has not looked at the policy yet."})
		case ready.Reason == v1alpha1.ReasonAppNotReady: // said of the app
		case ready.Status == metav1.ConditionFalse:
			a.find(Finding{
				State: Doubtful, Object: name, Recorded: ready.Message,
				Text: "The policy does not do all that it says.",
			})
		default:
			a.judgeProgrammed(name, policy.Generation, policy.Status.Conditions)
		}
	}
	if a.Enforcing == 0 && app.Spec.UnmatchedGroups != v1alpha1.UnmatchedGroupsReject {
		a.find(Finding{State: Open, Text: "No policy decides about joins, so that every account is admitted."})
	}
}

// judgeReplica goes by what a replica says of itself.
func (a *App) judgeReplica(r *refusals.Activity) {
	switch {
	case r.SnapshotAt.IsZero():
		a.find(Finding{
			State: Doubtful, Object: r.Replica,
			Text: "This replica has not read the policies yet: joins that reach it are not judged.",
		})
	case r.Stale:
		a.find(Finding{
			State: Doubtful, Object: r.Replica, Args: []any{r.Now.Sub(r.SnapshotAt).Round(time.Second).String()},
			Text: "This replica has not heard of changes for %s, and decides by what it knew.",
		})
	}
}

// judgeJoins finds leaks, and silence.
func (a *App) judgeJoins() {
	joins := a.Joins
	if joins == nil {
		return
	}
	if joins.Leaked > 0 {
		a.find(Finding{
			State: Doubtful, Args: []any{joins.Leaked},
			Text: "Accounts that the gate refuses have been seen in groups: %d.",
		})
	}
	if joins.Admitted+joins.Refused+joins.Leaked == 0 {
		hours := min(joins.Now.Sub(joins.Since), quiet).Round(time.Minute)
		a.find(Finding{
			State: Unknown, Args: []any{strings.TrimSuffix(hours.String(), "0s")},
			Text: "The vendor has asked about no join for %s: whether it would is not known.",
		})
	}
}

// sum adds up what the replicas counted; nil if there is none.
func sum(replicas []refusals.Activity) *Joins {
	if len(replicas) == 0 {
		return nil
	}
	joins := &Joins{}
	at := map[time.Time]refusals.Interval{}
	for i := range replicas {
		r := &replicas[i]
		if r.Since.After(joins.Since) {
			joins.Since = r.Since
		}
		if r.Now.After(joins.Now) {
			joins.Now = r.Now
		}
		for _, interval := range r.Intervals {
			start := interval.Start.UTC()
			total := at[start]
			total.Start = start
			total.Admitted += interval.Admitted
			total.Refused += interval.Refused
			total.Leaked += interval.Leaked
			at[start] = total
			joins.Admitted += interval.Admitted
			joins.Refused += interval.Refused
			joins.Leaked += interval.Leaked
		}
	}
	for _, interval := range at {
		joins.Intervals = append(joins.Intervals, interval)
	}
	slices.SortFunc(joins.Intervals, func(a, b refusals.Interval) int { return a.Start.Compare(b.Start) })
	return joins
}

func marshalFinding(f *Finding) ([]byte, error) {
	return json.Marshal(struct {
		State   State  `json:"state"`
		Message string `json:"message"`
	}{f.State, f.String()})
}
