package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// The IM app that worlds use, unless they declare another one.
const (
	SDKAppID      = 1400000000
	AdminAccount  = "administrator"
	SecretKey     = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	CallbackToken = "s3cr3t-token"
)

// The ServiceAccount of config/default that the manager runs as.
const (
	managerNamespace = "groupgate-system"
	managerAccount   = "groupgate-manager"
)

// FastElection are manager flags for tests that wait for another replica to become the leader.
var FastElection = []string{
	"--leader-election-lease-duration=4s",
	"--leader-election-renew-deadline=3s",
	"--leader-election-retry-period=500ms",
}

// World is a namespace with the IM backend of its apps: what a manager serves.
type World struct {
	*ControlPlane
	Namespace string
	// Binary is the path of groupgate.
	Binary string
	// Env is added to the environment of managers.
	Env []string
	// IMEndpoint is the base URL of the backend's REST API; empty for none.
	IMEndpoint string
}

// Kubectl runs kubectl in the namespace, with stdin if it is not empty.
func (w *World) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return w.ControlPlane.Kubectl(ctx, stdin, append([]string{"--namespace=" + w.Namespace}, args...)...)
}

// Apply runs `kubectl apply --server-side`. Objects that name no namespace land in the world's.
func (w *World) Apply(ctx context.Context, manifests ...string) error {
	_, err := w.Kubectl(ctx, strings.Join(manifests, "\n---\n"), "apply", "--server-side", "-f", "-")
	return err
}

// NamespaceManifests are a namespace and the RoleBinding that gives the manager its rights in it.
func NamespaceManifests(name string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: groupgate-manager, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: groupgate-manager}
subjects:
- {kind: ServiceAccount, name: %[2]s, namespace: %[3]s}
`, name, managerAccount, managerNamespace)
}

// LeaseManifests are the Roles and RoleBindings of config/rbac for the manager's Leases, in another namespace: managers
// of worlds that run side by side must not compete for one Lease.
func LeaseManifests(namespace string) (string, error) {
	var manifests []string
	for _, file := range []string{"leader_election_role.yaml", "replica_role.yaml"} {
		data, err := os.ReadFile(filepath.Join(Root(), "config", "rbac", file))
		if err != nil {
			return "", fmt.Errorf("read the role: %w", err)
		}
		objects, err := Objects(string(data))
		if err != nil {
			return "", err
		}
		for _, o := range objects {
			o.SetNamespace(namespace)
			text, err := o.MarshalJSON()
			if err != nil {
				return "", fmt.Errorf("write the role: %w", err)
			}
			manifests = append(manifests, string(text))
		}
	}
	return strings.Join(manifests, "\n---\n"), nil
}

// App is an app of a world. Its zero value is `prod`, with SDKAppID.
type App struct {
	Name     string
	SDKAppID uint64
	// Spec is YAML that is added to the spec of the IMApp.
	Spec string
}

// Manifests are the app's Secret and its IMApp.
func (a App) Manifests() string {
	if a.Name == "" {
		a.Name = "prod"
	}
	if a.SDKAppID == 0 {
		a.SDKAppID = SDKAppID
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: %[1]s-im, labels: {groupgate.io/credentials: "true"}}
stringData: {secretKey: %[2]q, callbackToken: %[3]q}
---
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: %[1]s}
spec:
  sdkAppID: %[4]d
  region: Singapore
  adminAccount: %[5]s
  credentialsSecretRef: {name: %[1]s-im}
%[6]s
`, a.Name, SecretKey, CallbackToken, a.SDKAppID, AdminAccount, indent(a.Spec))
}

// PolicyManifest is a GroupPolicy of the app `prod`. spec is YAML without the appRef.
func PolicyManifest(name, spec string) string {
	return fmt.Sprintf(`apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: %s}
spec:
  appRef: {name: prod}
%s
`, name, indent(spec))
}

func indent(spec string) string {
	if spec == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")
}

// Objects reads manifests, for clients that create objects without kubectl.
func Objects(manifests string) (objects []*unstructured.Unstructured, err error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("read a manifest: %w", err)
		case object.Object != nil:
			objects = append(objects, object)
		}
	}
}
