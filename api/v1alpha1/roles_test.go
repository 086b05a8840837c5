package v1alpha1_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What people may do with the four kinds, through the built-in roles and through those that are given to few.
func TestUserRoles(t *testing.T) {
	const (
		read  = "get list watch"
		write = "create delete deletecollection patch update"
	)
	tests := map[string]struct {
		// holder tells the roles by the built-in role that they are part of, or by name.
		holder func(rbacv1.ClusterRole) bool
		want   map[string]string
	}{
		"view": {
			aggregatedTo("view"),
			map[string]string{"grouppolicies": read, "accountlists": read, "pruneruns": read},
		},
		"edit": {
			aggregatedTo("edit"),
			map[string]string{"grouppolicies": write + " " + read, "accountlists": write + " " + read, "pruneruns": read},
		},
		"admin": {
			aggregatedTo("admin"),
			map[string]string{"grouppolicies": write + " " + read, "accountlists": write + " " + read, "pruneruns": read},
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

// readUserRoles reads the ClusterRoles of config/rbac that are for people, as the API server takes them.
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
