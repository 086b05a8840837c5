package controllers

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// record is where the callback server of the replica records the app's callbacks.
func (r *replica) record(app *v1alpha1.IMApp) *callbackhealth.App {
	return r.health.App(callbackhealth.ID{Namespace: app.Namespace, Name: app.Name, UID: string(app.UID)})
}

func TestCallbacksVerifiedSaysWhatCallbacksLookLike(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	r := startReplica(t, namespace, replicaOptions{began: time.Now()})
	app := newApp(namespace, "prod", testSDKAppID)
	create(t, newCredentials(namespace), app)
	const verified = v1alpha1.ConditionCallbacksVerified
	status(t, app, verified, metav1.ConditionUnknown, v1alpha1.ReasonNeverSeen)

	begun := time.Now()
	r.record(app).Wrong(time.Now())
	wrong := status(t, app, verified, metav1.ConditionFalse, v1alpha1.ReasonWrongToken)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("told after %s", took)
	}
	if !strings.Contains(wrong.Message, "Secret credentials") || !strings.Contains(wrong.Message, "Anybody") {
		t.Errorf("message %q", wrong.Message)
	}
	status(t, app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	writes := r.writes("prod")
	r.record(app).Right(time.Now())
	status(t, app, verified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
	for range 3 { // a stranger, and more callbacks, cause no write
		r.record(app).Wrong(time.Now())
		r.record(app).Right(time.Now())
		pause(t, 1100*time.Millisecond)
	}
	if got := r.writes("prod"); got != writes+1 {
		t.Errorf("%d writes for one transition", got-writes)
	}
	r.record(app).Skewed(time.Now().Add(11*time.Minute), 90*time.Second)
	skewed := status(t, app, verified, metav1.ConditionFalse, v1alpha1.ReasonClockSkew)
	if !strings.Contains(skewed.Message, "1m30s") {
		t.Errorf("message %q", skewed.Message)
	}

	edit(t, app, func(a *v1alpha1.IMApp) { a.Spec.CallbackAuthentication = v1alpha1.CallbackAuthenticationNone })
	status(t, app, verified, metav1.ConditionFalse, v1alpha1.ReasonNotAuthenticated)
}

// A replica that starts has seen no callback. A stranger must not be believed before it has had the time to see one.
func TestCallbacksVerifiedOutlivesARestart(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	first := startReplica(t, namespace, replicaOptions{began: time.Now()})
	app := newApp(namespace, "prod", testSDKAppID)
	create(t, newCredentials(namespace), app)
	status(t, app, v1alpha1.ConditionCallbacksVerified, metav1.ConditionUnknown, v1alpha1.ReasonNeverSeen)
	first.record(app).Right(time.Now())
	status(t, app, v1alpha1.ConditionCallbacksVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
	first.stop()

	began := time.Now()
	second := startReplica(t, namespace, replicaOptions{began: began})
	second.record(app).Wrong(began.Add(9 * time.Minute))
	edit(t, app, func(a *v1alpha1.IMApp) { a.Spec.Pruning = v1alpha1.PruningSuspended })
	status(t, app, v1alpha1.ConditionCallbacksVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
	second.record(app).Wrong(began.Add(11 * time.Minute))
	status(t, app, v1alpha1.ConditionCallbacksVerified, metav1.ConditionFalse, v1alpha1.ReasonWrongToken)
	second.stop()

	third := startReplica(t, namespace, replicaOptions{began: time.Now()})
	edit(t, app, func(a *v1alpha1.IMApp) { a.Spec.Pruning = v1alpha1.PruningEnabled })
	status(t, app, v1alpha1.ConditionCallbacksVerified, metav1.ConditionFalse, v1alpha1.ReasonWrongToken)
	third.record(app).Right(time.Now())
	status(t, app, v1alpha1.ConditionCallbacksVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
}

// The callbacks of a conflicted app are those of the app that holds its SDKAppID.
func TestConflictedAppHasNoCallbacks(t *testing.T) {
	t.Parallel()
	namespace := labtest.NewNamespace(t)
	startReplica(t, namespace, replicaOptions{})
	create(t, newCredentials(namespace), newApp(namespace, "a", testSDKAppID))
	second := newApp(namespace, "b", testSDKAppID)
	create(t, second)
	programmed := status(t, second, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
	if !strings.Contains(programmed.Message, namespace+"/a") {
		t.Errorf("message %q does not name the other app", programmed.Message)
	}
	if meta.FindStatusCondition(second.Status.Conditions, v1alpha1.ConditionCallbacksVerified) != nil {
		t.Errorf("conditions %+v", second.Status.Conditions)
	}
}
