package gitops

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/groupgate/groupgate/internal/lab"
)

var cluster *lab.Cluster

func TestMain(m *testing.M) {
	use := func(c *lab.Cluster) { cluster = c }
	os.Exit(lab.RunWithCluster(tests{m}, lab.ClusterOptions{Manager: true}, use))
}

// tests stop the manager at their end: the API server would wait for its watches.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if manager != nil {
		if err := manager.Stop(time.Minute); err != nil {
			code = 1
		}
	}
	return code
}

const (
	inForce     = "Programmed=True/Programmed"
	unprocessed = "not processed"
)

const objects = `apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: usurper}
spec: {sdkAppID: 1400000000, region: Singapore, adminAccount: administrator, credentialsSecretRef: {name: prod-im}}
---
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: keyless}
spec: {sdkAppID: 1400000001, region: Singapore, adminAccount: administrator, credentialsSecretRef: {name: absent}}
---
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: trusting}
spec:
  sdkAppID: 1400000002
  region: Singapore
  adminAccount: administrator
  callbackAuthentication: None
  credentialsSecretRef: {name: prod-im}
---
apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: vip}
spec: {accounts: [jared]}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: orphan}
spec: {appRef: {name: absent}, groups: [{value: x}], join: {allow: {accounts: [jared]}}}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: leaving, finalizers: [example.com/held]}
spec: {appRef: {name: prod}, groups: [{value: leaving}], join: {allow: {accounts: [jared]}}}
---
apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: nowhere}
spec: {appRef: {name: prod}, groupID: nowhere, trigger: Manual}
---
apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: preview}
spec: {appRef: {name: prod}, groupID: quiet, trigger: Manual}
---
apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: waiting}
spec: {appRef: {name: prod}, groupID: asked, trigger: Manual}
`

// edited returns a change of an object in memory, to a state that lasts too short to be caught, or that only an API
// server without our schema shows.
func edited(fields ...string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, fields...) }
}

func nextGeneration(o *unstructured.Unstructured) { o.SetGeneration(o.GetGeneration() + 1) }

func behind(o *unstructured.Unstructured) {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if condition := c.(map[string]any); condition["type"] == "Programmed" {
			condition["status"], condition["message"] = "False", "1 of 2 replicas does not enforce this generation."
		}
	}
	_ = unstructured.SetNestedSlice(o.Object, conditions, "status", "conditions")
}

// late adds that the look at all members takes longer than join.evict.interval.
func late(o *unstructured.Unstructured) {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	conditions = append(conditions, map[string]any{
		"type": "RoundBehind", "status": "True", "reason": "RateTooLow", "message": "Raise rest.requestsPerSecond.",
	})
	_ = unstructured.SetNestedSlice(o.Object, conditions, "status", "conditions")
}

// TestHealth has a manager bring objects into every state, and asks both tools what they make of them.
func TestHealth(t *testing.T) {
	for name, tc := range map[string]struct {
		object  string // "resource/name", or with "unwatched:" of a namespace without an operator
		until   string // the condition of the live object to wait for, "Type=Status/Reason"
		change  func(*unstructured.Unstructured)
		argo    string
		message string // that Argo CD shows, in part
		flux    string // empty for PruneRuns; "error" if Flux goes on waiting for that
	}{
		"app in force":    {"imapp/prod", inForce, nil, "Healthy", "are answered", "Current"},
		"list in force":   {"accountlist/vip", inForce, nil, "Healthy", "", "Current"},
		"policy in force": {"grouppolicy/club", inForce, nil, "Healthy", "", "Current"},
		"a Secret is absent": {
			"imapp/keyless", "Ready=False/SecretNotFound", nil,
			"Degraded", "label it", "InProgress",
		},
		"two apps for one number": {
			"imapp/usurper", "Stalled=True/Conflicted", nil,
			"Degraded", "delete one of the two", "Failed",
		},
		"anyone may call": {"imapp/trusting", inForce, nil, "Healthy", "Warning: ", "Current"},
		"policy without app": {
			"grouppolicy/orphan", "Stalled=True/TargetNotFound", nil,
			"Degraded", "absent", "Failed",
		},
		"invalid policy": {"grouppolicy/invalid", "Stalled=True/Invalid", nil, "Degraded", "", "Failed"},
		"a list is absent": {
			"grouppolicy/listless", "Ready=False/ListNotFound", nil,
			"Degraded", "nobody", "InProgress",
		},
		"an asterisk": {
			"grouppolicy/starry", "Warning=True/LiteralAsterisk", nil,
			"Healthy", "Warning: ", "Current",
		},
		"held by a finalizer": {"grouppolicy/leaving", inForce, deleted, "Progressing", "deletion", "InProgress"},
		"not watched": {
			"unwatched:accountlist/vip", "Ready=Unknown/Pending", nil,
			"Progressing", unprocessed, "InProgress",
		},
		"edited": {
			"grouppolicy/club", inForce, nextGeneration,
			"Progressing", unprocessed, "InProgress",
		},
		"edited while stalled": {
			"imapp/usurper", "Stalled=True/Conflicted", nextGeneration,
			"Progressing", unprocessed, "InProgress",
		},
		"a replica is behind": {"grouppolicy/club", inForce, behind, "Progressing", "1 of 2", "InProgress"},
		"a round is late":     {"grouppolicy/club", inForce, late, "Healthy", "RoundBehind: Raise", "Current"},
		"no conditions": {
			"grouppolicy/club", inForce, edited("status", "conditions"),
			"Progressing", "", "InProgress",
		},
		"no status":         {"grouppolicy/club", inForce, edited("status"), "Progressing", "", "error"},
		"run without group": {"prunerun/nowhere", "Failed=True/GroupNotFound", nil, "Degraded", "", ""},
		"previewed run":     {"prunerun/preview", "Complete=True/Previewed", nil, "Healthy", "", ""},
		"run awaits a person": {
			"prunerun/waiting", "Complete=False/AwaitingApproval", nil,
			"Suspended", "approv", "",
		},
		"new run": {"unwatched:prunerun/waiting", "", nil, "Progressing", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			object := await(t, tc.object, tc.until)
			if tc.change != nil {
				tc.change(object)
			}
			status, message, err := argo(shipped(t, "argocd", "health.lua"), object.Object)
			if err != nil || status != tc.argo || !strings.Contains(message, tc.message) {
				t.Errorf("Argo CD: %s, %q, %v; want %s, %q", status, message, err, tc.argo, tc.message)
			}
			if tc.flux == "" {
				return
			}
			got, err := flux(fluxChecks(t)[object.GetKind()], object.Object)
			if err != nil {
				got = "error"
			}
			if got != tc.flux {
				t.Errorf("Flux: %s, %v; want %s", got, err, tc.flux)
			}
		})
	}
}

// deleted deletes the live object, and has it as it is then.
func deleted(o *unstructured.Unstructured) {
	w := world("health")
	out, err := w.Kubectl(context.Background(), "", "delete", "grouppolicy", o.GetName(), "--wait=false")
	if err == nil {
		out, err = w.Kubectl(context.Background(), "", "get", "grouppolicy", o.GetName(), "-o=json")
	}
	if err == nil {
		err = o.UnmarshalJSON([]byte(out))
	}
	if err != nil {
		panic(err)
	}
}

func world(namespace string) *lab.World {
	return &lab.World{ControlPlane: cluster.ControlPlane, Binary: cluster.Binary, Namespace: namespace}
}

// await starts the world with the first call, and returns an object once it has a condition.
func await(t *testing.T, object, condition string) *unstructured.Unstructured {
	t.Helper()
	if err := started(); err != nil {
		t.Fatal(err)
	}
	w := world("health")
	if rest, ok := strings.CutPrefix(object, "unwatched:"); ok {
		w, object = world("unwatched"), rest
	}
	live := &unstructured.Unstructured{}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := lab.Await(ctx, object+" to be "+condition, func(ctx context.Context) (bool, error) {
		out, err := w.Kubectl(ctx, "", "get", object, "-o=json")
		if err != nil {
			return false, err
		}
		if err := live.UnmarshalJSON([]byte(out)); err != nil {
			return false, err
		}
		return condition == "" || has(live, condition), nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, live.Object["status"])
	}
	return live
}

func has(o *unstructured.Unstructured, condition string) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		c := c.(map[string]any)
		if c["type"].(string)+"="+c["status"].(string)+"/"+c["reason"].(string) == condition {
			return true
		}
	}
	return false
}
