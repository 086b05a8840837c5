package overview

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

var (
	now = time.Date(2026, 11, 22, 12, 2, 0, 0, time.UTC)
	key = types.NamespacedName{Namespace: "chat", Name: "prod"}
)

type answer = replicaclient.Answer[refusals.Activity]

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "As recorded."}
}

func replica(name string, joins ...refusals.Interval) refusals.Activity {
	return refusals.Activity{
		Replica: name, Since: now.Add(-time.Hour), Now: now, SnapshotAt: now, Intervals: joins,
	}
}

func interval(minutesAgo int, admitted, refused, leaked uint64) refusals.Interval {
	start := now.Truncate(refusals.IntervalLength).Add(-time.Duration(minutesAgo) * time.Minute)
	return refusals.Interval{Start: start, Admitted: admitted, Refused: refused, Leaked: leaked}
}

// closed is a world in which everything is known and well.
func closed() *Input {
	ready := condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	programmed := condition(v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	in := &Input{
		Apps:     []v1alpha1.IMApp{{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "prod", Generation: 3}}},
		Policies: make([]v1alpha1.GroupPolicy, 1),
		Activity: map[types.NamespacedName]answer{key: {Replicas: []refusals.Activity{
			replica("a", interval(5, 2, 1, 0), interval(0, 1, 0, 0)), replica("b", interval(0, 4, 1, 0)),
		}}},
		Waiting: new(int),
	}
	programmed.ObservedGeneration = 3
	in.Apps[0].Status = v1alpha1.IMAppStatus{ObservedGeneration: 3, Conditions: []metav1.Condition{
		ready, programmed,
		condition(v1alpha1.ConditionCallbacksVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified),
	}}
	in.Policies[0].ObjectMeta = metav1.ObjectMeta{Namespace: "chat", Name: "vip", Generation: 2}
	in.Policies[0].Spec.AppRef.Name = "prod"
	in.Policies[0].Spec.Join = &v1alpha1.JoinSection{
		Mode: v1alpha1.JoinModeEnforce, Allow: &v1alpha1.AccountSelector{},
	}
	programmed.ObservedGeneration = 2
	in.Policies[0].Status.ObservedGeneration = 2
	in.Policies[0].Status.Conditions = []metav1.Condition{ready, programmed}
	return in
}

func TestGateIsClosedOnlyIfAllIsKnownAndWell(t *testing.T) {
	setApp := func(c metav1.Condition) func(in *Input) {
		return func(in *Input) {
			c.ObservedGeneration = in.Apps[0].Generation
			apimeta.SetStatusCondition(&in.Apps[0].Status.Conditions, c)
		}
	}
	setPolicy := func(c metav1.Condition) func(in *Input) {
		return func(in *Input) {
			c.ObservedGeneration = in.Policies[0].Generation
			apimeta.SetStatusCondition(&in.Policies[0].Status.Conditions, c)
		}
	}
	activity := func(change func(*answer)) func(in *Input) {
		return func(in *Input) {
			a := in.Activity[key]
			change(&a)
			in.Activity[key] = a
		}
	}
	const (
		yes, no, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	)
	for name, tc := range map[string]struct {
		change func(*Input)
		state  State
		text   string
	}{
		"all is well":      {func(*Input) {}, Closed, ""},
		"another app's":    {func(in *Input) { in.Policies[0].Spec.AppRef.Name = "test" }, Open, "every account"},
		"no policies read": {func(in *Input) { in.PoliciesProblem = "Forbidden." }, Unknown, "not known. Forbidden."},
		"edited":           {func(in *Input) { in.Apps[0].Generation++ }, Unknown, "since it was edited"},
		"no conditions":    {func(in *Input) { in.Apps[0].Status.Conditions = nil }, Unknown, "not looked at the app"},
		"ready is unknown": {
			setApp(condition(v1alpha1.ConditionReady, unknown, "Pending")), Unknown, "not looked at the app",
		},
		"app without a Secret": {
			setApp(condition(v1alpha1.ConditionReady, no, v1alpha1.ReasonSecretNotFound)), Open, "turned away",
		},
		"app without a Secret that needs none": {
			func(in *Input) {
				setApp(condition(v1alpha1.ConditionReady, no, v1alpha1.ReasonSecretNotFound))(in)
				setApp(condition(v1alpha1.ConditionCallbacksVerified, no, v1alpha1.ReasonNotAuthenticated))(in)
				in.Apps[0].Spec.CallbackAuthentication = v1alpha1.CallbackAuthenticationNone
			}, Doubtful, "without a signature",
		},
		"no key to prune with": {setApp(condition(v1alpha1.ConditionReady, no, v1alpha1.ReasonKeyMissing)), Closed, ""},
		"replica behind": {
			setApp(condition(v1alpha1.ConditionProgrammed, no, v1alpha1.ReasonReplicasBehind)), Doubtful, "Not every",
		},
		"programmed is unknown": {
			func(in *Input) {
				apimeta.RemoveStatusCondition(&in.Apps[0].Status.Conditions, v1alpha1.ConditionProgrammed)
			}, Unknown, "enforce it is not known",
		},
		"enforced as it was before it was edited": {
			func(in *Input) { in.Apps[0].Generation, in.Apps[0].Status.ObservedGeneration = 4, 4 },
			Unknown, "It was edited, and which replicas",
		},
		"never a callback": {
			setApp(condition(v1alpha1.ConditionCallbacksVerified, unknown, v1alpha1.ReasonNeverSeen)), Unknown, "seen",
		},
		"no condition of callbacks": {
			func(in *Input) {
				apimeta.RemoveStatusCondition(&in.Apps[0].Status.Conditions, v1alpha1.ConditionCallbacksVerified)
			}, Unknown, "been seen",
		},
		"wrong token": {
			setApp(condition(v1alpha1.ConditionCallbacksVerified, no, v1alpha1.ReasonWrongToken)), Open, "are refused",
		},
		"without a signature": {
			setApp(condition(v1alpha1.ConditionCallbacksVerified, no, v1alpha1.ReasonNotAuthenticated)),
			Doubtful, "without a signature",
		},
		"policy was edited": {func(in *Input) { in.Policies[0].Generation++ }, Unknown, "chat/vip: The leader has not"},
		"policy that is enforced as it was before it was edited": {
			func(in *Input) { in.Policies[0].Generation, in.Policies[0].Status.ObservedGeneration = 3, 3 },
			Unknown, "chat/vip: It was edited, and which replicas",
		},
		"policy with an absent list": {
			setPolicy(condition(v1alpha1.ConditionReady, no, v1alpha1.ReasonListNotFound)),
			Doubtful, "chat/vip: The policy does not do all that it says. As recorded.",
		},
		"policy that a replica lacks": {
			setPolicy(condition(v1alpha1.ConditionProgrammed, no, v1alpha1.ReasonReplicasBehind)),
			Doubtful, "chat/vip: Not every",
		},
		"policy in mode Audit": {
			func(in *Input) { in.Policies[0].Spec.Join.Mode = v1alpha1.JoinModeAudit }, Open, "every account",
		},
		"policy that names no account": {
			func(in *Input) { in.Policies[0].Spec.Join.Allow = nil }, Open, "every account",
		},
		"policy that denies some": {
			func(in *Input) {
				join := in.Policies[0].Spec.Join
				join.Allow, join.Deny = nil, &v1alpha1.AccountSelector{Accounts: []string{"mallory"}}
			}, Closed, "",
		},
		"no policy, but Reject": {
			func(in *Input) {
				in.Policies, in.Apps[0].Spec.UnmatchedGroups = nil, v1alpha1.UnmatchedGroupsReject
			}, Closed, "",
		},
		"not asked":  {func(in *Input) { in.Activity = nil }, Unknown, "No replica was found"},
		"no replica": {activity(func(a *answer) { a.Replicas = nil }), Unknown, "No replica was found"},
		"one does not answer": {
			activity(func(a *answer) {
				a.Problems = []replicaclient.Problem{{Replica: "c", Message: "Timeout."}}
			}), Unknown, "c: This replica did not say what it enforces. Timeout.",
		},
		"none can be asked": {
			activity(func(a *answer) { *a = answer{Problems: []replicaclient.Problem{{Message: "No rights."}}} }),
			Unknown, "The replicas could not be asked what they enforce. No rights.",
		},
		"stale": {
			activity(func(a *answer) {
				a.Replicas[0].Stale, a.Replicas[0].SnapshotAt = true, now.Add(-time.Minute)
			}), Doubtful, "a: This replica has not heard of changes for 1m0s",
		},
		"starting": {
			activity(func(a *answer) { a.Replicas[1].SnapshotAt = time.Time{} }), Doubtful, "b: This replica",
		},
		"leaks": {
			activity(func(a *answer) { a.Replicas[1].Intervals[0].Leaked = 2 }), Doubtful, "seen in groups: 2.",
		},
		"silence": {
			activity(func(a *answer) { a.Replicas[0].Intervals, a.Replicas[1].Intervals = nil, nil }),
			Unknown, "asked about no join for 1h0m:",
		},
	} {
		in := closed()
		tc.change(in)
		o := New(in)
		app := o.Apps[0]
		if app.State != tc.state || o.Worst() != tc.state {
			t.Errorf("%s: %s, want %s: %v", name, app.State, tc.state, app.Findings)
		}
		if tc.text == "" && len(app.Findings) > 0 {
			t.Errorf("%s: %v", name, app.Findings)
		}
		if tc.text != "" && (len(app.Findings) == 0 || !strings.Contains(app.Findings[0].String(), tc.text)) {
			t.Errorf("%s: %v, want %q first", name, app.Findings, tc.text)
		}
	}
}

func TestNothingIsSaidAboutNoApp(t *testing.T) {
	if got := New(&Input{}).Worst(); got != Unknown {
		t.Errorf("%s without an app", got)
	}
}

func TestJoinsOfAllReplicasAreAddedUp(t *testing.T) {
	in := closed()
	late := replica("c", interval(0, 10, 0, 1))
	late.Since = now.Add(-time.Minute)
	a := in.Activity[key]
	a.Replicas = append(a.Replicas, late)
	in.Activity[key] = a
	app := New(in).Apps[0]
	joins := app.Joins
	if joins.Admitted != 17 || joins.Refused != 2 || joins.Leaked != 1 || app.Replicas != 3 {
		t.Errorf("%+v", joins)
	}
	if !joins.Since.Equal(late.Since) {
		t.Errorf("since %s: the counts of all replicas begin with the youngest", joins.Since)
	}
	want := []refusals.Interval{interval(5, 2, 1, 0), interval(0, 15, 1, 1)}
	if !slices.Equal(joins.Intervals, want) {
		t.Errorf("%+v", joins.Intervals)
	}
	text, err := json.Marshal(New(in))
	if err != nil || !strings.Contains(string(text), `"state":"Doubtful","message":"Accounts that the gate`) {
		t.Errorf("%s, %v", text, err)
	}
}
