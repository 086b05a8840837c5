package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
)

func TestOneInvalidPolicyCostsOnlyItself(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID),
		newList(namespace, "vip", nil, "jared"))
	var good []*v1alpha1.GroupPolicy
	for i := range 20 {
		p := newPolicy(namespace, fmt.Sprintf("good-%d", i), fmt.Sprintf("group-%d", i), byName("vip"))
		good = append(good, p)
		create(t, p)
	}
	bad := newPolicy(namespace, "bad", "bad", byName("vip"), byLabel("not a label", "x"))
	create(t, bad)

	invalid := status(t, bad, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	for _, want := range []string{"join.allow", "lists[1]", "not a label"} {
		if !strings.Contains(invalid.Message, want) {
			t.Errorf("message %q does not say %q", invalid.Message, want)
		}
	}
	status(t, bad, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	for i, p := range good {
		status(t, p, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		r.published(t, admits("jared", fmt.Sprintf("group-%d", i), true))
	}
	r.published(t, admits("jared", "bad", false))
}

func TestConflictNamesTheOtherAppAndResolves(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	startReplica(t, namespace, replicaOptions{})
	first, second := newApp(namespace, "first", testSDKAppID), newApp(namespace, "second", testSDKAppID)
	create(t, newCredentials(namespace), first)
	status(t, first, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	create(t, second)
	conflict := status(t, second, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
	if holder := namespace + "/first"; !strings.Contains(conflict.Message, holder) {
		t.Errorf("message %q does not name %s", conflict.Message, holder)
	}
	status(t, second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
	labtest.Must(t, labtest.Client(t).Delete(t.Context(), first))
	status(t, second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestMissingReferencesAreResolvedOnceTheyExist(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	startReplica(t, namespace, replicaOptions{})
	secret := newCredentials(namespace)
	secret.Labels = nil
	app, gate := newApp(namespace, "prod", testSDKAppID), newPolicy(namespace, "gate", "lounge", byName("vip"))
	create(t, gate)
	status(t, gate, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
	create(t, secret, app)

	lost := status(t, app, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(lost.Message, v1alpha1.LabelCredentials) {
		t.Errorf("message %q does not name the label", lost.Message)
	}
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	edit(t, secret, func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelCredentials: "true"} })
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	edit(t, secret, func(s *corev1.Secret) { s.Data[v1alpha1.SecretKeyCallbackToken] = []byte("\n") })
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenMissing)
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
	edit(t, secret, func(s *corev1.Secret) { s.Data[v1alpha1.SecretKeyCallbackToken] = []byte("t0ken") })
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	missing := status(t, gate, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonListNotFound)
	if !strings.Contains(missing.Message, "vip") {
		t.Errorf("message %q does not name the list", missing.Message)
	}
	status(t, gate, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonListNotFound)
	create(t, newList(namespace, "vip", nil, "jared"))
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// Without its Secret an app refuses every callback, and the vendor admits every user: its policies must not say that
// they are in force.
func TestPolicyIsNotReadyWhileItsAppRefusesEveryCallback(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	startReplica(t, namespace, replicaOptions{})
	secret, gate := newCredentials(namespace), newPolicy(namespace, "gate", "lounge")
	create(t, secret, newApp(namespace, "prod", testSDKAppID), gate)
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	labtest.Must(t, labtest.Client(t).Delete(t.Context(), secret))
	ready := status(t, gate, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
	if want := "IMApp prod refuses every callback (SecretNotFound)"; !strings.Contains(ready.Message, want) {
		t.Errorf("message %q does not say %q", ready.Message, want)
	}
	status(t, gate, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	create(t, newCredentials(namespace))
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestWarningComesAndGoesWithItsCause(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	startReplica(t, namespace, replicaOptions{})
	gate, vip := newPolicy(namespace, "gate", "vip-*"), newList(namespace, "vip", nil, "jared", "eve ")
	create(t, newCredentials(namespace), newApp(namespace, "prod", testSDKAppID), gate, vip)
	status(t, gate, v1alpha1.ConditionWarning, metav1.ConditionTrue, v1alpha1.ReasonLiteralAsterisk)
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if gate.Status.Gate != v1alpha1.GateAllow || gate.Status.Groups != `"vip-*"` {
		t.Errorf("gate %q, groups %q", gate.Status.Gate, gate.Status.Groups)
	}
	warning := status(t, vip, v1alpha1.ConditionWarning, metav1.ConditionTrue, v1alpha1.ReasonSuspiciousCharacters)
	if !strings.Contains(warning.Message, `"eve "`) {
		t.Errorf("message %q does not name the account", warning.Message)
	}
	edit(t, vip, func(l *v1alpha1.AccountList) { l.Spec.Accounts = []string{"jared", "eve"} })
	labtest.Eventually(t, func() error {
		labtest.Must(t, labtest.Client(t).Get(t.Context(), client.ObjectKeyFromObject(vip), vip))
		if vip.Status.ObservedGeneration != 2 {
			return errors.New("not processed yet")
		}
		return nil
	})
	if meta.FindStatusCondition(vip.Status.Conditions, v1alpha1.ConditionWarning) != nil {
		t.Errorf("still warned of: %+v", vip.Status.Conditions)
	}
}

func TestOneStatusPatchPerChange(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	app, gate := newApp(namespace, "prod", testSDKAppID), newPolicy(namespace, "gate", "lounge")
	create(t, newCredentials(namespace), app)
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	for generation := int64(1); generation <= 5; generation++ {
		if generation == 1 {
			create(t, gate)
		} else {
			edit(t, gate,
				func(p *v1alpha1.GroupPolicy) { p.Spec.Groups[0].Value = fmt.Sprintf("lounge-%d", generation) })
		}
		status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if gate.Status.ObservedGeneration != generation {
			t.Errorf("observedGeneration %d, want %d", gate.Status.ObservedGeneration, generation)
		}
		// The API server has it a moment before we count it; one too many would show at the next generation.
		labtest.Eventually(t, func() error {
			if got := r.writes("gate"); got != generation {
				return fmt.Errorf("%d patches after %d changes", got, generation)
			}
			return nil
		})
	}
	var types []string
	for _, c := range gate.Status.Conditions {
		types = append(types, c.Type)
	}
	want := []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady, v1alpha1.ConditionProgrammed}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("conditions of a policy without references (-want,+got):\n%s", diff)
	}

	var told []string
	labtest.Eventually(t, func() error {
		var all eventsv1.EventList
		labtest.Must(t, labtest.Client(t).List(t.Context(), &all, client.InNamespace(namespace)))
		told = nil
		for _, e := range all.Items {
			if e.Regarding.Kind == "GroupPolicy" {
				told = append(told, e.Reason)
			}
		}
		if len(told) < 2 {
			return fmt.Errorf("only %v told", told)
		}
		return nil
	})
	slices.Sort(told)
	if diff := cmp.Diff([]string{v1alpha1.ReasonAccepted, v1alpha1.ReasonReady}, told); diff != "" {
		t.Errorf("events of five changes and one transition each (-want,+got):\n%s", diff)
	}
}

// The cached list is packed: a patch that carried the spec would write that into etcd.
func TestStatusPatchLeavesTheSpecAlone(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	vip := newList(namespace, "vip", map[string]string{"list": "vip"}, "jared", "tommy")
	vip.Annotations = map[string]string{"owner": "marketing"}
	gate := newPolicy(namespace, "gate", "lounge", byName("vip"))
	create(t, newCredentials(namespace), vip, gate, newApp(namespace, "prod", testSDKAppID))
	wantList, wantPolicy := vip.Spec.DeepCopy(), gate.Spec.DeepCopy()
	status(t, vip, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if diff := cmp.Diff(*wantList, vip.Spec); diff != "" || vip.Generation != 1 || vip.Status.Accounts != 2 {
		t.Errorf("list of generation %d with %d accounts, spec (-want,+got):\n%s", vip.Generation, vip.Status.Accounts,
			diff)
	}
	if vip.Annotations["owner"] != "marketing" || vip.Labels["list"] != "vip" {
		t.Errorf("left of the metadata: %+v", vip.ObjectMeta)
	}
	if diff := cmp.Diff(*wantPolicy, gate.Spec); diff != "" {
		t.Errorf("policy (-want,+got):\n%s", diff)
	}
	for _, name := range []string{"vip", "gate"} {
		labtest.Eventually(t, func() error { // it is recorded a moment after it can be read
			if _, ok := r.written.Load(name); !ok {
				return errors.New("no patch")
			}
			return nil
		})
		body, _ := r.written.Load(name)
		var patch map[string]map[string]any
		labtest.Must(t, json.Unmarshal([]byte(body.(string)), &patch))
		if diff := cmp.Diff([]string{"metadata", "status"}, slices.Sorted(maps.Keys(patch))); diff != "" ||
			len(patch["metadata"]) != 1 || patch["metadata"]["resourceVersion"] == "" {
			t.Errorf("%s: patched with %s", name, body)
		}
		if answer, _ := r.read.Load(name); answer != nil {
			if _, ok := answer.(*metav1.PartialObjectMetadata); !ok {
				t.Errorf("%s: the answer was decoded as a %T", name, answer)
			}
		}
	}
}

func TestBuildsGoOnWithoutStatuses(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{})
	r.refuse.Store(true)
	vip := newList(namespace, "vip", nil, "jared")
	gate := newPolicy(namespace, "gate", "lounge", byName("vip"))
	create(t, newCredentials(namespace), vip, gate, newApp(namespace, "prod", testSDKAppID))
	r.published(t, admits("jared", "lounge", true))
	for i := range 5 {
		account := fmt.Sprintf("account-%d", i)
		edit(t, vip, func(l *v1alpha1.AccountList) { l.Spec.Accounts = []string{account} })
		r.published(t, admits(account, "lounge", true))
	}
	labtest.Eventually(t, func() error {
		if r.refused.Load() == 0 {
			return errors.New("no status was tried")
		}
		return nil
	})
	if r.wrote.Load() != 0 {
		t.Error("a status got through")
	}
	r.refuse.Store(false)
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestNewLeaderCorrectsStaleStatuses(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	// Somebody else holds the term and does nothing.
	idle, err := term.New(labtest.APIServer, election(namespace), nil, logr.Discard())
	labtest.Must(t, err)
	resign := start(t, idle.Start)
	labtest.Eventually(t, held(idle, true))

	r := startReplica(t, namespace, replicaOptions{election: election(namespace)})
	app := newApp(namespace, "prod", testSDKAppID)
	create(t, newCredentials(namespace), app, newPolicy(namespace, "gate", "lounge"))
	r.published(t, admits("mallory", "lounge", false))
	app.Status = v1alpha1.IMAppStatus{ObservedGeneration: 1, Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Stale", ObservedGeneration: 1,
		LastTransitionTime: metav1.Now(),
	}}}
	labtest.Must(t, labtest.Client(t).Status().Update(t.Context(), app))
	pause(t, time.Second)
	if r.wrote.Load() != 0 || r.term.Held() {
		t.Error("a replica without the term wrote a status")
	}
	resign()
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// Events are dropped at the start, and on every replica that does not lead.
func TestStatusesAreQueuedOnlyWithASnapshotAndATerm(t *testing.T) {
	store, leader := &policy.Store{}, &term.Term{Log: logr.Discard()}
	r := &StatusReconciler{Snapshots: store, Term: leader}
	if r.canWrite() {
		t.Error("with neither")
	}
	store.Publish(&policy.Snapshot{})
	if r.canWrite() {
		t.Error("without a term")
	}
	resign := start(t, leader.Start)
	labtest.Eventually(t, held(leader, true))
	if !r.canWrite() {
		t.Error("not with both")
	}
	resign()
	if r.canWrite() {
		t.Error("after the term")
	}
	begun := &term.Term{Log: logr.Discard()}
	start(t, begun.Start)
	labtest.Eventually(t, held(begun, true))
	if early := (&StatusReconciler{Snapshots: &policy.Store{}, Term: begun}); early.canWrite() {
		t.Error("before the first snapshot")
	}
}

// The event of the write is enough, without a publication.
func TestStatusWrittenByOthersIsCorrected(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	startReplica(t, namespace, replicaOptions{})
	app := newApp(namespace, "prod", testSDKAppID)
	create(t, newCredentials(namespace), app)
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Forged", ObservedGeneration: 1,
			LastTransitionTime: metav1.Now()},
		{Type: "Audited", Status: metav1.ConditionTrue, Reason: "ByOthers", ObservedGeneration: 1,
			LastTransitionTime: metav1.Now()},
	}
	labtest.Must(t, labtest.Client(t).Status().Update(t.Context(), app))
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	status(t, app, "Audited", metav1.ConditionTrue, "ByOthers") // what is not ours stays
}

func TestTwoReplicasPublishTheSameAndOneWrites(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	first := startReplica(t, namespace, replicaOptions{election: election(namespace)})
	labtest.Eventually(t, held(first.term, true))
	second := startReplica(t, namespace, replicaOptions{election: election(namespace)})
	app, gate := newApp(namespace, "prod", testSDKAppID), newPolicy(namespace, "gate", "lounge", byName("vip"))
	create(t, gate, newList(namespace, "vip", nil, "jared"), app, newCredentials(namespace))
	same := func() error {
		one, other := first.store.Load(), second.store.Load()
		if one == nil || other == nil || one.Hash() != other.Hash() {
			return errors.New("the replicas differ")
		}
		return admits("jared", "lounge", true)(other)
	}
	labtest.Eventually(t, same)
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if first.wrote.Load() == 0 || second.wrote.Load() != 0 {
		t.Errorf("statuses written: %d with the term, %d without", first.wrote.Load(), second.wrote.Load())
	}
	// The lease is watched by both.
	for name, r := range map[string]*replica{"first": first, "second": second} {
		labtest.Eventually(t, func() error {
			if r.age.Age() > election("").RetryPeriod {
				return fmt.Errorf("%s has not seen a renewal of the Lease", name)
			}
			return nil
		})
	}

	first.stop()
	labtest.Eventually(t, held(second.term, true))
	edit(t, gate, func(p *v1alpha1.GroupPolicy) { p.Spec.Groups[0].Value = "other" })
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	labtest.Eventually(t, func() error { // it is counted a moment after it can be read
		if second.wrote.Load() == 0 {
			return errors.New("who wrote that?")
		}
		return nil
	})
	// A cold start sees the same world.
	third := startReplica(t, namespace, replicaOptions{election: election(namespace)})
	labtest.Eventually(t, func() error {
		if cold := third.store.Load(); cold == nil || cold.Hash() != second.store.Load().Hash() {
			return errors.New("a cold start differs")
		}
		return nil
	})
}

// An outage ends the term and nothing else.
func TestOutageEndsNothingButTheTerm(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	cut, through := newProxy(t, labtest.APIServer)
	r := startReplica(t, namespace, replicaOptions{config: through, election: election(namespace)})
	vip := newList(namespace, "vip", nil, "jared")
	gate := newPolicy(namespace, "gate", "lounge", byName("vip"))
	create(t, newCredentials(namespace), vip, gate, newApp(namespace, "prod", testSDKAppID))
	status(t, gate, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	r.published(t, admits("jared", "lounge", true))

	cut.Cut()
	labtest.Eventually(t, held(r.term, false))
	edit(t, vip, func(l *v1alpha1.AccountList) { l.Spec.Accounts = []string{"tommy"} })
	labtest.Must(t, admits("jared", "lounge", true)(r.store.Load()))
	cut.Restore()
	restored := time.Now()
	r.published(t, admits("tommy", "lounge", true))
	if late := time.Since(restored); late > 5*time.Second {
		t.Errorf("the edit was in force %s after the return, want within 5s", late)
	}
	status(t, vip, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// fixedReachability reports what a test sets.
type fixedReachability struct {
	reason, message string
	known           bool
}

func (m *fixedReachability) Reachability(string) (reason, message string, ok bool) {
	return m.reason, m.message, m.known
}

func (m *fixedReachability) Source() source.Source {
	return source.Func(func(context.Context,
		workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		return nil
	})
}

func TestVendorReachableChangesWithItsReasonOnly(t *testing.T) {
	since := metav1.NewTime(time.Unix(1700000000, 0))
	now := metav1.NewTime(time.Unix(1700000600, 0))
	throttled := metav1.Condition{
		Type: v1alpha1.ConditionVendorReachable, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonThrottled,
		Message:            "as it was",
		ObservedGeneration: 1, LastTransitionTime: since,
	}
	cases := map[string]struct {
		standing []metav1.Condition
		vendor   Reachability
		want     *metav1.Condition
	}{
		"NothingKnown": {nil, &fixedReachability{}, nil},
		"NobodyToAsk":  {[]metav1.Condition{throttled}, nil, &throttled},
		"NoNews":       {[]metav1.Condition{throttled}, &fixedReachability{}, &throttled},
		"SameReasonNewWords": {[]metav1.Condition{throttled},
			&fixedReachability{reason: v1alpha1.ReasonThrottled, message: "as it is", known: true}, &throttled},
		"StillDown": {[]metav1.Condition{throttled},
			&fixedReachability{reason: v1alpha1.ReasonUnreachable, message: "no answer", known: true},
			&metav1.Condition{
				Type: v1alpha1.ConditionVendorReachable, Status: metav1.ConditionFalse,
				Reason: v1alpha1.ReasonUnreachable, Message: "no answer",
				ObservedGeneration: 2, LastTransitionTime: since,
			}},
		"Up": {[]metav1.Condition{throttled},
			&fixedReachability{reason: v1alpha1.ReasonReachable, message: "fine", known: true},
			&metav1.Condition{
				Type: v1alpha1.ConditionVendorReachable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReachable,
				Message:            "fine",
				ObservedGeneration: 2, LastTransitionTime: now,
			}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			app := newApp("chat", "prod", testSDKAppID)
			app.UID, app.Generation, app.Status.Conditions = "uid", 2, tc.standing
			snapshot := policy.Compile(policy.Input{Apps: []policy.App{{
				Object:   policy.Object{Namespace: "chat", Name: "prod", UID: "uid", Generation: 2},
				SDKAppID: testSDKAppID, SecretFound: true,
			}}})
			r := &StatusReconciler{Reachability: tc.vendor, Now: func() time.Time { return now.Time }}
			if !r.update(snapshot, app) {
				t.Fatal("no verdict")
			}
			got := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionVendorReachable)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("VendorReachable (-want,+got):\n%s", diff)
			}
			if tc.want != nil &&
				app.Status.Conditions[len(app.Status.Conditions)-1].Type != v1alpha1.ConditionVendorReachable {
				t.Errorf("order of conditions: %+v", app.Status.Conditions)
			}
		})
	}
}

// GitOps tools give up on what is Stalled, and apply a policy a moment before its IMApp.
func TestPolicyIsNotStalledWhileItsAppMayBeOnItsWay(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := &StatusReconciler{Now: func() time.Time { return now }}
	gate := newPolicy("chat", "gate", "lounge")
	gate.UID, gate.Generation = "uid", 1
	snapshot := policy.Compile(policy.Input{Policies: []policy.Policy{convert.Policy(gate)}})
	for _, step := range []struct {
		after   time.Duration
		stalled bool
	}{{0, false}, {9 * time.Second, false}, {time.Second, true}, {time.Hour, true}} {
		now = now.Add(step.after)
		if !r.update(snapshot, gate) {
			t.Fatal("no verdict")
		}
		if !meta.IsStatusConditionFalse(gate.Status.Conditions, v1alpha1.ConditionAccepted) {
			t.Fatal("accepted without an IMApp")
		}
		got := meta.IsStatusConditionTrue(gate.Status.Conditions, v1alpha1.ConditionStalled)
		if got != step.stalled || awaitsApp(gate) == step.stalled {
			t.Errorf("%s: stalled %t, looked at again %t", now.Format(time.TimeOnly), got, awaitsApp(gate))
		}
	}
}

func TestStatusIsNotWrittenForAnotherVersion(t *testing.T) {
	app := newApp("chat", "prod", testSDKAppID)
	app.UID, app.Generation = "uid", 3
	r := &StatusReconciler{Now: time.Now}
	for name, judged := range map[string]policy.Object{
		"Older":     {Namespace: "chat", Name: "prod", UID: "uid", Generation: 2},
		"Newer":     {Namespace: "chat", Name: "prod", UID: "uid", Generation: 4},
		"Recreated": {Namespace: "chat", Name: "prod", UID: "other", Generation: 3},
	} {
		snapshot := policy.Compile(policy.Input{Apps: []policy.App{{Object: judged, SDKAppID: testSDKAppID}}})
		if r.update(snapshot, app) {
			t.Errorf("%s: judged an object that the snapshot does not hold", name)
		}
	}
}

func TestEventsAreForTransitionsOnly(t *testing.T) {
	condition := func(conditionType string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: conditionType, Status: status, Reason: reason,
			Message: strings.Repeat("why ", 1000)}
	}
	good := []metav1.Condition{
		condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted),
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady),
	}
	unresolved := []metav1.Condition{good[0],
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonListNotFound)}
	invalid := []metav1.Condition{
		condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid),
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid),
	}
	cases := map[string]struct {
		from, to []metav1.Condition
		want     []string
	}{
		"New":        {nil, good, []string{"Normal Accepted", "Normal Ready"}},
		"Same":       {good, good, nil},
		"Unresolved": {good, unresolved, []string{"Warning ListNotFound"}},
		"Invalid":    {good, invalid, []string{"Warning Invalid"}},
		"Healed":     {invalid, good, []string{"Normal Accepted", "Normal Ready"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(10)
			r := &StatusReconciler{Events: recorder}
			r.announce(&v1alpha1.GroupPolicy{Status: v1alpha1.GroupPolicyStatus{Conditions: tc.to}}, tc.from)
			close(recorder.Events)
			var got []string
			for e := range recorder.Events {
				if len(e) > 1024 {
					t.Errorf("an event of %d bytes", len(e))
				}
				got = append(got, strings.Join(strings.Fields(e)[:2], " "))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("events (-want,+got):\n%s", diff)
			}
		})
	}
}

// An edit of a long list would otherwise write its shard three times, and send it to every replica as often.
func TestStatusOfAShardWaitsForTheReplicas(t *testing.T) {
	conditions := func(accepted, programmed int64) []metav1.Condition {
		return []metav1.Condition{
			{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: accepted},
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: accepted},
			{Type: v1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, ObservedGeneration: programmed},
		}
	}
	warned := append(conditions(2, 1),
		metav1.Condition{Type: v1alpha1.ConditionWarning, Status: metav1.ConditionTrue, ObservedGeneration: 2})
	rejected := conditions(2, 1)
	rejected[0].Status = metav1.ConditionFalse
	for name, tc := range map[string]struct {
		before, after []metav1.Condition
		label         string
		want          bool
	}{
		"waiting":            {conditions(1, 1), conditions(2, 1), v1alpha1.LabelManagedList, true},
		"on every replica":   {conditions(1, 1), conditions(2, 2), v1alpha1.LabelManagedList, false},
		"of no long list":    {conditions(1, 1), conditions(2, 1), v1alpha1.LabelList, false},
		"a warning":          {conditions(1, 1), warned, v1alpha1.LabelManagedList, false},
		"not accepted":       {conditions(1, 1), rejected, v1alpha1.LabelManagedList, false},
		"the first one":      {nil, conditions(2, 2)[:2], v1alpha1.LabelManagedList, false},
		"nothing known of 1": {conditions(1, 1)[:2], conditions(2, 1)[:2], v1alpha1.LabelManagedList, false},
	} {
		list := newList("chat", "vip.0", map[string]string{tc.label: "vip"})
		list.Generation, list.Status.Conditions = 2, tc.after
		if got := (&StatusReconciler{Replica: &Replica{}}).awaitsReplicas(list, tc.before); got != tc.want {
			t.Errorf("%s: waits: %t, want %t", name, got, tc.want)
		}
	}
}
