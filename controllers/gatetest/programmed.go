package gatetest

import (
	"context"
	"fmt"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// AwaitProgrammed waits until callbacks are answered by these IMApps, AccountLists and GroupPolicies as the API server
// has them now, and ends the test if that does not happen: a GroupPolicy without its IMApp, for example, never is. The
// objects need only namespace and name; they are read again. An edit of labels alone is not waited for.
func (g *Gate) AwaitProgrammed(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := await(t.Context(), func(ctx context.Context) error { return g.programmed(ctx, object) }); err != nil {
			t.Fatalf("gatetest: wait for %T %s to be Programmed: %v", object, client.ObjectKeyFromObject(object), err)
		}
	}
}

// programmed reads object, and returns nil if it is in force.
func (g *Gate) programmed(ctx context.Context, object client.Object) error {
	if err := g.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return err
	}
	var conditions []metav1.Condition
	switch object := object.(type) {
	case *v1alpha1.IMApp:
		conditions = object.Status.Conditions
	case *v1alpha1.AccountList:
		conditions = object.Status.Conditions
	case *v1alpha1.GroupPolicy:
		conditions = object.Status.Conditions
	default:
		return nil // no other kind is in force or not: a Secret is, with its IMApp
	}
	programmed := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionProgrammed)
	if programmed != nil && programmed.Status == metav1.ConditionTrue &&
		programmed.ObservedGeneration == object.GetGeneration() {
		return nil
	}
	said := "it has no status yet"
	for _, c := range conditions {
		if c.Status != metav1.ConditionTrue {
			said = fmt.Sprintf("%s=%s/%s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return fmt.Errorf("generation %d: %s", object.GetGeneration(), said)
}
