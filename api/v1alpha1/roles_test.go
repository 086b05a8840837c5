package v1alpha1_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// TestUserRoles pins what the built-in roles and the roles of config/rbac allow.
func TestUserRoles(t *testing.T) {
	const (
		read     = "get list watch"
		write    = "create delete deletecollection patch update"
		editable = write + " " + read
	)
	tests := map[string]struct {
		// holder selects the roles, by the built-in role that aggregates them or by name.
		holder func(rbacv1.ClusterRole) bool
		want   map[string]string
	}{
		"view": {
			aggregatedTo("view"),
			map[string]string{
				"imapps": read, "grouppolicies": read, "accountlists": read, "pruneruns": read,
				"imapps/refusals": "get", "imapps/activity": "get",
			},
		},
		"edit": {
			aggregatedTo("edit"),
			map[string]string{
				"imapps": read, "grouppolicies": editable, "accountlists": editable, "pruneruns": read,
				"imapps/refusals": "get", "imapps/activity": "get",
			},
		},
		"admin": {
			aggregatedTo("admin"),
			map[string]string{
				"imapps": read, "grouppolicies": editable, "accountlists": editable, "pruneruns": read,
				"imapps/refusals": "get", "imapps/activity": "get",
			},
		},
		"groupgate-app-admin": {
			named("groupgate-app-admin"),
			map[string]string{"imapps": write + " " + read},
		},
		"groupgate-prune-approver": {
			named("groupgate-prune-approver"),
			map[string]string{"pruneruns": "create delete patch update " + read},
		},
	}
	roles := readUserRoles(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			verbs := map[string][]string{}
			for _, role := range roles {
				if !tc.holder(role) {
					continue
				}
				for _, rule := range role.Rules {
					if diff := cmp.Diff([]string{"groupgate.io"}, rule.APIGroups); diff != "" {
						t.Errorf("%s: API groups (-want,+got):\n%s", role.Name, diff)
					}
					for _, resource := range rule.Resources {
						verbs[resource] = append(verbs[resource], rule.Verbs...)
					}
				}
			}
			got := map[string]string{}
			for resource, all := range verbs {
				slices.Sort(all)
				got[resource] = strings.Join(slices.Compact(all), " ")
			}
			for resource, want := range tc.want {
				fields := strings.Fields(want)
				slices.Sort(fields)
				tc.want[resource] = strings.Join(fields, " ")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("verbs (-want,+got):\n%s", diff)
			}
		})
	}
}

func aggregatedTo(builtIn string) func(rbacv1.ClusterRole) bool {
	return func(role rbacv1.ClusterRole) bool {
		return role.Labels["rbac.authorization.k8s.io/aggregate-to-"+builtIn] == "true"
	}
}

func named(name string) func(rbacv1.ClusterRole) bool {
	return func(role rbacv1.ClusterRole) bool { return role.Name == name }
}

// readUserRoles reads the ClusterRoles of config/rbac that are for users.
func readUserRoles(t *testing.T) []rbacv1.ClusterRole {
	t.Helper()
	c := newClient(t)
	var roles []rbacv1.ClusterRole
	for _, file := range resources(t, rolesDirectory) {
		if !strings.HasPrefix(file, "user_") {
			continue
		}
		for _, object := range readObjects(t, filepath.Join(rolesDirectory, file)) {
			apply(t, c, object)
			var role rbacv1.ClusterRole
			must(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &role, true))
			roles = append(roles, role)
		}
	}
	return roles
}

// Editing lists and having members removed are different rights: only groupgate-prune-approver may change the spec of a
// run, and only the operator its status.
func TestApproverRole(t *testing.T) {
	roles := readUserRoles(t)
	manager := readObjects(t, filepath.Join(rolesDirectory, "manager_role.yaml"))
	c := newClient(t)
	for _, object := range manager {
		apply(t, c, object)
	}
	none := []string{}
	tests := map[string]struct {
		role string
		want []string
	}{
		"nobody":                  {"", none},
		"view":                    {aggregated(t, c, "view"), none},
		"edit":                    {aggregated(t, c, "edit"), none},
		"admin":                   {aggregated(t, c, "admin"), none},
		"groupgate-policy-editor": {"groupgate-policy-editor", none},
		"groupgate-app-admin":     {"groupgate-app-admin", none},
		"groupgate-prune-approver": {"groupgate-prune-approver",
			[]string{"create", "approve", "deny", "undo", "delete"}},
		// The operator creates runs and writes their status, but cannot approve them.
		"groupgate-manager": {"groupgate-manager", []string{"create", "record", "delete"}},
	}
	for _, role := range roles {
		if _, ok := tests[role.Name]; !ok && role.Name != "groupgate-policy-viewer" {
			t.Errorf("ClusterRole %s is not tested", role.Name)
		}
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(t, c)
			user := boundTo(t, c, namespace, tc.role)
			got := none
			try := func(verb string, err error) {
				t.Helper()
				switch {
				case err == nil:
					got = append(got, verb)
				case !apierrors.IsForbidden(err):
					t.Errorf("%s: %v", verb, err)
				}
			}
			object := mutate(t, basePruneRun, `metadata: {name: of-the-user}`)
			object.SetNamespace(namespace)
			try("create", user.Create(t.Context(), object))
			run := newRun(t, c, namespace)
			must(t, patchStatus(t, c, run.DeepCopy(), aPlan))
			try("approve", patchObject(t, user, run, approve))
			try("deny", patchObject(t, user, run, deny))
			must(t, patchStatus(t, c, run.DeepCopy(), completed))
			try("undo", patchObject(t, user, run, undo))
			try("record", patchStatus(t, user, run.DeepCopy(), `status: {removed: 2}`))
			try("delete", user.Delete(t.Context(), run.DeepCopy()))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("what the user may do with runs (-want,+got):\n%s", diff)
			}
		})
	}
}

// The admin of a namespace, who may bind roles in it, cannot bind the right to approve.
func TestNamespaceAdminCannotGrantApproval(t *testing.T) {
	c := newClient(t)
	readUserRoles(t)
	namespace := newNamespace(t, c)
	user := boundTo(t, c, namespace, aggregated(t, c, "admin"))
	err := user.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "groupgate-prune-approver"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "me"}},
	})
	if !apierrors.IsForbidden(err) {
		t.Errorf("an admin of the namespace binds the approver's role: got %v, want Forbidden", err)
	}
}

// A viewer of the namespace sees all kinds in one command, which ends with an error if one of them may not be listed.
func TestViewerGetsTheCategory(t *testing.T) {
	readUserRoles(t)
	c := newClient(t)
	namespace := newNamespace(t, c)
	boundTo(t, c, namespace, aggregated(t, c, "view"))
	var want []string
	for kind, base := range map[string]string{
		"imapp": baseIMApp, "accountlist": baseAccountList, "grouppolicy": baseGroupPolicy, "prunerun": basePruneRun,
	} {
		object := mutate(t, base, `{}`)
		object.SetNamespace(namespace)
		must(t, c.Create(t.Context(), object))
		want = append(want, kind+".groupgate.io/base")
	}
	k := newKubectl(t, namespace)
	got := strings.Fields(k.must(t, "", "get", "groupgate", "-o", "name", "--as", "user-of-"+namespace))
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kubectl get groupgate (-want,+got):\n%s", diff)
	}
}

// boundTo is a client of a user that is bound to only that ClusterRole in the namespace, or to none.
func boundTo(t *testing.T, c client.Client, namespace, role string) client.Client {
	t.Helper()
	name := "user-of-" + namespace
	if role != "" {
		must(t, c.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}))
	}
	config := rest.CopyConfig(apiServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	user, err := client.New(config, client.Options{Scheme: c.Scheme(), Mapper: c.RESTMapper()})
	must(t, err)
	if role != "" {
		awaitRole(t, user, namespace)
	}
	return user
}

// awaitRole waits until the API server's cache has the binding.
func awaitRole(t *testing.T, user client.Client, namespace string) {
	t.Helper()
	eventually(t, func(ctx context.Context) (bool, error) {
		rules := &authorizationv1.SelfSubjectRulesReview{}
		rules.Spec.Namespace = namespace
		if err := user.Create(ctx, rules); err != nil {
			return false, err
		}
		return slices.ContainsFunc(rules.Status.ResourceRules, func(rule authorizationv1.ResourceRule) bool {
			return slices.Contains(rule.APIGroups, v1alpha1.GroupVersion.Group)
		}), nil
	})
}

// aggregated creates a ClusterRole with the aggregated rules of a built-in role, as kube-controller-manager would, and
// returns its name.
func aggregated(t *testing.T, c client.Client, builtIn string) string {
	t.Helper()
	var role rbacv1.ClusterRole
	must(t, c.Get(t.Context(), client.ObjectKey{Name: builtIn}, &role))
	whole := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: builtIn + "-"}}
	for _, part := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&part)
		must(t, err)
		var parts rbacv1.ClusterRoleList
		must(t, c.List(t.Context(), &parts, client.MatchingLabelsSelector{Selector: selector}))
		for _, part := range parts.Items {
			whole.Rules = append(whole.Rules, part.Rules...)
		}
	}
	if len(whole.Rules) == 0 {
		t.Fatalf("ClusterRole %s has no parts", builtIn)
	}
	must(t, c.Create(t.Context(), whole))
	return whole.Name
}
