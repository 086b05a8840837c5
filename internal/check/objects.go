package check

import (
	"context"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/manifests"
)

const (
	apps     topic = "IMApp"
	policies topic = "GroupPolicy"
	// callbacks is about what the vendor has sent, callbackURL about what it would find.
	callbacks topic = "Callbacks"
)

// readApps reads the IMApps; it returns a line if there is none.
func (c *Checker) readApps(ctx context.Context) []Line {
	var err error
	if c.apps, err = manifests.Apps(ctx, c.Client, c.Namespace); err != nil {
		return []Line{apps.notRead(err)}
	}
	if len(c.apps) == 0 {
		return []Line{apps.warn("create one (docs/kinds/imapp.md), or name its namespace with -n, or all with -A",
			"there is none%s", c.where())}
	}
	return nil
}

func (c *Checker) where() string {
	if c.Namespace == "" {
		return ""
	}
	return " in namespace " + c.Namespace
}

func (c *Checker) checkApp(app *v1alpha1.IMApp) []Line {
	name := app.Namespace + "/" + app.Name
	lines := problems(apps, name, app, app.Status.Conditions, app.Status.ObservedGeneration)
	if vendor := condition(app.Status.Conditions, v1alpha1.ConditionVendorReachable); vendor != nil &&
		vendor.Status == metav1.ConditionFalse {
		lines = append(lines, apps.fail("see what the message says",
			"%s: the vendor's REST API is %s for the manager: %s", name, vendor.Reason, vendor.Message))
	}
	if app.Spec.Pruning == v1alpha1.PruningSuspended {
		lines = append(lines, apps.warn("set spec.pruning to Enabled when it may go on",
			"%s: pruning is suspended", name))
	}
	if len(lines) == 0 {
		lines = append(lines, apps.ok("%s is in force", name))
	}
	return append(lines, c.checkVerified(app, name))
}

// checkVerified says when the last callback of the app was verified, by the reports of the replicas or, where they
// cannot be read, since when the leader has known so.
func (c *Checker) checkVerified(app *v1alpha1.IMApp, name string) Line {
	const console = "compare callback URL, switches and token with the vendor's console"
	verified := condition(app.Status.Conditions, v1alpha1.ConditionCallbacksVerified)
	var last time.Time
	for _, r := range c.reports {
		if right := r.Callbacks[app.UID].Right; right.After(last) {
			last = right
		}
	}
	switch {
	case verified == nil:
		return callbacks.warn("wait for the leader", "%s: the leader has not said whether callbacks are verified", name)
	case verified.Status == metav1.ConditionFalse && verified.Reason == v1alpha1.ReasonNotAuthenticated:
		return callbacks.warn("use callbackAuthentication: Token", "%s: %s", name, verified.Message)
	case verified.Status == metav1.ConditionFalse:
		return callbacks.fail(console, "%s: %s", name, verified.Message)
	case verified.Status != metav1.ConditionTrue:
		return callbacks.warn(console, "%s: %s", name, verified.Message)
	case last.IsZero():
		return callbacks.ok("%s: verified, as the leader has known since %s", name,
			verified.LastTransitionTime.UTC().Format(time.RFC3339))
	}
	return callbacks.ok("%s: the last verified one came %s ago", name, max(c.Now().Sub(last), 0).Round(time.Second))
}

func (c *Checker) checkPolicies(ctx context.Context) []Line {
	var err error
	if c.policies, err = manifests.Policies(ctx, c.Client, c.Namespace); err != nil {
		return []Line{policies.notRead(err)}
	}
	if len(c.policies) == 0 {
		return []Line{policies.warn("create one (docs/kinds/grouppolicy.md), or name its namespace with -n",
			"there is none%s: no group has a gate", c.where())}
	}
	var lines []Line
	for i := range c.policies {
		p := &c.policies[i]
		lines = append(lines,
			problems(policies, p.Namespace+"/"+p.Name, p, p.Status.Conditions, p.Status.ObservedGeneration)...)
	}
	if len(lines) == 0 {
		return []Line{policies.ok("%d in force on every replica", len(c.policies))}
	}
	return lines
}

// problems are the lines about an object that is not in force on every replica as it is written, or warned of.
func problems(
	t topic, name string, object metav1.Object, conditions []metav1.Condition, observed int64,
) (lines []Line) {
	if observed != object.GetGeneration() {
		return []Line{t.fail("wait a moment; otherwise look whether the manager watches the namespace",
			"%s: the leader has not seen generation %d", name, object.GetGeneration())}
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionProgrammed} {
		switch found := condition(conditions, kind); {
		case found == nil || found.Status == metav1.ConditionUnknown:
			lines = append(lines, t.warn("wait for the leader", "%s: %s is not known", name, kind))
		case found.Status == metav1.ConditionFalse:
			lines = append(lines, t.fail("change what the message names",
				"%s: %s is False (%s): %s", name, kind, found.Reason, found.Message))
		}
		if len(lines) > 0 {
			break // the second follows from the first
		}
	}
	if warning := condition(conditions, v1alpha1.ConditionWarning); warning != nil &&
		warning.Status == metav1.ConditionTrue {
		lines = append(lines, t.warn("change it, or leave it if it is meant", "%s: %s", name, warning.Message))
	}
	return lines
}

func condition(conditions []metav1.Condition, kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(conditions, kind)
}
